/*
 * W6, libev: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain        ev_io on every pair; read(2) and write(2) in its callback
 *   register     ev_io_start() of all, and a turn of the loop
 *   unregister   ev_io_stop() of all, and a turn of the loop
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>

static struct ev_loop *loop;
static struct ev_io *watchers;
static struct bench_chain chain;

static void on_readable(struct ev_loop *of, struct ev_io *watcher, int events)
{
    (void)events;
    if (bench_chain_step(&chain, (uint64_t)(watcher - watchers))) {
        ev_break(of, EVBREAK_ALL);
    }
}

static void start_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        ev_io_start(loop, &watchers[i]);
    }
    ev_run(loop, EVRUN_NOWAIT);
}

static void stop_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        ev_io_stop(loop, &watchers[i]);
    }
    ev_run(loop, EVRUN_NOWAIT);
}

static void open_all(struct bench *bench)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    bench_chain_open(&chain, bench);
    watchers = bench_alloc(bench->n, sizeof(*watchers));
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_io_init(&watchers[i], on_readable, chain.read_fds[i], EV_READ);
    }
}

static void close_all(void)
{
    ev_loop_destroy(loop);
    bench_chain_close(&chain);
    free(watchers);
}

static void run_chain(struct bench *bench)
{
    open_all(bench);
    start_all(NULL);
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    ev_run(loop, 0);
    bench_end(bench);
    stop_all(NULL);
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
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
