/*
 * vpoll slots: sources of readiness that live in a pool alone.  See vpoll_slot.c.
 */
#ifndef TOCSIN_RUNTIME_VPOLL_SLOT_H
#define TOCSIN_RUNTIME_VPOLL_SLOT_H

#include <tocsin/vpoll.h>

#include "runtime/os.h"

struct tocsin__slot_link;

enum {
    /* Of a registration over a slot: beside the values of enum tocsin_source. */
    TOCSIN__SOURCE_SLOT = 1 << 8,
};

/* What makes descriptors of slots: above the runtime, which has none itself. */
struct tocsin__slot_fd_ops {
    int (*create)(struct tocsin_vpoll_slot *slot, uint32_t events);
    int (*set)(int fd, uint32_t events);
    void (*close)(int fd);
    /* The slot of this process whose descriptor @fd is, with a reference; or NULL. */
    struct tocsin_vpoll_slot *(*find)(int fd);
};

/* The slot's descriptor, made by @ops if there is none.  Thread: any. */
int tocsin__slot_fd(struct tocsin_vpoll_slot *slot, const struct tocsin__slot_fd_ops *ops);

/* The slot that stands behind @fd, with a reference; or NULL.  Thread: any. */
struct tocsin_vpoll_slot *tocsin__slot_find(intptr_t fd);

void tocsin__slot_ref(struct tocsin_vpoll_slot *slot);
void tocsin__slot_unref(struct tocsin_vpoll_slot *slot);

/* New events of a slot; @op and @events are known to be right. */
static inline uint32_t tocsin__vpoll_apply(uint32_t old, enum tocsin_vpoll_op op, uint32_t events)
{
    switch (op) {
    case TOCSIN_VPOLL_ADD:
        return old | events;
    case TOCSIN_VPOLL_DEL:
        return old & ~events;
    case TOCSIN_VPOLL_SET:
        break;
    }
    return events;
}

static inline bool tocsin__vpoll_is_valid(enum tocsin_vpoll_op op, uint32_t events)
{
    return op >= TOCSIN_VPOLL_ADD && op <= TOCSIN_VPOLL_SET &&
           (events & ~(uint32_t)TOCSIN_VPOLL_ALL) == 0;
}

/* ---- For ready.c ----------------------------------------------------------------------------- */

struct tocsin_pool;

/* Link the registration @ready, which is published, to @slot.  Thread: any; no lock is held. */
int tocsin__slot_attach(struct tocsin_vpoll_slot *slot, struct tocsin_fd_ready *ready);

/* Undo it.  Thread: any; no lock is held, and the pool is referenced. */
void tocsin__slot_detach(struct tocsin__slot_link *link, bool pool_closed);

/* A signal arrived, by the inbox or the run queue.  Thread: the pool's. */
struct tocsin_item_;
void tocsin__slot_run(struct tocsin_pool *pool, struct tocsin_item_ *item);

/* The same when the pool closes: nobody is told. */
void tocsin__slot_end(struct tocsin_item_ *item);

#endif
