/*
 * vpoll slots: readiness that a program makes up, for its own pools, with no descriptor.
 *
 * A slot is a mask of events and a list of links, one for each readiness object over it.  A ctl
 * changes the mask and signals each link: on the pool's own thread the link goes into the run
 * queue, from elsewhere into the inbox, and it is there at most once.  When it comes out the pool
 * reads the mask and brings it to the interest slots as a backend's event.  So several ctls before
 * that are one edge, and what was set and taken back is not seen.
 *
 *   ctl     mask changes, link signalled ---> inbox or run queue
 *   run     signalled no more, mask read ---> interest slots, wakers, callback
 *
 * Invariants
 *   S1  A link is in the inbox or the run queue exactly while it is signalled.
 *   S2  A link is freed once it is dead and not signalled; its slot not before it.
 *   S3  After its object was closed a link is dead: its id finds nothing either (D3).
 *
 * Lock: slot.lock guards the mask, the list and the links; no wake is given under it, for a wake
 * may let another actor run.  fd_lock is for slots with a descriptor, comes before slot.lock, and
 * is held over the call that changes it, so that it stays in step.
 */
#include "runtime/vpoll_slot.h"

#include <errno.h>
#include <stdatomic.h>

#include "runtime/pool.h"

struct tocsin__slot_link {
    struct tocsin_item_ item;
    struct tocsin_pool *pool;
    struct tocsin_vpoll_slot *slot;
    uint64_t id; /* of the registration */
    /* Guarded by slot.lock, to the end. */
    struct tocsin__slot_link *next;
    bool signalled;
    bool owes_wake; /* it was pushed, and its pool is to be woken */
    bool dead;
};

struct tocsin_vpoll_slot {
    struct tocsin_pool *pool; /* its memory's; referenced */
    struct tocsin__mutex fd_lock;
    struct tocsin__mutex lock;
    /* Guarded by lock, to the end. */
    uint32_t events;
    uint32_t refs;
    struct tocsin__slot_link *links;
    const struct tocsin__slot_fd_ops *fd_ops;
    int fd; /* -1: none; changed with fd_lock held, too */
};

/*
 * SLOT-1 in docs/CONCURRENCY.md: what makes descriptors of slots, once there was one; static.
 */
static _Atomic(const struct tocsin__slot_fd_ops *) finder;

/* What the pool knows of @events. */
static uint32_t pool_events(uint32_t events)
{
    static const uint32_t pairs[][2] = {
        {TOCSIN_VPOLL_IN, TOCSIN_IN},   {TOCSIN_VPOLL_OUT, TOCSIN_OUT},
        {TOCSIN_VPOLL_ERR, TOCSIN_ERR}, {TOCSIN_VPOLL_HUP, TOCSIN_HUP},
        {TOCSIN_VPOLL_PRI, TOCSIN_PRI}, {TOCSIN_VPOLL_RDHUP, TOCSIN_RDHUP},
    };
    uint32_t seen = 0;

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        seen |= (events & pairs[i][0]) != 0 ? pairs[i][1] : 0;
    }
    return seen;
}

int tocsin_vpoll_slot_open(struct tocsin_driver *driver, uint32_t events,
                           struct tocsin_vpoll_slot **out_slot)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin_vpoll_slot *slot;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (!tocsin__vpoll_is_valid(TOCSIN_VPOLL_SET, events)) {
        return -EINVAL;
    }
    if (tocsin__inbox_is_closed(&pool->inbox)) {
        return -ESHUTDOWN;
    }
    slot = tocsin__alloc_zeroed(pool, sizeof(*slot));
    if (slot == NULL) {
        return -ENOMEM;
    }
    r = tocsin__mutex_init(&slot->lock);
    if (r < 0) {
        goto err_slot;
    }
    r = tocsin__mutex_init(&slot->fd_lock);
    if (r < 0) {
        goto err_lock;
    }
    slot->pool = pool;
    slot->events = events;
    slot->refs = 1;
    slot->fd = -1;
    tocsin__pool_ref(pool);
    *out_slot = slot;
    return 0;

err_lock:
    tocsin__mutex_deinit(&slot->lock);
err_slot:
    tocsin__free(pool, slot);
    return r;
}

void tocsin__slot_ref(struct tocsin_vpoll_slot *slot)
{
    tocsin__mutex_lock(&slot->lock);
    slot->refs++;
    tocsin__mutex_unlock(&slot->lock);
}

void tocsin__slot_unref(struct tocsin_vpoll_slot *slot)
{
    struct tocsin_pool *pool = slot->pool;
    bool is_last;

    tocsin__mutex_lock(&slot->lock);
    is_last = --slot->refs == 0;
    tocsin__mutex_unlock(&slot->lock);
    if (is_last) {
        tocsin__mutex_deinit(&slot->lock);
        tocsin__mutex_deinit(&slot->fd_lock);
        tocsin__free(pool, slot);
        tocsin__pool_unref(pool);
    }
}

int tocsin_vpoll_slot_close(struct tocsin_vpoll_slot *slot)
{
    int fd;

    if (slot == NULL) {
        return 0;
    }
    if (tocsin__is_forked(slot->pool)) {
        return -EOWNERDEAD; /* another thread of the parent may have held the lock */
    }
    tocsin__mutex_lock(&slot->fd_lock);
    tocsin__mutex_lock(&slot->lock);
    fd = slot->fd;
    slot->fd = -1;
    tocsin__mutex_unlock(&slot->lock);
    if (fd >= 0) {
        slot->fd_ops->close(fd);
    }
    tocsin__mutex_unlock(&slot->fd_lock);
    tocsin__slot_unref(slot);
    return 0;
}

/* ---- Signals --------------------------------------------------------------------------------- */

/* Bring @link to its pool, if it is not on its way already. */
static void signal_locked(struct tocsin__slot_link *link)
{
    struct tocsin_pool *pool = link->pool;

    if (link->signalled) {
        return;
    }
    if (tocsin__is_here(pool)) {
        if (!pool->closed) {
            link->signalled = true;
            tocsin__queue_push(&pool->queue, &link->item);
        }
    } else if (tocsin__inbox_push(&pool->inbox, &link->item)) {
        link->signalled = true; /* under the lock: who takes it out waits for this */
        link->owes_wake = true;
    }
}

/* Wake the pools that the signals went to.  The caller holds the lock, and loses it. */
static void wake_and_unlock(struct tocsin_vpoll_slot *slot)
{
    struct tocsin__slot_link *link = slot->links;
    struct tocsin_pool *pool;

    while (link != NULL) {
        if (!link->owes_wake) {
            link = link->next;
            continue;
        }
        link->owes_wake = false;
        pool = link->pool;
        tocsin__pool_ref(pool); /* the link's object holds one: it is not dead */
        tocsin__mutex_unlock(&slot->lock);
        tocsin__pool_wake(pool);
        tocsin__pool_unref(pool);
        tocsin__mutex_lock(&slot->lock);
        link = slot->links; /* it may have changed meanwhile */
    }
    tocsin__mutex_unlock(&slot->lock);
}

static void change_locked(struct tocsin_vpoll_slot *slot, enum tocsin_vpoll_op op, uint32_t events)
{
    slot->events = tocsin__vpoll_apply(slot->events, op, events);
    for (struct tocsin__slot_link *link = slot->links; slot->events != 0 && link != NULL;
         link = link->next) {
        signal_locked(link);
    }
}

/* For slots with a descriptor: no other ctl comes between the slot's change and its. */
static int change_both(struct tocsin_vpoll_slot *slot, enum tocsin_vpoll_op op, uint32_t events)
{
    uint32_t now;
    int fd;
    int r = 0;

    tocsin__mutex_lock(&slot->fd_lock);
    tocsin__mutex_lock(&slot->lock);
    change_locked(slot, op, events);
    now = slot->events;
    fd = slot->fd;
    tocsin__mutex_unlock(&slot->lock);
    if (fd >= 0) {
        r = slot->fd_ops->set(fd, now);
    }
    tocsin__mutex_unlock(&slot->fd_lock);
    tocsin__mutex_lock(&slot->lock);
    wake_and_unlock(slot);
    return r;
}

int tocsin_vpoll_slot_ctl(struct tocsin_vpoll_slot *slot, enum tocsin_vpoll_op op, uint32_t events)
{
    if (tocsin__is_forked(slot->pool)) {
        return -EOWNERDEAD;
    }
    if (!tocsin__vpoll_is_valid(op, events)) {
        return -EINVAL;
    }
    tocsin__mutex_lock(&slot->lock);
    if (slot->fd >= 0) {
        tocsin__mutex_unlock(&slot->lock);
        return change_both(slot, op, events);
    }
    change_locked(slot, op, events);
    wake_and_unlock(slot);
    return 0;
}

uint32_t tocsin_vpoll_slot_events(struct tocsin_vpoll_slot *slot)
{
    uint32_t events;

    if (tocsin__is_forked(slot->pool)) {
        return 0;
    }
    tocsin__mutex_lock(&slot->lock);
    events = slot->events;
    tocsin__mutex_unlock(&slot->lock);
    return events;
}

/* ---- Links ----------------------------------------------------------------------------------- */

int tocsin__slot_attach(struct tocsin_vpoll_slot *slot, struct tocsin_fd_ready *ready)
{
    struct tocsin_pool *pool = ready->pool;
    struct tocsin__slot_link *link = tocsin__alloc_zeroed(pool, sizeof(*link));

    if (link == NULL) {
        return -ENOMEM;
    }
    link->item.kind_ = TOCSIN__ITEM_SLOT;
    link->pool = pool;
    link->slot = slot;
    link->id = ready->watch.id;
    ready->watch.data = link;
    tocsin__mutex_lock(&slot->lock);
    slot->refs++;
    link->next = slot->links;
    slot->links = link;
    if (slot->events != 0) {
        signal_locked(link); /* what is true already is told once */
    }
    wake_and_unlock(slot);
    return 0;
}

static void free_link(struct tocsin__slot_link *link)
{
    struct tocsin_vpoll_slot *slot = link->slot;

    tocsin__free(link->pool, link);
    tocsin__slot_unref(slot);
}

void tocsin__slot_detach(struct tocsin__slot_link *link, bool pool_closed)
{
    struct tocsin_vpoll_slot *slot = link->slot;
    struct tocsin__slot_link **place = &slot->links;
    bool is_free;

    tocsin__mutex_lock(&slot->lock);
    while (*place != link) {
        place = &(*place)->next;
    }
    *place = link->next;
    link->dead = true;
    /* What a closed pool's queue still holds is never looked at again. */
    is_free = !link->signalled || pool_closed;
    tocsin__mutex_unlock(&slot->lock);
    if (is_free) {
        free_link(link);
    }
}

/* @link has left the inbox or the queue.  Returns: the events that are true; 0 if it was dead. */
static uint32_t arrive(struct tocsin__slot_link *link, uint64_t *out_id)
{
    struct tocsin_vpoll_slot *slot = link->slot;
    uint32_t events;
    bool dead;

    *out_id = link->id;
    tocsin__mutex_lock(&slot->lock);
    link->signalled = false;
    dead = link->dead;
    events = slot->events;
    tocsin__mutex_unlock(&slot->lock);
    if (dead) {
        free_link(link);
        return 0;
    }
    return events; /* from here on another thread may free it */
}

void tocsin__slot_run(struct tocsin_pool *pool, struct tocsin_item_ *item)
{
    uint64_t id;
    uint32_t events =
        pool_events(arrive(TOCSIN__CONTAINER(item, struct tocsin__slot_link, item), &id));
    struct tocsin_fd_ready *ready = events != 0 ? tocsin__registration_find(pool, id) : NULL;

    if (ready != NULL) {
        tocsin__ready_signal(pool, ready, events);
    }
}

void tocsin__slot_end(struct tocsin_item_ *item)
{
    uint64_t id;

    arrive(TOCSIN__CONTAINER(item, struct tocsin__slot_link, item), &id);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

int tocsin__slot_fd(struct tocsin_vpoll_slot *slot, const struct tocsin__slot_fd_ops *ops)
{
    uint32_t events;
    uint32_t now;
    int fd;

    if (tocsin__is_forked(slot->pool)) {
        return -EOWNERDEAD;
    }
    tocsin__mutex_lock(&slot->fd_lock);
    fd = slot->fd;
    if (fd < 0) {
        events = tocsin_vpoll_slot_events(slot);
        fd = ops->create(slot, events);
    } else {
        goto out;
    }
    if (fd < 0) {
        goto out;
    }
    tocsin__mutex_lock(&slot->lock);
    slot->fd_ops = ops;
    slot->fd = fd;
    now = slot->events;
    tocsin__mutex_unlock(&slot->lock);
    if (now != events) {
        ops->set(fd, now); /* it changed while the descriptor was made */
    }
    /* SLOT-1 release: pairs with the acquire in tocsin__slot_find(). */
    atomic_store_explicit(&finder, ops, memory_order_release);
out:
    tocsin__mutex_unlock(&slot->fd_lock);
    return fd;
}

struct tocsin_vpoll_slot *tocsin__slot_find(intptr_t fd)
{
    /* SLOT-1 acquire: pairs with the release in tocsin__slot_fd(). */
    const struct tocsin__slot_fd_ops *ops = atomic_load_explicit(&finder, memory_order_acquire);

    return ops != NULL && fd >= 0 && fd <= INT_MAX ? ops->find((int)fd) : NULL;
}
