/*
 * io_uring submissions from a pool: Linux 5.13 or later, wherever the kernel lets a program have
 * it.
 *
 * An operation is a struct tocsin_uring_op embedded by the caller and a struct io_uring_sqe that
 * says what to do (linux/io_uring.h, or liburing's io_uring_prep functions).  On the epoll backend
 * the ring is made at the first submission; the uring backend is one.
 *
 * U1  The op *and everything its SQE points to* (buffers, iovecs, addresses, timespecs) belong to
 *     the kernel from tocsin_uring_submit() until the last completion.  Who cannot wait drops the
 *     op: the kernel is asked to cancel it, the memory stays, and `release` says when it is the
 *     caller's again.
 * U2  Each completion of a multishot operation is delivered once, with its flags, in order; the
 *     last one is the one without IORING_CQE_F_MORE.
 * U3  A cancel can only ever hit the operation that it was meant for.
 * U4  Where io_uring is refused, submit says so at once, and tocsin_uring_reason() why.
 *
 * An op that is in flight keeps tocsin_pool_run() going.  Closing the pool cancels what is in
 * flight and waits for the kernel to give it back; tocsin_pool_close_timeout() no longer than you
 * say.
 *
 * Registered buffers and files, and provided buffers, are in tocsin/uring_buffers.h; functions for
 * single operations, that also work without a ring, in tocsin/uring_io.h.
 */
#ifndef TOCSIN_URING_H
#define TOCSIN_URING_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct io_uring_sqe;
struct tocsin_uring_op;

/*
 * What an op calls, on the pool's thread and never while events are walked; late and release also
 * inside tocsin_uring_drop(), on the thread that calls it, when nothing is in flight.  Each may be
 * NULL.
 */
struct tocsin_uring_op_ops {
    /*
     * The callback face: a completion came.  Without IORING_CQE_F_MORE in @flags it is the last,
     * and the op may be submitted again or dropped here.
     */
    void (*complete)(struct tocsin_uring_op *op, int32_t result, uint32_t flags);
    /*
     * A result that nobody will be told: it came after the drop, or no poll had taken it before.
     * For what must not leak, such as the descriptor that an accept returned.
     */
    void (*late)(struct tocsin_uring_op *op, int32_t result, uint32_t flags);
    /* After a drop, once: op and all that it points to are the caller's again. */
    void (*release)(struct tocsin_uring_op *op);
};

/* An operation; in the caller's memory.  All fields are the library's. */
struct tocsin_uring_op {
    struct tocsin_item_ item_;    /* of the remote queue (submission), or of the backlog */
    struct tocsin_item_ control_; /* of the remote queue (cancel and drop) */
    const struct tocsin_uring_op_ops *ops_;
    struct tocsin_pool *pool_; /* referenced from the first submission to the drop */
    struct tocsin_waker waker_;
    /* OP-1: whose the op is; publishes the rest to the side that it goes to. */
    TOCSIN_ATOMIC(uint32_t) state_;
    int32_t result_;
    uint32_t flags_;
    uint32_t slot_;
    uint64_t user_data_;
    struct tocsin_uring_op *chain_; /* what was submitted with it, in the remote queue */
    uint64_t sqe_[8];               /* while it waits for room in the queue */
};

/*
 * Make @op ready for use.
 *
 * Thread: any.
 * Memory: @ops (NULL: no hooks) stays the caller's.  @op must not move once it was submitted, and
 *         then goes to tocsin_uring_drop().
 */
TOCSIN_API void tocsin_uring_op_init(struct tocsin_uring_op *op,
                                     const struct tocsin_uring_op_ops *ops);

/*
 * Submit @sqe for @op.
 *
 * On the pool's thread it goes straight into the ring's queue, without a lock or a system call
 * while there is room; the kernel is told of all that are queued by one io_uring_enter(2), before
 * the pool sleeps.  From other threads it goes through a queue and wakes the pool at most once.  A
 * full queue is no error.
 *
 * Thread:  any.
 * Memory:  @sqe is copied; U1 for what it points to.  Its user_data is the library's to set.
 * Returns: 0.  The result comes by tocsin_uring_poll(), or to the op's complete hook.
 * Errors:  -EOPNOTSUPP: no ring, see tocsin_uring_reason(); -EBUSY: the op is in flight, or has a
 *          result that was not taken; -EINVAL: linked (use tocsin_uring_submit_all());
 *          IOSQE_CQE_SKIP_SUCCESS or IOSQE_IO_DRAIN, for every operation must complete, and a
 *          cancel must not wait for others; -ENOMEM; -ESHUTDOWN;
 *          -EOWNERDEAD after fork.  The op is then as before.
 */
TOCSIN_API int tocsin_uring_submit(struct tocsin_driver *driver, struct tocsin_uring_op *op,
                                   const struct io_uring_sqe *sqe);

/*
 * Submit @count operations at once, in order, or none of them.
 *
 * Operations linked by IOSQE_IO_LINK or IOSQE_IO_HARDLINK reach the kernel in one
 * io_uring_enter(2): a chain is never split by a full queue.
 *
 * Thread:  any.
 * Errors:  -E2BIG: a chain has more members than the queue has room for; -EINVAL: the last one is
 *          linked to nothing; else as tocsin_uring_submit().
 */
TOCSIN_API int tocsin_uring_submit_all(struct tocsin_driver *driver,
                                       struct tocsin_uring_op *const *ops,
                                       const struct io_uring_sqe *const *sqes, size_t count);

/*
 * The polling face: take @op's result.
 *
 * Of an operation that completes more than once without a complete hook the first result counts
 * that is no notification (IORING_CQE_F_NOTIF), the others go to the late hook; it is ready when
 * the last has come.
 *
 * Thread:  the pool's.
 * Memory:  keeps a clone of the waker until the completion, the drop, or the next poll.
 * Returns: 0: it has completed, with what the kernel answered in *@out_result (bytes, a descriptor,
 *          or a negative errno; NULL: not wanted) and its flags in *@out_flags (likewise); or
 *          TOCSIN_PENDING.
 * Errors:  -EINVAL: never submitted, or its result was taken before.
 */
TOCSIN_API int tocsin_uring_poll(struct tocsin_uring_op *op, struct tocsin_context *cx,
                                 int32_t *out_result, uint32_t *out_flags);

/*
 * Ask the kernel to give @op up.  It still completes: with -ECANCELED, or with what it did first.
 *
 * Thread:  any.
 * Returns: 0, also when it was asked before.
 * Errors:  -EALREADY: it is not in flight; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_uring_cancel(struct tocsin_uring_op *op);

/*
 * Give @op up, in whatever state: it is cancelled if it is in flight (U1).
 *
 * When this has returned no complete hook is called and no waker is woken any more (from another
 * thread than the pool's: none that had not begun).  release comes once: before this returns when
 * nothing is in flight, and after the complete hook that this is called in.
 *
 * Thread:  any.
 */
TOCSIN_API void tocsin_uring_drop(struct tocsin_uring_op *op);

/*
 * Does the kernel know this operation (IORING_OP_*)?  Makes the ring if there is none yet; asked of
 * the kernel once.
 *
 * Thread:  any.
 * Returns: 1 or 0.
 * Errors:  -EOPNOTSUPP: no ring; -ENOMEM; -ESHUTDOWN; -EOWNERDEAD.
 */
TOCSIN_API int tocsin_uring_probe(struct tocsin_driver *driver, unsigned opcode);

/*
 * Why there is no ring: the call that failed and its error, or what this backend or build lacks.
 *
 * Thread:  any.
 * Returns: NULL: there is one, or nobody has asked for one; else a string that lives as long as the
 *          pool.
 */
TOCSIN_API const char *tocsin_uring_reason(struct tocsin_driver *driver);

/*
 * How rings are made: the arg of a struct tocsin_backend that is a copy of epoll's or uring's.
 * Zeroes mean the defaults.
 */
struct tocsin_uring_options {
    uint32_t entries;        /* of the submission queue; 128 */
    uint32_t cq_entries;     /* of the completion queue; four times that */
    uint32_t setup_flags_no; /* IORING_SETUP_* never to be asked for */
    uint32_t room;
};

TOCSIN_END_DECLS

#endif
