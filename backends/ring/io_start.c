/*
 * The typed operations by name: each puts what it is asked for into the common form.
 */
#include "backends/ring/io.h"

#include <errno.h>

int tocsin_uring_io_read(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                         void *data, size_t size, int64_t offset)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){
            .kind = URING_IO_READ, .fd = fd, .data = data, .size = size, .offset = offset});
}

int tocsin_uring_io_write(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                          const void *data, size_t size, int64_t offset)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){
            .kind = URING_IO_WRITE, .fd = fd, .data = data, .size = size, .offset = offset});
}

int tocsin_uring_io_fsync(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                          bool data_only)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){.kind = URING_IO_FSYNC, .fd = fd, .flags = data_only ? 1 : 0});
}

int tocsin_uring_io_openat(struct tocsin_driver *driver, struct tocsin_uring_io *io, int dir_fd,
                           const char *path, int flags, unsigned mode)
{
    return tocsin__uring_io_start(driver, io,
                                  &(struct uring_io_request){.kind = URING_IO_OPENAT,
                                                             .fd = dir_fd,
                                                             .data = path,
                                                             .size = mode,
                                                             .flags = (uint32_t)flags});
}

int tocsin_uring_io_statx(struct tocsin_driver *driver, struct tocsin_uring_io *io, int dir_fd,
                          const char *path, int flags, struct statx *out_stat)
{
    return tocsin__uring_io_start(driver, io,
                                  &(struct uring_io_request){.kind = URING_IO_STATX,
                                                             .fd = dir_fd,
                                                             .data = path,
                                                             .more = out_stat,
                                                             .flags = (uint32_t)flags});
}

int tocsin_uring_io_accept(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                           struct sockaddr *addr, unsigned *addr_size, int flags)
{
    return tocsin__uring_io_start(driver, io,
                                  &(struct uring_io_request){.kind = URING_IO_ACCEPT,
                                                             .fd = fd,
                                                             .data = addr,
                                                             .more = addr_size,
                                                             .flags = (uint32_t)flags});
}

int tocsin_uring_io_connect(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                            const struct sockaddr *addr, unsigned addr_size)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){
            .kind = URING_IO_CONNECT, .fd = fd, .data = addr, .size = addr_size});
}

int tocsin_uring_io_send(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                         const void *data, size_t size, int flags)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){
            .kind = URING_IO_SEND, .fd = fd, .data = data, .size = size, .flags = (uint32_t)flags});
}

int tocsin_uring_io_recv(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                         void *data, size_t size, int flags)
{
    return tocsin__uring_io_start(
        driver, io,
        &(struct uring_io_request){
            .kind = URING_IO_RECV, .fd = fd, .data = data, .size = size, .flags = (uint32_t)flags});
}

int tocsin_uring_io_close(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd)
{
    return tocsin__uring_io_start(driver, io,
                                  &(struct uring_io_request){.kind = URING_IO_CLOSE, .fd = fd});
}

int tocsin_uring_io_timeout(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                            uint64_t deadline_ns)
{
    return tocsin__uring_io_start(driver, io,
                                  &(struct uring_io_request){.kind = URING_IO_TIMEOUT,
                                                             .fd = -1,
                                                             .offset = (int64_t)deadline_ns});
}

int tocsin_uring_io_poll_fd(struct tocsin_driver *driver, struct tocsin_uring_io *io, int fd,
                            uint32_t events)
{
    if (events == 0 || (events & ~(uint32_t)TOCSIN_EVENTS_ALL) != 0) {
        return -EINVAL;
    }
    return tocsin__uring_io_start(
        driver, io, &(struct uring_io_request){.kind = URING_IO_POLL, .fd = fd, .flags = events});
}
