/*
 * W3, libev: two loops wake each other by ev_async_send().
 *
 *   trip   on two threads
 */
#include "common.h"

#include <ev.h>

struct side {
    struct ev_loop *loop;
    struct ev_async async;
    struct side *peer;
    uint64_t left;
    struct bench_gate *gate;
};

static void on_async(struct ev_loop *loop, struct ev_async *async, int events)
{
    struct side *side = async->data;

    (void)events;
    ev_async_send(side->peer->loop, &side->peer->async);
    if (--side->left == 0) {
        ev_break(loop, EVBREAK_ALL);
    }
}

static void open_side(struct side *side, struct side *peer, struct bench_gate *gate, uint64_t count)
{
    side->loop = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&side->async, on_async);
    ev_async_start(side->loop, &side->async);
    side->async.data = side;
    side->peer = peer;
    side->left = count;
    side->gate = gate;
}

/* The peer's last wake must still find the loop. */
static void run_side(struct side *side)
{
    bench_gate_wait(side->gate);
    ev_run(side->loop, 0);
    bench_gate_wait(side->gate);
}

static void *run_second(void *arg)
{
    run_side(arg);
    return NULL;
}

static void run_trip(struct bench *bench)
{
    struct bench_gate gate;
    struct side sides[2];
    pthread_t thread;

    bench_gate_init(&gate);
    open_side(&sides[0], &sides[1], &gate, bench->count);
    open_side(&sides[1], &sides[0], &gate, bench->count);
    thread = bench_thread(bench, run_second, &sides[1]);
    bench_begin(bench);
    ev_async_send(sides[0].loop, &sides[0].async);
    run_side(&sides[0]);
    bench_end(bench);
    pthread_join(thread, NULL);
    ev_loop_destroy(sides[0].loop);
    ev_loop_destroy(sides[1].loop);
}

static const struct bench_case cases[] = {{"trip", run_trip}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
