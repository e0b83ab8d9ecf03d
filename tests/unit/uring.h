/*
 * What the unit tests of backends/ring/ share: a pool over epoll with a small ring, operations that
 * count what is done to them, and a kernel that refuses to be entered.
 *
 * Programs that use it wrap tocsin__ring_enter().  Each enter is checked for a chain that it would
 * split.
 */
#ifndef TOCSIN_TESTS_UNIT_URING_H
#define TOCSIN_TESTS_UNIT_URING_H

#include <tocsin/uring.h>

#include "backends/ring/uring.h"
#include "runtime/pool.h"
#include "tests/unit/unit.h"

struct unit_uring {
    struct tocsin_uring_options options; /* the test may set these before it starts */
    struct tocsin_backend backend;
    struct unit_memory memory;
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct uring_host *host;
    struct uring *uring;
};

/* Open the pool and have its ring made; skips the test where there is none to be had. */
void unit_uring_start(struct unit_uring *uring);

/* Close the pool; nothing may be left of it. */
void unit_uring_end(struct unit_uring *uring);

/* What the enters are to do. */
extern unsigned unit_enters;       /* so many there were */
extern unsigned unit_enters_no;    /* so many of those to come are refused */
extern int unit_enters_errno;      /* with this */
extern unsigned unit_chains_split; /* must stay 0 */

/* How long the last enter was to wait at the most. */
extern uint64_t unit_enter_ns;

/* An operation that counts. */
struct unit_op {
    struct tocsin_uring_op op;
    void (*on_complete)(struct unit_op *op); /* in the complete hook, counted already */
    void *arg;
    unsigned *order; /* counts completions of several; may be NULL */
    unsigned place;  /* which of those this one's was */
    int32_t result;  /* of the last completion */
    uint32_t flags;
    int32_t late_result;
    atomic_uint completes; /* calls of the complete hook */
    atomic_uint lates;
    atomic_uint releases;
};

/* With a complete hook, or for tocsin_uring_poll(). */
void unit_op_init(struct unit_op *op);
void unit_op_init_polled(struct unit_op *op);

/* Both on the calling thread. */
int unit_submit(struct unit_uring *uring, struct unit_op *op, const struct io_uring_sqe *sqe);
int unit_submit_all(struct unit_uring *uring, struct unit_op *ops, const struct io_uring_sqe *sqes,
                    size_t count);

/* The same on another thread, which has ended when they return. */
int unit_submit_elsewhere(struct unit_uring *uring, struct unit_op *op,
                          const struct io_uring_sqe *sqe);
int unit_submit_all_elsewhere(struct unit_uring *uring, struct unit_op *ops,
                              const struct io_uring_sqe *sqes, size_t count);
int unit_cancel_elsewhere(struct unit_op *op);
void unit_drop_elsewhere(struct unit_op *op);

/* What to submit. */
struct io_uring_sqe unit_sqe_nop(void);
struct io_uring_sqe unit_sqe_read(int fd, void *buffer, unsigned size);
struct io_uring_sqe unit_sqe_linked(struct io_uring_sqe sqe);

/* Run @fn(@arg) in a turn, on this thread, and nothing more than that turn. */
void unit_uring_in_turn(struct unit_uring *uring, support_body_fn *fn, void *arg);

/* Turns, until *@count is at least @value. */
void unit_turns_until(struct unit_uring *uring, const atomic_uint *count, unsigned value);

#endif
