/*
 * Typed operations as submissions.
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <liburing.h>

#include "backends/ring/io.h"

#define NS_PER_S UINT64_C(1000000000)

static_assert(sizeof(struct __kernel_timespec) == sizeof(((struct tocsin_uring_io *)0)->time_),
              "an operation has room for its deadline");

/* The kernel copies it from @io when it takes the submission. */
static struct __kernel_timespec *deadline_of(struct tocsin_uring_io *io)
{
    struct __kernel_timespec *deadline = (void *)io->time_;
    uint64_t deadline_ns = (uint64_t)io->offset_;

    deadline->tv_sec = (int64_t)(deadline_ns / NS_PER_S);
    deadline->tv_nsec = (long long)(deadline_ns % NS_PER_S);
    return deadline;
}

static void prepare(struct tocsin_uring_io *io, struct io_uring_sqe *sqe)
{
    int flags = (int)io->flags_;

    switch ((enum uring_io_kind)io->kind_) {
    case URING_IO_READ:
        io_uring_prep_read(sqe, io->fd_, io->data_, io->size_, (uint64_t)io->offset_);
        break;
    case URING_IO_WRITE:
        io_uring_prep_write(sqe, io->fd_, io->data_, io->size_, (uint64_t)io->offset_);
        break;
    case URING_IO_FSYNC:
        io_uring_prep_fsync(sqe, io->fd_, flags != 0 ? IORING_FSYNC_DATASYNC : 0);
        break;
    case URING_IO_OPENAT:
        io_uring_prep_openat(sqe, io->fd_, io->data_, flags, io->size_);
        break;
    case URING_IO_STATX:
        io_uring_prep_statx(sqe, io->fd_, io->data_, flags, STATX_BASIC_STATS | STATX_BTIME,
                            io->more_);
        break;
    case URING_IO_ACCEPT:
        io_uring_prep_accept(sqe, io->fd_, io->data_, io->more_, flags);
        break;
    case URING_IO_CONNECT:
        io_uring_prep_connect(sqe, io->fd_, io->data_, io->size_);
        break;
    case URING_IO_SEND:
        io_uring_prep_send(sqe, io->fd_, io->data_, io->size_, flags | MSG_NOSIGNAL);
        break;
    case URING_IO_RECV:
        io_uring_prep_recv(sqe, io->fd_, io->data_, io->size_, flags);
        break;
    case URING_IO_CLOSE:
        io_uring_prep_close(sqe, io->fd_);
        break;
    case URING_IO_TIMEOUT:
        io_uring_prep_timeout(sqe, deadline_of(io), 0, IORING_TIMEOUT_ABS);
        break;
    case URING_IO_POLL:
        io_uring_prep_poll_add(sqe, io->fd_, tocsin__uring_io_to_poll(io->flags_));
        break;
    case URING_IO_KINDS:
        break;
    }
}

int tocsin__uring_io_submit(struct tocsin_driver *driver, struct tocsin_uring_io *io)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    prepare(io, &sqe);
    return tocsin_uring_submit(driver, &io->op_, &sqe);
}
