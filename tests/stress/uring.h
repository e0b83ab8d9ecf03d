/*
 * What the stress programs of the ring share.
 */
#ifndef TOCSIN_TESTS_STRESS_URING_H
#define TOCSIN_TESTS_STRESS_URING_H

#include <liburing.h>
#include <string.h>

#include <tocsin/uring.h>

#include "tests/stress/stress.h"

/* As stress_main(); exits as skipped, with the reason, where there is no ring to be had. */
int stress_uring_main(int argc, char **argv, unsigned count, stress_body_fn *body);

/* How many descriptors this process has open. */
unsigned stress_descriptors(void);

static inline void stress_sqe_read(struct io_uring_sqe *sqe, int fd, void *buffer, unsigned size)
{
    memset(sqe, 0, sizeof(*sqe));
    io_uring_prep_read(sqe, fd, buffer, size, UINT64_MAX);
}

#endif
