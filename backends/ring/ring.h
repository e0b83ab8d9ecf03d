/*
 * One io_uring: two queues shared with the kernel, and the system calls.
 *
 * liburing makes the ring and maps it; the queues are read and written here.  Setup asks for what
 * is wanted and, where a kernel refuses, for less, the newest flag first.
 *
 * Invariants
 *   G1  Only the pool's thread touches the queues, once the ring is enabled.
 *   G2  tail counts the entries that are filled in; the kernel sees them when enter publishes it.
 *   G3  No completion is lost: IORING_FEAT_NODROP is required, and the kernel keeps what the queue
 *       has no room for until it is entered with GETEVENTS.
 */
#ifndef TOCSIN_BACKENDS_RING_RING_H
#define TOCSIN_BACKENDS_RING_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    RING_ENTRIES = 128,       /* by default, of the submission queue */
    RING_CQ_FACTOR = 4,       /* so many times longer is the completion queue */
    RING_ENTRIES_MAX = 32768, /* the kernel's own limit */
    RING_OPCODES = 256,       /* IORING_OP_* fit into a byte */
};

struct ring {
    struct io_uring uring;             /* liburing's; its sqe_head and sqe_tail are not used */
    uint32_t tail;                     /* G2 */
    uint32_t flags;                    /* IORING_SETUP_* that the kernel granted */
    bool enabled;                      /* entered by the thread that it is for from now on */
    uint8_t opcodes[RING_OPCODES / 8]; /* what the probe said, one bit each */
};

/* What to ask for, and what then failed: the text for tocsin_uring_reason(). */
struct ring_setup {
    uint32_t entries;
    uint32_t cq_entries;
    uint32_t flags;    /* IORING_SETUP_* wanted; each is done without where it is refused */
    uint32_t features; /* IORING_FEAT_* without which the ring is of no use */
    const char *failed;
};

/* Thread: any.  Returns: 0, or a negative errno, and what failed in @setup->failed. */
int tocsin__ring_open(struct ring *ring, struct ring_setup *setup);
void tocsin__ring_close(struct ring *ring);

/* In a forked child: the descriptor alone, for the queues are not mapped there. */
void tocsin__ring_close_forked(struct ring *ring);

/* From now on the ring belongs to this thread.  Once; later calls do nothing. */
int tocsin__ring_enable(struct ring *ring);

static inline bool ring_knows(const struct ring *ring, unsigned opcode)
{
    return opcode < RING_OPCODES && (ring->opcodes[opcode / 8] >> opcode % 8 & 1) != 0;
}

/* How many entries wait for the kernel to take them. */
uint32_t tocsin__ring_unsubmitted(const struct ring *ring);

/* How many more there is room for. */
uint32_t tocsin__ring_room(const struct ring *ring);

/* The next entry, as it was left; there is room.  It counts at once. */
struct io_uring_sqe *tocsin__ring_next(struct ring *ring);

/* Take back the last entry that the kernel has not taken.  Returns: it; NULL: there is none. */
const struct io_uring_sqe *tocsin__ring_take_back(struct ring *ring);

/*
 * Enter the kernel: submit everything, run what it deferred, and wait for @wait completions (0 or
 * 1) until @timeout (NULL: for ever), where nothing else makes the call return.
 *
 * Returns: how many entries were taken; or a negative errno: -EAGAIN or -EBUSY: none was taken, and
 *          it did not wait; -ETIME, -EINTR: it waited.
 */
int tocsin__ring_enter(struct ring *ring, unsigned wait, const struct __kernel_timespec *timeout);

/* Wait for a completion without submitting.  Returns: as tocsin__ring_enter(). */
int tocsin__ring_wait(struct ring *ring, const struct __kernel_timespec *timeout);

/* Has the kernel something that only entering it brings: deferred work, overflown completions? */
bool tocsin__ring_wants_enter(const struct ring *ring);

/* Does the kernel hold completions that there was no room for? */
bool tocsin__ring_overflows(const struct ring *ring);

/* The completions that have come and were not taken: how many, and the first. */
uint32_t tocsin__ring_completions(const struct ring *ring);
const struct io_uring_cqe *tocsin__ring_first(const struct ring *ring);

/* The first one was read: its place is the kernel's again. */
void tocsin__ring_take(struct ring *ring);

#endif
