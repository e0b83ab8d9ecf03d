/*
 * What the cases about sockets and pipes share: TCP pairs, and whole transfers as operations to
 * poll.
 *
 * A transfer sends or receives a pattern in which every byte says where it belongs, so that a byte
 * lost, doubled or out of place shows.
 */
#ifndef TOCSIN_CONFORM_TRANSFER_H
#define TOCSIN_CONFORM_TRANSFER_H

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

enum {
    TRANSFER_CHUNK_MAX = 64 * 1024,
};

/* A listener on a port of 127.0.0.1 that the kernel chose; its address in *@out_address. */
static inline int tcp_listener(struct conform *t, struct sockaddr_in *out_address)
{
    socklen_t size = sizeof(*out_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(t, fd >= 0);
    *out_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    REQUIRE(t, bind(fd, (const struct sockaddr *)out_address, size) == 0);
    REQUIRE(t, listen(fd, 16) == 0);
    REQUIRE(t, getsockname(fd, (struct sockaddr *)out_address, &size) == 0);
    return fd;
}

/* Two connected blocking TCP sockets, without Nagle's delay. */
static inline void tcp_pair(struct conform *t, int fds[2])
{
    struct sockaddr_in address;
    int listener = tcp_listener(t, &address);
    int one = 1;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(t, fds[0] >= 0);
    REQUIRE(t, connect(fds[0], (const struct sockaddr *)&address, sizeof(address)) == 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    REQUIRE(t, fds[1] >= 0);
    for (int i = 0; i < 2; i++) {
        REQUIRE(t, setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    }
    close(listener);
}

static inline bool fd_has_flag(int fd, int flag)
{
    return (fcntl(fd, F_GETFL) & flag) != 0;
}

static inline bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The byte of the pattern at @position. */
static inline char pattern_at(size_t position)
{
    return (char)(position * 31 + position / 251);
}

/* One of socket and pipe is set. */
struct transfer {
    struct tocsin_socket *socket;
    struct tocsin_pipe *pipe;
    size_t size;  /* to send, or to receive at most: it also ends with the stream */
    size_t chunk; /* bytes an operation; 0: TRANSFER_CHUNK_MAX */
    size_t done;
    size_t wrong; /* bytes received that are not the pattern's */
};

static inline size_t transfer_next(const struct transfer *transfer)
{
    size_t chunk = transfer->chunk == 0 ? TRANSFER_CHUNK_MAX : transfer->chunk;
    size_t left = transfer->size - transfer->done;

    return left < chunk ? left : chunk;
}

/* For probe_spawn(): send the pattern; 0, or negative errno. */
static inline int transfer_send(struct tocsin_context *cx, void *arg)
{
    struct transfer *transfer = arg;
    char bytes[TRANSFER_CHUNK_MAX];

    while (transfer->done < transfer->size) {
        size_t next = transfer_next(transfer);
        int r;

        for (size_t i = 0; i < next; i++) {
            bytes[i] = pattern_at(transfer->done + i);
        }
        r = transfer->socket != NULL ? tocsin_socket_write(transfer->socket, bytes, next, cx)
                                     : tocsin_pipe_write(transfer->pipe, bytes, next, cx);
        if (r < 0) {
            return r;
        }
        transfer->done += (size_t)r;
    }
    return 0;
}

/* For probe_spawn(): receive the pattern until the size or the end of the stream. */
static inline int transfer_receive(struct tocsin_context *cx, void *arg)
{
    struct transfer *transfer = arg;
    char bytes[TRANSFER_CHUNK_MAX];

    while (transfer->done < transfer->size) {
        size_t next = transfer_next(transfer);
        int r = transfer->socket != NULL ? tocsin_socket_read(transfer->socket, bytes, next, cx)
                                         : tocsin_pipe_read(transfer->pipe, bytes, next, cx);

        if (r <= 0) {
            return r;
        }
        for (size_t i = 0; i < (size_t)r; i++) {
            transfer->wrong += bytes[i] != pattern_at(transfer->done + i);
        }
        transfer->done += (size_t)r;
    }
    return 0;
}

#endif
