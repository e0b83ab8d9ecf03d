/*
 * W7, libevent: an echo server.
 *
 *   echo   persistent events; recv(2) and send(2)
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[4096];

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    ssize_t size = recv(fd, bytes, sizeof(bytes), 0);

    (void)what;
    if (size > 0) {
        bench_must(send(fd, bytes, (size_t)size, MSG_NOSIGNAL) == size, "send");
    } else {
        event_del(arg);
        close(fd);
    }
}

static void run_echo(struct bench *bench)
{
    struct event *events = bench_alloc(bench->active, sizeof(*events));
    struct event_base *base = event_base_new();
    struct bench_echo echo;

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        event_assign(&events[i], base, echo.server_fds[i], EV_READ | EV_PERSIST, on_readable,
                     &events[i]);
        event_add(&events[i], NULL);
    }
    event_base_dispatch(base);
    bench_echo_end(&echo, bench);
    event_base_free(base);
    free(events);
}

static const struct bench_case cases[] = {{"echo", run_echo}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
