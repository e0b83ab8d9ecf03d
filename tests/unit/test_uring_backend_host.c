/*
 * The uring backend's other slots: hosting, which takes another ring; an open that is refused; the
 * close, also one that is refused, or in a forked child.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "tests/unit/uring_step.h"

enum {
    DEFER_TASKRUN = 1 << 13, /* newer than the headers of some */
};

/* ---- Hosting --------------------------------------------------------------------------------- */

static int readable(intptr_t fd, int timeout_ms)
{
    struct pollfd host = {.fd = (int)fd, .events = POLLIN};

    return poll(&host, 1, timeout_ms);
}

/* As a turn does: look, and the way into sleep. */
static void hosted_turn(struct step *step, uint64_t deadline_ns)
{
    do {
        step_look(step);
        assert_int_equal(step->list.count, 0);
    } while (step_ops->prepare(step->state, deadline_ns) == 0);
    step_ops->host(step->state, deadline_ns);
}

static void the_descriptor_tells_of_kicks_and_deadlines(void **state)
{
    struct step step;
    uint64_t deadline_ns;
    intptr_t fd;

    (void)state;
    step_start(&step);
    fd = step_ops->poll_handle(step.state);
    assert_true(fd >= 0);
    assert_int_equal(step_ops->poll_handle(step.state), fd);
    hosted_turn(&step, TOCSIN_NEVER_NS);
    assert_int_equal(readable(fd, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        support_elsewhere(step_kick, &step);
        assert_int_equal(readable(fd, 60000), 1);
        hosted_turn(&step, TOCSIN_NEVER_NS);
        assert_int_equal(readable(fd, 0), 0);

        deadline_ns = step_now(&step) + 3 * STEP_MS;
        step_ops->host(step.state, deadline_ns);
        step_ops->host(step.state, deadline_ns);
        assert_int_equal(readable(fd, 60000), 1);
        assert_true(step_now(&step) >= deadline_ns);
        hosted_turn(&step, TOCSIN_NEVER_NS);
        assert_int_equal(readable(fd, 0), 0);
        step_ops->host(step.state, i); /* long past */
        assert_int_equal(readable(fd, 60000), 1);
        hosted_turn(&step, TOCSIN_NEVER_NS);
    }
    step_ops->host(step.state, step_now(&step) + 20 * STEP_MS);
    step_ops->host(step.state, TOCSIN_NEVER_NS);
    assert_int_equal(readable(fd, 40), 0);
    step_end(&step);
}

/* The pool slept already: a kick for that sleep was left where no host looks. */
static void a_pool_that_slept_before_it_is_hosted_is_told_once(void **state)
{
    struct step step;
    intptr_t fd;

    (void)state;
    step_start(&step);
    assert_true(step_prepare(&step) == TOCSIN_NEVER_NS);
    step_kick(&step);
    fd = step_ops->poll_handle(step.state);
    assert_true(fd >= 0);
    assert_int_equal(readable(fd, 60000), 1);
    hosted_turn(&step, TOCSIN_NEVER_NS);
    assert_int_equal(readable(fd, 0), 0);
    step_end(&step);
}

static void a_hosted_pool_has_no_ring_that_defers(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    assert_true(step_ops->poll_handle(step.state) >= 0);
    assert_int_equal(step.uring.uring->ring.flags & DEFER_TASKRUN, 0);
    assert_false(step_parks_on_the_futex(&step)); /* where no host would see the kick */
    step_end(&step);
}

static void refuse_hosting(struct step *step, int error)
{
    unsigned before = step_descriptors();
    int fd = step->uring.uring->ring.uring.ring_fd;

    assert_int_equal(step_ops->poll_handle(step->state), error);
    assert_int_equal(step->uring.uring->ring.uring.ring_fd, fd);
    assert_int_equal(step_descriptors(), before);
}

static void hosting_what_is_in_use_is_busy(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_in_turn(&step, step_submit_read);
    refuse_hosting(&step, -EBUSY);
    assert_int_equal(write(step.fds[1], "a", 1), 1);
    unit_turns_until(&step.uring, &step.op.completes, 1);
    step_attach(&step);
    refuse_hosting(&step, -EBUSY);
    assert_int_equal(step_ops->detach(step.state, &step.watch), 0);
    step_look(&step);
    step_put_entry(&step, URING_KIND_NONE);
    refuse_hosting(&step, -EBUSY); /* not submitted */
    step_flush(&step);
    refuse_hosting(&step, -EBUSY); /* not taken */
    step_look(&step);
    assert_true(step_ops->poll_handle(step.state) >= 0);
    step_in_turn(&step, step_submit_nop);
    unit_turns_until(&step.uring, &step.op.completes, 2);
    step_end(&step);
}

static void hosting_that_is_refused_changes_nothing(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_ring_open_result = -ENOMEM;
    refuse_hosting(&step, -ENOMEM);
    step_ring_open_result = 0;
    step_timerfd_errno = EMFILE;
    refuse_hosting(&step, -EMFILE);
    assert_true(step_parks_on_the_futex(&step));
    step_in_turn(&step, step_submit_nop);
    unit_turns_until(&step.uring, &step.op.completes, 1);
    step_timerfd_errno = 0;
    assert_true(step_ops->poll_handle(step.state) >= 0);
    step_end(&step);
}

/* ---- Opening, and closing -------------------------------------------------------------------- */

static void check_open_is_refused(struct step *step, int error)
{
    unsigned before = step_descriptors();

    step->uring.pool = NULL;
    assert_int_equal(step_open_pool(step), error);
    assert_null(step->uring.pool);
    assert_int_equal(unit_load(&step->uring.memory.live), 0);
    assert_int_equal(step_descriptors(), before);
}

static void what_is_refused_leaves_nothing(void **state)
{
    static const int errors[] = {-EPERM, -ENOSYS, -ENOMEM, -EMFILE, -EINVAL};
    struct step step;

    (void)state;
    step_start(&step); /* skips where there is none */
    step_end(&step);
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        step_ring_open_result = errors[i];
        check_open_is_refused(&step, errors[i]);
    }
    step_ring_open_result = 0;
    step_eventfd_errno = EMFILE;
    check_open_is_refused(&step, -EMFILE);
    step_eventfd_errno = 0;
    step.uring.options = (struct tocsin_uring_options){.entries = 16, .cq_entries = 8};
    check_open_is_refused(&step, -EINVAL);
}

static void a_close_that_is_refused_waits_and_goes_on(void **state)
{
    static const int errors[] = {-EAGAIN, -EBUSY};

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        struct step step;

        step_start(&step);
        step_in_turn(&step, step_submit_read);
        step_flush(&step);
        step_forget_calls();
        unit_enters_errno = errors[i];
        unit_enters_no = 5;
        assert_int_equal(tocsin_pool_close(step.uring.pool), 0);
        assert_int_equal(unit_enters_no, 0);
        assert_true(step_limited_waits > 0 && step_limited_ns <= URING_RETRY_NS);
        assert_int_equal(unit_load(&step.op.completes), 1);
        assert_int_equal(step.op.result, -ECANCELED);
        tocsin_uring_drop(&step.op.op);
        assert_int_equal(unit_load(&step.op.releases), 1);
        assert_int_equal(unit_load(&step.uring.memory.live), 0);
        close(step.fds[0]);
        close(step.fds[1]);
    }
}

/* The descriptors are the parent's too: the child closes its copies, and that is all. */
static void close_in_child(void *arg)
{
    struct step *step = arg;
    unsigned before = step_descriptors();

    step_forget_calls();
    UNIT_CHECK(tocsin_pool_close(step->uring.pool) == 0);
    UNIT_CHECK(unit_enters == 0 && step_limited_waits == 0 && unit_load(&step_futex_wakes) == 0);
    UNIT_CHECK(step_descriptors() == before - 2); /* the ring's, the kick's */
}

static void a_childs_close_touches_nothing_of_the_parents(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_attach(&step);
    step_in_turn(&step, step_submit_read);
    step_check_lasts(&step);
    unit_expect_return(close_in_child, &step);
    assert_int_equal(readable(step_kick_fd, 0), 0); /* nobody has kicked */
    step_check_lasts(&step);
    assert_int_equal(write(step.fds[1], "a", 1), 1);
    unit_turns_until(&step.uring, &step.op.completes, 1);
    assert_false(step_parks_on_the_futex(&step));
    step_end(&step);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_descriptor_tells_of_kicks_and_deadlines),
    cmocka_unit_test(a_pool_that_slept_before_it_is_hosted_is_told_once),
    cmocka_unit_test(a_hosted_pool_has_no_ring_that_defers),
    cmocka_unit_test(hosting_what_is_in_use_is_busy),
    cmocka_unit_test(hosting_that_is_refused_changes_nothing),
    cmocka_unit_test(what_is_refused_leaves_nothing),
    cmocka_unit_test(a_close_that_is_refused_waits_and_goes_on),
    cmocka_unit_test(a_childs_close_touches_nothing_of_the_parents),
};

UNIT_MAIN(tests)
