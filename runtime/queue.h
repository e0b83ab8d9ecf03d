/*
 * The run queue: a plain first-in first-out list of embedded items (F2).
 *
 * Thread: the pool's.  An item is queued at most once; its owner keeps the mark.
 */
#ifndef TOCSIN_RUNTIME_QUEUE_H
#define TOCSIN_RUNTIME_QUEUE_H

#include <tocsin/base.h>

struct tocsin__queue {
    struct tocsin_item_ *head;
    struct tocsin_item_ *tail; /* undefined while head is NULL */
};

static inline void tocsin__queue_push(struct tocsin__queue *queue, struct tocsin_item_ *item)
{
    item->next_ = NULL;
    if (queue->head == NULL) {
        queue->head = item;
    } else {
        queue->tail->next_ = item;
    }
    queue->tail = item;
}

static inline struct tocsin_item_ *tocsin__queue_pop(struct tocsin__queue *queue)
{
    struct tocsin_item_ *item = queue->head;

    if (item != NULL) {
        queue->head = item->next_;
    }
    return item;
}

#endif
