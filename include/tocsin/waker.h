/*
 * Wakers: two words that say whom to wake.
 *
 * A waker is a value (ops, data) that owns one reference to what it wakes.  Any thread may clone,
 * wake or drop it, also after the pool that made it has closed: then a wake does nothing.  Waking
 * is never an order to run: it may be spurious, and wakes may merge.  A program can make its own
 * wakers by filling struct tocsin_waker_ops.
 */
#ifndef TOCSIN_WAKER_H
#define TOCSIN_WAKER_H

#include <tocsin/base.h>

TOCSIN_BEGIN_DECLS

/*
 * What a waker does.  All four may be called from any thread, at once, and must not block or fail.
 * The library calls them with none of its locks held and never while it walks a batch (D4).
 */
struct tocsin_waker_ops {
    void (*clone)(void *data);       /* one more reference to @data */
    void (*wake)(void *data);        /* wake, and give one reference up */
    void (*wake_by_ref)(void *data); /* wake; the reference stays */
    void (*drop)(void *data);        /* give one reference up */
};

/*
 * All zero: no waker.  Copying the struct moves the reference; tocsin_waker_clone() makes another.
 */
struct tocsin_waker {
    const struct tocsin_waker_ops *ops;
    void *data;
};

/*
 * Another waker for the same thing.
 *
 * Thread:  any.
 * Memory:  the result owns a reference of its own: wake it or drop it.
 */
static inline struct tocsin_waker tocsin_waker_clone(const struct tocsin_waker *waker)
{
    if (waker->ops != NULL) {
        waker->ops->clone(waker->data);
    }
    return *waker;
}

/*
 * Wake and use up @waker; it is empty afterwards.  An empty waker wakes nothing.
 *
 * Thread: any.
 */
static inline void tocsin_waker_wake(struct tocsin_waker *waker)
{
    const struct tocsin_waker_ops *ops = waker->ops;

    if (ops != NULL) {
        waker->ops = NULL;
        ops->wake(waker->data);
    }
}

/*
 * Wake through @waker and keep it.
 *
 * Thread: any.
 */
static inline void tocsin_waker_wake_by_ref(const struct tocsin_waker *waker)
{
    if (waker->ops != NULL) {
        waker->ops->wake_by_ref(waker->data);
    }
}

/*
 * Give @waker up without waking; it is empty afterwards.
 *
 * Thread: any.
 */
static inline void tocsin_waker_drop(struct tocsin_waker *waker)
{
    const struct tocsin_waker_ops *ops = waker->ops;

    if (ops != NULL) {
        waker->ops = NULL;
        ops->drop(waker->data);
    }
}

/*
 * True if both wake the same thing, so that one can stand for the other.
 *
 * Thread: any.
 */
static inline bool tocsin_waker_will_wake(const struct tocsin_waker *a,
                                          const struct tocsin_waker *b)
{
    return a->ops == b->ops && a->data == b->data;
}

/*
 * What a poll function gets: the waker to keep when it returns TOCSIN_PENDING.
 *
 * Memory: borrowed for the call; clone the waker to keep it.
 */
struct tocsin_context {
    struct tocsin_waker waker;
    struct tocsin_driver *driver; /* the pool that polls, borrowed; NULL in tocsin_block_on() */
    void *room_[2];
};

TOCSIN_END_DECLS

#endif
