/*
 * W2, libev: bench->active callbacks that come again and again, beside a timer of 100 us.
 *
 *   feed   they feed themselves: the loop never gets to its timers
 *   idle   idle watchers: each turn of the loop calls them all, and asks the kernel
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>

static uint64_t left;
static bool fired;

static void fire(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_ref(loop); /* it has stopped, and was not counted */
    fired = left > 0;
}

static void on_fed(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    (void)events;
    if (left > 0) {
        left--;
        ev_feed_event(loop, idle, EV_CUSTOM);
    }
}

static void on_idle(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    (void)events;
    if (left == 0) {
        ev_idle_stop(loop, idle);
        return;
    }
    left--;
}

static void yields(struct bench *bench, bool feed)
{
    struct ev_idle *watchers = bench_alloc(bench->active, sizeof(*watchers));
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct ev_timer timer;

    left = bench->count;
    fired = false;
    ev_timer_init(&timer, fire, 0.0001, 0);
    for (uint64_t i = 0; i < bench->active; i++) {
        if (feed) {
            ev_idle_init(&watchers[i], on_fed);
            ev_feed_event(loop, &watchers[i], EV_CUSTOM);
        } else {
            ev_idle_init(&watchers[i], on_idle);
            ev_idle_start(loop, &watchers[i]);
        }
    }
    bench_begin(bench);
    ev_timer_start(loop, &timer);
    ev_unref(loop);
    ev_run(loop, feed ? EVRUN_NOWAIT : 0);
    bench_end(bench);
    bench_extra(bench, "fair", fired);
    ev_loop_destroy(loop);
    free(watchers);
}

static void run_feed(struct bench *bench)
{
    yields(bench, true);
}

static void run_idle(struct bench *bench)
{
    yields(bench, false);
}

static const struct bench_case cases[] = {{"feed", run_feed}, {"idle", run_idle}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
