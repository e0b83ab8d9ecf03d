/*
 * The sleep protocol's transitions: see wake.h for the word, design and invariants.
 *
 * Model: docs/models/wake.pml and docs/models/timer.pml.
 */
#include "runtime/wake.h"

#include "runtime/assert.h"

#define WAKE_ASLEEP UINT64_C(1)
#define WAKE_WOKEN UINT64_C(2)
#define WAKE_BITS (WAKE_ASLEEP | WAKE_WOKEN)

void tocsin__wake_init(struct tocsin__wake *wake)
{
    atomic_init(&wake->word, 0);
}

bool tocsin__wake_post(struct tocsin__wake *wake)
{
    /*
     * WAKE-1 acq_rel: pairs with the exchange in tocsin__wake_begin_turn().  Always written, never
     * skipped after a load: the write is what makes the caller's work visible to the next turn
     * (W2).
     */
    uint64_t old = atomic_fetch_or_explicit(&wake->word, WAKE_WOKEN, memory_order_acq_rel);

    return (old & WAKE_BITS) == WAKE_ASLEEP;
}

bool tocsin__wake_for_timer(struct tocsin__wake *wake, uint64_t deadline_ns)
{
    /* WAKE-1 relaxed: only a guess for the swap below, which says whether it was right. */
    uint64_t old = atomic_load_explicit(&wake->word, memory_order_relaxed);
    uint64_t new;
    bool kick;

    do {
        kick = false;
        new = old;
        if ((old & WAKE_ASLEEP) == 0) {
            new = old | WAKE_WOKEN;
        } else if ((old & WAKE_WOKEN) == 0 && (deadline_ns >> 2) < (old >> 2)) {
            new = old | WAKE_WOKEN;
            kick = true;
        }
        /*
         * WAKE-1 acq_rel: pairs with the exchange in tocsin__wake_begin_turn().  Even where nothing
         * changes the word is swapped for itself: that write makes the timer visible to the next
         * turn.
         */
    } while (!atomic_compare_exchange_weak_explicit(&wake->word, &old, new, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return kick;
}

bool tocsin__wake_try_sleep(struct tocsin__wake *wake, uint64_t deadline_ns)
{
    uint64_t old = 0;

    /*
     * WAKE-1 acq_rel: pairs with tocsin__wake_post(), which either comes first and makes this fail.
     */
    if (atomic_compare_exchange_strong_explicit(&wake->word, &old,
                                                (deadline_ns & ~WAKE_BITS) | WAKE_ASLEEP,
                                                memory_order_acq_rel, memory_order_acquire)) {
        return true;
    }
    TOCSIN_ASSERT(old == WAKE_WOKEN, "W5: sleeping while asleep");
    return false;
}

void tocsin__wake_waited(struct tocsin__wake *wake)
{
    /* WAKE-1 acq_rel: pairs with tocsin__wake_post(): who comes later need not kick. */
    uint64_t old = atomic_fetch_or_explicit(&wake->word, WAKE_WOKEN, memory_order_acq_rel);

    TOCSIN_ASSERT((old & WAKE_ASLEEP) != 0, "W5: the wait step returned to a loop that was awake");
}

void tocsin__wake_begin_turn(struct tocsin__wake *wake)
{
    /*
     * WAKE-1 acq_rel: pairs with tocsin__wake_post(); an exchange, for a store would lose a wake.
     */
    uint64_t old = atomic_exchange_explicit(&wake->word, 0, memory_order_acq_rel);

    TOCSIN_ASSERT((old & WAKE_BITS) != WAKE_ASLEEP, "W5: a turn began while asleep");
}

bool tocsin__wake_is_woken(const struct tocsin__wake *wake)
{
    /* WAKE-1 acquire: a glance; whoever acts on it goes through begin_turn or try_sleep. */
    return (atomic_load_explicit(&wake->word, memory_order_acquire) & WAKE_WOKEN) != 0;
}

bool tocsin__wake_is_asleep(const struct tocsin__wake *wake)
{
    /* WAKE-1 relaxed: only the loop's own thread sets or clears ASLEEP. */
    return (atomic_load_explicit(&wake->word, memory_order_relaxed) & WAKE_ASLEEP) != 0;
}
