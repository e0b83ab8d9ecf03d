/*
 * The wake protocol, W2 to W4: what a wake publishes, who sleeps, and wakes at the edges of a wait.
 *
 * W5 and W6 cannot be broken from outside: the unit tests and the models have those.
 */
#include "probe.h"

static void wake_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_wake(arg);
}

static void finish_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_finish(arg);
}

/* ---- W2 -------------------------------------------------------------------------------------- */

struct handover {
    struct conform_task task;
    unsigned rounds;
    unsigned value;       /* plain: what the wake publishes */
    atomic_uint written;  /* relaxed only: says that @value was written, and publishes nothing */
    atomic_uint answered; /* the last value that the task has seen */
};

static int poll_takes_handover(struct conform_task *task, struct tocsin_context *cx)
{
    struct handover *handover = task->arg;
    unsigned written;

    (void)cx;
    if (conform_read(&task->polls) == 1) {
        return TOCSIN_PENDING; /* that of the spawn, which no wake of the other thread orders */
    }
    written = atomic_load_explicit(&handover->written, memory_order_relaxed);
    if (written == conform_read(&handover->answered)) {
        return TOCSIN_PENDING;
    }
    CHECK_EQ(task->t, handover->value, written);
    conform_set(&handover->answered, written);
    return written == handover->rounds ? 0 : TOCSIN_PENDING;
}

static void hand_over(struct conform *t, void *arg)
{
    struct handover *handover = arg;

    (void)t;
    conform_await(&handover->task.polls, 1); /* it has begun, and looks at nothing */
    for (unsigned i = 1; i <= handover->rounds; i++) {
        handover->value = i;
        atomic_store_explicit(&handover->written, i, memory_order_relaxed);
        conform_wake(&handover->task);
        conform_await(&handover->answered, i);
    }
}

static void what_was_published_is_seen(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct handover handover = {.rounds = conform_times(t, 2000)};
    struct conform_thread *thread;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &handover.task, poll_takes_handover, &handover);
    thread = conform_thread(t, hand_over, &handover);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_thread_join(t, thread);
    CHECK_EQ(t, conform_read(&handover.answered), handover.rounds);
    tocsin_task_unref(&handover.task.task);
    conform_pool_close(t, pool);
}

enum {
    PINGERS = 2,
    JITTER = 400, /* iterations of nothing: about the length of a turn */
};

struct ping {
    struct conform_task task;
    unsigned rounds;
    atomic_uint asked;
    atomic_uint answered;
    uint64_t random;
};

static int poll_answers(struct conform_task *task, struct tocsin_context *cx)
{
    struct ping *ping = task->arg;
    unsigned asked = conform_read(&ping->asked);

    (void)cx;
    conform_set(&ping->answered, asked);
    return asked == ping->rounds ? 0 : TOCSIN_PENDING;
}

static void ask(struct conform *t, void *arg)
{
    struct ping *ping = arg;
    volatile unsigned nothing = 0;

    (void)t;
    for (unsigned i = 1; i <= ping->rounds; i++) {
        conform_set(&ping->asked, i);
        conform_wake(&ping->task);
        conform_await(&ping->answered, i);
        ping->random = ping->random * UINT64_C(6364136223846793005) + 1;
        for (uint64_t j = (ping->random >> 33) % JITTER; j > 0; j--) {
            nothing = nothing + 1;
        }
    }
}

/* A wake that is lost leaves both sides waiting, and the watchdog ends the case. */
static void no_wake_is_lost(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_thread *threads[PINGERS];
    struct ping pings[PINGERS] = {0};

    for (int i = 0; i < PINGERS; i++) {
        pings[i].rounds = conform_times(t, 4000);
        pings[i].random = conform_random(t);
        conform_spawn_ref(t, tocsin_pool_driver(pool), &pings[i].task, poll_answers, &pings[i]);
    }
    for (int i = 0; i < PINGERS; i++) {
        threads[i] = conform_thread(t, ask, &pings[i]);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    for (int i = 0; i < PINGERS; i++) {
        conform_thread_join(t, threads[i]);
        tocsin_task_unref(&pings[i].task.task);
        CHECK_GONE(t, &pings[i].task);
    }
    conform_pool_close(t, pool);
}

static int poll_is_woken_and_ends(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_elsewhere(task->t, wake_elsewhere, task);
    return 0;
}

static void release_has_the_other_finished(struct conform_task *task)
{
    conform_elsewhere(task->t, finish_elsewhere, task->arg);
}

/*
 * A task that ends with a wake on its way is let go when the wake arrives, and its release has
 * another thread wake another task, just while the pool takes in what has arrived.
 */
static void wake_while_wakes_are_taken_in_is_kept(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task ends = {.released = release_has_the_other_finished};
    struct conform_task waits = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &waits, conform_poll_flag, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &ends, poll_is_woken_and_ends, &waits);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &ends);
    tocsin_task_unref(&waits.task);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &waits);
}

/* ---- W3, W4 ---------------------------------------------------------------------------------- */

static void hook_notes_thread(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                              struct tocsin_backend_events *list, void *arg)
{
    (void)moment;
    (void)deadline_ns;
    (void)list;
    CHECK_EQ(t, conform_thread_id(), *(uintptr_t *)arg);
}

static void only_the_pools_thread_waits(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct handover handover = {.rounds = conform_times(t, 200)};
    uintptr_t thread_id = conform_thread_id();
    struct conform_thread *thread;

    t->hook = hook_notes_thread;
    t->hook_arg = &thread_id;
    conform_spawn_ref(t, tocsin_pool_driver(pool), &handover.task, poll_takes_handover, &handover);
    thread = conform_thread(t, hand_over, &handover);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_thread_join(t, thread);
    CHECK_EQ(t, handover.task.poll_thread, thread_id);
    tocsin_task_unref(&handover.task.task);
    conform_pool_close(t, pool);
}

enum {
    SLEEPS = 50,
};

static void hook_wakes_each_sleep(struct conform *t, enum conform_moment moment,
                                  uint64_t deadline_ns, struct tocsin_backend_events *list,
                                  void *arg)
{
    struct conform_task *task = arg;

    (void)deadline_ns;
    (void)list;
    if (moment == CONFORM_BEFORE_WAIT) {
        if (conform_count(&task->flag) < SLEEPS) {
            conform_elsewhere(t, wake_elsewhere, task);
        } else {
            t->hook = NULL;
            conform_elsewhere(t, finish_elsewhere, task);
        }
    }
}

static int poll_until_finished(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    return conform_read(&task->flag) >= 1 && task->t->hook == NULL ? 0 : TOCSIN_PENDING;
}

/*
 * Each kick comes when the pool sleeps and its backend does not block yet; a lost one would hang.
 */
static void kick_before_the_wait_blocks_ends_it(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_until_finished, NULL);
    t->hook = hook_wakes_each_sleep;
    t->hook_arg = &task;

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), SLEEPS);
    CHECK_EQ(t, conform_read(&t->counts.kicks), SLEEPS);
    CHECK_EQ(t, conform_read(&task.polls), SLEEPS + 1);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

struct late {
    struct conform_task task;
    struct conform_source source;
};

/*
 * The backend finds an event, and a wake comes before the loop has noticed that the wait is over.
 */
static void hook_finishes_after_wait(struct conform *t, enum conform_moment moment,
                                     uint64_t deadline_ns, struct tocsin_backend_events *list,
                                     void *arg)
{
    struct late *late = arg;

    (void)deadline_ns;
    if (moment == CONFORM_BEFORE_WAIT) {
        conform_source_signal(&late->source);
    } else if (moment == CONFORM_AFTER_WAIT) {
        t->hook = NULL;
        CHECK_EQ(t, list->count, 1);
        CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
        conform_elsewhere(t, finish_elsewhere, &late->task);
    }
}

static void wake_after_the_wait_is_kept(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct late late = {0};
    struct probe probe = {0};
    struct tocsin_fd_ready *ready;

    conform_source_open(t, &late.source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &late.source, &ready) == 0);
    CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &late.task, conform_poll_flag, NULL);
    conform_set(&t->counts.kicks, 0);
    t->hook = hook_finishes_after_wait;
    t->hook_arg = &late;

    CHECK_EQ(t, tocsin_pool_run_until(pool, &late.task.task, NULL), 0);
    CHECK(t, t->hook == NULL);
    CHECK_EQ(t, conform_read(&t->counts.waits), 1);
    CHECK_EQ(t, conform_read(&late.task.polls), 2);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    tocsin_task_unref(&late.task.task);
    conform_pool_close(t, pool);
    conform_source_close(t, &late.source);
}

CONFORM_CASES(wake_order,
              CASE(what_was_published_is_seen, "W2",
                   "What a thread wrote before its wake is seen by the poll that follows.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(no_wake_is_lost, "W2",
                   "Two threads wake at any moment of a pool's turns and sleeps.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(wake_while_wakes_are_taken_in_is_kept, "W2",
                   "A wake that comes while the pool takes in others is seen by the next turn.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(only_the_pools_thread_waits, "W3",
                   "Waits, looks and polls are all on the pool's thread.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(kick_before_the_wait_blocks_ends_it, "W4",
                   "A kick between the decision to sleep and the wait ends that wait.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(wake_after_the_wait_is_kept, "W4",
                   "A wake between the wait's return and the next turn is seen by that turn.",
                   CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS));
