/*
 * W2, Tocsin: bench->active tasks that wake themselves; is a timer of 100 us served meanwhile?
 *
 *   yield   with bench->n further timers armed, far off: W5 asks what these cost
 */
#include "pool.h"

#include <stdlib.h>

#define TIMER_NS UINT64_C(100000)

static uint64_t left;
static bool fired;

static int poll_yield(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    if (left == 0) {
        return 0;
    }
    left--;
    return tocsin_task_yield(cx);
}

static const struct tocsin_task_ops yield_ops = {.poll = poll_yield};

/* Served only if there was still work when it fired. */
static void fire(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
    fired = left > 0;
}

static void arm_others(struct tocsin_pool *pool, struct tocsin_timer *timers, uint64_t n)
{
    uint64_t random = 1;

    for (uint64_t i = 0; i < n; i++) {
        struct tocsin_timer_options options = {
            .deadline_ns = bench_far_ns(&random, tocsin_pool_now_ns(pool)), .background = true};

        bench_check(tocsin_timer_init(&timers[i], tocsin_pool_driver(pool), NULL, NULL), "init");
        tocsin_timer_start(&timers[i], &options);
    }
}

static void run_yield(struct bench *bench)
{
    struct tocsin_task *tasks = bench_alloc(bench->active, sizeof(*tasks));
    struct tocsin_timer *others = bench_alloc(bench->n + 1, sizeof(*others));
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_timer_options options = {.delay_ns = TIMER_NS, .background = true};
    struct tocsin_timer timer;

    left = bench->count;
    fired = false;
    arm_others(pool, others, bench->n);
    bench_check(tocsin_timer_init(&timer, driver, fire, NULL), "tocsin_timer_init");
    for (uint64_t i = 0; i < bench->active; i++) {
        bench_check(tocsin_task_spawn(driver, &tasks[i], &yield_ops, "yield"), "spawn");
    }
    bench_begin(bench);
    tocsin_timer_start(&timer, &options);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    bench_extra(bench, "fair", fired);
    tocsin_timer_deinit(&timer);
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_deinit(&others[i]);
    }
    bench_pool_finish(pool);
    free(others);
    free(tasks);
}

static const struct bench_case cases[] = {{"yield", run_yield}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
