/*
 * W3, libevent: two bases wake each other by event_active(), with its locks for threads.
 *
 *   trip   on two threads
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

struct side {
    struct event_base *base;
    struct event event;
    struct side *peer;
    uint64_t left;
    struct bench_gate *gate;
};

static void on_active(evutil_socket_t fd, short events, void *arg)
{
    struct side *side = arg;

    (void)fd;
    (void)events;
    event_active(&side->peer->event, EV_READ, 0);
    if (--side->left == 0) {
        event_base_loopbreak(side->base);
    }
}

static void open_side(struct side *side, struct side *peer, struct bench_gate *gate, uint64_t count)
{
    side->base = event_base_new();
    event_assign(&side->event, side->base, -1, 0, on_active, side);
    side->peer = peer;
    side->left = count;
    side->gate = gate;
}

/* The peer's last wake must still find the base. */
static void run_side(struct side *side)
{
    bench_gate_wait(side->gate);
    event_base_loop(side->base, EVLOOP_NO_EXIT_ON_EMPTY);
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

    evthread_use_pthreads();
    bench_gate_init(&gate);
    open_side(&sides[0], &sides[1], &gate, bench->count);
    open_side(&sides[1], &sides[0], &gate, bench->count);
    thread = bench_thread(bench, run_second, &sides[1]);
    bench_begin(bench);
    event_active(&sides[0].event, EV_READ, 0);
    run_side(&sides[0]);
    bench_end(bench);
    pthread_join(thread, NULL);
    event_base_free(sides[0].base);
    event_base_free(sides[1].base);
}

static const struct bench_case cases[] = {{"trip", run_trip}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
