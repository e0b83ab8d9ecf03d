/*
 * Blocking: the parker's wakes are kept, its clones outlive the call.
 */
#include <tocsin/task.h>

#include <errno.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

/* What a poll function does, in turn; and the waker that it keeps. */
struct polled {
    unsigned polls;
    unsigned pending; /* so many polls return pending */
    struct tocsin_waker kept;
    atomic_bool has_kept;
    struct support_thread thread;
};

static int wake_then_pend(struct tocsin_context *cx, void *arg)
{
    struct polled *polled = arg;

    assert_null(cx->driver);
    if (polled->polls++ < polled->pending) {
        tocsin_waker_wake_by_ref(&cx->waker); /* B1: comes before the wait */
        tocsin_waker_wake_by_ref(&cx->waker);
        return TOCSIN_PENDING;
    }
    return 17;
}

static void a_wake_before_the_wait_is_kept(void **state)
{
    struct polled polled = {.pending = 100};
    int result = 0;

    (void)state;
    assert_int_equal(tocsin_block_on(wake_then_pend, &polled, &result), 0);
    assert_int_equal(result, 17);
    assert_int_equal(polled.polls, 101);
    polled = (struct polled){.pending = 0};
    assert_int_equal(tocsin_block_on(wake_then_pend, &polled, NULL), 0);
}

static int keep_and_end(struct tocsin_context *cx, void *arg)
{
    struct polled *polled = arg;

    polled->kept = tocsin_waker_clone(&cx->waker);
    return 0;
}

static void a_clone_outlives_the_call(void **state)
{
    struct polled polled = {.polls = 0};
    struct tocsin_waker another;

    (void)state;
    assert_int_equal(tocsin_block_on(keep_and_end, &polled, NULL), 0);
    another = tocsin_waker_clone(&polled.kept);
    assert_true(tocsin_waker_will_wake(&another, &polled.kept));
    tocsin_waker_wake_by_ref(&another);
    tocsin_waker_wake(&another);
    tocsin_waker_drop(&polled.kept);
    assert_null(polled.kept.ops);
}

static void wake_kept(void *arg)
{
    struct polled *polled = arg;

    while (!atomic_load_explicit(&polled->has_kept, memory_order_acquire)) {
    }
    tocsin_waker_wake(&polled->kept);
}

static int pend_until_woken(struct tocsin_context *cx, void *arg)
{
    struct polled *polled = arg;

    if (polled->polls++ > 0) {
        return 3;
    }
    polled->kept = tocsin_waker_clone(&cx->waker);
    atomic_store_explicit(&polled->has_kept, true, memory_order_release);
    return TOCSIN_PENDING;
}

static void another_thread_wakes_it_whenever(void **state)
{
    unsigned rounds = support_scaled(500);

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        struct polled polled = {.polls = 0};
        int result = 0;

        atomic_init(&polled.has_kept, false);
        support_thread_start(&polled.thread, 1, wake_kept, &polled);
        assert_int_equal(tocsin_block_on(pend_until_woken, &polled, &result), 0);
        assert_int_equal(result, 3);
        assert_int_equal(polled.polls, 2);
        support_thread_join(&polled.thread);
    }
}

static int block_again(struct tocsin_context *cx, void *arg)
{
    struct polled inner = {.pending = 3};
    int result = 0;

    (void)cx;
    (void)arg;
    assert_int_equal(tocsin_block_on(wake_then_pend, &inner, &result), 0);
    return result;
}

static void calls_nest(void **state)
{
    int result = 0;

    (void)state;
    assert_int_equal(tocsin_block_on(block_again, NULL, &result), 0);
    assert_int_equal(result, 17);
}

static void nonsense_and_a_pools_thread_are_refused(void **state)
{
    struct polled polled = {.pending = 0};
    struct unit_fake fake;
    struct tocsin_pool *pool;

    (void)state;
    assert_int_equal(tocsin_block_on(NULL, NULL, NULL), -EINVAL);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    pool = unit_fake_pool(&fake, NULL);
    assert_int_equal(tocsin_block_on(wake_then_pend, &polled, NULL), 0); /* it never ran */
    tocsin_pool_turn(pool);
    polled.polls = 0;
    assert_int_equal(tocsin_block_on(wake_then_pend, &polled, NULL), -EDEADLK);
    assert_int_equal(polled.polls, 0);
    tocsin_pool_close(pool);
    assert_int_equal(tocsin_block_on(wake_then_pend, &polled, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_wake_before_the_wait_is_kept),
    cmocka_unit_test(a_clone_outlives_the_call),
    cmocka_unit_test(another_thread_wakes_it_whenever),
    cmocka_unit_test(calls_nest),
    cmocka_unit_test(nonsense_and_a_pools_thread_are_refused),
};

UNIT_MAIN(tests)
