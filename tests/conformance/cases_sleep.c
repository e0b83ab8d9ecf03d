/*
 * The polling face of timers: tasks that sleep.
 */
#include <errno.h>

#include "probe.h"

#define HOUR_NS UINT64_C(3600000000000)
#define MS_NS UINT64_C(1000000)

struct sleeper {
    struct conform_task task;
    struct tocsin_timer timer;
    uint64_t deadline_ns; /* what it polls with */
    uint64_t woke_ns;
};

static int poll_sleeps(struct conform_task *task, struct tocsin_context *cx)
{
    struct sleeper *sleeper = (struct sleeper *)task;
    int r = tocsin_timer_poll(&sleeper->timer, cx, sleeper->deadline_ns);

    if (r == 0) {
        sleeper->woke_ns = tocsin_driver_now_ns(cx->driver);
        CHECK_EQ(task->t, tocsin_timer_deadline_ns(&sleeper->timer), TOCSIN_NEVER_NS);
    }
    return r;
}

static void drop_deinits_timer(struct conform_task *task)
{
    tocsin_timer_deinit(&((struct sleeper *)task)->timer);
}

static void sleeper_spawn(struct conform *t, struct tocsin_pool *pool, struct sleeper *sleeper,
                          uint64_t deadline_ns)
{
    *sleeper = (struct sleeper){.deadline_ns = deadline_ns};
    sleeper->task.dropped = drop_deinits_timer;
    REQUIRE(t, tocsin_timer_init(&sleeper->timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &sleeper->task, poll_sleeps, NULL);
}

static void sleep_ends_at_its_deadline(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    for (unsigned i = 0; i < conform_times(t, 30); i++) {
        uint64_t deadline_ns = tocsin_pool_now_ns(pool) + conform_random(t) % (2 * MS_NS);
        struct sleeper sleeper;

        sleeper_spawn(t, pool, &sleeper, deadline_ns);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, sleeper.woke_ns >= deadline_ns);
        CHECK(t, conform_read(&sleeper.task.polls) <= 2);
        tocsin_task_unref(&sleeper.task.task);
        CHECK_GONE(t, &sleeper.task);
    }
    conform_pool_close(t, pool);
}

static void sleep_until_the_past_is_over(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sleeper sleeper;

    sleeper_spawn(t, pool, &sleeper, 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, sleeper.woke_ns != 0);
    CHECK(t, conform_read(&sleeper.task.polls) <= 2);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_task_unref(&sleeper.task.task);
    conform_pool_close(t, pool);
}

static void sleeper_polled_early_sleeps_on(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t deadline_ns = tocsin_pool_now_ns(pool) + 5 * MS_NS;
    struct sleeper sleeper;

    sleeper_spawn(t, pool, &sleeper, deadline_ns);
    for (int i = 0; i < 5; i++) {
        CHECK(t, tocsin_pool_turn(pool) >= 0);
        conform_wake(&sleeper.task);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, sleeper.woke_ns >= deadline_ns);
    tocsin_task_unref(&sleeper.task.task);
    conform_pool_close(t, pool);
}

struct move {
    struct sleeper *sleeper;
    uint64_t deadlines_ns[2]; /* one move for each that is not 0 */
};

static void move_elsewhere(struct conform *t, void *arg)
{
    struct move *move = arg;

    (void)t;
    for (int i = 0; i < 2 && move->deadlines_ns[i] != 0; i++) {
        tocsin_timer_move(&move->sleeper->timer, move->deadlines_ns[i]);
    }
}

/* An hour's sleep that another thread shortens while the pool sleeps. */
static void sleep_is_shortened_by_another_thread(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t start_ns = tocsin_pool_now_ns(pool);
    struct sleeper sleeper;
    struct move move = {&sleeper, {start_ns + 2 * MS_NS}};

    sleeper_spawn(t, pool, &sleeper, start_ns + HOUR_NS);
    conform_at_sleep(t, move_elsewhere, &move);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, sleeper.woke_ns >= start_ns + 2 * MS_NS);
    CHECK(t, sleeper.woke_ns < start_ns + HOUR_NS);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_task_unref(&sleeper.task.task);
    CHECK_GONE(t, &sleeper.task);
    conform_pool_close(t, pool);
}

/* Where the machine takes so long that the pool does not get to sleep, try a longer one. */
static void sleep_is_prolonged_by_another_thread(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t delay_ns = MS_NS;
    struct sleeper sleeper;
    struct move move;

    do {
        uint64_t start_ns = tocsin_pool_now_ns(pool);

        delay_ns *= 2;
        move = (struct move){&sleeper, {start_ns + 2 * delay_ns}};
        sleeper_spawn(t, pool, &sleeper, start_ns + delay_ns);
        conform_at_sleep(t, move_elsewhere, &move);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, sleeper.woke_ns >= start_ns + delay_ns);
        tocsin_task_unref(&sleeper.task.task);
    } while (t->hook != NULL);
    CHECK(t, sleeper.woke_ns >= move.deadlines_ns[0]);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    conform_pool_close(t, pool);
}

static void of_two_moves_the_last_counts(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t start_ns = tocsin_pool_now_ns(pool);
    struct sleeper sleeper;
    struct move move = {&sleeper, {start_ns + 3 * MS_NS, start_ns + 9 * MS_NS}};

    sleeper_spawn(t, pool, &sleeper, start_ns + HOUR_NS);
    conform_at_sleep(t, move_elsewhere, &move);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, sleeper.woke_ns >= start_ns + 9 * MS_NS);
    CHECK(t, sleeper.woke_ns < start_ns + HOUR_NS);
    tocsin_task_unref(&sleeper.task.task);
    conform_pool_close(t, pool);
}

static void move_to_never_disarms(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task busy = {0};
    struct sleeper sleeper;
    struct move move = {&sleeper, {TOCSIN_NEVER_NS}};

    sleeper_spawn(t, pool, &sleeper, tocsin_pool_now_ns(pool) + HOUR_NS);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_elsewhere(t, move_elsewhere, &move);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, tocsin_timer_deadline_ns(&sleeper.timer), TOCSIN_NEVER_NS);
    CHECK_EQ(t, tocsin_task_cancel(&sleeper.task.task), 0);
    conform_spawn(t, tocsin_pool_driver(pool), &busy, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&sleeper.task.task);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &sleeper.task);
}

static void disarm_drops_the_waker(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct tocsin_timer timer;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx, tocsin_pool_now_ns(pool) + HOUR_NS), TOCSIN_PENDING);
    CHECK_EQ(t, probe_references(&probe), 1);
    CHECK(t, tocsin_timer_disarm(&timer));
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);

    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx, tocsin_pool_now_ns(pool) + HOUR_NS), TOCSIN_PENDING);
    tocsin_timer_deinit(&timer);
    CHECK_EQ(t, probe_references(&probe), 0);
    conform_pool_close(t, pool);
}

static void poll_with_zero_waits_for_what_was_armed(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t deadline_ns = tocsin_pool_now_ns(pool) + 2 * MS_NS;
    struct sleeper sleeper;

    sleeper_spawn(t, pool, &sleeper, 0);
    tocsin_timer_arm(&sleeper.timer, deadline_ns);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, sleeper.woke_ns >= deadline_ns);
    tocsin_task_unref(&sleeper.task.task);
    conform_pool_close(t, pool);
}

/*
 * Deadlines lie a little behind a full millisecond, so that a wait that is rounded up to the next
 * one is late by nearly one each time.  One in time is enough: the machine may be busy.
 */
static void sleep_ends_between_two_milliseconds(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t earliest_ns = TOCSIN_NEVER_NS;

    for (unsigned i = 0; i < 500 && earliest_ns >= MS_NS / 2; i++) {
        uint64_t deadline_ns = (tocsin_pool_now_ns(pool) / MS_NS + 2) * MS_NS + MS_NS / 10;
        struct sleeper sleeper;

        sleeper_spawn(t, pool, &sleeper, deadline_ns);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, sleeper.woke_ns >= deadline_ns);
        earliest_ns = sleeper.woke_ns - deadline_ns < earliest_ns ? sleeper.woke_ns - deadline_ns
                                                                  : earliest_ns;
        tocsin_task_unref(&sleeper.task.task);
    }
    CHECK(t, earliest_ns < MS_NS / 2);
    conform_pool_close(t, pool);
}

static void never_called(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    CHECK((struct conform *)arg, false && "it was never armed");
}

static void poll_of_a_callback_timer_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct tocsin_timer timer;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), never_called, t) == 0);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx, 1), -EINVAL);
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, tocsin_timer_deadline_ns(&timer), TOCSIN_NEVER_NS);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    sleep,
    CASE(sleep_ends_at_its_deadline, "T1", "A task sleeps until its deadline, in two polls.", 0),
    CASE(sleep_ends_between_two_milliseconds, "T1",
         "A sleep ends within microseconds of its deadline, not at the next millisecond.",
         TOCSIN_BACKEND_FINE_DEADLINE),
    CASE(sleep_until_the_past_is_over, "6", "A deadline that has passed takes no wait.", 0),
    CASE(sleeper_polled_early_sleeps_on, "6", "Spurious polls do not end a sleep.", 0),
    CASE(sleep_is_shortened_by_another_thread, "T3",
         "A thread moves the deadline of a sleep to earlier, and it ends then.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(sleep_is_prolonged_by_another_thread, "T3",
         "A thread moves the deadline of a sleep to later: no kick, and it ends then.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(of_two_moves_the_last_counts, "T3", "Two moves in one sleep: the last deadline stands.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(move_to_never_disarms, "6", "A move to never disarms.", TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(disarm_drops_the_waker, "6", "A timer that is disarmed keeps no waker and wakes none.", 0),
    CASE(poll_with_zero_waits_for_what_was_armed, "6",
         "A poll with 0 takes the deadline that was armed.", 0),
    CASE(poll_of_a_callback_timer_is_refused, "6", "A timer with a callback is not polled.", 0));
