/*
 * W4, Tocsin: a second thread gives a running pool work.
 *
 *   post    tocsin_post()
 *   task    tocsin_task_spawn() of tasks in the caller's memory
 *   wake    the tasks are waiting already, and are woken
 */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

struct work {
    struct tocsin_driver *driver; /* counted: the pool runs until it is given back */
    struct tocsin_task *tasks;
    struct tocsin_waker *wakers;
    uint64_t count;
    uint64_t done;
    uint64_t spawned;
};

static struct work *work; /* for poll, which gets nothing but the task */

static void count_post(void *arg, int status)
{
    (void)status;
    ++*(uint64_t *)arg;
}

static int poll_count(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)cx;
    if (work->wakers != NULL && work->spawned < work->count) {
        work->wakers[task - work->tasks] = tocsin_waker_clone(&cx->waker);
        work->spawned++;
        return TOCSIN_PENDING;
    }
    work->done++;
    return 0;
}

static const struct tocsin_task_ops count_ops = {.poll = poll_count};

static void *give_work(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < work->count; i++) {
        if (work->tasks == NULL) {
            bench_check(tocsin_post(work->driver, count_post, &work->done), "tocsin_post");
        } else if (work->wakers == NULL) {
            bench_check(tocsin_task_spawn(work->driver, &work->tasks[i], &count_ops, "task"),
                        "tocsin_task_spawn");
        } else {
            tocsin_waker_wake(&work->wakers[i]);
        }
    }
    tocsin_driver_unref(work->driver);
    return NULL;
}

/* Spawn the tasks that will be woken, and let each have its first poll. */
static void make_wait(struct tocsin_pool *pool)
{
    for (uint64_t i = 0; i < work->count; i++) {
        bench_check(tocsin_task_spawn(work->driver, &work->tasks[i], &count_ops, "task"),
                    "tocsin_task_spawn");
    }
    while (work->spawned < work->count) {
        bench_check(tocsin_pool_turn(pool), "tocsin_pool_turn");
    }
}

static void give(struct bench *bench, bool tasks, bool wakers)
{
    struct work own = {.count = bench->count};
    struct tocsin_pool *pool = bench_pool_open(bench);
    pthread_t thread;

    work = &own;
    own.driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    if (tasks) {
        own.tasks = bench_alloc(own.count, sizeof(*own.tasks));
        memset(own.tasks, 1, own.count * sizeof(*own.tasks)); /* so that its pages are there */
    }
    if (wakers) {
        own.wakers = bench_alloc(own.count, sizeof(*own.wakers));
        make_wait(pool);
    }
    bench_begin(bench);
    thread = bench_thread(bench, give_work, NULL);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    pthread_join(thread, NULL);
    bench_must(own.done == own.count, "not all have run");
    bench_pool_finish(pool);
    free(own.tasks);
    free(own.wakers);
}

static void run_post(struct bench *bench)
{
    give(bench, false, false);
}

static void run_task(struct bench *bench)
{
    give(bench, true, false);
}

static void run_wake(struct bench *bench)
{
    give(bench, true, true);
}

static const struct bench_case cases[] = {
    {"post", run_post}, {"task", run_task}, {"wake", run_wake}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
