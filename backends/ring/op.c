/*
 * Operations: submit, poll, cancel, drop, from any thread.  See uring.h and tocsin/uring.h.
 *
 * state_ (OP-1) says who may touch an op.  While it is in FLIGHT or CALLING the pool's thread works
 * with it; other threads then only set bits and push control_, once (CONTROL), through the remote
 * queue.  Else it is its owner's.
 *
 * A drop sets DROPPED.  Who releases is decided by one read-modify-write of each side: the pool's
 * thread when it takes FLIGHT (or CALLING) away, unless a control message is still to come; or else
 * the control message; or, where the closed queue takes none any more (ORPHAN), whoever of the two
 * comes second.
 */
#include <errno.h>
#include <string.h>

#include "backends/ring/uring.h"
#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    OP_FLIGHT = 1 << 0,      /* submitted, and the last completion has not come */
    OP_DONE = 1 << 1,        /* the result is there, and no poll has taken it */
    OP_DROPPED = 1 << 2,     /* its owner has given it up */
    OP_CONTROL = 1 << 3,     /* control_ is in the remote queue */
    OP_WANT_CANCEL = 1 << 4, /* the owner has asked for a cancel */
    OP_REMOTE = 1 << 5,      /* item_ is in the remote queue */
    OP_ORPHAN = 1 << 6,      /* dropped when the queue had closed */
    OP_CALLING = 1 << 7,     /* its complete hook runs, for the last time */
    OP_STORED = 1 << 8,      /* result_ and flags_ are those of this operation */
    OP_FIRST = 1 << 9,       /* its first submission: the reference on the pool is new */
};

enum {
    ITEM_SUBMIT,
    ITEM_CONTROL,
};

static uint32_t state_of(const struct tocsin_uring_op *op)
{
    /* OP-1 acquire: what the other side did before it changed the state is seen. */
    return atomic_load_explicit(&op->state_, memory_order_acquire);
}

/* Clear @off, then set @on.  Returns: the state before. */
static uint32_t change(struct tocsin_uring_op *op, uint32_t off, uint32_t on)
{
    /* OP-1 relaxed: the swap below says whether it was right. */
    uint32_t old = atomic_load_explicit(&op->state_, memory_order_relaxed);

    /* OP-1 acq_rel: each side sees what the other did before its change. */
    while (!atomic_compare_exchange_weak_explicit(&op->state_, &old, (old & ~off) | on,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    return old;
}

void tocsin__uring_op_mark(struct tocsin_uring_op *op, uint32_t mark)
{
    change(op, 0, mark);
}

void tocsin__uring_op_unmark(struct tocsin_uring_op *op, uint32_t mark)
{
    change(op, mark, 0);
}

bool tocsin__uring_op_has(const struct tocsin_uring_op *op, uint32_t mark)
{
    return (state_of(op) & mark) != 0;
}

static struct uring_host *host_of(const struct tocsin_pool *pool)
{
    return (pool->driver.ops->features & TOCSIN_BACKEND_URING) != 0
               ? pool->driver.ops->uring(pool->driver.backend_state)
               : NULL;
}

void tocsin_uring_op_init(struct tocsin_uring_op *op, const struct tocsin_uring_op_ops *ops)
{
    static const struct tocsin_uring_op_ops no_hooks = {NULL, NULL, NULL};

    memset(op, 0, sizeof(*op));
    op->item_.kind_ = ITEM_SUBMIT;
    op->control_.kind_ = ITEM_CONTROL;
    op->ops_ = ops != NULL ? ops : &no_hooks;
    atomic_init(&op->state_, 0);
}

/* ---- Submission ------------------------------------------------------------------------------ */

/* From here on @op is in flight on @pool.  -EBUSY: it is already, or its result was not taken. */
static int start(struct tocsin_pool *pool, struct tocsin_uring_op *op, uint32_t marks)
{
    if ((state_of(op) & (OP_FLIGHT | OP_DONE | OP_DROPPED)) != 0) {
        return -EBUSY;
    }
    if (op->pool_ == NULL) {
        marks |= OP_FIRST;
    }
    if (op->pool_ != pool) {
        tocsin__pool_ref(pool);
        if (op->pool_ != NULL) {
            tocsin__pool_unref(op->pool_);
        }
        op->pool_ = pool;
    }
    /* A cancel meant for the operation before, still on its way, finds nothing to do (U3). */
    change(op, OP_STORED | OP_WANT_CANCEL | OP_FIRST | URING_OP_CHAINED, OP_FLIGHT | marks);
    return 0;
}

/* It did not come to that. */
static void unstart(struct tocsin_uring_op *op)
{
    struct tocsin_pool *pool = op->pool_;

    if ((change(op, OP_FLIGHT | OP_REMOTE, 0) & OP_FIRST) != 0) {
        op->pool_ = NULL;
        tocsin__pool_unref(pool);
    }
}

static bool is_linked(const struct io_uring_sqe *sqe)
{
    return (sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0;
}

/* How many from @sqes[0] on are one chain. */
static size_t chain_length(const struct io_uring_sqe *const *sqes, size_t count)
{
    size_t length = 1;

    while (length < count && is_linked(sqes[length - 1])) {
        length++;
    }
    return length;
}

static int check(uint32_t entries, const struct io_uring_sqe *const *sqes, size_t count)
{
    size_t length;

    if (is_linked(sqes[count - 1])) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i += length) {
        length = chain_length(sqes + i, count - i);
        if (length > entries) {
            return -E2BIG;
        }
        for (size_t j = i; j < i + length; j++) {
            if ((sqes[j]->flags & (IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_DRAIN)) != 0) {
                return -EINVAL;
            }
        }
    }
    return 0;
}

/* Queue them chain by chain. */
static void queue(struct uring *uring, struct tocsin_uring_op *const *ops,
                  const struct io_uring_sqe *const *sqes, size_t count)
{
    size_t length;
    bool has_room;

    for (size_t i = 0; i < count; i += length) {
        length = chain_length(sqes + i, count - i);
        has_room = tocsin__uring_reserve(uring, length);
        for (size_t j = i; j < i + length; j++) {
            tocsin__uring_put(uring, ops[j], sqes[j], has_room);
        }
    }
}

static int submit_here(struct uring *uring, struct tocsin_uring_op *const *ops,
                       const struct io_uring_sqe *const *sqes, size_t count)
{
    size_t started = 0;
    int r = uring->ending ? -ESHUTDOWN : 0;

    for (; r == 0 && started < count; started++) {
        bool follows = started > 0 && is_linked(sqes[started - 1]);

        r = start(uring->pool, ops[started], follows ? (uint32_t)URING_OP_CHAINED : 0);
        if (r < 0) {
            break;
        }
        r = tocsin__uring_slot_take(uring, ops[started]);
        if (r < 0) {
            unstart(ops[started]);
            break;
        }
    }
    if (r < 0) {
        while (started-- > 0) {
            tocsin__uring_slot_free(uring, ops[started]);
            unstart(ops[started]);
        }
        return r;
    }
    queue(uring, ops, sqes, count);
    return 0;
}

/* One item for all: nothing comes between the members of a chain. */
static int submit_remotely(struct tocsin_pool *pool, struct remote *remote,
                           struct tocsin_uring_op *const *ops,
                           const struct io_uring_sqe *const *sqes, size_t count)
{
    size_t started = 0;
    int r = 0;

    for (; started < count; started++) {
        bool follows = started > 0 && is_linked(sqes[started - 1]);

        r = start(pool, ops[started], OP_REMOTE | (follows ? (uint32_t)URING_OP_CHAINED : 0));
        if (r < 0) {
            break;
        }
        memcpy(ops[started]->sqe_, sqes[started], sizeof(ops[started]->sqe_));
        ops[started]->chain_ = NULL;
        if (started > 0) {
            ops[started - 1]->chain_ = ops[started];
        }
    }
    r = r < 0 ? r : tocsin__remote_push(remote, &ops[0]->item_);
    if (r < 0) {
        while (started-- > 0) {
            unstart(ops[started]);
        }
        return r;
    }
    if (r > 0) {
        tocsin__pool_wake(pool);
    }
    return 0;
}

int tocsin_uring_submit_all(struct tocsin_driver *driver, struct tocsin_uring_op *const *ops,
                            const struct io_uring_sqe *const *sqes, size_t count)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct uring_host *host;
    struct uring *uring;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    host = host_of(pool);
    if (host == NULL) {
        return -EOPNOTSUPP;
    }
    if (count == 0) {
        return 0;
    }
    uring = tocsin__uring_host_get(host, pool, &r);
    if (uring == NULL) {
        return r;
    }
    r = check(host->sq_entries, sqes, count);
    if (r < 0) {
        return r;
    }
    /* From another thread the ring itself is out of bounds: it may be closing. */
    return tocsin__is_here(pool) ? submit_here(uring, ops, sqes, count)
                                 : submit_remotely(pool, &host->remote, ops, sqes, count);
}

int tocsin_uring_submit(struct tocsin_driver *driver, struct tocsin_uring_op *op,
                        const struct io_uring_sqe *sqe)
{
    return tocsin_uring_submit_all(driver, &op, &sqe, 1);
}

/* ---- Completion ------------------------------------------------------------------------------ */

static void tell_late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    if (op->ops_->late != NULL && (flags & IORING_CQE_F_NOTIF) == 0) {
        op->ops_->late(op, result, flags);
    }
}

/* Nobody works with it any more.  Thread: whoever came last. */
static void release(struct tocsin_uring_op *op)
{
    struct tocsin_pool *pool = op->pool_;
    struct tocsin_waker waker = op->waker_;

    if ((state_of(op) & OP_DONE) != 0) {
        tell_late(op, op->result_, op->flags_);
    }
    op->waker_ = (struct tocsin_waker){0};
    tocsin_waker_drop(&waker);
    op->pool_ = NULL;
    if (op->ops_->release != NULL) {
        op->ops_->release(op);
    }
    tocsin__pool_unref(pool);
}

/* The pool's thread is through with @op, dropped: @old is the state before it took its bit away. */
static void give_back(struct tocsin_uring_op *op, uint32_t old)
{
    if ((old & OP_CONTROL) == 0 || (old & OP_ORPHAN) != 0) {
        release(op);
    }
}

static void call_last(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    uint32_t old = change(op, OP_FLIGHT, OP_CALLING);

    if ((old & OP_DROPPED) != 0) {
        tell_late(op, result, flags);
    } else {
        op->ops_->complete(op, result, flags);
    }
    old = change(op, OP_CALLING, 0);
    if ((old & OP_DROPPED) != 0 && (old & OP_FLIGHT) == 0) {
        give_back(op, old);
    }
}

/* The polling face. */
static void store(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct tocsin_waker waker;
    uint32_t old = state_of(op);

    if ((flags & IORING_CQE_F_NOTIF) == 0 && (old & OP_STORED) == 0) {
        op->result_ = result;
        op->flags_ = flags;
        change(op, 0, OP_STORED);
    } else {
        tell_late(op, result, flags); /* nobody will be told */
    }
    if ((flags & IORING_CQE_F_MORE) != 0) {
        return;
    }
    waker = op->waker_;
    op->waker_ = (struct tocsin_waker){0};
    old = change(op, OP_FLIGHT, OP_DONE);
    if ((old & OP_DROPPED) == 0) {
        tocsin_waker_wake(&waker); /* @op may be gone by now */
        return;
    }
    tocsin_waker_drop(&waker);
    give_back(op, old); /* tells late, for the result is there */
}

static void finish(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    bool is_last = (flags & IORING_CQE_F_MORE) == 0;

    if ((state_of(op) & OP_DROPPED) != 0) {
        bool was_stored = (state_of(op) & OP_STORED) != 0;

        if (was_stored) {
            tell_late(op, op->result_, op->flags_); /* came before the drop */
            change(op, OP_STORED, 0);
        }
        tell_late(op, result, flags);
        if (is_last) {
            give_back(op, change(op, OP_FLIGHT, 0));
        }
    } else if (op->ops_->complete == NULL) {
        store(op, result, flags);
    } else if (is_last) {
        call_last(op, result, flags);
    } else {
        op->ops_->complete(op, result, flags);
    }
}

void tocsin__uring_op_completed(struct uring *uring, struct tocsin_uring_op *op,
                                const struct uring_completion *completion)
{
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        tocsin__uring_slot_free(uring, op);
    }
    finish(op, completion->result, completion->flags);
}

/*
 * ---- What other threads sent ------------------------------------------------------------------
 */

/* How many from @first on are one chain. */
static size_t chain_of(const struct tocsin_uring_op *first)
{
    size_t length = 1;

    while (first->chain_ != NULL && is_linked((const void *)first->sqe_)) {
        first = first->chain_;
        length++;
    }
    return length;
}

static int take_slots(struct uring *uring, struct tocsin_uring_op *first, size_t count)
{
    struct tocsin_uring_op *op = first;
    int r = uring->ending ? -ECANCELED : 0;

    for (size_t i = 0; i < count; i++, op = op->chain_) {
        r = r < 0 ? r : tocsin__uring_slot_take(uring, op);
        if (r < 0) {
            for (op = first; i > 0; i--, op = op->chain_) {
                tocsin__uring_slot_free(uring, op);
            }
            return r;
        }
    }
    return 0;
}

/*
 * A chain has arrived and has its slots.  What was asked of its members meanwhile, and has no
 * message to come, takes place after all are in: nothing may come between them.
 */
static void start_arrived(struct uring *uring, struct tocsin_uring_op *first, size_t count)
{
    bool has_room = tocsin__uring_reserve(uring, count);
    struct tocsin_uring_op *op = first;
    uint32_t old;

    for (size_t i = 0; i < count; i++, op = op->chain_) {
        tocsin__uring_put(uring, op, (const void *)op->sqe_, has_room);
    }
    op = first;
    for (size_t i = 0; i < count; i++, op = op->chain_) {
        old = change(op, OP_REMOTE, 0);
        if ((old & (OP_DROPPED | OP_WANT_CANCEL)) != 0 && (old & OP_CONTROL) == 0) {
            tocsin__uring_cancel(uring, op);
        }
    }
}

/* The ops of one call, chain by chain.  What cannot start by now completes with the reason. */
static void submission_arrived(struct uring *uring, struct tocsin_uring_op *op)
{
    while (op != NULL) {
        size_t count = chain_of(op);
        int r = take_slots(uring, op, count);

        if (r == 0) {
            start_arrived(uring, op, count);
        }
        for (; count > 0; count--) {
            struct tocsin_uring_op *next = op->chain_; /* before @op may be gone */

            if (r < 0) {
                change(op, OP_REMOTE, 0);
                finish(op, r, 0);
            }
            op = next;
        }
    }
}

static void control_arrived(struct uring *uring, struct tocsin_uring_op *op)
{
    uint32_t old = change(op, OP_CONTROL, 0);

    if ((old & OP_REMOTE) != 0) {
        return; /* submitted anew, and still on its way: it will see for itself */
    }
    if ((old & OP_FLIGHT) != 0) {
        if ((old & (OP_DROPPED | OP_WANT_CANCEL)) != 0) {
            tocsin__uring_cancel(uring, op);
        }
    } else if ((old & (OP_DROPPED | OP_CALLING)) == OP_DROPPED) {
        release(op);
    }
}

void tocsin__uring_op_arrived(struct uring *uring, struct tocsin_item_ *item)
{
    if (item->kind_ == ITEM_SUBMIT) {
        submission_arrived(uring, TOCSIN__CONTAINER(item, struct tocsin_uring_op, item_));
    } else {
        control_arrived(uring, TOCSIN__CONTAINER(item, struct tocsin_uring_op, control_));
    }
}

/* ---- The owner's side ------------------------------------------------------------------------ */

int tocsin_uring_poll(struct tocsin_uring_op *op, struct tocsin_context *cx, int32_t *out_result,
                      uint32_t *out_flags)
{
    struct tocsin_waker stale = op->waker_;
    uint32_t state;

    if (op->pool_ == NULL) {
        return -EINVAL;
    }
    if (tocsin__is_forked(op->pool_)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(op->pool_);
    state = state_of(op);
    if ((state & OP_DONE) != 0) {
        if (out_result != NULL) {
            *out_result = op->result_;
        }
        if (out_flags != NULL) {
            *out_flags = op->flags_;
        }
        change(op, OP_DONE, 0);
        return 0;
    }
    if ((state & OP_FLIGHT) == 0) {
        return -EINVAL;
    }
    if (!tocsin_waker_will_wake(&stale, &cx->waker)) {
        op->waker_ = tocsin_waker_clone(&cx->waker);
        tocsin_waker_drop(&stale);
    }
    return TOCSIN_PENDING;
}

static int cancel_here(struct uring *uring, struct tocsin_uring_op *op)
{
    uint32_t old;

    if ((state_of(op) & OP_FLIGHT) == 0) {
        return -EALREADY;
    }
    old = change(op, 0, OP_WANT_CANCEL);
    if ((old & (OP_WANT_CANCEL | OP_REMOTE | OP_CONTROL)) == 0) {
        tocsin__uring_cancel(uring, op); /* else what is still to arrive does it */
    }
    return 0;
}

/* Push the control message.  Returns: false: the queue has closed. */
static bool send_control(struct tocsin_pool *pool, struct tocsin_uring_op *op)
{
    int r = tocsin__remote_push(&host_of(pool)->remote, &op->control_);

    if (r > 0) {
        tocsin__pool_wake(pool);
    }
    return r >= 0;
}

int tocsin_uring_cancel(struct tocsin_uring_op *op)
{
    struct tocsin_pool *pool = op->pool_;
    uint32_t old;
    int r = 0;

    if (pool == NULL) {
        return -EALREADY;
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (tocsin__is_here(pool)) {
        return cancel_here(tocsin__uring_host_peek(host_of(pool)), op);
    }
    if ((state_of(op) & OP_FLIGHT) == 0) {
        return -EALREADY;
    }
    tocsin__pool_ref(pool); /* from the push on, @op and its reference may go */
    old = change(op, 0, OP_WANT_CANCEL | OP_CONTROL);
    if ((old & OP_CONTROL) == 0 && !send_control(pool, op)) {
        r = -EALREADY; /* the pool has closed: it has completed */
        old = change(op, OP_CONTROL, 0);
        if ((old & (OP_DROPPED | OP_FLIGHT | OP_CALLING)) == OP_DROPPED) {
            release(op); /* its drop has relied on the message */
        }
    }
    tocsin__pool_unref(pool);
    return r;
}

static void drop_here(struct uring *uring, struct tocsin_uring_op *op)
{
    struct tocsin_waker waker = op->waker_;
    uint32_t old;

    op->waker_ = (struct tocsin_waker){0};
    old = change(op, 0, OP_DROPPED | OP_WANT_CANCEL);
    if ((old & (OP_REMOTE | OP_CONTROL)) != 0) {
        tocsin__uring_arrive(uring, tocsin__remote_take(uring->remote)); /* and those do the rest */
    } else if ((old & OP_FLIGHT) != 0) {
        if ((old & OP_WANT_CANCEL) == 0) {
            tocsin__uring_cancel(uring, op);
        }
    } else if ((old & OP_CALLING) == 0) { /* else it is released when its hook has returned */
        release(op);
    }
    tocsin_waker_drop(&waker);
}

static void drop_elsewhere(struct tocsin_pool *pool, struct tocsin_uring_op *op)
{
    uint32_t old = change(op, 0, OP_DROPPED | OP_CONTROL);

    if ((old & OP_CONTROL) != 0) {
        return; /* the message that is on its way says it all */
    }
    if ((old & (OP_FLIGHT | OP_CALLING)) == 0) {
        release(op);
        return;
    }
    if (send_control(pool, op)) {
        return;
    }
    old = change(op, 0, OP_ORPHAN);
    if ((old & (OP_FLIGHT | OP_CALLING)) == 0) {
        release(op);
    }
}

void tocsin_uring_drop(struct tocsin_uring_op *op)
{
    struct tocsin_pool *pool = op->pool_;

    if (pool == NULL) {
        if (op->ops_ != NULL && op->ops_->release != NULL) {
            op->ops_->release(op);
        }
        return;
    }
    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin__pool_ref(pool);
    if (tocsin__is_here(pool)) {
        drop_here(tocsin__uring_host_peek(host_of(pool)), op);
    } else {
        drop_elsewhere(pool, op);
    }
    tocsin__pool_unref(pool);
}

int tocsin_uring_probe(struct tocsin_driver *driver, unsigned opcode)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct uring_host *host;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    host = host_of(pool);
    if (host == NULL) {
        return -EOPNOTSUPP;
    }
    if (tocsin__uring_host_get(host, pool, &r) == NULL) {
        return r;
    }
    return opcode < RING_OPCODES && (host->opcodes[opcode / 8] >> opcode % 8 & 1) != 0;
}

const char *tocsin_uring_reason(struct tocsin_driver *driver)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct uring_host *host = host_of(pool);
    const char *reason;

    if (host == NULL) {
        return "this backend takes no submissions";
    }
    tocsin__mutex_lock(&pool->registrations.lock);
    reason = host->error != 0 ? host->reason : NULL;
    tocsin__mutex_unlock(&pool->registrations.lock);
    return reason;
}
