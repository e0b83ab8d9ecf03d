/*
 * What the uring backend watches: one multishot poll for each descriptor, edge-triggered, for
 * everything.
 *
 * A multishot poll ends when the kernel has no room for a completion, or is out of memory; it is
 * then asked for again.  A slot belongs to the kernel until the last completion of its poll, also
 * when its watch has gone.
 *
 * The kernel holds the file of a poll open.  So detach tells the kernel at once, for the peer is to
 * see the end when the descriptor is closed; and an event that says that the peer has gone is
 * reported only if the watch's number still is the file that it was: a descriptor that was closed
 * too early has no events with epoll, and has none here.
 *
 * Files are told apart by fstat(2).  Two sockets never share an inode; eventfds and their like all
 * share one, and there a recycled number looks like the old file.
 *
 * Invariants
 *   P1  by_number[n] is the slot whose watch has the number n, or 0.
 *   P2  What could not be asked of the kernel for want of room (WANTS_ADD, WANTS_REMOVE, counted in
 *       waiting) is asked by the next prepare or look.
 */
#ifndef TOCSIN_BACKENDS_URING_POLLS_H
#define TOCSIN_BACKENDS_URING_POLLS_H

#include <sys/types.h>

#include <tocsin/backend.h>

#include "backends/ring/uring.h"

enum poll_state {
    POLL_FREE,
    POLL_WANTS_ADD,
    POLL_ARMED,        /* the kernel's until the last completion */
    POLL_LOST,         /* refused: the number is no open file any more; never tried again */
    POLL_WANTS_REMOVE, /* without a watch, and so the next */
    POLL_REMOVING,
};

struct poll_slot {
    struct tocsin_backend_watch *watch;
    enum poll_state state;
    uint32_t reported; /* where it is in the list of events, if it is */
    uint32_t generation;
    uint32_t next_free;
    dev_t device; /* of the file, and so the next */
    ino_t inode;
    mode_t type;
};

struct polls {
    struct poll_slot *slots; /* [0] is nobody's */
    uint32_t slots_count;
    uint32_t free_slot; /* the first; 0: none */
    uint32_t *by_number;
    uint32_t by_number_count;
    uint32_t live;    /* slots that are not free */
    uint32_t waiting; /* slots that want something */
};

/* As the backend's attach and detach. */
int tocsin__polls_attach(struct polls *polls, struct uring *uring,
                         struct tocsin_backend_watch *watch);
int tocsin__polls_detach(struct polls *polls, struct uring *uring,
                         struct tocsin_backend_watch *watch);

/* A completion of slot @index.  Returns: false: there is no room in @list, nothing was done. */
bool tocsin__polls_completed(struct polls *polls, uint64_t user_data, int32_t result,
                             uint32_t flags, struct tocsin_backend_events *list);

/* Ask for what waits, as far as there is room. */
void tocsin__polls_ask(struct polls *polls, struct uring *uring);

/* Give all up: afterwards their completions come, until live is 0. */
void tocsin__polls_end(struct polls *polls, struct uring *uring);
void tocsin__polls_free(struct polls *polls, struct tocsin_pool *pool);

/* A multishot poll of @fd for @user_data, edge-triggered.  False: no room. */
bool tocsin__polls_add(struct uring *uring, int fd, uint32_t events, uint64_t user_data);

#endif
