/*
 * The end of an operation: in a pool that closes, and without memory.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/uring_life.h"

/* ---- The end ---------------------------------------------------------------------------------
 */

/* The pool has closed, and its ops were dropped. */
static void check_all_given_back(struct life *fixture)
{
    assert_int_equal(unit_load(&fixture->uring.memory.live), 0);
    close(fixture->fds[0]);
    close(fixture->fds[1]);
}

static void closing_gives_back_what_is_in_flight(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.second, &fixture.read), 0);
    assert_int_equal(tocsin_pool_close(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    life_check_counts(&fixture.second, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    assert_int_equal(fixture.second.result, -ECANCELED);
    assert_int_equal(tocsin_uring_cancel(&fixture.op.op), -EALREADY);
    tocsin_uring_drop(&fixture.op.op); /* the last two references to the pool's memory */
    assert_true(unit_load(&fixture.uring.memory.live) > 0);
    tocsin_uring_drop(&fixture.second.op);
    life_check_counts(&fixture.op, 1, 0, 1);
    life_check_counts(&fixture.second, 1, 0, 1);
    check_all_given_back(&fixture);
}

static void submit_from_ending_hook(struct unit_op *op)
{
    struct life *fixture = op->arg;

    fixture->result = unit_submit(&fixture->uring, op, &fixture->nop);
    tocsin_uring_drop(&op->op);
}

static void an_ending_pool_takes_nothing_more(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = submit_from_ending_hook;
    life_in_turn(&fixture, life_submit_read);
    life_end(&fixture);
    assert_int_equal(fixture.result, -ESHUTDOWN);
    life_check_counts(&fixture.op, 1, 0, 1);
}

static struct life *closing;

static void submit_while_closing(void)
{
    UNIT_CHECK(unit_submit_elsewhere(&closing->uring, &closing->op, &closing->nop) == 0);
}

static void what_arrives_at_the_end_is_cancelled(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    closing = &fixture;
    life_on_remote_close = submit_while_closing;
    assert_int_equal(tocsin_pool_close(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    tocsin_uring_drop(&fixture.op.op);
    check_all_given_back(&fixture);
}

static void drop_after_the_queue(struct unit_op *op)
{
    unit_drop_elsewhere(op);
    UNIT_CHECK(unit_load(&op->releases) == 0);
}

/* ORPHAN: the queue takes no message any more, and the hook is not through with the op. */
static void an_orphan_is_released_by_the_hooks_end(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    closing = &fixture;
    life_on_remote_close = submit_while_closing;
    fixture.op.on_complete = drop_after_the_queue;
    life_end(&fixture);
    life_check_counts(&fixture.op, 1, 0, 1);
}

static struct life_other orphaner;

static void orphan_it(struct unit_op *op)
{
    orphaner.op = op;
    life_other_start(&orphaner, life_drop_held);
}

static void an_orphan_is_released_by_its_drop(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    closing = &fixture;
    life_on_remote_close = submit_while_closing;
    fixture.op.on_complete = orphan_it;
    assert_int_equal(tocsin_pool_close(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    life_other_end(&orphaner);
    life_check_counts(&fixture.op, 1, 0, 1);
    check_all_given_back(&fixture);
}

/* The cancel has promised a message, then the queue closes; the drop had relied on it. */
static void a_drop_that_relied_on_a_refused_cancel_is_released(void **state)
{
    struct life fixture;
    static struct life_other other;

    (void)state;
    other.op = &fixture.op;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    life_other_start(&other, life_cancel_held);
    assert_int_equal(tocsin_pool_close(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    tocsin_uring_drop(&fixture.op.op);
    life_other_end(&other);
    life_check_counts(&fixture.op, 1, 0, 1);
    check_all_given_back(&fixture);
}

/* A submission that found the ring, and then the pool closes. */
static void a_submission_that_races_with_the_end_is_refused(void **state)
{
    struct life fixture;
    static struct life_other other;

    (void)state;
    other.op = &fixture.op;
    other.uring = &fixture.uring;
    life_start(&fixture);
    other.sqe = fixture.nop;
    tocsin_driver_ref(fixture.uring.driver);
    life_other_start(&other, life_submit_held);
    assert_int_equal(tocsin_pool_close(fixture.uring.pool), 0);
    life_other_end(&other);
    assert_int_equal(other.result, -ESHUTDOWN);
    tocsin_driver_unref(fixture.uring.driver);
    life_check_counts(&fixture.op, 0, 0, 0);
    tocsin_uring_drop(&fixture.op.op);
    life_check_counts(&fixture.op, 0, 0, 1);
    check_all_given_back(&fixture);
}

/* ---- With a time limit -----------------------------------------------------------------------
 */

enum {
    FOR_GOOD = 1000000000, /* so often the kernel refuses to be entered */
};

static void refuse_enters(void)
{
    unit_enters_errno = -EAGAIN;
    unit_enters_no = FOR_GOOD;
}

/* A cancel that the kernel never takes stands for one that it cannot carry out. */
static void what_the_kernel_keeps_is_lost_at_the_time_limit(void **state)
{
    static struct life fixture; /* it may never go */

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    refuse_enters();
    assert_int_equal(tocsin_pool_close_timeout(fixture.uring.pool, 2000000), 1);
    unit_enters_no = 0;
    life_check_counts(&fixture.op, 0, 0, 0);
    assert_int_equal(tocsin_uring_cancel(&fixture.op.op), -EALREADY);
    tocsin_uring_drop(&fixture.op.op);
    life_check_counts(&fixture.op, 0, 0, 0);
    assert_true(unit_load(&fixture.uring.memory.live) > 0); /* what the op knows of its pool */
    close(fixture.fds[0]);
    close(fixture.fds[1]);
}

static void what_a_task_waits_for_and_is_lost_holds_no_waker(void **state)
{
    static struct life fixture;
    struct unit_waker waker;
    struct tocsin_context cx;

    (void)state;
    life_start(&fixture);
    unit_op_init_polled(&fixture.op);
    atomic_init(&waker.refs, 0);
    atomic_init(&waker.wakes, 0);
    cx.waker = unit_waker_of(&waker);
    life_in_turn(&fixture, life_submit_read);
    assert_int_equal(tocsin_uring_poll(&fixture.op.op, &cx, NULL, NULL), TOCSIN_PENDING);
    assert_int_equal(unit_load(&waker.refs), 1);
    refuse_enters();
    assert_int_equal(tocsin_pool_close_timeout(fixture.uring.pool, 0), 1);
    unit_enters_no = 0;
    assert_int_equal(unit_load(&waker.refs), 0);
    assert_int_equal(unit_load(&waker.wakes), 0);
    close(fixture.fds[0]);
    close(fixture.fds[1]);
}

enum {
    QUEUE = 4,
    NEVER_TAKEN = 10, /* in the queue, and behind it */
};

struct never_taken {
    struct unit_uring uring;
    struct unit_op ops[NEVER_TAKEN];
};

static void submit_never_taken(void *arg)
{
    const struct io_uring_sqe nop = unit_sqe_nop();
    struct never_taken *all = arg;

    for (unsigned i = 0; i < NEVER_TAKEN; i++) {
        unit_op_init(&all->ops[i]);
        UNIT_CHECK(unit_submit(&all->uring, &all->ops[i], &nop) == 0);
    }
}

static void what_the_kernel_never_took_is_not_lost(void **state)
{
    struct never_taken all = {.uring = {.options = {.entries = QUEUE}}};

    (void)state;
    unit_uring_start(&all.uring);
    refuse_enters();
    unit_uring_in_turn(&all.uring, submit_never_taken, &all);
    assert_int_equal(tocsin_pool_close_timeout(all.uring.pool, 2000000), 0);
    unit_enters_no = 0;
    for (unsigned i = 0; i < NEVER_TAKEN; i++) {
        life_check_counts(&all.ops[i], 1, 0, 0);
        assert_int_equal(all.ops[i].result, -ECANCELED);
        tocsin_uring_drop(&all.ops[i].op);
        life_check_counts(&all.ops[i], 1, 0, 1);
    }
    assert_int_equal(unit_load(&all.uring.memory.live), 0);
}

static void what_comes_back_in_time_is_not_lost(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    unit_enters_errno = -EBUSY;
    unit_enters_no = 3;
    assert_int_equal(tocsin_pool_close_timeout(fixture.uring.pool, TOCSIN_NEVER_NS), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    tocsin_uring_drop(&fixture.op.op);
    check_all_given_back(&fixture);
}

/* ---- Memory ----------------------------------------------------------------------------------
 */

enum {
    SLOTS_FIRST = 64, /* of the table, before it grows */
};

struct full {
    struct life fixture;
    struct unit_op ops[SLOTS_FIRST];
};

static void fill_slots(void *arg)
{
    struct full *full = arg;

    for (unsigned i = 0; i < SLOTS_FIRST; i++) {
        unit_op_init(&full->ops[i]);
        UNIT_CHECK(unit_submit(&full->fixture.uring, &full->ops[i], &full->fixture.read) == 0);
    }
}

static void start_full(struct full *full)
{
    life_start(&full->fixture);
    unit_uring_in_turn(&full->fixture.uring, fill_slots, full);
    assert_int_equal(full->fixture.uring.uring->slots_count, SLOTS_FIRST);
}

static void drop_slots(void *arg)
{
    struct full *full = arg;

    for (unsigned i = 0; i < SLOTS_FIRST; i++) {
        tocsin_uring_drop(&full->ops[i].op);
    }
}

static void end_full(struct full *full)
{
    unit_uring_in_turn(&full->fixture.uring, drop_slots, full);
    life_run(&full->fixture);
    life_end(&full->fixture);
    for (unsigned i = 0; i < SLOTS_FIRST; i++) {
        life_check_counts(&full->ops[i], 0, 1, 1);
    }
}

static void fail_next(struct life *fixture, unsigned nth)
{
    atomic_store_explicit(&fixture->uring.memory.fail_at, nth, memory_order_relaxed);
}

static void submit_without_memory(void *arg)
{
    struct full *full = arg;
    struct life *fixture = &full->fixture;

    fail_next(fixture, 1);
    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->nop) == -ENOMEM);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->op.op) == -EALREADY);
}

/* And it was never in flight: who forgets it now loses nothing. */
static void a_submission_without_memory_leaves_the_op_as_before(void **state)
{
    struct full full;

    (void)state;
    start_full(&full);
    unit_uring_in_turn(&full.fixture.uring, submit_without_memory, &full);
    assert_int_equal(full.fixture.uring.uring->flying, SLOTS_FIRST);
    end_full(&full);
    life_check_counts(&full.fixture.op, 0, 0, 0);
}

static void a_submission_elsewhere_without_memory_completes_so(void **state)
{
    struct full full;

    (void)state;
    start_full(&full);
    assert_int_equal(
        unit_submit_elsewhere(&full.fixture.uring, &full.fixture.op, &full.fixture.nop), 0);
    fail_next(&full.fixture, 1);
    assert_int_equal(tocsin_pool_turn(full.fixture.uring.pool), 1);
    life_check_counts(&full.fixture.op, 1, 0, 0);
    assert_int_equal(full.fixture.op.result, -ENOMEM);
    tocsin_uring_drop(&full.fixture.op.op);
    end_full(&full);
}

static void drop_in_hook(struct unit_op *op)
{
    tocsin_uring_drop(&op->op);
}

static void drop_what_cannot_arrive(void *arg)
{
    struct full *full = arg;
    struct life *fixture = &full->fixture;

    UNIT_CHECK(unit_submit_elsewhere(&fixture->uring, &fixture->op, &fixture->nop) == 0);
    fail_next(fixture, 1);
    tocsin_uring_drop(&fixture->op.op);
    UNIT_CHECK(unit_load(&fixture->op.completes) == 0);
}

/* Its hook would drop it, as hooks do, while it is being dropped. */
static void a_drop_completes_nothing(void **state)
{
    struct full full;

    (void)state;
    start_full(&full);
    full.fixture.op.on_complete = drop_in_hook;
    unit_uring_in_turn(&full.fixture.uring, drop_what_cannot_arrive, &full);
    fail_next(&full.fixture, 0);
    end_full(&full);
    life_check_counts(&full.fixture.op, 0, 1, 1);
}

static void cancel_what_cannot_arrive(void *arg)
{
    struct full *full = arg;
    struct life *fixture = &full->fixture;

    UNIT_CHECK(unit_submit_elsewhere(&fixture->uring, &fixture->op, &fixture->nop) == 0);
    fail_next(fixture, 1);
    tocsin_uring_cancel(&fixture->op.op);
    UNIT_CHECK(unit_load(&fixture->op.releases) == 0); /* it is still this call's caller's */
}

static void a_cancel_completes_nothing(void **state)
{
    struct full full;

    (void)state;
    start_full(&full);
    full.fixture.op.on_complete = drop_in_hook;
    unit_uring_in_turn(&full.fixture.uring, cancel_what_cannot_arrive, &full);
    fail_next(&full.fixture, 0);
    end_full(&full);
    life_check_counts(&full.fixture.op, 1, 0, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(closing_gives_back_what_is_in_flight),
    cmocka_unit_test(an_ending_pool_takes_nothing_more),
    cmocka_unit_test(what_arrives_at_the_end_is_cancelled),
    cmocka_unit_test(an_orphan_is_released_by_the_hooks_end),
    cmocka_unit_test(an_orphan_is_released_by_its_drop),
    cmocka_unit_test(a_drop_that_relied_on_a_refused_cancel_is_released),
    cmocka_unit_test(a_submission_that_races_with_the_end_is_refused),
    cmocka_unit_test(what_the_kernel_keeps_is_lost_at_the_time_limit),
    cmocka_unit_test(what_a_task_waits_for_and_is_lost_holds_no_waker),
    cmocka_unit_test(what_the_kernel_never_took_is_not_lost),
    cmocka_unit_test(what_comes_back_in_time_is_not_lost),
    cmocka_unit_test(a_submission_without_memory_leaves_the_op_as_before),
    cmocka_unit_test(a_submission_elsewhere_without_memory_completes_so),
    cmocka_unit_test(a_drop_completes_nothing),
    cmocka_unit_test(a_cancel_completes_nothing),
};

UNIT_MAIN(tests)
