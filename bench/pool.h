/*
 * The pool of a Tocsin benchmark: over the backend that the command line names, with its options.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <tocsin/tocsin.h>

#include "common.h"

/* Name and version, for bench_main(). */
#define BENCH_TOCSIN "tocsin"

/* Open a pool, or end the program: with status 77 if there is no such backend or it is refused. */
struct tocsin_pool *bench_pool_open(const struct bench *bench);

/* Run it until nothing keeps it alive, and close it. */
void bench_pool_finish(struct tocsin_pool *pool);

/* End the program if @r is an error. */
void bench_check(int r, const char *what);

#endif
