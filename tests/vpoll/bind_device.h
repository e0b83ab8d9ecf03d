/*
 * Binds a program for /dev/vpoll to vpoll.h: its open() creates, and its ioctls are ctls.  Included
 * before the program.
 */
#ifndef TOCSIN_TESTS_VPOLL_BIND_DEVICE_H
#define TOCSIN_TESTS_VPOLL_BIND_DEVICE_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vpoll.h>

static inline int bound_open(const char *path, int flags)
{
    (void)path;
    return vpoll_create(0, (flags & O_CLOEXEC) != 0 ? 1 : 0);
}

static inline int bound_ioctl(int fd, unsigned long request, uint32_t events)
{
    return vpoll_ctl(fd, (int)_IOC_NR(request), events);
}

#define open bound_open
#define ioctl bound_ioctl

#endif
