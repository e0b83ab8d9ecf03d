/*
 * What a backend keeps of a ring: that it is asked for once, why there is none, and what is done on
 * the way into sleep.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/uring.h"

/* What asking for a ring answers, if not 0; and how often that was. */
static int open_result;
static const char *open_failed;
static unsigned opens;

int __real_tocsin__ring_open(struct ring *ring, struct ring_setup *setup);
int __wrap_tocsin__ring_open(struct ring *ring, struct ring_setup *setup);

int __wrap_tocsin__ring_open(struct ring *ring, struct ring_setup *setup)
{
    opens++;
    if (open_result != 0) {
        setup->failed = open_failed;
        return open_result;
    }
    return __real_tocsin__ring_open(ring, setup);
}

/* ---- Why there is none ----------------------------------------------------------------------- */

/* A pool whose ring is still to be made. */
static void open_pool(struct unit_uring *uring)
{
    struct tocsin_pool_options options = {.allocator = &uring->memory.allocator};

    unit_memory_init(&uring->memory);
    uring->backend = *tocsin_backend_find("epoll");
    assert_int_equal(tocsin_pool_open(&uring->pool, &uring->backend, &options), 0);
    uring->driver = tocsin_pool_driver(uring->pool);
    uring->host = uring->backend.ops->uring(uring->pool->driver.backend_state);
    opens = 0;
}

static int submit_nop(struct unit_uring *uring, struct unit_op *op)
{
    struct io_uring_sqe sqe = unit_sqe_nop();

    return unit_submit(uring, op, &sqe);
}

static void check_refusal(int error, const char *failed, const char *name)
{
    struct unit_uring uring = {0};
    struct unit_op op;
    const char *reason;

    open_result = error;
    open_failed = failed;
    open_pool(&uring);
    assert_null(tocsin_uring_reason(uring.driver));
    unit_op_init(&op);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(submit_nop(&uring, &op), -EOPNOTSUPP);
        assert_int_equal(tocsin_uring_probe(uring.driver, IORING_OP_NOP), -EOPNOTSUPP);
    }
    assert_int_equal(opens, 1);
    reason = tocsin_uring_reason(uring.driver);
    assert_non_null(reason);
    assert_non_null(strstr(reason, failed));
    assert_non_null(strstr(reason, name));
    assert_true(tocsin_pool_turn(uring.pool) >= 0);
    assert_int_equal(unit_load(&op.completes), 0);
    tocsin_uring_drop(&op.op);
    assert_int_equal(unit_load(&op.releases), 1);
    unit_uring_end(&uring);
    open_result = 0;
}

static void what_is_refused_is_asked_for_once(void **state)
{
    (void)state;
    check_refusal(-EPERM, "io_uring_setup", "EPERM");
    check_refusal(-ENOSYS, "io_uring_setup", "ENOSYS");
    check_refusal(-EPERM, "io_uring_register", "EPERM");
    check_refusal(-EINVAL, "io_uring_setup", "-22");
}

static void check_shortage(int error)
{
    struct unit_uring uring = {0};
    struct unit_op op;

    open_result = error;
    open_failed = "io_uring_setup";
    open_pool(&uring);
    unit_op_init(&op);
    assert_int_equal(submit_nop(&uring, &op), error);
    assert_int_equal(submit_nop(&uring, &op), error);
    assert_int_equal(opens, 2);
    assert_non_null(tocsin_uring_reason(uring.driver));
    open_result = 0;
    if (submit_nop(&uring, &op) == 0) { /* else the kernel has its own reason */
        assert_null(tocsin_uring_reason(uring.driver));
        unit_turns_until(&uring, &op.completes, 1);
    }
    tocsin_uring_drop(&op.op);
    unit_uring_end(&uring);
}

static void what_was_short_is_asked_for_again(void **state)
{
    (void)state;
    check_shortage(-ENOMEM);
    check_shortage(-EMFILE);
}

static void without_memory_there_is_no_ring_and_nothing_is_left(void **state)
{
    struct unit_uring uring = {0};
    struct unit_op op;
    unsigned live;

    (void)state;
    unit_uring_start(&uring); /* skips where there is none */
    unit_uring_end(&uring);
    memset(&uring, 0, sizeof(uring));
    open_pool(&uring);
    unit_op_init(&op);
    live = unit_load(&uring.memory.live);
    for (unsigned n = 1; n <= 2; n++) {
        atomic_store_explicit(&uring.memory.fail_at, n, memory_order_relaxed);
        assert_int_equal(submit_nop(&uring, &op), -ENOMEM);
        assert_int_equal(unit_load(&uring.memory.live), live);
    }
    assert_int_equal(submit_nop(&uring, &op), 0);
    unit_turns_until(&uring, &op.completes, 1);
    tocsin_uring_drop(&op.op);
    unit_uring_end(&uring);
}

/* ---- On the way into sleep ------------------------------------------------------------------- */

static uint64_t prepare(struct unit_uring *uring, uint64_t deadline_ns)
{
    return tocsin__uring_host_prepare(uring->host, deadline_ns);
}

static void without_a_ring_sleep_is_as_it_was(void **state)
{
    struct unit_uring uring = {0};

    (void)state;
    open_pool(&uring);
    assert_int_equal(prepare(&uring, 5), 5);
    assert_true(prepare(&uring, TOCSIN_NEVER_NS) == TOCSIN_NEVER_NS);
    assert_int_equal(opens, 0);
    unit_uring_end(&uring);
}

static void flushes_then_looks(void *arg)
{
    struct unit_uring *uring = arg;
    static struct unit_op op;
    unsigned enters = unit_enters;

    unit_op_init(&op);
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == TOCSIN_NEVER_NS);
    UNIT_CHECK(unit_enters == enters);
    UNIT_CHECK(submit_nop(uring, &op) == 0);
    UNIT_CHECK(unit_enters == enters);
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == 0);
    UNIT_CHECK(unit_enters == enters + 1);
    UNIT_CHECK(unit_load(&op.completes) == 0);        /* no user code runs here */
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == 0); /* and again, until it is delivered */
    tocsin__uring_host_harvest(uring->host);
    UNIT_CHECK(unit_load(&op.completes) == 1);
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == TOCSIN_NEVER_NS);
    tocsin_uring_drop(&op.op);
}

static void sleep_comes_after_flush_and_look(void **state)
{
    struct unit_uring uring = {0};

    (void)state;
    unit_uring_start(&uring);
    unit_uring_in_turn(&uring, flushes_then_looks, &uring);
    unit_uring_end(&uring);
}

static void is_refused(void *arg)
{
    struct unit_uring *uring = arg;
    static struct unit_op op;
    uint64_t deadline_ns;

    unit_op_init(&op);
    UNIT_CHECK(submit_nop(uring, &op) == 0);
    unit_enters_no = 2;
    unit_enters_errno = -EAGAIN;
    deadline_ns = prepare(uring, TOCSIN_NEVER_NS);
    UNIT_CHECK(deadline_ns > 0 && deadline_ns <= tocsin_pool_now_ns(uring->pool) + URING_RETRY_NS);
    UNIT_CHECK(prepare(uring, 1) == 1); /* an earlier deadline stands */
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == 0);
    tocsin__uring_host_harvest(uring->host);
    UNIT_CHECK(unit_load(&op.completes) == 1);
    tocsin_uring_drop(&op.op);
}

static void what_the_kernel_has_not_taken_limits_the_sleep(void **state)
{
    struct unit_uring uring = {0};

    (void)state;
    unit_uring_start(&uring);
    unit_uring_in_turn(&uring, is_refused, &uring);
    unit_uring_end(&uring);
}

static void gets_a_submission(void *arg)
{
    struct unit_uring *uring = arg;
    static struct unit_op op;
    struct io_uring_sqe sqe = unit_sqe_nop();

    unit_op_init(&op);
    UNIT_CHECK(unit_submit_elsewhere(uring, &op, &sqe) == 0);
    UNIT_CHECK(!tocsin__wake_is_woken(&uring->pool->wake)); /* it looks by itself */
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == 0);
    tocsin__uring_host_harvest(uring->host); /* takes it */
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == 0);
    tocsin__uring_host_harvest(uring->host); /* delivers it */
    UNIT_CHECK(unit_load(&op.completes) == 1);
    UNIT_CHECK(prepare(uring, TOCSIN_NEVER_NS) == TOCSIN_NEVER_NS);
    unit_drop_elsewhere(&op);
    UNIT_CHECK(unit_load(&op.releases) == 1);
}

static void what_others_sent_forbids_sleep(void **state)
{
    struct unit_uring uring = {0};

    (void)state;
    unit_uring_start(&uring);
    unit_uring_in_turn(&uring, gets_a_submission, &uring);
    unit_uring_end(&uring);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_refused_is_asked_for_once),
    cmocka_unit_test(what_was_short_is_asked_for_again),
    cmocka_unit_test(without_memory_there_is_no_ring_and_nothing_is_left),
    cmocka_unit_test(without_a_ring_sleep_is_as_it_was),
    cmocka_unit_test(sleep_comes_after_flush_and_look),
    cmocka_unit_test(what_the_kernel_has_not_taken_limits_the_sleep),
    cmocka_unit_test(what_others_sent_forbids_sleep),
};

UNIT_MAIN(tests)
