/*
 * W10, libevent: what bench->n things take, the caller's events included, and making one.
 *
 *   task         active events that have not been called yet
 *   timer        added
 *   descriptor   watched eventfds
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum kind {
    TASK,
    TIMER,
    DESCRIPTOR,
};

static void on_event(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    (void)arg;
}

static void start(struct event *event, struct event_base *base, int fd, enum kind kind, uint64_t i)
{
    struct timeval delay = {(time_t)(10 + i / 1000), (suseconds_t)(i % 1000 * 1000)};

    event_assign(event, base, fd, fd < 0 ? 0 : EV_READ | EV_PERSIST, on_event, NULL);
    switch (kind) {
    case TASK:
        event_active(event, EV_TIMEOUT, 0);
        break;
    case TIMER:
        event_add(event, &delay);
        break;
    case DESCRIPTOR:
        event_add(event, NULL);
        break;
    }
}

static void make(struct bench *bench, enum kind kind)
{
    struct event_base *base = event_base_new();
    int *fds = bench_alloc(bench->n, sizeof(*fds));
    struct bench_memory memory;
    struct event *events;

    for (uint64_t i = 0; i < bench->n; i++) {
        fds[i] = kind == DESCRIPTOR ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    }
    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    events = bench_alloc(bench->n, sizeof(*events));
    for (uint64_t i = 0; i < bench->n; i++) {
        start(&events[i], base, fds[i], kind, i);
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        event_del(&events[i]);
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    event_base_free(base);
    free(events);
    free(fds);
}

static void run_task(struct bench *bench)
{
    make(bench, TASK);
}

static void run_timer(struct bench *bench)
{
    make(bench, TIMER);
}

static void run_descriptor(struct bench *bench)
{
    make(bench, DESCRIPTOR);
}

static const struct bench_case cases[] = {
    {"task", run_task}, {"timer", run_timer}, {"descriptor", run_descriptor}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
