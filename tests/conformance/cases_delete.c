/*
 * Deferred deletes, D1 and D2: readiness objects that go while events are on their way to them.
 *
 * Cases poll between turns, with a probe for a waker, so that they see each wake.  What the backend
 * found is in the list that the hooks see, so a case knows when a batch holds an event.
 */
#include "item.h"

/* ---- D1 -------------------------------------------------------------------------------------- */

static void drop_elsewhere_wakes_a_sleeping_pool_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    unsigned detaches;
    unsigned kicks;
    struct item item;

    item_open(t, pool, &item);
    detaches = conform_read(&t->counts.detaches);
    kicks = conform_read(&t->counts.kicks);
    tocsin_driver_ref(tocsin_pool_driver(pool));
    conform_at_sleep(t, item_drop_and_unref, &item);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.detaches) - detaches, 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    item_check_unheard(t, &item);
    conform_source_close(t, &item.source);
    conform_pool_close(t, pool);
}

static int poll_signals_and_has_it_dropped(struct conform_task *task, struct tocsin_context *cx)
{
    unsigned kicks = conform_read(&task->t->counts.kicks);

    (void)cx;
    item_signal(task->t, task->arg);
    conform_elsewhere(task->t, item_drop_elsewhere, task->arg);
    CHECK_EQ(task->t, conform_read(&task->t->counts.kicks), kicks);
    return 0;
}

static void drop_on_another_thread_while_running(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct item item;

    item_open(t, pool, &item);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_signals_and_has_it_dropped, &item);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    probe_turns(t, pool);
    item_check_unheard(t, &item);
    CHECK_GONE(t, &task);
    conform_source_close(t, &item.source);
    conform_pool_close(t, pool);
}

/* On another thread, drops @arg when a batch holds its event and is not walked yet. */
static void hook_drops_in_batch(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                                struct tocsin_backend_events *list, void *arg)
{
    (void)deadline_ns;
    if ((moment == CONFORM_AFTER_WAIT || moment == CONFORM_AFTER_LOOK) && list->count > 0) {
        t->hook = NULL;
        CHECK_EQ(t, list->count, 1);
        conform_elsewhere(t, item_drop_elsewhere, arg);
    }
}

static void drop_in_batch_is_deferred(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct item item;

    item_open(t, pool, &item);
    conform_source_signal(&item.source);
    t->hook = hook_drops_in_batch;
    t->hook_arg = &item;
    probe_turns(t, pool);
    CHECK(t, t->hook == NULL);
    item_check_unheard(t, &item);
    conform_source_close(t, &item.source);
    conform_pool_close(t, pool);
}

static void hook_signals_then_drops(struct conform *t, enum conform_moment moment,
                                    uint64_t deadline_ns, struct tocsin_backend_events *list,
                                    void *arg)
{
    if (moment == CONFORM_BEFORE_WAIT) {
        item_signal(t, arg);
    } else if (moment == CONFORM_AFTER_WAIT) {
        CHECK_EQ(t, list->count, 1);
        hook_drops_in_batch(t, moment, deadline_ns, list, arg);
        tocsin_pool_stop(((struct item *)arg)->pool);
    }
}

static void drop_on_another_thread_while_walking(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct item item;

    item_open(t, pool, &item);
    t->hook = hook_signals_then_drops;
    t->hook_arg = &item;
    tocsin_driver_ref(tocsin_pool_driver(pool));
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    tocsin_driver_unref(tocsin_pool_driver(pool));
    CHECK(t, t->hook == NULL);
    CHECK_EQ(t, conform_read(&t->counts.waits), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    item_check_unheard(t, &item);
    conform_source_close(t, &item.source);
    conform_pool_close(t, pool);
}

enum {
    HERD = 100,
};

struct herd {
    struct tocsin_pool *pool;
    struct conform_source source;
    unsigned rounds;
};

static void open_and_drop_elsewhere(struct conform *t, void *arg)
{
    struct herd *herd = arg;
    struct tocsin_driver *driver = tocsin_pool_driver(herd->pool);
    struct tocsin_fd_ready *ready;

    for (unsigned i = 0; i < herd->rounds; i++) {
        REQUIRE(t, conform_source_watch(driver, &herd->source, &ready) == 0);
        CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    }
    tocsin_driver_unref(driver);
}

/* What is dropped elsewhere comes back with the next turn, so a herd needs room for one round. */
static void what_was_deferred_is_used_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct herd herd = {.pool = pool, .rounds = HERD};
    int live = 0;

    conform_source_open(t, &herd.source);
    for (int round = 0; round < 20; round++) {
        tocsin_driver_ref(tocsin_pool_driver(pool));
        conform_at_sleep(t, open_and_drop_elsewhere, &herd);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        if (round == 0) {
            live = atomic_load_explicit(&t->live, memory_order_relaxed);
        }
    }
    CHECK_EQ(t, atomic_load_explicit(&t->live, memory_order_relaxed), live);
    conform_source_close(t, &herd.source);
    conform_pool_close(t, pool);
}

/* ---- D2 -------------------------------------------------------------------------------------- */

static int poll_opens_and_drops(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform *t = task->t;
    struct herd *herd = task->arg;
    struct tocsin_fd_ready *ready;
    struct probe probe = {0};
    int live = 0;

    for (int i = 0; i < HERD; i++) {
        REQUIRE(t, conform_source_watch(cx->driver, &herd->source, &ready) == 0);
        CHECK_EQ(t, probe_poll(herd->pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe),
                 TOCSIN_PENDING);
        CHECK_EQ(t, probe_references(&probe), 1);
        CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
        CHECK_EQ(t, probe_references(&probe), 0);
        if (i == 0) {
            live = atomic_load_explicit(&t->live, memory_order_relaxed);
        }
    }
    CHECK_EQ(t, atomic_load_explicit(&t->live, memory_order_relaxed), live);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    return 0;
}

static void drop_on_the_pools_thread_is_at_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct herd herd = {.pool = pool};

    conform_source_open(t, &herd.source);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_opens_and_drops, &herd);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    conform_source_close(t, &herd.source);
    conform_pool_close(t, pool);
}

/* ---- An open and a close elsewhere, between a turn's drain and its frees --------------------- */

struct brief {
    struct tocsin_pool *pool;
    struct conform *t;
    struct conform_source gone_source;
    struct conform_source source;
    struct tocsin_fd_ready *ready; /* the later one, of the same slot */
};

static void open_and_close(struct conform *t, void *arg)
{
    struct brief *brief = arg;
    struct tocsin_fd_ready *gone = NULL;

    REQUIRE(t,
            conform_source_watch(tocsin_pool_driver(brief->pool), &brief->gone_source, &gone) == 0);
    CHECK_EQ(t, tocsin_fd_ready_close(gone), 0);
}

static void open_later(struct conform *t, void *arg)
{
    struct brief *brief = arg;

    REQUIRE(t, conform_source_watch(tocsin_pool_driver(brief->pool), &brief->source,
                                    &brief->ready) == 0);
}

static void timer_has_one_come_and_go(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct brief *brief = arg;

    (void)timer;
    (void)missed;
    conform_elsewhere(brief->t, open_and_close, brief);
}

static int poll_has_another_opened(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_elsewhere(task->t, open_later, task->arg);
    return 0;
}

/*
 * Timers fire after the turn's drain and before its frees: what was opened and closed there is
 * still in the inbox when it is freed, and its slot goes to the next one opened, in the batch.
 */
static void object_closed_before_it_arrived_is_out_of_the_inbox(struct conform *t)
{
    struct brief brief = {.pool = conform_pool(t), .t = t};
    struct tocsin_driver *driver = tocsin_pool_driver(brief.pool);
    struct conform_task task = {0};
    struct tocsin_timer timer;

    conform_source_open(t, &brief.gone_source);
    conform_source_open(t, &brief.source);
    REQUIRE(t, tocsin_timer_init(&timer, driver, timer_has_one_come_and_go, &brief) == 0);
    tocsin_timer_arm(&timer, 1);
    conform_spawn(t, driver, &task, poll_has_another_opened, &brief);
    REQUIRE(t, tocsin_pool_turn(brief.pool) >= 0);
    REQUIRE(t, brief.ready != NULL); /* all that was in one turn */
    conform_source_signal(&brief.source);
    CHECK_EQ(t, probe_seen(t, brief.pool, brief.ready, TOCSIN_SLOT_READ, TOCSIN_IN), TOCSIN_IN);
    CHECK_EQ(t, tocsin_fd_ready_close(brief.ready), 0);
    CHECK_GONE(t, &task);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, brief.pool);
    conform_source_close(t, &brief.source);
    conform_source_close(t, &brief.gone_source);
}

CONFORM_CASES(
    delete,
    CASE(drop_elsewhere_wakes_a_sleeping_pool_once, "D1",
         "A drop on another thread in a sleep: one kick, and nobody is woken.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(drop_on_another_thread_while_running, "D1",
         "A drop on another thread in a poll, with an event on its way: no kick, no wake.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(drop_in_batch_is_deferred, "D1",
         "A drop on another thread while a look's batch holds the event.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(drop_on_another_thread_while_walking, "D1",
         "A drop on another thread while a wait's batch holds the event.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(what_was_deferred_is_used_again, "D1",
         "Deferred drops are freed by the turn that follows.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(object_closed_before_it_arrived_is_out_of_the_inbox, "D1",
         "An open and a close elsewhere, just before the frees: the slot is used again safely.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(drop_on_the_pools_thread_is_at_once, "D2",
         "A drop in a poll frees at once, the waker with it.", CONFORM_SOURCES));
