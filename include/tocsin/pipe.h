/*
 * Pipes, ttys and other byte streams behind a descriptor, polled.
 *
 * As sockets (tocsin/socket.h), with read and write.  Reads go on until EAGAIN: a short read of a
 * tty or of a packet pipe (O_DIRECT) says nothing about what follows.
 */
#ifndef TOCSIN_PIPE_H
#define TOCSIN_PIPE_H

#include <tocsin/base.h>
#include <tocsin/ready.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_pipe;

/*
 * Make a pipe: two descriptors, non-blocking and close-on-exec, the caller's.
 *
 * Thread:  any.
 * Errors:  those of pipe2(2).
 */
TOCSIN_API int tocsin_pipe_pair(int *out_read_fd, int *out_write_fd);

/*
 * Take over @fd, which is made non-blocking: mind that this flag belongs to the open file, which
 * other processes may share (a terminal).
 *
 * Thread:  any.
 * Memory:  on success @fd belongs to *@out_pipe, which tocsin_pipe_close() closes.
 * Errors:  as tocsin_fd_ready_open(); @fd then stays the caller's.
 */
TOCSIN_API int tocsin_pipe_open(struct tocsin_driver *driver, int fd,
                                struct tocsin_pipe **out_pipe);

/* Close the pipe and its descriptor.  Thread: any.  Returns: as tocsin_socket_close(). */
TOCSIN_API int tocsin_pipe_close(struct tocsin_pipe *pipe);

/* Free the object and give the descriptor back.  Thread: any. */
TOCSIN_API int tocsin_pipe_release(struct tocsin_pipe *pipe);

/* The readiness object, borrowed.  Thread: the pool's. */
TOCSIN_API struct tocsin_fd_ready *tocsin_pipe_ready(struct tocsin_pipe *pipe);

/*
 * Read up to @size bytes.
 *
 * Thread:  the pool's.
 * Returns: the bytes read, at most INT_MAX; 0: no writer is left; or TOCSIN_PENDING.
 * Errors:  those of read(2).
 */
TOCSIN_API int tocsin_pipe_read(struct tocsin_pipe *pipe, void *data, size_t size,
                                struct tocsin_context *cx);

/*
 * Write up to @size bytes.  Where the kernel knows RWF_NOSIGNAL (Linux 6.18) no SIGPIPE is raised;
 * before that the program has to ignore SIGPIPE.
 *
 * Thread:  the pool's.
 * Returns: the bytes written, which may be fewer; or TOCSIN_PENDING.
 * Errors:  those of write(2), -EPIPE among them.
 */
TOCSIN_API int tocsin_pipe_write(struct tocsin_pipe *pipe, const void *data, size_t size,
                                 struct tocsin_context *cx);

TOCSIN_END_DECLS

#endif
