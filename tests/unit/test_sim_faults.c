/*
 * Faults by the seed: each slot goes wrong at its rate, nothing is lost by it, and without rates
 * nothing goes wrong.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/sim.h"

enum {
    TRIES = 1000,
    HALF = 500000,
};

static struct tocsin_sim *open_with(const struct tocsin_sim_faults *faults, uint64_t seed)
{
    const struct tocsin_sim_options options = {.seed = seed, .faults = *faults};
    struct tocsin_sim *sim = NULL;

    UNIT_CHECK(tocsin_sim_open(&sim, &options) == 0);
    return sim;
}

static void opening_fails_at_its_rate(void **state)
{
    const struct tocsin_sim_faults faults = {.open_ppm = HALF};
    struct tocsin_sim *sim = open_with(&faults, 1);
    unsigned no_memory = 0;
    unsigned no_file = 0;

    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct tocsin_pool *pool = NULL;
        int r = tocsin_pool_open(&pool, tocsin_sim_backend(sim), NULL);

        no_memory += r == -ENOMEM;
        no_file += r == -EMFILE;
        assert_true(r == 0 || r == -ENOMEM || r == -EMFILE);
        assert_int_equal(tocsin_pool_close(pool), 0);
    }
    assert_in_range(no_memory, TRIES / 8, TRIES * 3 / 8);
    assert_in_range(no_file, TRIES / 8, TRIES * 3 / 8);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static unsigned count_failed_attaches(const struct tocsin_sim_faults *faults, uint64_t seed)
{
    struct tocsin_sim *sim = open_with(faults, seed);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    unsigned failed = 0;
    intptr_t number;

    UNIT_CHECK(tocsin_sim_event(sim, 0, false, &number) == 0);
    for (int i = 0; i < TRIES; i++) {
        struct tocsin_fd_ready *ready = NULL;
        int r =
            tocsin_source_ready_open(tocsin_pool_driver(pool), TOCSIN_SOURCE_OWN, number, &ready);

        UNIT_CHECK(r == 0 || r == -ENOMEM || r == -ENOSPC);
        failed += r < 0;
        UNIT_CHECK(tocsin_fd_ready_close(ready) == 0);
    }
    unit_sim_close(sim, pool);
    return failed;
}

static void attaching_fails_at_its_rate(void **state)
{
    const struct tocsin_sim_faults none = {.attach_ppm = 0};
    const struct tocsin_sim_faults rare = {.attach_ppm = 10000};
    const struct tocsin_sim_faults half = {.attach_ppm = HALF};
    const struct tocsin_sim_faults always = {.attach_ppm = 1000000};

    (void)state;
    assert_int_equal(count_failed_attaches(&none, 1), 0);
    assert_in_range(count_failed_attaches(&rare, 1), 1, 40);
    assert_in_range(count_failed_attaches(&half, 1), TRIES / 3, TRIES * 2 / 3);
    assert_int_equal(count_failed_attaches(&always, 1), TRIES);
    assert_int_equal(count_failed_attaches(&half, 2), count_failed_attaches(&half, 2));
}

static void detaching_fails_at_its_rate_but_detaches(void **state)
{
    const struct tocsin_sim_faults faults = {.detach_ppm = HALF};
    struct tocsin_sim *sim = open_with(&faults, 1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    unsigned no_number = 0;
    unsigned no_watch = 0;
    intptr_t number;

    (void)state;
    assert_int_equal(tocsin_sim_event(sim, 1, false, &number), 0);
    for (int i = 0; i < TRIES; i++) {
        int r = tocsin_fd_ready_close(unit_sim_watch(pool, number)); /* or the next were -EEXIST */

        no_number += r == -EBADF;
        no_watch += r == -ENOENT;
        assert_true(r == 0 || r == -EBADF || r == -ENOENT);
    }
    assert_in_range(no_number, TRIES / 8, TRIES * 3 / 8);
    assert_in_range(no_watch, TRIES / 8, TRIES * 3 / 8);
    unit_sim_close(sim, pool);
}

static void readers_of_the_clock_are_held_up_at_their_rate(void **state)
{
    enum { DELAY_MAX = 5000 };
    const struct tocsin_sim_faults faults = {.now_ppm = HALF, .now_delay_max_ns = DELAY_MAX};
    struct tocsin_sim *sim = open_with(&faults, 1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    uint64_t last_ns = tocsin_pool_now_ns(pool);
    uint64_t longest_ns = 0;
    unsigned delays = 0;

    (void)state;
    for (int i = 0; i < TRIES; i++) {
        uint64_t now_ns = tocsin_pool_now_ns(pool);

        delays += now_ns > last_ns;
        longest_ns = now_ns - last_ns > longest_ns ? now_ns - last_ns : longest_ns;
        last_ns = now_ns;
    }
    assert_in_range(delays, TRIES / 3, TRIES * 2 / 3);
    assert_in_range(longest_ns, DELAY_MAX / 2, DELAY_MAX);
    tocsin_sim_hold(sim);
    last_ns = tocsin_pool_now_ns(pool);
    for (int i = 0; i < TRIES; i++) {
        assert_true(tocsin_pool_now_ns(pool) == last_ns); /* time stands still */
    }
    tocsin_sim_unhold(sim);
    unit_sim_run_for(pool, UNIT_MS);
    assert_true(tocsin_pool_now_ns(pool) >= last_ns + UNIT_MS);
    unit_sim_close(sim, pool);
}

/* An event is signalled, and its reader told, so many times; how many waits and looks it took. */
struct told {
    struct tocsin_sim *sim;
    struct tocsin_fd_ready *ready;
    intptr_t number;
    unsigned reads;
    unsigned noted[8]; /* what the trace saw: by the first letters of "wait", "look", ... */
};

static int take(intptr_t number, void *arg)
{
    struct told *told = arg;
    uint64_t count;
    int r = tocsin_sim_object_read(told->sim, number, &count, sizeof(count));

    told->reads += r > 0;
    return r;
}

static int poll_take(struct unit_task *task, struct tocsin_context *cx)
{
    struct told *told = task->arg;
    int r;

    do {
        r = tocsin_fd_ready_poll_io(told->ready, TOCSIN_SLOT_READ, TOCSIN_IN, take, told, cx);
    } while (r > 0 && told->reads < TRIES);
    return r;
}

static bool was_read(void *arg)
{
    const uint64_t *expected = arg;
    const struct told *told = (const struct told *)(uintptr_t)expected[1];

    return told->reads >= expected[0];
}

static void signal_often(void *arg)
{
    struct told *told = arg;
    const uint64_t one = 1;

    for (uint64_t i = 1; i <= TRIES; i++) {
        uint64_t expected[2] = {i, (uintptr_t)told};

        UNIT_CHECK(tocsin_sim_object_write(told->sim, told->number, &one, sizeof(one)) == 8);
        UNIT_CHECK(tocsin_sim_await(told->sim, was_read, expected) == 0);
    }
}

/* Every signal is heard, each on its own. */
static void nothing_is_lost_under(const struct tocsin_sim_faults *faults, uint64_t seed)
{
    struct told told = {.sim = open_with(faults, seed)};
    struct unit_task task = {.poll = poll_take, .arg = &told};
    struct tocsin_pool *pool = unit_sim_pool(told.sim);
    struct tocsin_sim_thread *thread;

    UNIT_CHECK(tocsin_sim_event(told.sim, 0, false, &told.number) == 0);
    told.ready = unit_sim_watch(pool, told.number);
    unit_task_spawn(&task, tocsin_pool_driver(pool), "taker");
    UNIT_CHECK(tocsin_sim_thread_start(told.sim, &thread, NULL, signal_often, &told) == 0);
    UNIT_CHECK(tocsin_pool_run_until(pool, &task.task, NULL) == 0);
    UNIT_CHECK(tocsin_sim_thread_join(thread) == 0);
    UNIT_CHECK(told.reads == TRIES);
    tocsin_task_unref(&task.task);
    UNIT_CHECK(tocsin_fd_ready_close(told.ready) == 0);
    unit_sim_close(told.sim, pool);
}

static void nothing_is_lost_when_waits_end_for_no_reason(void **state)
{
    const struct tocsin_sim_faults faults = {.wait_ppm = HALF};

    (void)state;
    nothing_is_lost_under(&faults, 1);
}

static void nothing_is_lost_when_looks_and_events_fail(void **state)
{
    const struct tocsin_sim_faults faults = {.look_ppm = HALF, .event_ppm = HALF};

    (void)state;
    nothing_is_lost_under(&faults, 1);
    nothing_is_lost_under(&faults, 2);
}

/* What the trace says of one kind of fault. */
struct counted {
    const char *what;
    unsigned count;
};

static void count_lines(void *arg, const char *line)
{
    struct counted *counted = arg;

    counted->count += strstr(line, counted->what) != NULL;
}

static unsigned count_faults(const struct tocsin_sim_faults *faults, const char *what)
{
    struct counted counted = {.what = what};
    const struct tocsin_sim_options options = {
        .seed = 3, .faults = *faults, .trace = count_lines, .trace_arg = &counted};
    struct tocsin_pool *pool;
    struct tocsin_sim *sim;

    UNIT_CHECK(tocsin_sim_open(&sim, &options) == 0);
    pool = unit_sim_pool(sim);
    for (int i = 0; i < TRIES; i++) {
        UNIT_CHECK(tocsin_pool_turn(pool) >= 0);
        unit_sim_run_for(pool, 1);
    }
    unit_sim_close(sim, pool);
    return counted.count;
}

static void waits_and_looks_fail_at_their_rates(void **state)
{
    const struct tocsin_sim_faults none = {.wait_ppm = 0};
    const struct tocsin_sim_faults wait = {.wait_ppm = HALF};
    const struct tocsin_sim_faults look = {.look_ppm = HALF};

    (void)state;
    assert_int_equal(count_faults(&none, " wait ends "), 0);
    assert_int_equal(count_faults(&none, " look fails "), 0);
    assert_in_range(count_faults(&wait, " wait ends "), TRIES / 2, TRIES * 2);
    assert_in_range(count_faults(&look, " look fails "), TRIES / 3, TRIES * 2 / 3);
}

struct waker_of {
    struct unit_task *task;
    struct tocsin_sim *sim;
};

static void wake_later(void *arg)
{
    struct waker_of *of = arg;
    struct tocsin_waker waker;

    UNIT_CHECK(tocsin_sim_sleep(of->sim, 1000) == 0); /* the pool sleeps by then */
    waker = tocsin_task_waker(&of->task->task);
    tocsin_waker_wake(&waker);
}

static int poll_twice(struct unit_task *task, struct tocsin_context *cx)
{
    (void)cx;
    return unit_load(&task->polls) < 2 ? TOCSIN_PENDING : 0;
}

static void a_kick_comes_late_but_comes(void **state)
{
    const struct tocsin_sim_faults faults = {.kick_ppm = 1000000, .kick_delay_max_ns = 500};
    struct unit_task task = {.poll = poll_twice};
    struct waker_of of = {.task = &task, .sim = open_with(&faults, 1)};
    struct tocsin_pool *pool = unit_sim_pool(of.sim);
    uint64_t begin_ns = tocsin_sim_now_ns(of.sim);
    struct tocsin_sim_thread *thread;

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "woken");
    assert_int_equal(tocsin_sim_thread_start(of.sim, &thread, NULL, wake_later, &of), 0);
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, NULL), 0);
    assert_in_range(tocsin_sim_now_ns(of.sim) - begin_ns, 1001, 1500);
    assert_int_equal(tocsin_sim_thread_join(thread), 0);
    tocsin_task_unref(&task.task);
    unit_sim_close(of.sim, pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(opening_fails_at_its_rate),
    cmocka_unit_test(attaching_fails_at_its_rate),
    cmocka_unit_test(detaching_fails_at_its_rate_but_detaches),
    cmocka_unit_test(readers_of_the_clock_are_held_up_at_their_rate),
    cmocka_unit_test(nothing_is_lost_when_waits_end_for_no_reason),
    cmocka_unit_test(nothing_is_lost_when_looks_and_events_fail),
    cmocka_unit_test(waits_and_looks_fail_at_their_rates),
    cmocka_unit_test(a_kick_comes_late_but_comes),
};

UNIT_MAIN(tests)
