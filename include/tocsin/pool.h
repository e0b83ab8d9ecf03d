/*
 * Pools and drivers.
 *
 * A pool is the executor: a run queue, timers, deferred deletes and one backend, run by one thread.
 * A driver is the handle through which any thread spawns tasks and makes objects on it.
 *
 * The pool's thread is the one that first runs it (tocsin_pool_run(), _run_until() or _turn()), for
 * good.  After fork(2) the child's copy of a pool is dead: functions that return int answer
 * -EOWNERDEAD, those that return nothing do nothing, and tocsin_pool_close() frees memory and
 * closes descriptors without touching what the parent still uses, and without calling drop or
 * release.  A child made by vfork(2) or a raw clone(2) that shares memory is not guarded.
 */
#ifndef TOCSIN_POOL_H
#define TOCSIN_POOL_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_backend;
struct tocsin_pool_thread;

/*
 * Where the pool's memory comes from.  Both functions are called from any thread, sometimes with a
 * lock of the pool held, so they must not call the library; they must outlive the last reference to
 * the pool, its tasks and its objects.
 */
struct tocsin_allocator {
    void *(*alloc)(void *context, size_t size); /* aligned as malloc(3); NULL: out of memory */
    void (*free)(void *context, void *pointer); /* takes NULL */
    void *context;
};

/* How a pool behaves.  All zero means the defaults; so does a NULL pointer to it. */
struct tocsin_pool_options {
    const struct tocsin_allocator *allocator; /* default: malloc(3) and free(3) */
    uint32_t budget_polls; /* F1: polls between two looks at the backend; default 256 */
    uint32_t clock_polls;  /* F1: polls between two clock reads; default 16 */
    uint64_t budget_ns;    /* F1: a batch that takes longer ends at the next clock read; 250 us */
    /*
     * Poll the backend for up to so long before each sleep.  Default 0: never.  Burns processor
     * time to answer in less than a wake-up takes; ignored where the process may use only one
     * processor.
     */
    uint64_t busy_poll_ns;
    /*
     * The timer slack of the pool's thread while it runs the pool: how much later than asked the
     * kernel may end a sleep so as to merge wake-ups.  Default 0: leave the thread's own (50 us
     * unless somebody changed it).  1 is the least.  Linux: PR_SET_TIMERSLACK, set when a run
     * begins and set back when it returns; hosted turns do not touch it.
     */
    uint64_t timer_slack_ns;
    /*
     * For tests: run what is ready in an order that this seed decides, the same in each run.
     * Default 0: in the order in which it became ready (F2).  With a seed an item is overtaken by
     * at most 63 others, so that nothing starves; timers still fire in the order of their
     * deadlines.
     */
    uint64_t order_seed;
    uint64_t room_[5];
};

/*
 * Open a pool over @backend (NULL: tocsin_backend_default()).
 *
 * Thread:  any; nothing is bound to the opening thread.
 * Memory:  @options is copied, its allocator's address is kept.
 * Returns: 0, and the pool in *@out_pool, which tocsin_pool_close() takes back.
 * Errors:  -ENOMEM, -EMFILE, -ENFILE; -ENOENT: no such backend (TOCSIN_BACKEND names none that is
 *          built); what the backend's open says; *@out_pool is then left as it was.
 */
TOCSIN_API int tocsin_pool_open(struct tocsin_pool **out_pool, const struct tocsin_backend *backend,
                                const struct tocsin_pool_options *options);

/*
 * Close @pool: cancel and drop every live task, end queued posts with -ECANCELED, disarm timers,
 * stop watches, all in this call and on this thread.  A task's release follows with its last
 * reference.  Operations in flight are cancelled; the call waits until the kernel has given all
 * back.  Objects of the pool that are still open stay safe to close; drivers and wakers stay
 * safe to use and drop, and do nothing.
 *
 * Thread:  the pool's; any if it never ran.
 * Returns: 0.
 * Errors:  -EPERM on another thread; -EBUSY inside a turn of this pool; the pool is then untouched.
 *          NULL is 0.
 */
TOCSIN_API int tocsin_pool_close(struct tocsin_pool *pool);

/*
 * tocsin_pool_close() that waits no longer than about @timeout_ns for operations of io_uring that
 * the kernel has been asked to cancel and does not give back: one that a dead disk or a stuck
 * network file system holds.  Those are lost, knowingly: their memory, and what they point to, is
 * the kernel's for good and must never be freed or used again; none of their hooks is called any
 * more, release neither; a part of the pool's own memory stays for them.
 *
 * Thread:  as tocsin_pool_close().
 * Units:   nanoseconds from the call on, on the pool's clock; 0: what is not back at once is lost.
 * Returns: how many operations were lost; 0: none, as tocsin_pool_close().
 * Errors:  as tocsin_pool_close().
 */
TOCSIN_API int tocsin_pool_close_timeout(struct tocsin_pool *pool, uint64_t timeout_ns);

/*
 * Run until nothing keeps the pool alive: no live task, queued post, armed timer or started watch
 * (background ones aside), and no counted driver.
 *
 * Thread:  any for the first run, then the pool's.
 * Returns: 0; or 1: tocsin_pool_stop() ended it, and it can be run again.
 * Errors:  -EPERM: another thread's pool; -EBUSY: inside a turn of this pool; -EOWNERDEAD after
 *          fork; or what made the backend unusable.
 */
TOCSIN_API int tocsin_pool_run(struct tocsin_pool *pool);

/*
 * Run until @task has ended, whatever else is alive.
 *
 * Thread:  as tocsin_pool_run().
 * Memory:  the caller holds a reference to @task.
 * Returns: 0, and the task's result (-ECANCELED if it was cancelled) in *@out_result, which may be
 *          NULL; or 1 as in tocsin_pool_run().
 * Errors:  as tocsin_pool_run().
 */
TOCSIN_API int tocsin_pool_run_until(struct tocsin_pool *pool, struct tocsin_task *task,
                                     int *out_result);

/* A whole program as one task: polled on a pool of its own until it is ready. */
typedef int tocsin_main_fn(struct tocsin_context *cx, void *arg);

/*
 * Open a pool over the default backend, poll @fn(cx, @arg) as a task until it is ready, close.
 *
 * Thread:  any.
 * Returns: 0, and what @fn returned in *@out_result, which may be NULL.
 * Errors:  as tocsin_pool_open() and tocsin_pool_run().
 */
TOCSIN_API int tocsin_run_with(tocsin_main_fn *fn, void *arg, int *out_result);

/*
 * Make the current run return 1 after its current batch, or else the next one after its first.
 *
 * Thread: any.
 */
TOCSIN_API void tocsin_pool_stop(struct tocsin_pool *pool);

/*
 * The driver of @pool, borrowed: it keeps nothing alive and is valid while the pool is open.
 *
 * Thread: any.
 */
TOCSIN_API struct tocsin_driver *tocsin_pool_driver(struct tocsin_pool *pool);

/*
 * Count one more user of @driver: runs do not return 0 until it is given back, and @driver stays
 * valid after the pool has closed (spawning then answers -ESHUTDOWN).
 *
 * Thread:  any.
 * Returns: @driver.
 */
TOCSIN_API struct tocsin_driver *tocsin_driver_ref(struct tocsin_driver *driver);

/*
 * Give a counted driver back.  NULL is nothing.
 *
 * Thread: any.
 */
TOCSIN_API void tocsin_driver_unref(struct tocsin_driver *driver);

/*
 * The pool's clock, read now.
 *
 * Units:  nanoseconds; on Linux CLOCK_MONOTONIC, so it stops while the machine is suspended.
 * Thread: any; a backend without FOREIGN_THREADS may limit that.
 */
TOCSIN_API uint64_t tocsin_pool_now_ns(const struct tocsin_pool *pool);
TOCSIN_API uint64_t tocsin_driver_now_ns(const struct tocsin_driver *driver);

/*
 * Start a thread that opens a pool over @backend and runs it until its drivers are given back and
 * nothing keeps it alive.
 *
 * Thread:  any.
 * Memory:  @name (NULL: "tocsin"; the kernel keeps 15 bytes) and @options are copied.  *@out_thread
 *          goes to tocsin_pool_thread_join(), *@out_driver (counted) to tocsin_driver_unref().
 * Returns: 0 when the pool is open.
 * Errors:  -ENOMEM, -EAGAIN (no thread to be had), and those of tocsin_pool_open(); no thread is
 *          left.
 */
TOCSIN_API int tocsin_pool_spawn_thread(struct tocsin_pool_thread **out_thread,
                                        struct tocsin_driver **out_driver, const char *name,
                                        const struct tocsin_backend *backend,
                                        const struct tocsin_pool_options *options);

/*
 * Wait until the thread's pool has run and closed, and free @thread.
 *
 * Thread:  any other than the pool's.
 * Returns: what tocsin_pool_run() returned there.
 * Errors:  -EDEADLK on the pool's own thread: nothing has happened.
 */
TOCSIN_API int tocsin_pool_thread_join(struct tocsin_pool_thread *thread);

/*
 * Hosting: a pool inside another loop.
 *
 * The host watches the descriptor of tocsin_pool_poll_fd() for reading and calls tocsin_pool_turn()
 * when it is readable; a timer inside makes the descriptor enough by itself.  A host that has
 * timers of its own may also ask tocsin_pool_next_deadline() after each turn.  Between turns the
 * pool's own thread counts as any other: what it spawns, arms or wakes makes the descriptor
 * readable.  Call tocsin_pool_turn() once at the start; the descriptor tells the rest.
 */

/*
 * The descriptor to watch for reading, level- or edge-triggered.
 *
 * Thread:  the pool's, or any before the first turn.
 * Memory:  stays the pool's; do not close, read or write it.
 * Errors:  -EOPNOTSUPP: the backend has none (no POLL_HANDLE); -EBUSY: the backend can only give it
 *          out before anything is in flight or watched (uring); -EOWNERDEAD; -EMFILE, -ENOMEM.
 */
TOCSIN_API int tocsin_pool_poll_fd(struct tocsin_pool *pool);

/*
 * When the pool wants its next turn even if the descriptor stays quiet.
 *
 * Units:   nanoseconds on the pool's clock; 0: at once; TOCSIN_NEVER_NS: not for the time's sake.
 * Thread:  the pool's, between turns.
 */
TOCSIN_API uint64_t tocsin_pool_next_deadline(struct tocsin_pool *pool);

/*
 * Run what is ready: one batch of at most the budget.  Never blocks.
 *
 * Thread:  any for the first turn, then the pool's.
 * Returns: 0: nothing keeps the pool alive; 1: something does, or tocsin_pool_stop() was called.
 * Errors:  as tocsin_pool_run().
 */
TOCSIN_API int tocsin_pool_turn(struct tocsin_pool *pool);

TOCSIN_END_DECLS

#endif
