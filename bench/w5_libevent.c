/*
 * W5, libevent: bench->n timers, in microseconds.
 *
 *   rearm    event_add() of a random one
 *   yield    turns of the loop while they are armed
 *   expire   all are due within 100 ms
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

static struct event_base *base;
static struct event *timers;
static uint64_t start_ns;
static uint64_t random_state;
static uint64_t fired;

static void fire(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    (void)arg;
    fired++;
}

/* At an absolute deadline, which libevent takes as so long from now; it reads the clock itself. */
static void arm(struct event *timer, uint64_t deadline_ns)
{
    uint64_t delay_us = (deadline_ns - start_ns) / 1000;
    struct timeval delay = {(time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000)};

    event_add(timer, &delay);
}

static void open_all(struct bench *bench)
{
    base = event_base_new();
    timers = bench_alloc(bench->n, sizeof(*timers));
    start_ns = bench_now_ns();
    random_state = 1;
    fired = 0;
    for (uint64_t i = 0; i < bench->n; i++) {
        event_assign(&timers[i], base, -1, 0, fire, NULL);
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
    event_base_free(base);
    free(timers);
}

static void run_rearm(struct bench *bench)
{
    open_all(bench);
    arm_far(bench);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        struct event *timer = &timers[bench_random(&random_state, bench->n)];

        arm(timer, bench_far_ns(&random_state, start_ns));
    }
    bench_end(bench);
    close_all();
}

static void run_yield(struct bench *bench)
{
    open_all(bench);
    arm_far(bench);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
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
    event_base_dispatch(base);
    bench_end(bench);
    bench_must(fired == bench->n, "not all have fired");
    close_all();
}

static const struct bench_case cases[] = {
    {"rearm", run_rearm}, {"yield", run_yield}, {"expire", run_expire}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
