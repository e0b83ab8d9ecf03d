/*
 * W4, libuv, which has no post: a queue of one's own with a mutex, and an async handle.
 *
 *   post   the second thread sends when the queue was empty
 */
#include "common.h"

#include <uv.h>

static void on_async(uv_async_t *async)
{
    struct bench_pusher *pusher = async->data;

    bench_queue_run(&pusher->queue);
    if (pusher->done == pusher->count) {
        uv_stop(async->loop);
    }
}

static void wake(void *arg)
{
    uv_async_send(arg);
}

static void run_post(struct bench *bench)
{
    struct bench_pusher pusher;
    uv_loop_t loop;
    uv_async_t async;
    pthread_t thread;

    uv_loop_init(&loop);
    uv_async_init(&loop, &async, on_async);
    async.data = &pusher;
    bench_begin(bench);
    thread = bench_pusher_start(bench, &pusher, wake, &async);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    pthread_join(thread, NULL);
    uv_close((uv_handle_t *)&async, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
