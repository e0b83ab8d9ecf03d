/*
 * W4, libev, which has no post for threads: a queue of one's own with a mutex, and an ev_async.
 *
 *   post   the second thread sends when the queue was empty
 */
#include "common.h"

#include <ev.h>

struct own {
    struct bench_pusher pusher;
    struct ev_loop *loop;
    struct ev_async async;
};

static void on_async(struct ev_loop *loop, struct ev_async *async, int events)
{
    struct own *own = async->data;

    (void)events;
    bench_queue_run(&own->pusher.queue);
    if (own->pusher.done == own->pusher.count) {
        ev_break(loop, EVBREAK_ALL);
    }
}

static void wake(void *arg)
{
    struct own *own = arg;

    ev_async_send(own->loop, &own->async);
}

static void run_post(struct bench *bench)
{
    struct own own = {.loop = ev_loop_new(EVFLAG_AUTO)};
    pthread_t thread;

    ev_async_init(&own.async, on_async);
    ev_async_start(own.loop, &own.async);
    own.async.data = &own;
    bench_begin(bench);
    thread = bench_pusher_start(bench, &own.pusher, wake, &own);
    ev_run(own.loop, 0);
    bench_end(bench);
    pthread_join(thread, NULL);
    ev_loop_destroy(own.loop);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
