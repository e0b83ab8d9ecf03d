/*
 * Sockets and pipes: a descriptor that is owned, a readiness object for it, and the poll_io
 * pattern.
 *
 * The short-read rule (design 7): a read that came back with less than asked proves that nothing is
 * left, so that the EAGAIN can be spared, only on a TCP socket that has shown no PRI, RDHUP, HUP or
 * ERR since the last EAGAIN.  Elsewhere passed descriptors, the urgent mark, the FIN behind the
 * data and packet borders all make reads short with more behind them, and the edge for that more
 * has been spent.
 */
#include <errno.h>
#include <stdlib.h>

#include <tocsin/pipe.h>

#include "runtime/pool.h"

/* Both of struct tocsin_socket and struct tocsin_pipe. */
struct stream {
    struct tocsin_fd_ready *ready;
    struct tocsin_pool *pool; /* referenced: its allocator frees this */
    intptr_t fd;
    bool short_read_ends;  /* TCP */
    bool connecting;       /* connect said EINPROGRESS */
    bool nosignal_refused; /* writes without SIGPIPE are not to be had */
};

struct tocsin_socket {
    struct stream stream;
};

struct tocsin_pipe {
    struct stream stream;
};

enum {
    BUFFERS_MAX = 1024, /* IOV_MAX on Linux */
};

static int stream_create(struct tocsin_driver *driver, enum tocsin_source source, intptr_t fd,
                         struct stream **out_stream)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct stream *stream;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    stream = tocsin__alloc_zeroed(pool, sizeof(*stream));
    if (stream == NULL) {
        return -ENOMEM;
    }
    r = tocsin__ready_open(pool, source, fd, 0, &stream->ready);
    if (r == 0) {
        r = tocsin__fd_set_nonblocking(fd);
        if (r < 0) {
            tocsin_fd_ready_close(stream->ready);
        }
    }
    if (r < 0) {
        tocsin__free(pool, stream);
        return r;
    }
    stream->fd = fd;
    stream->pool = pool;
    tocsin__pool_ref(pool);
    *out_stream = stream;
    return 0;
}

/* Unregister, then close unless the descriptor is given back: the order that design 7 asks for. */
static int stream_destroy(struct stream *stream, bool close_fd)
{
    struct tocsin_pool *pool = stream->pool;
    int r = tocsin_fd_ready_close(stream->ready);

    if (close_fd) {
        tocsin__fd_close(stream->fd);
    }
    tocsin__free(pool, stream);
    tocsin__pool_unref(pool);
    return r;
}

int tocsin_socket_open(struct tocsin_driver *driver, intptr_t fd, struct tocsin_socket **out_socket)
{
    int short_read_ends = tocsin__socket_short_read_ends(fd);
    struct stream *stream;
    int r;

    if (short_read_ends < 0) {
        return short_read_ends;
    }
    r = stream_create(driver, TOCSIN_SOURCE_SOCKET, fd, &stream);
    if (r == 0) {
        stream->short_read_ends = short_read_ends;
        *out_socket = (struct tocsin_socket *)(void *)stream;
    }
    return r;
}

int tocsin_socket_close(struct tocsin_socket *socket)
{
    return socket == NULL ? 0 : stream_destroy(&socket->stream, true);
}

intptr_t tocsin_socket_release(struct tocsin_socket *socket)
{
    intptr_t fd = socket->stream.fd;

    stream_destroy(&socket->stream, false);
    return fd;
}

intptr_t tocsin_socket_fd(const struct tocsin_socket *socket)
{
    return socket->stream.fd;
}

struct tocsin_fd_ready *tocsin_socket_ready(struct tocsin_socket *socket)
{
    return socket->stream.ready;
}

int tocsin_socket_poll_io(struct tocsin_socket *socket, enum tocsin_slot slot, uint32_t events,
                          tocsin_io_fn *fn, void *arg, struct tocsin_context *cx)
{
    return tocsin_fd_ready_poll_io(socket->stream.ready, slot, events, fn, arg, cx);
}

static int try_accept(intptr_t fd, void *arg)
{
    int r;

    do {
        r = tocsin__socket_accept(fd, arg);
    } while (r == -ECONNABORTED);
    return r;
}

int tocsin_socket_accept(struct tocsin_socket *socket, struct tocsin_context *cx, intptr_t *out_fd)
{
    return tocsin_socket_poll_io(socket, TOCSIN_SLOT_READ, TOCSIN_IN, try_accept, out_fd, cx);
}

int tocsin_socket_connect(struct tocsin_socket *socket, const struct sockaddr *addr,
                          unsigned addr_size, struct tocsin_context *cx)
{
    struct stream *stream = &socket->stream;
    int r;

    if (tocsin__is_forked(stream->pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(stream->pool);
    if (!stream->connecting) {
        /* What was seen of the unconnected socket (HUP, OUT) tells nothing about the connection. */
        tocsin__ready_forget(stream->ready, TOCSIN_SLOT_WRITE);
        r = tocsin__socket_connect(stream->fd, addr, addr_size);
        if (r != -EINPROGRESS && r != -EINTR) {
            return r;
        }
        stream->connecting = true;
    }
    for (;;) {
        r = tocsin_fd_ready_poll(stream->ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, cx);
        if (r < 0) {
            return r;
        }
        /*
         * Asking again tells: connected, the connection's own error, or not yet (an event of before
         * the connect that came late).  SO_ERROR would tell the error too, but leave the socket
         * such that its next connect fails with ECONNABORTED.
         */
        r = tocsin__socket_connect(stream->fd, addr, addr_size);
        if (r == 0 || r == -EISCONN) {
            r = 0;
            break;
        }
        if (r != -EALREADY && r != -EINPROGRESS && r != -EINTR) {
            break;
        }
        tocsin__ready_forget(stream->ready, TOCSIN_SLOT_WRITE);
    }
    stream->connecting = false;
    return r;
}

/* A read under way, for try_receive(). */
struct receive {
    const struct tocsin_buffer *buffers;
    int buffers_count;
    uint32_t flags;
};

static int try_receive(intptr_t fd, void *arg)
{
    const struct receive *receive = arg;

    return tocsin__socket_receive(fd, receive->buffers, receive->buffers_count, receive->flags);
}

static int receive_from(struct stream *stream, const struct receive *receive, size_t asked,
                        struct tocsin_context *cx)
{
    int n = tocsin_fd_ready_poll_io(stream->ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_receive,
                                    (void *)(uintptr_t)receive, cx);

    if (n > 0 && (size_t)n < asked && (receive->flags & TOCSIN__PEEK) == 0 &&
        stream->short_read_ends) {
        tocsin__ready_short_read(stream->ready);
    }
    return n;
}

static int read_one(struct tocsin_socket *socket, void *data, size_t size, uint32_t flags,
                    struct tocsin_context *cx)
{
    struct tocsin_buffer buffer = {data, size};
    struct receive receive = {&buffer, 1, flags};

    return receive_from(&socket->stream, &receive, size, cx);
}

int tocsin_socket_read(struct tocsin_socket *socket, void *data, size_t size,
                       struct tocsin_context *cx)
{
    return read_one(socket, data, size, 0, cx);
}

int tocsin_socket_peek(struct tocsin_socket *socket, void *data, size_t size,
                       struct tocsin_context *cx)
{
    return read_one(socket, data, size, TOCSIN__PEEK, cx);
}

/* -EINVAL for what the kernel would refuse or cut short in another way on another system. */
static int total_of(const struct tocsin_buffer *buffers, int buffers_count, size_t *out_total)
{
    size_t total = 0;

    if (buffers_count < 1 || buffers_count > BUFFERS_MAX) {
        return -EINVAL;
    }
    for (int i = 0; i < buffers_count; i++) {
        if (buffers[i].size > INT_MAX - total) {
            return -EINVAL;
        }
        total += buffers[i].size;
    }
    *out_total = total;
    return 0;
}

int tocsin_socket_readv(struct tocsin_socket *socket, const struct tocsin_buffer *buffers,
                        int buffers_count, struct tocsin_context *cx)
{
    struct receive receive = {buffers, buffers_count, 0};
    size_t total;
    int r = total_of(buffers, buffers_count, &total);

    return r < 0 ? r : receive_from(&socket->stream, &receive, total, cx);
}

static int try_send(intptr_t fd, void *arg)
{
    const struct receive *send = arg;

    return tocsin__socket_send(fd, send->buffers, send->buffers_count);
}

int tocsin_socket_write(struct tocsin_socket *socket, const void *data, size_t size,
                        struct tocsin_context *cx)
{
    struct tocsin_buffer buffer = {(void *)(uintptr_t)data, size};
    struct receive send = {&buffer, 1, 0};

    return tocsin_socket_poll_io(socket, TOCSIN_SLOT_WRITE, TOCSIN_OUT, try_send, &send, cx);
}

int tocsin_socket_writev(struct tocsin_socket *socket, const struct tocsin_buffer *buffers,
                         int buffers_count, struct tocsin_context *cx)
{
    struct receive send = {buffers, buffers_count, 0};
    size_t total;
    int r = total_of(buffers, buffers_count, &total);

    if (r < 0) {
        return r;
    }
    return tocsin_socket_poll_io(socket, TOCSIN_SLOT_WRITE, TOCSIN_OUT, try_send, &send, cx);
}

int tocsin_socket_shutdown(struct tocsin_socket *socket, enum tocsin_shutdown how)
{
    return tocsin__socket_shutdown(socket->stream.fd, how);
}

int tocsin_pipe_pair(int *out_read_fd, int *out_write_fd)
{
    return tocsin__pipe(out_read_fd, out_write_fd);
}

int tocsin_pipe_open(struct tocsin_driver *driver, int fd, struct tocsin_pipe **out_pipe)
{
    struct stream *stream;
    int r = stream_create(driver, TOCSIN_SOURCE_DESCRIPTOR, fd, &stream);

    if (r == 0) {
        *out_pipe = (struct tocsin_pipe *)(void *)stream;
    }
    return r;
}

int tocsin_pipe_close(struct tocsin_pipe *pipe)
{
    return pipe == NULL ? 0 : stream_destroy(&pipe->stream, true);
}

int tocsin_pipe_release(struct tocsin_pipe *pipe)
{
    int fd = (int)pipe->stream.fd;

    stream_destroy(&pipe->stream, false);
    return fd;
}

struct tocsin_fd_ready *tocsin_pipe_ready(struct tocsin_pipe *pipe)
{
    return pipe->stream.ready;
}

static int try_read(intptr_t fd, void *arg)
{
    const struct tocsin_buffer *buffer = arg;

    return tocsin__fd_read(fd, buffer->base, buffer->size);
}

int tocsin_pipe_read(struct tocsin_pipe *pipe, void *data, size_t size, struct tocsin_context *cx)
{
    struct tocsin_buffer buffer = {data, size};

    return tocsin_fd_ready_poll_io(pipe->stream.ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_read,
                                   &buffer, cx);
}

/* A write under way, for try_write(). */
struct write {
    const void *data;
    size_t size;
    bool *nosignal_refused;
};

static int try_write(intptr_t fd, void *arg)
{
    const struct write *write = arg;

    return tocsin__fd_write_nosignal(fd, write->data, write->size, write->nosignal_refused);
}

int tocsin_pipe_write(struct tocsin_pipe *pipe, const void *data, size_t size,
                      struct tocsin_context *cx)
{
    struct write write = {data, size, &pipe->stream.nosignal_refused};

    return tocsin_fd_ready_poll_io(pipe->stream.ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, try_write,
                                   &write, cx);
}
