/*
 * Waits: one signal at a time from an eventfd or a descriptor like it, or from a Windows handle.
 *
 * A poll that is ready has consumed one signal.  Cancel tells whether one was consumed that no poll
 * has reported; between the two a signal is never lost nor counted twice.
 */
#ifndef TOCSIN_WAIT_H
#define TOCSIN_WAIT_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_wait;

/*
 * Wait on @fd: an eventfd, a timerfd, or any descriptor that is read eight bytes at a time.
 *
 * Thread:  any.
 * Memory:  @fd stays the caller's, and must stay open until tocsin_wait_close().
 * Returns: 0.
 * Errors:  -EINVAL: @fd is a blocking descriptor (O_NONBLOCK is missing: a second reader could
 *          block the pool); those of tocsin_fd_ready_open().
 */
TOCSIN_API int tocsin_wait_open(struct tocsin_driver *driver, int fd,
                                struct tocsin_wait **out_wait);

/*
 * Unregister and free.  A signal that cancel would have told of is given back to the object waited
 * for where that is possible; to be sure, cancel first.
 *
 * Thread:  any.
 * Returns: as tocsin_fd_ready_close().
 */
TOCSIN_API int tocsin_wait_close(struct tocsin_wait *wait);

/*
 * Consume one signal.
 *
 * Thread:  the pool's.
 * Returns: 0, and what was read (the eventfd's counter, the timerfd's expirations) in *@out_value,
 *          which may be NULL; or TOCSIN_PENDING.
 * Errors:  -EIO: not eight bytes; those of read(2), and of tocsin_fd_ready_poll().
 */
TOCSIN_API int tocsin_wait_poll(struct tocsin_wait *wait, struct tocsin_context *cx,
                                uint64_t *out_value);

/*
 * Give up a pending poll.
 *
 * Thread:  the pool's.
 * Returns: 1: a signal was consumed and not reported, and is now the caller's (its value in
 *          *@out_value, which may be NULL); 0: none was.  Where polls themselves read, as with
 *          epoll, it is 0 always: the signal stays in the descriptor.
 * Errors:  -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_wait_cancel(struct tocsin_wait *wait, uint64_t *out_value);

TOCSIN_END_DECLS

#endif
