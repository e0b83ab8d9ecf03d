/*
 * Registrations: the table of what the backend watches for a pool.
 *
 * The kernel is never given an address.  A registration has an id, slot and generation, which is
 * reported with its events and compared on arrival; slots never move and stay mapped while the
 * pool's memory lives, so an event that comes late finds a dead id, not freed memory (D3).
 *
 * For backends that watch descriptors a second table leads from the number to its registration: an
 * open on a number that is still registered makes the older one stale, and closing a stale one
 * touches the kernel no more, for the number is somebody else's by then.
 *
 * Invariants
 *   G1  A slot is free, or open, or closed and on the deferred list or in a queue; only the pool's
 *       thread takes it from closed to free, never while a batch is walked (D1).
 *   G2  live is the id while it is open, 0 otherwise; an id is not used again before 2^32 others of
 *       the same slot.
 *   G3  numbers[n] is the registration that the backend has under n, or NULL.
 */
#ifndef TOCSIN_RUNTIME_REGISTRATIONS_H
#define TOCSIN_RUNTIME_REGISTRATIONS_H

#include <stdatomic.h>

#include <tocsin/backend.h>

#include "runtime/interest.h"
#include "runtime/os.h"

enum {
    TOCSIN__CHUNK_FIRST_BITS = 6, /* the first chunk has 64 slots, each next one twice as many */
    TOCSIN__CHUNKS_MAX = 20,      /* 67 million */
};

enum tocsin__registration_flags {
    TOCSIN__REG_STALE = 1 << 0,     /* its number was opened anew */
    TOCSIN__REG_ATTACHED = 1 << 1,  /* the backend has it */
    TOCSIN__REG_PENDING = 1 << 2,   /* to be attached by the pool's thread: in the inbox */
    TOCSIN__REG_CALLBACK = 1 << 3,  /* a watch: its fn is called */
    TOCSIN__REG_QUEUED = 1 << 4,    /* the pool's thread: its callback is in the run queue */
    TOCSIN__REG_CLOSED = 1 << 5,    /* the pool's thread: freed when its queue lets it go */
    TOCSIN__REG_BACKGROUND = 1 << 6 /* a watch that keeps nothing alive */
};

struct tocsin_fd_ready {
    struct tocsin_backend_watch watch;
    union {
        struct tocsin__interest slots[TOCSIN__SLOTS];
        struct {
            struct tocsin__interest interest; /* slots[0], that of a watch */
            tocsin_watch_fn *fn;
            void *arg;
            struct tocsin_watch *owner;
        } callback;
    };
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *next; /* of the free list or the deferred list */
    struct tocsin_item_ item;     /* attach (inbox), callback (run queue) */
    /* LIVE-1: the id while open; publishes the registration to the walk that gets its event. */
    _Atomic(uint64_t) live;
    uint32_t flags;       /* guarded by registrations.lock: STALE, ATTACHED, PENDING */
    uint32_t local_flags; /* the pool's thread: the others */
    uint32_t index;
    uint32_t generation; /* guarded by registrations.lock */
    int error;           /* the pool's thread: what attaching said */
};

struct tocsin__registrations {
    /* CHUNK-2: publishes a chunk of zeroed slots to the walk. */
    _Atomic(struct tocsin_fd_ready *) chunks[TOCSIN__CHUNKS_MAX];
    struct tocsin__mutex lock;
    /* Guarded by lock, to the end. */
    struct tocsin_fd_ready *free;
    struct tocsin_fd_ready **numbers;
    size_t numbers_count;
    uint32_t chunks_count;
    bool closed; /* the backend is gone */
    /* The pool's thread: from here on the deferred list has nothing that is attached. */
    struct tocsin_fd_ready *settled;
};

int tocsin__registrations_init(struct tocsin__registrations *registrations);
void tocsin__registrations_deinit(struct tocsin_pool *pool);

/* Take a slot for @number.  NULL: out of memory. */
struct tocsin_fd_ready *tocsin__registration_take_locked(struct tocsin_pool *pool, intptr_t number);
void tocsin__registration_free_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);

/* Attach, and detach what is attached and not stale.  Keep the table of numbers right (G3). */
int tocsin__registration_attach_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);
int tocsin__registration_detach_locked(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);

/* The open registration with @id, or NULL.  Thread: the pool's. */
struct tocsin_fd_ready *tocsin__registration_find(struct tocsin_pool *pool, uint64_t id);

/* ready.c */
int tocsin__ready_open(struct tocsin_pool *pool, enum tocsin_source source, intptr_t number,
                       uint32_t flags, struct tocsin_fd_ready **out_ready);
/* The same over a slot: no backend is asked. */
struct tocsin_vpoll_slot;
int tocsin__ready_open_slot(struct tocsin_pool *pool, struct tocsin_vpoll_slot *slot,
                            uint32_t flags, struct tocsin_fd_ready **out_ready);
/* @events came, and not in a walk: tell whoever waits.  Thread: the pool's. */
void tocsin__ready_signal(struct tocsin_pool *pool, struct tocsin_fd_ready *ready, uint32_t events);
void tocsin__ready_arm(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);
void tocsin__ready_arrived(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);
void tocsin__ready_walk(struct tocsin_pool *pool);
void tocsin__deferred_free(struct tocsin_pool *pool);
void tocsin__ready_free(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);

/* The slot's past is void: whatever was seen says nothing about what starts now. */
void tocsin__ready_forget(struct tocsin_fd_ready *ready, enum tocsin_slot slot);

/*
 * A read came back short where that may prove the end: spare the EAGAIN if nothing speaks against
 * it.
 */
void tocsin__ready_short_read(struct tocsin_fd_ready *ready);

/* Nobody waits in the slot any more. */
void tocsin__ready_unwait(struct tocsin_fd_ready *ready, enum tocsin_slot slot);

/* watch.c */
void tocsin__watch_run(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);
void tocsin__watch_end(struct tocsin_pool *pool, struct tocsin_fd_ready *ready);

#endif
