/*
 * The shared part of the unit tests of backends/ring/: see uring.h.
 */
#include "tests/unit/uring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_MAX = 64,
};

unsigned unit_enters;
unsigned unit_enters_no;
int unit_enters_errno;
unsigned unit_chains_split;
uint64_t unit_enter_ns;

int __real_tocsin__ring_enter(struct ring *ring, unsigned wait,
                              const struct __kernel_timespec *timeout);
int __wrap_tocsin__ring_enter(struct ring *ring, unsigned wait,
                              const struct __kernel_timespec *timeout);

int __wrap_tocsin__ring_enter(struct ring *ring, unsigned wait,
                              const struct __kernel_timespec *timeout)
{
    const struct io_uring_sq *sq = &ring->uring.sq;

    unit_enters++;
    unit_enter_ns = timeout == NULL ? TOCSIN_NEVER_NS
                                    : (uint64_t)timeout->tv_sec * UINT64_C(1000000000) +
                                          (uint64_t)timeout->tv_nsec;
    if (tocsin__ring_unsubmitted(ring) > 0 && (sq->sqes[(ring->tail - 1) & *sq->kring_mask].flags &
                                               (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0) {
        unit_chains_split++;
    }
    if (unit_enters_no > 0) {
        unit_enters_no--;
        return unit_enters_errno;
    }
    return __real_tocsin__ring_enter(ring, wait, timeout);
}

void unit_uring_start(struct unit_uring *uring)
{
    struct tocsin_pool_options options = {.allocator = &uring->memory.allocator};
    const char *name = getenv("TOCSIN_BACKEND");
    static char reason[128];
    int r;

    unit_memory_init(&uring->memory);
    uring->backend = *tocsin_backend_find(name != NULL ? name : "epoll");
    uring->backend.arg = &uring->options;
    r = tocsin_pool_open(&uring->pool, &uring->backend, &options);
    if (name != NULL && (r == -EPERM || r == -ENOSYS)) {
        unit_skip("the backend is refused here");
    }
    assert_int_equal(r, 0);
    uring->driver = tocsin_pool_driver(uring->pool);
    if (tocsin_uring_probe(uring->driver, IORING_OP_NOP) < 0) {
        snprintf(reason, sizeof(reason), "%s", tocsin_uring_reason(uring->driver));
        tocsin_pool_close(uring->pool);
        unit_skip(reason);
    }
    uring->host = uring->backend.ops->uring(uring->pool->driver.backend_state);
    uring->uring = tocsin__uring_host_peek(uring->host);
    unit_enters = 0;
    unit_enters_no = 0;
    unit_chains_split = 0;
}

void unit_uring_end(struct unit_uring *uring)
{
    assert_int_equal(tocsin_pool_close(uring->pool), 0);
    assert_int_equal(unit_load(&uring->memory.live), 0);
    assert_int_equal(unit_chains_split, 0);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static struct unit_op *unit_op_of(struct tocsin_uring_op *op)
{
    return (struct unit_op *)(void *)op;
}

static void count(atomic_uint *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void op_complete(struct tocsin_uring_op *base, int32_t result, uint32_t flags)
{
    struct unit_op *op = unit_op_of(base);

    UNIT_CHECK(unit_load(&op->releases) == 0);
    op->result = result;
    op->flags = flags;
    if (op->order != NULL) {
        op->place = (*op->order)++;
    }
    count(&op->completes);
    if (op->on_complete != NULL) {
        op->on_complete(op);
    }
}

static void op_late(struct tocsin_uring_op *base, int32_t result, uint32_t flags)
{
    struct unit_op *op = unit_op_of(base);

    UNIT_CHECK(unit_load(&op->releases) == 0);
    UNIT_CHECK((flags & IORING_CQE_F_NOTIF) == 0);
    op->late_result = result;
    count(&op->lates);
}

static void op_release(struct tocsin_uring_op *base)
{
    count(&unit_op_of(base)->releases);
}

void unit_op_init(struct unit_op *op)
{
    static const struct tocsin_uring_op_ops ops = {
        .complete = op_complete, .late = op_late, .release = op_release};

    memset(op, 0, sizeof(*op));
    tocsin_uring_op_init(&op->op, &ops);
}

void unit_op_init_polled(struct unit_op *op)
{
    static const struct tocsin_uring_op_ops ops = {.late = op_late, .release = op_release};

    memset(op, 0, sizeof(*op));
    tocsin_uring_op_init(&op->op, &ops);
}

int unit_submit(struct unit_uring *uring, struct unit_op *op, const struct io_uring_sqe *sqe)
{
    return tocsin_uring_submit(uring->driver, &op->op, sqe);
}

int unit_submit_all(struct unit_uring *uring, struct unit_op *ops, const struct io_uring_sqe *sqes,
                    size_t sqes_count)
{
    struct tocsin_uring_op *op_pointers[BATCH_MAX];
    const struct io_uring_sqe *sqe_pointers[BATCH_MAX];

    UNIT_CHECK(sqes_count <= BATCH_MAX);
    for (size_t i = 0; i < sqes_count; i++) {
        op_pointers[i] = &ops[i].op;
        sqe_pointers[i] = &sqes[i];
    }
    return tocsin_uring_submit_all(uring->driver, op_pointers, sqe_pointers, sqes_count);
}

/* ---- Elsewhere ------------------------------------------------------------------------------- */

struct call {
    struct unit_uring *uring;
    struct unit_op *ops;
    const struct io_uring_sqe *sqes;
    size_t count;
    int result;
};

static void submit_call(void *arg)
{
    struct call *call = arg;

    call->result = unit_submit_all(call->uring, call->ops, call->sqes, call->count);
}

int unit_submit_all_elsewhere(struct unit_uring *uring, struct unit_op *ops,
                              const struct io_uring_sqe *sqes, size_t sqes_count)
{
    struct call call = {.uring = uring, .ops = ops, .sqes = sqes, .count = sqes_count};

    support_elsewhere(submit_call, &call);
    return call.result;
}

int unit_submit_elsewhere(struct unit_uring *uring, struct unit_op *op,
                          const struct io_uring_sqe *sqe)
{
    return unit_submit_all_elsewhere(uring, op, sqe, 1);
}

static void cancel_call(void *arg)
{
    struct call *call = arg;

    call->result = tocsin_uring_cancel(&call->ops->op);
}

int unit_cancel_elsewhere(struct unit_op *op)
{
    struct call call = {.ops = op};

    support_elsewhere(cancel_call, &call);
    return call.result;
}

static void drop_call(void *arg)
{
    tocsin_uring_drop(&((struct unit_op *)arg)->op);
}

void unit_drop_elsewhere(struct unit_op *op)
{
    support_elsewhere(drop_call, op);
}

/* ---- Submission entries ---------------------------------------------------------------------- */

struct io_uring_sqe unit_sqe_nop(void)
{
    struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .fd = -1};

    return sqe;
}

struct io_uring_sqe unit_sqe_read(int fd, void *buffer, unsigned size)
{
    struct io_uring_sqe sqe = {
        .opcode = IORING_OP_READ,
        .fd = fd,
        .off = UINT64_MAX,
        .addr = (uint64_t)(uintptr_t)buffer,
        .len = size,
    };

    return sqe;
}

struct io_uring_sqe unit_sqe_linked(struct io_uring_sqe sqe)
{
    sqe.flags |= IOSQE_IO_LINK;
    return sqe;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

void unit_uring_in_turn(struct unit_uring *uring, support_body_fn *fn, void *arg)
{
    unit_in_turn(uring->pool, fn, arg);
}

void unit_turns_until(struct unit_uring *uring, const atomic_uint *counter, unsigned value)
{
    while (unit_load(counter) < value) {
        UNIT_CHECK(tocsin_pool_turn(uring->pool) >= 0);
    }
}
