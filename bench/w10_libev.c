/*
 * W10, libev: what bench->n things take, the caller's watchers included, and making one.
 *
 *   task         fed watchers that have not been called yet
 *   timer        started
 *   descriptor   watched eventfds
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_custom(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

static void run_task(struct bench *bench)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct bench_memory memory;
    struct ev_prepare *watchers;

    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    watchers = bench_alloc(bench->n, sizeof(*watchers));
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_prepare_init(&watchers[i], on_custom);
        ev_feed_event(loop, &watchers[i], EV_CUSTOM);
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    ev_loop_destroy(loop);
    free(watchers);
}

static void run_timer(struct bench *bench)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct bench_memory memory;
    struct ev_timer *watchers;

    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    watchers = bench_alloc(bench->n, sizeof(*watchers));
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_timer_init(&watchers[i], on_timer, 10 + (double)i * 1e-3, 0);
        ev_timer_start(loop, &watchers[i]);
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    ev_loop_destroy(loop);
    free(watchers);
}

static void run_descriptor(struct bench *bench)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    int *fds = bench_alloc(bench->n, sizeof(*fds));
    struct bench_memory memory;
    struct ev_io *watchers;

    for (uint64_t i = 0; i < bench->n; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    watchers = bench_alloc(bench->n, sizeof(*watchers));
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_io_init(&watchers[i], on_io, fds[i], EV_READ);
        ev_io_start(loop, &watchers[i]);
    }
    ev_run(loop, EVRUN_NOWAIT);
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        ev_io_stop(loop, &watchers[i]);
        close(fds[i]);
    }
    ev_loop_destroy(loop);
    free(watchers);
    free(fds);
}

static const struct bench_case cases[] = {
    {"task", run_task}, {"timer", run_timer}, {"descriptor", run_descriptor}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
