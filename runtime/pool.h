/*
 * The pool's struct and what the runtime's files share of it.
 *
 * Three kinds of fields: constant after open; shared, each with its own rule; and the rest, which
 * belongs to the pool's thread.  The memory is counted (refs): by the open pool, by counted
 * drivers, by registrations and timers, and by ended tasks that somebody still holds, so that
 * whoever may touch the pool has it.
 *
 * Lock order: 0 a slot's fd_lock, 1 registrations.lock, tasks.lock, joins_lock, a slot's lock,
 * 2 kick_lock.  Nothing is called
 * with a lock held but backend attach, detach and kick; never user code (D4).
 */
#ifndef TOCSIN_RUNTIME_POOL_H
#define TOCSIN_RUNTIME_POOL_H

#include <stdatomic.h>

#include <tocsin/backend.h>
#include <tocsin/pool.h>
#include <tocsin/task.h>
#include <tocsin/timer.h>

#include "runtime/heap.h"
#include "runtime/inbox.h"
#include "runtime/order.h"
#include "runtime/os.h"
#include "runtime/queue.h"
#include "runtime/registrations.h"
#include "runtime/task_table.h"
#include "runtime/wake.h"

enum {
    TOCSIN__EVENTS_MAX = 256, /* events taken from the backend at once */
    TOCSIN__CACHE_LINE = 64,
};

/* The public handle; the first member of the pool, so that one address serves both. */
struct tocsin_driver {
    const struct tocsin_backend_ops *ops;
    void *backend_state;
};

/* Wakers that a walk collected, to be woken after it (D4). */
struct tocsin__wakers {
    struct tocsin_waker *wakers;
    size_t count;
    size_t next; /* the first that has not been woken */
};

#define TOCSIN__CONTAINER(pointer, type, member)                                                   \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct tocsin_pool {
    /* Constant after open. */
    struct tocsin_driver driver;
    struct tocsin_backend backend;
    struct tocsin_allocator allocator;
    struct tocsin_pool_options options;
    const volatile unsigned char *fork_mark;
    void *memory; /* what the allocator gave; the pool is aligned within */

    /* Shared: see docs/CONCURRENCY.md for each. */
    _Alignas(TOCSIN__CACHE_LINE) struct tocsin__wake wake;
    struct tocsin__inbox inbox;
    /* DEFER-1: publishes a closed registration to the loop that frees it. */
    _Atomic(struct tocsin_fd_ready *) deferred;
    /* STOP-1: true: the run should return; published by the wake that follows. */
    atomic_bool stop;
    /* DRIVER-1: how many counted drivers keep runs going; published by the wake that follows. */
    _Atomic(uint64_t) drivers;
    /* REFS-1: who holds the pool's memory. */
    _Atomic(uint64_t) refs;
    /* OWNER-1: tocsin__thread_id() of the pool's thread; 0: none yet. */
    _Atomic(uintptr_t) owner;
    struct tocsin__mutex kick_lock;
    bool kickable;                   /* guarded by kick_lock: the backend is open */
    struct tocsin__mutex joins_lock; /* guards every task's joins_ and every join's links */
    struct tocsin__registrations registrations;
    struct tocsin__task_table tasks;

    /* The pool's thread. */
    _Alignas(TOCSIN__CACHE_LINE) struct tocsin__queue queue;
    struct tocsin__order order;   /* with order_seed: how the queue is drawn from */
    struct tocsin_item_ *arrived; /* taken from the inbox and not received yet */
    struct tocsin_task *current;  /* the task in its poll */
    uint64_t alive;               /* tasks, posts, armed timers, watches: what keeps runs going */
    uint64_t now_ns;              /* the clock at the start of the turn */
    uint64_t looked_ns;           /* when the backend was last asked */
    uint32_t polls;               /* polls since then */
    bool in_turn;                 /* this pool is being run, on the thread that asks */
    bool walking;                 /* a batch of events is being walked */
    bool closed;                  /* also guarded by registrations.lock */
    struct tocsin__heap heap;
    uint64_t timer_order;     /* T4: counts armings */
    struct tocsin_timer *due; /* timers taken from the heap that have not fired yet */
    struct tocsin_timer **due_tail;
    struct tocsin_backend_events events;
    struct tocsin__wakers wakers;
    struct tocsin_item_ *spare_posts; /* ended posts, to be used again */
    size_t spare_posts_count;
    uint64_t close_by_ns; /* when close stops waiting for the kernel */
    int lost;             /* operations that it then left there */
    uint64_t parked_ns;   /* hosted, between turns: when the next is due at the latest */
    bool hosted;          /* its descriptor was given out */
    bool bound;           /* this thread counts it in tocsin__pools_bound */
};

/*
 * Reached by an offset from the thread pointer, not by a call: one such word fits into what glibc
 * keeps free for libraries that are loaded late.
 */
#ifndef TOCSIN__TLS
#if defined(__GLIBC__)
#define TOCSIN__TLS __attribute__((tls_model("initial-exec")))
#else
#define TOCSIN__TLS
#endif
#endif

/* The pool that this thread is running, innermost, or opening; NULL outside of all that. */
extern TOCSIN__TLS _Thread_local struct tocsin_pool *tocsin__running;

static inline struct tocsin_pool *tocsin__pool_of(const struct tocsin_driver *driver)
{
    return (struct tocsin_pool *)(uintptr_t)driver;
}

/* Is this code running inside a turn of @pool?  Then no shared word is needed to wake it. */
static inline bool tocsin__is_here(const struct tocsin_pool *pool)
{
    return tocsin__running == pool;
}

/* Is this process a forked child of the one that opened @pool? */
static inline bool tocsin__is_forked(const struct tocsin_pool *pool)
{
    return *pool->fork_mark == 0;
}

/* Memory, by the pool's allocator. */
void *tocsin__alloc(struct tocsin_pool *pool, size_t size);
void *tocsin__alloc_zeroed(struct tocsin_pool *pool, size_t size);
void tocsin__free(struct tocsin_pool *pool, void *pointer);

/* References to the pool's memory.  Thread: any. */
void tocsin__pool_ref(struct tocsin_pool *pool);
void tocsin__pool_unref(struct tocsin_pool *pool);

/* Make the loop take another turn, after something was published.  Thread: any. */
void tocsin__pool_wake(struct tocsin_pool *pool);
void tocsin__pool_wake_for_timer(struct tocsin_pool *pool, uint64_t deadline_ns);
void tocsin__pool_kick(struct tocsin_pool *pool);

/* How many pools this thread is the thread of: tocsin_block_on() would block them. */
bool tocsin__thread_has_pool(void);

/* Aborts unless this is the pool's thread or the pool has none yet. */
void tocsin__assert_thread(const struct tocsin_pool *pool);

/* Enter and leave turns: -EPERM, -EBUSY, -EOWNERDEAD.  *@out_outer is what leave gets. */
int tocsin__enter(struct tocsin_pool *pool, struct tocsin_pool **out_outer);
void tocsin__leave(struct tocsin_pool *pool, struct tocsin_pool *outer);

/* turn.c */
void tocsin__turn_begin(struct tocsin_pool *pool);
void tocsin__turn_batch(struct tocsin_pool *pool);
bool tocsin__turn_wants_look(const struct tocsin_pool *pool);
int tocsin__turn_look(struct tocsin_pool *pool);
/*
 * The busy option: poll the backend for a while before sleeping.  Returns: 1 if something is to be
 * run, 0 if not, or the backend's error.
 */
int tocsin__turn_busy(struct tocsin_pool *pool);
int tocsin__turn_sleep(struct tocsin_pool *pool);
/* The way into sleep, of which *@deadline_ns may become shorter.  False: take another turn. */
bool tocsin__turn_prepare(struct tocsin_pool *pool, uint64_t *deadline_ns);
void tocsin__wakers_wake(struct tocsin__wakers *wakers);
void tocsin__inbox_drain(struct tocsin_pool *pool, struct tocsin_item_ *chain);

/* Does anything keep runs going? */
bool tocsin__is_alive(struct tocsin_pool *pool);

/* Each file's share of a turn and of the end. */
void tocsin__task_run(struct tocsin_pool *pool, struct tocsin_task *task);
void tocsin__task_arrived(struct tocsin_pool *pool, struct tocsin_task *task);
void tocsin__task_end(struct tocsin_pool *pool, struct tocsin_task *task);
void tocsin__post_run(struct tocsin_pool *pool, struct tocsin_item_ *item, int status);
void tocsin__posts_free(struct tocsin_pool *pool);
void tocsin__joins_wake(struct tocsin_pool *pool, struct tocsin_task *task);
void tocsin__timer_arrived(struct tocsin_pool *pool, struct tocsin_timer *timer);
void tocsin__timers_expire(struct tocsin_pool *pool);
void tocsin__timers_end(struct tocsin_pool *pool);

#endif
