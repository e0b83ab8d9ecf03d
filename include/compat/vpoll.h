/*
 * vpoll under libvpoll's names, so that a program written for it compiles and runs unchanged:
 *
 *   cc program.c $(pkg-config --cflags --libs tocsin-compat)
 *
 * As there, functions return -1 and set errno.  tocsin/vpoll.h describes what they do.
 */
#ifndef TOCSIN_COMPAT_VPOLL_H
#define TOCSIN_COMPAT_VPOLL_H

#include <errno.h>
#include <stdint.h>
#include <tocsin/vpoll.h>

#define VPOLL_CTL_ADDEVENTS 1
#define VPOLL_CTL_DELEVENTS 2
#define VPOLL_CTL_SETEVENTS 3

TOCSIN_BEGIN_DECLS

static inline int tocsin_compat_result(int result)
{
    if (result >= 0) {
        return result;
    }
    errno = -result;
    return -1;
}

/* @flags: 0 or FD_CLOEXEC. */
static inline int vpoll_create(uint32_t init_events, int flags)
{
    if ((flags & ~(int)TOCSIN_VPOLL_CLOEXEC) != 0) {
        return tocsin_compat_result(-EINVAL);
    }
    return tocsin_compat_result(tocsin_vpoll_create(init_events, (uint32_t)flags));
}

static inline int vpoll_ctl(int fd, int op, uint32_t events)
{
    return tocsin_compat_result(tocsin_vpoll_ctl(fd, (enum tocsin_vpoll_op)op, events));
}

static inline int vpoll_close(int fd)
{
    return tocsin_compat_result(tocsin_vpoll_close(fd));
}

TOCSIN_END_DECLS

#endif
