/*
 * Readiness objects: what a walk does, what is freed when (D1 to D4), poll_io's tries, and backends
 * that are armed.  tocsin__mutex_unlock() is wrapped, so that a test can act right after one.
 */
#include <tocsin/ready.h>

#include <errno.h>
#include <string.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

/* Called once after the next unlock of this lock, on whichever thread. */
static struct tocsin__mutex *hooked_lock;
static support_body_fn *hook;
static void *hook_arg;

void __real_tocsin__mutex_unlock(struct tocsin__mutex *mutex);
void __wrap_tocsin__mutex_unlock(struct tocsin__mutex *mutex);

void __wrap_tocsin__mutex_unlock(struct tocsin__mutex *mutex)
{
    bool hooked = hook != NULL && mutex == hooked_lock;

    __real_tocsin__mutex_unlock(mutex);
    if (hooked) {
        support_body_fn *fn = hook;

        hook = NULL;
        fn(hook_arg);
    }
}

static struct tocsin_pool *open_pool(uint32_t features)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, features);
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static struct tocsin_fd_ready *open_ready(struct tocsin_pool *pool, int number)
{
    struct tocsin_fd_ready *ready = NULL;

    assert_int_equal(tocsin_fd_ready_open(tocsin_pool_driver(pool), unit_number(number), &ready),
                     0);
    return ready;
}

static struct tocsin_context context_of(struct unit_waker *counts)
{
    return (struct tocsin_context){.waker = unit_waker_of(counts)};
}

static int live_of(struct tocsin_fd_ready *ready)
{
    return atomic_load_explicit(&ready->live, memory_order_relaxed) != 0;
}

/* Is @ready's slot the next to be taken? */
static bool is_free(const struct tocsin_pool *pool, const struct tocsin_fd_ready *ready)
{
    return pool->registrations.free == ready;
}

static void close_here(void *arg)
{
    UNIT_CHECK(tocsin_fd_ready_close(arg) == 0);
}

static void a_close_in_a_turn_frees_at_once(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);

    (void)state;
    unit_in_turn(pool, close_here, ready);
    assert_true(is_free(pool, ready));
    assert_int_equal(fake.detaches, 1);
    close_pool(pool);
}

struct close_in_walk {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
};

static void close_while_walking(void *arg)
{
    struct close_in_walk *close_in_walk = arg;

    close_in_walk->pool->walking = true;
    UNIT_CHECK(tocsin_fd_ready_close(close_in_walk->ready) == 0);
    close_in_walk->pool->walking = false;
    UNIT_CHECK(!is_free(close_in_walk->pool, close_in_walk->ready));
    UNIT_CHECK(!live_of(close_in_walk->ready));
}

static void a_close_while_a_batch_is_walked_is_deferred(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct close_in_walk close_in_walk = {pool, open_ready(pool, 3)};

    (void)state;
    unit_in_turn(pool, close_while_walking, &close_in_walk);
    assert_false(is_free(pool, close_in_walk.ready));
    tocsin_pool_turn(pool);
    assert_true(is_free(pool, close_in_walk.ready));
    close_pool(pool);
}

static void a_close_elsewhere_is_deferred_and_wakes_the_pool(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    unsigned kicks;

    (void)state;
    tocsin_pool_turn(pool); /* leaves the pool asleep */
    kicks = unit_load(&fake.kicks);
    support_elsewhere(close_here, ready);
    assert_int_equal(unit_load(&fake.kicks), kicks + 1);
    assert_int_equal(fake.detaches, 1); /* at once: this backend lets any thread */
    assert_false(live_of(ready));
    assert_false(is_free(pool, ready));
    tocsin_pool_turn(pool);
    assert_true(is_free(pool, ready));
    close_pool(pool);
}

static void an_event_after_the_close_reaches_nobody(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    uint64_t id = ready->watch.id;

    (void)state;
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_PENDING);
    support_elsewhere(close_here, ready);
    unit_fake_event(&fake, id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 0);
    assert_int_equal(unit_load(&counts.refs), 0); /* dropped with the slot */

    assert_ptr_equal(open_ready(pool, 4), ready); /* the slot's next life */
    unit_fake_event(&fake, id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(ready->slots[0].observed, 0);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void close_the_pool(void *arg)
{
    UNIT_CHECK(tocsin_pool_close(arg) == 0);
}

/*
 * The closer has put the object on the list and given the lock back; before it wakes the pool the
 * pool frees the object, ends and closes.
 */
static void a_close_elsewhere_survives_the_end_of_the_pool(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);

    (void)state;
    hook = close_the_pool;
    hook_arg = pool;
    hooked_lock = &pool->registrations.lock;
    support_elsewhere(close_here, ready);
    assert_null(hook);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_close_after_the_pools_end_frees_the_pool(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);

    (void)state;
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_PENDING);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), -ESHUTDOWN);
    assert_true(unit_load(&memory.live) > 0);
    support_elsewhere(close_here, ready);
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(fake.detaches, 0); /* the backend is gone */
    assert_int_equal(unit_load(&memory.live), 0);
}

static void both_slots_are_told_and_woken_after_the_walk(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts[2] = {{.refs = 0}, {.refs = 0}};
    struct tocsin_context cx[2] = {context_of(&counts[0]), context_of(&counts[1])};

    (void)state;
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx[0]),
                     TOCSIN_PENDING);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, &cx[1]),
                     TOCSIN_PENDING);
    unit_fake_event(&fake, ready->watch.id, TOCSIN_HUP);
    pool->events.count = 1;
    pool->events.events[0] = fake.events[0];
    fake.events_count = 0;
    tocsin__ready_walk(pool);
    assert_false(pool->walking);
    assert_int_equal(pool->wakers.count, 2); /* D4: collected, not woken */
    assert_int_equal(unit_load(&counts[0].wakes) + unit_load(&counts[1].wakes), 0);
    tocsin__wakers_wake(&pool->wakers);
    assert_int_equal(unit_load(&counts[0].wakes), 1);
    assert_int_equal(unit_load(&counts[1].wakes), 1);
    assert_int_equal(unit_load(&counts[0].refs) + unit_load(&counts[1].refs), 0);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void the_same_waker_is_not_cloned_again(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts[2] = {{.refs = 0}, {.refs = 0}};
    struct tocsin_context cx[2] = {context_of(&counts[0]), context_of(&counts[1])};

    (void)state;
    for (int i = 0; i < 3; i++) {
        tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx[0]);
        assert_int_equal(unit_load(&counts[0].refs), 1);
    }
    tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx[1]);
    assert_int_equal(unit_load(&counts[0].refs), 0);
    assert_int_equal(unit_load(&counts[1].refs), 1);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
    assert_int_equal(unit_load(&counts[1].refs), 0);
}

static void polls_refuse_what_no_event_is(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);

    (void)state;
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, 0, &cx), -EINVAL);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN | 1 << 6, &cx),
                     -EINVAL);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

/* ---- poll_io -----------------------------------------------------------------------------------
 */

/* What the tries of an operation answer, in turn; the last one stays. */
struct tries {
    int results[4];
    unsigned count;
};

static int try_next(intptr_t fd, void *arg)
{
    struct tries *tries = arg;
    unsigned last = UNIT_COUNT(tries->results) - 1;

    UNIT_CHECK(fd == 3);
    return tries->results[tries->count < last ? tries->count++ : last];
}

static void poll_io_tries_before_it_waits(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    struct tries tries = {.results = {-EINTR, -EINTR, 7, 8}};

    (void)state;
    assert_int_equal(
        tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx),
        7); /* EINTR is tried again at once */
    assert_int_equal(tries.count, 3);
    tries = (struct tries){.results = {-ECONNRESET}};
    assert_int_equal(
        tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx),
        -ECONNRESET);
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void poll_io_tries_again_only_after_an_event(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    struct tries tries = {.results = {-EAGAIN, -EAGAIN, -EAGAIN, 9}};

    (void)state;
    for (int i = 0; i < 3; i++) { /* spurious polls try nothing: N4 */
        assert_int_equal(
            tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx),
            TOCSIN_PENDING);
        assert_int_equal(tries.count, 1);
    }
    unit_fake_event(&fake, ready->watch.id, TOCSIN_IN | TOCSIN_OUT);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1);
    for (int i = 0; i < 3; i++) { /* also with an OUT that no reader takes */
        assert_int_equal(
            tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx),
            TOCSIN_PENDING);
        assert_int_equal(tries.count, 2);
    }
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void a_short_read_spares_the_next_try(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    struct tries tries = {.results = {-EAGAIN}};

    (void)state;
    unit_fake_event(&fake, ready->watch.id, TOCSIN_IN | TOCSIN_OUT);
    tocsin_pool_turn(pool);
    tocsin__ready_short_read(ready);
    assert_int_equal(
        tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx),
        TOCSIN_PENDING);
    assert_int_equal(tries.count, 0);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void a_short_read_proves_nothing_where_more_was_seen(void **state)
{
    static const uint32_t against[] = {TOCSIN_PRI, TOCSIN_RDHUP, TOCSIN_HUP, TOCSIN_ERR};
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(against); i++) {
        struct tocsin_fd_ready *ready = open_ready(pool, 3);
        struct unit_waker counts = {.refs = 0};
        struct tocsin_context cx = context_of(&counts);
        struct tries tries = {.results = {5}};

        unit_fake_event(&fake, ready->watch.id, TOCSIN_IN | against[i]);
        tocsin_pool_turn(pool);
        tocsin__ready_short_read(ready);
        assert_int_equal(
            tocsin_fd_ready_poll_io(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_next, &tries, &cx), 5);
        assert_int_equal(tocsin_fd_ready_close(ready), 0);
    }
    close_pool(pool);
}

static void forgetting_makes_the_past_void(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);

    (void)state;
    unit_fake_event(&fake, ready->watch.id, TOCSIN_OUT | TOCSIN_HUP);
    tocsin_pool_turn(pool);
    tocsin__ready_forget(ready, TOCSIN_SLOT_WRITE);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, &cx),
                     TOCSIN_PENDING);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_HUP);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

static void unwaiting_drops_the_waker(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);

    (void)state;
    tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx);
    tocsin__ready_unwait(ready, TOCSIN_SLOT_READ);
    assert_int_equal(unit_load(&counts.refs), 0);
    unit_fake_event(&fake, ready->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 0);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_IN);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close_pool(pool);
}

/* ---- Backends that attach on their own thread, and are armed -----------------------------------
 */

static void an_armed_backend_is_told_what_is_still_wanted(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    uint32_t always = TOCSIN_ERR | TOCSIN_HUP;

    (void)state;
    assert_int_equal(fake.attaches, 0); /* put off */
    tocsin_pool_turn(pool);
    assert_int_equal(fake.attaches, 1);
    assert_int_equal(fake.arms, 0); /* nothing is wanted */
    tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx);
    assert_int_equal(fake.armed, TOCSIN_IN | TOCSIN_RDHUP | always);
    tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, &cx);
    assert_int_equal(fake.armed, TOCSIN_IN | TOCSIN_OUT | TOCSIN_RDHUP | always);
    assert_int_equal(fake.arms, 2);
    unit_fake_event(&fake, ready->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(fake.arms, 3); /* reporting disarmed: what is left is armed again */
    assert_int_equal(fake.armed, TOCSIN_OUT | always);
    tocsin__ready_unwait(ready, TOCSIN_SLOT_WRITE);
    assert_int_equal(fake.armed, 0);
    unit_in_turn(pool, close_here, ready);
    assert_int_equal(fake.detaches, 1);
    close_pool(pool);
}

static void a_put_off_failure_comes_with_the_first_poll(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);

    (void)state;
    fake.attach_result = -EPERM;
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_PENDING);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1); /* come and hear it */
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), -EPERM);
    unit_in_turn(pool, close_here, ready);
    assert_int_equal(fake.detaches, 0);
    close_pool(pool);
}

static void opened_and_closed_elsewhere_before_a_turn_is_never_attached(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct tocsin_fd_ready *ready = open_ready(pool, 3);

    (void)state;
    support_elsewhere(close_here, ready);
    assert_false(is_free(pool, ready)); /* the inbox still has it */
    tocsin_pool_turn(pool);
    assert_true(is_free(pool, ready));
    assert_int_equal(fake.attaches, 0);
    close_pool(pool);
}

/* The backend of the next test: it can tell that a number is attached already. */
static intptr_t attached_number;

static int attach_once(void *fake_state, struct tocsin_backend_watch *watch)
{
    (void)fake_state;
    if (attached_number == watch->number) {
        return -EEXIST;
    }
    attached_number = watch->number;
    return 0;
}

static int detach_one(void *fake_state, struct tocsin_backend_watch *watch)
{
    (void)fake_state;
    if (attached_number != watch->number) {
        return -ENOENT;
    }
    attached_number = -1;
    return 0;
}

static void a_close_elsewhere_comes_before_the_open_that_follows(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_ARMED);
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    struct tocsin_fd_ready *first;
    struct tocsin_fd_ready *second;

    (void)state;
    fake.ops.attach = attach_once;
    fake.ops.detach = detach_one;
    attached_number = -1;
    first = open_ready(pool, 3);
    tocsin_pool_turn(pool);
    assert_int_equal(attached_number, 3);
    support_elsewhere(close_here, first);
    second = open_ready(pool, 3); /* the same number, after the close has returned */
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_fd_ready_poll(second, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                     TOCSIN_PENDING);
    unit_in_turn(pool, close_here, second);
    assert_int_equal(attached_number, -1);
    close_pool(pool);
}

/*
 * Sources of a backend's own, which are in no table of numbers: closed and opened anew by another
 * thread before the pool's next turn, and in the midst of one.
 */
struct anew {
    struct tocsin_driver *driver;
    struct tocsin_fd_ready *ready; /* to close; then the one that was opened */
};

static struct anew *in_harvest;

static void open_own(void *arg)
{
    struct anew *anew = arg;

    UNIT_CHECK(tocsin_source_ready_open(anew->driver, TOCSIN_SOURCE_OWN, 3, &anew->ready) == 0);
}

static void close_and_open(void *arg)
{
    struct anew *anew = arg;

    UNIT_CHECK(tocsin_fd_ready_close(anew->ready) == 0);
    open_own(anew);
}

static void harvest_once(void *fake_state)
{
    struct anew *anew = in_harvest;

    (void)fake_state;
    in_harvest = NULL;
    if (anew != NULL) {
        support_elsewhere(close_and_open, anew);
    }
}

static void an_own_source_closed_elsewhere_is_detached_before_it_comes_anew(void **state)
{
    struct tocsin_pool *pool;
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = context_of(&counts);
    struct anew anew;

    (void)state;
    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_ARMED | TOCSIN_BACKEND_OWN_SOURCES);
    fake.ops.attach = attach_once;
    fake.ops.detach = detach_one;
    fake.ops.harvest = harvest_once;
    attached_number = -1;
    pool = unit_fake_pool(&fake, &(struct tocsin_pool_options){.allocator = &memory.allocator});
    anew = (struct anew){.driver = tocsin_pool_driver(pool)};
    open_own(&anew);
    tocsin_pool_turn(pool);
    assert_int_equal(attached_number, 3);

    support_elsewhere(close_and_open, &anew);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_fd_ready_poll(anew.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                     TOCSIN_PENDING);

    in_harvest = &anew; /* the turn has taken the inbox by then, and frees after */
    tocsin_pool_turn(pool);
    assert_null(in_harvest);
    assert_int_equal(tocsin_fd_ready_poll(anew.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                     TOCSIN_PENDING);
    unit_in_turn(pool, close_here, anew.ready);
    assert_int_equal(attached_number, -1);
    close_pool(pool);
}

static void a_backend_without_the_kind_of_source_refuses_it(void **state)
{
    struct tocsin_pool *pool = open_pool(UNIT_FAKE_EDGE & ~(uint32_t)TOCSIN_BACKEND_SOCKETS);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_fd_ready *ready = NULL;

    (void)state;
    assert_int_equal(tocsin_source_ready_open(driver, TOCSIN_SOURCE_SOCKET, 3, &ready),
                     -EOPNOTSUPP);
    assert_int_equal(tocsin_source_ready_open(driver, TOCSIN_SOURCE_HANDLE, 3, &ready),
                     -EOPNOTSUPP);
    assert_int_equal(tocsin_source_ready_open(driver, TOCSIN_SOURCE_OWN, 3, &ready), -EOPNOTSUPP);
    assert_int_equal(tocsin_fd_ready_open(driver, -1, &ready), -EBADF);
    assert_null(ready);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_close_in_a_turn_frees_at_once),
    cmocka_unit_test(a_close_while_a_batch_is_walked_is_deferred),
    cmocka_unit_test(a_close_elsewhere_is_deferred_and_wakes_the_pool),
    cmocka_unit_test(an_event_after_the_close_reaches_nobody),
    cmocka_unit_test(a_close_elsewhere_survives_the_end_of_the_pool),
    cmocka_unit_test(a_close_after_the_pools_end_frees_the_pool),
    cmocka_unit_test(both_slots_are_told_and_woken_after_the_walk),
    cmocka_unit_test(the_same_waker_is_not_cloned_again),
    cmocka_unit_test(polls_refuse_what_no_event_is),
    cmocka_unit_test(poll_io_tries_before_it_waits),
    cmocka_unit_test(poll_io_tries_again_only_after_an_event),
    cmocka_unit_test(a_short_read_spares_the_next_try),
    cmocka_unit_test(a_short_read_proves_nothing_where_more_was_seen),
    cmocka_unit_test(forgetting_makes_the_past_void),
    cmocka_unit_test(unwaiting_drops_the_waker),
    cmocka_unit_test(an_armed_backend_is_told_what_is_still_wanted),
    cmocka_unit_test(a_put_off_failure_comes_with_the_first_poll),
    cmocka_unit_test(opened_and_closed_elsewhere_before_a_turn_is_never_attached),
    cmocka_unit_test(a_close_elsewhere_comes_before_the_open_that_follows),
    cmocka_unit_test(an_own_source_closed_elsewhere_is_detached_before_it_comes_anew),
    cmocka_unit_test(a_backend_without_the_kind_of_source_refuses_it),
};

UNIT_MAIN(tests)
