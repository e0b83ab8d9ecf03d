/*
 * A task's two words: the shared one (flags, references) and the plain one of the pool's thread.
 */
#include "runtime/task.h"

#include <errno.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

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
}

static uint64_t refs_of(const struct unit_task *task)
{
    return tocsin__task_flags(&task->task) / TASK_REF;
}

static uint64_t flags_of(const struct unit_task *task)
{
    return tocsin__task_flags(&task->task) % TASK_REF;
}

static void check_life(const struct unit_task *task, unsigned polls, unsigned drops,
                       unsigned releases)
{
    assert_int_equal(unit_load(&task->polls), polls);
    assert_int_equal(unit_load(&task->drops), drops);
    assert_int_equal(unit_load(&task->releases), releases);
}

static void wake_twice(void *arg)
{
    struct unit_task *task = arg;
    struct tocsin_waker waker = tocsin_task_waker(&task->task);

    tocsin_waker_wake_by_ref(&waker);
    tocsin_waker_wake(&waker);
}

static void references_are_counted_above_the_flags(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = TOCSIN_PENDING};
    struct tocsin_waker waker;
    struct tocsin_waker clone;

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "counted");
    assert_int_equal(refs_of(&task), 2);
    tocsin_task_ref(&task.task);
    waker = tocsin_task_waker(&task.task);
    clone = tocsin_waker_clone(&waker);
    assert_int_equal(refs_of(&task), 5);
    assert_int_equal(flags_of(&task), TASK_INBOX); /* spawned outside of a turn */
    tocsin_task_unref(&task.task);
    tocsin_waker_wake(&waker);
    tocsin_waker_drop(&clone);
    assert_int_equal(refs_of(&task), 2);
    close_pool(pool);
    assert_int_equal(refs_of(&task), 1);
    tocsin_task_unref(&task.task);
    check_life(&task, 0, 1, 1);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* K1: between two drains a task is pushed once, however often it is woken. */
static void wakes_elsewhere_push_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = TOCSIN_PENDING};
    unsigned kicks;

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    check_life(&task, 1, 0, 0);
    assert_int_equal(flags_of(&task), 0);
    kicks = unit_load(&fake.kicks);
    support_elsewhere(wake_twice, &task);
    assert_int_equal(flags_of(&task), TASK_INBOX);
    assert_ptr_equal(tocsin__inbox_take(&pool->inbox), &task.task.inbox_);
    assert_null(task.task.inbox_.next_); /* once */
    assert_int_equal(unit_load(&fake.kicks), kicks + 1);
    assert_true(tocsin__inbox_push(&pool->inbox, &task.task.inbox_));
    tocsin_pool_turn(pool);
    check_life(&task, 2, 0, 0);
    assert_int_equal(flags_of(&task), 0);
    close_pool(pool);
    tocsin_task_unref(&task.task);
}

/* W1: a wake in a turn of the pool itself touches neither the word nor the inbox. */
static void a_wake_in_a_turn_touches_nothing_shared(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = TOCSIN_PENDING};
    unsigned kicks;

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    unit_in_turn(pool, wake_twice, &task);
    check_life(&task, 2, 0, 0); /* queued once, in that very turn */
    kicks = unit_load(&fake.kicks);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&fake.kicks), kicks);
    assert_int_equal(flags_of(&task), 0);
    close_pool(pool);
    tocsin_task_unref(&task.task);
}

static int wake_self(struct unit_task *task, struct tocsin_context *cx)
{
    tocsin_waker_wake_by_ref(&cx->waker);
    tocsin_waker_wake_by_ref(&cx->waker);
    return unit_load(&task->polls) == 3 ? 7 : TOCSIN_PENDING;
}

static void a_wake_during_the_poll_queues_it_again(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.poll = wake_self};
    int result = 0;

    (void)state;
    pool->options.budget_polls = 3; /* so that the batch ends with the third poll */
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, &result), 0);
    assert_int_equal(result, 7);
    check_life(&task, 3, 1, 0);
    /* It is in the queue still, which holds it. */
    assert_ptr_equal(pool->queue.head, &task.task.run_);
    assert_int_equal(refs_of(&task), 2);
    tocsin_pool_turn(pool);
    assert_int_equal(refs_of(&task), 1);
    tocsin_task_unref(&task.task);
    check_life(&task, 3, 1, 1);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_task_that_nobody_else_holds_ends_without_a_trace(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = 0};
    uint64_t refs;

    (void)state;
    assert_int_equal(
        tocsin_task_spawn(tocsin_pool_driver(pool), &task.task, &unit_task_ops, "alone"), 0);
    refs = atomic_load_explicit(&pool->refs, memory_order_relaxed);
    assert_int_equal(tocsin_pool_run(pool), 0);
    check_life(&task, 1, 1, 1);
    assert_int_equal(flags_of(&task), 0); /* the short way: nobody can ask whether it ended */
    assert_int_equal(atomic_load_explicit(&pool->refs, memory_order_relaxed), refs);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* K3: it holds the pool's memory until the last reference has gone. */
static void an_ended_task_that_is_held_holds_the_pool(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = 5};
    int result = 0;

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(flags_of(&task), TASK_ENDED | TASK_HOLDS);
    assert_int_equal(refs_of(&task), 1);
    close_pool(pool);
    assert_true(unit_load(&memory.live) > 0);
    assert_int_equal(tocsin_task_join(&task.task, &result), 0);
    assert_int_equal(result, 5);
    support_elsewhere(wake_twice, &task); /* does nothing, safely */
    assert_int_equal(flags_of(&task) & TASK_INBOX, TASK_INBOX);
    assert_int_equal(tocsin_task_cancel(&task.task), -EALREADY);
    tocsin_task_unref(&task.task);
    assert_int_equal(unit_load(&memory.live), 0);
    check_life(&task, 1, 1, 1);
}

/* The end finds INBOX: the reference is the drain's to give back. */
static void an_end_while_in_the_inbox_leaves_the_reference_to_the_drain(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = TOCSIN_PENDING};

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    support_elsewhere(wake_twice, &task);
    tocsin__task_end(pool, &task.task);
    check_life(&task, 1, 1, 0);
    assert_int_equal(refs_of(&task), 2);
    tocsin_pool_turn(pool);
    assert_int_equal(refs_of(&task), 1);
    check_life(&task, 1, 1, 0);
    tocsin_task_unref(&task.task);
    check_life(&task, 1, 1, 1);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* No drain will come: who finds the inbox closed takes its part. */
static void a_wake_after_the_inbox_closed_gives_up_its_mark(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = TOCSIN_PENDING};

    (void)state;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    assert_null(tocsin__inbox_close(&pool->inbox));
    support_elsewhere(wake_twice, &task);
    assert_int_equal(flags_of(&task), 0);
    assert_int_equal(refs_of(&task), 2);
    close_pool(pool);
    check_life(&task, 1, 1, 0);
    assert_int_equal(refs_of(&task), 1);
    tocsin_task_unref(&task.task);
    check_life(&task, 1, 1, 1);
    assert_int_equal(unit_load(&memory.live), 0);
}

struct remote {
    struct tocsin_pool *pool;
    struct unit_task *task;
};

static void spawn_elsewhere(void *arg)
{
    struct remote *remote = arg;

    unit_task_spawn(remote->task, tocsin_pool_driver(remote->pool), "remote");
}

/* Spawned by another thread while this turn runs, and woken here before it was received. */
static void spawn_elsewhere_and_wake_here(void *arg)
{
    struct remote *remote = arg;

    support_elsewhere(spawn_elsewhere, remote);
    wake_twice(remote->task);
    UNIT_CHECK(remote->pool->queue.head == NULL);
}

static void a_wake_before_the_arrival_leaves_it_to_the_arrival(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = 3};
    struct remote remote = {pool, &task};
    struct tocsin_task_info info;

    (void)state;
    unit_in_turn(pool, spawn_elsewhere_and_wake_here, &remote);
    check_life(&task, 0, 0, 0);
    assert_int_equal(tocsin_pool_run(pool), 0);
    check_life(&task, 1, 1, 0);
    assert_int_equal(pool->alive, 0);
    assert_int_equal(tocsin_task_list(tocsin_pool_driver(pool), &info, 1), 0);
    tocsin_task_unref(&task.task);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void cancel_here(void *arg)
{
    struct unit_task *task = arg;

    UNIT_CHECK(tocsin_task_cancel(&task->task) == 0);
    UNIT_CHECK(tocsin_task_cancel(&task->task) == 0); /* it has not ended yet */
}

static void a_cancelled_task_is_polled_no_more(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task here = {.result = TOCSIN_PENDING};
    struct unit_task there = {.result = TOCSIN_PENDING};

    (void)state;
    unit_task_spawn(&here, tocsin_pool_driver(pool), "");
    unit_task_spawn(&there, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    unit_in_turn(pool, cancel_here, &here);
    support_elsewhere(cancel_here, &there);
    check_life(&there, 1, 0, 0);
    assert_int_equal(tocsin_pool_run(pool), 0);
    check_life(&here, 1, 1, 0);
    check_life(&there, 1, 1, 0);
    assert_int_equal(tocsin_task_state(&here.task), TOCSIN_TASK_CANCELLED);
    assert_int_equal(flags_of(&there), TASK_CANCEL | TASK_ENDED | TASK_CANCELLED | TASK_HOLDS);
    assert_int_equal(tocsin_task_cancel(&here.task), -EALREADY);
    tocsin_task_unref(&here.task);
    tocsin_task_unref(&there.task);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static int cancel_self(struct unit_task *task, struct tocsin_context *cx)
{
    (void)cx;
    UNIT_CHECK(tocsin_task_cancel(&task->task) == 0);
    return task->result;
}

static void a_result_of_the_poll_under_way_stands(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task ready = {.poll = cancel_self, .result = 11};
    struct unit_task pending = {.poll = cancel_self, .result = TOCSIN_PENDING};
    int result = 0;

    (void)state;
    unit_task_spawn(&ready, tocsin_pool_driver(pool), "");
    unit_task_spawn(&pending, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(tocsin_task_join(&ready.task, &result), 0);
    assert_int_equal(result, 11);
    assert_int_equal(tocsin_task_state(&ready.task), TOCSIN_TASK_ENDED);
    assert_int_equal(tocsin_task_join(&pending.task, &result), 0);
    assert_int_equal(result, -ECANCELED);
    assert_int_equal(tocsin_task_state(&pending.task), TOCSIN_TASK_CANCELLED);
    tocsin_task_unref(&ready.task);
    tocsin_task_unref(&pending.task);
    close_pool(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static int look_at_self(struct unit_task *task, struct tocsin_context *cx)
{
    UNIT_CHECK(tocsin_task_state(&task->task) == TOCSIN_TASK_RUNNING);
    UNIT_CHECK(tocsin_task_current() == &task->task);
    if (unit_load(&task->polls) == 1) {
        return tocsin_task_yield(cx);
    }
    return unit_load(&task->polls) == 2 ? TOCSIN_PENDING : 0;
}

static void the_state_follows_the_task(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.poll = look_at_self};

    (void)state;
    pool->options.budget_polls = 1;
    unit_task_spawn(&task, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_task_state(&task.task), TOCSIN_TASK_READY);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_task_state(&task.task), TOCSIN_TASK_READY); /* it yielded */
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_task_state(&task.task), TOCSIN_TASK_WAITING);
    assert_null(tocsin_task_current());
    wake_twice(&task);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_task_state(&task.task), TOCSIN_TASK_ENDED);
    tocsin_task_unref(&task.task);
    close_pool(pool);
}

/* Its row had another task before, which ended while it ran. */
static void a_new_task_is_ready_whatever_its_row_was(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task first[TOCSIN__ROWS_PER_CHUNK] = {{.result = 0}};
    struct unit_task next = {.result = 0};

    (void)state;
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
        unit_task_spawn(&first[i], tocsin_pool_driver(pool), "");
    }
    assert_int_equal(tocsin_pool_run(pool), 0);
    unit_task_spawn(&next, tocsin_pool_driver(pool), "");
    assert_int_equal(tocsin_task_state(&next.task), TOCSIN_TASK_READY);
    close_pool(pool);
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
        tocsin_task_unref(&first[i].task);
    }
    tocsin_task_unref(&next.task);
}

static void unref_once_more(void *arg)
{
    struct unit_task *task = arg;

    tocsin_task_unref(&task->task);
}

static void one_unref_too_many_aborts(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_task task = {.result = 0};

    (void)state;
    assert_int_equal(tocsin_task_spawn(tocsin_pool_driver(pool), &task.task, &unit_task_ops, NULL),
                     0);
    assert_int_equal(tocsin_pool_run(pool), 0);
    unit_expect_abort(unref_once_more, &task, "given back more often than taken");
    close_pool(pool);
}

static void a_refused_spawn_leaves_the_task_alone(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    static const struct tocsin_task_ops no_poll = {.poll = NULL};
    struct unit_task task = {.result = 0};

    (void)state;
    assert_int_equal(tocsin_task_spawn(driver, &task.task, &no_poll, ""), -EINVAL);
    assert_int_equal(tocsin_task_spawn(driver, &task.task, NULL, ""), -EINVAL);
    atomic_store_explicit(&memory.fail_at, 1, memory_order_relaxed);
    assert_int_equal(tocsin_task_spawn(driver, &task.task, &unit_task_ops, ""), -ENOMEM);
    close_pool(pool);
    assert_int_equal(tocsin_task_spawn(driver, &task.task, &unit_task_ops, ""), -ESHUTDOWN);
    check_life(&task, 0, 0, 0);
    tocsin_driver_unref(driver);
    assert_int_equal(unit_load(&memory.live), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(references_are_counted_above_the_flags),
    cmocka_unit_test(wakes_elsewhere_push_once),
    cmocka_unit_test(a_wake_in_a_turn_touches_nothing_shared),
    cmocka_unit_test(a_wake_during_the_poll_queues_it_again),
    cmocka_unit_test(a_task_that_nobody_else_holds_ends_without_a_trace),
    cmocka_unit_test(an_ended_task_that_is_held_holds_the_pool),
    cmocka_unit_test(an_end_while_in_the_inbox_leaves_the_reference_to_the_drain),
    cmocka_unit_test(a_wake_after_the_inbox_closed_gives_up_its_mark),
    cmocka_unit_test(a_wake_before_the_arrival_leaves_it_to_the_arrival),
    cmocka_unit_test(a_cancelled_task_is_polled_no_more),
    cmocka_unit_test(a_result_of_the_poll_under_way_stands),
    cmocka_unit_test(the_state_follows_the_task),
    cmocka_unit_test(a_new_task_is_ready_whatever_its_row_was),
    cmocka_unit_test(one_unref_too_many_aborts),
    cmocka_unit_test(a_refused_spawn_leaves_the_task_alone),
};

UNIT_MAIN(tests)
