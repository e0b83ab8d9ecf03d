/*
 * A pool's io_uring: the ring, the table of operations in flight, and what waits to get in or out.
 *
 *   submit --> [remote queue] --> [backlog] --> ring's queue --> kernel --> [stash] --> delivered
 *
 * The backlog takes what finds the ring's queue full, in order; chains go in whole.  The stash
 * takes completions out of the ring where no user code may run (in a wait, a look, on the way into
 * sleep); they are delivered at the top of the next turn.
 *
 * user_data is never an address: bits 0 to 29 are a slot, bits 30 and 31 what the slot is of, bits
 * 32 to 63 the slot's generation (U3).
 *
 * Who owns an op: the caller until it is submitted (FLIGHT); the queues and the kernel until its
 * last completion; the caller again.  A drop hands it over: it is given back by release.
 *
 * Invariants
 *   O1  An op in flight has a slot, or is in the remote queue; a slot is freed at the last
 *       completion, and then its generation changes.
 *   O2  Ops in the backlog reach the kernel in the order of submission, and nothing overtakes them.
 *   O3  The pool does not sleep over the stash, and no longer than RETRY_NS over an entry that the
 *       kernel has not taken (U6).
 *
 * All functions are the pool's thread's, in a turn, but where they say otherwise.
 */
#ifndef TOCSIN_BACKENDS_RING_URING_H
#define TOCSIN_BACKENDS_RING_URING_H

#include <tocsin/uring.h>

#include "backends/ring/host.h"
#include "backends/ring/ring.h"
#include "runtime/queue.h"

#define URING_RETRY_NS UINT64_C(1000000)
#define URING_LATER_NS_MAX UINT64_C(1000000000)

/* What a slot number belongs to. */
enum uring_kind {
    URING_KIND_NONE,   /* whose completion says nothing: cancels and the like */
    URING_KIND_OP,     /* the table's */
    URING_KIND_OTHER,  /* the backend's own: its wait step sees those */
    URING_KIND_CANCEL, /* the request to cancel the op of that slot */
};

enum {
    URING_KIND_SHIFT = 30,
    URING_SLOT_MASK = (1 << URING_KIND_SHIFT) - 1,
};

static inline enum uring_kind uring_kind_of(uint64_t user_data)
{
    return (enum uring_kind)(user_data >> URING_KIND_SHIFT & 3);
}

struct uring_slot {
    struct tocsin_uring_op *op; /* or NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct uring_completion {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

struct uring {
    struct ring ring;
    struct remote *remote; /* the host's: it outlives the ring */
    struct tocsin_pool *pool;
    struct uring_slot *slots;
    uint32_t slots_count;
    uint32_t free_slot;     /* the first; slots_count: none */
    uint32_t flying;        /* slots taken */
    uint32_t cancels;       /* ops marked URING_OP_CANCEL */
    uint32_t cancels_later; /* ops marked URING_OP_CANCEL_LATER */
    uint64_t later_at_ns;   /* when those are asked for again, and the next interval */
    uint64_t later_delay_ns;
    struct tocsin_item_ *arrived;   /* taken from the remote queue and not received yet */
    struct tocsin__queue backlog;   /* of item_ */
    struct uring_completion *stash; /* as long as the completion queue */
    uint32_t stash_count;
    uint32_t stash_next; /* the first that is not delivered */
    bool ending;         /* the pool closes: nothing is taken any more */
};

/* What other threads sent: a chain from the remote queue.  User code may run. */
void tocsin__uring_arrive(struct uring *uring, struct tocsin_item_ *chain);

/* Take and receive what they sent, then deliver the stash: user code runs. */
void tocsin__uring_harvest(struct uring *uring);

/*
 * Move completions from the queue to the stash, those of the backend's own to @other (may be NULL:
 * it has none), until it returns false: no room.  Returns: whether the queue is empty.
 */
typedef bool uring_other_fn(void *arg, uint64_t user_data, int32_t result, uint32_t flags);
bool tocsin__uring_collect(struct uring *uring, uring_other_fn *other, void *arg);

/* Move what waits into the ring's queue, as far as there is room.  No system call. */
void tocsin__uring_fill(struct uring *uring);

/* Tell the kernel of everything, and let it do what it deferred.  At most a few system calls. */
void tocsin__uring_flush(struct uring *uring);

/* Something waits to be delivered or received: have the pool take another turn, if it is awake. */
void tocsin__uring_call_turn(struct uring *uring);

/*
 * At the end: complete one operation that the kernel has not taken, as @completion says.
 * Returns: false: there is none.
 */
bool tocsin__uring_take_back(struct uring *uring, const struct uring_completion *completion);

/* When to end a sleep that should last until @deadline_ns: what waits may have no event. */
uint64_t tocsin__uring_bound_sleep(const struct uring *uring, uint64_t deadline_ns);

/* Is there something that the kernel has not taken? */
bool tocsin__uring_is_stuck(const struct uring *uring);

/*
 * The next entry of the ring's queue for the backend's own use, zeroed, after a flush if it must
 * be; NULL: no room.
 */
struct io_uring_sqe *tocsin__uring_next(struct uring *uring);

/* op.c */
void tocsin__uring_op_arrived(struct uring *uring, struct tocsin_item_ *item);
void tocsin__uring_op_completed(struct uring *uring, struct tocsin_uring_op *op,
                                const struct uring_completion *completion);

/* Marks in state_ that uring.c keeps for itself; all others are op.c's. */
enum {
    URING_OP_BACKLOG = 1 << 16,      /* in the backlog */
    URING_OP_CANCEL = 1 << 17,       /* to be cancelled, and the kernel has to be asked yet */
    URING_OP_CHAINED = 1 << 18,      /* follows another one in a chain */
    URING_OP_CANCEL_LATER = 1 << 19, /* the same, after a completion or a while */
};
void tocsin__uring_op_mark(struct tocsin_uring_op *op, uint32_t mark);
void tocsin__uring_op_unmark(struct tocsin_uring_op *op, uint32_t mark);
bool tocsin__uring_op_has(const struct tocsin_uring_op *op, uint32_t mark);

/* uring.c, for op.c */
int tocsin__uring_slot_take(struct uring *uring, struct tocsin_uring_op *op);
void tocsin__uring_slot_free(struct uring *uring, struct tocsin_uring_op *op);
/* May a chain of @count go into the ring's queue now?  Else all of it goes to the backlog. */
bool tocsin__uring_reserve(struct uring *uring, size_t count);
void tocsin__uring_put(struct uring *uring, struct tocsin_uring_op *op,
                       const struct io_uring_sqe *sqe, bool has_room);
/* Ask the kernel to give @op up, now or as soon as it can be asked. */
void tocsin__uring_cancel(struct uring *uring, struct tocsin_uring_op *op);

#endif
