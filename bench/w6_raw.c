/*
 * W6, the limit: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain            epoll, edge-triggered; read(2) and write(2)
 *   chain-ring       io_uring: a receive on every pair, sends
 *   register         epoll_ctl(2) ADD of all, and of none afterwards
 *   unregister       epoll_ctl(2) DEL of all
 *   register-ring    multishot polls
 *   unregister-ring  and their removal
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifdef BENCH_URING
#include <liburing.h>
#endif

enum {
    EVENTS_MAX = 256,
    RING_ENTRIES = 256,
    RING_COMPLETIONS = 4096,
};

static int open_epoll(void)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    bench_must(epoll_fd >= 0, "epoll_create1");
    return epoll_fd;
}

struct watcher {
    struct bench_chain chain;
    int epoll_fd;
};

static void add_all(void *arg)
{
    struct watcher *watcher = arg;

    for (uint64_t i = 0; i < watcher->chain.n; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u64 = i}};

        bench_must(
            epoll_ctl(watcher->epoll_fd, EPOLL_CTL_ADD, watcher->chain.read_fds[i], &event) == 0,
            "ADD");
    }
}

static void del_all(void *arg)
{
    struct watcher *watcher = arg;

    for (uint64_t i = 0; i < watcher->chain.n; i++) {
        bench_must(epoll_ctl(watcher->epoll_fd, EPOLL_CTL_DEL, watcher->chain.read_fds[i], NULL) ==
                       0,
                   "DEL");
    }
}

static void run_chain(struct bench *bench)
{
    struct watcher watcher = {.epoll_fd = open_epoll()};
    struct bench_chain *chain = &watcher.chain;
    struct epoll_event events[EVENTS_MAX];

    bench_chain_open(chain, bench);
    add_all(&watcher);
    bench_begin(bench);
    bench_chain_start(chain, bench);
    while (chain->to_read > 0) {
        int count = epoll_wait(watcher.epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            bench_chain_step(chain, events[i].data.u64);
        }
    }
    bench_end(bench);
    bench_chain_close(chain);
    close(watcher.epoll_fd);
}

static void registers(struct bench *bench, bool time_add)
{
    struct watcher watcher = {.epoll_fd = open_epoll()};

    bench_chain_open(&watcher.chain, bench);
    bench_registers(bench, time_add, add_all, del_all, &watcher);
    bench_chain_close(&watcher.chain);
    close(watcher.epoll_fd);
}

static void run_register(struct bench *bench)
{
    registers(bench, true);
}

static void run_unregister(struct bench *bench)
{
    registers(bench, false);
}

#ifdef BENCH_URING
#define SENT (UINT64_C(1) << 32) /* in user_data: a send's, and not a receive's */

static void open_ring(struct io_uring *ring)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = RING_COMPLETIONS};

    if (io_uring_queue_init_params(RING_ENTRIES, ring, &params) < 0) { /* an older kernel */
        params =
            (struct io_uring_params){.flags = IORING_SETUP_CQSIZE, .cq_entries = RING_COMPLETIONS};
        bench_must(io_uring_queue_init_params(RING_ENTRIES, ring, &params) == 0, "io_uring");
    }
}

static struct io_uring_sqe *next_sqe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    if (sqe == NULL) {
        bench_must(io_uring_submit(ring) >= 0, "io_uring_submit");
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

static void receive(struct io_uring *ring, const struct bench_chain *chain, char *bytes, uint64_t i)
{
    struct io_uring_sqe *sqe = next_sqe(ring);

    io_uring_prep_recv(sqe, chain->read_fds[i], bytes + i * BENCH_CHUNK, BENCH_CHUNK, 0);
    sqe->user_data = i;
}

/* What came at @i goes on, from a buffer of the sender's, for the next receive uses that of @i. */
static void take(struct io_uring *ring, struct bench_chain *chain, char *bytes, uint64_t i,
                 size_t size)
{
    char *sent = bytes + (chain->n + i) * BENCH_CHUNK;
    size_t on = bench_chain_take(chain, size);
    struct io_uring_sqe *sqe;

    if (on > 0) {
        memcpy(sent, bytes + i * BENCH_CHUNK, on);
        sqe = next_sqe(ring);
        io_uring_prep_send(sqe, chain->write_fds[i + 1 == chain->n ? 0 : i + 1], sent, on,
                           MSG_NOSIGNAL);
        sqe->user_data = i | SENT;
    }
    receive(ring, chain, bytes, i);
}

static void run_chain_ring(struct bench *bench)
{
    struct bench_chain chain;
    struct io_uring ring;
    char *bytes = bench_alloc(bench->n * 2, BENCH_CHUNK);

    open_ring(&ring);
    bench_chain_open(&chain, bench);
    for (uint64_t i = 0; i < chain.n; i++) {
        receive(&ring, &chain, bytes, i);
    }
    io_uring_submit(&ring);
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    while (chain.to_read > 0) {
        struct io_uring_cqe *cqe;
        unsigned count = 0;
        unsigned head;

        bench_must(io_uring_submit_and_wait(&ring, 1) >= 0, "io_uring_submit_and_wait");
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            count++;
            bench_must(cqe->res > 0, "receive or send");
            if ((cqe->user_data & SENT) == 0) {
                take(&ring, &chain, bytes, cqe->user_data, (size_t)cqe->res);
            }
        }
        io_uring_cq_advance(&ring, count);
    }
    bench_end(bench);
    io_uring_queue_exit(&ring);
    bench_chain_close(&chain);
    free(bytes);
}

struct ring_watcher {
    struct bench_chain chain;
    struct io_uring ring;
};

/* Polls of all begin or end; that is done when submit has returned. */
static void poll_all(struct ring_watcher *watcher, bool add)
{
    for (uint64_t i = 0; i < watcher->chain.n; i++) {
        struct io_uring_sqe *sqe = next_sqe(&watcher->ring);

        if (add) {
            io_uring_prep_poll_multishot(sqe, watcher->chain.read_fds[i], EPOLLIN | EPOLLET);
            sqe->user_data = i + 1;
        } else {
            io_uring_prep_poll_remove(sqe, i + 1);
            sqe->user_data = 0;
            sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        }
    }
    bench_must(io_uring_submit(&watcher->ring) >= 0, "io_uring_submit");
    io_uring_get_events(&watcher->ring);
    io_uring_cq_advance(&watcher->ring, io_uring_cq_ready(&watcher->ring));
}

static void poll_add(void *arg)
{
    poll_all(arg, true);
}

static void poll_remove(void *arg)
{
    poll_all(arg, false);
}

static void registers_ring(struct bench *bench, bool time_add)
{
    struct ring_watcher watcher;

    open_ring(&watcher.ring);
    bench_chain_open(&watcher.chain, bench);
    bench_registers(bench, time_add, poll_add, poll_remove, &watcher);
    io_uring_queue_exit(&watcher.ring);
    bench_chain_close(&watcher.chain);
}

static void run_register_ring(struct bench *bench)
{
    registers_ring(bench, true);
}

static void run_unregister_ring(struct bench *bench)
{
    registers_ring(bench, false);
}
#endif

static const struct bench_case cases[] = {
    {"chain", run_chain},
    {"register", run_register},
    {"unregister", run_unregister},
#ifdef BENCH_URING
    {"chain-ring", run_chain_ring},
    {"register-ring", run_register_ring},
    {"unregister-ring", run_unregister_ring},
#endif
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
