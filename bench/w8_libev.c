/*
 * W8, libev: sleeps of 1.3 ms, one after the other.
 *
 *   sleep   a timer that its callback starts again
 */
#include "common.h"

#include <ev.h>

static struct bench_sleeps sleeps;

static void fire(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    if (!bench_sleeps_note(&sleeps)) {
        ev_now_update(loop);
        bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
        ev_timer_set(timer, (double)BENCH_SLEEP_NS * 1e-9, 0);
        ev_timer_start(loop, timer);
    }
}

static void run_sleep(struct bench *bench)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct ev_timer timer;

    bench_sleeps_init(&sleeps, bench);
    ev_timer_init(&timer, fire, (double)BENCH_SLEEP_NS * 1e-9, 0);
    bench_begin(bench);
    ev_now_update(loop);
    bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    ev_loop_destroy(loop);
}

static const struct bench_case cases[] = {{"sleep", run_sleep}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
