/*
 * The timer queue: a 4-ary heap whose keys lie beside the pointers.
 *
 * Ordered by deadline, ties by the order of arming (T4).  Room is reserved timer by timer, so that
 * inserting cannot fail.  T2: each change touches O(log n) entries and no other timer's state but
 * its index.
 */
#ifndef TOCSIN_RUNTIME_HEAP_H
#define TOCSIN_RUNTIME_HEAP_H

#include <tocsin/timer.h>

struct tocsin__heap_entry {
    uint64_t deadline_ns;
    struct tocsin_timer *timer;
};

struct tocsin__heap {
    struct tocsin__heap_entry *entries;
    size_t count;
    size_t capacity;
    size_t reserved; /* <= capacity: how many timers may be in at once */
};

/*
 * Reserve room for one more timer, moving the entries to memory of @pool when they outgrow theirs.
 * Errors: -ENOMEM: nothing has changed.
 */
int tocsin__heap_reserve(struct tocsin__heap *heap, struct tocsin_pool *pool);
void tocsin__heap_unreserve(struct tocsin__heap *heap);
void tocsin__heap_deinit(struct tocsin__heap *heap, struct tocsin_pool *pool);

/* @timer->deadline_ns_ and order_ are set; @timer->index_ is kept up to date while it is in. */
void tocsin__heap_insert(struct tocsin__heap *heap, struct tocsin_timer *timer);
void tocsin__heap_remove(struct tocsin__heap *heap, struct tocsin_timer *timer);

/* @timer is in, and its deadline_ns_ and order_ are new: from where it is to where it belongs. */
void tocsin__heap_move(struct tocsin__heap *heap, struct tocsin_timer *timer);

static inline uint64_t tocsin__heap_next_ns(const struct tocsin__heap *heap)
{
    return heap->count > 0 ? heap->entries[0].deadline_ns : TOCSIN_NEVER_NS;
}

#endif
