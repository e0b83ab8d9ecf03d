/*
 * The pool's ring: slots, backlog, chains, cancels that wait, stash, flushes that are refused.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/uring.h"

enum {
    OPS_MAX = 300,
    SLOTS_FIRST = 64, /* of the table, before it grows */
};

struct fixture {
    struct unit_uring uring;
    struct unit_op ops[OPS_MAX];
    struct io_uring_sqe sqes[OPS_MAX];
    unsigned count; /* of ops to submit */
    unsigned order;
    struct io_uring_sqe read; /* of the pipe, which is empty */
    int fds[2];
    char byte;
    int result;
    struct support_random random;
};

/* Zeroed: one for all tests, for one that is skipped gives nothing back. */
static struct fixture *fixture_new(void)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    return &fixture;
}

static struct fixture *start(uint32_t entries, uint32_t cq_entries)
{
    struct fixture *fixture = fixture_new();

    fixture->uring.options =
        (struct tocsin_uring_options){.entries = entries, .cq_entries = cq_entries};
    unit_uring_start(&fixture->uring);
    assert_int_equal(pipe(fixture->fds), 0);
    fixture->read = unit_sqe_read(fixture->fds[0], &fixture->byte, 1);
    for (unsigned i = 0; i < OPS_MAX; i++) {
        unit_op_init(&fixture->ops[i]);
        fixture->ops[i].order = &fixture->order;
        fixture->ops[i].arg = fixture;
        fixture->sqes[i] = unit_sqe_nop();
    }
    return fixture;
}

static void end(struct fixture *fixture)
{
    unit_uring_end(&fixture->uring);
    close(fixture->fds[0]);
    close(fixture->fds[1]);
}

static void run(struct fixture *fixture)
{
    assert_int_equal(tocsin_pool_run(fixture->uring.pool), 0);
    assert_int_equal(fixture->uring.uring->flying, 0);
    assert_int_equal(fixture->uring.uring->cancels, 0);
    assert_false(tocsin__uring_is_stuck(fixture->uring.uring));
}

static void in_turn(struct fixture *fixture, support_body_fn *fn)
{
    unit_uring_in_turn(&fixture->uring, fn, fixture);
}

/* Each of the first @count completed once, and is given up. */
static void drop_all(struct fixture *fixture, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(unit_load(&fixture->ops[i].completes), 1);
        tocsin_uring_drop(&fixture->ops[i].op);
        assert_int_equal(unit_load(&fixture->ops[i].releases), 1);
    }
}

static void submit_singly(void *arg)
{
    struct fixture *fixture = arg;

    for (unsigned i = 0; i < fixture->count; i++) {
        UNIT_CHECK(unit_submit(&fixture->uring, &fixture->ops[i], &fixture->sqes[i]) == 0);
    }
}

static void submit_together(void *arg)
{
    struct fixture *fixture = arg;

    fixture->result = unit_submit_all(&fixture->uring, fixture->ops, fixture->sqes, fixture->count);
}

static void check_order(const struct fixture *fixture, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(fixture->ops[i].result, 0);
        assert_int_equal(fixture->ops[i].place, i);
    }
}

static void refuse(unsigned count, int error)
{
    unit_enters_no = count;
    unit_enters_errno = error;
}

/* ---- Slots -----------------------------------------------------------------------------------
 */

static void a_slot_used_again_has_another_generation(void **state)
{
    struct fixture *fixture = start(8, 16);
    uint64_t seen[10];

    (void)state;
    fixture->count = 1;
    for (unsigned i = 0; i < UNIT_COUNT(seen); i++) {
        in_turn(fixture, submit_singly);
        seen[i] = fixture->ops[0].op.user_data_;
        assert_int_equal(uring_kind_of(seen[i]), URING_KIND_OP);
        assert_int_equal(seen[i] & URING_SLOT_MASK, 0);
        assert_int_equal(seen[i] >> 32, i);
        run(fixture);
    }
    tocsin_uring_drop(&fixture->ops[0].op);
    end(fixture);
}

static void generations_wrap(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    fixture->count = 1;
    in_turn(fixture, submit_singly);
    run(fixture);
    fixture->uring.uring->slots[0].generation = UINT32_MAX;
    for (unsigned i = 0; i < 2; i++) {
        in_turn(fixture, submit_singly);
        assert_int_equal(fixture->ops[0].op.user_data_ >> 32, i == 0 ? UINT32_MAX : 0);
        run(fixture);
    }
    assert_int_equal(unit_load(&fixture->ops[0].completes), 3);
    tocsin_uring_drop(&fixture->ops[0].op);
    end(fixture);
}

/* Those in flight keep their slots, and are found in the new table. */
static void the_table_grows_under_what_is_in_flight(void **state)
{
    struct fixture *fixture = start(128, 0);
    const struct uring *uring = fixture->uring.uring;

    (void)state;
    fixture->count = 4 * SLOTS_FIRST + 1;
    for (unsigned i = 0; i < fixture->count; i++) {
        fixture->sqes[i] = fixture->read;
    }
    in_turn(fixture, submit_singly);
    assert_int_equal(uring->slots_count, 8 * SLOTS_FIRST);
    assert_int_equal(uring->flying, fixture->count);
    for (unsigned i = 0; i < fixture->count; i++) {
        assert_int_equal(fixture->ops[i].op.slot_, i);
        assert_int_equal(write(fixture->fds[1], "a", 1), 1);
    }
    run(fixture);
    drop_all(fixture, fixture->count);
    end(fixture);
}

/* ---- Queues that are full ----------------------------------------------------------------------
 */

static void eighty_go_through_a_queue_of_64(void **state)
{
    struct fixture *fixture = start(64, 0);

    (void)state;
    fixture->count = 80;
    in_turn(fixture, submit_singly);
    run(fixture);
    check_order(fixture, 80);
    drop_all(fixture, 80);
    end(fixture);
}

static void batches_go_through_a_queue_of_four(void **state)
{
    (void)state;
    for (unsigned elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct fixture *fixture = start(4, 8);

        fixture->count = 60;
        if (elsewhere == 0) {
            in_turn(fixture, submit_together);
        } else {
            fixture->result =
                unit_submit_all_elsewhere(&fixture->uring, fixture->ops, fixture->sqes, 60);
        }
        assert_int_equal(fixture->result, 0);
        run(fixture);
        check_order(fixture, 60);
        drop_all(fixture, 60);
        end(fixture);
    }
}

static void of_256_none_is_lost_by_a_completion_queue_of_eight(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    fixture->count = 256;
    in_turn(fixture, submit_singly);
    run(fixture);
    drop_all(fixture, 256);
    end(fixture);
}

struct storm {
    struct fixture *fixture;
    unsigned left;
    unsigned completed;
};

static struct storm storm;

static void submit_more(struct unit_op *op)
{
    storm.completed++;
    if (storm.left > 0) {
        storm.left--;
        UNIT_CHECK(unit_submit(&storm.fixture->uring, op, &storm.fixture->sqes[0]) == 0);
    }
}

/* All complete at once, and the pool takes none until the next turn. */
static void a_completion_queue_of_eight_loses_none_of_10000(void **state)
{
    struct fixture *fixture = start(4, 8);
    unsigned total = 0;

    (void)state;
    fixture->count = 250;
    storm = (struct storm){.fixture = fixture, .left = 10000 - fixture->count};
    for (unsigned i = 0; i < fixture->count; i++) {
        fixture->ops[i].on_complete = submit_more;
    }
    in_turn(fixture, submit_singly);
    run(fixture);
    assert_int_equal(storm.completed, 10000);
    for (unsigned i = 0; i < fixture->count; i++) {
        total += unit_load(&fixture->ops[i].completes);
        tocsin_uring_drop(&fixture->ops[i].op);
    }
    assert_int_equal(total, 10000);
    end(fixture);
}

/* O2.  Two are refused room, and a third comes when there would be some. */
static void nothing_overtakes_the_backlog(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    fixture->count = 30;
    refuse(3, -EBUSY);
    in_turn(fixture, submit_singly);
    run(fixture);
    check_order(fixture, 30);
    drop_all(fixture, 30);
    end(fixture);
}

/* Two in the queue of four, a chain of three without room, and a last one that would have some. */
static void submit_around_a_chain(void *arg)
{
    struct fixture *fixture = arg;

    refuse(5, -EAGAIN);
    fixture->sqes[2].flags = IOSQE_IO_LINK;
    fixture->sqes[3].flags = IOSQE_IO_LINK;
    fixture->count = 6;
    submit_together(fixture);
    UNIT_CHECK(tocsin__ring_room(&fixture->uring.uring->ring) == 2);
}

static void nothing_overtakes_a_chain_without_room(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    in_turn(fixture, submit_around_a_chain);
    assert_int_equal(fixture->result, 0);
    run(fixture);
    assert_int_equal(fixture->ops[0].place, 0);
    assert_int_equal(fixture->ops[1].place, 1);
    assert_int_equal(fixture->ops[2].place, 2);
    assert_true(fixture->ops[5].place > 2); /* the other members follow when the kernel likes */
    drop_all(fixture, 6);
    end(fixture);
}

static void submit_around_a_chain_and_cancel(void *arg)
{
    struct fixture *fixture = arg;

    fixture->sqes[5] = fixture->read;
    submit_around_a_chain(fixture);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[5].op) == 0);
}

/* There is room for the cancel, but not for what it is meant for. */
static void no_cancel_overtakes_what_it_cancels(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    in_turn(fixture, submit_around_a_chain_and_cancel);
    assert_int_equal(fixture->result, 0);
    run(fixture);
    check_order(fixture, 5);
    assert_int_equal(fixture->ops[5].result, -ECANCELED);
    drop_all(fixture, 6);
    end(fixture);
}

static void a_flush_that_is_refused_is_tried_again_on_a_timer(void **state)
{
    static const int errors[] = {-EAGAIN, -EBUSY};

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        struct fixture *fixture = start(4, 8);
        uint64_t begun_ns;

        fixture->count = 10;
        in_turn(fixture, submit_singly);
        run(fixture);
        unit_enters = 0;
        refuse(12, errors[i]);
        begun_ns = tocsin_pool_now_ns(fixture->uring.pool);
        in_turn(fixture, submit_singly); /* nothing is in flight: no event would tell */
        run(fixture);
        assert_int_equal(unit_enters_no, 0);
        /* Ten sleeps, but for those that a completion of before may end at once. */
        assert_true(unit_enters <= 12 + 8);
        assert_true(tocsin_pool_now_ns(fixture->uring.pool) - begun_ns >= 4 * URING_RETRY_NS);
        for (unsigned op = 0; op < fixture->count; op++) {
            assert_int_equal(unit_load(&fixture->ops[op].completes), 2);
            tocsin_uring_drop(&fixture->ops[op].op);
        }
        end(fixture);
    }
}

static void set_stop(void *arg, int status)
{
    struct fixture *fixture = arg;

    UNIT_CHECK(status == 0);
    tocsin_pool_stop(fixture->uring.pool);
}

static void one_turn_is_one_enter_and_an_idle_one_is_none(void **state)
{
    struct fixture *fixture = start(64, 0);

    (void)state;
    fixture->count = 32;
    in_turn(fixture, submit_singly);
    assert_int_equal(unit_enters, 1);
    run(fixture);
    assert_int_equal(unit_enters, 1);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(tocsin_post(fixture->uring.driver, set_stop, fixture), 0);
        assert_int_equal(tocsin_pool_run(fixture->uring.pool), 1);
    }
    assert_int_equal(unit_enters, 1);
    drop_all(fixture, 32);
    end(fixture);
}

/* ---- Chains ----------------------------------------------------------------------------------
 */

/* A chain of @count from @first on; its first member fails if @fails. */
static void make_chain(struct fixture *fixture, unsigned first, unsigned count, bool fails)
{
    for (unsigned i = first; i < first + count; i++) {
        fixture->sqes[i] = unit_sqe_nop();
        if (i + 1 < first + count) {
            fixture->sqes[i].flags = IOSQE_IO_LINK;
        }
    }
    if (fails) {
        fixture->sqes[first] = unit_sqe_linked(unit_sqe_read(-1, &fixture->byte, 1));
    }
}

static void check_failed_chain(const struct fixture *fixture, unsigned first, unsigned count)
{
    assert_int_equal(fixture->ops[first].result, -EBADF);
    for (unsigned i = first + 1; i < first + count; i++) {
        assert_int_equal(fixture->ops[i].result, -ECANCELED); /* it was linked to the first */
    }
}

/* @filler single ops, then a chain of four that fails: whole, it is cancelled from its head on. */
static void check_chain_behind(unsigned filler, bool elsewhere, unsigned refusals)
{
    struct fixture *fixture = start(8, 16);

    fixture->count = filler + 4 + 1;
    make_chain(fixture, filler, 4, true);
    refuse(refusals, -EAGAIN);
    if (elsewhere) {
        assert_int_equal(
            unit_submit_all_elsewhere(&fixture->uring, fixture->ops, fixture->sqes, fixture->count),
            0);
    } else {
        in_turn(fixture, submit_together);
        assert_int_equal(fixture->result, 0);
    }
    run(fixture);
    check_failed_chain(fixture, filler, 4);
    assert_int_equal(fixture->ops[filler + 4].result, 0); /* not of the chain */
    drop_all(fixture, fixture->count);
    end(fixture);
}

static void a_chain_is_never_split_by_a_full_queue(void **state)
{
    (void)state;
    for (unsigned filler = 0; filler <= 17; filler++) {
        for (unsigned refusals = 0; refusals < 3; refusals++) {
            check_chain_behind(filler, false, refusals);
            check_chain_behind(filler, true, refusals);
        }
    }
}

static void a_chain_as_long_as_the_queue_goes_in(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    make_chain(fixture, 1, 8, true);
    fixture->count = 9;
    in_turn(fixture, submit_together);
    assert_int_equal(fixture->result, 0);
    run(fixture);
    check_failed_chain(fixture, 1, 8);
    drop_all(fixture, 9);
    end(fixture);
}

/* In both ways in; and the ops are as before. */
static void check_refused(struct fixture *fixture, int error)
{
    fixture->result = 1;
    in_turn(fixture, submit_together);
    assert_int_equal(fixture->result, error);
    assert_int_equal(
        unit_submit_all_elsewhere(&fixture->uring, fixture->ops, fixture->sqes, fixture->count),
        error);
    assert_int_equal(fixture->uring.uring->flying, 0);
    for (unsigned i = 0; i < fixture->count; i++) {
        assert_int_equal(tocsin_uring_cancel(&fixture->ops[i].op), -EALREADY);
    }
}

static void what_cannot_be_a_chain_is_refused_whole(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    fixture->count = 10;
    make_chain(fixture, 1, 9, false);
    check_refused(fixture, -E2BIG);
    make_chain(fixture, 1, 8, false);
    fixture->sqes[9].flags = IOSQE_IO_LINK;
    check_refused(fixture, -EINVAL);
    fixture->sqes[9].flags = IOSQE_IO_HARDLINK;
    check_refused(fixture, -EINVAL);
    fixture->sqes[9].flags = 0;
    fixture->sqes[4].flags |= IOSQE_CQE_SKIP_SUCCESS;
    check_refused(fixture, -EINVAL);
    fixture->sqes[4].flags = IOSQE_IO_DRAIN;
    check_refused(fixture, -EINVAL); /* no cancel would find it */
    fixture->count = 0;
    check_refused(fixture, 0);
    end(fixture);
}

static void submit_with_one_busy(void *arg)
{
    struct fixture *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->ops[3], &fixture->read) == 0);
    submit_together(fixture);
    UNIT_CHECK(fixture->result == -EBUSY);
    UNIT_CHECK(unit_submit_all_elsewhere(&fixture->uring, fixture->ops, fixture->sqes,
                                         fixture->count) == -EBUSY);
    UNIT_CHECK(fixture->uring.uring->flying == 1);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[0].op) == -EALREADY);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[3].op) == 0);
}

static void a_batch_is_submitted_whole_or_not_at_all(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    fixture->count = 5;
    in_turn(fixture, submit_with_one_busy);
    run(fixture);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(unit_load(&fixture->ops[i].completes), i == 3);
    }
    in_turn(fixture, submit_together);
    assert_int_equal(fixture->result, 0);
    run(fixture);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(unit_load(&fixture->ops[i].completes), 1U + (i == 3));
        tocsin_uring_drop(&fixture->ops[i].op);
    }
    end(fixture);
}

static void submit_beyond_the_table(void *arg)
{
    struct fixture *fixture = arg;

    atomic_store_explicit(&fixture->uring.memory.fail_at, 1, memory_order_relaxed);
    UNIT_CHECK(unit_submit_all(&fixture->uring, fixture->ops + SLOTS_FIRST - 3, fixture->sqes, 5) ==
               -ENOMEM);
    UNIT_CHECK(fixture->uring.uring->flying == SLOTS_FIRST - 3);
}

/* Three of five have their slots, and then the table cannot grow. */
static void a_batch_without_memory_gives_its_slots_back(void **state)
{
    struct fixture *fixture = start(128, 0);

    (void)state;
    fixture->count = SLOTS_FIRST - 3;
    in_turn(fixture, submit_singly);
    for (unsigned i = 0; i < fixture->count; i++) {
        fixture->sqes[i] = fixture->read;
    }
    run(fixture);
    in_turn(fixture, submit_singly);
    in_turn(fixture, submit_beyond_the_table);
    for (unsigned i = 0; i < fixture->count; i++) {
        tocsin_uring_drop(&fixture->ops[i].op);
    }
    run(fixture);
    for (unsigned i = 0; i < fixture->count; i++) {
        assert_int_equal(unit_load(&fixture->ops[i].releases), 1);
    }
    end(fixture);
}

/* ---- Cancels ---------------------------------------------------------------------------------
 */

static void submit_pending_chain(void *arg)
{
    struct fixture *fixture = arg;

    fixture->sqes[0] = unit_sqe_linked(fixture->read);
    fixture->sqes[1] = unit_sqe_linked(fixture->read);
    fixture->sqes[2] = fixture->read;
    fixture->count = 3;
    submit_together(fixture);
}

static void cancel_last(void *arg)
{
    struct fixture *fixture = arg;

    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[2].op) == 0);
}

/* The kernel does not find it until its turn comes, and then it does. */
static void a_member_of_a_chain_is_cancelled_when_its_turn_comes(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    in_turn(fixture, submit_pending_chain);
    assert_int_equal(fixture->result, 0);
    in_turn(fixture, cancel_last);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(tocsin_pool_turn(fixture->uring.pool), 1);
    }
    assert_int_equal(write(fixture->fds[1], "ab", 2), 2);
    run(fixture);
    assert_int_equal(fixture->ops[0].result, 1);
    assert_int_equal(fixture->ops[1].result, 1);
    assert_int_equal(fixture->ops[2].result, -ECANCELED);
    drop_all(fixture, 3);
    end(fixture);
}

static void closing_ends_a_chain_that_has_not_begun(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    in_turn(fixture, submit_pending_chain);
    assert_int_equal(tocsin_pool_close(fixture->uring.pool), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fixture->ops[i].result, -ECANCELED);
    }
    drop_all(fixture, 3);
    assert_int_equal(unit_load(&fixture->uring.memory.live), 0);
    close(fixture->fds[0]);
    close(fixture->fds[1]);
}

/* The head is done by one of the kernel's workers, which then begins the read, at any time. */
static void submit_and_cancel_behind_a_worker(void *arg)
{
    struct fixture *fixture = arg;

    fixture->sqes[0] = unit_sqe_linked(unit_sqe_nop());
    fixture->sqes[0].flags |= IOSQE_ASYNC;
    fixture->sqes[1] = fixture->read;
    fixture->count = 2;
    submit_together(fixture);
    UNIT_CHECK(fixture->result == 0);
    tocsin__uring_flush(fixture->uring.uring);
    for (unsigned i = support_random_below(&fixture->random, 2000); i > 0; i--) {
        atomic_load_explicit(&fixture->uring.memory.live, memory_order_relaxed);
    }
    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[1].op) == 0);
}

/* A cancel that came in between would leave the run going for ever. */
static void a_cancel_between_two_members_is_not_lost(void **state)
{
    struct fixture *fixture = start(8, 16);
    unsigned rounds = support_scaled(3000);

    (void)state;
    fixture->random.state = 1;
    for (unsigned i = 1; i <= rounds; i++) {
        in_turn(fixture, submit_and_cancel_behind_a_worker);
        run(fixture);
        assert_int_equal(unit_load(&fixture->ops[0].completes), i);
        assert_int_equal(unit_load(&fixture->ops[1].completes), i);
        assert_true(fixture->ops[1].result == -ECANCELED ||
                    fixture->ops[1].result == -EINTR); /* its worker was interrupted */
    }
    tocsin_uring_drop(&fixture->ops[0].op);
    tocsin_uring_drop(&fixture->ops[1].op);
    end(fixture);
}

static void submit_chain_elsewhere_and_cancel_its_head(void *arg)
{
    struct fixture *fixture = arg;

    make_chain(fixture, 0, 2, true);
    UNIT_CHECK(unit_submit_all_elsewhere(&fixture->uring, fixture->ops, fixture->sqes, 2) == 0);
    UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[0].op) == 0); /* it is still on its way */
}

/* The entry that cancels would be a member, and the last; the second would then run by itself. */
static void a_cancel_goes_in_behind_the_whole_chain(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    in_turn(fixture, submit_chain_elsewhere_and_cancel_its_head);
    run(fixture);
    check_failed_chain(fixture, 0, 2);
    drop_all(fixture, 2);
    end(fixture);
}

/* Four in the queue, four behind it, and then all are asked to end, some of them twice. */
static void cancel_without_room(void *arg)
{
    struct fixture *fixture = arg;

    for (unsigned i = 0; i < fixture->count; i++) {
        fixture->sqes[i] = fixture->read;
    }
    refuse(20, -EAGAIN);
    submit_singly(fixture);
    for (unsigned i = 0; i < fixture->count; i++) {
        UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[i].op) == 0);
        UNIT_CHECK(tocsin_uring_cancel(&fixture->ops[i].op) == 0);
    }
    UNIT_CHECK(fixture->uring.uring->cancels == fixture->count);
}

static void a_cancel_without_room_waits_for_some(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    fixture->count = 8;
    in_turn(fixture, cancel_without_room);
    run(fixture);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(fixture->ops[i].result, -ECANCELED);
    }
    drop_all(fixture, 8);
    end(fixture);
}

/* Here, elsewhere, and by a drop: it is one cancel that waits, and it is waited for once. */
static void cancels_of_one_operation_count_once(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    fixture->count = 8;
    in_turn(fixture, cancel_without_room);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(unit_cancel_elsewhere(&fixture->ops[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        unit_drop_elsewhere(&fixture->ops[i]);
    }
    refuse(20, -EAGAIN);
    assert_int_equal(tocsin_pool_turn(fixture->uring.pool), 1); /* the messages come */
    assert_int_equal(fixture->uring.uring->cancels, 8);
    refuse(0, 0);
    run(fixture);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(unit_load(&fixture->ops[i].releases), i < 4);
        assert_int_equal(unit_load(&fixture->ops[i].completes), i >= 4);
        if (i >= 4) {
            tocsin_uring_drop(&fixture->ops[i].op);
        }
    }
    end(fixture);
}

/* ---- Stash -----------------------------------------------------------------------------------
 */

static void no_hook(struct unit_op *op)
{
    struct fixture *fixture = op->arg;

    UNIT_CHECK(fixture->result == 1); /* nothing is delivered where no user code may run */
}

static void look_at_completions(void *arg)
{
    struct fixture *fixture = arg;

    fixture->result = 0;
    submit_singly(fixture);
    for (unsigned i = 0; i < 3; i++) {
        tocsin__uring_host_flush(fixture->uring.host); /* as a fairness look does */
    }
    UNIT_CHECK(tocsin__uring_host_prepare(fixture->uring.host, TOCSIN_NEVER_NS) == 0); /* O3 */
    UNIT_CHECK(fixture->uring.uring->stash_count > 0);
    UNIT_CHECK(fixture->uring.uring->stash_count <= 8);
    fixture->result = 1;
}

static void the_stash_is_delivered_by_the_next_turn(void **state)
{
    struct fixture *fixture = start(4, 8);

    (void)state;
    fixture->count = 40; /* more than the stash and the completion queue hold */
    for (unsigned i = 0; i < fixture->count; i++) {
        fixture->ops[i].on_complete = no_hook;
    }
    in_turn(fixture, look_at_completions);
    run(fixture);
    check_order(fixture, 40);
    drop_all(fixture, 40);
    end(fixture);
}

/* ---- Setup -----------------------------------------------------------------------------------
 */

static void write_byte(void *arg)
{
    const struct fixture *fixture = arg;

    UNIT_CHECK(write(fixture->fds[1], "a", 1) == 1);
}

/* What another thread does is seen by a pool that sleeps; every so often it is an idle while. */
static void check_with_flags(uint32_t flags_no)
{
    struct fixture *fixture = fixture_new();
    struct support_thread writer;

    fixture->uring.options.setup_flags_no = flags_no;
    unit_uring_start(&fixture->uring);
    assert_int_equal(fixture->uring.uring->ring.flags & flags_no, 0);
    assert_int_equal(pipe(fixture->fds), 0);
    fixture->sqes[0] = unit_sqe_read(fixture->fds[0], &fixture->byte, 1);
    unit_op_init(&fixture->ops[0]);
    fixture->count = 1;
    for (unsigned i = 0; i < 4; i++) {
        if (i % 2 == 0) {
            in_turn(fixture, submit_singly);
        } else {
            unit_submit_elsewhere(&fixture->uring, &fixture->ops[0], &fixture->sqes[0]);
        }
        support_thread_start(&writer, 1, write_byte, fixture);
        run(fixture);
        support_thread_join(&writer);
        assert_int_equal(unit_load(&fixture->ops[0].completes), i + 1);
        assert_int_equal(fixture->ops[0].result, 1);
    }
    tocsin_uring_drop(&fixture->ops[0].op);
    end(fixture);
}

static void a_completion_wakes_whatever_the_setup_flags(void **state)
{
    static const uint32_t flags[] = {IORING_SETUP_R_DISABLED, IORING_SETUP_SUBMIT_ALL,
                                     IORING_SETUP_COOP_TASKRUN, IORING_SETUP_TASKRUN_FLAG,
                                     IORING_SETUP_SINGLE_ISSUER};

    (void)state;
    for (unsigned set = 0; set < 1U << UNIT_COUNT(flags); set++) {
        uint32_t flags_no = 0;

        for (unsigned i = 0; i < UNIT_COUNT(flags); i++) {
            flags_no |= (set >> i & 1) != 0 ? flags[i] : 0;
        }
        check_with_flags(flags_no);
    }
}

static void options_that_make_no_ring_are_refused(void **state)
{
    struct tocsin_uring_options options = {.entries = RING_ENTRIES_MAX + 1};
    struct tocsin_backend backend = *tocsin_backend_find("epoll");
    struct tocsin_pool *pool = NULL;

    (void)state;
    backend.arg = &options;
    assert_int_equal(tocsin_pool_open(&pool, &backend, NULL), -EINVAL);
    options = (struct tocsin_uring_options){.entries = 16, .cq_entries = 8};
    assert_int_equal(tocsin_pool_open(&pool, &backend, NULL), -EINVAL);
    assert_null(pool);
}

/* ---- Fork ------------------------------------------------------------------------------------
 */

/* The ring's memory is not the child's: what the child has mapped there is its own. */
static void close_in_child(void *arg)
{
    struct fixture *fixture = arg;
    const struct io_uring *ring = &fixture->uring.uring->ring.uring;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    char *queue = mmap(ring->sq.ring_ptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    char *entries = mmap(ring->sq.sqes, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    UNIT_CHECK(queue != MAP_FAILED && entries != MAP_FAILED); /* they were not inherited */
    memset(queue, 1, size);
    memset(entries, 2, size);
    UNIT_CHECK(tocsin_pool_close(fixture->uring.pool) == 0);
    UNIT_CHECK(queue[0] == 1 && entries[0] == 2);
}

static void a_child_unmaps_nothing_of_its_own(void **state)
{
    struct fixture *fixture = start(8, 16);

    (void)state;
    unit_expect_return(close_in_child, fixture);
    end(fixture);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_slot_used_again_has_another_generation),
    cmocka_unit_test(generations_wrap),
    cmocka_unit_test(the_table_grows_under_what_is_in_flight),
    cmocka_unit_test(eighty_go_through_a_queue_of_64),
    cmocka_unit_test(batches_go_through_a_queue_of_four),
    cmocka_unit_test(of_256_none_is_lost_by_a_completion_queue_of_eight),
    cmocka_unit_test(a_completion_queue_of_eight_loses_none_of_10000),
    cmocka_unit_test(nothing_overtakes_the_backlog),
    cmocka_unit_test(nothing_overtakes_a_chain_without_room),
    cmocka_unit_test(no_cancel_overtakes_what_it_cancels),
    cmocka_unit_test(a_flush_that_is_refused_is_tried_again_on_a_timer),
    cmocka_unit_test(one_turn_is_one_enter_and_an_idle_one_is_none),
    cmocka_unit_test(a_chain_is_never_split_by_a_full_queue),
    cmocka_unit_test(a_chain_as_long_as_the_queue_goes_in),
    cmocka_unit_test(what_cannot_be_a_chain_is_refused_whole),
    cmocka_unit_test(a_batch_is_submitted_whole_or_not_at_all),
    cmocka_unit_test(a_batch_without_memory_gives_its_slots_back),
    cmocka_unit_test(a_member_of_a_chain_is_cancelled_when_its_turn_comes),
    cmocka_unit_test(closing_ends_a_chain_that_has_not_begun),
    cmocka_unit_test(a_cancel_between_two_members_is_not_lost),
    cmocka_unit_test(a_cancel_goes_in_behind_the_whole_chain),
    cmocka_unit_test(a_cancel_without_room_waits_for_some),
    cmocka_unit_test(cancels_of_one_operation_count_once),
    cmocka_unit_test(the_stash_is_delivered_by_the_next_turn),
    cmocka_unit_test(a_completion_wakes_whatever_the_setup_flags),
    cmocka_unit_test(options_that_make_no_ring_are_refused),
    cmocka_unit_test(a_child_unmaps_nothing_of_its_own),
};

UNIT_MAIN(tests)
