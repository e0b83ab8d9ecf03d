/*
 * Turns: budgets, looks, the order inside a turn, and the busy option, on a clock that is moved.
 */
#include <tocsin/pool.h>

#include <errno.h>
#include <string.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

#define US UINT64_C(1000)

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(const struct tocsin_pool_options *wanted)
{
    struct tocsin_pool_options options = *wanted;

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    options.allocator = &memory.allocator;
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* Yields until the task's arg, a count of polls, is reached; each poll takes cost_ns. */
static uint64_t cost_ns;

static int yield_until(struct unit_task *task, struct tocsin_context *cx)
{
    const unsigned *until = task->arg;

    atomic_fetch_add_explicit(&fake.now_ns, cost_ns, memory_order_relaxed);
    return unit_load(&task->polls) < *until ? tocsin_task_yield(cx) : 0;
}

/* Run a task for @polls polls of @poll_cost_ns each.  Returns: how often the backend was asked. */
static unsigned looks_during(const struct tocsin_pool_options *options, unsigned polls,
                             uint64_t poll_cost_ns)
{
    struct tocsin_pool *pool = open_pool(options);
    struct unit_task task = {.poll = yield_until, .arg = &polls};
    unsigned looks;

    cost_ns = poll_cost_ns;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(unit_load(&task.polls), polls);
    looks = fake.looks;
    tocsin_task_unref(&task.task);
    close_pool(pool);
    return looks;
}

/* F3: as often as fairness asks, and no more often. */
static void busy_turns_look_once_per_budget(void **state)
{
    static const struct tocsin_pool_options defaults = {.allocator = NULL};
    static const struct tocsin_pool_options ten = {.budget_polls = 10};
    static const struct tocsin_pool_options one = {.budget_polls = 1};

    (void)state;
    assert_in_range(looks_during(&defaults, 25600, 0), 98, 100);
    assert_in_range(looks_during(&ten, 1000, 0), 98, 100);
    assert_in_range(looks_during(&one, 100, 0), 98, 100);
}

/* F1: beyond budget_ns a batch ends at the next clock read, which every 16th poll makes. */
static void slow_polls_end_the_batch_at_the_next_clock_read(void **state)
{
    static const struct tocsin_pool_options defaults = {.allocator = NULL};
    static const struct tocsin_pool_options four = {.clock_polls = 4};
    static const struct tocsin_pool_options patient = {.budget_ns = 10000 * US};

    (void)state;
    assert_in_range(looks_during(&defaults, 1600, 300 * US), 98, 101);
    assert_in_range(looks_during(&four, 1600, 300 * US), 396, 401);
    assert_in_range(looks_during(&patient, 25600, 1), 98, 101);
}

static void fast_polls_read_the_clock_rarely(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 256};
    struct tocsin_pool *pool = open_pool(&options);
    unsigned polls = 2560;
    struct unit_task task = {.poll = yield_until, .arg = &polls};
    uint64_t before_ns;

    (void)state;
    cost_ns = 0;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    fake.tick_ns = 1; /* from here on the clock counts how often it is read */
    before_ns = atomic_load_explicit(&fake.now_ns, memory_order_relaxed);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_in_range(atomic_load_explicit(&fake.now_ns, memory_order_relaxed) - before_ns, 160, 200);
    tocsin_task_unref(&task.task);
    close_pool(pool);
}

static void a_budget_that_timers_use_up_still_runs_a_task(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 1};
    struct tocsin_pool *pool = open_pool(&options);
    unsigned polls = 50;
    struct unit_task task = {.poll = yield_until, .arg = &polls};
    struct tocsin_timer timer;

    (void)state;
    cost_ns = US;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    tocsin_timer_start(
        &timer, &(struct tocsin_timer_options){.delay_ns = 1, .period_ns = 1, .background = true});
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(unit_load(&task.polls), 50);
    tocsin_timer_deinit(&timer);
    tocsin_task_unref(&task.task);
    close_pool(pool);
}

static void note_f(struct tocsin_watch *watch, int events, void *arg)
{
    (void)watch;
    (void)events;
    strcat(arg, "f");
}

static void note_p(void *arg, int status)
{
    (void)status;
    strcat(arg, "p");
}

static void note_t(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    strcat(arg, "t");
}

/* 4.2: inbox, timers, then the queue in the order of waking: first what a look found, here. */
static void a_turn_goes_in_its_order(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 256};
    struct tocsin_pool *pool = open_pool(&options);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_watch watch = {.ready_ = NULL};
    struct tocsin_timer timer;
    char order[8] = "";

    (void)state;
    assert_int_equal(tocsin_watch_start(&watch, driver, unit_number(3), TOCSIN_IN, note_f, order),
                     0);
    assert_int_equal(tocsin_timer_init(&timer, driver, note_t, order), 0);
    tocsin_post(driver, note_p, order);
    tocsin_timer_arm(&timer, 1);
    unit_fake_event(&fake, watch.ready_->watch.id, TOCSIN_IN);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_string_equal(order, "tfp");
    tocsin_timer_deinit(&timer);
    tocsin_watch_stop(&watch);
    close_pool(pool);
}

struct chained {
    struct tocsin__wakers *wakers;
    unsigned woken;
};

static void chained_wake(void *data)
{
    struct chained *chained = data;

    chained->woken++;
    tocsin__wakers_wake(chained->wakers); /* as a waker that comes back does */
}

static void chained_drop(void *data)
{
    (void)data;
}

static void a_waker_that_comes_back_wakes_nobody_twice(void **state)
{
    static const struct tocsin_waker_ops ops = {.clone = chained_drop,
                                                .wake = chained_wake,
                                                .wake_by_ref = chained_wake,
                                                .drop = chained_drop};
    struct tocsin_waker storage[3];
    struct tocsin__wakers wakers = {.wakers = storage, .count = 3};
    struct chained chained[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        chained[i] = (struct chained){.wakers = &wakers};
        storage[i] = (struct tocsin_waker){.ops = &ops, .data = &chained[i]};
    }
    tocsin__wakers_wake(&wakers);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(chained[i].woken, 1);
    }
    assert_int_equal(wakers.count, 0);
    assert_int_equal(wakers.next, 0);
}

/* ---- The busy option ---------------------------------------------------------------------------
 */

static struct tocsin_pool *open_busy(uint64_t busy_ns)
{
    struct tocsin_pool_options options = {.busy_poll_ns = 100};
    struct tocsin_pool *pool = open_pool(&options);

    pool->options.busy_poll_ns = busy_ns; /* whatever this machine's processors */
    fake.tick_ns = 100;                   /* time passes as it is looked at */
    return pool;
}

static void busy_polling_ends_at_its_limit_and_then_sleeps(void **state)
{
    struct tocsin_pool *pool = open_busy(10000);
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 1000 * US});
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_in_range(fake.looks, 50, 101);
    assert_int_equal(fake.waits, 1);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void busy_polling_ends_at_a_deadline(void **state)
{
    struct tocsin_pool *pool = open_busy(1000 * US);
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 5000});
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_in_range(fake.looks, 10, 60);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void wake_at_the_fifth_look(struct unit_fake *woken, struct tocsin_backend_events *list)
{
    (void)list;
    if (woken->looks == 5) {
        tocsin_pool_stop(woken->arg);
    }
}

static void busy_polling_ends_with_a_wake_that_costs_no_kick(void **state)
{
    struct tocsin_pool *pool = open_busy(TOCSIN_NEVER_NS / 2);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    fake.on_look = wake_at_the_fifth_look;
    fake.arg = pool;
    assert_int_equal(tocsin_pool_run(pool), 1);
    assert_in_range(fake.looks, 5, 6);
    assert_int_equal(fake.waits, 0);
    assert_int_equal(unit_load(&fake.kicks), 0);
    tocsin_driver_unref(driver);
    close_pool(pool);
}

static void wake_in_the_gap(struct unit_fake *woken, struct tocsin_backend_events *list)
{
    (void)list;
    tocsin_pool_stop(woken->arg);
}

/* W4: a kick that came between the decision to sleep and the wait ends the wait. */
static void a_wake_before_the_wait_blocks_ends_it(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 256};
    struct tocsin_pool *pool = open_pool(&options);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    fake.on_wait = wake_in_the_gap;
    fake.arg = pool;
    assert_int_equal(tocsin_pool_run(pool), 1);
    assert_int_equal(fake.waits, 1);
    assert_int_equal(unit_load(&fake.kicks), 1);
    tocsin_driver_unref(driver);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(busy_turns_look_once_per_budget),
    cmocka_unit_test(slow_polls_end_the_batch_at_the_next_clock_read),
    cmocka_unit_test(fast_polls_read_the_clock_rarely),
    cmocka_unit_test(a_budget_that_timers_use_up_still_runs_a_task),
    cmocka_unit_test(a_turn_goes_in_its_order),
    cmocka_unit_test(a_waker_that_comes_back_wakes_nobody_twice),
    cmocka_unit_test(busy_polling_ends_at_its_limit_and_then_sleeps),
    cmocka_unit_test(busy_polling_ends_at_a_deadline),
    cmocka_unit_test(busy_polling_ends_with_a_wake_that_costs_no_kick),
    cmocka_unit_test(a_wake_before_the_wait_blocks_ends_it),
};

UNIT_MAIN(tests)
