/*
 * Interest slots: what one of the two outstanding polls of an object has seen, and who waits.
 *
 * Rules (design 7)
 *   N1  Every event that arrives is remembered in every slot until that slot is cleared.
 *   N2  A poll answers with the remembered events it asked for; ERR and HUP are always asked for,
 *       and RDHUP with IN, for a reader must learn of the end.
 *   N3  Clearing forgets what the slot was told of; what came and was not told stays.
 *   N4  A slot that was cleared is drained until the next event: trying the operation is in vain.
 *
 * Thread: the pool's.  No waker operation is called here: wakers move in and out (D4).
 */
#ifndef TOCSIN_RUNTIME_INTEREST_H
#define TOCSIN_RUNTIME_INTEREST_H

#include <tocsin/ready.h>

enum {
    TOCSIN__SLOTS = 2,
};

struct tocsin__interest {
    struct tocsin_waker waker; /* who waits, while wanted is not 0 */
    uint8_t observed;          /* seen since the slot was cleared */
    uint8_t delivered;         /* of these, what polls were told */
    uint8_t wanted;            /* what the waiting poll asked for; 0: nobody waits */
    uint8_t since_eagain;      /* all that arrived since the operation last said EAGAIN */
    bool drained;              /* N4 */
};

/* N2: what a poll for @events is really after. */
static inline uint32_t tocsin__interest_mask(uint32_t events)
{
    return events | TOCSIN_ERR | TOCSIN_HUP | ((events & TOCSIN_IN) != 0 ? TOCSIN_RDHUP : 0);
}

/* The remembered events of @events, told; 0: none, and nothing has changed. */
static inline uint32_t tocsin__interest_take(struct tocsin__interest *interest, uint32_t events)
{
    uint32_t seen = interest->observed & tocsin__interest_mask(events);

    interest->delivered |= (uint8_t)seen;
    return seen;
}

/* Wait for @events with @waker, which is moved in; the older waker comes out, to be dropped. */
static inline struct tocsin_waker tocsin__interest_wait(struct tocsin__interest *interest,
                                                        uint32_t events, struct tocsin_waker waker)
{
    struct tocsin_waker stale = interest->waker;

    interest->waker = waker;
    interest->wanted = (uint8_t)tocsin__interest_mask(events);
    return stale;
}

/* @events arrived.  Returns: the waker to wake, or an empty one. */
static inline struct tocsin_waker tocsin__interest_arrive(struct tocsin__interest *interest,
                                                          uint32_t events)
{
    struct tocsin_waker waker = {0};

    interest->observed |= (uint8_t)events;
    interest->since_eagain |= (uint8_t)events;
    interest->drained = false;
    if ((interest->observed & interest->wanted) != 0) {
        waker = interest->waker;
        interest->waker = (struct tocsin_waker){0};
        interest->wanted = 0;
    }
    return waker;
}

static inline void tocsin__interest_clear(struct tocsin__interest *interest)
{
    interest->observed &= (uint8_t)~interest->delivered;
    interest->delivered = 0;
    interest->drained = true; /* what was not told still answers the next poll */
}

#endif
