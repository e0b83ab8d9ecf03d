/*
 * What a backend keeps of a ring that it has, or may have: the ring itself once it is made, the
 * remote queue, and why there is none.
 *
 * It needs no io_uring to be compiled in: without, there is never a ring, and the reason says so.
 */
#ifndef TOCSIN_BACKENDS_RING_HOST_H
#define TOCSIN_BACKENDS_RING_HOST_H

#include <tocsin/backend.h>
#include <tocsin/uring.h>

#include "backends/ring/remote.h"

struct uring;

/* IORING_SETUP_* and IORING_FEAT_*, by number, for who has no headers. */
enum {
    URING_TOKEN_FLAGS = 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 12,
    URING_TOKEN_FEATURES = 1 << 1 | 1 << 2,
    URING_NATIVE_FLAGS = URING_TOKEN_FLAGS | 1 << 13,
    URING_NATIVE_FEATURES = URING_TOKEN_FEATURES | 1 << 5 | 1 << 8,
};

struct uring_host {
    /* RING-2: the ring, once made under registrations.lock; published to whoever submits. */
    _Atomic(struct uring *) uring;
    struct remote remote;
    struct tocsin_uring_options options;
    uint32_t flags;    /* IORING_SETUP_* wanted */
    uint32_t features; /* IORING_FEAT_* needed */
    int error;         /* why there is none: it is tried once (U4) */
    char reason[96];   /* the same as text, for tocsin_uring_reason() */
    /* What other threads may ask of the ring: constant once it is made, and there after its end. */
    uint32_t sq_entries;
    uint8_t opcodes[256 / 8];
    /* Called once with the new ring, under the lock, on whichever thread made it; may be NULL. */
    int (*made)(struct uring_host *host, int ring_fd);
    /* While the pool closes: completions of the backend's own, and whether more are to come. */
    bool (*other)(void *host, uint64_t user_data, int32_t result, uint32_t flags);
    bool (*is_busy)(const struct uring_host *host);
};

/* -EINVAL: @options (may be NULL) make no ring. */
int tocsin__uring_host_init(struct uring_host *host, const struct tocsin_uring_options *options);

/*
 * Everything in flight is cancelled, has completed and was delivered, nothing more is taken, and
 * the ring is closed.  In a forked child, where nothing may be entered, it is closed only.
 */
void tocsin__uring_host_close(struct uring_host *host, enum tocsin_backend_close how);

/* The ring, made now if there is none; or NULL, and why in *@out_error.  Thread: any. */
struct uring *tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                     int *out_error);

/* The ring, if there is one.  Thread: any. */
struct uring *tocsin__uring_host_peek(const struct uring_host *host);

/*
 * The pool is about to sleep: flush, collect, arm the remote queue (U7).  As the backend's prepare.
 */
uint64_t tocsin__uring_host_prepare(struct uring_host *host, uint64_t deadline_ns);

/*
 * Open the ring anew, without the setup flags @flags_no.  -EBUSY: something is in flight.
 */
int tocsin__uring_host_reopen(struct uring_host *host, uint32_t flags_no);

/* The backend's look and harvest: nothing is done where there is no ring. */
void tocsin__uring_host_flush(struct uring_host *host);
void tocsin__uring_host_harvest(struct uring_host *host);

#endif
