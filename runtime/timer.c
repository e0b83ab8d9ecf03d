/*
 * Timers: arming, firing, both faces.
 *
 * An armed timer is in the heap.  Expiring takes the due ones from the heap, at most a budget at a
 * time, to the due list, and then fires that list: so what a callback arms for the past waits for
 * the next turn, and what it disarms is taken off either place (T4 holds within and across turns).
 *
 * Another thread moves a timer by writing the deadline into move_ns_ (TIMER-1) and pushing the
 * timer's item if the word was 0; the drain takes the word back to 0 and arms.  While move_ns_ is
 * not 0 the item is, or is about to be, in the inbox: disarming and deinit drain the inbox first,
 * so that an earlier move cannot arm the timer after them.
 *
 * Invariants
 *   M1  A timer is unarmed, or in the heap, or on the due list: state_ says which.
 *   M2  Each armed timer that is not background counts once in pool->alive.
 *
 * Model: docs/models/timer.pml.
 */
#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    STATE_PLACE = 3, /* mask: one of the three places */
    STATE_UNARMED = 0,
    STATE_IN_HEAP = 1,
    STATE_DUE = 2,
    STATE_BACKGROUND = 1 << 2,
    STATE_FIRED = 1 << 3, /* polling face: it fired and nobody was told yet */
};

static struct tocsin_pool *pool_of(const struct tocsin_timer *timer)
{
    return tocsin__pool_of(timer->driver_);
}

static uint32_t place_of(const struct tocsin_timer *timer)
{
    return timer->state_ & STATE_PLACE;
}

static void set_place(struct tocsin_timer *timer, uint32_t place)
{
    timer->state_ = (timer->state_ & ~(uint32_t)STATE_PLACE) | place;
}

int tocsin_timer_init(struct tocsin_timer *timer, struct tocsin_driver *driver, tocsin_timer_fn *fn,
                      void *arg)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool);
    if (pool->closed) {
        return -ESHUTDOWN;
    }
    r = tocsin__heap_reserve(&pool->heap, pool);
    if (r < 0) {
        return r;
    }
    memset(timer, 0, sizeof(*timer));
    timer->driver_ = driver;
    timer->fn_ = fn;
    timer->arg_ = arg;
    timer->inbox_.kind_ = TOCSIN__ITEM_TIMER_MOVE;
    atomic_init(&timer->move_ns_, 0);
    tocsin__pool_ref(pool); /* so that deinit is safe after the pool has closed */
    return 0;
}

/* Take @timer out of heap or due list.  Returns: whether it was in one. */
static bool take_out(struct tocsin_pool *pool, struct tocsin_timer *timer)
{
    switch (place_of(timer)) {
    case STATE_IN_HEAP:
        tocsin__heap_remove(&pool->heap, timer);
        break;
    case STATE_DUE:
        *timer->link_ = timer->next_;
        if (timer->next_ != NULL) {
            timer->next_->link_ = timer->link_;
        } else {
            pool->due_tail = timer->link_;
        }
        break;
    default:
        return false;
    }
    set_place(timer, STATE_UNARMED);
    if ((timer->state_ & STATE_BACKGROUND) == 0) {
        pool->alive--;
    }
    return true;
}

static void arm(struct tocsin_pool *pool, struct tocsin_timer *timer, uint64_t deadline_ns)
{
    bool is_moved =
        place_of(timer) == STATE_IN_HEAP && deadline_ns != TOCSIN_NEVER_NS && !pool->closed;

    if (!is_moved) {
        take_out(pool, timer);
    }
    timer->state_ &= ~(uint32_t)STATE_FIRED;
    timer->deadline_ns_ = deadline_ns;
    if (deadline_ns == TOCSIN_NEVER_NS || pool->closed) {
        return;
    }
    timer->order_ = pool->timer_order++;
    if (is_moved) {
        tocsin__heap_move(&pool->heap, timer);
    } else {
        tocsin__heap_insert(&pool->heap, timer);
        set_place(timer, STATE_IN_HEAP);
        if ((timer->state_ & STATE_BACKGROUND) == 0) {
            pool->alive++;
        }
    }
    if (!tocsin__is_here(pool)) {
        tocsin__pool_wake_for_timer(pool,
                                    deadline_ns); /* a hosted pool between turns: design 4.5 */
    }
}

/* Let moves that other threads asked for before this take place now, so that they cannot later. */
static void settle_moves(struct tocsin_pool *pool, struct tocsin_timer *timer)
{
    /* TIMER-1 acquire: a move that returned before this call is seen. */
    if (atomic_load_explicit(&timer->move_ns_, memory_order_acquire) != 0) {
        tocsin__inbox_drain(pool, tocsin__inbox_take(&pool->inbox));
    }
}

void tocsin_timer_start(struct tocsin_timer *timer, const struct tocsin_timer_options *options)
{
    struct tocsin_pool *pool = pool_of(timer);
    uint64_t deadline_ns = options->deadline_ns;
    uint64_t now_ns;

    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin__assert_thread(pool);
    if (deadline_ns == 0) {
        /* The clock itself: the turn's time is old, and a delay counted from it ends early (T1). */
        now_ns = tocsin_pool_now_ns(pool);
        deadline_ns = options->delay_ns < TOCSIN_NEVER_NS - now_ns ? now_ns + options->delay_ns
                                                                   : TOCSIN_NEVER_NS;
    }
    settle_moves(pool, timer);
    take_out(pool, timer);
    timer->state_ = options->background ? STATE_BACKGROUND : 0;
    timer->period_ns_ = options->period_ns;
    arm(pool, timer, deadline_ns);
}

void tocsin_timer_arm(struct tocsin_timer *timer, uint64_t deadline_ns)
{
    struct tocsin_pool *pool = pool_of(timer);

    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin__assert_thread(pool);
    settle_moves(pool, timer);
    arm(pool, timer, deadline_ns);
}

bool tocsin_timer_disarm(struct tocsin_timer *timer)
{
    struct tocsin_pool *pool = pool_of(timer);
    struct tocsin_waker stale = timer->waker_;
    bool was_armed;

    if (tocsin__is_forked(pool)) {
        return false;
    }
    tocsin__assert_thread(pool);
    settle_moves(pool, timer);
    was_armed = take_out(pool, timer);
    timer->state_ &= ~(uint32_t)STATE_FIRED;
    timer->deadline_ns_ = TOCSIN_NEVER_NS;
    timer->waker_ = (struct tocsin_waker){0};
    tocsin_waker_drop(&stale);
    return was_armed;
}

void tocsin_timer_deinit(struct tocsin_timer *timer)
{
    struct tocsin_pool *pool;

    if (timer->driver_ == NULL) {
        return;
    }
    pool = pool_of(timer);
    if (tocsin__is_forked(pool)) {
        return;
    }
    tocsin_timer_disarm(timer);
    timer->driver_ = NULL;
    if (!pool->closed) {
        tocsin__heap_unreserve(&pool->heap);
    }
    tocsin__pool_unref(pool);
}

void tocsin_timer_move(struct tocsin_timer *timer, uint64_t deadline_ns)
{
    struct tocsin_pool *pool = pool_of(timer);
    uint64_t asked = deadline_ns != 0 ? deadline_ns : 1; /* 0 means none; both are long past */
    uint64_t latest;

    if (tocsin__is_forked(pool)) {
        return;
    }
    /* TIMER-1 acq_rel: the drain that takes this word sees what came before the move. */
    if (atomic_exchange_explicit(&timer->move_ns_, asked, memory_order_acq_rel) == 0) {
        if (!tocsin__inbox_push(&pool->inbox, &timer->inbox_)) {
            return; /* closed: the timer is disarmed for good */
        }
        /*
         * Another mover may have come between the exchange and the push: its turn found no item.
         * TIMER-1 acq_rel: a read-modify-write, not a load, so that one of the two sees the other
         * (W6).
         */
        latest = atomic_fetch_or_explicit(&timer->move_ns_, 0, memory_order_acq_rel);
        if (latest != 0 && latest < asked) {
            asked = latest;
        }
    }
    tocsin__pool_wake_for_timer(pool, asked);
}

void tocsin__timer_arrived(struct tocsin_pool *pool, struct tocsin_timer *timer)
{
    /* TIMER-1 acq_rel: pairs with tocsin_timer_move(), whose next caller pushes again. */
    uint64_t deadline_ns = atomic_exchange_explicit(&timer->move_ns_, 0, memory_order_acq_rel);

    if (deadline_ns != 0) {
        arm(pool, timer, deadline_ns);
    }
}

int tocsin_timer_poll(struct tocsin_timer *timer, struct tocsin_context *cx, uint64_t deadline_ns)
{
    struct tocsin_pool *pool = pool_of(timer);
    struct tocsin_waker stale = {0};
    bool fired;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool);
    if (timer->fn_ != NULL) {
        return -EINVAL;
    }
    if (deadline_ns != 0) {
        settle_moves(pool, timer); /* what was moved before this is not to override it */
    }
    fired = (timer->state_ & STATE_FIRED) != 0;
    /* Asking again for the same leaves alone what was moved meanwhile, by arm or another thread. */
    if (deadline_ns != 0 &&
        (deadline_ns != timer->asked_ns_ || (!fired && place_of(timer) == STATE_UNARMED))) {
        timer->asked_ns_ = deadline_ns;
        /* T1: the clock itself decides; the turn's time is only ever older. */
        if (deadline_ns <= pool->now_ns || deadline_ns <= tocsin_pool_now_ns(pool)) {
            tocsin_timer_disarm(timer);
            return 0;
        }
        arm(pool, timer, deadline_ns);
        fired = false;
    }
    if (fired) {
        timer->state_ &= ~(uint32_t)STATE_FIRED;
        stale = timer->waker_;
        timer->waker_ = (struct tocsin_waker){0};
        tocsin_waker_drop(&stale);
        return 0;
    }
    if (!tocsin_waker_will_wake(&timer->waker_, &cx->waker)) {
        stale = timer->waker_;
        timer->waker_ = tocsin_waker_clone(&cx->waker);
        tocsin_waker_drop(&stale);
    }
    return TOCSIN_PENDING;
}

uint64_t tocsin_timer_deadline_ns(const struct tocsin_timer *timer)
{
    return place_of(timer) == STATE_UNARMED ? TOCSIN_NEVER_NS : timer->deadline_ns_;
}

/* Call or wake.  @timer is unarmed, and may be gone when this returns. */
static void fire(struct tocsin_pool *pool, struct tocsin_timer *timer)
{
    uint64_t missed = 0;
    struct tocsin_waker waker;

    if (timer->period_ns_ != 0) {
        /* It does not drift: the next deadline counts from this one, past the periods missed. */
        missed = (pool->now_ns - timer->deadline_ns_) / timer->period_ns_;
        if (timer->period_ns_ < (TOCSIN_NEVER_NS - timer->deadline_ns_) / (missed + 1)) {
            arm(pool, timer, timer->deadline_ns_ + (missed + 1) * timer->period_ns_);
        }
    }
    if (timer->fn_ != NULL) {
        timer->fn_(timer, missed, timer->arg_);
        return;
    }
    timer->state_ |= STATE_FIRED;
    waker = timer->waker_;
    timer->waker_ = (struct tocsin_waker){0};
    tocsin_waker_wake(&waker);
}

/* Take what is due from the heap, behind what is left of the turn before. */
static void take_due(struct tocsin_pool *pool)
{
    uint32_t budget = pool->options.budget_polls;
    struct tocsin_timer *timer;

    while (budget-- > 0 && tocsin__heap_next_ns(&pool->heap) <= pool->now_ns) {
        timer = pool->heap.entries[0].timer;
        tocsin__heap_remove(&pool->heap, timer);
        set_place(timer, STATE_DUE);
        timer->next_ = NULL;
        timer->link_ = pool->due_tail;
        *pool->due_tail = timer;
        pool->due_tail = &timer->next_;
    }
}

void tocsin__timers_expire(struct tocsin_pool *pool)
{
    uint32_t until_clock = pool->options.clock_polls;
    struct tocsin_timer *timer;

    if (pool->due == NULL) {
        take_due(pool);
    }
    while ((timer = pool->due) != NULL && !tocsin__is_forked(pool)) {
        take_out(pool, timer);
        fire(pool, timer);
        if (--until_clock == 0) { /* F1 holds for callbacks, too */
            until_clock = pool->options.clock_polls;
            if (tocsin_pool_now_ns(pool) - pool->looked_ns >= pool->options.budget_ns) {
                return; /* the rest comes in the next turn */
            }
        }
    }
}

void tocsin__timers_end(struct tocsin_pool *pool)
{
    while (pool->heap.count > 0) {
        tocsin_timer_disarm(pool->heap.entries[0].timer);
    }
    while (pool->due != NULL) {
        tocsin_timer_disarm(pool->due);
    }
}
