/*
 * Single operations on descriptors, by io_uring or without: read, write, fsync, openat, statx,
 * accept, connect, send, recv, close, timeout, poll.
 *
 * A struct tocsin_uring_io is one operation, embedded by the caller.  A function below starts it; a
 * task takes its result by tocsin_uring_io_poll(); it may then be started again.  In the end it
 * goes to tocsin_uring_io_drop(), and `release` says when its memory is the caller's.
 *
 * Where there is no ring (tocsin_uring_reason() says why) the operation runs as a task of the pool,
 * named "uring_io", which tries it without blocking and waits for readiness in between.  All that
 * is said here holds with and without:
 *
 * - What an operation points to (buffers, addresses, paths) belongs to it until its result was
 *   taken, or until release.
 * - It never completes inside the call that started it, and it goes on whether polled or not.
 * - Its own errors come as its result: -EBADF, -ECONNREFUSED and the like.  What a start answers is
 *   that there will be no result.
 * - It works on the file that the descriptor meant when it was started, even if that number is
 *   closed meanwhile.
 * - Pending, it keeps tocsin_pool_run() going.  Closing the pool ends it with -ECANCELED.
 *
 * All that start an operation:
 *
 * Thread:  any.
 * Returns: 0.
 * Errors:  -EBUSY: @io is in flight, or has a result that was not taken, or (outside the pool's
 *          turns) another thread's cancel of what it did before is still on its way; -EOPNOTSUPP:
 *          there is no ring, and this operation cannot do without; -EMFILE, -ENOSPC: no ring, and
 *          no descriptor or watch to be had for waiting; -ENOMEM, -ESHUTDOWN, -EOWNERDEAD.
 *
 * A write to a pipe without a reader may raise SIGPIPE, as write(2) does: ignore it.  Sends never
 * do.
 */
#ifndef TOCSIN_URING_IO_H
#define TOCSIN_URING_IO_H

#include <tocsin/base.h>
#include <tocsin/ready.h>
#include <tocsin/task.h>
#include <tocsin/timer.h>
#include <tocsin/uring.h>

TOCSIN_BEGIN_DECLS

struct sockaddr;
struct statx;
struct tocsin_uring_io;

/* As those of struct tocsin_uring_op_ops; each may be NULL. */
struct tocsin_uring_io_ops {
    /* A result that nobody will be told, such as the descriptor that an accept returned. */
    void (*late)(struct tocsin_uring_io *io, int32_t result);
    /* After a drop, once: it and all that it points to are the caller's again.  Any thread. */
    void (*release)(struct tocsin_uring_io *io);
};

/* One operation; in the caller's memory.  All fields are the library's. */
struct tocsin_uring_io {
    struct tocsin_uring_op op_;
    const struct tocsin_uring_io_ops *ops_;
    /* What is asked for, in the operation's own words: see backends/ring/io.h. */
    void *data_;
    void *more_;
    int64_t offset_;
    uint32_t size_;
    uint32_t flags_;
    int32_t fd_;
    uint32_t kind_;
    int64_t time_[2];
    /* Without a ring. */
    struct tocsin_task task_;
    struct tocsin_timer timer_;
    struct tocsin_driver *driver_;
    struct tocsin_fd_ready *ready_;
    struct tocsin_waker waker_;
    /* IO-1 in docs/CONCURRENCY.md: who may touch what is below, and whether there is a result. */
    TOCSIN_ATOMIC(uint32_t) state_;
    int32_t result_;
    int32_t own_fd_;
    uint32_t local_;
    void *room_[2];
};

/*
 * Make @io ready for use.
 *
 * Thread: any.
 * Memory: @ops (NULL: no hooks) stays the caller's.  @io must not move once it was started, and
 *         then goes to tocsin_uring_io_drop().
 */
TOCSIN_API void tocsin_uring_io_init(struct tocsin_uring_io *io,
                                     const struct tocsin_uring_io_ops *ops);

/*
 * Read at most @size bytes at @offset; -1: where the file stands.
 *
 * Without a ring: what can be polled (pipes, sockets, terminals, eventfds; the offset is not looked
 * at) is read when there is something to read, @fd being blocking or not; a blocking one of a kind
 * that knows no RWF_NOWAIT is asked by poll(2) first, and must have no other readers.  Regular
 * files, directories, block devices and what else cannot be polled: -EOPNOTSUPP.
 *
 * Result: bytes, 0 at the end of the file.
 */
TOCSIN_API int tocsin_uring_io_read(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                    int fd, void *data, size_t size, int64_t offset);

/*
 * Write at most @size bytes at @offset; -1: where the file stands.
 *
 * Without a ring: as for reading; a blocking file of a kind that knows no RWF_NOWAIT gets at most
 * 4096 bytes at once.
 *
 * Result: bytes, which may be less than @size.
 */
TOCSIN_API int tocsin_uring_io_write(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                     int fd, const void *data, size_t size, int64_t offset);

/*
 * Bring the file's data to its disk, and what is known about it too unless @data_only.
 *
 * Without a ring: -EOPNOTSUPP.
 *
 * Result: 0.
 */
TOCSIN_API int tocsin_uring_io_fsync(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                     int fd, bool data_only);

/*
 * Open a file, as openat(2) does: @flags are O_CLOEXEC and the like, @dir_fd may be AT_FDCWD.
 *
 * Without a ring: -EOPNOTSUPP.
 *
 * Result: the descriptor.
 */
TOCSIN_API int tocsin_uring_io_openat(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                      int dir_fd, const char *path, int flags, unsigned mode);

/*
 * Ask about a file, as statx(2) does for STATX_BASIC_STATS and STATX_BTIME; @flags are AT_*.
 *
 * Without a ring: -EOPNOTSUPP.
 *
 * Result: 0, and the answer in *@out_stat.
 */
TOCSIN_API int tocsin_uring_io_statx(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                     int dir_fd, const char *path, int flags,
                                     struct statx *out_stat);

/*
 * Accept a connection, as accept4(2) does: @flags are SOCK_CLOEXEC and SOCK_NONBLOCK; @addr and
 * @addr_size (a socklen_t) may both be NULL.
 *
 * Without a ring: when there is one.  A listener that other threads or processes accept from must
 * then be non-blocking; a ring on older kernels answers -EAGAIN for such a one.
 *
 * Result: the descriptor.
 */
TOCSIN_API int tocsin_uring_io_accept(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                      int fd, struct sockaddr *addr, unsigned *addr_size,
                                      int flags);

/*
 * Connect a socket, blocking or not.
 *
 * Without a ring: a blocking one is made non-blocking for the moment of each connect(2).  AF_UNIX
 * answers -EAGAIN while the listener's queue is full, for nothing tells when it no longer is.
 *
 * Result: 0.
 */
TOCSIN_API int tocsin_uring_io_connect(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                       int fd, const struct sockaddr *addr, unsigned addr_size);

/*
 * Send, as send(2) does: @flags are MSG_*; MSG_NOSIGNAL is added.
 *
 * Without a ring: when there is room.  MSG_WAITALL is -EOPNOTSUPP then.
 *
 * Result: bytes, which may be less than @size.
 */
TOCSIN_API int tocsin_uring_io_send(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                    int fd, const void *data, size_t size, int flags);

/*
 * Receive, as recv(2) does: @flags are MSG_*.
 *
 * Without a ring: when something has come.  MSG_WAITALL is -EOPNOTSUPP then.
 *
 * Result: bytes, 0 at the end of a stream.
 */
TOCSIN_API int tocsin_uring_io_recv(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                    int fd, void *data, size_t size, int flags);

/*
 * Close @fd.
 *
 * Without a ring: by close(2), on the pool's thread, on its next turn.
 *
 * Result: 0.
 */
TOCSIN_API int tocsin_uring_io_close(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                     int fd);

/*
 * Wait until @deadline_ns, and never less (T1).
 *
 * Without a ring: a timer of the pool.
 *
 * Units:  nanoseconds on the pool's clock; TOCSIN_NEVER_NS: until it is cancelled.
 * Result: 0.
 */
TOCSIN_API int tocsin_uring_io_timeout(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                       uint64_t deadline_ns);

/*
 * Wait until one of @events (TOCSIN_IN and the like), ERR or HUP holds; it may hold already.
 *
 * Without a ring: by readiness.  What cannot be polled is as poll(2) says it is.
 *
 * Result: the events that hold, never 0.
 * Errors: also -EINVAL: no or unknown events.
 */
TOCSIN_API int tocsin_uring_io_poll_fd(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                                       int fd, uint32_t events);

/*
 * Take the result.
 *
 * Thread:  the pool's.
 * Memory:  keeps a clone of the waker until the result has come, the drop, or the next poll.
 * Returns: 0: it has completed, with its result, or a negative errno, in *@out_result (may be
 *          NULL); or TOCSIN_PENDING.
 * Errors:  -EINVAL: never started, or its result was taken before; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_uring_io_poll(struct tocsin_uring_io *io, struct tocsin_context *cx,
                                    int32_t *out_result);

/*
 * Ask that @io be given up.  It still completes: with -ECANCELED, or with what it did first.
 *
 * Thread:  any.
 * Returns: 0, also when it was asked before.
 * Errors:  -EALREADY: it is not in flight; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_uring_io_cancel(struct tocsin_uring_io *io);

/*
 * Give @io up, in whatever state: it is cancelled if it is in flight.
 *
 * When this has returned no waker is woken any more (from another thread than the pool's: none that
 * had not begun).  release comes once: before this returns when nothing is in flight.
 *
 * Thread:  any.
 */
TOCSIN_API void tocsin_uring_io_drop(struct tocsin_uring_io *io);

TOCSIN_END_DECLS

#endif
