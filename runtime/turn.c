/*
 * A turn of the pool: design 4.2, and fairness, design 4.3.
 *
 *   begin    begin_turn; drain the inbox; expire timers; harvest completions; free the deferred
 *   batch    polls, until the budget is used up, the time is up, or nothing is queued
 *   then     look at the backend when fairness asks for it, or sleep in it
 *
 * F1  A batch ends after budget_polls polls, and, once budget_ns have passed, at the next of the
 *     clock reads that come every clock_polls polls.  After it the backend is looked at, remote
 *     wakes are drained and timers expire.  Turns without polls count too, so that a storm of wakes
 *     for nothing does not put the look off.
 * F2  The run queue is first in, first out, unless order_seed asks for a drawn order (order.h).
 * F3  With work to do the backend is asked once per budget and no more often.
 */
#include <errno.h>

#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/vpoll_slot.h"

void tocsin__wakers_wake(struct tocsin__wakers *wakers)
{
    /*
     * A waker's wake may itself come back to here: each is taken off the list before it is woken.
     */
    while (wakers->count > 0 && wakers->next < wakers->count) {
        struct tocsin_waker waker = wakers->wakers[wakers->next++];

        tocsin_waker_wake(&waker);
    }
    wakers->count = 0;
    wakers->next = 0;
}

/*
 * What arrived is kept in the pool, not here: user code that an arrival runs may disarm a timer
 * whose item is further down, and its own drain must then come to that.
 */
void tocsin__inbox_drain(struct tocsin_pool *pool, struct tocsin_item_ *chain)
{
    struct tocsin_item_ **tail = &pool->arrived;
    struct tocsin_item_ *item;

    while (*tail != NULL) {
        tail = &(*tail)->next_;
    }
    *tail = chain;
    while ((item = pool->arrived) != NULL) {
        pool->arrived = item->next_; /* before anything lets the item be pushed again */
        switch ((enum tocsin__item_kind)item->kind_) {
        case TOCSIN__ITEM_TASK:
            tocsin__task_arrived(pool, TOCSIN__CONTAINER(item, struct tocsin_task, inbox_));
            break;
        case TOCSIN__ITEM_POST:
            pool->alive++;
            tocsin__queue_push(&pool->queue, item);
            break;
        case TOCSIN__ITEM_TIMER_MOVE:
            tocsin__timer_arrived(pool, TOCSIN__CONTAINER(item, struct tocsin_timer, inbox_));
            break;
        case TOCSIN__ITEM_READY:
            tocsin__ready_arrived(pool, TOCSIN__CONTAINER(item, struct tocsin_fd_ready, item));
            break;
        case TOCSIN__ITEM_SLOT:
            tocsin__slot_run(pool, item);
            break;
        }
    }
}

void tocsin__turn_begin(struct tocsin_pool *pool)
{
    tocsin__wake_begin_turn(&pool->wake);
    tocsin__inbox_drain(pool, tocsin__inbox_take(&pool->inbox)); /* only after begin_turn: W2 */
    pool->now_ns = tocsin_pool_now_ns(pool);
    tocsin__timers_expire(pool);
    if (pool->driver.ops->harvest != NULL && !tocsin__is_forked(pool)) {
        pool->driver.ops->harvest(pool->driver.backend_state);
    }
    if (tocsin__is_forked(pool)) {
        return; /* a callback forked: what is left, and what the kernel shares, is the parent's */
    }
    tocsin__deferred_free(pool);
}

static void run_item(struct tocsin_pool *pool, struct tocsin_item_ *item)
{
    switch ((enum tocsin__item_kind)item->kind_) {
    case TOCSIN__ITEM_TASK:
        tocsin__task_run(pool, TOCSIN__CONTAINER(item, struct tocsin_task, run_));
        return;
    case TOCSIN__ITEM_POST:
        tocsin__post_run(pool, item, 0);
        return;
    case TOCSIN__ITEM_READY:
        tocsin__watch_run(pool, TOCSIN__CONTAINER(item, struct tocsin_fd_ready, item));
        return;
    case TOCSIN__ITEM_SLOT:
        tocsin__slot_run(pool, item);
        return;
    case TOCSIN__ITEM_TIMER_MOVE:
        break;
    }
    TOCSIN_UNREACHABLE("an item in the run queue that cannot be run");
}

static inline struct tocsin_item_ *next_item(struct tocsin_pool *pool)
{
    return pool->options.order_seed == 0 ? tocsin__queue_pop(&pool->queue)
                                         : tocsin__order_pop(&pool->order, &pool->queue);
}

void tocsin__turn_batch(struct tocsin_pool *pool)
{
    const struct tocsin_pool_options *options = &pool->options;
    uint32_t until_clock = options->clock_polls;
    uint32_t left = pool->polls < options->budget_polls ? options->budget_polls - pool->polls : 0;
    struct tocsin_item_ *item;

    if (pool->queue.head == NULL) {
        pool->polls++; /* a turn for nothing */
        return;
    }
    /* A poll may fork: what is left in the queue is then the parent's. */
    while (left > 0 && !tocsin__is_forked(pool) && (item = next_item(pool)) != NULL) {
        run_item(pool, item);
        left--;
        if (--until_clock == 0) {
            until_clock = options->clock_polls;
            if (tocsin_pool_now_ns(pool) - pool->looked_ns >= options->budget_ns) {
                left = 0;
            }
        }
    }
    pool->polls = options->budget_polls - left;
}

bool tocsin__turn_wants_look(const struct tocsin_pool *pool)
{
    return pool->polls >= pool->options.budget_polls ||
           pool->now_ns - pool->looked_ns >= pool->options.budget_ns;
}

/* The backend was asked: bring what it found to the slots, then wake. */
static void looked(struct tocsin_pool *pool)
{
    pool->polls = 0;
    pool->looked_ns = tocsin_pool_now_ns(pool);
    tocsin__ready_walk(pool);
    tocsin__wakers_wake(&pool->wakers); /* after the walk: D4 */
}

int tocsin__turn_look(struct tocsin_pool *pool)
{
    int r;

    pool->events.count = 0;
    r = pool->driver.ops->look(pool->driver.backend_state, &pool->events);
    looked(pool);
    return r;
}

int tocsin__turn_busy(struct tocsin_pool *pool)
{
    uint64_t until_ns = tocsin_pool_now_ns(pool) + pool->options.busy_poll_ns;
    uint64_t deadline_ns = tocsin__heap_next_ns(&pool->heap);
    int r = 0;

    until_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
    do {
        if (tocsin__wake_is_woken(&pool->wake)) {
            return 1;
        }
        r = tocsin__turn_look(pool);
        if (r < 0 || pool->queue.head != NULL) {
            return r < 0 ? r : 1;
        }
    } while (pool->looked_ns < until_ns);
    return 0;
}

bool tocsin__turn_prepare(struct tocsin_pool *pool, uint64_t *deadline_ns)
{
    if (pool->driver.ops->prepare != NULL) {
        *deadline_ns = pool->driver.ops->prepare(pool->driver.backend_state, *deadline_ns);
    }
    return *deadline_ns != 0 && tocsin__wake_try_sleep(&pool->wake, *deadline_ns);
}

int tocsin__turn_sleep(struct tocsin_pool *pool)
{
    uint64_t deadline_ns = tocsin__heap_next_ns(&pool->heap);
    int r;

    if (!tocsin__turn_prepare(pool, &deadline_ns)) {
        return tocsin__turn_wants_look(pool) ? tocsin__turn_look(pool) : 0;
    }
    pool->events.count = 0;
    r = pool->driver.ops->wait(pool->driver.backend_state, deadline_ns, &pool->events);
    tocsin__wake_waited(&pool->wake);
    looked(pool);
    return r;
}
