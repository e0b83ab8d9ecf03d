/*
 * The simulation as a backend, for the registry.
 */
#ifndef TOCSIN_BACKENDS_SIM_BACKEND_H
#define TOCSIN_BACKENDS_SIM_BACKEND_H

#include <tocsin/backend.h>

extern const struct tocsin_backend_ops tocsin__backend_sim;

#endif
