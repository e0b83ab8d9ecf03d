/*
 * W7, Tocsin: an echo server, a task for each connection.
 *
 *   echo         tocsin_socket_read() and tocsin_socket_write()
 *   echo-uring   tocsin_uring_submit() of a receive, then a send, then a receive
 */
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BENCH_URING
#include <liburing.h>
#include <tocsin/uring.h>
#endif

enum {
    BUFFER_SIZE = 4096,
};

struct connection {
    struct tocsin_task task;
    struct tocsin_socket *socket;
    int received; /* bytes not yet sent back */
    char bytes[BUFFER_SIZE];
};

static int poll_connection(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct connection *connection = (struct connection *)(void *)task; /* its first member */
    int r;

    for (;;) {
        if (connection->received == 0) {
            r = tocsin_socket_read(connection->socket, connection->bytes, BUFFER_SIZE, cx);
            if (r == TOCSIN_PENDING || r == 0) {
                return r;
            }
            bench_check(r, "tocsin_socket_read");
            connection->received = r;
        }
        r = tocsin_socket_write(connection->socket, connection->bytes, (size_t)connection->received,
                                cx);
        if (r == TOCSIN_PENDING) {
            return r;
        }
        bench_check(r, "tocsin_socket_write");
        bench_must(r == connection->received, "a short write");
        connection->received = 0;
    }
}

static void drop_connection(struct tocsin_task *task)
{
    struct connection *connection = (struct connection *)(void *)task; /* its first member */

    bench_check(tocsin_socket_close(connection->socket), "tocsin_socket_close");
}

static const struct tocsin_task_ops connection_ops = {.poll = poll_connection,
                                                      .drop = drop_connection};

static void run_echo(struct bench *bench)
{
    struct connection *connections = bench_alloc(bench->active, sizeof(*connections));
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct bench_echo echo;

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        bench_check(tocsin_socket_open(driver, echo.server_fds[i], &connections[i].socket),
                    "tocsin_socket_open");
        bench_check(tocsin_task_spawn(driver, &connections[i].task, &connection_ops, "echo"),
                    "tocsin_task_spawn");
    }
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_echo_end(&echo, bench);
    bench_pool_finish(pool);
    free(connections);
}

#ifdef BENCH_URING
struct line {
    struct tocsin_uring_op op;
    struct tocsin_driver *driver;
    int fd;
    bool sending;
    char bytes[BUFFER_SIZE];
};

static void transfer(struct line *line, size_t size)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    line->sending = size > 0;
    if (line->sending) {
        io_uring_prep_send(&sqe, line->fd, line->bytes, size, MSG_NOSIGNAL);
    } else {
        io_uring_prep_recv(&sqe, line->fd, line->bytes, BUFFER_SIZE, 0);
    }
    bench_check(tocsin_uring_submit(line->driver, &line->op, &sqe), "tocsin_uring_submit");
}

static void on_complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct line *line = (struct line *)(void *)op; /* its first member */

    (void)flags;
    bench_check(result, "receive or send");
    if (line->sending) {
        transfer(line, 0);
    } else if (result > 0) {
        transfer(line, (size_t)result);
    } else {
        close(line->fd);
        tocsin_uring_drop(op);
    }
}

static const struct tocsin_uring_op_ops line_ops = {.complete = on_complete};

static void run_echo_uring(struct bench *bench)
{
    struct line *lines = bench_alloc(bench->active, sizeof(*lines));
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct bench_echo echo;

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        lines[i].driver = tocsin_pool_driver(pool);
        lines[i].fd = echo.server_fds[i];
        tocsin_uring_op_init(&lines[i].op, &line_ops);
        transfer(&lines[i], 0);
    }
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_echo_end(&echo, bench);
    bench_pool_finish(pool);
    free(lines);
}
#endif

static const struct bench_case cases[] = {{"echo", run_echo},
#ifdef BENCH_URING
                                          {"echo-uring", run_echo_uring}
#endif
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
