/*
 * W2, libuv: bench->active callbacks that come again and again, beside a timer of 1 ms.
 *
 *   idle    idle handles: each turn of the loop calls them all, and asks the kernel
 *   async   async handles that send themselves
 */
#include "common.h"

#include <stdlib.h>
#include <uv.h>

static uint64_t left;
static bool fired;

static void fire(uv_timer_t *timer)
{
    (void)timer;
    fired = left > 0;
}

static void on_idle(uv_idle_t *idle)
{
    if (left == 0) {
        uv_idle_stop(idle);
        return;
    }
    left--;
}

static void on_async(uv_async_t *async)
{
    if (left == 0) {
        uv_unref((uv_handle_t *)async);
        return;
    }
    left--;
    uv_async_send(async);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void yields(struct bench *bench, bool async)
{
    union uv_any_handle *handles = bench_alloc(bench->active, sizeof(*handles));
    uv_loop_t loop;
    uv_timer_t timer;

    left = bench->count;
    fired = false;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    uv_unref((uv_handle_t *)&timer);
    for (uint64_t i = 0; i < bench->active; i++) {
        if (async) {
            uv_async_init(&loop, &handles[i].async, on_async);
            uv_async_send(&handles[i].async);
        } else {
            uv_idle_init(&loop, &handles[i].idle);
            uv_idle_start(&handles[i].idle, on_idle);
        }
    }
    bench_begin(bench);
    uv_timer_start(&timer, fire, 1, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    bench_extra(bench, "fair", fired);
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_must(uv_loop_close(&loop) == 0, "uv_loop_close");
    free(handles);
}

static void run_idle(struct bench *bench)
{
    yields(bench, false);
}

static void run_async(struct bench *bench)
{
    yields(bench, true);
}

static const struct bench_case cases[] = {{"idle", run_idle}, {"async", run_async}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
