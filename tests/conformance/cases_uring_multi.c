/*
 * One submission, many completions (U2), and many submissions in one chain, design 8.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "transfer.h"

#include "ring.h"

/* Newer than the headers of some. */
#ifndef IORING_TIMEOUT_MULTISHOT
#define IORING_TIMEOUT_MULTISHOT (1U << 6) /* Linux 6.4 */
#endif

enum {
    SHOTS = 5,
    CHAIN_MAX = 8,
    CHAINS = 100,
};

/* ---- Multishot ------------------------------------------------------------------------------- */

/* The first @shots came with more to come; a cancel ends it, and nothing comes after the end. */
static void end_multishot(struct conform *t, struct tocsin_pool *pool, struct ring_op *op,
                          unsigned shots)
{
    CHECK_EQ(t, conform_read(&op->completions), shots);
    for (unsigned i = 0; i < shots; i++) {
        CHECK(t, (op->flags[i] & IORING_CQE_F_MORE) != 0);
    }
    CHECK_EQ(t, tocsin_uring_cancel(&op->op), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op->completions), shots + 1);
    CHECK_EQ(t, op->results[shots], -ECANCELED);
    CHECK_EQ(t, op->flags[shots] & IORING_CQE_F_MORE, 0);
    CHECK_EQ(t, tocsin_uring_cancel(&op->op), -EALREADY);
    probe_turns(t, pool);
    CHECK_EQ(t, conform_read(&op->completions), shots + 1);
    ring_drop(op);
    CHECK_EQ(t, conform_read(&op->lates), 0);
}

static struct io_uring_sqe poll_entry(int fd)
{
    return (struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD,
                                 .fd = fd,
                                 .len = IORING_POLL_ADD_MULTI,
                                 .poll32_events = POLLIN};
}

static void multishot_poll_tells_each_edge(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct ring_op op;

    REQUIRE(t, fd >= 0);
    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, poll_entry(fd));
    for (unsigned i = 1; i <= SHOTS; i++) {
        CHECK_EQ(t, eventfd_write(fd, 1), 0);
        ring_run(t, pool, &op, i);
        CHECK((t), (op.results[i - 1] & POLLIN) != 0);
    }
    end_multishot(t, pool, &op, SHOTS);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fd), 0);
}

static int connect_to(struct conform *t, const struct sockaddr_in *address, char say)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(t, fd >= 0);
    REQUIRE(t, connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
    CHECK_EQ(t, write(fd, &say, 1), 1);
    return fd;
}

static struct io_uring_sqe accept_entry(int fd)
{
    return (struct io_uring_sqe){.opcode = IORING_OP_ACCEPT,
                                 .fd = fd,
                                 .ioprio = IORING_ACCEPT_MULTISHOT,
                                 .accept_flags = SOCK_CLOEXEC};
}

/* Some one by one, then some that come together. */
static void multishot_accept_takes_each_connection_in_order(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address;
    int listener = tcp_listener(t, &address);
    int peers[SHOTS];
    struct ring_op op;
    char said;

    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, accept_entry(listener));
    for (unsigned i = 0; i < SHOTS; i++) {
        peers[i] = connect_to(t, &address, (char)i);
        if (i < SHOTS / 2) {
            ring_run(t, pool, &op, i + 1);
        }
    }
    ring_run(t, pool, &op, SHOTS);
    for (unsigned i = 0; i < SHOTS; i++) {
        REQUIRE(t, op.results[i] >= 0);
        CHECK_EQ(t, read(op.results[i], &said, 1), 1);
        CHECK_EQ(t, said, i);
        CHECK_EQ(t, close(op.results[i]), 0);
        CHECK_EQ(t, close(peers[i]), 0);
    }
    end_multishot(t, pool, &op, SHOTS);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(listener), 0);
}

static void close_accepted(struct ring_op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    if (result >= 0) {
        CHECK_EQ(op->t, close(result), 0);
        ++*(unsigned *)op->arg;
    }
}

/* The kernel has accepted all of them when the drop comes; none of them was told. */
static void descriptors_of_a_dropped_multishot_are_all_late(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address;
    int listener = tcp_listener(t, &address);
    unsigned accepted = 0;
    int peers[SHOTS];
    struct ring_op op;
    char byte;

    for (unsigned i = 0; i < SHOTS; i++) {
        peers[i] = connect_to(t, &address, (char)i);
    }
    ring_op_init(t, &op, NULL);
    op.at_late = close_accepted;
    op.arg = &accepted;
    ring_submit_here(t, pool, &op, accept_entry(listener));
    tocsin_uring_drop(&op.op);
    CHECK_EQ(t, conform_read(&op.releases), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 0);
    CHECK_EQ(t, accepted, SHOTS);
    CHECK_EQ(t, conform_read(&op.lates), SHOTS + 1);
    CHECK_EQ(t, op.late, -ECANCELED);
    CHECK_EQ(t, conform_read(&op.releases), 1);
    CHECK_EQ(t, op.lates_after, 0);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(listener), 0);
    for (unsigned i = 0; i < SHOTS; i++) {
        CHECK(t, read(peers[i], &byte, 1) <= 0); /* the other end is closed: the end, or a reset */
        CHECK_EQ(t, close(peers[i]), 0);
    }
}

/* By provided buffers: each packet in one of its own, until there is none left. */
static void multishot_receive_keeps_packets_in_order(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    char buffers[SHOTS][16];
    struct ring_op providing;
    struct ring_op op;
    struct io_uring_sqe sqe = {.opcode = IORING_OP_PROVIDE_BUFFERS,
                               .fd = SHOTS,
                               .addr = (uint64_t)(uintptr_t)buffers,
                               .len = sizeof(buffers[0]),
                               .buf_group = 7};
    int fds[2];

    REQUIRE(t, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    ring_polled_init(t, &providing);
    ring_submit(pool, &providing, sqe);
    CHECK(t, ring_finish(t, pool, &providing) >= 0);
    ring_drop(&providing);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_RECV,
                                .flags = IOSQE_BUFFER_SELECT,
                                .ioprio = IORING_RECV_MULTISHOT,
                                .fd = fds[0],
                                .buf_group = 7};
    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, sqe);
    for (unsigned i = 0; i < SHOTS + 1; i++) {
        char packet[2] = {'p', (char)('0' + i)};

        CHECK_EQ(t, send(fds[1], packet, sizeof(packet), 0), sizeof(packet));
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), SHOTS + 1);
    for (unsigned i = 0; i < SHOTS; i++) {
        uint32_t number = op.flags[i] >> IORING_CQE_BUFFER_SHIFT;

        CHECK_EQ(t, op.results[i], 2);
        CHECK(t, (op.flags[i] & IORING_CQE_F_MORE) != 0);
        REQUIRE(t, (op.flags[i] & IORING_CQE_F_BUFFER) != 0 && number < SHOTS);
        CHECK_EQ(t, buffers[number][1], '0' + i);
    }
    CHECK_EQ(t, op.results[SHOTS], -ENOBUFS);
    CHECK_EQ(t, op.flags[SHOTS] & IORING_CQE_F_MORE, 0);
    ring_drop(&op);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

static void multishot_timeout_ends_by_itself(struct conform *t)
{
    const struct __kernel_timespec delay = {.tv_nsec = 100 * 1000};
    struct tocsin_pool *pool = conform_pool(t);
    struct io_uring_sqe sqe = ring_timeout(&delay);
    struct ring_op op;

    sqe.timeout_flags = IORING_TIMEOUT_MULTISHOT;
    sqe.off = SHOTS;
    ring_op_init(t, &op, NULL);
    ring_submit(pool, &op, sqe);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    if (op.results[0] == -EINVAL) {
        conform_note(t, "this kernel has no multishot timeouts");
        CHECK_EQ(t, conform_read(&op.completions), 1);
    } else {
        CHECK_EQ(t, conform_read(&op.completions), SHOTS);
        for (unsigned i = 0; i < SHOTS; i++) {
            CHECK_EQ(t, op.results[i], -ETIME);
            CHECK_EQ(t, op.flags[i] & IORING_CQE_F_MORE,
                     i + 1 < SHOTS ? (uint32_t)IORING_CQE_F_MORE : 0);
        }
    }
    ring_drop(&op);
    conform_pool_close(t, pool);
}

/* The polling face: the first result, when the last has come. */
static void polled_multishot_is_ready_at_its_end(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct ring_op op;

    REQUIRE(t, fd >= 0);
    ring_polled_init(t, &op);
    ring_submit_here(t, pool, &op, poll_entry(fd));
    CHECK_EQ(t, ring_poll(&cx, &op), TOCSIN_PENDING);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK_EQ(t, ring_poll(&cx, &op), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_uring_cancel(&op.op), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, ring_poll(&cx, &op), 0);
    CHECK((t), op.results[0] > 0 && (op.results[0] & POLLIN) != 0);
    ring_drop(&op);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fd), 0);
}

CONFORM_CASES(uring_multi,
              CASE(multishot_poll_tells_each_edge, "U2", "Each edge once, and one end.",
                   TOCSIN_BACKEND_URING),
              CASE(multishot_accept_takes_each_connection_in_order, "U2",
                   "Each connection once, in order, and one end.", TOCSIN_BACKEND_URING),
              CASE(descriptors_of_a_dropped_multishot_are_all_late, "U2",
                   "Connections that were accepted and not told go to the late hook, each.",
                   TOCSIN_BACKEND_URING),
              CASE(multishot_receive_keeps_packets_in_order, "U2",
                   "Each packet in a provided buffer, until there are none.", TOCSIN_BACKEND_URING),
              CASE(multishot_timeout_ends_by_itself, "U2",
                   "So many times, the last without more to come.", TOCSIN_BACKEND_URING),
              CASE(polled_multishot_is_ready_at_its_end, "U2",
                   "The polling face has the first result when the last has come.",
                   TOCSIN_BACKEND_URING));
