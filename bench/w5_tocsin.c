/*
 * W5, Tocsin: bench->n timers.
 *
 *   rearm    inside a task's poll, move a random one to a random deadline
 *   expire   all are due within 100 ms, and call back
 */
#include "pool.h"

#include <stdlib.h>

struct timers {
    struct tocsin_task task;
    struct bench *bench;
    struct tocsin_timer *timers;
    uint64_t base_ns;
    uint64_t random;
    uint64_t fired;
};

static struct timers *timers; /* for poll, which gets nothing but the task */

static int poll_rearm(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct bench *bench = timers->bench;

    (void)task;
    (void)cx;
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        struct tocsin_timer *timer = &timers->timers[bench_random(&timers->random, bench->n)];

        tocsin_timer_arm(timer, bench_far_ns(&timers->random, timers->base_ns));
    }
    bench_end(bench);
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_deinit(&timers->timers[i]);
    }
    return 0;
}

static const struct tocsin_task_ops rearm_ops = {.poll = poll_rearm};

static void fire(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(uint64_t *)arg;
}

static void init_timers(struct timers *own, struct tocsin_pool *pool, struct bench *bench)
{
    timers = own;
    *own = (struct timers){.bench = bench,
                           .timers = bench_alloc(bench->n, sizeof(*own->timers)),
                           .base_ns = bench_now_ns(),
                           .random = 1};
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_check(tocsin_timer_init(&own->timers[i], tocsin_pool_driver(pool), fire, &own->fired),
                    "tocsin_timer_init");
    }
}

static void run_rearm(struct bench *bench)
{
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct timers own;

    init_timers(&own, pool, bench);
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_arm(&own.timers[i], bench_far_ns(&own.random, own.base_ns));
    }
    bench_check(tocsin_task_spawn(tocsin_pool_driver(pool), &own.task, &rearm_ops, "rearm"),
                "tocsin_task_spawn");
    bench_pool_finish(pool);
    free(own.timers);
}

static void run_expire(struct bench *bench)
{
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct timers own;

    bench->count = bench->n;
    init_timers(&own, pool, bench);
    own.base_ns = bench_now_ns() + bench_arming_ns(bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_arm(&own.timers[i], bench_near_ns(&own.random, own.base_ns));
    }
    bench_begin(bench);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    bench_must(own.fired == bench->n, "not all have fired");
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_deinit(&own.timers[i]);
    }
    bench_pool_finish(pool);
    free(own.timers);
}

static const struct bench_case cases[] = {{"rearm", run_rearm}, {"expire", run_expire}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
