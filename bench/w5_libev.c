/*
 * W5, libev: bench->n timers.
 *
 *   rearm    ev_timer_stop(), _set(), _start() of a random one
 *   yield    turns of the loop while they are armed, by an idle watcher
 *   expire   all are due within 100 ms
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>

static struct ev_loop *loop;
static struct ev_timer *timers;
static uint64_t start_ns;
static double start; /* the same moment by libev's clock */
static uint64_t random_state;
static uint64_t fired;
static uint64_t left;

static void fire(struct ev_loop *of, struct ev_timer *timer, int events)
{
    (void)of;
    (void)timer;
    (void)events;
    fired++;
}

/* At an absolute deadline, which libev takes as so long from its own idea of now. */
static void arm(struct ev_timer *timer, uint64_t deadline_ns)
{
    double at = start + (double)(deadline_ns - start_ns) * 1e-9;

    ev_timer_stop(loop, timer);
    ev_timer_set(timer, at - ev_now(loop), 0);
    ev_timer_start(loop, timer);
}

static void open_all(struct bench *bench)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    timers = bench_alloc(bench->n, sizeof(*timers));
    start_ns = bench_now_ns();
    start = ev_now(loop);
    random_state = 1;
    fired = 0;
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_timer_init(&timers[i], fire, 0, 0);
    }
}

static void arm_far(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->n; i++) {
        arm(&timers[i], bench_far_ns(&random_state, start_ns));
    }
}

static void close_all(void)
{
    ev_loop_destroy(loop);
    free(timers);
}

static void run_rearm(struct bench *bench)
{
    open_all(bench);
    arm_far(bench);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        struct ev_timer *timer = &timers[bench_random(&random_state, bench->n)];

        arm(timer, bench_far_ns(&random_state, start_ns));
    }
    bench_end(bench);
    close_all();
}

static void on_idle(struct ev_loop *of, struct ev_idle *idle, int events)
{
    (void)idle;
    (void)events;
    if (--left == 0) {
        ev_break(of, EVBREAK_ALL);
    }
}

static void run_yield(struct bench *bench)
{
    struct ev_idle idle;

    open_all(bench);
    arm_far(bench);
    left = bench->count;
    ev_idle_init(&idle, on_idle);
    ev_idle_start(loop, &idle);
    bench_begin(bench);
    ev_run(loop, 0);
    bench_end(bench);
    close_all();
}

static void run_expire(struct bench *bench)
{
    uint64_t base_ns;

    open_all(bench);
    bench->count = bench->n;
    base_ns = start_ns + bench_arming_ns(bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        arm(&timers[i], bench_near_ns(&random_state, base_ns));
    }
    bench_begin(bench);
    ev_run(loop, 0);
    bench_end(bench);
    bench_must(fired == bench->n, "not all have fired");
    close_all();
}

static const struct bench_case cases[] = {
    {"rearm", run_rearm}, {"yield", run_yield}, {"expire", run_expire}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
