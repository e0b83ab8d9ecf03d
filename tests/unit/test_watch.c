/*
 * Watches: queued by the walk, called by the run queue, counted among what keeps runs going.
 */
#include <tocsin/ready.h>

#include <errno.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

/* A watch, what it was told, and what it does in its callback. */
struct told {
    struct tocsin_watch watch;
    struct tocsin_pool *pool;
    int events;
    unsigned calls;
    bool stops;
    bool restarts;
};

static void note(struct tocsin_watch *watch, int events, void *arg)
{
    struct told *told = arg;

    UNIT_CHECK(watch == &told->watch);
    told->events = events;
    told->calls++;
    if (told->stops) {
        UNIT_CHECK(tocsin_watch_stop(watch) == 0);
    }
    if (told->restarts) {
        UNIT_CHECK(tocsin_watch_start(watch, tocsin_pool_driver(told->pool), 4, TOCSIN_IN, note,
                                      told) == 0);
    }
}

static struct tocsin_pool *open_pool(uint32_t features)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, features);
    unit_number(3);
    unit_number(4);
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void start(struct told *told, struct tocsin_pool *pool, uint32_t events)
{
    told->pool = pool;
    assert_int_equal(
        tocsin_watch_start(&told->watch, tocsin_pool_driver(pool), 3, events, note, told), 0);
}

static void a_watch_is_called_from_the_queue_not_from_the_walk(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    pool->events.count = 1;
    pool->events.events[0] =
        (struct tocsin_backend_event){.id = told.watch.ready_->watch.id, .events = TOCSIN_IN};
    tocsin__ready_walk(pool);
    assert_int_equal(told.calls, 0);
    assert_non_null(pool->queue.head);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.events, TOCSIN_IN);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void events_merge_until_the_call(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};
    uint64_t id;

    (void)state;
    start(&told, pool, TOCSIN_IN | TOCSIN_OUT);
    id = told.watch.ready_->watch.id;
    unit_fake_event(&fake, id, TOCSIN_IN);
    unit_fake_event(&fake, id, TOCSIN_OUT | TOCSIN_PRI);
    unit_fake_event(&fake, id, TOCSIN_RDHUP);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.events, TOCSIN_IN | TOCSIN_OUT | TOCSIN_RDHUP); /* PRI was not wanted */
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void an_unwanted_event_makes_no_call(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_OUT);
    unit_fake_event(&fake, told.watch.ready_->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 0);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void a_watch_stopped_while_queued_is_not_called(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};
    struct tocsin_fd_ready *ready;

    (void)state;
    start(&told, pool, TOCSIN_IN);
    ready = told.watch.ready_;
    pool->events.count = 1;
    pool->events.events[0] =
        (struct tocsin_backend_event){.id = ready->watch.id, .events = TOCSIN_IN};
    tocsin__ready_walk(pool);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    assert_null(told.watch.ready_);
    tocsin_pool_turn(pool);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 0);
    assert_ptr_equal(pool->registrations.free, ready); /* the queue has let it go */
    close_pool(pool);
}

static void a_watch_can_stop_itself(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.stops = true};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    unit_fake_event(&fake, told.watch.ready_->watch.id, TOCSIN_IN);
    assert_int_equal(tocsin_pool_turn(pool), 0); /* nothing is left to run for */
    assert_int_equal(told.calls, 1);
    assert_null(told.watch.ready_);
    assert_int_equal(pool->alive, 0);
    close_pool(pool);
}

static void a_watch_can_be_started_anew_in_its_callback(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.stops = true, .restarts = true};
    uint64_t first_id;

    (void)state;
    start(&told, pool, TOCSIN_IN);
    first_id = told.watch.ready_->watch.id;
    unit_fake_event(&fake, first_id, TOCSIN_IN);
    assert_int_equal(tocsin_pool_turn(pool), 1);
    assert_int_equal(told.calls, 1);
    assert_non_null(told.watch.ready_);
    told.stops = false;
    told.restarts = false;
    unit_fake_event(&fake, first_id, TOCSIN_IN); /* the first one's: dead */
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    unit_fake_event(&fake, told.watch.ready_->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 2);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void background_watches_keep_nothing_alive(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    assert_int_equal(pool->alive, 1);
    tocsin_watch_set_background(&told.watch, true);
    tocsin_watch_set_background(&told.watch, true);
    assert_int_equal(pool->alive, 0);
    tocsin_watch_set_background(&told.watch, false);
    tocsin_watch_set_background(&told.watch, false);
    assert_int_equal(pool->alive, 1);
    tocsin_watch_set_background(&told.watch, true);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    assert_int_equal(pool->alive, 0);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0); /* not started: nothing */
    assert_int_equal(pool->alive, 0);
    close_pool(pool);
}

static void starting_refuses_nonsense(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_watch unused = {.ready_ = NULL};
    struct told told = {.calls = 0};

    (void)state;
    assert_int_equal(tocsin_watch_start(&unused, driver, 3, 0, note, NULL), -EINVAL);
    assert_int_equal(tocsin_watch_start(&unused, driver, 3, 1 << 6, note, NULL), -EINVAL);
    assert_int_equal(tocsin_watch_start(&unused, driver, 3, TOCSIN_IN, NULL, NULL), -EINVAL);
    fake.attach_result = -EPERM;
    assert_int_equal(tocsin_watch_start(&unused, driver, 3, TOCSIN_IN, note, NULL), -EPERM);
    assert_null(unused.ready_);
    assert_int_equal(pool->alive, 0);
    fake.attach_result = 0;
    start(&told, pool, TOCSIN_IN);
    assert_int_equal(tocsin_watch_start(&told.watch, driver, 4, TOCSIN_IN, note, &told), -EBUSY);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void a_watch_is_armed_again_after_its_call(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    tocsin_pool_turn(pool); /* attaches */
    assert_int_equal(fake.arms, 1);
    unit_fake_event(&fake, told.watch.ready_->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    assert_int_equal(fake.arms, 2);
    assert_int_equal(fake.armed & TOCSIN_IN, TOCSIN_IN);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void a_failed_attach_is_told_to_the_callback(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    fake.attach_result = -EBADF;
    tocsin_pool_turn(pool);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.events, -EBADF);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    close_pool(pool);
}

static void a_watch_can_be_stopped_after_the_pool_has_closed(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct told told = {.calls = 0};

    (void)state;
    start(&told, pool, TOCSIN_IN);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(tocsin_watch_stop(&told.watch), 0);
    assert_int_equal(told.calls, 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_watch_is_called_from_the_queue_not_from_the_walk),
    cmocka_unit_test(events_merge_until_the_call),
    cmocka_unit_test(an_unwanted_event_makes_no_call),
    cmocka_unit_test(a_watch_stopped_while_queued_is_not_called),
    cmocka_unit_test(a_watch_can_stop_itself),
    cmocka_unit_test(a_watch_can_be_started_anew_in_its_callback),
    cmocka_unit_test(background_watches_keep_nothing_alive),
    cmocka_unit_test(starting_refuses_nonsense),
    cmocka_unit_test(a_watch_is_armed_again_after_its_call),
    cmocka_unit_test(a_failed_attach_is_told_to_the_callback),
    cmocka_unit_test(a_watch_can_be_stopped_after_the_pool_has_closed),
};

UNIT_MAIN(tests)
