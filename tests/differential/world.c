/*
 * What programs read, write and wait for: descriptors, or a simulation's own objects.
 */
#include "differential.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tocsin/sim.h>

void bytes_fill(unsigned char *data, size_t size, uint32_t key, uint64_t from)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = byte_at(key, from + i);
    }
}

bool bytes_are(const unsigned char *data, size_t size, uint32_t key, uint64_t from)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != byte_at(key, from + i)) {
            return false;
        }
    }
    return true;
}

int listener_open(void *address)
{
    struct sockaddr_in *in = address;
    socklen_t size = sizeof(*in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    NEED(fd >= 0);
    memset(in, 0, sizeof(*in));
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    NEED(bind(fd, address, size) == 0 && listen(fd, 8) == 0);
    NEED(getsockname(fd, address, &size) == 0);
    return fd;
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = listener_open(&address);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    NEED(fds[0] >= 0 && connect(fds[0], (struct sockaddr *)&address, sizeof(address)) == 0);
    NEED(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    NEED(fds[1] >= 0);
    close(listener);
}

static void descriptor_pair(enum pair_kind kind, int fds[2])
{
    switch (kind) {
    case PAIR_STREAM:
        NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        return;
    case PAIR_TCP:
        tcp_pair(fds);
        return;
    case PAIR_PIPE:
        NEED(CALL(tocsin_pipe_pair)(&fds[0], &fds[1]) == 0);
        return;
    case PAIR_EVENT:
        fds[0] = fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        NEED(fds[0] >= 0);
        return;
    }
    abort(); /* no such pair */
}

static void object_pair(struct tocsin_sim *sim, enum pair_kind kind, intptr_t ends[2])
{
    /* Slow, and in pieces. */
    struct tocsin_sim_link_options options = {
        .partial_ppm = 300000, .latency_min_ns = 1000, .latency_max_ns = 50000};

    switch (kind) {
    case PAIR_STREAM:
    case PAIR_TCP:
        NEED(CALL(tocsin_sim_stream_pair)(sim, &options, ends) == 0);
        return;
    case PAIR_PIPE:
        NEED(CALL(tocsin_sim_pipe)(sim, &options, ends) == 0);
        return;
    case PAIR_EVENT:
        NEED(CALL(tocsin_sim_event)(sim, 0, false, &ends[0]) == 0);
        ends[1] = ends[0];
        return;
    }
    abort(); /* no such pair */
}

void world_pair(struct actor *actor, enum pair_kind kind, intptr_t ends[2])
{
    int fds[2];

    if (actor->run->sim != NULL) {
        object_pair(actor->run->sim, kind, ends);
        return;
    }
    descriptor_pair(kind, fds);
    ends[0] = fds[0];
    ends[1] = fds[1];
}

void world_close(struct run *run, intptr_t end)
{
    if (run->sim != NULL) {
        NEED(CALL(tocsin_sim_object_close)(run->sim, end) == 0);
        return;
    }
    NEED(close((int)end) == 0);
}

int world_shutdown(struct run *run, intptr_t end, enum tocsin_shutdown how)
{
    static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};

    if (run->sim != NULL) {
        return CALL(tocsin_sim_object_shutdown)(run->sim, end, how);
    }
    return shutdown((int)end, hows[how]) == 0 ? 0 : -errno;
}

int world_read(struct run *run, intptr_t end, void *data, size_t size)
{
    ssize_t r;

    if (run->sim != NULL) {
        return CALL(tocsin_sim_object_read)(run->sim, end, data, size);
    }
    r = read((int)end, data, size);
    return r < 0 ? -errno : (int)r;
}

int world_write(struct run *run, intptr_t end, const void *data, size_t size)
{
    ssize_t r;

    if (run->sim != NULL) {
        return CALL(tocsin_sim_object_write)(run->sim, end, data, size);
    }
    r = write((int)end, data, size);
    return r < 0 ? -errno : (int)r;
}

void world_write_all(struct run *run, intptr_t end, const void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        int r = world_write(run, end, (const char *)data + done, size - done);

        NEED(r > 0);
        done += (size_t)r;
    }
}

int world_ready_open(struct run *run, intptr_t end, struct tocsin_fd_ready **out_ready)
{
    if (run->sim != NULL) {
        return CALL(tocsin_source_ready_open)(run->driver, TOCSIN_SOURCE_OWN, end, out_ready);
    }
    return CALL(tocsin_fd_ready_open)(run->driver, (int)end, out_ready);
}

/* ---- Streams --------------------------------------------------------------------------------- */

void stream_open(struct stream *stream, struct run *run, enum pair_kind kind, intptr_t end)
{
    memset(stream, 0, sizeof(*stream));
    stream->run = run;
    stream->end = end;
    if (run->sim != NULL) {
        NEED(world_ready_open(run, end, &stream->ready) == 0);
    } else if (kind == PAIR_PIPE) {
        NEED(CALL(tocsin_pipe_open)(run->driver, (int)end, &stream->pipe) == 0);
    } else {
        NEED(CALL(tocsin_socket_open)(run->driver, end, &stream->socket) == 0);
    }
}

int stream_close(struct stream *stream)
{
    int r;

    if (stream->socket != NULL) {
        return CALL(tocsin_socket_close)(stream->socket);
    }
    if (stream->pipe != NULL) {
        return CALL(tocsin_pipe_close)(stream->pipe);
    }
    r = CALL(tocsin_fd_ready_close)(stream->ready);
    world_close(stream->run, stream->end);
    return r;
}

/* One try on a simulation's object. */
struct piece {
    struct run *run;
    void *data;
    size_t size;
};

static int try_read(intptr_t end, void *arg)
{
    struct piece *piece = arg;

    return world_read(piece->run, end, piece->data, piece->size);
}

static int try_write(intptr_t end, void *arg)
{
    struct piece *piece = arg;

    return world_write(piece->run, end, piece->data, piece->size);
}

int stream_read(struct stream *stream, void *data, size_t size, struct tocsin_context *cx)
{
    struct piece piece = {stream->run, data, size};

    if (stream->socket != NULL) {
        return CALL(tocsin_socket_read)(stream->socket, data, size, cx);
    }
    if (stream->pipe != NULL) {
        return CALL(tocsin_pipe_read)(stream->pipe, data, size, cx);
    }
    return CALL(tocsin_fd_ready_poll_io)(stream->ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_read,
                                         &piece, cx);
}

int stream_write(struct stream *stream, const void *data, size_t size, struct tocsin_context *cx)
{
    struct piece piece = {stream->run, (void *)(uintptr_t)data, size};

    if (stream->socket != NULL) {
        return CALL(tocsin_socket_write)(stream->socket, data, size, cx);
    }
    if (stream->pipe != NULL) {
        return CALL(tocsin_pipe_write)(stream->pipe, data, size, cx);
    }
    return CALL(tocsin_fd_ready_poll_io)(stream->ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, try_write,
                                         &piece, cx);
}
