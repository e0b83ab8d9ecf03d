/*
 * The epoll backend: Linux's default.
 */
#ifndef TOCSIN_BACKENDS_EPOLL_EPOLL_H
#define TOCSIN_BACKENDS_EPOLL_EPOLL_H

#include <tocsin/backend.h>

extern const struct tocsin_backend_ops tocsin__backend_epoll;

/* Nanoseconds to the milliseconds of epoll_wait(2), rounded up: see epoll.c. */
int tocsin__timeout_ms_ceil(uint64_t delay_ns);

#endif
