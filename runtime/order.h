/*
 * The run queue in an order that a seed decides: the option order_seed.
 *
 * The items at the head of the queue, up to ORDER_WINDOW of them, are put in a drawn order, and
 * only when all of these have run are the next ones.  So an item is overtaken by fewer than
 * ORDER_WINDOW others, and none starves.  Without the option none of this runs: F2.
 *
 * Thread: the pool's.
 */
#ifndef TOCSIN_RUNTIME_ORDER_H
#define TOCSIN_RUNTIME_ORDER_H

#include "runtime/queue.h"

enum {
    TOCSIN__ORDER_WINDOW = 64,
};

struct tocsin__order {
    uint64_t state; /* of the row of numbers that the seed began */
    uint32_t left;  /* items at the head that have been drawn and not run */
};

/* The next number of the row, below @bound, which is not 0. */
uint32_t tocsin__order_draw(struct tocsin__order *order, uint32_t bound);

/* As tocsin__queue_pop(), in drawn order. */
struct tocsin_item_ *tocsin__order_pop(struct tocsin__order *order, struct tocsin__queue *queue);

#endif
