/*
 * W4, libevent: a queue of one's own with a mutex, and an event that the other thread makes active.
 *
 *   post   when the queue was empty
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

struct own {
    struct bench_pusher pusher;
    struct event_base *base;
    struct event event;
};

static void on_active(evutil_socket_t fd, short events, void *arg)
{
    struct own *own = arg;

    (void)fd;
    (void)events;
    bench_queue_run(&own->pusher.queue);
    if (own->pusher.done == own->pusher.count) {
        event_base_loopbreak(own->base);
    }
}

static void wake(void *arg)
{
    struct own *own = arg;

    event_active(&own->event, EV_READ, 0);
}

static void run_post(struct bench *bench)
{
    struct own own;
    pthread_t thread;

    evthread_use_pthreads();
    own.base = event_base_new();
    event_assign(&own.event, own.base, -1, 0, on_active, &own);
    bench_begin(bench);
    thread = bench_pusher_start(bench, &own.pusher, wake, &own);
    event_base_loop(own.base, EVLOOP_NO_EXIT_ON_EMPTY);
    bench_end(bench);
    pthread_join(thread, NULL);
    event_base_free(own.base);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
