/*
 * Stream, datagram and packet sockets, polled.
 *
 * A socket object owns its descriptor.  Every operation is one try: it is done, or it returns
 * TOCSIN_PENDING having kept cx->waker in the slot it uses; call it again, with the same intent,
 * when woken.  Read-side operations (read, readv, peek, accept) share the read slot, write-side
 * ones (write, writev, connect) the write slot, so one of each may be pending at once.
 */
#ifndef TOCSIN_SOCKET_H
#define TOCSIN_SOCKET_H

#include <tocsin/base.h>
#include <tocsin/ready.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct sockaddr;
struct tocsin_socket;

/* A piece of memory, laid out as struct iovec is on Linux. */
struct tocsin_buffer {
    void *base;
    size_t size;
};

enum tocsin_shutdown {
    TOCSIN_SHUTDOWN_READ,
    TOCSIN_SHUTDOWN_WRITE,
    TOCSIN_SHUTDOWN_BOTH,
};

/*
 * Take over the socket @fd (a descriptor, on Windows a SOCKET); it is made non-blocking.
 *
 * Thread:  any.
 * Memory:  on success @fd belongs to *@out_socket, which tocsin_socket_close() closes.
 * Returns: 0.
 * Errors:  -ENOTSOCK, and those of tocsin_fd_ready_open(); @fd then stays the caller's.
 */
TOCSIN_API int tocsin_socket_open(struct tocsin_driver *driver, intptr_t fd,
                                  struct tocsin_socket **out_socket);

/*
 * Close the socket and its descriptor, in the right order.  Pending operations end without a word:
 * their wakers are dropped.
 *
 * Thread:  any.
 * Returns: 0, or what closing the registration said; freed all the same.  NULL is 0.
 */
TOCSIN_API int tocsin_socket_close(struct tocsin_socket *socket);

/* Free the object and give its descriptor back, still open and non-blocking.  Thread: any. */
TOCSIN_API intptr_t tocsin_socket_release(struct tocsin_socket *socket);

/* The descriptor, borrowed.  Thread: any. */
TOCSIN_API intptr_t tocsin_socket_fd(const struct tocsin_socket *socket);

/* The readiness object, borrowed, for operations that are not here.  Thread: the pool's. */
TOCSIN_API struct tocsin_fd_ready *tocsin_socket_ready(struct tocsin_socket *socket);

/*
 * Try @fn(fd, @arg); at -EAGAIN clear @slot and wait for @events: tocsin_fd_ready_poll_io().
 *
 * Thread: the pool's.
 */
TOCSIN_API int tocsin_socket_poll_io(struct tocsin_socket *socket, enum tocsin_slot slot,
                                     uint32_t events, tocsin_io_fn *fn, void *arg,
                                     struct tocsin_context *cx);

/*
 * Accept one connection.
 *
 * Thread:  the pool's.
 * Memory:  *@out_fd is the caller's: non-blocking, close-on-exec.
 * Returns: 0 or TOCSIN_PENDING.
 * Errors:  those of accept4(2), -EMFILE among them: try again after closing something; the
 *          connection stays in the queue, and no new event comes for it, so do not just wait.
 *          A connection that its peer gave up (-ECONNABORTED) is passed over.
 */
TOCSIN_API int tocsin_socket_accept(struct tocsin_socket *socket, struct tocsin_context *cx,
                                    intptr_t *out_fd);

/*
 * Connect to @addr.
 *
 * Thread:  the pool's.
 * Returns: 0: connected; TOCSIN_PENDING: call again with the same address.
 * Errors:  the connection's own error (-ECONNREFUSED, -ETIMEDOUT ...), those of connect(2);
 *          -EAGAIN: an AF_UNIX listener's queue is full (the kernel tells nobody when it empties).
 */
TOCSIN_API int tocsin_socket_connect(struct tocsin_socket *socket, const struct sockaddr *addr,
                                     unsigned addr_size, struct tocsin_context *cx);

/*
 * Read up to @size bytes, or peek at them.
 *
 * A read that came back short spares the next one its EAGAIN only where that is safe: on a TCP
 * socket with no PRI, RDHUP, HUP or ERR seen.  AF_UNIX stops reads at passed descriptors.
 *
 * Thread:  the pool's.
 * Returns: the bytes read, at most INT_MAX; 0: the peer has shut down; or TOCSIN_PENDING.
 * Errors:  those of recv(2).
 */
TOCSIN_API int tocsin_socket_read(struct tocsin_socket *socket, void *data, size_t size,
                                  struct tocsin_context *cx);
TOCSIN_API int tocsin_socket_peek(struct tocsin_socket *socket, void *data, size_t size,
                                  struct tocsin_context *cx);

/* The same into @buffers_count (at most 1,024) pieces. */
TOCSIN_API int tocsin_socket_readv(struct tocsin_socket *socket,
                                   const struct tocsin_buffer *buffers, int buffers_count,
                                   struct tocsin_context *cx);

/*
 * Write up to @size bytes.  Never raises SIGPIPE.
 *
 * Thread:  the pool's.
 * Returns: the bytes written, which may be fewer; or TOCSIN_PENDING.
 * Errors:  those of send(2), -EPIPE among them.
 */
TOCSIN_API int tocsin_socket_write(struct tocsin_socket *socket, const void *data, size_t size,
                                   struct tocsin_context *cx);
TOCSIN_API int tocsin_socket_writev(struct tocsin_socket *socket,
                                    const struct tocsin_buffer *buffers, int buffers_count,
                                    struct tocsin_context *cx);

/*
 * Shut one or both directions down.  Thread: any.  Errors: those of shutdown(2).
 */
TOCSIN_API int tocsin_socket_shutdown(struct tocsin_socket *socket, enum tocsin_shutdown how);

TOCSIN_END_DECLS

#endif
