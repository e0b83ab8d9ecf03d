/*
 * W8, libuv, which counts milliseconds: sleeps of 1 ms, one after the other.
 *
 *   sleep   a timer that its callback starts again
 */
#include "common.h"

#include <uv.h>

static struct bench_sleeps sleeps;

static void fire(uv_timer_t *timer)
{
    if (!bench_sleeps_note(&sleeps)) {
        uv_update_time(timer->loop);
        bench_sleeps_ask(&sleeps, BENCH_NS_PER_MS);
        uv_timer_start(timer, fire, 1, 0);
    }
}

static void run_sleep(struct bench *bench)
{
    uv_loop_t loop;
    uv_timer_t timer;

    bench_sleeps_init(&sleeps, bench);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    bench_begin(bench);
    bench_sleeps_ask(&sleeps, BENCH_NS_PER_MS);
    uv_timer_start(&timer, fire, 1, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static const struct bench_case cases[] = {{"sleep", run_sleep}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
