/*
 * What bench/instructions.py counts the instructions of, under callgrind: the hot paths.
 *
 *   spawn        spawn a task that is ready at once, run and release it
 *   yield        a task that wakes itself, and is polled
 *   wake         another thread wakes a task while the pool runs; it is polled
 *   wake-own     the pool's thread wakes a task; it is polled
 *   timer        move a random one of 1,000 armed timers
 *   ready        poll a readiness object that has seen events
 *   post         post a callback, and run it
 *
 * Each runs on the epoll backend.  There is one thread at work at a time, so the counts repeat: the
 * thread that wakes does so while the pool's waits for it inside a poll.
 */
#include "pool.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    TIMERS = 1000,
};

static struct tocsin_pool *pool;
static struct tocsin_driver *driver;
static struct tocsin_task *tasks;
static struct tocsin_waker wakers[BENCH_BATCH];
static struct tocsin_timer *timers;
static struct tocsin_fd_ready *ready;
static uint64_t left;
static uint64_t done;
static uint64_t random_state;

static void count_post(void *arg, int status)
{
    (void)arg;
    (void)status;
    done++;
}

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    done++;
    return 0;
}

static const struct tocsin_task_ops ready_ops = {.poll = poll_ready};

static int poll_waiting(struct tocsin_task *task, struct tocsin_context *cx)
{
    done++;
    if (left == 0) {
        return 0;
    }
    if (wakers[task - tasks].ops == NULL) {
        wakers[task - tasks] = tocsin_waker_clone(&cx->waker);
    }
    return TOCSIN_PENDING;
}

static const struct tocsin_task_ops waiting_ops = {.poll = poll_waiting};

static void step_spawn(struct tocsin_context *cx)
{
    (void)cx;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        bench_check(tocsin_task_spawn(driver, &tasks[i], &ready_ops, "ready"), "spawn");
    }
}

static void step_post(struct tocsin_context *cx)
{
    (void)cx;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        bench_check(tocsin_post(driver, count_post, NULL), "tocsin_post");
    }
}

static void step_wake_own(struct tocsin_context *cx)
{
    (void)cx;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        tocsin_waker_wake_by_ref(&wakers[i]);
    }
}

/* The last to be woken is the task that drives, so all others are polled between two steps. */
static void *wake_all(void *arg)
{
    struct tocsin_context *cx = arg;

    step_wake_own(NULL);
    tocsin_waker_wake_by_ref(&cx->waker);
    return NULL;
}

static void step_wake(struct tocsin_context *cx)
{
    pthread_t thread;

    bench_must(pthread_create(&thread, NULL, wake_all, cx) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

static void step_timer(struct tocsin_context *cx)
{
    (void)cx;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        uint64_t at = bench_random(&random_state, TIMERS);

        tocsin_timer_arm(&timers[at], bench_far_ns(&random_state, UINT64_C(1) << 62));
    }
}

static void step_ready(struct tocsin_context *cx)
{
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        int events = tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT, cx);

        bench_must(events == TOCSIN_OUT || events == TOCSIN_PENDING, "tocsin_fd_ready_poll");
    }
}

static void step_yield(struct tocsin_context *cx)
{
    (void)cx;
}

static void (*step)(struct tocsin_context *cx);

/* Drives: one step a poll, and then the others have their turn. */
static int poll_steps(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    if (left == 0) {
        return 0;
    }
    left--;
    step(cx);
    return step == step_wake ? TOCSIN_PENDING : tocsin_task_yield(cx);
}

static const struct tocsin_task_ops steps_ops = {.poll = poll_steps};

static void open_all(const struct bench *bench)
{
    pool = bench_pool_open(bench);
    driver = tocsin_pool_driver(pool);
    tasks = bench_alloc(BENCH_BATCH, sizeof(*tasks));
    timers = bench_alloc(TIMERS, sizeof(*timers));
    random_state = 1;
    done = 0;
}

/* @bench->count steps, which are of a batch each (of a yield: of one). */
static void run_steps(struct bench *bench, void (*what)(struct tocsin_context *cx))
{
    struct tocsin_task task;

    step = what;
    left = bench->count;
    bench_check(tocsin_task_spawn_ref(driver, &task, &steps_ops, "steps"), "spawn");
    bench_begin(bench);
    bench_check(tocsin_pool_run_until(pool, &task, NULL), "tocsin_pool_run_until");
    bench_end(bench);
    tocsin_task_unref(&task);
}

static void close_all(void)
{
    bench_pool_finish(pool);
    free(tasks);
    free(timers);
}

static void run_spawn(struct bench *bench)
{
    open_all(bench);
    run_steps(bench, step_spawn);
    close_all();
}

static void run_yield(struct bench *bench)
{
    open_all(bench);
    run_steps(bench, step_yield);
    close_all();
}

static void run_post(struct bench *bench)
{
    open_all(bench);
    run_steps(bench, step_post);
    close_all();
}

/* @what wakes the tasks; in the end all are woken once more, to end. */
static void run_wakes(struct bench *bench, void (*what)(struct tocsin_context *cx))
{
    struct tocsin_task first;

    open_all(bench);
    left = 1;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        bench_check(tocsin_task_spawn(driver, &tasks[i], &waiting_ops, "waiting"), "spawn");
    }
    bench_check(tocsin_task_spawn_ref(driver, &first, &ready_ops, "first polls"), "spawn");
    bench_check(tocsin_pool_run_until(pool, &first, NULL), "tocsin_pool_run_until");
    tocsin_task_unref(&first);
    run_steps(bench, what);
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        tocsin_waker_wake(&wakers[i]);
    }
    close_all();
}

static void run_wake(struct bench *bench)
{
    run_wakes(bench, step_wake);
}

static void run_wake_own(struct bench *bench)
{
    run_wakes(bench, step_wake_own);
}

static void run_timer(struct bench *bench)
{
    open_all(bench);
    for (size_t i = 0; i < TIMERS; i++) {
        bench_check(tocsin_timer_init(&timers[i], driver, NULL, NULL), "tocsin_timer_init");
        tocsin_timer_arm(&timers[i], bench_far_ns(&random_state, UINT64_C(1) << 62));
    }
    run_steps(bench, step_timer);
    for (size_t i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    close_all();
}

static void run_ready(struct bench *bench)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    open_all(bench);
    bench_check(tocsin_fd_ready_open(driver, fd, &ready), "tocsin_fd_ready_open");
    run_steps(bench, step_ready);
    bench_check(tocsin_fd_ready_close(ready), "tocsin_fd_ready_close");
    close_all();
    close(fd);
}

static const struct bench_case cases[] = {
    {"spawn", run_spawn}, {"yield", run_yield}, {"wake", run_wake}, {"wake-own", run_wake_own},
    {"timer", run_timer}, {"ready", run_ready}, {"post", run_post},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
