/*
 * Readiness objects opened and closed on other threads, and after their pool: design sections 4.4,
 * 7, 9.
 *
 * Open and close may come from any thread at any moment; a backend that attaches on its loop's
 * thread only is fed by the pool.  In each case a task of the pool polls, and another thread
 * meddles.
 */
#include <unistd.h>

#include "probe.h"

enum {
    SOURCES = CONFORM_SOURCES,
    THREADS = CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS,
};

/* What the pool's task and the other thread share. */
struct shared {
    struct conform *t;
    struct tocsin_pool *pool;
    struct conform_source source;
    _Atomic(struct tocsin_fd_ready *) ready; /* NULL: not open yet */
    struct probe_task task;
    struct tocsin_waker waker;  /* of the task */
    struct conform_gate asleep; /* the pool is about to wait */
    struct conform_gate polled; /* the task has polled the object once */
    atomic_uint over;           /* the task is to end */
};

static struct tocsin_fd_ready *shared_ready(struct shared *shared)
{
    return atomic_load_explicit(&shared->ready, memory_order_acquire);
}

static void shared_open(struct shared *shared)
{
    struct tocsin_fd_ready *ready = NULL;

    REQUIRE(shared->t,
            conform_source_watch(tocsin_pool_driver(shared->pool), &shared->source, &ready) == 0);
    atomic_store_explicit(&shared->ready, ready, memory_order_release);
}

static void pool_is_asleep(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                           struct tocsin_backend_events *list, void *arg)
{
    struct shared *shared = arg;

    (void)t;
    (void)deadline_ns;
    (void)list;
    if (moment == CONFORM_BEFORE_WAIT) {
        conform_gate_open(&shared->asleep);
    }
}

static void shared_init(struct conform *t, struct shared *shared)
{
    memset(shared, 0, sizeof(*shared));
    shared->t = t;
    shared->pool = conform_pool(t);
    conform_source_open(t, &shared->source);
}

/* Run the task @fn while @meddle runs on another thread; with @busy the pool never sleeps. */
static int meddled_run(struct shared *shared, tocsin_poll_fn *fn, conform_thread_fn *meddle,
                       bool busy)
{
    struct conform *t = shared->t;
    struct conform_task yields = {0};
    struct conform_thread *thread;
    int result = 0;

    if (busy) {
        conform_spawn(t, tocsin_pool_driver(shared->pool), &yields, conform_poll_yield, NULL);
        conform_gate_open(&shared->asleep);
    } else {
        t->hook = pool_is_asleep;
        t->hook_arg = shared;
    }
    probe_spawn(t, shared->pool, &shared->task, fn, shared);
    shared->waker = tocsin_task_waker(&shared->task.task.task);
    thread = conform_thread(t, meddle, shared);
    REQUIRE(t, tocsin_pool_run_until(shared->pool, &shared->task.task.task, &result) == 0);
    conform_thread_join(t, thread);
    t->hook = NULL;

    conform_set(&yields.flag, 1);
    REQUIRE(t, tocsin_pool_run(shared->pool) == 0);
    tocsin_waker_drop(&shared->waker);
    tocsin_task_unref(&shared->task.task.task);
    CHECK_GONE(t, &shared->task.task);
    return result;
}

static void shared_deinit(struct shared *shared)
{
    CHECK_EQ(shared->t, tocsin_fd_ready_close(shared_ready(shared)), 0);
    conform_pool_close(shared->t, shared->pool);
    conform_source_close(shared->t, &shared->source);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int poll_once_open(struct tocsin_context *cx, void *arg)
{
    struct shared *shared = arg;
    struct tocsin_fd_ready *ready = shared_ready(shared);

    return ready == NULL ? TOCSIN_PENDING
                         : tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);
}

static void open_elsewhere(struct conform *t, void *arg)
{
    struct shared *shared = arg;

    (void)t;
    conform_gate_wait(&shared->asleep);
    shared_open(shared);
    tocsin_waker_wake_by_ref(&shared->waker);
    conform_source_signal(&shared->source);
}

static void opened_on_another_thread(struct conform *t, bool busy)
{
    struct shared shared;

    shared_init(t, &shared);
    CHECK_EQ(t, meddled_run(&shared, poll_once_open, open_elsewhere, busy), TOCSIN_IN);
    shared_deinit(&shared);
}

static void object_opened_on_another_thread_while_asleep_works(struct conform *t)
{
    opened_on_another_thread(t, false);
}

static void object_opened_on_another_thread_while_running_works(struct conform *t)
{
    opened_on_another_thread(t, true);
}

/* ---- Closing --------------------------------------------------------------------------------- */

static int poll_once_then_stay_away(struct tocsin_context *cx, void *arg)
{
    struct shared *shared = arg;

    if (conform_read(&shared->polled.open) == 0) {
        int r = tocsin_fd_ready_poll(shared_ready(shared), TOCSIN_SLOT_READ, TOCSIN_IN, cx);

        conform_gate_open(&shared->polled);
        return r;
    }
    return conform_read(&shared->over) != 0 ? 0 : TOCSIN_PENDING;
}

static void close_elsewhere(struct conform *t, void *arg)
{
    struct shared *shared = arg;

    conform_gate_wait(&shared->polled);
    conform_gate_wait(&shared->asleep);
    CHECK_EQ(t, tocsin_fd_ready_close(shared_ready(shared)), 0);
    atomic_store_explicit(&shared->ready, NULL, memory_order_release);
    conform_source_signal(&shared->source);
    conform_set(&shared->over, 1);
    tocsin_waker_wake_by_ref(&shared->waker);
}

static void closed_on_another_thread(struct conform *t, bool busy)
{
    struct shared shared;

    shared_init(t, &shared);
    shared_open(&shared);
    CHECK_EQ(t, meddled_run(&shared, poll_once_then_stay_away, close_elsewhere, busy), 0);
    /* Polled first, and for the wake: the signal that came after the close made no event. */
    CHECK_EQ(t, conform_read(&shared.task.task.polls), 2);
    shared_deinit(&shared);
}

static void object_closed_on_another_thread_while_asleep_is_quiet(struct conform *t)
{
    closed_on_another_thread(t, false);
}

static void object_closed_on_another_thread_while_running_is_quiet(struct conform *t)
{
    closed_on_another_thread(t, true);
}

/* One round of the race: an event comes, on one thread, while another closes. */
struct race {
    struct shared shared;
    unsigned rounds;
    atomic_uint round;   /* the one that is on */
    atomic_uint done;    /* twice for each round, before the wake */
    atomic_uint through; /* twice for each round, after it: the waker is the main thread's again */
};

static void race_step(struct race *race)
{
    conform_count(&race->done);
    tocsin_waker_wake_by_ref(&race->shared.waker);
    conform_count(&race->through);
}

static void race_signals(struct conform *t, void *arg)
{
    struct race *race = arg;

    (void)t;
    for (unsigned round = 1; round <= race->rounds; round++) {
        conform_await(&race->round, round);
        conform_source_signal(&race->shared.source);
        race_step(race);
    }
}

static void race_closes(struct conform *t, void *arg)
{
    struct race *race = arg;

    for (unsigned round = 1; round <= race->rounds; round++) {
        conform_await(&race->round, round);
        CHECK_EQ(t, tocsin_fd_ready_close(shared_ready(&race->shared)), 0);
        race_step(race);
    }
}

static int race_poll(struct tocsin_context *cx, void *arg)
{
    struct race *race = arg;

    if (conform_read(&race->shared.task.task.polls) == 1) {
        int r = tocsin_fd_ready_poll(shared_ready(&race->shared), TOCSIN_SLOT_READ, TOCSIN_IN, cx);

        CHECK_EQ(race->shared.t, r, TOCSIN_PENDING);
        conform_count(&race->round);
        return TOCSIN_PENDING;
    }
    return conform_read(&race->done) == 2 * conform_read(&race->round) ? 0 : TOCSIN_PENDING;
}

static void close_races_its_event(struct conform *t)
{
    static struct race race;
    struct shared *shared = &race.shared;
    struct conform_thread *signals;
    struct conform_thread *closes;

    shared_init(t, shared);
    race.rounds = conform_times(t, 200);
    signals = conform_thread(t, race_signals, &race);
    closes = conform_thread(t, race_closes, &race);
    for (unsigned round = 1; round <= race.rounds; round++) {
        (void)conform_source_take(&shared->source);
        shared_open(shared);
        probe_spawn(t, shared->pool, &shared->task, race_poll, &race);
        shared->waker = tocsin_task_waker(&shared->task.task.task);
        REQUIRE(t, tocsin_pool_run_until(shared->pool, &shared->task.task.task, NULL) == 0);
        REQUIRE(t, conform_read(&race.done) == 2 * round);
        conform_await(&race.through, 2 * round);
        tocsin_waker_drop(&shared->waker);
        tocsin_task_unref(&shared->task.task.task);
        probe_turns(t, shared->pool);
    }
    conform_thread_join(t, signals);
    conform_thread_join(t, closes);
    conform_pool_close(t, shared->pool);
    conform_source_close(t, &shared->source);
}

static void open_again_elsewhere(struct conform *t, void *arg)
{
    struct shared *shared = arg;

    conform_gate_wait(&shared->polled);
    conform_gate_wait(&shared->asleep);
    CHECK_EQ(t, tocsin_fd_ready_close(shared_ready(shared)), 0);
    shared_open(shared);
    conform_set(&shared->over, 1);
    tocsin_waker_wake_by_ref(&shared->waker);
}

static int poll_the_second(struct tocsin_context *cx, void *arg)
{
    struct shared *shared = arg;

    if (conform_read(&shared->polled.open) == 0) {
        return poll_once_then_stay_away(cx, arg);
    }
    if (conform_read(&shared->over) == 0) {
        return TOCSIN_PENDING;
    }
    conform_source_signal(&shared->source);
    return tocsin_fd_ready_poll(shared_ready(shared), TOCSIN_SLOT_READ, TOCSIN_IN, cx);
}

static void closed_and_opened_anew_on_another_thread_works(struct conform *t)
{
    struct shared shared;

    shared_init(t, &shared);
    shared_open(&shared);
    CHECK_EQ(t, meddled_run(&shared, poll_the_second, open_again_elsewhere, false), TOCSIN_IN);
    shared_deinit(&shared);
}

static void open_and_close_without_a_turn_leave_nothing(struct conform *t)
{
    struct shared shared;

    shared_init(t, &shared);
    for (int i = 0; i < 100; i++) {
        shared_open(&shared);
        CHECK_EQ(t, tocsin_fd_ready_close(shared_ready(&shared)), 0);
    }
    shared_open(&shared);
    conform_source_signal(&shared.source);
    CHECK_EQ(t, probe_seen(t, shared.pool, shared_ready(&shared), TOCSIN_SLOT_READ, TOCSIN_IN),
             TOCSIN_IN);
    shared_deinit(&shared);
}

/* ---- The end of the pool, and failures ------------------------------------------------------- */

static void object_outlives_its_pool(struct conform *t)
{
    struct shared shared;
    struct probe probe = {0};
    struct tocsin_driver *driver;
    struct tocsin_fd_ready *late = NULL;

    shared_init(t, &shared);
    shared_open(&shared);
    probe_turns(t, shared.pool);
    CHECK_EQ(t, probe_poll(shared.pool, shared_ready(&shared), TOCSIN_SLOT_READ, TOCSIN_IN, &probe),
             TOCSIN_PENDING);
    driver = tocsin_driver_ref(tocsin_pool_driver(shared.pool));
    conform_pool_close(t, shared.pool);

    CHECK_EQ(t, conform_source_watch(driver, &shared.source, &late), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_fd_ready_close(shared_ready(&shared)), 0);
    CHECK_EQ(t, probe_references(&probe), 0);
    tocsin_driver_unref(driver);
    conform_source_close(t, &shared.source);
}

static void close_it(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_fd_ready_close(arg), 0);
}

static void object_outlives_its_pool_on_another_thread(struct conform *t)
{
    struct shared shared;

    shared_init(t, &shared);
    shared_open(&shared);
    conform_pool_close(t, shared.pool);
    conform_thread_join(t, conform_thread(t, close_it, shared_ready(&shared)));
    conform_source_close(t, &shared.source);
}

static void object_closed_just_before_its_pool_leaves_nothing(struct conform *t)
{
    struct shared shared;
    struct probe probe = {0};

    shared_init(t, &shared);
    shared_open(&shared);
    probe_turns(t, shared.pool);
    CHECK_EQ(t, probe_poll(shared.pool, shared_ready(&shared), TOCSIN_SLOT_READ, TOCSIN_IN, &probe),
             TOCSIN_PENDING);
    /* No turn comes between the two. */
    conform_thread_join(t, conform_thread(t, close_it, shared_ready(&shared)));
    conform_pool_close(t, shared.pool);
    CHECK_EQ(t, probe_references(&probe), 0);
    conform_source_close(t, &shared.source);
}

static void failed_attach_is_told(struct conform *t)
{
    struct tocsin_fd_ready *ready = NULL;
    struct shared shared;
    struct probe probe = {0};
    int r;

    shared_init(t, &shared);
    t->fail_attach = -ENOSPC;
    r = conform_source_watch(tocsin_pool_driver(shared.pool), &shared.source, &ready);
    if ((t->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH) == 0 && r == 0) {
        /* Put off: whoever polls already is woken to hear it. */
        r = probe_poll(shared.pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe);
        CHECK_EQ(t, r, TOCSIN_PENDING);
        probe_turns(t, shared.pool);
        CHECK_EQ(t, probe_wakes(&probe), 1);
        r = probe_poll(shared.pool, ready, TOCSIN_SLOT_WRITE, TOCSIN_IN, &probe);
        CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    }
    CHECK_EQ(t, r, -ENOSPC);
    t->fail_attach = 0;

    shared_open(&shared);
    conform_source_signal(&shared.source);
    CHECK_EQ(t, probe_seen(t, shared.pool, shared_ready(&shared), TOCSIN_SLOT_READ, TOCSIN_IN),
             TOCSIN_IN);
    shared_deinit(&shared);
}

CONFORM_CASES(
    remote,
    CASE(object_opened_on_another_thread_while_asleep_works, "9",
         "An object opened by another thread while the pool sleeps gets its events.", THREADS),
    CASE(object_opened_on_another_thread_while_running_works, "9",
         "An object opened by another thread while the pool runs gets its events.", THREADS),
    CASE(object_closed_on_another_thread_while_asleep_is_quiet, "D3",
         "No event reaches an object that another thread closed while the pool sleeps.", THREADS),
    CASE(object_closed_on_another_thread_while_running_is_quiet, "D3",
         "No event reaches an object that another thread closed while the pool runs.", THREADS),
    CASE(close_races_its_event, "D1", "A close and the event it races leave nothing behind.",
         THREADS),
    CASE(closed_and_opened_anew_on_another_thread_works, "D1",
         "A number closed and opened again by another thread is registered.", THREADS),
    CASE(open_and_close_without_a_turn_leave_nothing, "D1",
         "Objects opened and closed while the pool does not turn leave nothing behind.", SOURCES),
    CASE(object_outlives_its_pool, "4.6",
         "An object is closed safely after its pool, which says -ESHUTDOWN to new ones.", SOURCES),
    CASE(object_outlives_its_pool_on_another_thread, "4.6",
         "Another thread closes an object safely after the pool has closed.", THREADS),
    CASE(object_closed_just_before_its_pool_leaves_nothing, "D1",
         "An object that another thread closed is freed by its pool's close too.", THREADS),
    CASE(failed_attach_is_told, "9",
         "A failing attach is told by the open, or by the first poll where it is put off.",
         SOURCES));
