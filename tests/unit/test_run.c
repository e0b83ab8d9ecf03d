/*
 * Running, stopping, hosting: what the word says between turns, and who is told when.
 */
#include <tocsin/pool.h>

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* With a reference to @task, which then ends with the pool. */
static void close_pool_under(struct tocsin_pool *pool, struct unit_task *task)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&task->drops), 1);
    tocsin_task_unref(&task->task);
}

static void count(void *arg, int status)
{
    (void)status;
    ++*(unsigned *)arg;
}

static void count_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static uint64_t word_of(struct tocsin_pool *pool)
{
    return atomic_load_explicit(&pool->wake.word, memory_order_relaxed);
}

static void a_run_with_nothing_alive_returns_0_and_never_waits(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(fake.waits, 0);
    assert_int_equal(fake.looks, 0);
    close_pool(pool);
}

static void stop_ends_the_next_run_and_only_that(void **state)
{
    struct tocsin_pool *pool = open_pool();
    unsigned calls = 0;

    (void)state;
    tocsin_pool_stop(pool);
    tocsin_pool_stop(pool);
    tocsin_post(tocsin_pool_driver(pool), count, &calls);
    assert_int_equal(tocsin_pool_run(pool), 1); /* after its first batch */
    assert_int_equal(calls, 1);
    assert_int_equal(tocsin_pool_run(pool), 0);
    close_pool(pool);
}

static void stop_while_asleep(struct unit_fake *stopped, struct tocsin_backend_events *list)
{
    (void)list;
    tocsin_pool_stop(stopped->arg);
}

static void stop_ends_a_sleep(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    fake.on_wait = stop_while_asleep;
    fake.arg = pool;
    assert_int_equal(tocsin_pool_run(pool), 1);
    assert_int_equal(fake.waits, 1);
    assert_int_equal(unit_load(&fake.kicks), 1);
    tocsin_driver_unref(driver);
    close_pool(pool);
}

static int stop_and_yield(struct unit_task *task, struct tocsin_context *cx)
{
    tocsin_pool_stop(task->arg);
    return tocsin_task_yield(cx);
}

/* F1 holds across runs, too: who is stopped in each batch looks at the backend all the same. */
static void stopped_runs_look_at_the_backend_once_per_budget(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.poll = stop_and_yield, .arg = pool};

    (void)state;
    pool->options.budget_polls = 8;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tocsin_pool_run(pool), 1);
    }
    assert_true(fake.looks >= unit_load(&task.polls) / 8 - 2);
    close_pool_under(pool, &task);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void run_until_returns_at_the_tasks_end_whatever_else_lives(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    struct unit_task other = {.result = TOCSIN_PENDING};
    struct unit_task task = {.result = 21};
    int result = 0;

    (void)state;
    unit_task_spawn(&other, driver, "");
    unit_task_spawn(&task, driver, "");
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, &result), 0);
    assert_int_equal(result, 21);
    result = 0;
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, &result), 0); /* it has ended */
    assert_int_equal(result, 21);
    tocsin_pool_stop(pool);
    assert_int_equal(tocsin_pool_run_until(pool, &other.task, &result), 1);
    assert_int_equal(result, 21); /* written on success only */
    tocsin_task_unref(&task.task);
    close_pool_under(pool, &other);
    tocsin_driver_unref(driver);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void an_unusable_backend_ends_the_run(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    fake.wait_result = -EBADF;
    assert_int_equal(tocsin_pool_run(pool), -EBADF);
    assert_int_equal(tocsin_pool_turn(pool), -EBADF);
    assert_false(pool->in_turn);
    tocsin_driver_unref(driver);
    close_pool(pool);
}

/* ---- Hosting -----------------------------------------------------------------------------------
 */

static void a_hosted_turn_ends_asleep_until_the_next_deadline(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;
    unsigned fired = 0;
    uint64_t deadline_ns = tocsin_pool_now_ns(pool) + MS;

    (void)state;
    assert_int_equal(tocsin_pool_poll_fd(pool), 1000);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(word_of(pool) & 3, 1);
    assert_int_equal(fake.hosted_ns, TOCSIN_NEVER_NS);
    assert_int_equal(tocsin_pool_next_deadline(pool), TOCSIN_NEVER_NS);

    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), count_timer, &fired), 0);
    tocsin_timer_arm(&timer, deadline_ns); /* this thread is a remote one now: it kicks */
    assert_int_equal(unit_load(&fake.kicks), 1);
    assert_int_equal(tocsin_pool_next_deadline(pool), 0);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_int_equal(word_of(pool) >> 2, deadline_ns >> 2);
    assert_int_equal(fake.hosted_ns, deadline_ns);
    assert_int_equal(tocsin_pool_next_deadline(pool), deadline_ns);
    assert_int_equal(fired, 0);

    tocsin_timer_arm(&timer, deadline_ns + MS); /* T3: later kicks nobody */
    assert_int_equal(unit_load(&fake.kicks), 1);
    atomic_store_explicit(&fake.now_ns, deadline_ns + MS, memory_order_relaxed);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(fired, 1);
    tocsin_timer_deinit(&timer);
    assert_int_equal(fake.waits, 0);
    close_pool(pool);
}

static void a_descriptor_given_out_late_knows_the_deadline(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timer;
    unsigned fired = 0;
    uint64_t deadline_ns = tocsin_pool_now_ns(pool) + MS;

    (void)state;
    assert_int_equal(tocsin_timer_init(&timer, tocsin_pool_driver(pool), count_timer, &fired), 0);
    tocsin_timer_arm(&timer, deadline_ns);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_int_equal(fake.hosts, 0); /* nobody watches it */
    assert_int_equal(tocsin_pool_poll_fd(pool), 1000);
    assert_int_equal(fake.hosts, 1);
    assert_int_equal(fake.hosted_ns, deadline_ns);
    tocsin_timer_deinit(&timer);
    close_pool(pool);
}

static int yield_always(struct unit_task *task, struct tocsin_context *cx)
{
    (void)task;
    return tocsin_task_yield(cx);
}

static void a_hosted_turn_with_work_left_leaves_a_kick(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.poll = yield_always};

    (void)state;
    pool->options.budget_polls = 5;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    for (unsigned i = 1; i <= 4; i++) {
        assert_int_equal(tocsin_pool_turn(pool), 1);
        assert_int_equal(unit_load(&task.polls), 5 * i); /* one batch */
        assert_int_equal(unit_load(&fake.kicks), i);
        assert_int_equal(tocsin_pool_next_deadline(pool), 0);
        assert_int_equal(word_of(pool) & 1, 0);
    }
    close_pool_under(pool, &task);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* Timers beyond the budget are due all the same: no deadline would tell of them again. */
static void a_hosted_turn_with_due_timers_left_leaves_a_kick(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_timer timers[5];
    unsigned fired = 0;
    uint64_t deadline_ns = tocsin_pool_now_ns(pool);

    (void)state;
    pool->options.budget_polls = 2;
    for (unsigned i = 0; i < UNIT_COUNT(timers); i++) {
        tocsin_timer_init(&timers[i], tocsin_pool_driver(pool), count_timer, &fired);
        tocsin_timer_arm(&timers[i], deadline_ns);
    }
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(tocsin_pool_turn(pool), 1);
        assert_int_equal(fired, 2 * i);
        assert_int_equal(unit_load(&fake.kicks), i);
    }
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(fired, UNIT_COUNT(timers));
    for (unsigned i = 0; i < UNIT_COUNT(timers); i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    close_pool(pool);
}

static void a_wake_between_hosted_turns_kicks_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    unsigned calls = 0;

    (void)state;
    tocsin_pool_turn(pool);
    for (unsigned i = 0; i < 3; i++) {
        tocsin_post(tocsin_pool_driver(pool), count, &calls);
    }
    assert_int_equal(unit_load(&fake.kicks), 1);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(calls, 3);
    close_pool(pool);
}

static void a_hosted_pool_can_be_run_and_closed(void **state)
{
    struct tocsin_pool *pool = open_pool();
    unsigned calls = 0;

    (void)state;
    tocsin_pool_turn(pool); /* leaves the word asleep, which a run ends */
    tocsin_post(tocsin_pool_driver(pool), count, &calls);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(calls, 1);
    tocsin_pool_turn(pool);
    close_pool(pool);
}

static void a_stop_is_told_by_the_turn(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    tocsin_pool_stop(pool);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_int_equal(unit_load(&fake.kicks), 1); /* for the turn that tells of what is alive */
    assert_int_equal(tocsin_pool_next_deadline(pool), 0);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    assert_int_equal(unit_load(&fake.kicks), 1);
    close_pool(pool);
}

static void a_backend_without_a_descriptor_cannot_be_hosted(void **state)
{
    struct tocsin_pool *pool;

    (void)state;
    unit_fake_init(&fake, UNIT_FAKE_EDGE & ~(uint32_t)TOCSIN_BACKEND_POLL_HANDLE);
    unit_memory_init(&memory);
    pool = unit_fake_pool(&fake, NULL);
    assert_int_equal(tocsin_pool_poll_fd(pool), -EOPNOTSUPP);
    tocsin_pool_turn(pool);
    assert_int_equal(fake.hosts, 0);
    tocsin_pool_close(pool);
}

/* ---- A fork inside of a poll -------------------------------------------------------------------
 */

static pid_t parent;

static int fork_and_return(struct unit_task *task, struct tocsin_context *cx)
{
    int status = 0;
    pid_t pid = fork();

    UNIT_CHECK(pid >= 0);
    if (pid == 0) {
        UNIT_CHECK(tocsin_task_cancel(&task->task) == -EOWNERDEAD);
        return tocsin_task_yield(cx); /* back into what was the parent's loop */
    }
    UNIT_CHECK(waitpid(pid, &status, 0) == pid);
    return status == 0 ? 0 : -EIO;
}

static void the_child_of_a_fork_in_a_poll_runs_on_no_further(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.poll = fork_and_return};
    int result = -1;
    int r;

    (void)state;
    parent = getpid();
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    r = tocsin_pool_run_until(pool, &task.task, &result);
    if (getpid() != parent) {
        _exit(r == -EOWNERDEAD && unit_load(&task.polls) == 1 && fake.looks == 0 ? 0 : 1);
    }
    assert_int_equal(r, 0);
    assert_int_equal(result, 0);
    tocsin_task_unref(&task.task);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_run_with_nothing_alive_returns_0_and_never_waits),
    cmocka_unit_test(stop_ends_the_next_run_and_only_that),
    cmocka_unit_test(stop_ends_a_sleep),
    cmocka_unit_test(stopped_runs_look_at_the_backend_once_per_budget),
    cmocka_unit_test(run_until_returns_at_the_tasks_end_whatever_else_lives),
    cmocka_unit_test(an_unusable_backend_ends_the_run),
    cmocka_unit_test(a_hosted_turn_ends_asleep_until_the_next_deadline),
    cmocka_unit_test(a_descriptor_given_out_late_knows_the_deadline),
    cmocka_unit_test(a_hosted_turn_with_work_left_leaves_a_kick),
    cmocka_unit_test(a_hosted_turn_with_due_timers_left_leaves_a_kick),
    cmocka_unit_test(a_wake_between_hosted_turns_kicks_once),
    cmocka_unit_test(a_hosted_pool_can_be_run_and_closed),
    cmocka_unit_test(a_stop_is_told_by_the_turn),
    cmocka_unit_test(a_backend_without_a_descriptor_cannot_be_hosted),
    cmocka_unit_test(the_child_of_a_fork_in_a_poll_runs_on_no_further),
};

UNIT_MAIN(tests)
