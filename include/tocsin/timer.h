/*
 * Timers: one deadline each, in nanoseconds on the pool's monotonic clock.
 *
 * Two faces of one thing: a timer with a callback calls it on the pool's thread; a timer without is
 * polled by a task.  T1: never early.  T4: timers that are due fire in the order of their
 * deadlines, ties in the order of arming.  Arming, moving and disarming are O(log n) and cannot
 * fail: tocsin_timer_init() has reserved the room.
 */
#ifndef TOCSIN_TIMER_H
#define TOCSIN_TIMER_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_timer;

/* @missed: of a periodic timer, how many whole periods went by unserved before this call. */
typedef void tocsin_timer_fn(struct tocsin_timer *timer, uint64_t missed, void *arg);

/* Embed it; tocsin_timer_init() fills it. */
struct tocsin_timer {
    struct tocsin_driver *driver_;
    tocsin_timer_fn *fn_; /* NULL: the polling face */
    void *arg_;
    struct tocsin_waker waker_; /* polling face: who waits */
    uint64_t deadline_ns_;
    uint64_t period_ns_;
    uint64_t order_;             /* T4: when it was armed, among all */
    struct tocsin_timer *next_;  /* due and about to fire: the list, */
    struct tocsin_timer **link_; /* and what points here */
    uint32_t index_;             /* place in the heap */
    uint32_t state_;
    /* TIMER-1 in docs/CONCURRENCY.md: the deadline another thread asks for; 0: none. */
    TOCSIN_ATOMIC(uint64_t) move_ns_;
    struct tocsin_item_ inbox_; /* owned by whoever made move_ns_ non-zero */
    uint64_t asked_ns_;         /* polling face: what the last poll asked for */
    void *room_[1];
};

struct tocsin_timer_options {
    uint64_t deadline_ns; /* absolute; 0: @delay_ns from the clock as it is read in the call */
    uint64_t delay_ns;
    uint64_t period_ns; /* 0: once; else again at deadline + n * period: it does not drift */
    bool background;    /* it keeps no tocsin_pool_run() from returning */
};

/*
 * Prepare @timer, unarmed, and reserve its room in the queue.
 *
 * Thread:  the pool's, or any before its first run.
 * Memory:  @timer stays the caller's, until tocsin_timer_deinit().  It may be freed in its own
 *          callback after deinit.
 * Returns: 0.
 * Errors:  -ENOMEM, -ESHUTDOWN, -EOWNERDEAD: @timer was not touched.
 */
TOCSIN_API int tocsin_timer_init(struct tocsin_timer *timer, struct tocsin_driver *driver,
                                 tocsin_timer_fn *fn, void *arg);

/*
 * Disarm @timer and give its room back; also right after the pool has closed.
 *
 * Thread:  the pool's; no other thread may be in tocsin_timer_move().
 */
TOCSIN_API void tocsin_timer_deinit(struct tocsin_timer *timer);

/*
 * Arm, or arm anew, as @options says.  A deadline that has passed fires on the next turn, never
 * inside this call.
 *
 * Thread:  the pool's, or any before its first run.
 */
TOCSIN_API void tocsin_timer_start(struct tocsin_timer *timer,
                                   const struct tocsin_timer_options *options);

/*
 * Arm once at @deadline_ns; an armed timer is moved, its period and background stay.
 *
 * Units:   nanoseconds on the pool's clock; TOCSIN_NEVER_NS disarms.
 * Thread:  the pool's, or any before its first run.
 */
TOCSIN_API void tocsin_timer_arm(struct tocsin_timer *timer, uint64_t deadline_ns);

/*
 * Disarm: the callback runs no more, and its argument is free when this has returned.
 *
 * Thread:  the pool's, or any before its first run.
 * Returns: true if it was armed.
 */
TOCSIN_API bool tocsin_timer_disarm(struct tocsin_timer *timer);

/*
 * Move from another thread: as tocsin_timer_arm(), seen by the turn that follows.  T3: a later
 * deadline does not wake the pool; one earlier than it sleeps for wakes it once.  Of several moves
 * before that turn the last counts.
 *
 * Thread:  any, between init and deinit.
 */
TOCSIN_API void tocsin_timer_move(struct tocsin_timer *timer, uint64_t deadline_ns);

/*
 * Polling face: has the timer fired?
 *
 * Units:   @deadline_ns: the deadline to wait for, armed by this call unless it is armed already;
 *          0: whatever deadline was armed last.
 * Thread:  the pool's.
 * Returns: 0: the deadline has passed, and the timer is unarmed; TOCSIN_PENDING: cx->waker is kept
 *          and woken then.
 * Errors:  -EINVAL: it has a callback; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_timer_poll(struct tocsin_timer *timer, struct tocsin_context *cx,
                                 uint64_t deadline_ns);

/*
 * The deadline that is armed, or TOCSIN_NEVER_NS.
 *
 * Thread: the pool's.
 */
TOCSIN_API uint64_t tocsin_timer_deadline_ns(const struct tocsin_timer *timer);

TOCSIN_END_DECLS

#endif
