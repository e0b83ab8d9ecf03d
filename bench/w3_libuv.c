/*
 * W3, libuv: two loops wake each other by uv_async_send().
 *
 *   trip   on two threads
 */
#include "common.h"

#include <uv.h>

struct side {
    uv_loop_t loop;
    uv_async_t async;
    struct side *peer;
    uint64_t left;
    struct bench_gate *gate;
};

static void on_async(uv_async_t *async)
{
    struct side *side = async->data;

    uv_async_send(&side->peer->async);
    if (--side->left == 0) {
        uv_stop(&side->loop);
    }
}

static void open_side(struct side *side, struct side *peer, struct bench_gate *gate, uint64_t count)
{
    uv_loop_init(&side->loop);
    uv_async_init(&side->loop, &side->async, on_async);
    side->async.data = side;
    side->peer = peer;
    side->left = count;
    side->gate = gate;
}

/* The peer's last wake must still find the handle; what it says is no longer heard. */
static void run_side(struct side *side)
{
    bench_gate_wait(side->gate);
    uv_run(&side->loop, UV_RUN_DEFAULT);
    bench_gate_wait(side->gate);
}

static void close_side(struct side *side)
{
    uv_close((uv_handle_t *)&side->async, NULL);
    uv_run(&side->loop, UV_RUN_DEFAULT);
    uv_loop_close(&side->loop);
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
    uv_async_send(&sides[0].async);
    run_side(&sides[0]);
    bench_end(bench);
    pthread_join(thread, NULL);
    close_side(&sides[0]);
    close_side(&sides[1]);
}

static const struct bench_case cases[] = {{"trip", run_trip}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
