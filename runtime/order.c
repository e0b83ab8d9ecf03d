/*
 * Drawing the order of the run queue: see order.h.
 */
#include "runtime/order.h"

uint32_t tocsin__order_draw(struct tocsin__order *order, uint32_t bound)
{
    /* splitmix64: any seed will do. */
    uint64_t z = order->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (uint32_t)(((z >> 32) * bound) >> 32);
}

/* Take the window off the queue, shuffle it, and put it back in front. */
static void draw_window(struct tocsin__order *order, struct tocsin__queue *queue)
{
    struct tocsin_item_ *window[TOCSIN__ORDER_WINDOW];
    struct tocsin_item_ *rest;
    uint32_t count = 0;

    while (count < TOCSIN__ORDER_WINDOW && queue->head != NULL) {
        window[count++] = tocsin__queue_pop(queue);
    }
    rest = queue->head;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t drawn = tocsin__order_draw(order, i);
        struct tocsin_item_ *item = window[drawn];

        window[drawn] = window[i - 1];
        window[i - 1] = item;
    }
    for (uint32_t i = count; i > 0; i--) {
        window[i - 1]->next_ = rest;
        rest = window[i - 1];
    }
    if (queue->head == NULL && count > 0) {
        queue->tail = window[count - 1];
    }
    queue->head = rest;
    order->left = count;
}

struct tocsin_item_ *tocsin__order_pop(struct tocsin__order *order, struct tocsin__queue *queue)
{
    if (order->left == 0) {
        draw_window(order, queue);
    }
    order->left -= order->left > 0;
    return tocsin__queue_pop(queue);
}
