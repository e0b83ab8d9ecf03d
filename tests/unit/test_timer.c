/*
 * Timers on a clock that is moved: places, order, periods, moves from elsewhere, both faces.
 */
#include <tocsin/timer.h>

#include <errno.h>
#include <string.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)

static struct unit_fake fake;
static struct unit_memory memory;

/* The letters of the timers that fired, in turn. */
static char fired[64];

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    memset(fired, 0, sizeof(fired));
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static uint64_t now(void)
{
    return atomic_load_explicit(&fake.now_ns, memory_order_relaxed);
}

static void advance(uint64_t delay_ns)
{
    atomic_fetch_add_explicit(&fake.now_ns, delay_ns, memory_order_relaxed);
}

/* @arg is the timer's letter. */
static void note(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    size_t length = strlen(fired);

    (void)timer;
    (void)missed;
    UNIT_CHECK(length < sizeof(fired) - 1);
    fired[length] = *(const char *)arg;
}

static void init(struct tocsin_timer *timer, struct tocsin_pool *pool, const char *letter)
{
    UNIT_CHECK(
        tocsin_timer_init(timer, tocsin_pool_driver(pool), note, (void *)(uintptr_t)letter) == 0);
}

/* T4: by deadline, ties by the order of arming; arming anew makes it the last of the tie. */
static void due_timers_fire_in_the_order_of_deadline_and_arming(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timers[5];
    static const char letters[] = "abcde";
    static const unsigned deadlines[] = {5, 3, 5, 1, 3};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        init(&timers[i], pool, &letters[i]);
        tocsin_timer_arm(&timers[i], now() + deadlines[i]);
    }
    tocsin_timer_arm(&timers[1], now() + 3);
    advance(10);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_string_equal(fired, "debac");
    for (unsigned i = 0; i < 5; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    close_pool(pool);
}

static void a_timer_fires_at_its_deadline_and_not_before(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;

    (void)state;
    init(&timer, pool, "a");
    tocsin_timer_arm(&timer, now() + 1000);
    advance(999);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_string_equal(fired, "");
    advance(1);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_string_equal(fired, "a");
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

/* T1: a right timeout spares the second turn. */
static void a_sleep_asks_for_the_exact_deadline_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;
    uint64_t deadline_ns = now() + 123457;

    (void)state;
    init(&timer, pool, "a");
    tocsin_timer_arm(&timer, deadline_ns);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(fake.waits, 1);
    assert_int_equal(fake.waited_ns, deadline_ns);
    assert_int_equal(now(), deadline_ns);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void start_here(void *arg)
{
    advance(700); /* the turn's own time is old by now */
    tocsin_timer_start(arg, &(struct tocsin_timer_options){.delay_ns = 1000});
}

static void a_relative_start_counts_from_the_clock_itself(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;
    uint64_t start_ns = now();

    (void)state;
    init(&timer, pool, "a");
    unit_in_turn(pool, start_here, &timer);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 1700);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = TOCSIN_NEVER_NS});
    assert_int_equal(tocsin_timer_deadline_ns(&timer), TOCSIN_NEVER_NS);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = TOCSIN_NEVER_NS - 1});
    assert_int_equal(tocsin_timer_deadline_ns(&timer), TOCSIN_NEVER_NS); /* it would overflow */
    assert_int_equal(pool->alive, 0);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

/* M2: what is armed counts once, what is in the background does not. */
static void armed_timers_keep_runs_alive_unless_in_the_background(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;

    (void)state;
    init(&timer, pool, "a");
    assert_int_equal(pool->alive, 0);
    tocsin_timer_arm(&timer, now() + MS);
    tocsin_timer_arm(&timer, now() + 2 * MS);
    assert_int_equal(pool->alive, 1);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 1, .background = true});
    assert_int_equal(pool->alive, 0);
    tocsin_timer_arm(&timer, now() + MS); /* moves it: it stays in the background */
    assert_int_equal(pool->alive, 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 1});
    assert_int_equal(pool->alive, 1);
    assert_true(tocsin_timer_disarm(&timer));
    assert_false(tocsin_timer_disarm(&timer));
    assert_int_equal(pool->alive, 0);
    tocsin_timer_arm(&timer, now() + MS);
    tocsin_timer_arm(&timer, TOCSIN_NEVER_NS);
    assert_int_equal(pool->alive, 0);
    tocsin_timer_deinit(&timer);
    assert_int_equal(pool->heap.reserved, 0);
    close_pool(pool);
}

/* ---- Callbacks that change what is due ---------------------------------------------------------
 */

struct pair {
    struct tocsin_pool *pool;
    struct tocsin_timer first;
    struct tocsin_timer second;
    unsigned second_fired;
};

static void count_second(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct pair *pair = arg;

    (void)timer;
    (void)missed;
    pair->second_fired++;
}

static void disarm_second(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct pair *pair = arg;

    (void)timer;
    (void)missed;
    UNIT_CHECK(tocsin_timer_disarm(&pair->second));
}

static void deinit_both(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct pair *pair = arg;

    (void)missed;
    tocsin_timer_deinit(timer);
    tocsin_timer_deinit(&pair->second);
    memset(timer, 0xdd, sizeof(*timer)); /* as free would */
}

static void arm_self_for_the_past(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct pair *pair = arg;

    (void)missed;
    if (++pair->second_fired < 3) {
        tocsin_timer_arm(timer, 1);
    }
}

static void start_pair(struct pair *pair, tocsin_timer_fn *fn)
{
    *pair = (struct pair){.pool = open_pool()};
    UNIT_CHECK(tocsin_timer_init(&pair->first, tocsin_pool_driver(pair->pool), fn, pair) == 0);
    UNIT_CHECK(
        tocsin_timer_init(&pair->second, tocsin_pool_driver(pair->pool), count_second, pair) == 0);
    tocsin_timer_arm(&pair->first, now());
    tocsin_timer_arm(&pair->second, now());
}

/* M1: the second one is due already, and on its way. */
static void a_due_timer_that_is_disarmed_does_not_fire(void **state)
{
    struct pair pair;

    (void)state;
    start_pair(&pair, disarm_second);
    assert_int_equal(tocsin_pool_turn(pair.pool), 0);
    assert_int_equal(pair.second_fired, 0);
    tocsin_timer_deinit(&pair.first);
    tocsin_timer_deinit(&pair.second);
    close_pool(pair.pool);
}

static void a_timer_may_be_freed_in_its_own_callback(void **state)
{
    struct pair pair;

    (void)state;
    start_pair(&pair, deinit_both);
    assert_int_equal(tocsin_pool_turn(pair.pool), 0);
    assert_int_equal(pair.second_fired, 0);
    assert_int_equal(pair.pool->heap.reserved, 0);
    close_pool(pair.pool);
}

static void what_a_callback_arms_for_the_past_waits_for_the_next_turn(void **state)
{
    struct pair pair;

    (void)state;
    start_pair(&pair, arm_self_for_the_past);
    tocsin_timer_disarm(&pair.second);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(tocsin_pool_turn(pair.pool), i < 3);
        assert_int_equal(pair.second_fired, i);
    }
    tocsin_timer_deinit(&pair.first);
    tocsin_timer_deinit(&pair.second);
    close_pool(pair.pool);
}

static void a_turn_fires_at_most_its_budget(void **state)
{
    enum { TIMERS = 20 };
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timers[TIMERS];

    (void)state;
    pool->options.budget_polls = 8;
    for (unsigned i = 0; i < TIMERS; i++) {
        init(&timers[i], pool, "x");
        tocsin_timer_arm(&timers[i], 1);
    }
    tocsin_pool_turn(pool);
    assert_int_equal(strlen(fired), 8);
    tocsin_pool_turn(pool);
    assert_int_equal(strlen(fired), 16);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(strlen(fired), TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    close_pool(pool);
}

/* ---- Periods -----------------------------------------------------------------------------------
 */

struct periodic {
    unsigned calls;
    uint64_t missed;
};

static void count_missed(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct periodic *periodic = arg;

    (void)timer;
    periodic->calls++;
    periodic->missed += missed;
}

static void periods_do_not_drift_and_tell_what_was_missed(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct periodic periodic = {.calls = 0};
    struct tocsin_timer timer;
    uint64_t start_ns = now();

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), count_missed, &periodic),
                     0);
    tocsin_timer_start(
        &timer, &(struct tocsin_timer_options){.deadline_ns = start_ns + 100, .period_ns = 100});
    advance(130); /* 30 late */
    tocsin_pool_turn(pool);
    assert_int_equal(periodic.calls, 1);
    assert_int_equal(periodic.missed, 0);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 200);
    advance(370); /* 500: those of 300, 400 and 500 went by, too */
    tocsin_pool_turn(pool);
    assert_int_equal(periodic.calls, 2);
    assert_int_equal(periodic.missed, 3);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 600);
    assert_int_equal(pool->alive, 1);
    tocsin_timer_arm(&timer, start_ns + 650); /* the period stays, and counts from here */
    advance(150);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 750);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void stop_after_three(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct periodic *periodic = arg;

    (void)missed;
    if (++periodic->calls == 3) {
        UNIT_CHECK(tocsin_timer_disarm(timer));
    }
}

static void a_periodic_timer_can_disarm_itself(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct periodic periodic = {.calls = 0};
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(
        tocsin_timer_init(&timer, tocsin_pool_driver(pool), stop_after_three, &periodic), 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 5, .period_ns = MS});
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(periodic.calls, 3);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void a_period_beyond_the_end_of_time_fires_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct periodic periodic = {.calls = 0};
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), count_missed, &periodic),
                     0);
    tocsin_timer_start(&timer,
                       &(struct tocsin_timer_options){.delay_ns = 5, .period_ns = TOCSIN_NEVER_NS});
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(periodic.calls, 1);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

/* ---- Moves from other threads ------------------------------------------------------------------
 */

struct move {
    struct tocsin_timer *timer;
    uint64_t deadline_ns;
};

static void move_here(void *arg)
{
    const struct move *move = arg;

    tocsin_timer_move(move->timer, move->deadline_ns);
}

static void move_elsewhere(struct tocsin_timer *timer, uint64_t deadline_ns)
{
    struct move move = {timer, deadline_ns};

    support_elsewhere(move_here, &move);
}

static void a_move_to_later_kicks_nobody_and_one_to_earlier_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;
    uint64_t start_ns = now();

    (void)state;
    init(&timer, pool, "a");
    tocsin_timer_arm(&timer, start_ns + 100 * MS);
    tocsin_pool_turn(pool);
    move_elsewhere(&timer, start_ns + 200 * MS);
    move_elsewhere(&timer, start_ns + 100 * MS);
    move_elsewhere(&timer, TOCSIN_NEVER_NS);
    assert_int_equal(unit_load(&fake.kicks), 0); /* T3 */
    move_elsewhere(&timer, start_ns + 50 * MS);
    move_elsewhere(&timer, start_ns + 40 * MS);
    assert_int_equal(unit_load(&fake.kicks), 1);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 100 * MS); /* not seen yet */
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), start_ns + 40 * MS); /* the last counts */
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void a_move_that_came_before_a_disarm_does_not_undo_it(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;

    (void)state;
    init(&timer, pool, "a");
    tocsin_pool_turn(pool);
    move_elsewhere(&timer, now() + 1);
    assert_true(tocsin_timer_disarm(&timer)); /* the move had armed it */
    advance(10);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_string_equal(fired, "");
    move_elsewhere(&timer, 0); /* long past: it fires on the next turn */
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_string_equal(fired, "a");
    move_elsewhere(&timer, now() + 1);
    tocsin_timer_deinit(&timer); /* takes it out of the inbox, too */
    memset(&timer, 0xdd, sizeof(timer));
    advance(10);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_string_equal(fired, "a");
    close_pool(pool);
}

/* Called once before the next push to an inbox. */
static support_body_fn *before_push;
static void *before_push_arg;

bool __real_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item);
bool __wrap_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item);

bool __wrap_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item)
{
    support_body_fn *fn = before_push;

    before_push = NULL;
    if (fn != NULL) {
        fn(before_push_arg);
    }
    return __real_tocsin__inbox_push(inbox, item);
}

/* Moves to 3 ms; the pool wakes for that, finds no item and sleeps on. */
static void move_earlier_and_turn(void *arg)
{
    struct tocsin_timer *timer = arg;

    move_elsewhere(timer, atomic_load_explicit(&fake.now_ns, memory_order_relaxed) + 3 * MS);
    UNIT_CHECK(tocsin_pool_turn(tocsin__pool_of(timer->driver_)) == 1);
}

/* A second mover that found the word taken and did not push: the first must speak for it. */
static void the_mover_that_pushes_speaks_for_the_one_that_did_not(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timers[2];
    uint64_t start_ns = now();
    unsigned kicks;

    (void)state;
    init(&timers[0], pool, "a");
    init(&timers[1], pool, "b");
    tocsin_timer_arm(&timers[1], start_ns + 5 * MS);
    tocsin_pool_turn(pool);
    before_push = move_earlier_and_turn;
    before_push_arg = &timers[0];
    kicks = unit_load(&fake.kicks);
    tocsin_timer_move(&timers[0], start_ns + 9 * MS);
    assert_null(before_push);
    assert_int_equal(unit_load(&fake.kicks), kicks + 2); /* 3 ms is earlier than 5, both times */
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_timer_deadline_ns(&timers[0]), start_ns + 3 * MS);
    tocsin_timer_deinit(&timers[0]);
    tocsin_timer_deinit(&timers[1]);
    close_pool(pool);
}

static void a_move_after_the_pools_end_does_nothing(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;

    (void)state;
    init(&timer, pool, "a");
    assert_int_equal(tocsin_pool_close(pool), 0);
    move_elsewhere(&timer, 1);
    tocsin_timer_arm(&timer, 1);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), TOCSIN_NEVER_NS);
    tocsin_timer_deinit(&timer);
    tocsin_timer_deinit(&timer); /* twice is once */
    assert_int_equal(unit_load(&memory.live), 0);
}

/* ---- The polling face --------------------------------------------------------------------------
 */

static void a_polled_timer_keeps_the_waker_and_tells_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_timer timer;
    uint64_t deadline_ns = now() + 100;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tocsin_timer_poll(&timer, &cx, deadline_ns), TOCSIN_PENDING);
        assert_int_equal(unit_load(&counts.refs), 1);
    }
    assert_int_equal(tocsin_timer_deadline_ns(&timer), deadline_ns);
    advance(100);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, 0), 0);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, 0), TOCSIN_PENDING); /* nothing is armed */
    tocsin_timer_deinit(&timer);
    assert_int_equal(unit_load(&counts.refs), 0);
    close_pool(pool);
}

static void a_deadline_that_has_passed_is_told_at_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_timer timer;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, now()), 0); /* by the clock, not the turn */
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(pool->alive, 0);
    tocsin_timer_deinit(&timer);
    init(&timer, pool, "a");
    assert_int_equal(tocsin_timer_poll(&timer, &cx, 1), -EINVAL); /* it has a callback */
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static void polling_again_leaves_a_moved_deadline_alone(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_timer timer;
    uint64_t asked_ns = now() + 100;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL), 0);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, asked_ns), TOCSIN_PENDING);
    tocsin_pool_turn(pool);
    move_elsewhere(&timer, asked_ns + 50);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, asked_ns), TOCSIN_PENDING);
    assert_int_equal(tocsin_timer_deadline_ns(&timer), asked_ns + 50);
    advance(150);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_timer_poll(&timer, &cx, asked_ns), 0);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(due_timers_fire_in_the_order_of_deadline_and_arming),
    cmocka_unit_test(a_timer_fires_at_its_deadline_and_not_before),
    cmocka_unit_test(a_sleep_asks_for_the_exact_deadline_once),
    cmocka_unit_test(a_relative_start_counts_from_the_clock_itself),
    cmocka_unit_test(armed_timers_keep_runs_alive_unless_in_the_background),
    cmocka_unit_test(a_due_timer_that_is_disarmed_does_not_fire),
    cmocka_unit_test(a_timer_may_be_freed_in_its_own_callback),
    cmocka_unit_test(what_a_callback_arms_for_the_past_waits_for_the_next_turn),
    cmocka_unit_test(a_turn_fires_at_most_its_budget),
    cmocka_unit_test(periods_do_not_drift_and_tell_what_was_missed),
    cmocka_unit_test(a_periodic_timer_can_disarm_itself),
    cmocka_unit_test(a_period_beyond_the_end_of_time_fires_once),
    cmocka_unit_test(a_move_to_later_kicks_nobody_and_one_to_earlier_once),
    cmocka_unit_test(a_move_that_came_before_a_disarm_does_not_undo_it),
    cmocka_unit_test(the_mover_that_pushes_speaks_for_the_one_that_did_not),
    cmocka_unit_test(a_move_after_the_pools_end_does_nothing),
    cmocka_unit_test(a_polled_timer_keeps_the_waker_and_tells_once),
    cmocka_unit_test(a_deadline_that_has_passed_is_told_at_once),
    cmocka_unit_test(polling_again_leaves_a_moved_deadline_alone),
};

UNIT_MAIN(tests)
