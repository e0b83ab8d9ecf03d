/*
 * What the files of the typed operations share: which there are, and in which fields of a struct
 * tocsin_uring_io each keeps what it was asked for.
 *
 *   kind      fd_      data_      more_      size_      offset_   flags_
 *   READ      file     buffer                bytes      where
 *   WRITE     file     buffer                bytes      where
 *   FSYNC     file                                                1: the data only
 *   OPENAT    folder   path                  mode                 O_*
 *   STATX     folder   path       answer                          AT_*
 *   ACCEPT    socket   address    its size                        SOCK_*
 *   CONNECT   socket   address               its size
 *   SEND      socket   buffer                bytes                MSG_*
 *   RECV      socket   buffer                bytes                MSG_*
 *   CLOSE     file
 *   TIMEOUT                                             deadline (in time_, too)
 *   POLL      file                                                TOCSIN_IN ...
 */
#ifndef TOCSIN_BACKENDS_RING_IO_H
#define TOCSIN_BACKENDS_RING_IO_H

#include <tocsin/uring_io.h>

enum uring_io_kind {
    URING_IO_READ,
    URING_IO_WRITE,
    URING_IO_FSYNC,
    URING_IO_OPENAT,
    URING_IO_STATX,
    URING_IO_ACCEPT,
    URING_IO_CONNECT,
    URING_IO_SEND,
    URING_IO_RECV,
    URING_IO_CLOSE,
    URING_IO_TIMEOUT,
    URING_IO_POLL,
    URING_IO_KINDS,
};

/* What is asked for, by the names of the fields. */
struct uring_io_request {
    enum uring_io_kind kind;
    int fd;
    const void *data;
    void *more;
    size_t size;
    int64_t offset;
    uint32_t flags;
};

/* io.c: on the ring or without; what each of the public functions that start something answers. */
int tocsin__uring_io_start(struct tocsin_driver *driver, struct tocsin_uring_io *io,
                           const struct uring_io_request *request);

/* Marks in local_: of an operation without a ring, its starter's and then the pool's thread's. */
enum {
    URING_IO_SOCKET = 1 << 0,     /* reads and writes are those of a socket */
    URING_IO_NO_NOWAIT = 1 << 1,  /* RWF_NOWAIT was refused */
    URING_IO_CONNECTING = 1 << 2, /* connect said EINPROGRESS */
    URING_IO_WAITING = 1 << 3,    /* tried, and only an event makes it worth trying again */
    URING_IO_TIMED = 1 << 4,      /* timer_ is there */
};

/* From TOCSIN_IN and the like to POLLIN and the like, and back. */
uint32_t tocsin__uring_io_to_poll(uint32_t events);
uint32_t tocsin__uring_io_from_poll(uint32_t revents);

/*
 * io_ring.c, or none.c: submit what @io's fields say.  Returns: as tocsin_uring_submit().
 */
int tocsin__uring_io_submit(struct tocsin_driver *driver, struct tocsin_uring_io *io);

/*
 * io_try.c: what is special about the file is kept in local_.
 *
 * Returns: 0; -EOPNOTSUPP: a read or a write of what cannot be waited for; -EBADF.
 */
int tocsin__uring_io_inspect(struct tocsin_uring_io *io);

/* Try once, on own_fd_, without blocking.  Returns: the result, or TOCSIN_PENDING. */
int tocsin__uring_io_try(struct tocsin_uring_io *io);

#endif
