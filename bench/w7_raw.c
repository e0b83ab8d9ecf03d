/*
 * W7, the limit: an echo server.
 *
 *   echo        epoll, edge-triggered; one read and one write for each message
 *   echo-ring   io_uring: a receive, then a send, then a receive
 */
#include "common.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef BENCH_URING
#include <liburing.h>
#endif

enum {
    BUFFER_SIZE = 4096,
    EVENTS_MAX = 64,
};

static void run_echo(struct bench *bench)
{
    struct epoll_event events[EVENTS_MAX];
    struct bench_echo echo;
    uint64_t open = bench->active;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    char bytes[BUFFER_SIZE];

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < open; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                    .data = {.fd = echo.server_fds[i]}};

        bench_must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) == 0, "epoll_ctl");
    }
    while (open > 0) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t size = recv(fd, bytes, sizeof(bytes), 0);

            if (size > 0) {
                bench_must(send(fd, bytes, (size_t)size, MSG_NOSIGNAL) == size, "send");
            } else {
                close(fd);
                open--;
            }
        }
    }
    bench_echo_end(&echo, bench);
    close(epoll_fd);
}

#ifdef BENCH_URING
#define SEND (UINT64_C(1) << 32) /* in user_data: a send's, and not a receive's */

static void receive(struct io_uring *ring, const struct bench_echo *echo, char *bytes, uint64_t i)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    io_uring_prep_recv(sqe, echo->server_fds[i], bytes + i * BUFFER_SIZE, BUFFER_SIZE, 0);
    sqe->user_data = i;
}

/* Returns: whether the connection is at its end. */
static bool complete(struct io_uring *ring, const struct bench_echo *echo, char *bytes,
                     const struct io_uring_cqe *cqe)
{
    uint64_t i = cqe->user_data & ~SEND;
    struct io_uring_sqe *sqe;

    bench_must(cqe->res >= 0, "receive or send");
    if ((cqe->user_data & SEND) != 0) {
        receive(ring, echo, bytes, i);
        return false;
    }
    if (cqe->res == 0) {
        close(echo->server_fds[i]);
        return true;
    }
    sqe = io_uring_get_sqe(ring);
    io_uring_prep_send(sqe, echo->server_fds[i], bytes + i * BUFFER_SIZE, (size_t)cqe->res,
                       MSG_NOSIGNAL);
    sqe->user_data = i | SEND;
    return false;
}

static void run_echo_ring(struct bench *bench)
{
    struct bench_echo echo;
    struct io_uring ring;
    uint64_t open = bench->active;
    char *bytes = bench_alloc(bench->active, BUFFER_SIZE);
    unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

    if (io_uring_queue_init(256, &ring, flags) < 0) { /* an older kernel */
        bench_must(io_uring_queue_init(256, &ring, 0) == 0, "io_uring_queue_init");
    }
    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < open; i++) {
        receive(&ring, &echo, bytes, i);
    }
    while (open > 0) {
        struct io_uring_cqe *cqe;
        unsigned count = 0;
        unsigned head;

        bench_must(io_uring_submit_and_wait(&ring, 1) >= 0, "io_uring_submit_and_wait");
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            count++;
            open -= complete(&ring, &echo, bytes, cqe);
        }
        io_uring_cq_advance(&ring, count);
    }
    bench_echo_end(&echo, bench);
    io_uring_queue_exit(&ring);
    free(bytes);
}
#endif

static const struct bench_case cases[] = {{"echo", run_echo},
#ifdef BENCH_URING
                                          {"echo-ring", run_echo_ring}
#endif
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
