/*
 * The inbox: what other threads hand to the loop, a lock-free stack of embedded items.
 *
 * Any thread pushes; the loop takes all at once and gets them in the order of pushing.  An item is
 * in at most one place: its owner marks it (TASK_INBOX, move_ns_) before pushing, and the loop
 * unmarks it after taking.  A closed inbox takes nothing more, for good.
 *
 * Invariants
 *   I1  A push that returned true is in the chain of exactly one later take.
 *   I2  After tocsin__inbox_close() every push returns false.
 */
#ifndef TOCSIN_RUNTIME_INBOX_H
#define TOCSIN_RUNTIME_INBOX_H

#include <stdatomic.h>

#include <tocsin/base.h>

/* What an item is embedded in: of the inbox and of the run queue. */
enum tocsin__item_kind {
    TOCSIN__ITEM_TASK,       /* struct tocsin_task */
    TOCSIN__ITEM_POST,       /* struct post */
    TOCSIN__ITEM_TIMER_MOVE, /* struct tocsin_timer, inbox only */
    TOCSIN__ITEM_READY,      /* struct tocsin_fd_ready: attach (inbox), callback (run queue) */
    TOCSIN__ITEM_SLOT,       /* struct tocsin__slot_link */
};

struct tocsin__inbox {
    /*
     * INBOX-1 in docs/CONCURRENCY.md: publishes the item and all that its pusher wrote before, to
     * the take that gets it.
     */
    _Atomic(struct tocsin_item_ *) head;
};

void tocsin__inbox_init(struct tocsin__inbox *inbox);

/* Push @item.  Thread: any.  Returns: false if the inbox is closed; @item was then not linked. */
bool tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item);

/* Take all, oldest first.  Thread: the loop's. */
struct tocsin_item_ *tocsin__inbox_take(struct tocsin__inbox *inbox);

/* Stands at the head of a closed inbox; never linked, never read. */
extern struct tocsin_item_ tocsin__inbox_closed;

/* Has it been closed?  Thread: any. */
static inline bool tocsin__inbox_is_closed(const struct tocsin__inbox *inbox)
{
    /* INBOX-1 relaxed: closing is for good; a stale answer is as good as an earlier call. */
    return atomic_load_explicit(&inbox->head, memory_order_relaxed) == &tocsin__inbox_closed;
}

/* Take all and close.  Thread: the loop's. */
struct tocsin_item_ *tocsin__inbox_close(struct tocsin__inbox *inbox);

#endif
