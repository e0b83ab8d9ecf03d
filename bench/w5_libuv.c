/*
 * W5, libuv: bench->n timers, in milliseconds.
 *
 *   rearm    uv_timer_start() of a random one
 *   yield    turns of the loop while they are armed, by an idle handle
 *   expire   all are due within 100 ms
 */
#include "common.h"

#include <stdlib.h>
#include <uv.h>

static uv_loop_t loop;
static uv_timer_t *timers;
static uint64_t base_ns;
static uint64_t random_state;
static uint64_t fired;
static uint64_t left;

static void fire(uv_timer_t *timer)
{
    (void)timer;
    fired++;
}

/* At an absolute deadline, which libuv takes as so long from the loop's own idea of now. */
static void arm(uv_timer_t *timer, uint64_t deadline_ns)
{
    uv_timer_start(timer, fire, deadline_ns / BENCH_NS_PER_MS - uv_now(&loop), 0);
}

static void open_all(struct bench *bench)
{
    uv_loop_init(&loop);
    timers = bench_alloc(bench->n, sizeof(*timers));
    base_ns = uv_now(&loop) * BENCH_NS_PER_MS;
    random_state = 1;
    fired = 0;
    for (uint64_t i = 0; i < bench->n; i++) {
        uv_timer_init(&loop, &timers[i]);
    }
}

static void arm_far(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->n; i++) {
        arm(&timers[i], bench_far_ns(&random_state, base_ns));
    }
}

static void close_all(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->n; i++) {
        uv_close((uv_handle_t *)&timers[i], NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    free(timers);
}

static void run_rearm(struct bench *bench)
{
    open_all(bench);
    arm_far(bench);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        uv_timer_t *timer = &timers[bench_random(&random_state, bench->n)];

        arm(timer, bench_far_ns(&random_state, base_ns));
    }
    bench_end(bench);
    close_all(bench);
}

static void on_idle(uv_idle_t *idle)
{
    if (--left == 0) {
        uv_idle_stop(idle);
        uv_stop(&loop);
    }
}

static void run_yield(struct bench *bench)
{
    uv_idle_t idle;

    open_all(bench);
    arm_far(bench);
    left = bench->count;
    uv_idle_init(&loop, &idle);
    uv_idle_start(&idle, on_idle);
    bench_begin(bench);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    uv_close((uv_handle_t *)&idle, NULL);
    close_all(bench);
}

static void run_expire(struct bench *bench)
{
    open_all(bench);
    bench->count = bench->n;
    base_ns += bench_arming_ns(bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        arm(&timers[i], bench_near_ns(&random_state, base_ns));
    }
    bench_begin(bench);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    bench_must(fired == bench->n, "not all have fired");
    close_all(bench);
}

static const struct bench_case cases[] = {
    {"rearm", run_rearm}, {"yield", run_yield}, {"expire", run_expire}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
