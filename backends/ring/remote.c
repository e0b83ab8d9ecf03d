/*
 * The remote queue's word: see remote.h.
 */
#include "backends/ring/remote.h"

#include <errno.h>

#define INTENT UINT64_C(1)
#define ONE_ITEM UINT64_C(2)

void tocsin__remote_init(struct remote *remote)
{
    tocsin__inbox_init(&remote->inbox);
    atomic_init(&remote->word,
                INTENT); /* a pool that sleeps may get its ring from another thread */
    remote->processed = 0;
}

int tocsin__remote_push(struct remote *remote, struct tocsin_item_ *item)
{
    uint64_t old;

    if (!tocsin__inbox_push(&remote->inbox, item)) {
        return -ESHUTDOWN;
    }
    /*
     * REMOTE-1 acq_rel: pairs with tocsin__remote_arm().  @item is the pool's by now and may be
     * gone; the queue is not, for the caller holds the pool.
     */
    old = atomic_fetch_add_explicit(&remote->word, ONE_ITEM, memory_order_acq_rel);
    return (old & INTENT) != 0;
}

/* Clear INTENT and note the count: what is pushed later counts as not taken. */
static void disarm(struct remote *remote)
{
    /*
     * REMOTE-1 acquire: pairs with tocsin__remote_push(): an item that counts is found by the take.
     */
    uint64_t word = atomic_load_explicit(&remote->word, memory_order_acquire);

    if ((word & INTENT) != 0) {
        /* REMOTE-1 acq_rel: pairs with tocsin__remote_push(). */
        word = atomic_fetch_and_explicit(&remote->word, ~INTENT, memory_order_acq_rel);
    }
    remote->processed = word & ~INTENT;
}

struct tocsin_item_ *tocsin__remote_take(struct remote *remote)
{
    disarm(remote);
    return tocsin__inbox_take(&remote->inbox);
}

struct tocsin_item_ *tocsin__remote_close(struct remote *remote)
{
    disarm(remote);
    return tocsin__inbox_close(&remote->inbox);
}

bool tocsin__remote_is_due(const struct remote *remote)
{
    /* REMOTE-1 relaxed: only a glance; arm decides. */
    uint64_t word = atomic_load_explicit(&remote->word, memory_order_relaxed);

    return (word & ~INTENT) != remote->processed;
}

bool tocsin__remote_arm(struct remote *remote)
{
    /* REMOTE-1 acq_rel: pairs with tocsin__remote_push(): it sees INTENT, or this sees its item. */
    uint64_t old = atomic_fetch_or_explicit(&remote->word, INTENT, memory_order_acq_rel);

    if ((old & ~INTENT) == remote->processed) {
        return true;
    }
    /* REMOTE-1 acq_rel: as above. */
    atomic_fetch_and_explicit(&remote->word, ~INTENT, memory_order_acq_rel);
    return false;
}
