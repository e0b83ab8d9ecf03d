/*
 * --ring: every pool of every case has a ring in use.
 *
 * In its first turn the pool gets an operation that stays in flight until the pool closes, which
 * cancels it.  A case must not notice: the operation keeps no run going (its count is taken back
 * while it is in flight), and what it allocates is neither counted nor made to fail.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <tocsin/uring.h>

#include "runtime/pool.h"

#include "runner.h"

struct in_use {
    struct tocsin_uring_op op;
    struct tocsin_pool *pool;
};

_Thread_local bool conform_uncounted;

static void in_use_complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    (void)result;
    (void)flags;
    tocsin_uring_drop(op);
}

static void in_use_release(struct tocsin_uring_op *op)
{
    free(op);
}

struct in_use *conform_in_use_begin(struct conform *t)
{
    static const struct tocsin_uring_op_ops hooks = {in_use_complete, NULL, in_use_release};
    static const struct __kernel_timespec for_long = {.tv_sec = 24 * 60 * 60};
    const struct io_uring_sqe sqe = {
        .opcode = IORING_OP_TIMEOUT, .fd = -1, .addr = (uint64_t)(uintptr_t)&for_long, .len = 1};
    struct in_use *in_use = calloc(1, sizeof(*in_use));
    int r;

    REQUIRE(t, in_use != NULL);
    in_use->pool = tocsin__running;
    tocsin_uring_op_init(&in_use->op, &hooks);
    conform_uncounted = true;
    r = tocsin_uring_submit(&in_use->pool->driver, &in_use->op, &sqe);
    conform_uncounted = false;
    if (r < 0) {
        /* The case took all descriptors: the next turn tries again.  Or it is in a child. */
        CHECK(t, r == -EMFILE || r == -EOWNERDEAD);
        free(in_use);
        return NULL;
    }
    in_use->pool->alive--;
    return in_use;
}

void conform_in_use_end(struct in_use *in_use, enum tocsin_backend_close how)
{
    if (in_use != NULL && how == TOCSIN_BACKEND_CLOSE) {
        in_use->pool->alive++; /* its completion takes that away again */
    }
}
