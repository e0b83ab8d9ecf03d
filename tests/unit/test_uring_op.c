/*
 * The life of an operation: each edge between its states, who releases it, and what other threads
 * may do to it at the worst of moments.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/uring_life.h"

/* ---- Submission and completion ---------------------------------------------------------------
 */

static void a_submission_completes_once(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_nop);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, 0);
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.nop), 0);
    life_check_counts(&fixture.op, 1, 0, 0);
    life_run(&fixture);
    life_check_counts(&fixture.op, 2, 0, 0);
    tocsin_uring_drop(&fixture.op.op);
    life_check_counts(&fixture.op, 2, 0, 1);
    life_end(&fixture);
}

static void submit_again_busy(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->nop) == -EBUSY);
}

static void what_is_in_flight_is_busy(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.read), 0);
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.nop), -EBUSY);
    life_in_turn(&fixture, submit_again_busy); /* it has just arrived */
    life_in_turn(&fixture, submit_again_busy);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, 1);
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void submit_from_hook(struct unit_op *op)
{
    struct life *fixture = op->arg;

    UNIT_CHECK(unit_load(&op->releases) == 0);
    if (unit_load(&op->completes) < 10) {
        UNIT_CHECK(unit_submit(&fixture->uring, op, &fixture->nop) == 0);
    } else {
        tocsin_uring_drop(&op->op);
        UNIT_CHECK(unit_load(&op->releases) == 0); /* only after the hook */
    }
}

static void a_hook_may_submit_again_and_drop(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = submit_from_hook;
    life_in_turn(&fixture, life_submit_nop);
    life_run(&fixture);
    life_check_counts(&fixture.op, 10, 0, 1);
    life_end(&fixture);
}

static void submit_read_and_drop(struct unit_op *op)
{
    struct life *fixture = op->arg;

    UNIT_CHECK(unit_submit(&fixture->uring, op, &fixture->read) == 0);
    tocsin_uring_drop(&op->op);
}

static void what_a_hook_submits_and_drops_is_released_at_its_end(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = submit_read_and_drop;
    life_in_turn(&fixture, life_submit_nop);
    unit_turns_until(&fixture.uring, &fixture.op.completes, 1);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 1, 1);
    assert_int_equal(fixture.op.late_result, -ECANCELED);
    life_end(&fixture);
}

/* ---- The polling face ------------------------------------------------------------------------
 */

struct polled {
    struct life *fixture;
    struct unit_waker wakers[2];
    int expected;
};

static int poll_op(struct life *fixture, struct unit_waker *waker, int32_t *out_result)
{
    struct tocsin_context cx = {.waker = unit_waker_of(waker)};

    return tocsin_uring_poll(&fixture->op.op, &cx, out_result, NULL);
}

static void a_poll_takes_the_result_once(void **state)
{
    struct life fixture;
    struct unit_waker wakers[2] = {{.refs = 0}};
    int32_t result = -9;

    (void)state;
    life_start(&fixture);
    unit_op_init_polled(&fixture.op);
    assert_int_equal(poll_op(&fixture, &wakers[0], &result), -EINVAL); /* never submitted */
    life_in_turn(&fixture, life_submit_read);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(poll_op(&fixture, &wakers[0], &result), TOCSIN_PENDING);
        assert_int_equal(unit_load(&wakers[0].refs), 1); /* the same waker is not cloned again */
    }
    assert_int_equal(poll_op(&fixture, &wakers[1], &result), TOCSIN_PENDING);
    assert_int_equal(unit_load(&wakers[0].refs), 0);
    assert_int_equal(unit_load(&wakers[1].refs), 1);
    assert_int_equal(result, -9);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    life_run(&fixture);
    assert_int_equal(unit_load(&wakers[0].wakes), 0);
    assert_int_equal(unit_load(&wakers[1].wakes), 1);
    assert_int_equal(unit_load(&wakers[1].refs), 0);
    life_in_turn(&fixture, submit_again_busy); /* its result was not taken */
    assert_int_equal(poll_op(&fixture, &wakers[0], &result), 0);
    assert_int_equal(result, 1);
    assert_int_equal(poll_op(&fixture, &wakers[0], &result), -EINVAL);
    life_in_turn(&fixture, life_submit_nop);
    life_run(&fixture);
    assert_int_equal(poll_op(&fixture, &wakers[0], NULL), 0);
    tocsin_uring_drop(&fixture.op.op);
    life_check_counts(&fixture.op, 0, 0, 1);
    life_end(&fixture);
}

static void a_result_that_no_poll_took_is_late(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    unit_op_init_polled(&fixture.op);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    life_in_turn(&fixture, life_submit_read);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 0, 0);
    tocsin_uring_drop(&fixture.op.op);
    life_check_counts(&fixture.op, 0, 1, 1);
    assert_int_equal(fixture.op.late_result, 1);
    life_end(&fixture);
}

static void a_drop_gives_the_waker_back_and_wakes_nobody(void **state)
{
    struct life fixture;
    struct unit_waker waker = {.refs = 0};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        life_start(&fixture);
        unit_op_init_polled(&fixture.op);
        life_in_turn(&fixture, life_submit_read);
        assert_int_equal(poll_op(&fixture, &waker, NULL), TOCSIN_PENDING);
        if (i == 0) {
            life_in_turn(&fixture, life_drop_op);
            assert_int_equal(unit_load(&waker.refs), 0);
        } else {
            unit_drop_elsewhere(&fixture.op);
        }
        life_run(&fixture);
        assert_int_equal(unit_load(&waker.refs), 0);
        assert_int_equal(unit_load(&waker.wakes), 0);
        life_check_counts(&fixture.op, 0, 1, 1);
        life_end(&fixture);
    }
}

static void submit_multishot_poll(void *arg)
{
    struct life *fixture = arg;
    struct io_uring_sqe sqe = {.opcode = IORING_OP_POLL_ADD, .fd = fixture->fds[0]};

    sqe.poll32_events = 1; /* POLLIN */
    sqe.len = IORING_POLL_ADD_MULTI;
    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &sqe) == 0);
}

/* A multishot accept that is polled must not leak the descriptors after the first. */
static void what_the_polling_face_has_no_place_for_is_late(void **state)
{
    struct life fixture;
    struct unit_waker waker = {.refs = 0};
    int32_t result = 0;

    (void)state;
    life_start(&fixture);
    unit_op_init_polled(&fixture.op);
    life_in_turn(&fixture, submit_multishot_poll);
    assert_int_equal(poll_op(&fixture, &waker, NULL), TOCSIN_PENDING);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(write(fixture.fds[1], "a", 1), 1);
        for (unsigned turn = 0; turn < 3; turn++) {
            assert_int_equal(tocsin_pool_turn(fixture.uring.pool), 1);
        }
    }
    assert_int_equal(unit_load(&waker.wakes), 0);
    life_check_counts(&fixture.op, 0, 2, 0);
    life_in_turn(&fixture, life_cancel_op);
    life_run(&fixture);
    assert_int_equal(poll_op(&fixture, &waker, &result), 0);
    assert_int_equal(result, 1);             /* the first one's */
    life_check_counts(&fixture.op, 0, 3, 0); /* that it was cancelled in the end */
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void drop_and_write(void *arg)
{
    struct life *fixture = arg;

    unit_enters_no = 3; /* the cancel is kept back */
    unit_enters_errno = -EAGAIN;
    tocsin_uring_drop(&fixture->op.op);
    UNIT_CHECK(write(fixture->fds[1], "a", 1) == 1);
}

/* The one that was kept for a poll, one after the drop, and the last. */
static void each_result_is_late_once(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    unit_op_init_polled(&fixture.op);
    life_in_turn(&fixture, submit_multishot_poll);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    for (unsigned turn = 0; turn < 3; turn++) {
        assert_int_equal(tocsin_pool_turn(fixture.uring.pool), 1);
    }
    life_in_turn(&fixture, drop_and_write);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 3, 1);
    life_end(&fixture);
}

/* ---- Cancel ----------------------------------------------------------------------------------
 */

static void a_cancelled_operation_completes_once(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    assert_int_equal(tocsin_uring_cancel(&fixture.op.op), -EALREADY); /* never submitted */
    life_in_turn(&fixture, life_submit_read);
    for (unsigned i = 0; i < 2; i++) {
        life_in_turn(&fixture, life_cancel_op);
        assert_true(fixture.result == 0 ||
                    (i == 1 && fixture.result == -EALREADY && fixture.op.completes == 1));
    }
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    life_in_turn(&fixture, life_cancel_op);
    assert_int_equal(fixture.result, -EALREADY);
    assert_int_equal(unit_cancel_elsewhere(&fixture.op), -EALREADY);
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void a_cancel_elsewhere_follows_its_submission(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.read), 0);
    assert_int_equal(unit_cancel_elsewhere(&fixture.op), 0);
    assert_int_equal(unit_cancel_elsewhere(&fixture.op), 0);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void submit_elsewhere_then_cancel(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit_elsewhere(&fixture->uring, &fixture->op, &fixture->read) == 0);
    fixture->result = tocsin_uring_cancel(&fixture->op.op);
}

static void a_cancel_here_finds_what_has_not_arrived(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, submit_elsewhere_then_cancel);
    assert_int_equal(fixture.result, 0);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    assert_int_equal(fixture.op.result, -ECANCELED);
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void submit_read_again(struct unit_op *op)
{
    struct life *fixture = op->arg;
    uint32_t slot = op->op.slot_;

    if (unit_load(&op->completes) == 1) {
        UNIT_CHECK(unit_submit(&fixture->uring, op, &fixture->read) == 0);
        UNIT_CHECK(op->op.slot_ == slot); /* only the generation tells them apart */
    }
}

/* The read that the hook has submitted is not disturbed: it gets its byte. */
static void check_second_read(struct life *fixture)
{
    life_check_counts(&fixture->op, 1, 0, 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(tocsin_pool_turn(fixture->uring.pool), 1);
    }
    life_check_counts(&fixture->op, 1, 0, 0);
    assert_int_equal(write(fixture->fds[1], "a", 1), 1);
    life_run(fixture);
    life_check_counts(&fixture->op, 2, 0, 0);
    assert_int_equal(fixture->op.result, 1);
    tocsin_uring_drop(&fixture->op.op);
}

/* The cancel stays in the queue until the op, its slot and all, is another operation's. */
static void cancel_when_it_has_completed(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->nop) == 0);
    tocsin__uring_flush(fixture->uring.uring);
    UNIT_CHECK(tocsin__ring_completions(&fixture->uring.uring->ring) == 1);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->op.op) == 0);
    unit_enters_no = 1;
    unit_enters_errno = -EAGAIN;
}

static void a_cancel_does_not_hit_the_next_operation(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = submit_read_again;
    life_in_turn(&fixture, cancel_when_it_has_completed);
    unit_turns_until(&fixture.uring, &fixture.op.completes, 1);
    check_second_read(&fixture);
    life_end(&fixture);
}

static void a_cancel_elsewhere_does_not_hit_the_next_operation(void **state)
{
    struct life fixture;
    static struct life_other other;

    (void)state;
    other.op = &fixture.op;
    life_start(&fixture);
    fixture.op.on_complete = submit_read_again;
    assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.nop), 0);
    life_other_start(&other,
                     life_cancel_held); /* its message comes when the next one is in flight */
    unit_turns_until(&fixture.uring, &fixture.op.completes, 1);
    life_other_end(&other);
    assert_int_equal(other.result, 0);
    check_second_read(&fixture);
    life_end(&fixture);
}

/* ---- Drop ------------------------------------------------------------------------------------
 */

static void what_is_not_in_flight_is_released_at_once(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    tocsin_uring_drop(&fixture.second.op); /* never submitted */
    life_check_counts(&fixture.second, 0, 0, 1);
    life_in_turn(&fixture, life_submit_nop);
    life_run(&fixture);
    unit_drop_elsewhere(&fixture.op);
    life_check_counts(&fixture.op, 1, 0, 1);
    life_end(&fixture);
}

static void submit_and_drop(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->read) == 0);
    tocsin_uring_drop(&fixture->op.op);
    UNIT_CHECK(unit_load(&fixture->op.releases) == 0);
}

static void a_drop_in_flight_cancels_and_releases_once(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, submit_and_drop);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 1, 1);
    assert_int_equal(fixture.op.late_result, -ECANCELED);
    assert_int_equal(fixture.uring.uring->flying, 0);
    life_end(&fixture);
}

/* In the remote queue behind its submission, and after that has arrived. */
static void a_drop_elsewhere_cancels_and_releases_once(void **state)
{
    struct life fixture;

    (void)state;
    for (unsigned turns = 0; turns < 3; turns++) {
        life_start(&fixture);
        assert_int_equal(unit_submit_elsewhere(&fixture.uring, &fixture.op, &fixture.read), 0);
        for (unsigned i = 0; i < turns; i++) {
            assert_int_equal(tocsin_pool_turn(fixture.uring.pool), 1);
        }
        unit_drop_elsewhere(&fixture.op);
        life_check_counts(&fixture.op, 0, 0, 0);
        life_run(&fixture);
        life_check_counts(&fixture.op, 0, 1, 1);
        assert_int_equal(fixture.op.late_result, -ECANCELED);
        life_end(&fixture);
    }
}

/* Its completion came first: it is told of late, or was before the drop. */
static void a_drop_meets_its_completion(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_nop); /* completes on the way out of this turn */
    unit_drop_elsewhere(&fixture.op);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 1, 1);
    assert_int_equal(fixture.op.late_result, 0);
    life_end(&fixture);
}

static void cancel_and_drop_elsewhere_are_one_message(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    assert_int_equal(unit_cancel_elsewhere(&fixture.op), 0);
    unit_drop_elsewhere(&fixture.op);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 1, 1);
    life_end(&fixture);
}

static void drop_elsewhere(struct unit_op *op)
{
    struct life *fixture = op->arg;

    unit_drop_elsewhere(op);
    UNIT_CHECK(unit_load(&op->releases) == 0);
    UNIT_CHECK(unit_submit(&fixture->uring, op, &fixture->nop) == -EBUSY); /* it is given up */
}

static void submit_elsewhere_in_turn(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit_elsewhere(&fixture->uring, &fixture->op, &fixture->nop) == 0);
}

static void post_in_turn(void *arg, int status)
{
    UNIT_CHECK(status == 0);
    submit_elsewhere_in_turn(arg);
}

/* As a post would: the pool is awake, so that nobody wakes it, and yet does not end. */
static void a_run_does_not_end_over_what_has_not_arrived(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    assert_int_equal(tocsin_post(fixture.uring.driver, post_in_turn, &fixture), 0);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    tocsin_uring_drop(&fixture.op.op);
    life_end(&fixture);
}

static void a_drop_elsewhere_waits_for_the_hook(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = drop_elsewhere;
    life_in_turn(&fixture, life_submit_nop);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 1);
    life_end(&fixture);
}

/* The drop of an operation that has messages lets all in, this one's drop among them. */
static void drop_elsewhere_and_let_it_arrive(struct unit_op *op)
{
    struct life *fixture = op->arg;

    unit_drop_elsewhere(op);
    UNIT_CHECK(unit_cancel_elsewhere(&fixture->second) == 0);
    tocsin_uring_drop(&fixture->second.op);
    UNIT_CHECK(unit_load(&op->releases) == 0);
}

static void submit_nop_and_read(void *arg)
{
    struct life *fixture = arg;

    life_submit_nop(fixture);
    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->second, &fixture->read) == 0);
}

static void a_drop_that_arrives_in_the_hook_waits_for_it(void **state)
{
    struct life fixture;

    (void)state;
    life_start(&fixture);
    fixture.op.on_complete = drop_elsewhere_and_let_it_arrive;
    life_in_turn(&fixture, submit_nop_and_read);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 1);
    life_check_counts(&fixture.second, 0, 1, 1);
    life_end(&fixture);
}

/* The last completion came between the drop and its message: the message releases. */
static void a_message_that_comes_after_the_completion_releases(void **state)
{
    struct life fixture;
    static struct life_other other;

    (void)state;
    other.op = &fixture.op;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    life_other_start(&other, life_drop_held);
    life_run(&fixture);
    life_check_counts(&fixture.op, 0, 1, 0);
    assert_int_equal(fixture.op.late_result, 1);
    life_other_end(&other);
    life_check_counts(&fixture.op, 0, 1, 0);
    assert_int_equal(tocsin_pool_turn(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 0, 1, 1);
    life_end(&fixture);
}

/* A drop on the pool's thread, while a cancel is half way. */
static void a_drop_here_waits_for_a_cancel_that_is_half_way(void **state)
{
    struct life fixture;
    static struct life_other other;

    (void)state;
    other.op = &fixture.op;
    life_start(&fixture);
    life_in_turn(&fixture, life_submit_read);
    assert_int_equal(write(fixture.fds[1], "a", 1), 1);
    life_other_start(&other, life_cancel_held);
    life_run(&fixture);
    life_check_counts(&fixture.op, 1, 0, 0);
    life_in_turn(&fixture, life_drop_op);
    life_check_counts(&fixture.op, 1, 0, 0); /* its message is still to be linked */
    life_other_end(&other);
    assert_int_equal(tocsin_pool_turn(fixture.uring.pool), 0);
    life_check_counts(&fixture.op, 1, 0, 1);
    life_end(&fixture);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_submission_completes_once),
    cmocka_unit_test(what_is_in_flight_is_busy),
    cmocka_unit_test(a_hook_may_submit_again_and_drop),
    cmocka_unit_test(what_a_hook_submits_and_drops_is_released_at_its_end),
    cmocka_unit_test(a_poll_takes_the_result_once),
    cmocka_unit_test(a_result_that_no_poll_took_is_late),
    cmocka_unit_test(a_drop_gives_the_waker_back_and_wakes_nobody),
    cmocka_unit_test(what_the_polling_face_has_no_place_for_is_late),
    cmocka_unit_test(each_result_is_late_once),
    cmocka_unit_test(a_cancelled_operation_completes_once),
    cmocka_unit_test(a_cancel_elsewhere_follows_its_submission),
    cmocka_unit_test(a_cancel_here_finds_what_has_not_arrived),
    cmocka_unit_test(a_cancel_does_not_hit_the_next_operation),
    cmocka_unit_test(a_cancel_elsewhere_does_not_hit_the_next_operation),
    cmocka_unit_test(what_is_not_in_flight_is_released_at_once),
    cmocka_unit_test(a_drop_in_flight_cancels_and_releases_once),
    cmocka_unit_test(a_drop_elsewhere_cancels_and_releases_once),
    cmocka_unit_test(a_drop_meets_its_completion),
    cmocka_unit_test(cancel_and_drop_elsewhere_are_one_message),
    cmocka_unit_test(a_run_does_not_end_over_what_has_not_arrived),
    cmocka_unit_test(a_drop_elsewhere_waits_for_the_hook),
    cmocka_unit_test(a_drop_that_arrives_in_the_hook_waits_for_it),
    cmocka_unit_test(a_message_that_comes_after_the_completion_releases),
    cmocka_unit_test(a_drop_here_waits_for_a_cancel_that_is_half_way),
};

UNIT_MAIN(tests)
