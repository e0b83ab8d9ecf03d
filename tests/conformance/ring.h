/*
 * What the cases about io_uring share: operations that count what is done to them, and entries.
 *
 * A counted operation has both faces: with a complete hook (ring_op_init), or to be polled
 * (ring_polled_init).  Its memory is the case's, which looks at the counts afterwards.
 */
#ifndef TOCSIN_CONFORM_RING_H
#define TOCSIN_CONFORM_RING_H

#include <fcntl.h>
#include <linux/io_uring.h>
#include <tocsin/uring.h>
#include <unistd.h>

#include "probe.h"

enum {
    RING_KEPT = 16, /* so many completions of one operation are kept */
};

struct ring_op;

typedef void ring_then_fn(struct ring_op *op, int32_t result, uint32_t flags);

struct ring_op {
    struct tocsin_uring_op op;
    struct conform *t;
    ring_then_fn *then;        /* called in the complete hook; may be NULL */
    ring_then_fn *at_late;     /* the same in late */
    void *arg;                 /* the case's */
    struct tocsin_pool *stops; /* once it has completed @stops_at times; or NULL */
    unsigned stops_at;
    atomic_uint completions;
    atomic_uint lates;
    atomic_uint releases;
    int32_t results[RING_KEPT]; /* of the first completions */
    uint32_t flags[RING_KEPT];
    int32_t late;         /* the last result that came to late */
    unsigned lates_after; /* release had been called when late was */
    uintptr_t thread;     /* conform_thread_id() in the last hook */
};

_Static_assert(offsetof(struct ring_op, op) == 0, "the hooks cast one to the other");

static inline void ring_complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct ring_op *self = (struct ring_op *)op;
    unsigned count = conform_read(&self->completions);

    if (count < RING_KEPT) {
        self->results[count] = result;
        self->flags[count] = flags;
    }
    self->thread = conform_thread_id();
    CHECK_EQ(self->t, conform_read(&self->releases), 0);
    count = conform_count(&self->completions);
    if (self->stops != NULL && count >= self->stops_at) {
        tocsin_pool_stop(self->stops);
    }
    if (self->then != NULL) {
        self->then(self, result, flags);
    }
}

static inline void ring_late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct ring_op *self = (struct ring_op *)op;

    self->late = result;
    self->lates_after += conform_read(&self->releases);
    conform_count(&self->lates);
    if (self->at_late != NULL) {
        self->at_late(self, result, flags);
    }
}

static inline void ring_release(struct tocsin_uring_op *op)
{
    struct ring_op *self = (struct ring_op *)op;

    self->thread = conform_thread_id();
    conform_count(&self->releases);
}

static inline void ring_op_init(struct conform *t, struct ring_op *op, ring_then_fn *then)
{
    static const struct tocsin_uring_op_ops hooks = {ring_complete, ring_late, ring_release};

    memset(op, 0, sizeof(*op));
    op->t = t;
    op->then = then;
    tocsin_uring_op_init(&op->op, &hooks);
}

static inline void ring_polled_init(struct conform *t, struct ring_op *op)
{
    static const struct tocsin_uring_op_ops hooks = {NULL, ring_late, ring_release};

    memset(op, 0, sizeof(*op));
    op->t = t;
    tocsin_uring_op_init(&op->op, &hooks);
}

/* Drop it where nothing is in flight: it is released before that returns. */
static inline void ring_drop(struct ring_op *op)
{
    CHECK_EQ(op->t, conform_read(&op->releases), 0);
    tocsin_uring_drop(&op->op);
    CHECK_EQ(op->t, conform_read(&op->releases), 1);
    CHECK_EQ(op->t, op->lates_after, 0);
}

/* ---- Entries --------------------------------------------------------------------------------- */

static inline struct io_uring_sqe ring_nop(void)
{
    return (struct io_uring_sqe){.opcode = IORING_OP_NOP};
}

static inline struct io_uring_sqe ring_transfer(uint8_t opcode, int fd, const void *data,
                                                uint32_t size)
{
    return (struct io_uring_sqe){.opcode = opcode,
                                 .fd = fd,
                                 .addr = (uint64_t)(uintptr_t)data,
                                 .len = size,
                                 .off = UINT64_MAX};
}

static inline struct io_uring_sqe ring_read(int fd, void *data, uint32_t size)
{
    return ring_transfer(IORING_OP_READ, fd, data, size);
}

static inline struct io_uring_sqe ring_write(int fd, const void *data, uint32_t size)
{
    return ring_transfer(IORING_OP_WRITE, fd, data, size);
}

/* Ends with -ETIME. */
static inline struct io_uring_sqe ring_timeout(const struct __kernel_timespec *delay)
{
    return (struct io_uring_sqe){
        .opcode = IORING_OP_TIMEOUT, .fd = -1, .addr = (uint64_t)(uintptr_t)delay, .len = 1};
}

/* ---- Submitting ------------------------------------------------------------------------------ */

/* From where the caller is: outside a turn that is another thread to the pool. */
static inline void ring_submit(struct tocsin_pool *pool, struct ring_op *op,
                               struct io_uring_sqe sqe)
{
    REQUIRE(op->t, tocsin_uring_submit(tocsin_pool_driver(pool), &op->op, &sqe) == 0);
}

struct ring_call {
    struct conform *t;
    conform_thread_fn *fn;
    void *arg;
    unsigned calls;
};

static inline void ring_call_now(void *arg, int status)
{
    struct ring_call *call = arg;

    CHECK_EQ(call->t, status, 0);
    call->calls++;
    call->fn(call->t, call->arg);
}

/* Call @fn(t, @arg) inside a turn of @pool, which ends with what it submitted in the kernel. */
static inline void ring_in_turn(struct conform *t, struct tocsin_pool *pool, conform_thread_fn *fn,
                                void *arg)
{
    struct ring_call call = {t, fn, arg, 0};

    REQUIRE(t, tocsin_post(tocsin_pool_driver(pool), ring_call_now, &call) == 0);
    REQUIRE(t, tocsin_pool_turn(pool) >= 0);
    REQUIRE(t, call.calls == 1);
}

struct ring_pair {
    struct tocsin_pool *pool;
    struct ring_op *op;
    struct io_uring_sqe sqe;
};

static inline void ring_submit_pair(struct conform *t, void *arg)
{
    struct ring_pair *pair = arg;

    (void)t;
    ring_submit(pair->pool, pair->op, pair->sqe);
}

/* On the pool's thread, in a turn; when it returns the kernel has the entry. */
static inline void ring_submit_here(struct conform *t, struct tocsin_pool *pool, struct ring_op *op,
                                    struct io_uring_sqe sqe)
{
    struct ring_pair pair = {pool, op, sqe};

    ring_in_turn(t, pool, ring_submit_pair, &pair);
}

/* ---- The polling face ------------------------------------------------------------------------ */

/* For probe_spawn(): until @arg, a struct ring_op, is ready; its result is in results[0]. */
static inline int ring_poll(struct tocsin_context *cx, void *arg)
{
    struct ring_op *op = arg;

    return tocsin_uring_poll(&op->op, cx, &op->results[0], &op->flags[0]);
}

/* Run the pool until @op has completed; its result. */
static inline int32_t ring_finish(struct conform *t, struct tocsin_pool *pool, struct ring_op *op)
{
    CHECK_EQ(t, probe_complete(t, pool, ring_poll, op), 0);
    return op->results[0];
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* A pool whose ring is made as @ring says. */
static inline struct tocsin_pool *ring_pool(struct conform *t, struct tocsin_uring_options *ring)
{
    const struct tocsin_backend backend = {t->backend->ops, ring};
    struct tocsin_pool_options options = conform_options(t);
    struct tocsin_pool *pool = NULL;

    REQUIRE(t, tocsin_pool_open(&pool, &backend, &options) == 0);
    return pool;
}

/* Run the pool until @op, with a complete hook, has completed @count times; it is in flight yet. */
static inline void ring_run(struct conform *t, struct tocsin_pool *pool, struct ring_op *op,
                            unsigned count)
{
    op->stops_at = count;
    op->stops = pool;
    if (conform_read(&op->completions) < count) {
        CHECK_EQ(t, tocsin_pool_run(pool), 1);
    }
    op->stops = NULL;
    CHECK_EQ(t, conform_read(&op->completions), count);
}

#endif
