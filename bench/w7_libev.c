/*
 * W7, libev: an echo server.
 *
 *   echo   ev_io; recv(2) and send(2)
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[4096];

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    ssize_t size = recv(watcher->fd, bytes, sizeof(bytes), 0);

    (void)events;
    if (size > 0) {
        bench_must(send(watcher->fd, bytes, (size_t)size, MSG_NOSIGNAL) == size, "send");
    } else {
        ev_io_stop(loop, watcher);
        close(watcher->fd);
    }
}

static void run_echo(struct bench *bench)
{
    struct ev_io *watchers = bench_alloc(bench->active, sizeof(*watchers));
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct bench_echo echo;

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        ev_io_init(&watchers[i], on_readable, echo.server_fds[i], EV_READ);
        ev_io_start(loop, &watchers[i]);
    }
    ev_run(loop, 0);
    bench_echo_end(&echo, bench);
    ev_loop_destroy(loop);
    free(watchers);
}

static const struct bench_case cases[] = {{"echo", run_echo}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
