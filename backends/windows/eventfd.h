/*
 * The eventfd, over a table of the caller's.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_EVENTFD_H
#define TOCSIN_BACKENDS_WINDOWS_EVENTFD_H

#include <tocsin/windows.h>

#include "backends/windows/nt.h"

/* tocsin_eventfd_create() over @nt, which outlives it. */
int tocsin__eventfd_open(const struct nt *nt, uint32_t count, uint32_t flags,
                         struct tocsin_eventfd **out_eventfd);

#endif
