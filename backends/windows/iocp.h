/*
 * The backend over a completion port.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_IOCP_H
#define TOCSIN_BACKENDS_WINDOWS_IOCP_H

#include <tocsin/backend.h>

extern const struct tocsin_backend_ops tocsin__backend_iocp;

#endif
