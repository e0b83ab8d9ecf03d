/*
 * Virtual time: it moves when nothing can run, to the next thing that is to happen, and not while
 * somebody holds the simulation.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/unit/sim.h"

enum {
    SLEEPERS = 60,
    YIELDS = 1000,
};

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One that sleeps for a minute, sixty times. */
struct sleeper {
    struct tocsin_task task;
    struct tocsin_timer timer;
    struct tocsin_pool *pool;
    uint64_t deadline_ns; /* 0: not asleep */
    unsigned sleeps;
};

static int poll_sleeper(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct sleeper *self = (struct sleeper *)(void *)task;

    while (self->sleeps < SLEEPERS) {
        if (self->deadline_ns == 0) {
            self->deadline_ns = tocsin_pool_now_ns(self->pool) + 60 * UNIT_S;
        }
        if (tocsin_timer_poll(&self->timer, cx, self->deadline_ns) == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        self->deadline_ns = 0;
        self->sleeps++;
    }
    return 0;
}

static void an_hour_of_sleeps_takes_no_time(void **state)
{
    static const struct tocsin_task_ops ops = {.poll = poll_sleeper};
    struct tocsin_sim *sim = unit_sim(1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    uint64_t begin_ns = tocsin_pool_now_ns(pool);
    double begin = seconds_now();
    struct sleeper sleeper = {.pool = pool};

    (void)state;
    assert_int_equal(tocsin_timer_init(&sleeper.timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    assert_int_equal(tocsin_task_spawn(tocsin_pool_driver(pool), &sleeper.task, &ops, "sleeper"),
                     0);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(sleeper.sleeps, SLEEPERS);
    assert_true(tocsin_pool_now_ns(pool) - begin_ns == 3600 * UNIT_S);
    assert_true(seconds_now() - begin < 1.0);
    tocsin_timer_deinit(&sleeper.timer);
    unit_sim_close(sim, pool);
}

static int poll_yields(struct unit_task *task, struct tocsin_context *cx)
{
    return unit_load(&task->polls) < YIELDS ? tocsin_task_yield(cx) : 0;
}

static void time_stands_while_something_can_run(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    struct unit_task task = {.poll = poll_yields};
    const struct tocsin_timer_options options = {.delay_ns = 1, .background = true};
    struct tocsin_timer timer;
    uint64_t begin_ns = tocsin_pool_now_ns(pool);

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), unit_sim_ignore, NULL), 0);
    tocsin_timer_start(&timer, &options);
    unit_task_spawn(&task, tocsin_pool_driver(pool), "yields");
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, NULL), 0);
    assert_int_equal(unit_load(&task.polls), YIELDS);
    assert_true(tocsin_pool_now_ns(pool) == begin_ns);
    tocsin_task_unref(&task.task);
    tocsin_timer_deinit(&timer);
    unit_sim_close(sim, pool);
}

struct yielder {
    struct tocsin_sim *sim;
    uint64_t slept_ns;
    uint64_t yielded_ns;
};

static void sleep_a_little(void *arg)
{
    struct yielder *self = arg;

    UNIT_CHECK(tocsin_sim_sleep(self->sim, 1) == 0);
    self->slept_ns = tocsin_sim_now_ns(self->sim);
}

/* However long another actor runs on, through points, no time goes by. */
static void time_stands_while_another_actor_can_run(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct yielder yielder = {.sim = unit_sim(seed)};
        uint64_t begin_ns = tocsin_sim_now_ns(yielder.sim);
        struct tocsin_sim_thread *thread;

        assert_int_equal(
            tocsin_sim_thread_start(yielder.sim, &thread, NULL, sleep_a_little, &yielder), 0);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(tocsin_sim_yield(yielder.sim), 0);
        }
        yielder.yielded_ns = tocsin_sim_now_ns(yielder.sim);
        assert_int_equal(tocsin_sim_thread_join(thread), 0);
        assert_true(yielder.yielded_ns == begin_ns);
        assert_true(yielder.slept_ns == begin_ns + 1);
        assert_int_equal(tocsin_sim_close(yielder.sim), 0);
    }
    (void)state;
}

static void sleeps_end_in_the_order_of_their_deadlines(void **state)
{
    struct tocsin_sim *sim = unit_sim(3);
    struct tocsin_sim_thread *thread;
    struct yielder yielder = {.sim = sim};
    uint64_t begin_ns = tocsin_sim_now_ns(sim);

    (void)state;
    assert_int_equal(tocsin_sim_thread_start(sim, &thread, NULL, sleep_a_little, &yielder), 0);
    assert_int_equal(tocsin_sim_sleep(sim, 2), 0);
    assert_true(yielder.slept_ns == begin_ns + 1);
    assert_true(tocsin_sim_now_ns(sim) == begin_ns + 2);
    assert_int_equal(tocsin_sim_thread_join(thread), 0);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static void passing_time_makes_due(void **state)
{
    const struct tocsin_sim_link_options options = {.latency_min_ns = 10, .latency_max_ns = 10};
    struct tocsin_sim *sim = unit_sim(1);
    uint64_t begin_ns = tocsin_sim_now_ns(sim);
    intptr_t ends[2];
    char byte;

    (void)state;
    assert_int_equal(tocsin_sim_pipe(sim, &options, ends), 0);
    assert_int_equal(tocsin_sim_object_write(sim, ends[1], "x", 1), 1);
    assert_int_equal(tocsin_sim_pass(sim, 9), 0);
    assert_int_equal(tocsin_sim_object_read(sim, ends[0], &byte, 1), -EAGAIN);
    assert_int_equal(tocsin_sim_pass(sim, 1), 0);
    assert_int_equal(tocsin_sim_object_read(sim, ends[0], &byte, 1), 1);
    assert_true(tocsin_sim_now_ns(sim) == begin_ns + 10);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static void reading_the_clock_takes_time_if_asked(void **state)
{
    const struct tocsin_sim_options options = {.start_ns = 100, .clock_step_ns = 7};
    struct tocsin_pool *pool;
    struct tocsin_sim *sim;

    (void)state;
    assert_int_equal(tocsin_sim_open(&sim, &options), 0);
    pool = unit_sim_pool(sim);
    assert_true(tocsin_pool_now_ns(pool) == 107);
    assert_true(tocsin_sim_now_ns(sim) == 114);
    tocsin_sim_hold(sim);
    assert_true(tocsin_sim_now_ns(sim) == 114);
    assert_int_equal(tocsin_sim_pass(sim, 1), -EBUSY);
    assert_true(tocsin_pool_now_ns(pool) == 114);
    tocsin_sim_unhold(sim);
    unit_sim_close(sim, pool);
}

/* A thread of the world's that holds the simulation, and one actor that sleeps meanwhile. */
struct held {
    struct tocsin_sim *sim;
    uint64_t seen_ns;
    intptr_t number;
};

static void hold_until_it_sleeps(void *arg)
{
    struct held *held = arg;
    const uint64_t one = 1;
    char report[512];

    tocsin_sim_hold(held->sim); /* its own, beside the one that was taken for it */
    do {
        (void)tocsin_sim_report(held->sim, report, sizeof(report));
    } while (strstr(report, "\"main\" runs pool") == NULL);
    held->seen_ns = tocsin_sim_now_ns(held->sim);
    UNIT_CHECK(tocsin_sim_object_write(held->sim, held->number, &one, sizeof(one)) == sizeof(one));
    tocsin_sim_unhold(held->sim);
    tocsin_sim_unhold(held->sim);
}

static void a_hold_stops_the_time(void **state)
{
    const struct tocsin_timer_options options = {.delay_ns = UNIT_MS};
    struct held held = {.sim = unit_sim(1)};
    struct tocsin_pool *pool = unit_sim_pool(held.sim);
    uint64_t begin_ns = tocsin_pool_now_ns(pool);
    struct support_thread thread;
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(tocsin_sim_event(held.sim, 0, false, &held.number), 0);
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), unit_sim_ignore, NULL), 0);
    tocsin_timer_start(&timer, &options);
    tocsin_sim_hold(held.sim);
    support_thread_start(&thread, 1, hold_until_it_sleeps, &held);
    assert_int_equal(tocsin_pool_run(pool), 0);
    support_thread_join(&thread);
    assert_true(held.seen_ns == begin_ns);
    assert_true(tocsin_pool_now_ns(pool) == begin_ns + UNIT_MS);
    assert_int_equal(tocsin_sim_object_events(held.sim, held.number), TOCSIN_IN | TOCSIN_OUT);
    tocsin_timer_deinit(&timer);
    unit_sim_close(held.sim, pool);
}

static void give_back(void *arg)
{
    tocsin_sim_unhold(arg);
}

static void giving_back_what_nobody_holds_is_a_bug(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);

    (void)state;
    tocsin_sim_hold(sim);
    tocsin_sim_unhold(sim);
    unit_expect_abort(give_back, sim, "nobody holds");
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_hour_of_sleeps_takes_no_time),
    cmocka_unit_test(time_stands_while_something_can_run),
    cmocka_unit_test(time_stands_while_another_actor_can_run),
    cmocka_unit_test(sleeps_end_in_the_order_of_their_deadlines),
    cmocka_unit_test(passing_time_makes_due),
    cmocka_unit_test(reading_the_clock_takes_time_if_asked),
    cmocka_unit_test(a_hold_stops_the_time),
    cmocka_unit_test(giving_back_what_nobody_holds_is_a_bug),
};

UNIT_MAIN(tests)
