/*
 * Tasks: spawn, wake, run, cancel, end.
 *
 * A task's shared word (TASK-1) holds flags and, above them, the count of references:
 *
 *   INBOX      it is in the inbox, or about to be: whoever set the bit pushes it
 *   CANCEL     no further poll starts
 *   ENDED      its result stands; CANCELLED too if that is -ECANCELED by cancel or close
 *   JOINED     somebody listed a join: the end looks at the list
 *   HOLDS      it holds the pool's memory, because it ended while others still name it
 *
 * The pool holds one reference from the spawn to the end, and to the drain where the end found
 * INBOX (if the inbox has closed, to the pusher that finds it so).  A task that ends while it is in
 * the run queue gets one more, for the queue.  What only the pool's thread knows (QUEUED, RUNNING,
 * OVER, NEW) is in a plain word, so that a wake on the pool's own thread touches nothing shared.
 *
 * Invariants
 *   K1  Of all setters of INBOX between two drains of the task, exactly one pushes it.
 *   K2  drop is called once, by the pool's thread; release once, by whoever gives back the last
 *       reference, after drop has returned.
 *   K3  After ENDED nobody touches the pool through the task, unless it HOLDS it.
 *
 * Model: docs/models/task.pml.
 */
#include <errno.h>

#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/row.h"
#include "runtime/task.h"

/* The plain word, local_. */
enum {
    LOCAL_QUEUED = 1 << 0,  /* in the run queue */
    LOCAL_RUNNING = 1 << 1, /* in its poll */
    LOCAL_OVER = 1 << 2,    /* ended: a wake does nothing */
    LOCAL_NEW = 1 << 3,     /* spawned by another thread, not received yet */
};

static struct tocsin__row *row_of(const struct tocsin_task *task)
{
    return task->slot_;
}

/* Queue a task that is not queued.  Thread: the pool's. */
static void enqueue(struct tocsin_pool *pool, struct tocsin_task *task)
{
    task->local_ |= LOCAL_QUEUED;
    if ((task->local_ & LOCAL_RUNNING) == 0) {
        tocsin__row_set_state(row_of(task), TOCSIN_TASK_READY);
    }
    tocsin__queue_push(&pool->queue, &task->run_);
}

void tocsin_task_ref(struct tocsin_task *task)
{
    /* TASK-1 relaxed: the caller's own reference keeps the task. */
    atomic_fetch_add_explicit(&task->state_, TASK_REF, memory_order_relaxed);
}

void tocsin_task_unref(struct tocsin_task *task)
{
    struct tocsin_pool *pool;
    const struct tocsin_task_ops *ops;
    uint64_t old;

    if (task == NULL) {
        return;
    }
    pool = tocsin__pool_of(task->driver_);
    ops = task->ops_;
    /* TASK-1 acq_rel: every holder's last use comes before the release. */
    old = atomic_fetch_sub_explicit(&task->state_, TASK_REF, memory_order_acq_rel);
    TOCSIN_ASSERT(old >= TASK_REF, "a task was given back more often than taken");
    if (old / TASK_REF != 1) {
        return;
    }
    if (ops->release != NULL) {
        ops->release(task);
    }
    if ((old & TASK_HOLDS) != 0) {
        tocsin__pool_unref(pool);
    }
}

/* W1: on the pool's own thread, in a turn, only plain words are touched. */
static void wake_here(struct tocsin_pool *pool, struct tocsin_task *task)
{
    /* NEW: it is in the inbox, and its arrival queues it. */
    if ((task->local_ & (LOCAL_QUEUED | LOCAL_OVER | LOCAL_NEW)) == 0) {
        enqueue(pool, task);
    }
}

/* The inbox has let @task go: if the end left the pool's reference to that, give it back. */
static bool leave_inbox(struct tocsin_task *task)
{
    /* TASK-1 acq_rel: pairs with send_to_inbox(), whose next caller pushes again (K1). */
    uint64_t old = atomic_fetch_and_explicit(&task->state_, ~TASK_INBOX, memory_order_acq_rel);

    if ((old & TASK_ENDED) != 0) {
        tocsin_task_unref(task);
        return false;
    }
    return true;
}

/* Set @flags and INBOX; push if INBOX was clear.  Returns the old word. */
static uint64_t send_to_inbox(struct tocsin_pool *pool, struct tocsin_task *task, uint64_t flags)
{
    /* TASK-1 acq_rel: what the waker published is seen after the drain clears INBOX (W2). */
    uint64_t old =
        atomic_fetch_or_explicit(&task->state_, TASK_INBOX | flags, memory_order_acq_rel);

    if ((old & (TASK_INBOX | TASK_ENDED)) != 0) {
        return old;
    }
    if (tocsin__inbox_push(&pool->inbox, &task->inbox_)) {
        tocsin__pool_wake(pool);
    } else {
        /* The pool has closed: no drain will come, so this takes its part. */
        leave_inbox(task);
    }
    return old;
}

static void task_waker_clone(void *data)
{
    tocsin_task_ref(data);
}

static void task_waker_wake_by_ref(void *data)
{
    struct tocsin_task *task = data;
    struct tocsin_pool *pool = tocsin__pool_of(task->driver_);

    if (tocsin__is_here(pool)) {
        wake_here(pool, task);
    } else {
        send_to_inbox(pool, task, 0);
    }
}

static void task_waker_drop(void *data)
{
    tocsin_task_unref(data);
}

static void task_waker_wake(void *data)
{
    task_waker_wake_by_ref(data);
    tocsin_task_unref(data);
}

static const struct tocsin_waker_ops task_waker_ops = {
    .clone = task_waker_clone,
    .wake = task_waker_wake,
    .wake_by_ref = task_waker_wake_by_ref,
    .drop = task_waker_drop,
};

struct tocsin_waker tocsin_task_waker(struct tocsin_task *task)
{
    tocsin_task_ref(task);
    return (struct tocsin_waker){.ops = &task_waker_ops, .data = task};
}

/* Every field: a memset is a loop of many instructions here. */
static void init(struct tocsin_task *task, struct tocsin_pool *pool,
                 const struct tocsin_task_ops *ops, struct tocsin__row *row, uint32_t local,
                 uint64_t state)
{
    task->run_.next_ = NULL;
    task->run_.kind_ = TOCSIN__ITEM_TASK;
    task->inbox_.next_ = NULL;
    task->inbox_.kind_ = TOCSIN__ITEM_TASK;
    task->ops_ = ops;
    task->driver_ = &pool->driver;
    atomic_init(&task->state_, state);
    task->joins_ = NULL;
    task->slot_ = row;
    task->result_ = 0;
    task->local_ = local;
    task->room_[0] = NULL;
}

/* From another thread, or outside of a turn: the inbox brings it. */
static int spawn_elsewhere(struct tocsin_pool *pool, struct tocsin_task *task,
                           const struct tocsin_task_ops *ops, const char *name, const char *place,
                           uint64_t references)
{
    struct tocsin__row *row = tocsin__row_take(pool, true);

    if (row == NULL) {
        return -ENOMEM;
    }
    tocsin__row_fill(row, name, place);
    init(task, pool, ops, row, LOCAL_NEW, references * TASK_REF | TASK_INBOX);
    if (!tocsin__inbox_push(&pool->inbox, &task->inbox_)) {
        tocsin__row_untake(pool, row);
        return -ESHUTDOWN;
    }
    tocsin__pool_wake(pool);
    return 0;
}

static inline int spawn(struct tocsin_driver *driver, struct tocsin_task *task,
                        const struct tocsin_task_ops *ops, const char *name, const char *place,
                        uint64_t references)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin__row *row;

    if (ops == NULL || ops->poll == NULL) {
        return -EINVAL;
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (tocsin__inbox_is_closed(&pool->inbox)) {
        return -ESHUTDOWN;
    }
    if (!tocsin__is_here(pool)) {
        return spawn_elsewhere(pool, task, ops, name, place, references);
    }
    row = tocsin__row_take(pool, false);
    if (row == NULL) {
        return -ENOMEM;
    }
    tocsin__row_fill(row, name, place);
    tocsin__row_show(pool, row, task);
    init(task, pool, ops, row, LOCAL_QUEUED, references * TASK_REF);
    pool->alive++;
    tocsin__queue_push(&pool->queue, &task->run_);
    return 0;
}

int tocsin_task_spawn_at(struct tocsin_driver *driver, struct tocsin_task *task,
                         const struct tocsin_task_ops *ops, const char *name, const char *place)
{
    return spawn(driver, task, ops, name, place, 1);
}

int tocsin_task_spawn_ref_at(struct tocsin_driver *driver, struct tocsin_task *task,
                             const struct tocsin_task_ops *ops, const char *name, const char *place)
{
    return spawn(driver, task, ops, name, place, 2);
}

void tocsin__task_arrived(struct tocsin_pool *pool, struct tocsin_task *task)
{
    if ((task->local_ & LOCAL_NEW) != 0) {
        task->local_ &= ~(uint32_t)LOCAL_NEW;
        tocsin__row_show(pool, row_of(task), task);
        pool->alive++;
    }
    if (leave_inbox(task)) {
        wake_here(pool, task);
    }
}

/*
 * End @task: drop, publish the result, wake the joins, give the pool's reference back.
 *
 * Thread: the pool's.  The task may be gone when this returns.
 */
static void end_task(struct tocsin_pool *pool, struct tocsin_task *task, int result, uint64_t flags)
{
    struct tocsin__row *row = row_of(task);
    uint64_t old;

    task->local_ |= LOCAL_OVER;
    if (task->ops_->drop != NULL) {
        task->ops_->drop(task);
    }
    task->result_ = result;
    pool->alive--;
    /* TASK-1 acquire: pairs with the unref of whoever held it last. */
    old = atomic_load_explicit(&task->state_, memory_order_acquire);
    if ((old & ~TASK_CANCEL) == TASK_REF && (task->local_ & LOCAL_QUEUED) == 0) {
        /* The pool's is the only reference, so nobody can race with this, or ever ask for it. */
        tocsin__row_free(pool, row);
        /* TASK-1 relaxed: no locked instruction for what nobody else can see. */
        atomic_store_explicit(&task->state_, 0, memory_order_relaxed);
        if (task->ops_->release != NULL) {
            task->ops_->release(task);
        }
        return;
    }
    tocsin__pool_ref(pool); /* K3 */
    tocsin_task_ref(task);  /* for this call: from ENDED on others may give the pool's back */
    if ((task->local_ & LOCAL_QUEUED) != 0) {
        tocsin_task_ref(task); /* the run queue's, which gives it back when it comes to the task */
    }
    /* TASK-1 acq_rel: publishes the result; pairs with join, cancel and send_to_inbox(). */
    old = atomic_fetch_or_explicit(&task->state_, TASK_ENDED | TASK_HOLDS | flags,
                                   memory_order_acq_rel);
    tocsin__row_free(pool, row); /* only now: who asks for the state finds ENDED or its own row */
    if ((old & TASK_JOINED) != 0) {
        tocsin__joins_wake(pool, task);
    }
    if ((old & TASK_INBOX) == 0) {
        tocsin_task_unref(task);
    }
    tocsin_task_unref(task);
}

void tocsin__task_run(struct tocsin_pool *pool, struct tocsin_task *task)
{
    struct tocsin_context cx = {
        .waker = {.ops = &task_waker_ops, .data = task},
        .driver = &pool->driver,
    };
    uint32_t local = task->local_ & ~(uint32_t)LOCAL_QUEUED;
    uint64_t state;
    int result;

    if ((local & LOCAL_OVER) != 0) {
        task->local_ = local;
        tocsin_task_unref(task); /* it ended while it was queued */
        return;
    }
    /* TASK-1 acquire: a cancel that has returned is seen; one that has not may be missed. */
    state = atomic_load_explicit(&task->state_, memory_order_acquire);
    if ((state & TASK_CANCEL) != 0) {
        task->local_ = local;
        end_task(pool, task, -ECANCELED, TASK_CANCELLED);
        return;
    }
    task->local_ = local | LOCAL_RUNNING;
    tocsin__row_set_state(row_of(task), TOCSIN_TASK_RUNNING);
    pool->current = task;
    result = task->ops_->poll(task, &cx);
    pool->current = NULL;
    task->local_ &= ~(uint32_t)LOCAL_RUNNING;
    if (tocsin__is_forked(pool)) {
        return; /* the poll forked, and this is the child: the task is the parent's to end */
    }
    if (result != TOCSIN_PENDING) {
        end_task(pool, task, result, 0);
        return;
    }
    tocsin__row_set_state(row_of(task), (task->local_ & LOCAL_QUEUED) != 0 ? TOCSIN_TASK_READY
                                                                           : TOCSIN_TASK_WAITING);
}

void tocsin__task_end(struct tocsin_pool *pool, struct tocsin_task *task)
{
    end_task(pool, task, -ECANCELED, TASK_CANCELLED);
}

int tocsin_task_cancel(struct tocsin_task *task)
{
    struct tocsin_pool *pool = tocsin__pool_of(task->driver_);
    uint64_t old;

    if ((tocsin__task_flags(task) & TASK_ENDED) != 0) {
        return -EALREADY; /* it may have outlived its pool, which must not be looked at then: K3 */
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (tocsin__is_here(pool) && (task->local_ & LOCAL_NEW) == 0) {
        /* TASK-1 acq_rel: pairs with the load in tocsin__task_run(). */
        old = atomic_fetch_or_explicit(&task->state_, TASK_CANCEL, memory_order_acq_rel);
        if ((old & TASK_ENDED) == 0) {
            wake_here(pool, task);
        }
    } else {
        old = send_to_inbox(pool, task, TASK_CANCEL);
    }
    return (old & TASK_ENDED) != 0 ? -EALREADY : 0;
}

enum tocsin_task_state tocsin_task_state(const struct tocsin_task *task)
{
    uint64_t flags = tocsin__task_flags(task);
    enum tocsin_task_state state = TOCSIN_TASK_READY;

    if ((flags & TASK_ENDED) == 0) {
        /*
         * ROW-2 acquire: a glance; the row stays mapped (K3), and is this task's unless it ended.
         */
        state = (enum tocsin_task_state)atomic_load_explicit(&row_of(task)->state,
                                                             memory_order_acquire);
        flags = tocsin__task_flags(task);
    }
    if ((flags & TASK_ENDED) != 0) {
        state = (flags & TASK_CANCELLED) != 0 ? TOCSIN_TASK_CANCELLED : TOCSIN_TASK_ENDED;
    }
    return state;
}

struct tocsin_task *tocsin_task_current(void)
{
    return tocsin__running == NULL ? NULL : tocsin__running->current;
}

int tocsin_task_yield(struct tocsin_context *cx)
{
    tocsin_waker_wake_by_ref(&cx->waker);
    return TOCSIN_PENDING;
}
