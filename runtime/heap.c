/*
 * The 4-ary heap of the timer queue: see heap.h.
 */
#include "runtime/heap.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    CHILDREN = 4, /* four 16-byte entries fill one cache line */
    CAPACITY_FIRST = 16,
};

int tocsin__heap_reserve(struct tocsin__heap *heap, struct tocsin_pool *pool)
{
    struct tocsin__heap_entry *entries;
    size_t capacity;

    if (heap->reserved == UINT32_MAX) {
        return -ENOMEM; /* an index is 32 bits */
    }
    if (heap->reserved == heap->capacity) {
        capacity = heap->capacity == 0 ? CAPACITY_FIRST : heap->capacity * 2;
        entries = tocsin__alloc(pool, capacity * sizeof(*entries));
        if (entries == NULL) {
            return -ENOMEM;
        }
        if (heap->count > 0) {
            memcpy(entries, heap->entries, heap->count * sizeof(*entries));
        }
        tocsin__free(pool, heap->entries);
        heap->entries = entries;
        heap->capacity = capacity;
    }
    heap->reserved++;
    return 0;
}

void tocsin__heap_unreserve(struct tocsin__heap *heap)
{
    TOCSIN_ASSERT(heap->reserved > heap->count, "a timer gave its room back while armed");
    heap->reserved--;
}

void tocsin__heap_deinit(struct tocsin__heap *heap, struct tocsin_pool *pool)
{
    tocsin__free(pool, heap->entries);
    *heap = (struct tocsin__heap){0};
}

/* T4: the deadline decides, then the order of arming. */
static bool is_before(const struct tocsin__heap_entry *a, const struct tocsin__heap_entry *b)
{
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns;
    }
    return a->timer->order_ < b->timer->order_;
}

static void put(struct tocsin__heap *heap, size_t index, struct tocsin__heap_entry entry)
{
    heap->entries[index] = entry;
    entry.timer->index_ = (uint32_t)index;
}

static void sift_up(struct tocsin__heap *heap, size_t index, struct tocsin__heap_entry entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / CHILDREN;

        if (!is_before(&entry, &heap->entries[parent])) {
            break;
        }
        put(heap, index, heap->entries[parent]);
        index = parent;
    }
    put(heap, index, entry);
}

static void sift_down(struct tocsin__heap *heap, size_t index, struct tocsin__heap_entry entry)
{
    for (;;) {
        size_t first = index * CHILDREN + 1;
        size_t end = first + CHILDREN < heap->count ? first + CHILDREN : heap->count;
        size_t least = first;

        if (first >= heap->count) {
            break;
        }
        for (size_t child = first + 1; child < end; child++) {
            if (is_before(&heap->entries[child], &heap->entries[least])) {
                least = child;
            }
        }
        if (!is_before(&heap->entries[least], &entry)) {
            break;
        }
        put(heap, index, heap->entries[least]);
        index = least;
    }
    put(heap, index, entry);
}

void tocsin__heap_insert(struct tocsin__heap *heap, struct tocsin_timer *timer)
{
    struct tocsin__heap_entry entry = {.deadline_ns = timer->deadline_ns_, .timer = timer};

    TOCSIN_ASSERT(heap->count < heap->reserved, "a timer was armed without tocsin_timer_init()");
    sift_up(heap, heap->count++, entry);
}

/* @entry goes to where it belongs, from the free place at @index. */
static void settle(struct tocsin__heap *heap, size_t index, struct tocsin__heap_entry entry)
{
    if (index > 0 && is_before(&entry, &heap->entries[(index - 1) / CHILDREN])) {
        sift_up(heap, index, entry);
    } else {
        sift_down(heap, index, entry);
    }
}

static void check_place(const struct tocsin__heap *heap, const struct tocsin_timer *timer)
{
    TOCSIN_ASSERT(timer->index_ < heap->count && heap->entries[timer->index_].timer == timer,
                  "a timer is not where it was put");
}

void tocsin__heap_move(struct tocsin__heap *heap, struct tocsin_timer *timer)
{
    struct tocsin__heap_entry entry = {.deadline_ns = timer->deadline_ns_, .timer = timer};

    check_place(heap, timer);
    settle(heap, timer->index_, entry);
}

void tocsin__heap_remove(struct tocsin__heap *heap, struct tocsin_timer *timer)
{
    size_t index = timer->index_;

    check_place(heap, timer);
    if (index != --heap->count) {
        settle(heap, index, heap->entries[heap->count]);
    }
}
