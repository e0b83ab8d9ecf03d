/*
 * Slots, ids and numbers of registrations: see registrations.h.
 */
#include "runtime/registrations.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

static_assert(sizeof(struct tocsin_fd_ready) <= 192,
              "a watched descriptor costs three lines at most");

int tocsin__registrations_init(struct tocsin__registrations *registrations)
{
    return tocsin__mutex_init(&registrations->lock);
}

void tocsin__registrations_deinit(struct tocsin_pool *pool)
{
    struct tocsin__registrations *registrations = &pool->registrations;

    for (size_t i = 0; i < TOCSIN__CHUNKS_MAX; i++) {
        /* CHUNK-2 relaxed: nobody else is left. */
        tocsin__free(pool, atomic_load_explicit(&registrations->chunks[i], memory_order_relaxed));
    }
    tocsin__free(pool, registrations->numbers);
    tocsin__mutex_deinit(&registrations->lock);
}

static bool grow_slots_locked(struct tocsin_pool *pool)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    uint32_t chunk = registrations->chunks_count;
    uint32_t count = UINT32_C(1) << (TOCSIN__CHUNK_FIRST_BITS + chunk);
    uint32_t first = count - (UINT32_C(1) << TOCSIN__CHUNK_FIRST_BITS);
    struct tocsin_fd_ready *slots;

    if (chunk == TOCSIN__CHUNKS_MAX) {
        return false;
    }
    slots = tocsin__alloc_zeroed(pool, count * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > 0;) {
        slots[i].index = first + i;
        slots[i].next = registrations->free;
        registrations->free = &slots[i];
    }
    registrations->chunks_count++;
    /* CHUNK-2 release: pairs with the acquire in tocsin__registration_find(). */
    atomic_store_explicit(&registrations->chunks[chunk], slots, memory_order_release);
    return true;
}

static bool grow_numbers_locked(struct tocsin_pool *pool, intptr_t number)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    size_t count = registrations->numbers_count == 0 ? 64 : registrations->numbers_count;
    struct tocsin_fd_ready **numbers;

    while (count <= (size_t)number) {
        count *= 2;
    }
    numbers = tocsin__alloc_zeroed(pool, count * sizeof(struct tocsin_fd_ready *));
    if (numbers == NULL) {
        return false;
    }
    if (registrations->numbers_count > 0) {
        memcpy(numbers, registrations->numbers,
               registrations->numbers_count * sizeof(struct tocsin_fd_ready *));
    }
    tocsin__free(pool, registrations->numbers);
    registrations->numbers = numbers;
    registrations->numbers_count = count;
    return true;
}

static bool has_numbers(const struct tocsin_pool *pool, const struct tocsin_fd_ready *ready)
{
    return (pool->driver.ops->features & TOCSIN_BACKEND_DESCRIPTORS) != 0 &&
           (ready->watch.source == TOCSIN_SOURCE_DESCRIPTOR ||
            ready->watch.source == TOCSIN_SOURCE_SOCKET);
}

struct tocsin_fd_ready *tocsin__registration_take_locked(struct tocsin_pool *pool, intptr_t number)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    struct tocsin_fd_ready *ready;
    uint32_t index;
    uint32_t generation;

    if (registrations->free == NULL && !grow_slots_locked(pool)) {
        return NULL;
    }
    ready = registrations->free;
    registrations->free = ready->next;
    index = ready->index;
    generation = ready->generation + 1;
    /* All but live, which the walk may be reading: an old id meets 0. */
    memset(&ready->watch, 0, sizeof(ready->watch));
    memset(ready->slots, 0, sizeof(ready->slots));
    ready->pool = pool;
    ready->next = NULL;
    ready->item = (struct tocsin_item_){.kind_ = TOCSIN__ITEM_READY};
    ready->flags = 0;
    ready->local_flags = 0;
    ready->error = 0;
    ready->generation = generation;
    ready->watch.number = number;
    ready->watch.id = (uint64_t)generation << 32 | (index + 1);
    return ready;
}

void tocsin__registration_free_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    ready->next = pool->registrations.free;
    pool->registrations.free = ready;
}

/*
 * Detach what other threads have closed and might not detach: one of these may have the number that
 * is to be attached, and only for descriptors is there a table that would say which.
 */
static void settle_locked(struct tocsin_pool *pool)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    struct tocsin_fd_ready *first;

    if ((pool->driver.ops->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH) != 0) {
        return;
    }
    /* DEFER-1 relaxed: pushed under the lock, and taken by this thread. */
    first = atomic_load_explicit(&pool->deferred, memory_order_relaxed);
    for (struct tocsin_fd_ready *closed = first; closed != registrations->settled;
         closed = closed->next) {
        tocsin__registration_detach_locked(pool, closed);
    }
    registrations->settled = first;
}

int tocsin__registration_attach_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    struct tocsin_fd_ready **number;
    int r;

    settle_locked(pool);
    /* Before attaching, for after it events may come, and nothing may fail any more (G1). */
    if (has_numbers(pool, ready) &&
        (size_t)ready->watch.number >= pool->registrations.numbers_count) {
        r = tocsin__fd_is_nonblocking(ready->watch.number); /* is it a descriptor at all? */
        if (r < 0) {
            return r;
        }
        if (!grow_numbers_locked(pool, ready->watch.number)) {
            return -ENOMEM;
        }
    }
    number = has_numbers(pool, ready) ? &pool->registrations.numbers[ready->watch.number] : NULL;
    r = pool->driver.ops->attach(pool->driver.backend_state, &ready->watch);
    if (r == -EEXIST && number != NULL && *number == NULL) {
        /*
         * A file that was closed before its object, lived on by a dup, and has come back to its
         * number: what the kernel kept of it is nobody's.
         */
        pool->driver.ops->detach(pool->driver.backend_state, &ready->watch);
        r = pool->driver.ops->attach(pool->driver.backend_state, &ready->watch);
    }
    if (r < 0) {
        return r;
    }
    if (number != NULL) {
        if (*number != NULL) {
            (*number)->flags |= TOCSIN__REG_STALE;
        }
        *number = ready;
    }
    ready->flags |= TOCSIN__REG_ATTACHED;
    return 0;
}

int tocsin__registration_detach_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    if ((ready->flags & TOCSIN__REG_STALE) != 0) {
        return -ENOENT; /* its number is another file by now, and registered */
    }
    if ((ready->flags & TOCSIN__REG_ATTACHED) == 0) {
        return 0;
    }
    ready->flags &= ~(uint32_t)TOCSIN__REG_ATTACHED;
    if (has_numbers(pool, ready)) {
        pool->registrations.numbers[ready->watch.number] = NULL;
    }
    return pool->driver.ops->detach(pool->driver.backend_state, &ready->watch);
}

struct tocsin_fd_ready *tocsin__registration_find(struct tocsin_pool *pool, uint64_t id)
{
    /* 64 bits: any id may come, of a broken backend too, and must not wrap round to a slot. */
    uint64_t position = (id & UINT32_MAX) - 1 + (UINT64_C(1) << TOCSIN__CHUNK_FIRST_BITS);
    uint32_t bits = TOCSIN__CHUNK_FIRST_BITS;
    struct tocsin_fd_ready *slots;
    struct tocsin_fd_ready *ready;

    while (position >> bits > 1) {
        bits++;
    }
    if ((uint32_t)id == 0 || bits - TOCSIN__CHUNK_FIRST_BITS >= TOCSIN__CHUNKS_MAX) {
        return NULL; /* no id of ours */
    }
    /* CHUNK-2 acquire: pairs with the release in grow_slots_locked(). */
    slots = atomic_load_explicit(&pool->registrations.chunks[bits - TOCSIN__CHUNK_FIRST_BITS],
                                 memory_order_acquire);
    if (slots == NULL) {
        return NULL;
    }
    ready = &slots[position - (UINT64_C(1) << bits)];
    /* LIVE-1 acquire: pairs with the release in tocsin__ready_open(). */
    return atomic_load_explicit(&ready->live, memory_order_acquire) == id ? ready : NULL;
}
