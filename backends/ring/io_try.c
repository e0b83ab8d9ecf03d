/*
 * Typed operations without a ring: one try each, which never blocks, whatever the descriptor.
 *
 * Sockets are told so by MSG_DONTWAIT, files by RWF_NOWAIT where their kind knows it (pipes do
 * since Linux 6.4), else poll(2) is asked first.  connect(2) takes no flag at all: a blocking
 * socket is made non-blocking for the moment of the call.
 */
#include "backends/ring/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    /* What poll says has room takes so much at once without blocking, if it is a pipe. */
    WRITE_MAX = 4096,
};

static const struct {
    uint32_t event;
    uint32_t poll;
} event_names[] = {
    {TOCSIN_IN, POLLIN},   {TOCSIN_OUT, POLLOUT}, {TOCSIN_ERR, POLLERR},
    {TOCSIN_HUP, POLLHUP}, {TOCSIN_PRI, POLLPRI}, {TOCSIN_RDHUP, POLLRDHUP},
};

uint32_t tocsin__uring_io_to_poll(uint32_t events)
{
    uint32_t found = 0;

    for (size_t i = 0; i < sizeof(event_names) / sizeof(event_names[0]); i++) {
        found |= (events & event_names[i].event) != 0 ? event_names[i].poll : 0;
    }
    return found;
}

uint32_t tocsin__uring_io_from_poll(uint32_t revents)
{
    uint32_t found = 0;

    for (size_t i = 0; i < sizeof(event_names) / sizeof(event_names[0]); i++) {
        found |= (revents & event_names[i].poll) != 0 ? event_names[i].event : 0;
    }
    return found;
}

int tocsin__uring_io_inspect(struct tocsin_uring_io *io)
{
    struct stat stat;

    if (fstat(io->fd_, &stat) != 0) {
        return -errno;
    }
    if (S_ISSOCK(stat.st_mode)) {
        io->local_ |= URING_IO_SOCKET;
    }
    if ((io->kind_ == URING_IO_READ || io->kind_ == URING_IO_WRITE) &&
        (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) || S_ISBLK(stat.st_mode))) {
        return -EOPNOTSUPP;
    }
    return 0;
}

/* The result of a system call that said @n; EAGAIN: not yet. */
static int result_of(ssize_t n)
{
    if (n >= 0) {
        return (int)n;
    }
    return errno == EAGAIN ? TOCSIN_PENDING : -errno;
}

/* What of @events holds, ERR and HUP too. */
static short holds(int fd, short events)
{
    struct pollfd pollfd = {.fd = fd, .events = events};

    return poll(&pollfd, 1, 0) > 0 ? pollfd.revents : 0;
}

/*
 * Would a plain call on @fd not block: because it is non-blocking, or was opened for the other way
 * only (@other: O_RDONLY or O_WRONLY, and the call says so at once), or because poll says so?
 */
static bool may_call(int fd, short events, int other)
{
    int flags = fcntl(fd, F_GETFL);

    return (flags & O_NONBLOCK) != 0 || (flags & O_ACCMODE) == other || holds(fd, events) != 0;
}

/* Does @error say that the kernel, a filter or this kind of file has no RWF_NOWAIT? */
static bool is_refusal(int error)
{
    return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == EPERM;
}

static int try_read(struct tocsin_uring_io *io)
{
    struct iovec iov = {.iov_base = io->data_, .iov_len = io->size_};
    ssize_t n;

    if ((io->local_ & URING_IO_SOCKET) != 0 && io->size_ > 0) {
        return result_of(recv(io->own_fd_, io->data_, io->size_, MSG_DONTWAIT));
    }
    if ((io->local_ & URING_IO_NO_NOWAIT) == 0) {
        n = preadv2(io->own_fd_, &iov, 1, -1, RWF_NOWAIT);
        if (n >= 0 || !is_refusal(errno)) {
            return result_of(n);
        }
        io->local_ |= URING_IO_NO_NOWAIT;
    }
    if (!may_call(io->own_fd_, POLLIN, O_WRONLY)) {
        return TOCSIN_PENDING;
    }
    return result_of(read(io->own_fd_, io->data_, io->size_));
}

static int try_write(struct tocsin_uring_io *io)
{
    struct iovec iov = {.iov_base = io->data_, .iov_len = io->size_};
    size_t size = io->size_ < WRITE_MAX ? io->size_ : WRITE_MAX;
    ssize_t n;

    if ((io->local_ & URING_IO_SOCKET) != 0) {
        return result_of(send(io->own_fd_, io->data_, io->size_, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    if ((io->local_ & URING_IO_NO_NOWAIT) == 0) {
        n = pwritev2(io->own_fd_, &iov, 1, -1, RWF_NOWAIT);
        if (n >= 0 || !is_refusal(errno)) {
            return result_of(n);
        }
        io->local_ |= URING_IO_NO_NOWAIT;
    }
    if (!may_call(io->own_fd_, POLLOUT, O_RDONLY)) {
        return TOCSIN_PENDING;
    }
    return result_of(write(io->own_fd_, io->data_, size));
}

static int try_accept(struct tocsin_uring_io *io)
{
    int listens = 0;
    socklen_t size = sizeof(listens);

    /* What does not listen says so at once, and is not to be waited for. */
    if (getsockopt(io->own_fd_, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
        !may_call(io->own_fd_, POLLIN, O_WRONLY)) {
        return TOCSIN_PENDING;
    }
    return result_of(accept4(io->own_fd_, io->data_, io->more_, (int)io->flags_));
}

/* connect(2), not blocking.  Returns: 0 or negative errno. */
static int connect_now(const struct tocsin_uring_io *io)
{
    int flags = fcntl(io->own_fd_, F_GETFL);
    bool blocks = flags >= 0 && (flags & O_NONBLOCK) == 0;
    int r;

    if (blocks) {
        fcntl(io->own_fd_, F_SETFL, flags | O_NONBLOCK);
    }
    r = connect(io->own_fd_, io->data_, io->size_) != 0 ? -errno : 0;
    if (blocks) {
        fcntl(io->own_fd_, F_SETFL, flags);
    }
    return r;
}

/*
 * Asking again tells how it went: connected, the connection's own error, or not yet.
 */
static int try_connect(struct tocsin_uring_io *io)
{
    bool again = (io->local_ & URING_IO_CONNECTING) != 0;
    int r = connect_now(io);

    if (r == -EINPROGRESS || r == -EINTR || (again && r == -EALREADY)) {
        io->local_ |= URING_IO_CONNECTING;
        return TOCSIN_PENDING;
    }
    return again && r == -EISCONN ? 0 : r;
}

static int try_send(struct tocsin_uring_io *io)
{
    int n = result_of(
        send(io->own_fd_, io->data_, io->size_, (int)io->flags_ | MSG_DONTWAIT | MSG_NOSIGNAL));

    return n == TOCSIN_PENDING && (io->flags_ & MSG_DONTWAIT) != 0 ? -EAGAIN : n;
}

static int try_recv(struct tocsin_uring_io *io)
{
    int n = result_of(recv(io->own_fd_, io->data_, io->size_, (int)io->flags_ | MSG_DONTWAIT));

    return n == TOCSIN_PENDING && (io->flags_ & MSG_DONTWAIT) != 0 ? -EAGAIN : n;
}

static int try_close(struct tocsin_uring_io *io)
{
    return close(io->fd_) != 0 ? -errno : 0;
}

static int try_poll(struct tocsin_uring_io *io)
{
    short revents = holds(io->own_fd_, (short)tocsin__uring_io_to_poll(io->flags_));

    return revents != 0 ? (int)tocsin__uring_io_from_poll((uint32_t)revents) : TOCSIN_PENDING;
}

int tocsin__uring_io_try(struct tocsin_uring_io *io)
{
    static int (*const tries[URING_IO_KINDS])(struct tocsin_uring_io *) = {
        [URING_IO_READ] = try_read,     [URING_IO_WRITE] = try_write,
        [URING_IO_ACCEPT] = try_accept, [URING_IO_CONNECT] = try_connect,
        [URING_IO_SEND] = try_send,     [URING_IO_RECV] = try_recv,
        [URING_IO_CLOSE] = try_close,   [URING_IO_POLL] = try_poll,
    };
    int r;

    do {
        r = tries[io->kind_](io);
    } while (r == -EINTR && io->kind_ != URING_IO_CLOSE); /* close(2): it is closed all the same */
    return r;
}
