/*
 * The remote queue: what other threads submit, cancel and drop.
 *
 * A lock-free stack of embedded items, and one word that counts them and says whether the pool
 * means to sleep:
 *
 *   bit 0         INTENT: the pool is about to sleep, or sleeps
 *   bits 1 to 63  how many items were published, modulo 2^63
 *
 * A publisher pushes its item and then adds 1 to the count.  Where the old word had INTENT it must
 * wake the pool; where not, the pool will look at the count before it sleeps.  Both sides change
 * the one word by a read-modify-write, so one of them always sees the other (W6).  This word only
 * saves wakes: whether the pool sleeps is decided by the pool's own.
 *
 * Invariants
 *   Q1  An item whose push returned true is in the chain of exactly one later take.
 *   Q2  While INTENT is set and the pool's word asleep, every published item was taken, or its
 *       publisher was told to wake the pool.
 *   Q3  Only the pool's thread takes, arms and disarms.
 *
 * Model: docs/models/remote.pml.
 */
#ifndef TOCSIN_BACKENDS_RING_REMOTE_H
#define TOCSIN_BACKENDS_RING_REMOTE_H

#include "runtime/inbox.h"

struct remote {
    struct tocsin__inbox inbox;
    /* REMOTE-1: that items were published, to the pool on its way into sleep; and INTENT back. */
    _Atomic(uint64_t) word;
    uint64_t processed; /* the pool's: the count when it last looked before it took */
};

void tocsin__remote_init(struct remote *remote);

/*
 * Push @item.  Thread: any.  Returns: 1: and the pool must be woken; 0: it looks by itself;
 * -ESHUTDOWN: the queue has closed, the item was not linked.
 */
int tocsin__remote_push(struct remote *remote, struct tocsin_item_ *item);

/* Take all, oldest first, and disarm.  Until the first take INTENT is set. */
struct tocsin_item_ *tocsin__remote_take(struct remote *remote);

/* Take all and close. */
struct tocsin_item_ *tocsin__remote_close(struct remote *remote);

/* A glance: was something pushed since the last take? */
bool tocsin__remote_is_due(const struct remote *remote);

/* Set INTENT.  Returns: false if items came since the last take; INTENT is then clear again. */
bool tocsin__remote_arm(struct remote *remote);

#endif
