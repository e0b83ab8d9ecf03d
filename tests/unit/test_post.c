/*
 * Posts: their memory is used again, their argument is never lost.
 */
#include <tocsin/task.h>

#include <errno.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

enum {
    MANY = 1500, /* more than the pool keeps */
    KEPT = 1024,
};

static struct unit_fake fake;
static struct unit_memory memory;

/* Who was called, in turn. */
static int called[MANY];
static int statuses[MANY];
static unsigned calls;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    calls = 0;
    return unit_fake_pool(&fake, &options);
}

static void note(void *arg, int status)
{
    called[calls] = (int)(intptr_t)arg;
    statuses[calls++] = status;
}

static void post_note(struct tocsin_pool *pool, int number)
{
    UNIT_CHECK(tocsin_post(tocsin_pool_driver(pool), note, (void *)(intptr_t)number) == 0);
}

static void posts_run_in_the_order_of_posting(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    for (int i = 0; i < 100; i++) {
        post_note(pool, i);
    }
    assert_int_equal(calls, 0); /* never inside the call */
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(calls, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(called[i], i);
        assert_int_equal(statuses[i], 0);
    }
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

struct poster {
    struct tocsin_pool *pool;
    unsigned left;
    unsigned allocations;
};

static void post_again(void *arg, int status)
{
    struct poster *poster = arg;

    UNIT_CHECK(status == 0);
    if (poster->left-- == 0) {
        UNIT_CHECK(unit_load(&memory.allocations) == poster->allocations);
        return;
    }
    UNIT_CHECK(tocsin_post(tocsin_pool_driver(poster->pool), post_again, poster) == 0);
}

/* A post's memory is free before its function runs, which may post at once. */
static void a_post_from_a_post_allocates_nothing(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct poster poster = {.pool = pool, .left = 1000};

    (void)state;
    assert_int_equal(tocsin_post(tocsin_pool_driver(pool), post_again, &poster), 0);
    poster.allocations = unit_load(&memory.allocations);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(pool->spare_posts_count, 1);
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void only_so_many_ended_posts_are_kept(void **state)
{
    struct tocsin_pool *pool = open_pool();
    unsigned live = unit_load(&memory.live);

    (void)state;
    for (int i = 0; i < MANY; i++) {
        post_note(pool, i);
    }
    assert_int_equal(unit_load(&memory.live), live + MANY);
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(calls, MANY);
    assert_int_equal(pool->spare_posts_count, KEPT);
    assert_int_equal(unit_load(&memory.live), live + KEPT);
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void posts_that_never_ran_are_told_so_by_the_close(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    for (int i = 0; i < 3; i++) {
        post_note(pool, i);
    }
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(calls, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(called[i], i);
        assert_int_equal(statuses[i], -ECANCELED);
    }
    assert_int_equal(unit_load(&memory.live), 0);
}

static void post_too_late(void *arg, int status)
{
    struct poster *poster = arg;

    UNIT_CHECK(status == -ECANCELED);
    UNIT_CHECK(tocsin_post(tocsin_pool_driver(poster->pool), post_again, poster) == -ESHUTDOWN);
    poster->left--;
}

static void a_post_told_of_the_close_can_post_no_more(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct poster poster = {.pool = pool, .left = 1};

    (void)state;
    assert_int_equal(tocsin_post(tocsin_pool_driver(pool), post_too_late, &poster), 0);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(poster.left, 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_refused_post_is_never_called(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    assert_int_equal(tocsin_post(driver, NULL, NULL), -EINVAL);
    atomic_store_explicit(&memory.fail_at, 1, memory_order_relaxed);
    assert_int_equal(tocsin_post(driver, note, NULL), -ENOMEM);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(tocsin_post(driver, note, NULL), -ESHUTDOWN);
    assert_int_equal(calls, 0);
    tocsin_driver_unref(driver);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void post_ten(void *arg)
{
    for (int i = 0; i < 10; i++) {
        post_note(arg, i);
    }
}

static void posts_from_elsewhere_come_in_their_order_and_keep_the_run_alive(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    tocsin_pool_turn(pool);
    support_elsewhere(post_ten, pool);
    assert_int_equal(unit_load(&fake.kicks), 1); /* W1: the pool slept; one kick for all */
    assert_int_equal(pool->alive, 0);            /* not received yet */
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(calls, 10);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(called[i], i);
    }
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(posts_run_in_the_order_of_posting),
    cmocka_unit_test(a_post_from_a_post_allocates_nothing),
    cmocka_unit_test(only_so_many_ended_posts_are_kept),
    cmocka_unit_test(posts_that_never_ran_are_told_so_by_the_close),
    cmocka_unit_test(a_post_told_of_the_close_can_post_no_more),
    cmocka_unit_test(a_refused_post_is_never_called),
    cmocka_unit_test(posts_from_elsewhere_come_in_their_order_and_keep_the_run_alive),
};

UNIT_MAIN(tests)
