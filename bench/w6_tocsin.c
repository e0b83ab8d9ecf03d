/*
 * W6, Tocsin: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain         a watch on every pair; read(2) and write(2) in its callback
 *   chain-uring   an operation on every pair that receives, and one that sends
 *   register      tocsin_watch_start() of all; a backend that puts it off does it in a turn, which
 *                 counts
 *   unregister    tocsin_watch_stop() of all
 */
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifdef BENCH_URING
#include <liburing.h>
#include <tocsin/uring.h>
#endif

struct pair {
    struct tocsin_watch watch;
    uint64_t i;
};

static struct bench_chain chain;
static struct tocsin_pool *pool;
static struct pair *pairs;

static void on_readable(struct tocsin_watch *watch, int events, void *arg)
{
    const struct pair *pair = arg;

    (void)watch;
    bench_check(events, "watch");
    if (bench_chain_step(&chain, pair->i)) {
        tocsin_pool_stop(pool);
    }
}

static void start_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        pairs[i].i = i;
        bench_check(tocsin_watch_start(&pairs[i].watch, tocsin_pool_driver(pool), chain.read_fds[i],
                                       TOCSIN_IN, on_readable, &pairs[i]),
                    "tocsin_watch_start");
    }
}

static void stop_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < chain.n; i++) {
        bench_check(tocsin_watch_stop(&pairs[i].watch), "tocsin_watch_stop");
    }
}

static void open_all(struct bench *bench)
{
    pool = bench_pool_open(bench);
    pairs = bench_alloc(bench->n, sizeof(*pairs));
    bench_chain_open(&chain, bench);
}

static void close_all(void)
{
    bench_chain_close(&chain);
    bench_pool_finish(pool);
    free(pairs);
}

static void run_chain(struct bench *bench)
{
    open_all(bench);
    start_all(NULL);
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    bench_must(tocsin_pool_run(pool) == 1, "tocsin_pool_run");
    bench_end(bench);
    stop_all(NULL);
    close_all();
}

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 0;
}

static const struct tocsin_task_ops ready_ops = {.poll = poll_ready};

/* What is done outside of turns reaches the backend by the end of this. */
static void turn(void)
{
    struct tocsin_task task;

    bench_check(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &task, &ready_ops, "turn"),
                "tocsin_task_spawn_ref");
    bench_check(tocsin_pool_run_until(pool, &task, NULL), "tocsin_pool_run_until");
    tocsin_task_unref(&task);
}

static void start_and_turn(void *arg)
{
    start_all(arg);
    turn();
}

static void stop_and_turn(void *arg)
{
    stop_all(arg);
    turn();
}

static void registers(struct bench *bench, bool time_add)
{
    open_all(bench);
    bench_registers(bench, time_add, start_and_turn, stop_and_turn, NULL);
    close_all();
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
/* Pair @i's two operations and their bytes; the pair that a send goes to is the next one. */
struct line {
    struct tocsin_uring_op receive;
    struct tocsin_uring_op send;
    char received[BENCH_CHUNK];
    char sent[BENCH_CHUNK];
    uint64_t i;
};

static struct line *lines;

static void receive(struct line *line)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_recv(&sqe, chain.read_fds[line->i], line->received, BENCH_CHUNK, 0);
    bench_check(tocsin_uring_submit(tocsin_pool_driver(pool), &line->receive, &sqe), "receive");
}

static void on_received(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct line *line = (struct line *)(void *)op; /* its first member */
    struct io_uring_sqe sqe;
    size_t on;

    (void)flags;
    if (result == -ECANCELED) {
        return;
    }
    bench_check(result, "receive");
    on = bench_chain_take(&chain, (size_t)result);
    if (on > 0) {
        memcpy(line->sent, line->received, on);
        memset(&sqe, 0, sizeof(sqe));
        io_uring_prep_send(&sqe, chain.write_fds[line->i + 1 == chain.n ? 0 : line->i + 1],
                           line->sent, on, MSG_NOSIGNAL);
        bench_check(tocsin_uring_submit(tocsin_pool_driver(pool), &line->send, &sqe), "send");
    }
    if (chain.to_read == 0) {
        tocsin_pool_stop(pool);
    } else {
        receive(line);
    }
}

static void on_sent(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    (void)op;
    (void)flags;
    bench_check(result, "send");
}

static const struct tocsin_uring_op_ops receive_ops = {.complete = on_received};
static const struct tocsin_uring_op_ops send_ops = {.complete = on_sent};

static void run_chain_uring(struct bench *bench)
{
    open_all(bench);
    lines = bench_alloc(bench->n, sizeof(*lines));
    for (uint64_t i = 0; i < bench->n; i++) {
        lines[i].i = i;
        tocsin_uring_op_init(&lines[i].receive, &receive_ops);
        tocsin_uring_op_init(&lines[i].send, &send_ops);
        receive(&lines[i]);
    }
    turn();
    bench_begin(bench);
    bench_chain_start(&chain, bench);
    bench_must(tocsin_pool_run(pool) == 1, "tocsin_pool_run");
    bench_end(bench);
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_uring_drop(&lines[i].receive);
        tocsin_uring_drop(&lines[i].send);
    }
    close_all();
    free(lines);
}
#endif

static const struct bench_case cases[] = {
    {"chain", run_chain},
    {"register", run_register},
    {"unregister", run_unregister},
#ifdef BENCH_URING
    {"chain-uring", run_chain_uring},
#endif
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
