/*
 * Operations of io_uring in their own words: submitted, polled, cancelled, dropped.
 *
 * What reads an empty pipe stays in flight until somebody writes, cancels or drops.
 */
#include "differential.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <tocsin/uring.h>
#include <unistd.h>

enum {
    RINGS_MAX = 8,
};

/* An operation and what is done to it. */
struct ring_op {
    struct tocsin_uring_op op;
    struct tally completed; /* counts completions without IORING_CQE_F_MORE */
    struct tally released;
    atomic_uint more; /* completions with it */
    atomic_uint lates;
    int32_t result; /* of the last completion */
    char data[16];
};

static void op_completes(struct tocsin_uring_op *base, int32_t result, uint32_t flags)
{
    struct ring_op *op = (struct ring_op *)(void *)base;

    op->result = result;
    if ((flags & IORING_CQE_F_MORE) != 0) {
        atomic_fetch_add_explicit(&op->more, 1, memory_order_relaxed);
    } else {
        tally_add(&op->completed);
    }
}

static void op_is_late(struct tocsin_uring_op *base, int32_t result, uint32_t flags)
{
    struct ring_op *op = (struct ring_op *)(void *)base;

    (void)flags;
    op->result = result;
    atomic_fetch_add_explicit(&op->lates, 1, memory_order_relaxed);
}

static void op_is_released(struct tocsin_uring_op *base)
{
    tally_add(&((struct ring_op *)(void *)base)->released);
}

static const struct tocsin_uring_op_ops polled_ops = {NULL, op_is_late, op_is_released};
static const struct tocsin_uring_op_ops called_ops = {op_completes, op_is_late, op_is_released};

static void op_init(struct ring_op *op, const struct tocsin_uring_op_ops *ops)
{
    memset(op, 0, sizeof(*op));
    tally_init(&op->completed);
    tally_init(&op->released);
    CALL(tocsin_uring_op_init)(&op->op, ops);
}

/* Drop it, wait for its release, and say both. */
static void op_end(struct actor *actor, struct ring_op *op)
{
    CALL(tocsin_uring_drop)(&op->op);
    tally_await(actor, &op->released, 1);
    say(actor, " late %u", atomic_load_explicit(&op->lates, memory_order_acquire));
    tally_deinit(&op->completed);
    tally_deinit(&op->released);
}

static struct io_uring_sqe entry(unsigned opcode, int fd, void *data, unsigned size)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = (unsigned char)opcode;
    sqe.fd = fd;
    sqe.addr = (uint64_t)(uintptr_t)data;
    sqe.len = size;
    return sqe;
}

static int submit(struct actor *actor, struct ring_op *op, struct io_uring_sqe sqe)
{
    return CALL(tocsin_uring_submit)(actor->run->driver, &op->op, &sqe);
}

static int take(struct actor *actor, struct ring_op *op, int32_t *out_result)
{
    uint32_t flags;
    int r;

    *out_result = 0;
    do {
        r = CALL(tocsin_uring_poll)(&op->op, actor->cx, out_result, &flags);
    } while (again(actor, r));
    return r;
}

static void pipe_open(int fds[2])
{
    NEED(pipe2(fds, O_CLOEXEC) == 0);
}

static void pipe_close(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* ---- Faces ----------------------------------------------------------------------------------- */

static void ring_read(struct actor *actor)
{
    struct ring_op op;
    int32_t result;
    int fds[2];
    int r;

    pipe_open(fds);
    op_init(&op, &polled_ops);
    say(actor, " submit %d", submit(actor, &op, entry(IORING_OP_READ, fds[0], op.data, 16)));
    say(actor, " again %d", submit(actor, &op, entry(IORING_OP_NOP, -1, NULL, 0)));
    if (pick(actor, 0, 2) == 0) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    NEED(write(fds[1], "0123456789", 1 + pick(actor, 1, 10)) > 0);
    r = take(actor, &op, &result);
    say(actor, " poll %d %d", r, result);
    EXPECT(actor, result > 0 && memcmp(op.data, "0123456789", (size_t)result) == 0);
    say(actor, " taken %d", take(actor, &op, &result));
    op_end(actor, &op);
    pipe_close(fds);
}

/* Several at once, with the callback face. */
static void ring_calls(struct actor *actor)
{
    struct ring_op ops[RINGS_MAX];
    unsigned count = 1 + pick(actor, 0, RINGS_MAX);
    bool together = pick(actor, 1, 2) == 0;
    struct tocsin_uring_op *pointers[RINGS_MAX];
    const struct io_uring_sqe *sqes[RINGS_MAX];
    struct io_uring_sqe nop = entry(IORING_OP_NOP, -1, NULL, 0);

    for (unsigned i = 0; i < count; i++) {
        op_init(&ops[i], &called_ops);
        pointers[i] = &ops[i].op;
        sqes[i] = &nop;
    }
    if (together) {
        say(actor, " all %d",
            CALL(tocsin_uring_submit_all)(actor->run->driver, pointers, sqes, count));
    }
    for (unsigned i = 0; i < count; i++) {
        if (!together) {
            say(actor, " %d", submit(actor, &ops[i], nop));
        }
    }
    for (unsigned i = 0; i < count; i++) {
        tally_await(actor, &ops[i].completed, 1);
        say(actor, " %d", ops[i].result);
        op_end(actor, &ops[i]);
    }
}

/* A chain through a pipe; or one whose first member fails, which ends the second. */
static void ring_chain(struct actor *actor)
{
    bool broken = pick(actor, 0, 2) == 0;
    struct ring_op ops[2];
    struct tocsin_uring_op *pointers[2] = {&ops[0].op, &ops[1].op};
    struct io_uring_sqe entries[2];
    const struct io_uring_sqe *sqes[2] = {&entries[0], &entries[1]};
    int fds[2];

    pipe_open(fds);
    for (unsigned i = 0; i < 2; i++) {
        op_init(&ops[i], &called_ops);
    }
    entries[0] = entry(IORING_OP_WRITE, broken ? -1 : fds[1], ops[0].data, 5);
    entries[1] = entry(IORING_OP_READ, fds[0], ops[1].data, 16);
    entries[1].flags = IOSQE_IO_LINK;
    say(actor, " open end %d",
        CALL(tocsin_uring_submit_all)(actor->run->driver, pointers, sqes, 2));
    entries[0].flags = IOSQE_IO_LINK;
    entries[1].flags = 0;
    say(actor, " single %d", submit(actor, &ops[0], entries[0]));
    say(actor, " all %d", CALL(tocsin_uring_submit_all)(actor->run->driver, pointers, sqes, 2));
    for (unsigned i = 0; i < 2; i++) {
        tally_await(actor, &ops[i].completed, 1);
        say(actor, " %d", ops[i].result);
        op_end(actor, &ops[i]);
    }
    pipe_close(fds);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void ring_cancel(struct actor *actor)
{
    struct ring_op op;
    int fds[2];

    pipe_open(fds);
    op_init(&op, &called_ops);
    say(actor, " early %d", CALL(tocsin_uring_cancel)(&op.op));
    say(actor, " submit %d", submit(actor, &op, entry(IORING_OP_READ, fds[0], op.data, 16)));
    if (pick(actor, 0, 2) == 0 && actor->by == BY_TASK) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    say(actor, " cancel %d", CALL(tocsin_uring_cancel)(&op.op));
    tally_await(actor, &op.completed, 1);
    say(actor, " result %d", op.result);
    op_end(actor, &op);
    pipe_close(fds);
}

static void ring_drop(struct actor *actor)
{
    bool polled = pick(actor, 0, 2) == 0;
    struct ring_op op;
    int fds[2];

    pipe_open(fds);
    op_init(&op, polled ? &polled_ops : &called_ops);
    say(actor, " submit %d", submit(actor, &op, entry(IORING_OP_READ, fds[0], op.data, 16)));
    if (pick(actor, 1, 2) == 0 && actor->by == BY_TASK) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    op_end(actor, &op);
    say(actor, " result %d, completed %u", op.result, op.completed.count);
    pipe_close(fds);
}

/* A poll that tells again and again, until it is cancelled. */
static void ring_multishot(struct actor *actor)
{
    struct io_uring_sqe sqe;
    struct ring_op op;
    int fds[2];

    pipe_open(fds);
    op_init(&op, &called_ops);
    sqe = entry(IORING_OP_POLL_ADD, fds[0], NULL, IORING_POLL_ADD_MULTI);
    sqe.poll32_events = TOCSIN_IN; /* as POLLIN */
    say(actor, " submit %d", submit(actor, &op, sqe));
    for (unsigned i = 0; i < 1 + pick(actor, 0, 4); i++) {
        NEED(write(fds[1], "x", 1) == 1);
        while (atomic_load_explicit(&op.more, memory_order_relaxed) <= i) {
            again(actor, CALL(tocsin_task_yield)(actor->cx));
        }
    }
    say(actor, " cancel %d", CALL(tocsin_uring_cancel)(&op.op));
    tally_await(actor, &op.completed, 1);
    say(actor, " last %d", op.result);
    op_end(actor, &op);
    pipe_close(fds);
}

static void ring_misuse(struct actor *actor)
{
    struct io_uring_sqe sqe = entry(IORING_OP_NOP, -1, NULL, 0);
    struct ring_op op;
    int32_t result;

    op_init(&op, &polled_ops);
    say(actor, " never submitted %d", take(actor, &op, &result));
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    say(actor, " skip %d", submit(actor, &op, sqe));
    sqe.flags = IOSQE_IO_DRAIN;
    say(actor, " drain %d", submit(actor, &op, sqe));
    op_end(actor, &op);
}

/* What the kernel knows; or why there is no ring. */
static void ring_probe(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    int r = CALL(tocsin_uring_probe)(driver, IORING_OP_NOP);

    if ((actor->run->features & TOCSIN_BACKEND_URING) == 0) {
        EXPECT(actor, r == -EOPNOTSUPP);
        EXPECT(actor, CALL(tocsin_uring_reason)(driver) != NULL);
        say_not_here(actor, TOCSIN_BACKEND_URING);
        return;
    }
    say(actor, " %d, unknown %d", r, CALL(tocsin_uring_probe)(driver, 250));
    say(actor, " reason %d", CALL(tocsin_uring_reason)(driver) != NULL);
}

static const struct op_kind ops_uring_kinds[] = {
    {"ring_read", ring_read, BY_TASK, TOCSIN_BACKEND_URING, 12},
    {"ring_calls", ring_calls, BY_TASK | BY_THREAD, TOCSIN_BACKEND_URING, 12},
    {"ring_chain", ring_chain, BY_TASK | BY_THREAD, TOCSIN_BACKEND_URING, 10},
    {"ring_cancel", ring_cancel, BY_TASK | BY_THREAD, TOCSIN_BACKEND_URING, 12},
    {"ring_drop", ring_drop, BY_TASK | BY_THREAD, TOCSIN_BACKEND_URING, 12},
    {"ring_multishot", ring_multishot, BY_TASK, TOCSIN_BACKEND_URING, 8},
    {"ring_misuse", ring_misuse, BY_TASK, TOCSIN_BACKEND_URING, 5},
    {"ring_probe", ring_probe, BY_MAIN | BY_TASK | BY_THREAD, 0, 6},
};

OP_GROUP(ops_uring);
