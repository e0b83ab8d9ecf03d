/*
 * What the tests of an operation's life share: two operations, a pipe to read from, and another
 * thread that is held at a moment inside a call until the test lets it go.
 *
 * Programs that use it wrap tocsin__remote_push(), tocsin__remote_close() and
 * tocsin__uring_host_get(), too.
 */
#ifndef TOCSIN_TESTS_UNIT_URING_LIFE_H
#define TOCSIN_TESTS_UNIT_URING_LIFE_H

#include <semaphore.h>

#include "tests/unit/uring.h"

struct life {
    struct unit_uring uring;
    struct unit_op op;
    struct unit_op second;
    struct io_uring_sqe nop;
    struct io_uring_sqe read; /* of the pipe, which is empty */
    int fds[2];
    char byte;
    int result;
};

void life_start(struct life *life);
void life_end(struct life *life);

/* One turn with @fn(@life) in it; turns until nothing is in flight. */
void life_in_turn(struct life *life, support_body_fn *fn);
void life_run(struct life *life);

/* For life_in_turn(): what they do to life->op; the result of the cancel is in life->result. */
void life_submit_read(void *arg);
void life_submit_nop(void *arg);
void life_cancel_op(void *arg);
void life_drop_op(void *arg);

void life_check_counts(const struct unit_op *op, unsigned completes, unsigned lates,
                       unsigned releases);

/* The other thread.  It must be static: where a test fails it is held for ever. */
struct life_other {
    struct support_thread thread;
    sem_t held;
    sem_t go;
    struct unit_uring *uring;
    struct unit_op *op;
    struct io_uring_sqe sqe;
    int result;
};

/* Returns when @fn is held: in its push, or before it looks into the ring. */
void life_other_start(struct life_other *other, support_body_fn *fn);
void life_other_end(struct life_other *other);

/* The @fn there are: each is given the other, and does it to other->op. */
void life_cancel_held(void *arg);
void life_drop_held(void *arg);
void life_submit_held(void *arg);

/* Called right before the remote queue closes for good; NULL: nothing is. */
extern void (*life_on_remote_close)(void);

#endif
