/*
 * W1, libevent: event_active() of 1,000 events.
 *
 *   post   made active from outside, then one turn of the loop
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

static void count_post(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    ++*(uint64_t *)arg;
}

static void run_post(struct bench *bench)
{
    struct event_base *base = event_base_new();
    struct event *posts = bench_alloc(BENCH_BATCH, sizeof(*posts));
    uint64_t done = 0;

    for (size_t i = 0; i < BENCH_BATCH; i++) {
        event_assign(&posts[i], base, -1, 0, count_post, &done);
    }
    bench_begin(bench);
    while (done < bench->count) {
        for (size_t i = 0; i < BENCH_BATCH; i++) {
            event_active(&posts[i], EV_TIMEOUT, 0);
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    bench_end(bench);
    event_base_free(base);
    free(posts);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
