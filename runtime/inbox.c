/*
 * The inbox's stack: see inbox.h.  Only whole chains are taken, so there is no ABA problem.
 */
#include "runtime/inbox.h"

struct tocsin_item_ tocsin__inbox_closed;

void tocsin__inbox_init(struct tocsin__inbox *inbox)
{
    atomic_init(&inbox->head, NULL);
}

bool tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item)
{
    /* INBOX-1 relaxed: only compared and linked to; the swap below says whether it was right. */
    struct tocsin_item_ *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);

    do {
        if (head == &tocsin__inbox_closed) {
            return false;
        }
        item->next_ = head;
        /* INBOX-1 release: pairs with the acquire in take. */
    } while (!atomic_compare_exchange_weak_explicit(&inbox->head, &head, item, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

static struct tocsin_item_ *take(struct tocsin__inbox *inbox, struct tocsin_item_ *leave)
{
    /*
     * INBOX-1 acquire: pairs with the release in tocsin__inbox_push(), of every item in the chain.
     */
    struct tocsin_item_ *item = atomic_exchange_explicit(&inbox->head, leave, memory_order_acquire);
    struct tocsin_item_ *reversed = NULL;

    if (item == &tocsin__inbox_closed) {
        return NULL;
    }
    while (item != NULL) {
        struct tocsin_item_ *next = item->next_;

        item->next_ = reversed;
        reversed = item;
        item = next;
    }
    return reversed;
}

struct tocsin_item_ *tocsin__inbox_take(struct tocsin__inbox *inbox)
{
    /* INBOX-1 relaxed: most turns find nothing and need not write the shared line. */
    struct tocsin_item_ *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);

    if (head == NULL || head == &tocsin__inbox_closed) {
        return NULL;
    }
    return take(inbox, NULL);
}

struct tocsin_item_ *tocsin__inbox_close(struct tocsin__inbox *inbox)
{
    return take(inbox, &tocsin__inbox_closed);
}
