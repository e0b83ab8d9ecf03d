/*
 * Readiness of descriptors, edge-triggered, with interest slots; and watches, their callback face.
 *
 * A descriptor is registered once, for everything.  Events that arrive are remembered in each slot
 * until that slot is cleared.  The pattern (tocsin_fd_ready_poll_io() is it): try the operation; at
 * EAGAIN clear the slot and poll; when the poll says ready, try again.  Trying until EAGAIN is a
 * must: no new event comes for what is there already.
 *
 * Close the object before its descriptor.  If that went wrong, closing the object says so where it
 * can be told, frees it all the same, and leaves a descriptor that has the same number by now
 * alone.
 */
#ifndef TOCSIN_READY_H
#define TOCSIN_READY_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

/* Poll events, a mask in uint32_t.  ERR and HUP are always of interest; RDHUP satisfies IN. */
enum {
    TOCSIN_IN = 1 << 0,
    TOCSIN_OUT = 1 << 1,
    TOCSIN_ERR = 1 << 2,
    TOCSIN_HUP = 1 << 3,
    TOCSIN_PRI = 1 << 4,
    TOCSIN_RDHUP = 1 << 5,
    TOCSIN_EVENTS_ALL = (1 << 6) - 1,
};

/* Which of the two outstanding polls of one object is meant. */
enum tocsin_slot {
    TOCSIN_SLOT_READ,
    TOCSIN_SLOT_WRITE,
};

struct tocsin_fd_ready;

/*
 * Register @fd with the pool.  Level-triggered backends and those that attach on the loop's thread
 * only are fed by the pool; there a failure may come as the first poll's negative result.
 *
 * Thread:  any.
 * Memory:  @fd stays the caller's; *@out_ready goes to tocsin_fd_ready_close().
 * Returns: 0.
 * Errors:  -EBADF; -EPERM: the file cannot be polled (epoll refuses regular files and directories:
 *          they are always ready, just read them); -EEXIST: this very file is registered under this
 *          number already; -ENOMEM, -ENOSPC (epoll's max_user_watches); -EOPNOTSUPP: no
 *          DESCRIPTORS; -ESHUTDOWN, -EOWNERDEAD.
 */
TOCSIN_API int tocsin_fd_ready_open(struct tocsin_driver *driver, int fd,
                                    struct tocsin_fd_ready **out_ready);

/*
 * Unregister and free.  No event reaches the object any more; a waker that was collected already
 * may still be woken.  Safe after the pool has closed.
 *
 * Thread:  any.
 * Returns: 0.
 * Errors:  freed all the same: -EBADF: the descriptor had been closed; -ENOENT: its number means
 *          another file by now; -EOWNERDEAD after fork.  NULL is 0.
 */
TOCSIN_API int tocsin_fd_ready_close(struct tocsin_fd_ready *ready);

/*
 * Which of @events, or ERR or HUP, have been seen since @slot was cleared?
 *
 * Thread:  the pool's.
 * Returns: the events seen, never 0; or TOCSIN_PENDING: cx->waker is kept in the slot, in place of
 *          an older one, and woken when one of them comes.
 * Errors:  what attaching said, if it was put off; -EINVAL: no or unknown events, or a started
 *          watch; -ESHUTDOWN, -EOWNERDEAD.
 */
TOCSIN_API int tocsin_fd_ready_poll(struct tocsin_fd_ready *ready, enum tocsin_slot slot,
                                    uint32_t events, struct tocsin_context *cx);

/*
 * Forget the events that @slot was told of; call it when the operation has said EAGAIN, in the
 * same poll.  Events that came and were not told stay.
 *
 * Thread: the pool's.
 */
TOCSIN_API void tocsin_fd_ready_clear(struct tocsin_fd_ready *ready, enum tocsin_slot slot);

/* One try at an operation on a non-blocking descriptor: its result, or negative errno. */
typedef int tocsin_io_fn(intptr_t fd, void *arg);

/*
 * Try @fn(@fd, @arg) until it says something else than -EAGAIN or -EINTR: at EAGAIN, clear @slot
 * and wait for @events.
 *
 * Thread:  the pool's.
 * Returns: what @fn returned; or TOCSIN_PENDING.
 * Errors:  what @fn or tocsin_fd_ready_poll() returned.
 */
TOCSIN_API int tocsin_fd_ready_poll_io(struct tocsin_fd_ready *ready, enum tocsin_slot slot,
                                       uint32_t events, tocsin_io_fn *fn, void *arg,
                                       struct tocsin_context *cx);

struct tocsin_watch;

/*
 * @events: what has been seen since the last call, never 0; or a negative errno if attaching
 * failed.
 */
typedef void tocsin_watch_fn(struct tocsin_watch *watch, int events, void *arg);

/* Embed it; all zero: not started. */
struct tocsin_watch {
    struct tocsin_fd_ready *ready_;
    void *room_[3];
};

/*
 * Call @fn on the pool's thread whenever one of @events, ERR or HUP comes.  Edge-triggered: read or
 * write until EAGAIN, for what is there already makes no second call.  Events merge between calls.
 *
 * Thread:  the pool's, or any before its first run.
 * Memory:  @watch and @fd stay the caller's.
 * Returns: 0.
 * Errors:  as tocsin_fd_ready_open(); -EBUSY: @watch is started; -EINVAL: no or unknown @events.
 */
TOCSIN_API int tocsin_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver, int fd,
                                  uint32_t events, tocsin_watch_fn *fn, void *arg);

/*
 * Stop: @fn runs no more, and @watch and its argument are free when this has returned.  Closing the
 * pool stops the calls; call this all the same, it gives the registration back.
 *
 * Thread:  the pool's; also inside @fn.
 * Returns: 0, also when it was not started; errors as tocsin_fd_ready_close(): stopped all the
 *          same.
 */
TOCSIN_API int tocsin_watch_stop(struct tocsin_watch *watch);

/*
 * Whether a started @watch keeps tocsin_pool_run() from returning; it does unless told otherwise.
 *
 * Thread: the pool's, or any before its first run.
 */
TOCSIN_API void tocsin_watch_set_background(struct tocsin_watch *watch, bool background);

TOCSIN_END_DECLS

#endif
