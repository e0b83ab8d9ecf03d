/*
 * vpoll: synthetic readiness.  What is ready, a program says itself.
 *
 * A vpoll descriptor is one whose poll events are what tocsin_vpoll_ctl() made them: for network
 * stacks and devices in user space, whose users wait in poll(2), select(2), epoll(7), io_uring or a
 * pool as for any other descriptor.  A vpoll slot is the same inside a pool, without a descriptor:
 * it wakes interest slots with no system call, on every backend and platform.
 *
 * Events here are those of poll(2), by Linux's numbers, on every platform.  The events that are
 * true stay true until they are taken back; and after every ctl that leaves one of them true, an
 * edge-triggered waiter is told anew.  Several ctls before it looks are one; what was set and taken
 * back before it looks, is not seen.
 *
 * docs/VPOLL.md says which providers there are, what each can do and what it costs.
 */
#ifndef TOCSIN_VPOLL_H
#define TOCSIN_VPOLL_H

#include <tocsin/base.h>
#include <tocsin/ready.h>

TOCSIN_BEGIN_DECLS

/* Events of vpoll, a mask in uint32_t. */
enum {
    TOCSIN_VPOLL_IN = 0x001,
    TOCSIN_VPOLL_PRI = 0x002,
    TOCSIN_VPOLL_OUT = 0x004,
    TOCSIN_VPOLL_ERR = 0x008, /* always of interest, as HUP */
    TOCSIN_VPOLL_HUP = 0x010,
    TOCSIN_VPOLL_RDNORM = 0x040,
    TOCSIN_VPOLL_RDBAND = 0x080,
    TOCSIN_VPOLL_WRNORM = 0x100,
    TOCSIN_VPOLL_WRBAND = 0x200,
    TOCSIN_VPOLL_MSG = 0x400,
    TOCSIN_VPOLL_RDHUP = 0x2000,
    TOCSIN_VPOLL_ALL = 0x27df,
};

/* What to do with the events that are true. */
enum tocsin_vpoll_op {
    TOCSIN_VPOLL_ADD = 1, /* these too */
    TOCSIN_VPOLL_DEL = 2, /* these no more */
    TOCSIN_VPOLL_SET = 3, /* these and no others */
};

/* For tocsin_vpoll_create(). */
enum {
    TOCSIN_VPOLL_CLOEXEC = 1 << 0, /* the value of FD_CLOEXEC */
    TOCSIN_VPOLL_STRICT = 1 << 16, /* refuse what the provider cannot do exactly */
};

/* Which provider serves this process, and what it can do. */
struct tocsin_vpoll_info {
    const char *provider; /* "eventfd", "device", "fuse", "fuse-thread", "stream", "datagram" */
    const char *reason;   /* why those that would come before it do not serve; never NULL */
    uint32_t exact;       /* events that can be set alone, and taken back */
    uint32_t events;      /* these, and those that it can only come near to */
    void *room[4];
};

/*
 * Create a descriptor of which @events are true.
 *
 * The first call in a process finds out which provider serves: the best that works here, or that
 * which TOCSIN_VPOLL names (secure_getenv(3)).
 *
 * Thread:  any.
 * Memory:  the descriptor is the caller's: for tocsin_vpoll_close(), but close(2) is safe, too.
 * Returns: the descriptor.
 * Errors:  -EINVAL: unknown @flags or @events; -ENOTSUP: STRICT, and one of @events is not exact;
 *          -EOPNOTSUPP: no provider serves (tocsin_vpoll_info_get() says why); -EMFILE, -ENFILE,
 *          -ENOMEM.
 */
TOCSIN_API int tocsin_vpoll_create(uint32_t events, uint32_t flags);

/*
 * Change which events of @fd are true.
 *
 * On eventfd, device and fuse, also in forked children, after exec, and wherever the descriptor was
 * passed; on the emulations in the creating process and its forked children.
 *
 * Thread:  any.
 * Returns: 0.
 * Errors:  -EINVAL: unknown @op or @events; -EBADF; -ENOTTY: not a vpoll descriptor; -ENOTCONN: its
 *          server is gone; -ENOTSUP: STRICT, and one of @events is not exact; -EACCES: the user is
 *          not the creator's, in a process that cannot tell that the descriptor is one of ours.
 */
TOCSIN_API int tocsin_vpoll_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events);

/*
 * Close @fd.
 *
 * Thread:  any.
 * Returns: 0.
 * Errors:  not closed: -EBADF; -ENOTTY: not a vpoll descriptor; -EBUSY: a slot's.
 */
TOCSIN_API int tocsin_vpoll_close(int fd);

/*
 * Which provider serves; finds out if nobody has asked yet.
 *
 * Thread:  any.
 * Memory:  the strings are the library's, static.
 * Returns: 0.
 * Errors:  -EOPNOTSUPP: none; *@out_info then has the reason alone.
 */
TOCSIN_API int tocsin_vpoll_info_get(struct tocsin_vpoll_info *out_info);

/*
 * Name the provider of this process, as TOCSIN_VPOLL does, which is asked first: "fuse-thread",
 * say, to be served by a thread of this process.
 *
 * Thread:  any, before the first create or tocsin_vpoll_info_get().
 * Returns: 0; whether it serves, these say.
 * Errors:  -EINVAL: there is none of that name; -EBUSY: one has been chosen; -EOPNOTSUPP where
 *          there are no descriptors.
 */
TOCSIN_API int tocsin_vpoll_use(const char *provider);

/* ---- Slots ----------------------------------------------------------------------------------- */

struct tocsin_vpoll_slot;

/*
 * Open a slot of which @events are true.  Its memory comes from the pool's allocator.
 *
 * Thread:  any.
 * Returns: 0; *@out_slot goes to tocsin_vpoll_slot_close().
 * Errors:  -EINVAL: unknown @events; -ENOMEM; -ESHUTDOWN, -EOWNERDEAD.
 */
TOCSIN_API int tocsin_vpoll_slot_open(struct tocsin_driver *driver, uint32_t events,
                                      struct tocsin_vpoll_slot **out_slot);

/*
 * Close it.  Readiness objects over it hear nothing more; close them before or after.  Its
 * descriptor, if one was made, is closed.
 *
 * Thread:  any; no other call on @slot may be under way.
 * Returns: 0.  NULL is 0.
 * Errors:  -EOWNERDEAD after fork, and nothing is freed.
 */
TOCSIN_API int tocsin_vpoll_slot_close(struct tocsin_vpoll_slot *slot);

/*
 * Change which events are true.  No system call unless a pool sleeps that has to hear of it, or a
 * descriptor was made.
 *
 * Thread:  any.
 * Returns: 0.
 * Errors:  -EINVAL: unknown @op or @events; -EOWNERDEAD after fork; if a descriptor was made, those
 *          of tocsin_vpoll_ctl(): the slot has changed all the same.
 */
TOCSIN_API int tocsin_vpoll_slot_ctl(struct tocsin_vpoll_slot *slot, enum tocsin_vpoll_op op,
                                     uint32_t events);

/* The events that are true.  Thread: any. */
TOCSIN_API uint32_t tocsin_vpoll_slot_events(struct tocsin_vpoll_slot *slot);

/*
 * Make a readiness object over @slot, in the pool of @driver: as tocsin_fd_ready_open() does over a
 * descriptor, but on every backend.  It is told IN, OUT, ERR, HUP, PRI and RDHUP; and, as any, what
 * is true already.  In tocsin_fd_ready_poll_io() the function gets -1.
 *
 * Thread:  any.
 * Memory:  *@out_ready goes to tocsin_fd_ready_close().
 * Returns: 0.
 * Errors:  -ENOMEM; -ESHUTDOWN, -EOWNERDEAD.
 */
TOCSIN_API int tocsin_vpoll_slot_ready_open(struct tocsin_driver *driver,
                                            struct tocsin_vpoll_slot *slot,
                                            struct tocsin_fd_ready **out_ready);

/*
 * As tocsin_watch_start(), over @slot.
 *
 * Thread:  the pool's, or any before its first run.
 * Returns: as tocsin_watch_start().
 */
TOCSIN_API int tocsin_vpoll_slot_watch_start(struct tocsin_watch *watch,
                                             struct tocsin_driver *driver,
                                             struct tocsin_vpoll_slot *slot, uint32_t events,
                                             tocsin_watch_fn *fn, void *arg);

/*
 * The slot's descriptor, close-on-exec, for those who are not in a pool: made at the first call,
 * and kept in step from then on.  Attached to a pool of this process it is recognised, and served
 * by the slot.  In this process ctl on it is the slot's; another one's changes the descriptor
 * alone.
 *
 * Thread:  any.
 * Memory:  the descriptor is the slot's: neither close nor tocsin_vpoll_close() it.
 * Returns: the descriptor.
 * Errors:  as tocsin_vpoll_create(); -EOPNOTSUPP where there are no descriptors; -EOWNERDEAD.
 */
TOCSIN_API int tocsin_vpoll_slot_fd(struct tocsin_vpoll_slot *slot);

TOCSIN_END_DECLS

#endif
