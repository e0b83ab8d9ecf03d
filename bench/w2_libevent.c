/*
 * W2, libevent: bench->active events that make themselves active again, beside a timer of 100 us.
 *
 *   active    event_active(): the loop may never get to its timers
 *   timeout   a time limit of zero: each turn of the loop asks the kernel
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

static uint64_t left;
static bool fired;
static struct event_base *base;
static bool by_timeout;

static void fire(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    (void)arg;
    fired = left > 0;
}

static void start(struct event *event)
{
    static const struct timeval at_once = {0, 0};

    if (by_timeout) {
        event_add(event, &at_once);
    } else {
        event_active(event, EV_TIMEOUT, 0);
    }
}

static void again(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    if (left > 0) {
        left--;
        start(arg);
    }
}

static void yields(struct bench *bench)
{
    static const struct timeval soon = {0, 100};
    struct event *items = bench_alloc(bench->active, sizeof(*items));
    struct event timer;

    left = bench->count;
    fired = false;
    base = event_base_new();
    event_assign(&timer, base, -1, 0, fire, NULL);
    for (uint64_t i = 0; i < bench->active; i++) {
        event_assign(&items[i], base, -1, 0, again, &items[i]);
        start(&items[i]);
    }
    bench_begin(bench);
    event_add(&timer, &soon);
    event_base_dispatch(base);
    bench_end(bench);
    bench_extra(bench, "fair", fired);
    event_base_free(base);
    free(items);
}

static void run_active(struct bench *bench)
{
    by_timeout = false;
    yields(bench);
}

static void run_timeout(struct bench *bench)
{
    by_timeout = true;
    yields(bench);
}

static const struct bench_case cases[] = {{"active", run_active}, {"timeout", run_timeout}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
