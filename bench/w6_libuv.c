/*
 * W6, libuv: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain        uv_poll_t on every pair; read(2) and write(2) in its callback
 *   register     uv_poll_start() of all, and a turn of the loop
 *   unregister   uv_poll_stop() of all, and a turn of the loop
 */
#include "common.h"

#include <stdlib.h>
#include <uv.h>

static uv_loop_t loop;
static uv_poll_t *polls;
static struct bench_chain chain;

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    bench_must(status == 0, "uv_poll");
    if (bench_chain_step(&chain, (uint64_t)(poll - polls))) {
        uv_stop(&loop);
    }
}

static void start_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        uv_poll_start(&polls[i], UV_READABLE, on_readable);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void stop_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        uv_poll_stop(&polls[i]);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void open_all(struct bench *bench)
{
    uv_loop_init(&loop);
    bench_chain_open(&chain, bench);
    polls = bench_alloc(bench->n, sizeof(*polls));
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_must(uv_poll_init(&loop, &polls[i], chain.read_fds[i]) == 0, "uv_poll_init");
    }
}

static void close_all(void)
{
    for (uint64_t i = 0; i < chain.n; i++) {
        uv_close((uv_handle_t *)&polls[i], NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    bench_chain_close(&chain);
    free(polls);
}

static void run_chain(struct bench *bench)
{
    open_all(bench);
    start_all(NULL);
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    close_all();
}

static void run_register(struct bench *bench)
{
    open_all(bench);
    bench_registers(bench, true, start_all, stop_all, NULL);
    close_all();
}

static void run_unregister(struct bench *bench)
{
    open_all(bench);
    bench_registers(bench, false, start_all, stop_all, NULL);
    close_all();
}

static const struct bench_case cases[] = {
    {"chain", run_chain}, {"register", run_register}, {"unregister", run_unregister}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
