/*
 * Readiness objects: open, close, poll, and the walk that brings their events.
 *
 * Opening and closing may come from any thread, under registrations.lock.  All else is the pool's
 * thread's.
 *
 * D1  A close on another thread, or while a batch is walked, unregisters at once but leaves the
 *     slot to the deferred list, a lock-free stack; the pool is woken and frees the list after the
 *     walk.
 * D2  A close on the pool's thread with no batch being walked frees at once.
 * D3  After a close has returned no event reaches the object: its id is dead.
 * D4  While a batch is walked no user code runs and no waker is touched but moved: wakers are
 *     collected and woken after, callbacks are queued.
 *
 * Model: docs/models/delete.pml.
 */
#include <errno.h>

#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/vpoll_slot.h"

static bool is_slot(const struct tocsin_fd_ready *ready)
{
    return ready->watch.source == TOCSIN__SOURCE_SLOT;
}

static bool has_source(const struct tocsin_pool *pool, enum tocsin_source source)
{
    uint32_t needed = 0;

    switch (source) {
    case TOCSIN_SOURCE_DESCRIPTOR:
        needed = TOCSIN_BACKEND_DESCRIPTORS;
        break;
    case TOCSIN_SOURCE_SOCKET:
        needed = TOCSIN_BACKEND_SOCKETS;
        break;
    case TOCSIN_SOURCE_HANDLE:
        needed = TOCSIN_BACKEND_HANDLES;
        break;
    case TOCSIN_SOURCE_OWN:
        needed = TOCSIN_BACKEND_OWN_SOURCES;
        break;
    }
    return (pool->driver.ops->features & needed) != 0;
}

static bool may_attach_here(const struct tocsin_pool *pool)
{
    return (pool->driver.ops->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH) != 0 ||
           tocsin__is_here(pool);
}

/* Publish @ready's id, then attach or send it to the thread that may. */
static int start_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    int r = 0;

    /*
     * LIVE-1 release: pairs with the acquire in tocsin__registration_find(): events may come at
     * once.
     */
    atomic_store_explicit(&ready->live, ready->watch.id, memory_order_release);
    if (is_slot(ready)) {
        return 0; /* no backend has to know */
    }
    if (may_attach_here(pool)) {
        r = tocsin__registration_attach_locked(pool, ready);
    } else {
        ready->flags |= TOCSIN__REG_PENDING;
        r = tocsin__inbox_push(&pool->inbox, &ready->item) ? 0 : -ESHUTDOWN;
    }
    if (r < 0) {
        /* LIVE-1 relaxed: nothing was published under this id. */
        atomic_store_explicit(&ready->live, 0, memory_order_relaxed);
        tocsin__registration_free_locked(pool, ready);
    }
    return r;
}

/* A registration, published, and attached where a backend must know of it. */
static int open_registration(struct tocsin_pool *pool, uint32_t source, intptr_t number,
                             uint32_t flags, struct tocsin_fd_ready **out_ready)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    struct tocsin_fd_ready *ready;
    int r;

    tocsin__mutex_lock(&registrations->lock);
    if (registrations->closed) {
        r = -ESHUTDOWN;
        goto out;
    }
    ready = tocsin__registration_take_locked(pool, number);
    if (ready == NULL) {
        r = -ENOMEM;
        goto out;
    }
    ready->watch.source = source;
    ready->local_flags = flags;
    r = start_locked(pool, ready);
    if (r == 0) {
        tocsin__pool_ref(pool);
        *out_ready = ready;
    }
out:
    tocsin__mutex_unlock(&registrations->lock);
    return r;
}

int tocsin__ready_open_slot(struct tocsin_pool *pool, struct tocsin_vpoll_slot *slot,
                            uint32_t flags, struct tocsin_fd_ready **out_ready)
{
    struct tocsin__registrations *registrations = &pool->registrations;
    struct tocsin_fd_ready *ready;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    r = open_registration(pool, TOCSIN__SOURCE_SLOT, -1, flags, &ready);
    if (r < 0) {
        return r;
    }
    r = tocsin__slot_attach(slot, ready);
    if (r < 0) {
        tocsin__mutex_lock(&registrations->lock);
        /* LIVE-1 relaxed: nothing was published under this id. */
        atomic_store_explicit(&ready->live, 0, memory_order_relaxed);
        tocsin__registration_free_locked(pool, ready);
        tocsin__mutex_unlock(&registrations->lock);
        tocsin__pool_unref(pool);
        return r;
    }
    *out_ready = ready;
    return 0;
}

int tocsin__ready_open(struct tocsin_pool *pool, enum tocsin_source source, intptr_t number,
                       uint32_t flags, struct tocsin_fd_ready **out_ready)
{
    struct tocsin_vpoll_slot *slot;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    slot = source == TOCSIN_SOURCE_DESCRIPTOR ? tocsin__slot_find(number) : NULL;
    if (slot != NULL) {
        r = tocsin__ready_open_slot(pool, slot, flags, out_ready);
        tocsin__slot_unref(slot);
        return r;
    }
    if (!has_source(pool, source)) {
        return -EOPNOTSUPP;
    }
    if (source != TOCSIN_SOURCE_OWN && (number < 0 || number > INT_MAX) &&
        (pool->driver.ops->features & TOCSIN_BACKEND_DESCRIPTORS) != 0) {
        return -EBADF;
    }
    r = open_registration(pool, source, number, flags, out_ready);
    if (r == 0 && !may_attach_here(pool)) {
        tocsin__pool_wake(pool);
    }
    return r;
}

int tocsin_fd_ready_open(struct tocsin_driver *driver, int fd, struct tocsin_fd_ready **out_ready)
{
    return tocsin__ready_open(tocsin__pool_of(driver), TOCSIN_SOURCE_DESCRIPTOR, fd, 0, out_ready);
}

int tocsin_source_ready_open(struct tocsin_driver *driver, enum tocsin_source source,
                             intptr_t number, struct tocsin_fd_ready **out_ready)
{
    return tocsin__ready_open(tocsin__pool_of(driver), source, number, 0, out_ready);
}

int tocsin_vpoll_slot_ready_open(struct tocsin_driver *driver, struct tocsin_vpoll_slot *slot,
                                 struct tocsin_fd_ready **out_ready)
{
    return tocsin__ready_open_slot(tocsin__pool_of(driver), slot, 0, out_ready);
}

/* Outside of walks: wakers are woken at once. */
static void wake_slots(struct tocsin_fd_ready *ready, uint32_t events)
{
    struct tocsin_waker wakers[TOCSIN__SLOTS];

    for (size_t i = 0; i < TOCSIN__SLOTS; i++) {
        wakers[i] = tocsin__interest_arrive(&ready->slots[i], events);
    }
    for (size_t i = 0; i < TOCSIN__SLOTS; i++) {
        tocsin_waker_wake(&wakers[i]);
    }
}

/* Attaching failed: whoever waits must come and hear it. */
static void fail(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    if ((ready->local_flags & TOCSIN__REG_CALLBACK) != 0) {
        ready->local_flags |= TOCSIN__REG_QUEUED;
        tocsin__queue_push(&pool->queue, &ready->item);
    } else {
        wake_slots(ready, TOCSIN_ERR);
    }
}

/* The put-off attaching.  Thread: the pool's. */
void tocsin__ready_arrived(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    bool is_open;

    tocsin__mutex_lock(&pool->registrations.lock);
    ready->flags &= ~(uint32_t)TOCSIN__REG_PENDING;
    /* LIVE-1 relaxed: written under the lock. */
    is_open = atomic_load_explicit(&ready->live, memory_order_relaxed) != 0;
    if (is_open && !pool->registrations.closed) {
        ready->error = tocsin__registration_attach_locked(pool, ready);
    }
    tocsin__mutex_unlock(&pool->registrations.lock);
    if (!is_open) {
        return; /* it was closed meanwhile, and is on the deferred list */
    }
    if (ready->error < 0) {
        fail(pool, ready);
    } else {
        tocsin__ready_arm(pool, ready);
    }
}

static void defer(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    /* DEFER-1 relaxed: the swap below says whether it was right. */
    struct tocsin_fd_ready *head = atomic_load_explicit(&pool->deferred, memory_order_relaxed);

    do {
        ready->next = head;
        /* DEFER-1 release: pairs with the acquire in tocsin__deferred_free(). */
    } while (!atomic_compare_exchange_weak_explicit(&pool->deferred, &head, ready,
                                                    memory_order_release, memory_order_relaxed));
}

/*
 * Give a closed registration's slot back and drop what it holds.
 *
 * Thread: the pool's, or that of the closer when the pool has closed.
 */
void tocsin__ready_free(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    struct tocsin_waker stale[TOCSIN__SLOTS] = {{0}};

    stale[0] = ready->slots[0].waker;
    if ((ready->local_flags & TOCSIN__REG_CALLBACK) == 0) {
        stale[1] = ready->slots[1].waker;
    }
    tocsin__mutex_lock(&pool->registrations.lock);
    tocsin__registration_free_locked(pool, ready);
    tocsin__mutex_unlock(&pool->registrations.lock);
    for (size_t i = 0; i < TOCSIN__SLOTS; i++) {
        tocsin_waker_drop(&stale[i]); /* outside the lock: D4 */
    }
    tocsin__pool_unref(pool);
}

/* Free now, or when the run queue lets the callback go. */
static void free_or_leave(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    if ((ready->local_flags & TOCSIN__REG_QUEUED) != 0) {
        ready->local_flags |= TOCSIN__REG_CLOSED;
    } else {
        tocsin__ready_free(pool, ready);
    }
}

int tocsin_fd_ready_close(struct tocsin_fd_ready *ready)
{
    struct tocsin_pool *pool;
    bool pool_closed;
    bool deferred;
    struct tocsin__slot_link *link;
    int r = 0;

    if (ready == NULL) {
        return 0;
    }
    pool = ready->pool;
    if (tocsin__is_forked(pool)) {
        tocsin__pool_unref(pool); /* no lock, no list: another thread of the parent may hold them */
        return -EOWNERDEAD;
    }
    tocsin__mutex_lock(&pool->registrations.lock);
    /* LIVE-1 release: D3: an event that is found after this meets a dead id. */
    atomic_store_explicit(&ready->live, 0, memory_order_release);
    pool_closed = pool->registrations.closed;
    link = is_slot(ready) ? ready->watch.data : NULL;
    deferred = !pool_closed && (!tocsin__is_here(pool) || pool->walking ||
                                (ready->flags & TOCSIN__REG_PENDING) != 0);
    if (!pool_closed && may_attach_here(pool)) {
        r = tocsin__registration_detach_locked(pool, ready);
    } else if (!pool_closed && (ready->flags & TOCSIN__REG_STALE) != 0) {
        r = -ENOENT;
    }
    if (deferred) {
        tocsin__pool_ref(
            pool); /* for the wake: once on the list, the object holds nothing for us */
        defer(pool, ready);
    }
    tocsin__mutex_unlock(&pool->registrations.lock);
    if (link != NULL) {
        tocsin__slot_detach(link, pool_closed);
    }
    if (deferred) {
        tocsin__pool_wake(pool);
        tocsin__pool_unref(pool);
    } else {
        free_or_leave(pool, ready);
    }
    return r;
}

/* What is closed and was taken from the deferred list, if the closers might not. */
static void detach_all(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    pool->registrations.settled = NULL;
    while (ready != NULL) {
        struct tocsin_fd_ready *next = ready->next;

        tocsin__mutex_lock(&pool->registrations.lock);
        if (!pool->registrations.closed) {
            tocsin__registration_detach_locked(pool, ready);
        }
        tocsin__mutex_unlock(&pool->registrations.lock);
        ready = next;
    }
}

void tocsin__deferred_free(struct tocsin_pool *pool)
{
    struct tocsin_fd_ready *ready;

    /* DEFER-1 relaxed: most turns find nothing and need not write the shared line. */
    if (atomic_load_explicit(&pool->deferred, memory_order_relaxed) == NULL) {
        return;
    }
    TOCSIN_ASSERT(!pool->walking, "D1: a free while a batch is walked");
    /* DEFER-1 acquire: pairs with the release in defer(), of every link of the chain. */
    ready = atomic_exchange_explicit(&pool->deferred, NULL, memory_order_acquire);
    detach_all(pool, ready); /* before one of their numbers comes anew, out of the inbox */
    /*
     * What was opened off-thread and closed at once may still be in the inbox: take it from there.
     */
    tocsin__inbox_drain(pool, tocsin__inbox_take(&pool->inbox));
    while (ready != NULL) {
        struct tocsin_fd_ready *next = ready->next;

        free_or_leave(pool, ready);
        ready = next;
    }
}

/* What backends without EDGE have to be told: the events still wanted by some slot. */
void tocsin__ready_arm(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    uint32_t wanted = ready->slots[0].wanted;

    if ((pool->driver.ops->features & TOCSIN_BACKEND_EDGE) != 0 || is_slot(ready)) {
        return;
    }
    if ((ready->local_flags & TOCSIN__REG_CALLBACK) == 0) {
        wanted |= ready->slots[1].wanted;
    }
    if (wanted == ready->watch.events) {
        return;
    }
    /* Under the lock, for another thread may be closing it. */
    tocsin__mutex_lock(&pool->registrations.lock);
    if ((ready->flags & TOCSIN__REG_ATTACHED) != 0 && !pool->registrations.closed) {
        ready->watch.events = wanted;
        pool->driver.ops->arm(pool->driver.backend_state, &ready->watch, wanted);
    }
    tocsin__mutex_unlock(&pool->registrations.lock);
}

/* @events of a watch came: its callback is due, or not wanted. */
static bool queue_callback(struct tocsin_pool *pool, struct tocsin_fd_ready *ready, uint32_t events)
{
    ready->slots[0].observed |= (uint8_t)events;
    if ((ready->slots[0].observed & ready->slots[0].wanted) == 0 ||
        (ready->local_flags & TOCSIN__REG_QUEUED) != 0) {
        return false;
    }
    ready->local_flags |= TOCSIN__REG_QUEUED;
    tocsin__queue_push(&pool->queue, &ready->item);
    return true;
}

void tocsin__ready_signal(struct tocsin_pool *pool, struct tocsin_fd_ready *ready, uint32_t events)
{
    if ((ready->local_flags & TOCSIN__REG_CALLBACK) != 0) {
        queue_callback(pool, ready, events);
    } else {
        wake_slots(ready, events);
    }
}

/* One event of the batch.  No user code: D4. */
static void deliver(struct tocsin_pool *pool, struct tocsin_fd_ready *ready, uint32_t events)
{
    struct tocsin_waker waker;

    ready->watch.events = 0; /* reporting disarms */
    if ((ready->local_flags & TOCSIN__REG_CALLBACK) != 0) {
        if (queue_callback(pool, ready, events)) {
            return; /* armed again after the callback */
        }
    } else {
        for (size_t i = 0; i < TOCSIN__SLOTS; i++) {
            waker = tocsin__interest_arrive(&ready->slots[i], events);
            if (waker.ops != NULL) {
                pool->wakers.wakers[pool->wakers.count++] = waker;
            }
        }
    }
    tocsin__ready_arm(pool, ready);
}

void tocsin__ready_walk(struct tocsin_pool *pool)
{
    pool->walking = true;
    for (uint32_t i = 0; i < pool->events.count; i++) {
        const struct tocsin_backend_event *event = &pool->events.events[i];
        struct tocsin_fd_ready *ready = tocsin__registration_find(pool, event->id);

        if (ready != NULL) {
            deliver(pool, ready, event->events & TOCSIN_EVENTS_ALL);
        }
    }
    pool->events.count = 0;
    pool->walking = false;
}

int tocsin_fd_ready_poll(struct tocsin_fd_ready *ready, enum tocsin_slot slot, uint32_t events,
                         struct tocsin_context *cx)
{
    struct tocsin_pool *pool = ready->pool;
    struct tocsin__interest *interest = &ready->slots[slot];
    struct tocsin_waker stale;
    uint32_t seen;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool);
    if (events == 0 || (events & ~(uint32_t)TOCSIN_EVENTS_ALL) != 0 ||
        (ready->local_flags & TOCSIN__REG_CALLBACK) != 0) {
        return -EINVAL;
    }
    if (ready->error < 0) {
        return ready->error;
    }
    if (pool->closed) {
        return -ESHUTDOWN;
    }
    seen = tocsin__interest_take(interest, events);
    if (seen != 0) {
        return (int)seen;
    }
    if (tocsin_waker_will_wake(&interest->waker, &cx->waker)) {
        stale = (struct tocsin_waker){0};
        interest->wanted = (uint8_t)tocsin__interest_mask(events);
    } else {
        stale = tocsin__interest_wait(interest, events, tocsin_waker_clone(&cx->waker));
    }
    tocsin__ready_arm(pool, ready);
    tocsin_waker_drop(&stale);
    return TOCSIN_PENDING;
}

void tocsin_fd_ready_clear(struct tocsin_fd_ready *ready, enum tocsin_slot slot)
{
    if (!tocsin__is_forked(ready->pool)) {
        tocsin__assert_thread(ready->pool);
        tocsin__interest_clear(&ready->slots[slot]);
    }
}

int tocsin_fd_ready_poll_io(struct tocsin_fd_ready *ready, enum tocsin_slot slot, uint32_t events,
                            tocsin_io_fn *fn, void *arg, struct tocsin_context *cx)
{
    int r;

    if (tocsin__is_forked(ready->pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(ready->pool);
    for (;;) {
        /* N4: after an EAGAIN only an event makes another try worth its system call. */
        while (!ready->slots[slot].drained) {
            r = fn(ready->watch.number, arg);
            if (r == -EAGAIN) {
                tocsin__interest_take(&ready->slots[slot], events);
                tocsin_fd_ready_clear(ready, slot);
                ready->slots[slot].since_eagain = 0;
                break;
            }
            if (r != -EINTR) {
                return r;
            }
        }
        r = tocsin_fd_ready_poll(ready, slot, events, cx);
        if (r < 0) {
            return r;
        }
        ready->slots[slot].drained = false;
    }
}

void tocsin__ready_forget(struct tocsin_fd_ready *ready, enum tocsin_slot slot)
{
    struct tocsin__interest *interest = &ready->slots[slot];

    interest->observed = 0;
    interest->delivered = 0;
    interest->drained = false;
}

void tocsin__ready_short_read(struct tocsin_fd_ready *ready)
{
    struct tocsin__interest *interest = &ready->slots[TOCSIN_SLOT_READ];
    uint32_t against = TOCSIN_PRI | TOCSIN_RDHUP | TOCSIN_HUP | TOCSIN_ERR;

    if ((interest->since_eagain & against) == 0) {
        tocsin__interest_take(interest, TOCSIN_IN);
        tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    }
}

void tocsin__ready_unwait(struct tocsin_fd_ready *ready, enum tocsin_slot slot)
{
    struct tocsin_waker stale;

    tocsin__assert_thread(ready->pool);
    stale = ready->slots[slot].waker;
    ready->slots[slot].waker = (struct tocsin_waker){0};
    ready->slots[slot].wanted = 0;
    tocsin__ready_arm(ready->pool, ready);
    tocsin_waker_drop(&stale);
}
