/*
 * What only Windows has: an epoll for any number of any handles, usable without a pool.
 *
 * A handle is readable (TOCSIN_EPOLL_IN) when a wait for it would return.  Events, semaphores,
 * timers, processes, threads and jobs can be watched; mutexes cannot, for they belong to the thread
 * that waited.  The kernel waits by wait completion packets: there is no helper thread and no limit
 * of 64.  Without these packets (Windows 7, Wine) threads wait in their stead, 63 handles each.
 *
 * Reporting consumes what a wait consumes: an auto-reset event is reset, a semaphore counts down by
 * one.  A signal is reported to one waiter, once; none is lost when a watch is changed.  One that
 * came between is reported after the change; one that came before a delete may go with it.
 *
 * Level-triggered watches are looked at again by the next wait of the thread that was told, so that
 * thread can take what there is before anybody is told again.  Edge-triggered ones of events that
 * reset themselves and of semaphores are armed again at once: each signal is an edge.  Where an
 * object stays signalled Windows does not tell when it was reset: there an edge is that it is
 * signalled at the next wait of that thread, and of processes, threads and jobs the end, once.
 *
 * All functions but create and close may be called by several threads at once.
 */
#ifndef TOCSIN_WINDOWS_H
#define TOCSIN_WINDOWS_H

#include <tocsin/base.h>

TOCSIN_BEGIN_DECLS

struct tocsin_epoll;

/* Events and flags, with Linux's values. */
#define TOCSIN_EPOLL_IN UINT32_C(0x001)
#define TOCSIN_EPOLL_OUT UINT32_C(0x004)
#define TOCSIN_EPOLL_ERR UINT32_C(0x008)
#define TOCSIN_EPOLL_EXCLUSIVE (UINT32_C(1) << 28) /* with add only; a signal wakes one anyway */
#define TOCSIN_EPOLL_ONESHOT (UINT32_C(1) << 30)   /* reported once; a mod arms it again */
#define TOCSIN_EPOLL_ET (UINT32_C(1) << 31)

enum tocsin_epoll_op {
    TOCSIN_EPOLL_CTL_ADD = 1,
    TOCSIN_EPOLL_CTL_DEL = 2,
    TOCSIN_EPOLL_CTL_MOD = 3,
};

struct tocsin_epoll_event {
    uint32_t events;
    uint32_t room;
    uint64_t data; /* the caller's */
};

/*
 * Make one.
 *
 * Thread:  any.
 * Memory:  *@out_epoll goes to tocsin_epoll_close().
 * Returns: 0.
 * Errors:  -ENOMEM.
 */
TOCSIN_API int tocsin_epoll_create(struct tocsin_epoll **out_epoll);

/*
 * Give everything back; what is watched is watched no more.
 *
 * Thread:  any; no other uses it any more.
 */
TOCSIN_API void tocsin_epoll_close(struct tocsin_epoll *epoll);

/*
 * Add, change or delete the watch of @handle.
 *
 * After a delete has returned, no wait takes an event of that watch, and its data may be freed once
 * the waits that had begun before have returned.  A handle that was closed is answered as Linux
 * does: it cannot be changed any more, and another object that has the same value by now is
 * another (from Windows 10 on, where objects can be compared).  Nothing of the caller's is touched
 * but inside the call: what is watched is a duplicate.
 *
 * Thread:  any; never blocks for a wait.
 * Memory:  @event is copied; of a delete it may be NULL.
 * Returns: 0.
 * Errors:  -EBADF: no handle; -EPERM: a mutex, a port, a file; -EACCES: the handle lacks
 *          SYNCHRONIZE, and its duplicate was not given it; -EEXIST (add); -ENOENT (mod, del);
 *          -EINVAL: the operation, or TOCSIN_EPOLL_EXCLUSIVE with mod (before or now) or with
 *          TOCSIN_EPOLL_ONESHOT; -ENOMEM: nothing has changed.
 */
TOCSIN_API int tocsin_epoll_ctl(struct tocsin_epoll *epoll, enum tocsin_epoll_op op, void *handle,
                                const struct tocsin_epoll_event *event);

/*
 * Wait for events, and take up to @events_max of them, at most 64.
 *
 * Units:   @delay_ns from now; 0 does not block, TOCSIN_NEVER_NS is for ever.
 * Thread:  any, several at once.
 * Returns: how many; 0: the time is up.
 * Errors:  -EINVAL: @events_max is not above 0; -ENOMEM: the kernel has no memory to go on.
 */
TOCSIN_API int tocsin_epoll_wait(struct tocsin_epoll *epoll, struct tocsin_epoll_event *events,
                                 int events_max, uint64_t delay_ns);

/* ---- Eventfds -------------------------------------------------------------------------------- */

struct tocsin_eventfd;

/* Flags, with Linux's values. */
enum {
    TOCSIN_EFD_SEMAPHORE = 1, /* a read takes one */
    TOCSIN_EFD_NONBLOCK = 1 << 11,
    TOCSIN_EFD_CLOEXEC = 1 << 19, /* handles are not inherited anyway */
};

/*
 * Make a counter that is @count at first.
 *
 * Thread:  any.
 * Memory:  *@out_eventfd goes to tocsin_eventfd_close().
 * Returns: 0.
 * Errors:  -EINVAL: flags; -ENOMEM.
 */
TOCSIN_API int tocsin_eventfd_create(uint32_t count, uint32_t flags,
                                     struct tocsin_eventfd **out_eventfd);

/*
 * Give it back.  Thread: any; no other uses it any more, and its handle is watched no more.
 */
TOCSIN_API void tocsin_eventfd_close(struct tocsin_eventfd *eventfd);

/*
 * Add @value; of 0 nothing comes.
 *
 * Thread:  any, several at once.
 * Returns: 0.
 * Errors:  -EINVAL: UINT64_MAX; -EAGAIN: the counter would pass UINT64_MAX - 1, and
 *          TOCSIN_EFD_NONBLOCK (without: blocks until there is room).
 */
TOCSIN_API int tocsin_eventfd_write(struct tocsin_eventfd *eventfd, uint64_t value);

/*
 * Take what there is, or one with TOCSIN_EFD_SEMAPHORE.
 *
 * Thread:  any, several at once.
 * Returns: 0, and what was taken in *@out_value.
 * Errors:  -EAGAIN: the counter is 0, and TOCSIN_EFD_NONBLOCK (without: blocks until it is not).
 */
TOCSIN_API int tocsin_eventfd_read(struct tocsin_eventfd *eventfd, uint64_t *out_value);

/*
 * The same, whatever the flags, blocking for @delay_ns at most: -EAGAIN: nothing was taken.
 *
 * Units:   @delay_ns from now; TOCSIN_NEVER_NS is for ever.
 */
TOCSIN_API int tocsin_eventfd_read_for(struct tocsin_eventfd *eventfd, uint64_t delay_ns,
                                       uint64_t *out_value);

/*
 * The event that is signalled while the counter is above 0: to wait on, with tocsin_epoll_ctl() or
 * otherwise, and for nothing else.
 *
 * Thread:  any.
 * Memory:  the eventfd's.
 */
TOCSIN_API void *tocsin_eventfd_handle(struct tocsin_eventfd *eventfd);

TOCSIN_END_DECLS

#endif
