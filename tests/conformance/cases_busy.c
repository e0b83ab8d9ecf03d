/*
 * The busy option, design 4.5: polling the backend for a while before sleeping.
 */
#include "conform.h"

static void finish_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_finish(arg);
}

/* ---- Options --------------------------------------------------------------------------------- */

static void hook_finishes_in_a_look(struct conform *t, enum conform_moment moment,
                                    uint64_t deadline_ns, struct tocsin_backend_events *list,
                                    void *arg)
{
    (void)deadline_ns;
    (void)list;
    if (moment == CONFORM_BEFORE_LOOK || moment == CONFORM_BEFORE_WAIT) {
        t->hook = NULL;
        CHECK_EQ(t, moment, CONFORM_BEFORE_LOOK);
        conform_elsewhere(t, finish_elsewhere, arg);
    }
}

/* An hour of polling; where there is one processor only it is not done. */
static void busy_pool_is_woken_without_a_kick(struct conform *t)
{
    struct tocsin_pool_options options = {.busy_poll_ns = UINT64_C(3600000000000)};
    struct tocsin_pool *pool = NULL;
    struct conform_task task = {0};

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    if (conform_processors() > 1) {
        t->hook = hook_finishes_in_a_look;
        t->hook_arg = &task;
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, t->hook == NULL);
        CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
        CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    } else {
        conform_at_sleep(t, finish_elsewhere, &task);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    }
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static void timer_fires_in_a_busy_pool(struct conform *t)
{
    struct tocsin_pool_options options = {.busy_poll_ns = 1000000};
    struct tocsin_pool *pool = NULL;
    struct tocsin_timer timer;
    unsigned fired = 0;

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    /* Within what it polls, and beyond. */
    for (uint64_t delay_ns = 200000; delay_ns <= 3200000; delay_ns *= 4) {
        uint64_t deadline_ns = tocsin_pool_now_ns(pool) + delay_ns;

        tocsin_timer_arm(&timer, deadline_ns);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, tocsin_pool_now_ns(pool) >= deadline_ns);
    }
    CHECK_EQ(t, fired, 3);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

CONFORM_CASES(busy,
              CASE(busy_pool_is_woken_without_a_kick, "4.5",
                   "A pool that polls busily needs no kick.", TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(timer_fires_in_a_busy_pool, "4.5",
                   "Timers within and beyond the time of busy polling.", 0));
