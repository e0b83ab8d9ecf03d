/*
 * What the two emulations over AF_UNIX sockets share.  See emulation.c.
 */
#ifndef TOCSIN_VPOLL_EMULATION_H
#define TOCSIN_VPOLL_EMULATION_H

#include <pthread.h>

#include "backends/vpoll/provider.h"

enum {
    TOCSIN__VPOLL_PEERS = 2,
};

/* In memory that forked children share. */
struct tocsin__vpoll_state {
    pthread_mutex_t lock; /* robust, for who holds it may be killed; guards the rest */
    uint32_t events;      /* as the program has set them */
    uint32_t waiting;     /* what waits in the descriptor's receive queue: IN, PRI or 0 */
    uint32_t final;       /* RDHUP and HUP that were shown once, for good */
    bool is_writable;
};

struct tocsin__vpoll_emulation {
    struct tocsin__vpoll_object object;
    struct tocsin__vpoll_state *state;
    /* Show @events on @fd; an edge even if nothing has changed.  The caller holds state->lock. */
    void (*show)(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t events);
    uint32_t exact;                 /* strict: no others; else 0 */
    int peers[TOCSIN__VPOLL_PEERS]; /* the sockets behind the descriptor; -1: none */
    uint64_t peer_identities[TOCSIN__VPOLL_PEERS];
};

/*
 * Make a vpoll descriptor of @fd, a socket that cannot be written to (see make_unwritable), and of
 * the peers in @emulation, which moves to the heap.  Returns: @fd.  On failure the caller closes
 * all.
 */
int tocsin__vpoll_emulate(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t events,
                          uint32_t flags);

/*
 * Let a message of such a size wait in @to, sent by @fd, that the send buffer's size decides
 * whether @fd can be written to.  @to is NULL: the connected peer.
 */
struct sockaddr_un;
int tocsin__vpoll_make_unwritable(int fd, const struct sockaddr_un *to, unsigned to_size);

/* Can @fd be written to?  When it can, that is an edge each time. */
void tocsin__vpoll_show_writable(struct tocsin__vpoll_state *state, int fd, bool is_writable);

/* How many bytes wait in @fd. */
int tocsin__vpoll_bytes_waiting(int fd);

#endif
