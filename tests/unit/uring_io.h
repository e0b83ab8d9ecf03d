/*
 * What the tests of the typed operations share: each rule run with a ring and without.
 *
 * Without means a copy of the epoll backend that takes no submissions.  Where io_uring is refused,
 * or was not built, the runs with a ring are skipped with the reason.
 */
#ifndef TOCSIN_TESTS_UNIT_URING_IO_H
#define TOCSIN_TESTS_UNIT_URING_IO_H

#include <netinet/in.h>

#include <tocsin/uring_io.h>

#include "tests/unit/unit.h"

/* Rows of the table of tests. */
#define URING_IO_WITH(rule)                                                                        \
    {                                                                                              \
        .name = #rule ", with a ring", .test_func = rule, .initial_state = &uring_io_with          \
    }
#define URING_IO_WITHOUT(rule)                                                                     \
    {                                                                                              \
        .name = #rule ", without a ring", .test_func = rule, .initial_state = &uring_io_without    \
    }
#define URING_IO_BOTH(rule) URING_IO_WITH(rule), URING_IO_WITHOUT(rule)

enum {
    URING_IO_NO_RESULT = -100000,
};

/* What a test's state points to. */
extern bool uring_io_with;
extern bool uring_io_without;

/* Is this the run with a ring? */
static inline bool uring_io_has_ring(void *const *state)
{
    return *(const bool *)*state;
}

/* Where the pool's memory comes from. */
extern struct unit_memory uring_io_memory;

/* A pool as @state says; leaves the test as skipped where there is no ring to be had. */
struct tocsin_pool *uring_io_pool(void *const *state);

/* Close it; all its memory must be back. */
void uring_io_pool_close(struct tocsin_pool *pool);

/* An operation that counts what is told to its hooks. */
struct uring_io_counted {
    struct tocsin_uring_io io;
    atomic_uint lates;
    atomic_uint releases;
    _Atomic(int32_t) late_result;
};

void uring_io_init(struct uring_io_counted *counted);
int32_t uring_io_late_result(const struct uring_io_counted *counted);

/* Drop what is not in flight, nor has a result: it is released at once. */
void uring_io_drop_idle(struct uring_io_counted *counted);

/* Run until a task has taken @io's result. */
int32_t uring_io_finish(struct tocsin_pool *pool, struct tocsin_uring_io *io);

/* Poll @io once, here.  Returns: what the poll answered. */
int uring_io_glance(struct tocsin_uring_io *io, int32_t *out_result);

/* Some turns, so that what was started is under way. */
void uring_io_turn(struct tocsin_pool *pool);

/* A blocking listener on the loopback, and its address. */
int uring_io_listen(struct sockaddr_in *addr);

/* How many of the first descriptors are open. */
unsigned uring_io_descriptors(void);

#endif
