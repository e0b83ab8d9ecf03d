/*
 * Binds a program for EFD_VPOLL to vpoll.h: its eventfd() opens, and its writes of eight bytes are
 * ctls.  Included before the program.
 */
#ifndef TOCSIN_TESTS_VPOLL_BIND_EVENTFD_H
#define TOCSIN_TESTS_VPOLL_BIND_EVENTFD_H

#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vpoll.h>

static inline int bound_eventfd(unsigned events, int flags)
{
    return vpoll_create(events, (flags & EFD_CLOEXEC) != 0 ? 1 : 0);
}

static inline ssize_t bound_write(int fd, const uint64_t *request, size_t size)
{
    int r = vpoll_ctl(fd, (int)(*request >> 32), (uint32_t)*request);

    return r == 0 ? (ssize_t)size : -1;
}

#define eventfd bound_eventfd
#define write bound_write
#define vpoll_ctl program_vpoll_ctl /* it has a function of this name */

#endif
