/*
 * Typed operations: on the ring where there is one, else as a task that tries and waits.
 *
 * The agent is a task embedded in the operation.  Its poll tries without blocking, waits for
 * readiness (of a dup(2) of the descriptor: the caller may have registered it, too) or for a timer,
 * and leaves the result; its drop, which comes however it ended, lets go of what it holds and says
 * DONE.  So a cancel, the pool's end and threads are what they are for tasks.
 *
 * state_ (IO-1): RING: the op has it, until its result is taken.  HELD: the owner's reference to
 * the agent, from the start until the result is taken, or the drop.  AGENT: the task's memory is in
 * use, from the start to the task's release.  DONE: result_ is there and was not taken.
 *
 * Invariants
 *   P1  An operation is started only when state_ is 0.
 *   P2  After a drop, release is called by whoever takes AGENT and HELD away last: one
 *       read-modify-write each says who that is.
 */
#include "backends/ring/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    IO_RING = 1 << 0,
    IO_HELD = 1 << 1,
    IO_AGENT = 1 << 2,
    IO_DONE = 1 << 3,
    IO_DROPPED = 1 << 4,
};

/* What an operation without a ring waits for. */
static const uint32_t wait_events[URING_IO_KINDS] = {
    [URING_IO_READ] = TOCSIN_IN,         [URING_IO_RECV] = TOCSIN_IN,
    [URING_IO_ACCEPT] = TOCSIN_IN,       [URING_IO_WRITE] = TOCSIN_OUT,
    [URING_IO_SEND] = TOCSIN_OUT,        [URING_IO_CONNECT] = TOCSIN_OUT,
    [URING_IO_POLL] = TOCSIN_EVENTS_ALL,
};

static uint32_t state_of(const struct tocsin_uring_io *io)
{
    /* IO-1 acquire: what the other side did before it changed the state is seen. */
    return atomic_load_explicit(&io->state_, memory_order_acquire);
}

/* Clear @off, then set @on.  Returns: the state before. */
static uint32_t change(struct tocsin_uring_io *io, uint32_t off, uint32_t on)
{
    /* IO-1 relaxed: the swap below says whether it was right. */
    uint32_t old = atomic_load_explicit(&io->state_, memory_order_relaxed);

    /* IO-1 acq_rel: each side sees what the other did before its change. */
    while (!atomic_compare_exchange_weak_explicit(&io->state_, &old, (old & ~off) | on,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    return old;
}

static struct tocsin_pool *pool_of(const struct tocsin_uring_io *io)
{
    return tocsin__pool_of(io->driver_);
}

/* ---- On the ring ---------------------------------------------------------------------------- */

static struct tocsin_uring_io *io_of_op(struct tocsin_uring_op *op)
{
    return TOCSIN__CONTAINER(op, struct tocsin_uring_io, op_);
}

/* What the kernel answers, in our words. */
static int32_t translated(const struct tocsin_uring_io *io, int32_t result)
{
    if (io->kind_ == URING_IO_TIMEOUT && result == -ETIME) {
        return 0;
    }
    if (io->kind_ == URING_IO_POLL && result > 0) {
        return (int32_t)tocsin__uring_io_from_poll((uint32_t)result);
    }
    return result;
}

static void op_late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct tocsin_uring_io *io = io_of_op(op);

    (void)flags;
    if (io->ops_->late != NULL) {
        io->ops_->late(io, translated(io, result));
    }
}

static void op_release(struct tocsin_uring_op *op)
{
    struct tocsin_uring_io *io = io_of_op(op);

    if (io->ops_->release != NULL) {
        io->ops_->release(io);
    }
}

static const struct tocsin_uring_op_ops op_ops = {
    .late = op_late,
    .release = op_release,
};

static int take_from_ring(struct tocsin_uring_io *io, struct tocsin_context *cx,
                          int32_t *out_result)
{
    int32_t result;
    int r = tocsin_uring_poll(&io->op_, cx, &result, NULL);

    if (r == 0) {
        if (out_result != NULL) {
            *out_result = translated(io, result);
        }
        change(io, IO_RING, 0);
    }
    return r;
}

/* ---- The agent ------------------------------------------------------------------------------ */

static struct tocsin_uring_io *io_of_task(struct tocsin_task *task)
{
    return TOCSIN__CONTAINER(task, struct tocsin_uring_io, task_);
}

static int poll_timer(struct tocsin_uring_io *io, struct tocsin_context *cx)
{
    uint64_t deadline_ns = (uint64_t)io->offset_;
    int r;

    if ((io->local_ & URING_IO_TIMED) == 0) {
        r = tocsin_timer_init(&io->timer_, cx->driver, NULL, NULL);
        if (r < 0) {
            return r;
        }
        io->local_ |= URING_IO_TIMED;
    }
    return tocsin_timer_poll(&io->timer_, cx, deadline_ns != 0 ? deadline_ns : 1);
}

static int poll_ready(struct tocsin_uring_io *io, struct tocsin_context *cx)
{
    uint32_t events = io->kind_ == URING_IO_POLL ? io->flags_ : wait_events[io->kind_];
    int r;

    for (;;) {
        if ((io->local_ & URING_IO_WAITING) == 0) {
            r = tocsin__uring_io_try(io);
            if (r != TOCSIN_PENDING) {
                return r;
            }
            if (io->ready_ == NULL) {
                return TOCSIN_PENDING; /* it is never ready: only a cancel ends it */
            }
            tocsin_fd_ready_clear(io->ready_, TOCSIN_SLOT_READ);
            io->local_ |= URING_IO_WAITING;
        }
        r = tocsin_fd_ready_poll(io->ready_, TOCSIN_SLOT_READ, events, cx);
        if (r < 0) {
            return r;
        }
        io->local_ &= ~(uint32_t)URING_IO_WAITING;
    }
}

static int agent_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct tocsin_uring_io *io = io_of_task(task);

    if (io->result_ == TOCSIN_PENDING) {
        io->result_ = io->kind_ == URING_IO_TIMEOUT ? poll_timer(io, cx) : poll_ready(io, cx);
    }
    return io->result_ == TOCSIN_PENDING ? TOCSIN_PENDING : 0;
}

/* Stop waiting, so that nothing but the owner and the pool refer to the agent. */
static void let_go(struct tocsin_uring_io *io)
{
    if ((io->local_ & URING_IO_TIMED) != 0) {
        tocsin_timer_deinit(&io->timer_);
    }
    tocsin_fd_ready_close(io->ready_);
    io->ready_ = NULL;
    if (io->own_fd_ >= 0) {
        close(io->own_fd_);
        io->own_fd_ = -1;
    }
}

static void agent_drop(struct tocsin_task *task)
{
    struct tocsin_uring_io *io = io_of_task(task);
    struct tocsin_waker waker;

    let_go(io);
    if (io->result_ == TOCSIN_PENDING) {
        io->result_ = -ECANCELED;
    }
    waker = io->waker_;
    io->waker_ = (struct tocsin_waker){0};
    if ((change(io, 0, IO_DONE) & IO_DROPPED) == 0) {
        tocsin_waker_wake(&waker);
    } else {
        tocsin_waker_drop(&waker);
    }
}

/* Dropped, and no agent is left.  Thread: whoever came last (P2). */
static void finish_drop(struct tocsin_uring_io *io)
{
    if ((state_of(io) & IO_DONE) != 0 && io->ops_->late != NULL) {
        io->ops_->late(io, io->result_);
    }
    tocsin_uring_drop(&io->op_); /* whose release is ours */
}

static void agent_release(struct tocsin_task *task)
{
    struct tocsin_uring_io *io = io_of_task(task);

    if ((change(io, IO_AGENT, 0) & IO_DROPPED) != 0) {
        finish_drop(io);
    }
}

static const struct tocsin_task_ops agent_ops = {
    .poll = agent_poll,
    .drop = agent_drop,
    .release = agent_release,
};

/* ---- Starting ------------------------------------------------------------------------------- */

static bool needs_ring(const struct tocsin_uring_io *io)
{
    switch ((enum uring_io_kind)io->kind_) {
    case URING_IO_FSYNC:
    case URING_IO_OPENAT:
    case URING_IO_STATX:
        return true;
    case URING_IO_SEND:
    case URING_IO_RECV:
        return (io->flags_ & MSG_WAITALL) != 0;
    case URING_IO_READ:
    case URING_IO_WRITE:
    case URING_IO_ACCEPT:
    case URING_IO_CONNECT:
    case URING_IO_CLOSE:
    case URING_IO_TIMEOUT:
    case URING_IO_POLL:
    case URING_IO_KINDS:
        break;
    }
    return false;
}

/*
 * A descriptor of its own, and readiness for it.  -EBADF is the operation's result, not a failure.
 */
static int watch(struct tocsin_driver *driver, struct tocsin_uring_io *io)
{
    int r = tocsin__uring_io_inspect(io);

    if (r == 0) {
        io->own_fd_ = fcntl(io->fd_, F_DUPFD_CLOEXEC, 0);
        r = io->own_fd_ < 0 ? -errno : 0;
    }
    if (r == -EBADF) {
        io->result_ = r;
        return 0;
    }
    if (r < 0) {
        return r;
    }
    r = tocsin_fd_ready_open(driver, io->own_fd_, &io->ready_);
    if (r == -EPERM) {
        /* It cannot be polled.  Reads and writes might block; the others say at once what is. */
        r = io->kind_ == URING_IO_READ || io->kind_ == URING_IO_WRITE ? -EOPNOTSUPP : 0;
    }
    return r;
}

static int start_agent(struct tocsin_driver *driver, struct tocsin_uring_io *io)
{
    int r = 0;

    if (needs_ring(io)) {
        return -EOPNOTSUPP;
    }
    io->local_ = 0;
    io->own_fd_ = -1;
    io->ready_ = NULL;
    io->result_ = TOCSIN_PENDING;
    io->driver_ = driver;
    if (wait_events[io->kind_] != 0) {
        r = watch(driver, io);
    }
    if (r == 0) {
        change(io, 0, IO_HELD | IO_AGENT);
        r = tocsin_task_spawn_ref(driver, &io->task_, &agent_ops, "uring_io");
    }
    if (r < 0) {
        let_go(io);
        change(io, IO_HELD | IO_AGENT, 0);
    }
    return r;
}

/* P1.  Returns: 0 or -EBUSY. */
static int check_idle(struct tocsin_uring_io *io)
{
    if (state_of(io) == IO_AGENT && tocsin__is_here(pool_of(io))) {
        /* Its result was taken, but a late cancel by another thread still names the task. */
        struct tocsin_pool *pool = pool_of(io);

        tocsin__inbox_drain(pool, tocsin__inbox_take(&pool->inbox));
    }
    return state_of(io) != 0 ? -EBUSY : 0;
}

int tocsin__uring_io_start(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                           const struct uring_io_request *request)
{
    int r = check_idle(io);

    if (r < 0) {
        return r;
    }
    io->kind_ = request->kind;
    io->fd_ = request->fd;
    io->data_ = (void *)(uintptr_t)request->data;
    io->more_ = request->more;
    io->size_ = request->size > INT_MAX ? INT_MAX : (uint32_t)request->size;
    io->offset_ = request->offset;
    io->flags_ = request->flags;
    change(io, 0, IO_RING);
    r = tocsin__uring_io_submit(driver, io);
    if (r < 0) {
        change(io, IO_RING, 0);
    }
    return r == -EOPNOTSUPP ? start_agent(driver, io) : r;
}

/* ---- The owner's side ----------------------------------------------------------------------- */

void tocsin_uring_io_init(struct tocsin_uring_io *io, const struct tocsin_uring_io_ops *ops)
{
    static const struct tocsin_uring_io_ops no_hooks = {NULL, NULL};

    memset(io, 0, sizeof(*io));
    tocsin_uring_op_init(&io->op_, &op_ops);
    io->ops_ = ops != NULL ? ops : &no_hooks;
    atomic_init(&io->state_, 0);
}

int tocsin_uring_io_poll(struct tocsin_uring_io *io, struct tocsin_context *cx, int32_t *out_result)
{
    struct tocsin_waker stale;
    uint32_t state = state_of(io);

    if ((state & IO_RING) != 0) {
        return take_from_ring(io, cx, out_result);
    }
    if ((state & IO_HELD) == 0) {
        return -EINVAL;
    }
    if (tocsin__is_forked(pool_of(io))) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool_of(io));
    if ((state & IO_DONE) != 0) {
        if (out_result != NULL) {
            *out_result = io->result_;
        }
        change(io, IO_DONE | IO_HELD, 0);
        tocsin_task_unref(&io->task_);
        return 0;
    }
    stale = io->waker_;
    if (!tocsin_waker_will_wake(&stale, &cx->waker)) {
        io->waker_ = tocsin_waker_clone(&cx->waker);
        tocsin_waker_drop(&stale);
    }
    return TOCSIN_PENDING;
}

int tocsin_uring_io_cancel(struct tocsin_uring_io *io)
{
    uint32_t state = state_of(io);

    if ((state & IO_RING) != 0) {
        return tocsin_uring_cancel(&io->op_);
    }
    if ((state & (IO_HELD | IO_DONE)) != IO_HELD) {
        return -EALREADY;
    }
    return tocsin_task_cancel(&io->task_);
}

void tocsin_uring_io_drop(struct tocsin_uring_io *io)
{
    struct tocsin_waker stale = {0};
    uint32_t old = state_of(io);

    if ((old & (IO_HELD | IO_AGENT)) != 0 && tocsin__is_forked(pool_of(io))) {
        return;
    }
    if ((old & IO_HELD) != 0 && tocsin__is_here(pool_of(io))) {
        stale = io->waker_;
        io->waker_ = (struct tocsin_waker){0};
    }
    old = change(io, IO_HELD, IO_DROPPED);
    if ((old & IO_HELD) != 0) {
        tocsin_task_cancel(&io->task_);
        tocsin_task_unref(&io->task_);
    } else if ((old & IO_AGENT) == 0) {
        finish_drop(io);
    }
    tocsin_waker_drop(&stale);
}
