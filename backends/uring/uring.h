/*
 * The uring backend, for the registry.
 */
#ifndef TOCSIN_BACKENDS_URING_URING_H
#define TOCSIN_BACKENDS_URING_URING_H

#include <tocsin/backend.h>

extern const struct tocsin_backend_ops tocsin__backend_uring;

#endif
