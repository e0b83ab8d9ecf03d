/*
 * The system calls behind sockets, pipes and waits: one call each, errno as the result.
 */
#include "runtime/os.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static_assert(sizeof(struct tocsin_buffer) == sizeof(struct iovec) &&
                  offsetof(struct tocsin_buffer, base) == offsetof(struct iovec, iov_base) &&
                  offsetof(struct tocsin_buffer, size) == offsetof(struct iovec, iov_len),
              "buffers are handed to the kernel as they are");

/* Linux 6.18, include/uapi/linux/fs.h; older kernels answer EOPNOTSUPP. */
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

static int result_of(ssize_t n)
{
    return n < 0 ? -errno : (int)n;
}

static size_t capped(size_t size)
{
    return size > INT_MAX ? INT_MAX : size;
}

int tocsin__fd_set_nonblocking(intptr_t fd)
{
    int flags = fcntl((int)fd, F_GETFL);

    if (flags < 0) {
        return -errno;
    }
    if ((flags & O_NONBLOCK) == 0 && fcntl((int)fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return 0;
}

int tocsin__fd_is_nonblocking(intptr_t fd)
{
    int flags = fcntl((int)fd, F_GETFL);

    return flags < 0 ? -errno : (flags & O_NONBLOCK) != 0;
}

void tocsin__fd_close(intptr_t fd)
{
    close((int)fd);
}

int tocsin__fd_read(intptr_t fd, void *data, size_t size)
{
    return result_of(read((int)fd, data, capped(size)));
}

int tocsin__fd_write_nosignal(intptr_t fd, const void *data, size_t size, bool *refused)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = capped(size)};
    ssize_t n;

    if (!*refused) {
        n = pwritev2((int)fd, &iov, 1, -1, RWF_NOSIGNAL);
        if (n >= 0 ||
            (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != EPERM)) {
            return result_of(n);
        }
        *refused = true; /* by the kernel, a filter of system calls, or this kind of file alone */
    }
    return result_of(write((int)fd, data, capped(size)));
}

int tocsin__pipe(int *out_read_fd, int *out_write_fd)
{
    int fds[2];

    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        return -errno;
    }
    *out_read_fd = fds[0];
    *out_write_fd = fds[1];
    return 0;
}

int tocsin__socket_short_read_ends(intptr_t fd)
{
    int protocol;
    socklen_t size = sizeof(protocol);

    if (fd < 0 || fd > INT_MAX) {
        return -EBADF;
    }
    if (getsockopt((int)fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0) {
        return -errno;
    }
    /* Not SOCK_STREAM: AF_UNIX stops a read where descriptors were passed, SCTP at a message. */
    return protocol == IPPROTO_TCP;
}

int tocsin__socket_receive(intptr_t fd, const struct tocsin_buffer *buffers, int buffers_count,
                           uint32_t flags)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)buffers,
        .msg_iovlen = (size_t)buffers_count,
    };
    int peek = (flags & TOCSIN__PEEK) != 0 ? MSG_PEEK : 0;

    if (buffers_count == 1) {
        return result_of(
            recv((int)fd, buffers[0].base, capped(buffers[0].size), MSG_DONTWAIT | peek));
    }
    return result_of(recvmsg((int)fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | peek));
}

int tocsin__socket_send(intptr_t fd, const struct tocsin_buffer *buffers, int buffers_count)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)buffers,
        .msg_iovlen = (size_t)buffers_count,
    };

    if (buffers_count == 1) {
        return result_of(
            send((int)fd, buffers[0].base, capped(buffers[0].size), MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    return result_of(sendmsg((int)fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int tocsin__socket_accept(intptr_t fd, intptr_t *out_fd)
{
    int new_fd = accept4((int)fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (new_fd < 0) {
        return -errno;
    }
    *out_fd = new_fd;
    return 0;
}

int tocsin__socket_connect(intptr_t fd, const struct sockaddr *addr, unsigned addr_size)
{
    return connect((int)fd, addr, addr_size) != 0 ? -errno : 0;
}

int tocsin__socket_shutdown(intptr_t fd, enum tocsin_shutdown how)
{
    int posix_how = SHUT_RDWR;

    switch (how) {
    case TOCSIN_SHUTDOWN_READ:
        posix_how = SHUT_RD;
        break;
    case TOCSIN_SHUTDOWN_WRITE:
        posix_how = SHUT_WR;
        break;
    case TOCSIN_SHUTDOWN_BOTH:
        break;
    }
    return shutdown((int)fd, posix_how) != 0 ? -errno : 0;
}
