/*
 * W6, libevent: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain        a persistent event on every pair; read(2) and write(2) in its callback
 *   register     event_add() of all, and a turn of the loop
 *   unregister   event_del() of all, and a turn of the loop
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

static struct event_base *base;
static struct event *events;
static struct bench_chain chain;

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    if (bench_chain_step(&chain, (uint64_t)((struct event *)arg - events))) {
        event_base_loopbreak(base);
    }
}

static void start_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        event_add(&events[i], NULL);
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void stop_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        event_del(&events[i]);
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void open_all(struct bench *bench)
{
    base = event_base_new();
    bench_chain_open(&chain, bench);
    events = bench_alloc(bench->n, sizeof(*events));
    for (uint64_t i = 0; i < bench->n; i++) {
        event_assign(&events[i], base, chain.read_fds[i], EV_READ | EV_PERSIST, on_readable,
                     &events[i]);
    }
}

static void close_all(void)
{
    event_base_free(base);
    bench_chain_close(&chain);
    free(events);
}

static void run_chain(struct bench *bench)
{
    open_all(bench);
    start_all(NULL);
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    event_base_dispatch(base);
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
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
