/*
 * Joins: waiting for a task's end, from a task or from a thread.
 *
 * A pending join is listed at its task, under the pool's joins_lock, and TASK_JOINED tells the end
 * to look.  Listing sets that bit by the same read-modify-write that would see ENDED, so a join is
 * either listed before the end, which then wakes it, or sees the end.  Wakers are taken from the
 * list under the lock and woken after it (D4).
 */
#include <errno.h>
#include <string.h>

#include "runtime/pool.h"
#include "runtime/task.h"

void tocsin_join_init(struct tocsin_join *join, struct tocsin_task *task)
{
    memset(join, 0, sizeof(*join));
    tocsin_task_ref(task);
    join->task_ = task;
}

static void unlist_locked(struct tocsin_join *join)
{
    if (join->link_ != NULL) {
        *join->link_ = join->next_;
        if (join->next_ != NULL) {
            join->next_->link_ = join->link_;
        }
        join->link_ = NULL;
    }
}

static void list_locked(struct tocsin_join *join)
{
    struct tocsin_task *task = join->task_;

    if (join->link_ == NULL) {
        join->next_ = task->joins_;
        join->link_ = &task->joins_;
        if (join->next_ != NULL) {
            join->next_->link_ = &join->next_;
        }
        task->joins_ = join;
    }
}

static int ended_result(const struct tocsin_task *task, int *out_result)
{
    if (out_result != NULL) {
        *out_result = task->result_;
    }
    return 0;
}

int tocsin_join_poll(struct tocsin_join *join, struct tocsin_context *cx, int *out_result)
{
    struct tocsin_task *task = join->task_;
    struct tocsin_pool *pool = tocsin__pool_of(task->driver_);
    struct tocsin_waker fresh;
    struct tocsin_waker stale;
    uint64_t old;

    if ((tocsin__task_flags(task) & TASK_ENDED) != 0) {
        return ended_result(task, out_result);
    }
    if (task == tocsin_task_current()) {
        return -EDEADLK;
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    fresh = tocsin_waker_clone(&cx->waker); /* before the lock: D4 */
    tocsin__mutex_lock(&pool->joins_lock);
    stale = join->waker_;
    /* TASK-1 acq_rel: sets JOINED for the end to see, or sees the end. */
    old = atomic_fetch_or_explicit(&task->state_, TASK_JOINED, memory_order_acq_rel);
    if ((old & TASK_ENDED) != 0) {
        unlist_locked(join);
        join->waker_ = (struct tocsin_waker){0};
    } else {
        list_locked(join);
        join->waker_ = fresh;
        fresh = (struct tocsin_waker){0};
    }
    tocsin__mutex_unlock(&pool->joins_lock);
    tocsin_waker_drop(&stale);
    tocsin_waker_drop(&fresh);
    return (old & TASK_ENDED) != 0 ? ended_result(task, out_result) : TOCSIN_PENDING;
}

void tocsin_join_deinit(struct tocsin_join *join)
{
    struct tocsin_task *task = join->task_;
    struct tocsin_pool *pool;
    struct tocsin_waker stale;

    if (task == NULL) {
        return;
    }
    pool = tocsin__pool_of(task->driver_);
    /*
     * The lock is in the pool, which lives: the task has not ended, or it HOLDS it, because this
     * join had a reference when it did.
     */
    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin__mutex_lock(&pool->joins_lock);
    unlist_locked(join);
    stale = join->waker_;
    join->waker_ = (struct tocsin_waker){0};
    tocsin__mutex_unlock(&pool->joins_lock);
    tocsin_waker_drop(&stale);
    join->task_ = NULL;
    tocsin_task_unref(task);
}

void tocsin__joins_wake(struct tocsin_pool *pool, struct tocsin_task *task)
{
    struct tocsin_waker waker;
    struct tocsin_join *join;

    do {
        waker = (struct tocsin_waker){0};
        tocsin__mutex_lock(&pool->joins_lock);
        join = task->joins_;
        if (join != NULL) {
            unlist_locked(join);
            waker = join->waker_;
            join->waker_ = (struct tocsin_waker){0};
        }
        tocsin__mutex_unlock(&pool->joins_lock);
        tocsin_waker_wake(&waker);
    } while (join != NULL);
}

struct thread_join {
    struct tocsin_join join;
    int result;
};

static int poll_thread_join(struct tocsin_context *cx, void *arg)
{
    struct thread_join *thread_join = arg;

    return tocsin_join_poll(&thread_join->join, cx, &thread_join->result);
}

int tocsin_task_join(struct tocsin_task *task, int *out_result)
{
    struct thread_join thread_join;
    int polled;
    int r;

    if ((tocsin__task_flags(task) & TASK_ENDED) != 0) {
        return ended_result(task, out_result);
    }
    if (tocsin__is_forked(tocsin__pool_of(task->driver_))) {
        return -EOWNERDEAD;
    }
    tocsin_join_init(&thread_join.join, task);
    r = tocsin_block_on(poll_thread_join, &thread_join, &polled);
    tocsin_join_deinit(&thread_join.join);
    if (r == 0) {
        r = polled;
    }
    if (r == 0 && out_result != NULL) {
        *out_result = thread_join.result;
    }
    return r;
}
