/*
 * W3, Tocsin: a task in each of two pools; woken, it wakes the other one.
 *
 *   trip   on two threads; --busy-us= lets both pools look so long before they sleep
 */
#include "pool.h"

struct side {
    struct tocsin_task task;
    struct tocsin_waker peer;
    uint64_t left;
    bool started; /* the poll of the spawn has been */
    struct bench_gate *gate;
    const struct bench *bench;
    struct side *other;
};

static int poll_side(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct side *side = (struct side *)(void *)task; /* its first member */

    if (!side->started) {
        /* Both have been polled, and their wakers are known: then the first one begins. */
        side->started = true;
        side->other->peer = tocsin_waker_clone(&cx->waker);
        bench_gate_wait(side->gate);
        if (side->bench == NULL) {
            return TOCSIN_PENDING;
        }
    } else if (--side->left == 0) {
        tocsin_waker_wake(&side->peer);
        return 0;
    }
    tocsin_waker_wake_by_ref(&side->peer);
    return TOCSIN_PENDING;
}

static const struct tocsin_task_ops side_ops = {.poll = poll_side};

/* What the second thread is given: the side, and how to open its pool. */
struct second {
    struct side *side;
    const struct bench *bench;
};

static void run_side(struct side *side, const struct bench *how)
{
    struct tocsin_pool *pool = bench_pool_open(how);

    bench_check(tocsin_task_spawn(tocsin_pool_driver(pool), &side->task, &side_ops, "side"),
                "tocsin_task_spawn");
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_gate_wait(side->gate); /* a wake of the other's must find a pool */
    bench_pool_finish(pool);
}

static void *run_second(void *arg)
{
    struct second *second = arg;

    run_side(second->side, second->bench);
    return NULL;
}

static void run_trip(struct bench *bench)
{
    struct bench_gate gate;
    struct side sides[2] = {{.gate = &gate, .left = bench->count + 1, .bench = bench},
                            {.gate = &gate, .left = bench->count + 1}};
    struct second second = {&sides[1], bench};
    pthread_t thread;

    sides[0].other = &sides[1];
    sides[1].other = &sides[0];
    bench_gate_init(&gate);
    thread = bench_thread(bench, run_second, &second);
    bench_begin(bench);
    run_side(&sides[0], bench);
    bench_end(bench);
    pthread_join(thread, NULL);
}

static const struct bench_case cases[] = {{"trip", run_trip}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
