/*
 * The pool of a Tocsin benchmark.
 */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BENCH_UV
#include <tocsin/uv.h>
#endif

void bench_check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

struct tocsin_pool *bench_pool_open(const struct bench *bench)
{
    struct tocsin_pool_options options = {.busy_poll_ns = bench->busy_ns,
                                          .timer_slack_ns = bench->slack_ns,
                                          .budget_ns = bench->traced ? BENCH_NS_PER_S : 0};
    const char *name = bench->backend != NULL ? bench->backend : "epoll";
    const struct tocsin_backend *backend = tocsin_backend_find(name);
    struct tocsin_pool *pool = NULL;
    int r = -ENOENT;

#ifdef BENCH_UV
    struct tocsin_backend uv = tocsin_uv_backend(NULL);

    if (strcmp(name, "uv") == 0) {
        backend = &uv;
    }
#endif
    if (bench->two_cores) {
        bench_unpin(true); /* with one processor to use, a pool would not look before it sleeps */
    }
    if (backend != NULL) {
        r = tocsin_pool_open(&pool, backend, &options);
    }
    if (bench->two_cores) {
        bench_unpin(false);
    }
    if (r < 0) {
        fprintf(stderr, "bench: backend %s: %s\n", name, strerror(-r));
        exit(77);
    }
    return pool;
}

void bench_pool_finish(struct tocsin_pool *pool)
{
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_check(tocsin_pool_close(pool), "tocsin_pool_close");
}
