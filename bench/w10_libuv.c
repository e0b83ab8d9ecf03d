/*
 * W10, libuv: what bench->n things take, the caller's handles included, and making one.
 *
 *   timer        armed
 *   descriptor   polled eventfds
 */
#include "common.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

static void run_timer(struct bench *bench)
{
    struct bench_memory memory;
    uv_timer_t *timers;
    uv_loop_t loop;

    uv_loop_init(&loop);
    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    timers = bench_alloc(bench->n, sizeof(*timers));
    for (uint64_t i = 0; i < bench->n; i++) {
        uv_timer_init(&loop, &timers[i]);
        uv_timer_start(&timers[i], on_timer, 10000 + i, 0);
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        uv_close((uv_handle_t *)&timers[i], NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    free(timers);
}

static void run_descriptor(struct bench *bench)
{
    int *fds = bench_alloc(bench->n, sizeof(*fds));
    struct bench_memory memory;
    uv_poll_t *polls;
    uv_loop_t loop;

    for (uint64_t i = 0; i < bench->n; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    uv_loop_init(&loop);
    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    polls = bench_alloc(bench->n, sizeof(*polls));
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_must(uv_poll_init(&loop, &polls[i], fds[i]) == 0, "uv_poll_init");
        uv_poll_start(&polls[i], UV_READABLE, on_poll);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        uv_close((uv_handle_t *)&polls[i], NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    for (uint64_t i = 0; i < bench->n; i++) {
        close(fds[i]);
    }
    free(polls);
    free(fds);
}

static const struct bench_case cases[] = {{"timer", run_timer}, {"descriptor", run_descriptor}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
