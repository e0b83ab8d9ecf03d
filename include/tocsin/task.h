/*
 * Tasks: state machines that a pool polls; and plain callbacks, joins, block_on.
 *
 * A task lives in the caller's struct.  Spawning hands it to the pool until its release.  Its life:
 *
 *   poll     on the pool's thread, never twice at once, whenever it was woken, until it is ready.
 *            Returns TOCSIN_PENDING, having kept cx->waker, or else the task's result.
 *   drop     once, on the pool's thread: the task ended, was cancelled, or the pool closes.
 *            Give up what the task holds (timers, descriptors).
 *   release  once, when the last reference has gone: free the memory.  On any thread, also
 *            after the pool has closed.  References are: the pool's (until drop has returned),
 *            every waker, every join, and tocsin_task_ref().
 *
 * F2: tasks run in the order in which they were woken.
 */
#ifndef TOCSIN_TASK_H
#define TOCSIN_TASK_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

enum {
    TOCSIN_TASK_NAME_SIZE =
        32, /* bytes of a task's name with its final zero; longer ones are cut */
};

enum tocsin_task_state {
    TOCSIN_TASK_READY,     /* spawned or woken, and not polled since */
    TOCSIN_TASK_RUNNING,   /* in its poll */
    TOCSIN_TASK_WAITING,   /* returned pending, and not woken since */
    TOCSIN_TASK_ENDED,     /* its poll said ready */
    TOCSIN_TASK_CANCELLED, /* cancelled, or its pool closed */
};

struct tocsin_task_ops {
    int (*poll)(struct tocsin_task *task, struct tocsin_context *cx);
    void (*drop)(struct tocsin_task *task);    /* may be NULL */
    void (*release)(struct tocsin_task *task); /* may be NULL */
};

/* Embed it; needs no initialising before tocsin_task_spawn(), which fills it. */
struct tocsin_task {
    struct tocsin_item_ run_;   /* the pool's thread: link of the run queue */
    struct tocsin_item_ inbox_; /* link of the inbox; whoever set TASK_INBOX owns it */
    const struct tocsin_task_ops *ops_;
    struct tocsin_driver *driver_;
    /* TASK-1 in docs/CONCURRENCY.md: flags, and the count of references above them. */
    TOCSIN_ATOMIC(uint64_t) state_;
    struct tocsin_join *joins_; /* guarded by the pool's join lock */
    void *slot_;                /* the pool's thread: its row in the task table */
    int result_;                /* published by TASK_ENDED in state_ */
    uint32_t local_;            /* the pool's thread: queued, running */
    void *room_[1];
};

/*
 * Spawn @task: it is first polled later, never inside this call.
 *
 * Thread:  any.
 * Memory:  @task is the pool's until its release; @ops must live as long; @name is copied (NULL:
 *          ""); @place must be a static string or NULL.
 * Returns: 0.
 * Errors:  -EINVAL: no poll; -ENOMEM; -ESHUTDOWN: the pool has closed; -EOWNERDEAD after fork.  The
 *          task was then not touched: neither drop nor release will be called.
 */
TOCSIN_API int tocsin_task_spawn_at(struct tocsin_driver *driver, struct tocsin_task *task,
                                    const struct tocsin_task_ops *ops, const char *name,
                                    const char *place);

/*
 * The same, and the caller holds a reference from the start, to give back with tocsin_task_unref().
 */
TOCSIN_API int tocsin_task_spawn_ref_at(struct tocsin_driver *driver, struct tocsin_task *task,
                                        const struct tocsin_task_ops *ops, const char *name,
                                        const char *place);

/* Both with the place of the call. */
#define tocsin_task_spawn(driver, task, ops, name)                                                 \
    tocsin_task_spawn_at((driver), (task), (ops), (name), TOCSIN_HERE)
#define tocsin_task_spawn_ref(driver, task, ops, name)                                             \
    tocsin_task_spawn_ref_at((driver), (task), (ops), (name), TOCSIN_HERE)

/*
 * Take one more reference.
 *
 * Thread:  any that holds a reference, or the task's own poll.
 */
TOCSIN_API void tocsin_task_ref(struct tocsin_task *task);

/*
 * Give a reference back; the last one calls release.  NULL is nothing.
 *
 * Thread: any.
 */
TOCSIN_API void tocsin_task_unref(struct tocsin_task *task);

/*
 * A waker for @task, as cx->waker gives it inside a poll.
 *
 * Thread:  any that holds a reference.
 * Memory:  the result owns a reference.
 */
TOCSIN_API struct tocsin_waker tocsin_task_waker(struct tocsin_task *task);

/*
 * Cancel @task: no poll starts after this has returned.  One that is under way on the pool's thread
 * ends, and if that one says ready, its result stands.  drop is called on the pool's thread in a
 * turn that follows.
 *
 * Thread:  any that holds a reference; also the task's own poll.
 * Returns: 0, also when it was cancelled before and has not ended yet.
 * Errors:  -EALREADY: it had ended; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_task_cancel(struct tocsin_task *task);

/*
 * What @task is doing; a glance that may be old when it arrives.
 *
 * Thread: any that holds a reference.
 */
TOCSIN_API enum tocsin_task_state tocsin_task_state(const struct tocsin_task *task);

/*
 * The task that this thread is polling, or NULL; borrowed.
 *
 * Thread: any.
 */
TOCSIN_API struct tocsin_task *tocsin_task_current(void);

/*
 * Give the others a turn: wakes @cx and returns TOCSIN_PENDING, for a poll to return.
 *
 * Thread: the pool's, inside a poll.
 */
TOCSIN_API int tocsin_task_yield(struct tocsin_context *cx);

/* One row of tocsin_task_list(). */
struct tocsin_task_info {
    uint64_t id; /* differs for every task that the pool ever had */
    enum tocsin_task_state state;
    char name[TOCSIN_TASK_NAME_SIZE];
    const char *place; /* static, or NULL */
};

/*
 * List the tasks that have not ended.
 *
 * Each row is whole, the list is not one moment's: tasks come and go while it is made.  Takes no
 * lock and never delays the pool, which may be stuck inside a poll.  A task spawned by another
 * thread is listed from the turn that receives it.
 *
 * Thread:  any.
 * Returns: how many were seen, which may be more than @infos_max; the first of them are in @infos.
 * Errors:  -EOWNERDEAD after fork; -ESHUTDOWN: the pool has closed.
 */
TOCSIN_API int tocsin_task_list(struct tocsin_driver *driver, struct tocsin_task_info *infos,
                                size_t infos_max);

/* A plain callback.  @status is 0, or -ECANCELED when the pool closed before its turn came. */
typedef void tocsin_post_fn(void *arg, int status);

/*
 * Run @fn(@arg, 0) once, on the pool's thread, later, never inside this call.
 *
 * Thread:  any.
 * Returns: 0, and then @fn is called exactly once.
 * Errors:  -EINVAL: no @fn; -ENOMEM, -ESHUTDOWN, -EOWNERDEAD: @fn is not called.
 */
TOCSIN_API int tocsin_post(struct tocsin_driver *driver, tocsin_post_fn *fn, void *arg);

/*
 * A join from inside a task: wait for another task's end.  Embed it; init, poll, deinit.
 *
 * Between init and deinit it holds a reference to the task.
 */
struct tocsin_join {
    struct tocsin_task *task_;
    struct tocsin_join *next_;  /* guarded by the pool's join lock */
    struct tocsin_join **link_; /* guarded by the pool's join lock; NULL: not listed */
    struct tocsin_waker waker_; /* guarded by the pool's join lock */
    void *room_[2];
};

/*
 * Prepare @join to wait for @task.
 *
 * Thread:  any that holds a reference to @task.
 * Memory:  @join stays the caller's, until tocsin_join_deinit().
 */
TOCSIN_API void tocsin_join_init(struct tocsin_join *join, struct tocsin_task *task);

/*
 * Has the task ended?
 *
 * Thread:  any, one at a time; usually a poll of another task.
 * Returns: TOCSIN_PENDING: cx->waker is kept and woken at the end; 0: it has, and its result, or
 *          -ECANCELED, is in *@out_result (may be NULL).
 * Errors:  -EDEADLK: @task is the one being polled.
 */
TOCSIN_API int tocsin_join_poll(struct tocsin_join *join, struct tocsin_context *cx,
                                int *out_result);

/*
 * Give up the join, pending or not.
 *
 * Thread: any, one at a time.
 */
TOCSIN_API void tocsin_join_deinit(struct tocsin_join *join);

/*
 * Block this thread until @task has ended.
 *
 * Thread:  any that is not a pool's and holds a reference.
 * Returns: 0, and the result, or -ECANCELED, in *@out_result (may be NULL).
 * Errors:  -EDEADLK: a pool's own thread, and the task has not ended; -ENOMEM; -EOWNERDEAD.
 */
TOCSIN_API int tocsin_task_join(struct tocsin_task *task, int *out_result);

/* Something to poll that is not a task. */
typedef int tocsin_poll_fn(struct tocsin_context *cx, void *arg);

/*
 * Poll @fn(cx, @arg) on this thread until it is ready, sleeping in between until its waker is
 * woken.
 *
 * Thread:  any that is not a pool's.
 * Returns: 0, and what @fn returned in *@out_result (may be NULL).
 * Errors:  -EDEADLK: a pool's own thread; -ENOMEM; -EINVAL: no @fn.  @fn was then not called.
 */
TOCSIN_API int tocsin_block_on(tocsin_poll_fn *fn, void *arg, int *out_result);

TOCSIN_END_DECLS

#endif
