/*
 * W1, Tocsin: a task that posts, or spawns, 1,000 at a time and lets them run.
 *
 *   post     tocsin_post(), which keeps the callback for the caller
 *   task     tocsin_task_spawn() of tasks in the caller's memory, ready at once, released
 */
#include "pool.h"

#include <stdlib.h>

struct feeder {
    struct tocsin_task task;
    uint64_t left;
    uint64_t done;
    struct tocsin_task *tasks;
};

static struct feeder *feeder; /* for release, which gets nothing but the task */

static void count_post(void *arg, int status)
{
    (void)status;
    ++*(uint64_t *)arg;
}

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 0;
}

static void count_release(struct tocsin_task *task)
{
    (void)task;
    feeder->done++;
}

static const struct tocsin_task_ops ready_ops = {.poll = poll_ready, .release = count_release};

static int poll_feeder(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    if (feeder->left == 0) {
        return 0;
    }
    feeder->left -= feeder->left < BENCH_BATCH ? feeder->left : BENCH_BATCH;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        if (feeder->tasks == NULL) {
            bench_check(tocsin_post(cx->driver, count_post, &feeder->done), "tocsin_post");
        } else {
            bench_check(tocsin_task_spawn(cx->driver, &feeder->tasks[i], &ready_ops, "ready"),
                        "tocsin_task_spawn");
        }
    }
    return tocsin_task_yield(cx);
}

static const struct tocsin_task_ops feeder_ops = {.poll = poll_feeder};

static void feed(struct bench *bench, struct tocsin_task *tasks)
{
    struct feeder own = {.left = bench->count, .tasks = tasks};
    struct tocsin_pool *pool = bench_pool_open(bench);

    feeder = &own;
    bench_check(tocsin_task_spawn(tocsin_pool_driver(pool), &own.task, &feeder_ops, "feeder"),
                "tocsin_task_spawn");
    bench_begin(bench);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    bench_must(own.done >= bench->count, "not all have run");
    bench_pool_finish(pool);
}

static void run_post(struct bench *bench)
{
    feed(bench, NULL);
}

static void run_task(struct bench *bench)
{
    struct tocsin_task *tasks = bench_alloc(BENCH_BATCH, sizeof(*tasks));

    feed(bench, tasks);
    free(tasks);
}

static const struct bench_case cases[] = {{"post", run_post}, {"task", run_task}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
