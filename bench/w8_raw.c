/*
 * W8, the limit: sleeps of 1.3 ms, one after the other.
 *
 *   sleep   epoll_pwait2(2); --slack-ns= sets the thread's timer slack
 *   ring    io_uring_enter(2) with a time limit
 */
#include "common.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#ifdef BENCH_URING
#include <liburing.h>
#endif

static void run_sleep(struct bench *bench)
{
    int slack = prctl(PR_GET_TIMERSLACK);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct timespec timeout = {.tv_nsec = (long)BENCH_SLEEP_NS};
    struct bench_sleeps sleeps;
    struct epoll_event event;

    if (bench->slack_ns > 0) {
        bench_must(prctl(PR_SET_TIMERSLACK, bench->slack_ns) == 0, "PR_SET_TIMERSLACK");
    }
    bench_sleeps_init(&sleeps, bench);
    bench_begin(bench);
    do {
        bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
        bench_must(epoll_pwait2(epoll_fd, &event, 1, &timeout, NULL) == 0, "epoll_pwait2");
    } while (!bench_sleeps_note(&sleeps));
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    prctl(PR_SET_TIMERSLACK, slack);
    close(epoll_fd);
}

#ifdef BENCH_URING
static void run_ring(struct bench *bench)
{
    struct __kernel_timespec timeout = {.tv_nsec = (long long)BENCH_SLEEP_NS};
    struct bench_sleeps sleeps;
    struct io_uring_cqe *cqe;
    struct io_uring ring;

    bench_must(io_uring_queue_init(8, &ring, 0) == 0, "io_uring_queue_init");
    bench_sleeps_init(&sleeps, bench);
    bench_begin(bench);
    do {
        bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
        bench_must(io_uring_wait_cqe_timeout(&ring, &cqe, &timeout) < 0, "a completion");
    } while (!bench_sleeps_note(&sleeps));
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    io_uring_queue_exit(&ring);
}
#endif

static const struct bench_case cases[] = {{"sleep", run_sleep},
#ifdef BENCH_URING
                                          {"ring", run_ring}
#endif
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
