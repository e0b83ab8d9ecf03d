/*
 * Results that nobody takes, pools that close, and what is refused, design 8.
 */
#include <sys/socket.h>

#include "transfer.h"

#include "ring.h"

/* ---- Late results ---------------------------------------------------------------------------- */

static struct io_uring_sqe accept_entry(int fd)
{
    return (struct io_uring_sqe){
        .opcode = IORING_OP_ACCEPT, .fd = fd, .accept_flags = SOCK_CLOEXEC};
}

/* A listener that somebody has connected to. */
static int connected_listener(struct conform *t, int *out_peer)
{
    struct sockaddr_in address;
    int listener = tcp_listener(t, &address);

    *out_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(t, *out_peer >= 0);
    REQUIRE(t, connect(*out_peer, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return listener;
}

/* The connection is accepted; its descriptor came to late, and the peer sees the end of it. */
static void close_late(struct conform *t, struct ring_op *op, int peer)
{
    char byte;

    CHECK_EQ(t, conform_read(&op->completions), 0);
    CHECK_EQ(t, conform_read(&op->lates), 1);
    CHECK_EQ(t, conform_read(&op->releases), 1);
    CHECK_EQ(t, op->lates_after, 0);
    REQUIRE(t, op->late >= 0);
    CHECK_EQ(t, close(op->late), 0);
    CHECK_EQ(t, read(peer, &byte, 1), 0);
    CHECK_EQ(t, close(peer), 0);
}

/* What the turn left as completed is dropped before the next turn can deliver it. */
static void accepted_descriptor_of_a_dropped_operation_is_late(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    int peer;
    int listener = connected_listener(t, &peer);

    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, accept_entry(listener));
    CHECK_EQ(t, conform_read(&op.completions), 0);
    tocsin_uring_drop(&op.op);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    close_late(t, &op, peer);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(listener), 0);
}

static void result_that_no_poll_took_is_late_at_the_drop(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    int peer;
    int listener = connected_listener(t, &peer);

    ring_polled_init(t, &op);
    ring_submit(pool, &op, accept_entry(listener));
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.lates), 0);
    ring_drop(&op);
    close_late(t, &op, peer);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(listener), 0);
}

/* The pool closes over it: the hook is told as if it had run on. */
static void result_that_comes_while_the_pool_closes_is_told(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    int peer;
    int listener = connected_listener(t, &peer);

    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, accept_entry(listener));
    CHECK_EQ(t, conform_read(&op.completions), 0);
    conform_pool_close(t, pool);
    REQUIRE(t, conform_read(&op.completions) == 1);
    REQUIRE(t, op.results[0] >= 0);
    CHECK_EQ(t, close(op.results[0]), 0);
    ring_drop(&op);
    CHECK_EQ(t, conform_read(&op.lates), 0);
    CHECK_EQ(t, close(peer), 0);
    CHECK_EQ(t, close(listener), 0);
}

/* ---- Run and close --------------------------------------------------------------------------- */

static void operation_in_flight_keeps_the_pool_running(struct conform *t)
{
    const struct __kernel_timespec delay = {.tv_nsec = 5 * 1000 * 1000};
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t begun_ns;
    struct ring_op op;

    ring_op_init(t, &op, NULL);
    begun_ns = tocsin_pool_now_ns(pool);
    ring_submit_here(t, pool, &op, ring_timeout(&delay));
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 1);
    CHECK_EQ(t, op.results[0], -ETIME);
    CHECK(t, tocsin_pool_now_ns(pool) - begun_ns >= (uint64_t)delay.tv_nsec);
    ring_drop(&op);
    conform_pool_close(t, pool);
}

enum {
    DROPPED_BEFORE = 3,
    NOT_RECEIVED = 6,
    CLOSING = 8,
};

/* The end of an operation that the close cancelled. */
static void check_cancelled(struct conform *t, struct ring_op *op)
{
    CHECK_EQ(t, conform_read(&op->completions), 1);
    CHECK_EQ(t, op->results[0], -ECANCELED);
    CHECK_EQ(t, op->flags[0], 0);
    CHECK_EQ(t, op->thread, conform_thread_id());
    CHECK_EQ(t, conform_read(&op->lates), 0);
    CHECK_EQ(t, conform_read(&op->releases), 0);
    ring_drop(op);
}

static void drop_in_hook(struct ring_op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    CHECK_EQ(op->t, result, -ECANCELED);
    tocsin_uring_drop(&op->op);
    CHECK_EQ(op->t, conform_read(&op->releases), 0);
}

/* In flight, dropped before, dropped in the hook, and submitted but not received yet. */
static void closing_cancels_what_is_in_flight(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op ops[CLOSING];
    char data[CLOSING];
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    for (unsigned i = 0; i < CLOSING; i++) {
        struct io_uring_sqe sqe = ring_read(fds[0], &data[i], 1);

        ring_op_init(t, &ops[i], i == 0 ? drop_in_hook : NULL);
        if (i < NOT_RECEIVED) {
            ring_submit_here(t, pool, &ops[i], sqe);
        } else {
            ring_submit(pool, &ops[i], sqe);
        }
    }
    tocsin_uring_drop(&ops[DROPPED_BEFORE].op);
    tocsin_uring_drop(&ops[CLOSING - 1].op);
    conform_pool_close(t, pool);
    for (unsigned i = 0; i < CLOSING; i++) {
        if (i == 0) {
            CHECK_EQ(t, conform_read(&ops[i].completions), 1);
            CHECK_EQ(t, conform_read(&ops[i].releases), 1);
        } else if (i == DROPPED_BEFORE || i == CLOSING - 1) {
            CHECK_EQ(t, conform_read(&ops[i].completions), 0);
            CHECK_EQ(t, conform_read(&ops[i].lates), 1);
            CHECK_EQ(t, ops[i].late, -ECANCELED);
            CHECK_EQ(t, conform_read(&ops[i].releases), 1);
            CHECK_EQ(t, ops[i].lates_after, 0);
        } else {
            check_cancelled(t, &ops[i]);
        }
    }
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

static void submit_again_while_closing(struct ring_op *op, int32_t result, uint32_t flags)
{
    const struct io_uring_sqe nop = ring_nop();

    (void)flags;
    CHECK_EQ(op->t, result, -ECANCELED);
    CHECK_EQ(op->t, tocsin_uring_submit(op->arg, &op->op, &nop), -ESHUTDOWN);
}

static void closed_pool_takes_nothing(struct conform *t)
{
    const struct io_uring_sqe nop = ring_nop();
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    struct ring_op op;
    char byte;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    ring_op_init(t, &op, submit_again_while_closing);
    op.arg = driver;
    ring_submit_here(t, pool, &op, ring_read(fds[0], &byte, 1));
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&op.completions), 1);
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_uring_probe(driver, IORING_OP_NOP), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_uring_cancel(&op.op), -EALREADY);
    CHECK_EQ(t, conform_read(&op.completions), 1);
    ring_drop(&op);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

/* ---- Refused --------------------------------------------------------------------------------- */

static void misuse_of_an_operation_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct io_uring_sqe nop = ring_nop();
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct ring_op op;

    ring_polled_init(t, &op);
    CHECK_EQ(t, tocsin_uring_poll(&op.op, &cx, NULL, NULL), -EINVAL);
    CHECK_EQ(t, tocsin_uring_cancel(&op.op), -EALREADY);
    nop.flags = IOSQE_IO_LINK;
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -EINVAL);
    nop.flags = IOSQE_IO_HARDLINK;
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -EINVAL);
    nop.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -EINVAL);
    nop.flags = 0;
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), 0);
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -EBUSY);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), -EBUSY); /* not taken yet */
    CHECK_EQ(t, tocsin_uring_poll(&op.op, &cx, NULL, NULL), 0);
    CHECK_EQ(t, tocsin_uring_poll(&op.op, &cx, NULL, NULL), -EINVAL);
    CHECK_EQ(t, tocsin_uring_submit(driver, &op.op, &nop), 0);
    CHECK_EQ(t, ring_finish(t, pool, &op), 0);
    CHECK_EQ(t, probe_references(&probe), 0);
    ring_drop(&op);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    uring_end,
    CASE(accepted_descriptor_of_a_dropped_operation_is_late, "U1",
         "A connection that is accepted after the drop goes to the late hook.",
         TOCSIN_BACKEND_URING),
    CASE(result_that_no_poll_took_is_late_at_the_drop, "U1",
         "A descriptor that no poll has taken goes to the late hook.", TOCSIN_BACKEND_URING),
    CASE(result_that_comes_while_the_pool_closes_is_told, "4.6",
         "What has completed is told by the close.", TOCSIN_BACKEND_URING),
    CASE(operation_in_flight_keeps_the_pool_running, "4.6",
         "A run returns 0 when the operation has completed, and not before.", TOCSIN_BACKEND_URING),
    CASE(closing_cancels_what_is_in_flight, "4.6",
         "Also what was dropped, and what was submitted elsewhere and not received: complete or "
         "late first, release last.",
         TOCSIN_BACKEND_URING),
    CASE(closed_pool_takes_nothing, "4.6", "Inside a hook of the close, and after it.",
         TOCSIN_BACKEND_URING),
    CASE(misuse_of_an_operation_is_refused, "8",
         "Submitted twice, linked to nothing, or polled before and after its result.",
         TOCSIN_BACKEND_URING));
