/*
 * Memory and files that a pool's ring knows beforehand: provided buffers, from which the kernel
 * picks one when there is something to read; and registered buffers and files, which operations
 * name by index.
 *
 * B1  The memory of provided and of registered buffers is the kernel's to write while an operation
 *     that uses them is in flight.  End those first: close and unregister look after nothing else.
 * B2  A provided buffer is the kernel's until a completion names it (IORING_CQE_F_BUFFER), the
 *     program's from the take to the put, then the kernel's again.
 * B3  What was registered ends with the pool, if nobody ended it before.
 *
 * All functions are for the pool's thread, or, before the pool has one, for the one that opened it:
 * the kernel takes these calls from no other.
 */
#ifndef TOCSIN_URING_BUFFERS_H
#define TOCSIN_URING_BUFFERS_H

#include <tocsin/uring.h>

TOCSIN_BEGIN_DECLS

struct iovec;
struct tocsin_uring_buffers;

/*
 * Give the kernel @count buffers of @size bytes to pick from, as the group @group: Linux 5.19.
 *
 * An operation picks one by IOSQE_BUFFER_SELECT and buf_group in its SQE; with multishot recv,
 * one for each completion.  Where all are taken it ends with -ENOBUFS, multishot too: put some
 * back and submit it again.
 *
 * Units:   @size is bytes.
 * Thread:  the pool's.
 * Memory:  the buffers are the library's, one after the other, page aligned; *@out_buffers goes to
 *          tocsin_uring_buffers_close().
 * Returns: 0.
 * Errors:  -EINVAL: @count is no power of two up to 32768, or @size is 0; -EEXIST: the group is
 *          there already; -EOPNOTSUPP: no ring, see tocsin_uring_reason(), or, if that is NULL, a
 *          kernel before 5.19; -EPERM: not the pool's thread; -ENOMEM; -ESHUTDOWN; -EOWNERDEAD
 *          after fork.
 */
TOCSIN_API int tocsin_uring_buffers_open(struct tocsin_driver *driver, uint16_t group,
                                         uint32_t count, uint32_t size,
                                         struct tocsin_uring_buffers **out_buffers);

/*
 * Take the group and its memory back (B1).
 *
 * After the pool's close, and in a forked child, only the memory is freed.
 *
 * Thread:  the pool's.
 * Returns: 0.  NULL is 0.
 * Errors:  -EPERM: not the pool's thread; nothing was done.
 */
TOCSIN_API int tocsin_uring_buffers_close(struct tocsin_uring_buffers *buffers);

/*
 * The buffer that a completion brought, by the completion's flags.
 *
 * A late hook has to take and put back like any other, or the buffer is out for good.  Drop on the
 * pool's thread what may have a buffer, so that the hook runs there.
 *
 * Thread:  the pool's, asserted.
 * Memory:  the program's until tocsin_uring_buffers_put().  Taking it twice is a bug that aborts.
 * Returns: its first byte; how many were filled is the completion's result.  NULL: the completion
 *          has brought none.
 */
TOCSIN_API void *tocsin_uring_buffers_take(struct tocsin_uring_buffers *buffers, uint32_t flags);

/*
 * Give a buffer that was taken to the kernel again.  It costs no system call.
 *
 * Thread: the pool's, asserted.  In a forked child nothing is done.
 */
TOCSIN_API void tocsin_uring_buffers_put(struct tocsin_uring_buffers *buffers, void *buffer);

/*
 * Register @count buffers, for IORING_OP_READ_FIXED and the like: buf_index in the SQE is a place
 * in @iovecs.  One whose iov_base is NULL and iov_len 0 is a place to be filled later.
 *
 * Thread:  the pool's.
 * Memory:  @iovecs is copied; what it points to is pinned, and counts against RLIMIT_MEMLOCK on
 *          kernels before 5.12.
 * Returns: 0.
 * Errors:  -EBUSY: there are some already; -EINVAL: none, or too many; -EFAULT; -ENOMEM;
 *          -EOPNOTSUPP: no ring; -EPERM: not the pool's thread; -ESHUTDOWN; -EOWNERDEAD.
 */
TOCSIN_API int tocsin_uring_register_buffers(struct tocsin_driver *driver,
                                             const struct iovec *iovecs, unsigned count);

/*
 * Replace those from @first on: Linux 5.13.
 *
 * Operations in flight go on with what they began with, and B1 holds for that memory.
 *
 * Thread:  the pool's.
 * Returns: 0: all were replaced; or how many were, of @count.
 * Errors:  -ENXIO: none were registered; -EINVAL: not so many places; else as above.
 */
TOCSIN_API int tocsin_uring_update_buffers(struct tocsin_driver *driver, unsigned first,
                                           const struct iovec *iovecs, unsigned count);

/*
 * Thread:  the pool's.  It may block until operations that use them have ended (B1).
 * Errors:  -ENXIO: none were registered; else as above.
 */
TOCSIN_API int tocsin_uring_unregister_buffers(struct tocsin_driver *driver);

/*
 * Register @count files: with IOSQE_FIXED_FILE, fd in the SQE is a place in @fds.  -1 is a place to
 * be filled later.
 *
 * Thread:  the pool's.
 * Memory:  @fds is copied.  The ring holds the files open, so the descriptors may be closed.
 * Returns: 0.
 * Errors:  -EBUSY: there are some already; -EBADF; -EMFILE: more than RLIMIT_NOFILE; -EINVAL; else
 *          as tocsin_uring_register_buffers().
 */
TOCSIN_API int tocsin_uring_register_files(struct tocsin_driver *driver, const int *fds,
                                           unsigned count);

/*
 * Replace those from @first on; -1 empties a place.
 *
 * Operations in flight go on with the file they began with.
 *
 * Thread:  the pool's.
 * Returns: 0: all were replaced; or how many were, of @count.
 * Errors:  -ENXIO: none were registered; -EBADF; -EINVAL: not so many places; else as above.
 */
TOCSIN_API int tocsin_uring_update_files(struct tocsin_driver *driver, unsigned first,
                                         const int *fds, unsigned count);

/*
 * Thread:  the pool's.
 * Errors:  -ENXIO: none were registered; else as above.
 */
TOCSIN_API int tocsin_uring_unregister_files(struct tocsin_driver *driver);

TOCSIN_END_DECLS

#endif
