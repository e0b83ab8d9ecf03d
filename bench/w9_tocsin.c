/*
 * W9, Tocsin: bench->active NOPs at once; when all have completed, again.
 *
 *   nop   each op is submitted from the completion of the last one of those before
 */
#include "pool.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <tocsin/uring.h>

static struct tocsin_uring_op *ops;
static struct tocsin_driver *driver;
static uint64_t active;
static uint64_t in_flight;
static uint64_t left;

static void submit_all(void)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_nop(&sqe);
    in_flight = active;
    for (uint64_t i = 0; i < active; i++) {
        bench_check(tocsin_uring_submit(driver, &ops[i], &sqe), "tocsin_uring_submit");
    }
}

static void on_complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    (void)op;
    (void)flags;
    bench_check(result, "NOP");
    left -= left > 0;
    if (--in_flight == 0 && left > 0) {
        submit_all();
    }
}

static const struct tocsin_uring_op_ops nop_ops = {.complete = on_complete};

static void start(void *arg, int status)
{
    (void)arg;
    bench_check(status, "tocsin_post");
    submit_all();
}

static void run_nop(struct bench *bench)
{
    struct tocsin_pool *pool = bench_pool_open(bench);

    driver = tocsin_pool_driver(pool);
    active = bench->active;
    left = bench->count;
    ops = bench_alloc(active, sizeof(*ops));
    for (uint64_t i = 0; i < active; i++) {
        tocsin_uring_op_init(&ops[i], &nop_ops);
    }
    if (tocsin_uring_probe(driver, IORING_OP_NOP) != 1) {
        exit(77);
    }
    bench_check(tocsin_post(driver, start, NULL), "tocsin_post");
    bench_begin(bench);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    for (uint64_t i = 0; i < active; i++) {
        tocsin_uring_drop(&ops[i]);
    }
    bench_pool_finish(pool);
    free(ops);
}

static const struct bench_case cases[] = {{"nop", run_nop}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
