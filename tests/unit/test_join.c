/*
 * Joins: the list at the task, JOINED, and the end that comes at any moment.
 */
#include <tocsin/task.h>

#include <errno.h>

#include "runtime/pool.h"
#include "runtime/task.h"
#include "tests/unit/unit.h"

enum {
    JOINS = 4,
};

static struct unit_fake fake;
static struct unit_memory memory;

/* A pending task with joins on it, each with a waker that counts. */
struct fixture {
    struct tocsin_pool *pool;
    struct unit_task task;
    struct tocsin_join joins[JOINS];
    struct unit_waker wakers[JOINS];
};

static void start(struct fixture *fixture)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    *fixture = (struct fixture){.task = {.result = TOCSIN_PENDING}};
    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    fixture->pool = unit_fake_pool(&fake, &options);
    unit_task_spawn(&fixture->task, tocsin_pool_driver(fixture->pool), "joined");
    tocsin_pool_turn(fixture->pool);
    for (unsigned i = 0; i < JOINS; i++) {
        tocsin_join_init(&fixture->joins[i], &fixture->task.task);
    }
}

static void end(struct fixture *fixture)
{
    for (unsigned i = 0; i < JOINS; i++) {
        tocsin_join_deinit(&fixture->joins[i]);
        assert_int_equal(unit_load(&fixture->wakers[i].refs), 0);
    }
    tocsin_task_unref(&fixture->task.task);
    assert_int_equal(tocsin_pool_close(fixture->pool), 0);
    assert_int_equal(unit_load(&fixture->task.releases), 1);
    assert_int_equal(unit_load(&memory.live), 0);
}

static int poll_join(struct fixture *fixture, unsigned i, int *out_result)
{
    struct tocsin_context cx = {.waker = unit_waker_of(&fixture->wakers[i])};

    return tocsin_join_poll(&fixture->joins[i], &cx, out_result);
}

static unsigned listed(const struct fixture *fixture)
{
    const struct tocsin_join *join = fixture->task.task.joins_;
    unsigned count = 0;

    for (; join != NULL; join = join->next_) {
        assert_ptr_equal(*join->link_, join);
        count++;
    }
    return count;
}

static void a_pending_join_is_listed_once(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    assert_false((tocsin__task_flags(&fixture.task.task) & TASK_JOINED) != 0);
    for (unsigned i = 0; i < JOINS; i++) {
        assert_int_equal(poll_join(&fixture, i, NULL), TOCSIN_PENDING);
        assert_int_equal(poll_join(&fixture, i, NULL), TOCSIN_PENDING);
        assert_int_equal(unit_load(&fixture.wakers[i].refs), 1);
        assert_int_equal(listed(&fixture), i + 1);
    }
    assert_true((tocsin__task_flags(&fixture.task.task) & TASK_JOINED) != 0);
    end(&fixture);
}

static void a_join_given_up_leaves_the_others_listed(void **state)
{
    static const unsigned order[JOINS] = {1, 3, 0, 2}; /* middle, head, tail, last */
    struct fixture fixture;

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < JOINS; i++) {
        poll_join(&fixture, i, NULL);
    }
    for (unsigned i = 0; i < JOINS; i++) {
        tocsin_join_deinit(&fixture.joins[order[i]]);
        tocsin_join_deinit(&fixture.joins[order[i]]); /* twice is once */
        assert_int_equal(unit_load(&fixture.wakers[order[i]].refs), 0);
        assert_int_equal(listed(&fixture), JOINS - 1 - i);
    }
    assert_null(fixture.task.task.joins_);
    end(&fixture);
}

static void the_end_wakes_each_join_once(void **state)
{
    struct fixture fixture;
    int result = 0;

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < JOINS - 1; i++) { /* the last one has not been polled */
        poll_join(&fixture, i, NULL);
    }
    tocsin__task_end(fixture.pool, &fixture.task.task);
    assert_int_equal(listed(&fixture), 0);
    for (unsigned i = 0; i < JOINS; i++) {
        assert_int_equal(unit_load(&fixture.wakers[i].wakes), i < JOINS - 1);
        assert_int_equal(unit_load(&fixture.wakers[i].refs), 0);
        assert_int_equal(poll_join(&fixture, i, &result), 0);
        assert_int_equal(result, -ECANCELED);
        assert_int_equal(poll_join(&fixture, i, NULL), 0); /* again, and without asking what */
    }
    end(&fixture);
}

static void a_later_waker_takes_the_earlier_ones_place(void **state)
{
    struct fixture fixture;
    struct unit_waker other = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&other)};

    (void)state;
    start(&fixture);
    poll_join(&fixture, 0, NULL);
    assert_int_equal(tocsin_join_poll(&fixture.joins[0], &cx, NULL), TOCSIN_PENDING);
    assert_int_equal(unit_load(&fixture.wakers[0].refs), 0);
    tocsin__task_end(fixture.pool, &fixture.task.task);
    assert_int_equal(unit_load(&fixture.wakers[0].wakes), 0);
    assert_int_equal(unit_load(&other.wakes), 1);
    end(&fixture);
}

/* The end has published itself and comes to the list only now: the poll must not list itself. */
static void a_poll_between_the_end_and_its_wakes_sees_the_end(void **state)
{
    struct fixture fixture;
    int result = 0;

    (void)state;
    start(&fixture);
    poll_join(&fixture, 0, NULL);
    fixture.task.task.result_ = 42;
    atomic_fetch_or_explicit(&fixture.task.task.state_, TASK_ENDED, memory_order_release);
    assert_int_equal(poll_join(&fixture, 0, &result), 0);
    assert_int_equal(result, 42);
    assert_int_equal(poll_join(&fixture, 1, &result), 0);
    atomic_fetch_and_explicit(&fixture.task.task.state_, ~TASK_ENDED, memory_order_release);
    tocsin__task_end(fixture.pool, &fixture.task.task);
    end(&fixture);
}

static int join_itself(struct unit_task *task, struct tocsin_context *cx)
{
    struct tocsin_join join;
    int r;

    tocsin_join_init(&join, &task->task);
    r = tocsin_join_poll(&join, cx, NULL);
    tocsin_join_deinit(&join);
    UNIT_CHECK(tocsin_task_join(&task->task, NULL) == -EDEADLK);
    return r;
}

static void a_task_cannot_join_itself(void **state)
{
    struct fixture fixture;
    struct unit_task task = {.poll = join_itself};
    int result = 0;

    (void)state;
    start(&fixture);
    unit_task_spawn(&task, tocsin_pool_driver(fixture.pool), "");
    assert_int_equal(tocsin_pool_run_until(fixture.pool, &task.task, &result), 0);
    assert_int_equal(result, -EDEADLK);
    tocsin_task_unref(&task.task);
    end(&fixture);
}

struct thread_join {
    struct unit_task *task;
    int result;
    int returned;
    atomic_bool joined;
};

static void join_on_a_thread(void *arg)
{
    struct thread_join *thread_join = arg;

    thread_join->returned = tocsin_task_join(&thread_join->task->task, &thread_join->result);
    atomic_store_explicit(&thread_join->joined, true, memory_order_relaxed);
}

static void threads_are_told_at_the_end(void **state)
{
    struct fixture fixture;
    struct thread_join joins[2] = {{.task = &fixture.task}, {.task = &fixture.task}};
    struct support_thread threads[2];

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < 2; i++) {
        support_thread_start(&threads[i], i, join_on_a_thread, &joins[i]);
    }
    while ((tocsin__task_flags(&fixture.task.task) & TASK_JOINED) == 0) {
    }
    assert_false(atomic_load_explicit(&joins[0].joined, memory_order_relaxed));
    tocsin__task_end(fixture.pool, &fixture.task.task);
    for (unsigned i = 0; i < 2; i++) {
        support_thread_join(&threads[i]);
        assert_int_equal(joins[i].returned, 0);
        assert_int_equal(joins[i].result, -ECANCELED);
    }
    end(&fixture);
}

static void a_thread_with_a_pool_may_ask_but_not_wait(void **state)
{
    struct fixture fixture;
    int result = 0;

    (void)state;
    start(&fixture); /* it ran a turn: this is the pool's thread */
    assert_int_equal(tocsin_task_join(&fixture.task.task, &result), -EDEADLK);
    tocsin__task_end(fixture.pool, &fixture.task.task);
    assert_int_equal(tocsin_task_join(&fixture.task.task, &result), 0);
    assert_int_equal(result, -ECANCELED);
    end(&fixture);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pending_join_is_listed_once),
    cmocka_unit_test(a_join_given_up_leaves_the_others_listed),
    cmocka_unit_test(the_end_wakes_each_join_once),
    cmocka_unit_test(a_later_waker_takes_the_earlier_ones_place),
    cmocka_unit_test(a_poll_between_the_end_and_its_wakes_sees_the_end),
    cmocka_unit_test(a_task_cannot_join_itself),
    cmocka_unit_test(threads_are_told_at_the_end),
    cmocka_unit_test(a_thread_with_a_pool_may_ask_but_not_wait),
};

UNIT_MAIN(tests)
