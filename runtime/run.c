/*
 * Running a pool: run, run_until, stop; and hosting it, turn by turn.
 *
 * Between hosted turns the word is Sleeping(next deadline), or a kick was left in the descriptor
 * because work remained.  The pool's own thread then wakes like any other, for it is outside of the
 * turn.
 */
#include <errno.h>

#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/task.h"

bool tocsin__is_alive(struct tocsin_pool *pool)
{
    /* DRIVER-1 acquire: pairs with the release in tocsin_driver_unref(), whose wake follows. */
    return pool->alive > 0 || atomic_load_explicit(&pool->drivers, memory_order_acquire) > 0;
}

static bool take_stop(struct tocsin_pool *pool)
{
    /* STOP-1 relaxed: most turns find nothing and need not write the shared line. */
    if (!atomic_load_explicit(&pool->stop, memory_order_relaxed)) {
        return false;
    }
    /* STOP-1 acq_rel: pairs with tocsin_pool_stop(). */
    return atomic_exchange_explicit(&pool->stop, false, memory_order_acq_rel);
}

void tocsin_pool_stop(struct tocsin_pool *pool)
{
    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin__pool_ref(pool); /* from the store on, the run may return and the pool be closed */
    /* STOP-1 release: what the caller did before is seen by whoever sees the run return. */
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    tocsin__pool_wake(pool);
    tocsin__pool_unref(pool);
}

/* Is there something to run without asking the backend? */
static bool has_work(const struct tocsin_pool *pool)
{
    return pool->queue.head != NULL || pool->due != NULL;
}

/* Has no other thread sent anything to the backend?  Only after is_alive() has seen drivers go. */
static bool has_nothing_to_harvest(struct tocsin_pool *pool)
{
    return pool->driver.ops->prepare == NULL ||
           pool->driver.ops->prepare(pool->driver.backend_state, TOCSIN_NEVER_NS) != 0;
}

static bool is_done(struct tocsin_pool *pool, const struct tocsin_task *until)
{
    if (until != NULL) {
        return (tocsin__task_flags(until) & TASK_ENDED) != 0;
    }
    return !has_work(pool) && !tocsin__is_alive(pool) && !tocsin__wake_is_woken(&pool->wake) &&
           has_nothing_to_harvest(pool);
}

/*
 * Poll for a while before a sleep, where the options say so.  What that took in may have been the
 * last thing that kept the run going, which *@out_done tells.
 */
static int poll_busily(struct tocsin_pool *pool, const struct tocsin_task *until, bool *out_done)
{
    int r = 0;

    *out_done = false;
    if (pool->options.busy_poll_ns != 0) {
        r = tocsin__turn_busy(pool);
        *out_done = r == 0 && is_done(pool, until);
    }
    return r;
}

/*
 * Turns until @until has ended, or, if it is NULL, nothing keeps the pool alive.  Returns as run.
 */
static int run_turns(struct tocsin_pool *pool, const struct tocsin_task *until)
{
    bool done;
    int r = 0;

    while (r >= 0) {
        tocsin__turn_begin(pool);
        tocsin__turn_batch(pool);
        if (tocsin__is_forked(pool)) {
            return -EOWNERDEAD; /* a poll forked, and this is the child */
        }
        if (take_stop(pool)) {
            return 1;
        }
        if (is_done(pool, until)) {
            return 0;
        }
        if (!has_work(pool) && !tocsin__wake_is_woken(&pool->wake)) {
            r = poll_busily(pool, until, &done);
            if (done) {
                return 0;
            }
            if (r == 0) {
                r = tocsin__turn_sleep(pool);
            }
        } else if (tocsin__turn_wants_look(pool)) {
            r = tocsin__turn_look(pool);
        }
    }
    return r;
}

static int run(struct tocsin_pool *pool, const struct tocsin_task *until)
{
    struct tocsin_pool *outer;
    uint64_t slack_ns = 0;
    bool slack_set = false;
    int r = tocsin__enter(pool, &outer);

    if (r < 0) {
        return r;
    }
    if (pool->options.timer_slack_ns != 0) {
        slack_set = tocsin__timer_slack_set(pool->options.timer_slack_ns, &slack_ns) == 0;
    }
    r = run_turns(pool, until);
    if (slack_set) {
        tocsin__timer_slack_set(slack_ns, &slack_ns);
    }
    tocsin__leave(pool, outer);
    return r;
}

int tocsin_pool_run(struct tocsin_pool *pool)
{
    return run(pool, NULL);
}

/* A waker for the loop itself, for run_until to be told of the end of another pool's task. */
static void loop_clone(void *data)
{
    tocsin__pool_ref(data);
}

static void loop_wake_by_ref(void *data)
{
    tocsin__pool_wake(data);
}

static void loop_drop(void *data)
{
    tocsin__pool_unref(data);
}

static void loop_wake(void *data)
{
    tocsin__pool_wake(data);
    tocsin__pool_unref(data);
}

static const struct tocsin_waker_ops loop_waker_ops = {
    .clone = loop_clone,
    .wake = loop_wake,
    .wake_by_ref = loop_wake_by_ref,
    .drop = loop_drop,
};

int tocsin_pool_run_until(struct tocsin_pool *pool, struct tocsin_task *task, int *out_result)
{
    struct tocsin_context cx = {.waker = {.ops = &loop_waker_ops, .data = pool}};
    struct tocsin_join join;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin_join_init(&join, task);
    r = tocsin_join_poll(&join, &cx, out_result);
    if (r == TOCSIN_PENDING) {
        r = run(pool, task);
        if (r == 0) {
            r = tocsin_join_poll(&join, &cx, out_result);
        }
    }
    tocsin_join_deinit(&join);
    return r;
}

int tocsin_pool_poll_fd(struct tocsin_pool *pool)
{
    intptr_t fd;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool);
    if ((pool->driver.ops->features & TOCSIN_BACKEND_POLL_HANDLE) == 0) {
        return -EOPNOTSUPP;
    }
    fd = pool->driver.ops->poll_handle(pool->driver.backend_state);
    if (fd >= 0 && !pool->hosted) {
        pool->hosted = true;
        pool->driver.ops->host(pool->driver.backend_state, tocsin__heap_next_ns(&pool->heap));
    }
    return (int)fd;
}

uint64_t tocsin_pool_next_deadline(struct tocsin_pool *pool)
{
    uint64_t next_ns;

    if (tocsin__is_forked(pool)) {
        return TOCSIN_NEVER_NS;
    }
    tocsin__assert_thread(pool);
    if (has_work(pool) || tocsin__wake_is_woken(&pool->wake)) {
        return 0;
    }
    next_ns = tocsin__heap_next_ns(&pool->heap);
    return next_ns < pool->parked_ns ? next_ns : pool->parked_ns;
}

/*
 * Leave the word asleep until the next deadline, or a kick where work remains.  A turn that a stop
 * ended has not told whether anything keeps the pool alive: another does.
 */
static void park_hosted(struct tocsin_pool *pool, bool stopped)
{
    uint64_t deadline_ns = tocsin__heap_next_ns(&pool->heap);
    /*
     * Timers that are due and did not fit in this turn's budget are work, too: no timer tells
     * again.
     */
    bool is_due = stopped || has_work(pool) || deadline_ns <= pool->now_ns;

    pool->parked_ns = 0;
    if (is_due || !tocsin__turn_prepare(pool, &deadline_ns)) {
        deadline_ns = tocsin__heap_next_ns(&pool->heap);
        tocsin__pool_kick(pool);
    } else {
        pool->parked_ns = deadline_ns;
    }
    if (pool->hosted) {
        pool->driver.ops->host(pool->driver.backend_state, deadline_ns);
    }
}

int tocsin_pool_turn(struct tocsin_pool *pool)
{
    struct tocsin_pool *outer;
    bool stopped;
    int r = tocsin__enter(pool, &outer);

    if (r < 0) {
        return r;
    }
    r = tocsin__turn_look(pool); /* takes the kick in, before begin_turn lets the next one come */
    if (r >= 0) {
        tocsin__turn_begin(pool);
        tocsin__turn_batch(pool);
        r = tocsin__is_forked(pool) ? -EOWNERDEAD : 0; /* a poll forked, and this is the child */
    }
    if (r >= 0) {
        stopped = take_stop(pool);
        r = stopped || !is_done(pool, NULL);
        park_hosted(pool, stopped);
    }
    tocsin__leave(pool, outer);
    return r;
}
