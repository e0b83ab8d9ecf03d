/*
 * Sockets: reading, writing, peeking, shutting down, over AF_UNIX and TCP; design sections 7 and
 * 11.
 *
 * Each operation is one try that pends at EAGAIN.  Connecting and accepting are in cases_connect.c,
 * the short-read rule in cases_stream.c.
 */
#include <signal.h>

#include "transfer.h"

enum {
    SOCKETS = TOCSIN_BACKEND_SOCKETS | TOCSIN_BACKEND_DESCRIPTORS,
    MEGABYTE = 1024 * 1024,
};

/* A pool with a socket object for one end of a pair; the other end is a plain descriptor. */
struct end {
    struct tocsin_pool *pool;
    struct tocsin_socket *socket;
    int peer;
    struct probe probe;
    struct tocsin_context cx; /* polls on behalf of the probe */
};

static struct tocsin_socket *open_socket(struct conform *t, struct tocsin_pool *pool, int fd)
{
    struct tocsin_socket *socket = NULL;

    REQUIRE(t, tocsin_socket_open(tocsin_pool_driver(pool), fd, &socket) == 0);
    return socket;
}

static void end_open(struct conform *t, struct end *end, int type)
{
    int fds[2];

    memset(end, 0, sizeof(*end));
    end->pool = conform_pool(t);
    REQUIRE(t, socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    end->socket = open_socket(t, end->pool, fds[0]);
    end->peer = fds[1];
    end->cx = probe_context(&end->probe, end->pool);
}

static void end_close(struct conform *t, struct end *end)
{
    CHECK_EQ(t, tocsin_socket_close(end->socket), 0);
    probe_turns(t, end->pool);
    CHECK_EQ(t, probe_references(&end->probe), 0);
    conform_pool_close(t, end->pool);
    close(end->peer);
}

/* Both ends belong to one pool: @size bytes there, at the same time @size bytes back. */
static void both_ways(struct conform *t, const int fds[2], size_t size)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_socket *sockets[2];
    struct transfer transfers[4];
    struct probe_task tasks[4];

    for (int i = 0; i < 2; i++) {
        sockets[i] = open_socket(t, pool, fds[i]);
    }
    for (int i = 0; i < 4; i++) {
        transfers[i] = (struct transfer){.socket = sockets[i / 2], .size = size};
        transfers[i].chunk = i % 2 == 0 ? 0 : 1000 + 777 * (size_t)i;
        probe_spawn(t, pool, &tasks[i], i % 2 == 0 ? transfer_send : transfer_receive,
                    &transfers[i]);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(t, probe_finish(t, pool, &tasks[i]), 0);
        CHECK_EQ(t, transfers[i].done, size);
        CHECK_EQ(t, transfers[i].wrong, 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(t, tocsin_socket_close(sockets[i]), 0);
    }
    conform_pool_close(t, pool);
}

static void unix_stream_carries_a_megabyte_both_ways(struct conform *t)
{
    int fds[2];

    conform_stream_pair(t, fds);
    both_ways(t, fds, MEGABYTE);
}

static void tcp_stream_carries_a_megabyte_both_ways(struct conform *t)
{
    int fds[2];

    tcp_pair(t, fds);
    both_ways(t, fds, MEGABYTE);
}

static void write_until_full_pends_until_drained(struct conform *t)
{
    static const char bytes[4096];
    struct end end;
    size_t filled = 0;
    size_t drained = 0;
    char sink[4096];
    int r;

    end_open(t, &end, SOCK_STREAM);
    while ((r = tocsin_socket_write(end.socket, bytes, sizeof(bytes), &end.cx)) > 0) {
        filled += (size_t)r;
    }
    CHECK_EQ(t, r, TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, end.pool));
    CHECK_EQ(t, probe_wakes(&end.probe), 0);

    while (drained < filled) {
        ssize_t n = read(end.peer, sink, sizeof(sink));

        REQUIRE(t, n > 0);
        drained += (size_t)n;
    }
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_socket_write(end.socket, bytes, 1, &end.cx), 1);
    end_close(t, &end);
}

static void a_read_and_a_write_pend_at_once(struct conform *t)
{
    static char bytes[64 * 1024];
    struct probe writer = {0};
    struct tocsin_context cx;
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    cx = probe_context(&writer, end.pool);
    while (tocsin_socket_write(end.socket, bytes, sizeof(bytes), &cx) > 0) {
    }
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, 1, &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, write(end.peer, "x", 1), 1);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, probe_wakes(&writer), 0);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, 1, &end.cx), 1);
    CHECK_EQ(t, bytes[0], 'x');
    /* Closed with the write pending. */
    end_close(t, &end);
    CHECK_EQ(t, probe_wakes(&writer), 0);
    CHECK_EQ(t, probe_references(&writer), 0);
}

static void vectors_scatter_and_gather(struct conform *t)
{
    char out[3][4] = {"ab", "cde", "f"};
    const struct tocsin_buffer gather[] = {{out[0], 2}, {out[1], 3}, {NULL, 0}, {out[2], 1}};
    char in[3][4] = {"", "", ""};
    const struct tocsin_buffer scatter[] = {{in[0], 1}, {in[1], 3}, {in[2], 3}};
    char bytes[8] = "";
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    CHECK_EQ(t, tocsin_socket_writev(end.socket, gather, 4, &end.cx), 6);
    CHECK_EQ(t, read(end.peer, bytes, sizeof(bytes)), 6);
    CHECK_EQ(t, memcmp(bytes, "abcdef", 6), 0);

    CHECK_EQ(t, tocsin_socket_readv(end.socket, scatter, 3, &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, write(end.peer, "abcdef", 6), 6);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_socket_readv(end.socket, scatter, 3, &end.cx), 6);
    CHECK_EQ(t, memcmp(in, "a\0\0\0bcd\0ef\0", 11), 0);

    CHECK_EQ(t, tocsin_socket_readv(end.socket, scatter, 0, &end.cx), -EINVAL);
    CHECK_EQ(t, tocsin_socket_writev(end.socket, gather, -1, &end.cx), -EINVAL);
    end_close(t, &end);
}

static void peek_leaves_what_it_shows(struct conform *t)
{
    char bytes[8] = "";
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    CHECK_EQ(t, tocsin_socket_peek(end.socket, bytes, sizeof(bytes), &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, tocsin_socket_peek(end.socket, bytes, sizeof(bytes), &end.cx), 3);
    }
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 3);
    CHECK_EQ(t, tocsin_socket_peek(end.socket, bytes, sizeof(bytes), &end.cx), TOCSIN_PENDING);
    end_close(t, &end);
}

static void shutdown_ends_one_direction(struct conform *t)
{
    char bytes[8] = "";
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_socket_shutdown(end.socket, TOCSIN_SHUTDOWN_WRITE), 0);
    CHECK_EQ(t, read(end.peer, bytes, sizeof(bytes)), 0);
    CHECK_EQ(t, tocsin_socket_write(end.socket, "x", 1, &end.cx), -EPIPE);

    CHECK_EQ(t, write(end.peer, "x", 1), 1);
    probe_turns(t, end.pool);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 1);
    CHECK_EQ(t, tocsin_socket_shutdown(end.socket, TOCSIN_SHUTDOWN_READ), 0);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 0);
    CHECK_EQ(t, tocsin_socket_shutdown(end.socket, TOCSIN_SHUTDOWN_BOTH), 0);
    end_close(t, &end);
}

static void the_peers_end_wakes_a_read(struct conform *t)
{
    char byte;
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    CHECK_EQ(t, tocsin_socket_read(end.socket, &byte, 1, &end.cx), TOCSIN_PENDING);
    close(end.peer);
    end.peer = -1;
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    /* And however often it is asked. */
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, tocsin_socket_read(end.socket, &byte, 1, &end.cx), 0);
    }
    end_close(t, &end);
}

static void a_write_to_nobody_raises_no_signal(struct conform *t)
{
    const struct tocsin_buffer buffer = {(char[]){'x'}, 1};
    struct end end;

    /* The default action would end the case's process. */
    REQUIRE(t, signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    end_open(t, &end, SOCK_STREAM);
    close(end.peer);
    end.peer = -1;
    CHECK_EQ(t, tocsin_socket_write(end.socket, "x", 1, &end.cx), -EPIPE);
    CHECK_EQ(t, tocsin_socket_writev(end.socket, &buffer, 1, &end.cx), -EPIPE);
    end_close(t, &end);
}

static void the_peers_end_wakes_a_write(struct conform *t)
{
    static const char bytes[64 * 1024];
    struct end end;

    end_open(t, &end, SOCK_STREAM);
    while (tocsin_socket_write(end.socket, bytes, sizeof(bytes), &end.cx) > 0) {
    }
    close(end.peer);
    end.peer = -1;
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    /* With data unread at the other end it is a reset at first, where that is told. */
    CHECK(t, tocsin_socket_write(end.socket, bytes, 1, &end.cx) < 0);
    CHECK_EQ(t, tocsin_socket_write(end.socket, bytes, 1, &end.cx), -EPIPE);
    end_close(t, &end);
}

/* Datagrams and packets: borders are kept, empty ones are told, long ones are cut. */
static void borders_are_kept(struct conform *t, int type)
{
    char bytes[4] = "";
    struct end end;

    end_open(t, &end, type);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, send(end.peer, "ab", 2, 0), 2);
    CHECK_EQ(t, send(end.peer, "c", 1, 0), 1);
    CHECK_EQ(t, send(end.peer, "toolong", 7, 0), 7);
    CHECK_EQ(t, send(end.peer, "d", 1, 0), 1);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 2);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 1);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 4);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), 1);
    CHECK_EQ(t, bytes[0], 'd');
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_socket_write(end.socket, "xyz", 3, &end.cx), 3);
    CHECK_EQ(t, recv(end.peer, bytes, sizeof(bytes), 0), 3);
    end_close(t, &end);
}

static void datagram_borders_are_kept(struct conform *t)
{
    borders_are_kept(t, SOCK_DGRAM);
}

static void packet_borders_are_kept(struct conform *t)
{
    borders_are_kept(t, SOCK_SEQPACKET);
}

/* The receiver's queue is full, not the sender's: the kernel tells of that in a way of its own. */
static void datagram_to_a_full_peer_pends_until_it_reads(struct conform *t)
{
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    socklen_t size = sizeof(address);
    int fds[2];
    struct end end = {.pool = conform_pool(t)};
    char byte;
    int r;

    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        REQUIRE(t, fds[i] >= 0);
    }
    /* The kernel picks an abstract name. */
    REQUIRE(t, bind(fds[1], (const struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
    REQUIRE(t, getsockname(fds[1], (struct sockaddr *)&address, &size) == 0);
    REQUIRE(t, connect(fds[0], (const struct sockaddr *)&address, size) == 0);
    end.socket = open_socket(t, end.pool, fds[0]);
    end.peer = fds[1];
    end.cx = probe_context(&end.probe, end.pool);

    while ((r = tocsin_socket_write(end.socket, "x", 1, &end.cx)) == 1) {
    }
    CHECK_EQ(t, r, TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, end.pool));
    CHECK_EQ(t, probe_wakes(&end.probe), 0);
    while (recv(end.peer, &byte, 1, MSG_DONTWAIT) == 1) {
    }
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_socket_write(end.socket, "x", 1, &end.cx), 1);
    end_close(t, &end);
}

CONFORM_CASES(
    socket,
    CASE(unix_stream_carries_a_megabyte_both_ways, "7",
         "A megabyte each way at once arrives whole over AF_UNIX.", SOCKETS),
    CASE(tcp_stream_carries_a_megabyte_both_ways, "7",
         "A megabyte each way at once arrives whole over TCP.", SOCKETS),
    CASE(write_until_full_pends_until_drained, "7",
         "A write into a full socket pends, asleep, until the peer has read.", SOCKETS),
    CASE(a_read_and_a_write_pend_at_once, "7",
         "A read and a write of one socket pend side by side, and are dropped by its close.",
         SOCKETS),
    CASE(vectors_scatter_and_gather, "7", "readv and writev keep order and sizes.", SOCKETS),
    CASE(peek_leaves_what_it_shows, "7", "Peeking leaves the data for the next read.", SOCKETS),
    CASE(shutdown_ends_one_direction, "7", "A shutdown ends the direction it names.", SOCKETS),
    CASE(the_peers_end_wakes_a_read, "7", "A pending read ends with 0 when the peer closes.",
         SOCKETS),
    CASE(the_peers_end_wakes_a_write, "7", "A pending write fails when the peer closes.", SOCKETS),
    CASE(a_write_to_nobody_raises_no_signal, "11",
         "Writing to a closed peer is -EPIPE, no SIGPIPE.", SOCKETS),
    CASE(datagram_borders_are_kept, "7", "Datagrams arrive one a read.", SOCKETS),
    CASE(datagram_to_a_full_peer_pends_until_it_reads, "7",
         "A datagram for a peer whose queue is full pends, asleep, until it reads.", SOCKETS),
    CASE(packet_borders_are_kept, "7", "Packets of SOCK_SEQPACKET arrive one a read.", SOCKETS));
