/*
 * W7, libuv: an echo server.
 *
 *   echo   uv_tcp_t; what uv_read_start() brings goes out by uv_try_write()
 */
#include "common.h"

#include <stdlib.h>
#include <uv.h>

static char bytes[4096];

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0) {
        uv_close((uv_handle_t *)stream, NULL);
    } else if (size > 0) {
        uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)size);

        bench_must(uv_try_write(stream, &answer, 1) == size, "uv_try_write");
    }
}

static void run_echo(struct bench *bench)
{
    uv_tcp_t *connections = bench_alloc(bench->active, sizeof(*connections));
    struct bench_echo echo;
    uv_loop_t loop;

    uv_loop_init(&loop);
    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        uv_tcp_init(&loop, &connections[i]);
        uv_tcp_open(&connections[i], echo.server_fds[i]);
        uv_read_start((uv_stream_t *)&connections[i], give_buffer, on_read);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_echo_end(&echo, bench);
    uv_loop_close(&loop);
    free(connections);
}

static const struct bench_case cases[] = {{"echo", run_echo}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
