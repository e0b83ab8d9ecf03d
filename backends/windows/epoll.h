/*
 * The epoll emulation, as the rest of the Windows sources use it.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_EPOLL_H
#define TOCSIN_BACKENDS_WINDOWS_EPOLL_H

#include <tocsin/windows.h>

#include "backends/windows/nt.h"

struct watch;

/* tocsin_epoll_create() over a table of the caller's, which outlives it. */
int tocsin__epoll_open(const struct nt *nt, struct tocsin_epoll **out_epoll);

/*
 * tocsin_epoll_wait() that tocsin__epoll_kick() ends, then with 0 or what was found until then.
 */
int tocsin__epoll_step(struct tocsin_epoll *epoll, struct tocsin_epoll_event *events,
                       int events_max, uint64_t delay_ns);

/* End one step, the current or the next.  Thread: any.  False: the kernel has no memory. */
bool tocsin__epoll_kick(struct tocsin_epoll *epoll);

/*
 * For who names a registration, not a handle: @name differs among all that ever are attached, and
 * is what events have as data.  At first it asks for nothing.  0, or as TOCSIN_EPOLL_CTL_ADD.
 */
int tocsin__epoll_attach(struct tocsin_epoll *epoll, void *handle, uint64_t name,
                         struct watch **out_watch);

/* Report it once when one of @events is true.  0; -ENOMEM: as it was; -ENOENT: not attached. */
int tocsin__epoll_arm(struct tocsin_epoll *epoll, struct watch *watch, uint64_t name,
                      uint32_t events);

/* Detach it, in any case.  0; -EBADF: its handle was closed; -ENOENT: it is another object. */
int tocsin__epoll_detach(struct tocsin_epoll *epoll, struct watch *watch, uint64_t name);

/* The port behind it. */
void *tocsin__epoll_port(struct tocsin_epoll *epoll);

#endif
