/*
 * The uring backend's wait step: where it parks, what a kick does in each place, the poll that
 * hears of kicks, and how often it enters the kernel.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/uring_step.h"

enum {
    TASKRUN_FLAG = 1 << 9, /* newer than the headers of some */
};

/* ---- Where it parks -------------------------------------------------------------------------- */

static void owe_an_operation(struct step *step)
{
    step_in_turn(step, step_submit_read);
}

static void owe_an_entry(struct step *step)
{
    step_put_entry(step, URING_KIND_NONE);
}

/* Of the backend's own: the way into sleep leaves it to the wait step. */
static void owe_a_completion(struct step *step)
{
    step_put_entry(step, step_data_kick);
    step_flush(step);
    assert_int_equal(tocsin__ring_completions(&step->uring.uring->ring), 1);
}

/* An end that the kernel makes when it is entered, where it defers such work. */
static void owe_deferred_work(struct step *step)
{
    struct io_uring_sqe *sqe = step_put_entry(step, URING_KIND_NONE);

    io_uring_prep_poll_add(sqe, step->fds[0], POLLIN);
    step_flush(step);
    assert_int_equal(write(step->fds[1], "a", 1), 1);
}

static void whatever_is_owed_parks_it_in_the_ring(void **state)
{
    static void (*const owe[])(struct step *) = {owe_an_operation, step_attach, owe_an_entry,
                                                 owe_a_completion, owe_deferred_work};

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(owe); i++) {
        struct step step;

        step_start(&step);
        assert_true(step_parks_on_the_futex(&step));
        owe[i](&step);
        assert_false(step_parks_on_the_futex(&step));
        step_end(&step);
    }
}

static void what_is_owed_no_more_parks_it_on_the_futex(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_attach(&step);
    assert_false(step_parks_on_the_futex(&step));
    assert_int_equal(step_ops->detach(step.state, &step.watch), 0);
    step_look(&step);
    assert_true(step_parks_on_the_futex(&step));
    step_in_turn(&step, step_submit_read);
    assert_false(step_parks_on_the_futex(&step));
    assert_int_equal(write(step.fds[1], "a", 1), 1);
    unit_turns_until(&step.uring, &step.op.completes, 1);
    assert_true(step_parks_on_the_futex(&step));
    step_end(&step);
}

static void a_futex_sleep_lasts_until_its_deadline(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_forget_calls();
    for (unsigned i = 0; i < 5; i++) {
        step_check_lasts(&step);
    }
    assert_int_equal(step_futex_waits, 5);
    assert_int_equal(unit_enters, 0);
    assert_int_equal(step_wait_until(&step, 1), 0); /* long past */
    step_end(&step);
}

/* ---- Kicks ----------------------------------------------------------------------------------- */

static void park_on_the_futex(struct step *step)
{
    (void)step;
}

static void park_in_the_ring(struct step *step)
{
    step_attach(step);
}

static void park_hosted(struct step *step)
{
    assert_true(step_ops->poll_handle(step->state) >= 0);
}

static void (*const parks[])(struct step *) = {park_on_the_futex, park_in_the_ring, park_hosted};

/* In each way to park. */
static void in_each(void (*check)(struct step *step))
{
    for (unsigned i = 0; i < UNIT_COUNT(parks); i++) {
        struct step step;

        step_start(&step);
        parks[i](&step);
        step_prepare(&step);
        step_look(&step);
        check(&step);
        step_end(&step);
    }
}

/* Kicks merge, and none is left for the sleep after. */
static void kick_before_each_wait(struct step *step)
{
    for (unsigned i = 0; i < 5; i++) {
        assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
        step_kick(step);
        step_kick(step);
        step_check_ends(step);
        step_check_lasts(step);
    }
}

static void a_kick_before_the_wait_ends_that_one_alone(void **state)
{
    (void)state;
    in_each(kick_before_each_wait);
}

/* The kick comes between the backend's decision and the system call, from another thread. */
static void kick_elsewhere(void *arg)
{
    support_elsewhere(step_kick, arg);
}

static void kick_on_the_way_into_each_wait(struct step *step)
{
    for (unsigned i = 0; i < 20; i++) {
        assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
        step_before_block_arg = step;
        step_before_block = kick_elsewhere;
        step_check_ends(step);
        assert_null(step_before_block);
    }
}

static void a_kick_on_the_way_into_the_wait_ends_it(void **state)
{
    (void)state;
    in_each(kick_on_the_way_into_each_wait);
}

struct kicker {
    struct step *step;
    atomic_uint asked;
    unsigned rounds;
};

static void kick_when_asked(void *arg)
{
    struct kicker *kicker = arg;
    struct support_random random = {.state = 88172645463325252u};

    for (unsigned i = 1; i <= kicker->rounds; i++) {
        while (atomic_load_explicit(&kicker->asked, memory_order_acquire) < i) {
            sched_yield();
        }
        for (uint32_t spins = support_random_below(&random, 4000); spins > 0; spins--) {
            (void)unit_load(&kicker->asked);
        }
        step_kick(kicker->step);
    }
}

/* One kick for each sleep, which may come late and end the next: one that is lost ends none. */
static void kick_at_any_time(struct step *step)
{
    struct kicker kicker = {.step = step, .rounds = support_scaled(2000)};
    struct support_thread thread;

    support_thread_start(&thread, 1, kick_when_asked, &kicker);
    for (unsigned i = 1; i <= kicker.rounds; i++) {
        while (step_prepare(step) == 0) {
            step_look(step); /* hosted, and a late kick has come */
        }
        atomic_store_explicit(&kicker.asked, i, memory_order_release);
        step_check_ends(step);
    }
    support_thread_join(&thread);
}

static void a_kick_at_any_time_ends_the_wait(void **state)
{
    (void)state;
    if (support_on_valgrind()) {
        unit_skip("valgrind runs no other thread while one is in the ring");
    }
    in_each(kick_at_any_time);
}

static void kick_before_a_look(struct step *step)
{
    for (unsigned i = 0; i < 3; i++) {
        assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
        step_kick(step);
        step_look(step);
        assert_int_equal(step->list.count, 0);
        step_look(step); /* there is none to take in, and that is all right */
        step_check_lasts(step);
    }
}

static void a_look_takes_kicks_in(void **state)
{
    (void)state;
    in_each(kick_before_a_look);
}

/* No count is left in a full eventfd, and a write is what wakes. */
static void kick_when_full(struct step *step)
{
    for (unsigned i = 0; i < 3; i++) {
        eventfd_t count;

        (void)eventfd_read(step_kick_fd, &count);
        assert_int_equal(eventfd_write(step_kick_fd, UINT64_C(0xfffffffffffffffe)), 0);
        assert_int_equal(eventfd_write(step_kick_fd, 1), -1);
        step_look(step); /* that was an edge */
        step_check_lasts(step);
        assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
        errno = 12345;
        step_kick(step);
        assert_int_equal(errno, 12345);
        step_check_ends(step);
    }
}

static void a_kick_wakes_when_the_eventfd_is_full(void **state)
{
    (void)state;
    in_each(kick_when_full);
}

static void kick_with_errno(struct step *step)
{
    assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
    errno = 12345;
    step_kick(step);
    assert_int_equal(errno, 12345);
}

static void a_kick_leaves_errno_alone(void **state)
{
    (void)state;
    in_each(kick_with_errno);
}

/* ---- The kick's poll ------------------------------------------------------------------------- */

static void one_poll_serves_all_kicks(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    assert_true(step_parks_on_the_futex(&step));
    assert_int_equal(step_kick_polls, 0);
    step_attach(&step);
    for (unsigned i = 0; i < 100; i++) {
        assert_false(step_parks_on_the_futex(&step));
    }
    assert_int_equal(step_kick_polls, 1);
    step_end(&step);
}

/* The kick comes while there is no poll. */
static void a_kick_poll_that_was_cancelled_is_installed_again(void **state)
{
    struct step step;
    struct io_uring_sqe *sqe;

    (void)state;
    step_start(&step);
    step_attach(&step);
    for (unsigned i = 1; i <= 3; i++) {
        assert_false(step_parks_on_the_futex(&step));
        assert_int_equal(step_kick_polls, i);
        sqe = step_put_entry(&step, URING_KIND_NONE);
        io_uring_prep_cancel64(sqe, step_data_kick, 0);
        sqe->user_data = URING_KIND_NONE;
        step_look(&step);
        step_kick(&step);
    }
    assert_false(step_parks_on_the_futex(&step));
    assert_int_equal(step_kick_polls, 4);
    step_end(&step);
}

/* The kernel ends a multishot poll whose event finds the completion queue full. */
static void a_kick_poll_that_overflow_ends_is_installed_again(void **state)
{
    enum {
        COUNT = 20, /* more than there is room for completions */
        ROUNDS = 20,
    };
    struct step step;
    struct tocsin_backend_watch watches[COUNT];

    (void)state;
    step_start_with(&step, 4, 8);
    for (unsigned i = 0; i < COUNT; i++) {
        watches[i] = (struct tocsin_backend_watch){.id = i + 1, .number = eventfd(0, 0)};
        assert_int_equal(step_ops->attach(step.state, &watches[i]), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        do {
            step_prepare(&step);
            step_look(&step);
        } while (step.list.count > 0);
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(eventfd_write((int)watches[i].number, 1), 0);
        }
        step_kick(&step);
        do {
            step_prepare(&step);
            step_look(&step);
        } while (step.list.count > 0);
        assert_true(step_prepare(&step) > 0);
        step_kick(&step);
        step_check_ends(&step);
    }
    assert_true(step_kick_polls > 1); /* or else this tested nothing */
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(step_ops->detach(step.state, &watches[i]), 0);
        close((int)watches[i].number);
    }
    step_end(&step);
}

static void without_room_for_the_kick_poll_no_sleep_is_long(void **state)
{
    struct step step;
    uint64_t deadline_ns;

    (void)state;
    step_start(&step);
    step_attach(&step);
    step_look(&step);
    step_polls_no = true;
    for (unsigned i = 0; i < 3; i++) {
        deadline_ns = step_prepare(&step);
        assert_true(deadline_ns > 0 && deadline_ns <= step_now(&step) + URING_RETRY_NS);
    }
    assert_true(step_ops->prepare(step.state, 1) == 1); /* an earlier deadline stands */
    step_polls_no = false;
    assert_true(step_prepare(&step) == TOCSIN_NEVER_NS);
    step_kick(&step);
    step_check_ends(&step);
    step_end(&step);
}

/* ---- Entering the kernel --------------------------------------------------------------------- */

enum {
    BATCH = 32,
    BATCHES = 50,
};

struct batches {
    struct step *step;
    struct unit_op ops[BATCH];
    unsigned completed;
};

static void submit_batch(void *arg)
{
    struct batches *batches = arg;
    struct io_uring_sqe sqe = unit_sqe_nop();

    for (unsigned i = 0; i < BATCH; i++) {
        UNIT_CHECK(unit_submit(&batches->step->uring, &batches->ops[i], &sqe) == 0);
    }
}

/* In the hook: the last of a batch submits the next. */
static void next_batch(struct unit_op *op)
{
    struct batches *batches = op->arg;

    if (++batches->completed % BATCH == 0 && batches->completed < BATCH * BATCHES) {
        submit_batch(batches);
    }
}

static void count_firing(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static void a_turn_enters_once_and_an_idle_one_never(void **state)
{
    struct tocsin_timer_options options = {.delay_ns = 3 * STEP_MS};
    struct tocsin_timer timer;
    struct batches batches = {.completed = 0};
    struct step step;
    unsigned fired = 0;

    (void)state;
    step_start(&step);
    batches.step = &step;
    for (unsigned i = 0; i < BATCH; i++) {
        unit_op_init(&batches.ops[i]);
        batches.ops[i].on_complete = next_batch;
        batches.ops[i].arg = &batches;
    }
    step_forget_calls();
    unit_uring_in_turn(&step.uring, submit_batch, &batches);
    assert_int_equal(tocsin_pool_run(step.uring.pool), 0);
    assert_int_equal(batches.completed, BATCH * BATCHES);
    assert_int_equal(unit_enters, BATCHES);

    step_forget_calls();
    assert_int_equal(tocsin_timer_init(&timer, step.uring.driver, count_firing, &fired), 0);
    for (unsigned i = 1; i <= 5; i++) {
        tocsin_timer_start(&timer, &options);
        assert_int_equal(tocsin_pool_run(step.uring.pool), 0);
        assert_int_equal(fired, i);
    }
    assert_true(step_futex_waits >= 5);
    assert_int_equal(unit_enters, 0);
    tocsin_timer_deinit(&timer);
    for (unsigned i = 0; i < BATCH; i++) {
        tocsin_uring_drop(&batches.ops[i].op);
    }
    step_end(&step);
}

static void a_look_at_nothing_does_not_enter(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    step_attach(&step);
    step_look(&step);
    if ((step.uring.uring->ring.flags & TASKRUN_FLAG) == 0) {
        step_end(&step);
        unit_skip("this kernel does not tell of deferred work");
    }
    step_forget_calls();
    for (unsigned i = 0; i < 10; i++) {
        step_look(&step);
    }
    assert_int_equal(unit_enters, 0);
    assert_int_equal(write(step.fds[1], "a", 1), 1);
    step_look(&step);
    assert_int_equal(step.list.count, 1);
    assert_int_equal(unit_enters, 1);
    step_end(&step);
}

/* U6, R2: no event tells when the kernel takes more. */
static void a_refused_wait_ends_soon(void **state)
{
    static const int errors[] = {-EAGAIN, -EBUSY};
    struct step step;

    (void)state;
    step_start(&step);
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        step_in_turn(&step, step_submit_nop); /* nothing else is in flight */
        step_forget_calls();
        unit_enters_errno = errors[i];
        unit_enters_no = 5;
        assert_int_equal(tocsin_pool_run(step.uring.pool), 0);
        assert_int_equal(unit_enters_no, 0);
        assert_int_equal(step_limited_waits, 5);
        assert_true(step_limited_ns == URING_RETRY_NS);
        assert_int_equal(unit_load(&step.op.completes), i + 1);
        assert_int_equal(step.op.result, 0);
    }
    step_end(&step);
}

static void a_refused_wait_is_no_longer_than_was_asked(void **state)
{
    struct step step;

    (void)state;
    step_start(&step);
    owe_an_operation(&step);
    step_prepare(&step);
    unit_enters_errno = -EAGAIN;
    unit_enters_no = 2;
    assert_int_equal(step_wait_until(&step, step_now(&step) + URING_RETRY_NS / 2), 0);
    assert_true(step_limited_ns <= URING_RETRY_NS / 2);
    assert_int_equal(step_wait_until(&step, 1), 0);
    assert_int_equal(step_limited_ns, 0);
    step_end(&step);
}

static void a_wait_fails_with_what_leaves_no_ring_alone(void **state)
{
    static const int harmless[] = {-EAGAIN, -EBUSY, -EINTR, -ENOMEM, -ETIME};
    struct step step;

    (void)state;
    step_start(&step);
    owe_an_operation(&step);
    step_prepare(&step);
    for (unsigned i = 0; i < UNIT_COUNT(harmless); i++) {
        unit_enters_errno = harmless[i];
        unit_enters_no = 1;
        assert_int_equal(step_wait_until(&step, TOCSIN_NEVER_NS), 0);
        assert_int_equal(unit_enters_no, 0);
    }
    unit_enters_errno = -EBADF;
    unit_enters_no = 1;
    assert_int_equal(step_wait_until(&step, TOCSIN_NEVER_NS), -EBADF);
    step_end(&step);
}

/* U5: a storm moves no deadline, for each wait computes anew how far it is. */
static void an_interrupted_wait_begins_with_what_is_left(void **state)
{
    struct step step;
    uint64_t deadline_ns;
    uint64_t before_ns;

    (void)state;
    step_start(&step);
    owe_an_operation(&step);
    step_prepare(&step);
    deadline_ns = step_now(&step) + 5 * STEP_MS;
    unit_enters_errno = -EINTR;
    do {
        unit_enters_no = 1;
        before_ns = step_now(&step);
        assert_int_equal(step_wait_until(&step, deadline_ns), 0);
        assert_true(before_ns + unit_enter_ns <= deadline_ns || unit_enter_ns == 0);
        assert_true(step_now(&step) + unit_enter_ns >= deadline_ns);
    } while (before_ns < deadline_ns);
    assert_int_equal(unit_enter_ns, 0); /* it has passed */
    unit_enters_no = 1;
    assert_int_equal(step_wait_until(&step, TOCSIN_NEVER_NS), 0);
    assert_true(unit_enter_ns == TOCSIN_NEVER_NS);
    step_end(&step);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(whatever_is_owed_parks_it_in_the_ring),
    cmocka_unit_test(what_is_owed_no_more_parks_it_on_the_futex),
    cmocka_unit_test(a_futex_sleep_lasts_until_its_deadline),
    cmocka_unit_test(a_kick_before_the_wait_ends_that_one_alone),
    cmocka_unit_test(a_kick_on_the_way_into_the_wait_ends_it),
    cmocka_unit_test(a_kick_at_any_time_ends_the_wait),
    cmocka_unit_test(a_look_takes_kicks_in),
    cmocka_unit_test(a_kick_wakes_when_the_eventfd_is_full),
    cmocka_unit_test(a_kick_leaves_errno_alone),
    cmocka_unit_test(one_poll_serves_all_kicks),
    cmocka_unit_test(a_kick_poll_that_was_cancelled_is_installed_again),
    cmocka_unit_test(a_kick_poll_that_overflow_ends_is_installed_again),
    cmocka_unit_test(without_room_for_the_kick_poll_no_sleep_is_long),
    cmocka_unit_test(a_turn_enters_once_and_an_idle_one_never),
    cmocka_unit_test(a_look_at_nothing_does_not_enter),
    cmocka_unit_test(a_refused_wait_ends_soon),
    cmocka_unit_test(a_refused_wait_is_no_longer_than_was_asked),
    cmocka_unit_test(a_wait_fails_with_what_leaves_no_ring_alone),
    cmocka_unit_test(an_interrupted_wait_begins_with_what_is_left),
};

UNIT_MAIN(tests)
