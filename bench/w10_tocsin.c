/*
 * W10 and scale, Tocsin: what bench->n things take in memory, the caller's own struct included, and
 * how long one operation takes while they are there.  The time reported is that of making one.
 *
 *   task         pending; op: wake a random one and poll it
 *   timer        armed; op: move a random one
 *   descriptor   watched eventfds; op: write to a random one, and its callback reads; 100 at once
 */
#include "pool.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    AT_ONCE = 100,
};

struct item {
    struct tocsin_watch watch;
    int fd;
};

static struct bench *bench;
static struct tocsin_pool *pool;
static struct tocsin_task *tasks;
static struct tocsin_timer *timers;
static struct item *items;
static uint64_t random_state;
static uint64_t left;
static uint64_t base_ns;
static bool ending;

static void per_item(const char *name, uint64_t start_ns, uint64_t count)
{
    bench_extra(bench, name, (double)(bench_now_ns() - start_ns) / (double)count);
}

static uint64_t pick(void)
{
    return bench_random(&random_state, bench->n);
}

static int poll_nothing(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return ending ? 0 : TOCSIN_PENDING;
}

static const struct tocsin_task_ops nothing_ops = {.poll = poll_nothing};

static int poll_waker(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    for (size_t i = 0; i < AT_ONCE && left > 0; i++, left--) {
        struct tocsin_waker waker = tocsin_task_waker(&tasks[pick()]);

        tocsin_waker_wake(&waker);
    }
    return left > 0 ? tocsin_task_yield(cx) : 0;
}

static const struct tocsin_task_ops waker_ops = {.poll = poll_waker};

/* Run until a task of these ops has ended. */
static void run_one(const struct tocsin_task_ops *ops)
{
    struct tocsin_task task;

    bench_check(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &task, ops, "one"), "spawn");
    bench_check(tocsin_pool_run_until(pool, &task, NULL), "tocsin_pool_run_until");
    tocsin_task_unref(&task);
}

static void begin(struct bench *asked, struct bench_memory *memory)
{
    bench = asked;
    pool = bench_pool_open(asked);
    random_state = 1;
    left = asked->count;
    bench->count = bench->n; /* of what is timed */
    base_ns = bench_now_ns();
    ending = false;
    bench_memory_begin(memory);
    bench_begin(bench);
}

static void made(const struct bench_memory *memory)
{
    struct bench_memory at = *memory;

    bench_end(bench);
    bench_memory_end(&at, bench, bench->n);
}

static void run_task(struct bench *asked)
{
    struct bench_memory memory;
    uint64_t ops = asked->count;
    uint64_t start_ns;

    begin(asked, &memory);
    tasks = bench_alloc(bench->n, sizeof(*tasks));
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_check(tocsin_task_spawn(tocsin_pool_driver(pool), &tasks[i], &nothing_ops, "pending"),
                    "tocsin_task_spawn");
    }
    left = 0;
    run_one(&waker_ops); /* behind them all, so that each has had its first poll */
    made(&memory);
    left = ops;
    start_ns = bench_now_ns();
    run_one(&waker_ops);
    run_one(&waker_ops); /* behind the last woken */
    per_item("op_ns", start_ns, ops);
    ending = true;
    start_ns = bench_now_ns();
    for (uint64_t i = 0; i < bench->n; i++) {
        struct tocsin_waker waker = tocsin_task_waker(&tasks[i]);

        tocsin_waker_wake(&waker);
    }
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    per_item("end_ns", start_ns, bench->n);
    bench_pool_finish(pool);
    free(tasks);
}

static int poll_rearm(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    for (; left > 0; left--) {
        tocsin_timer_arm(&timers[pick()], bench_far_ns(&random_state, base_ns));
    }
    return 0;
}

static const struct tocsin_task_ops rearm_ops = {.poll = poll_rearm};

static void fire(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
}

static void run_timer(struct bench *asked)
{
    struct bench_memory memory;
    uint64_t ops = asked->count;
    uint64_t start_ns;

    begin(asked, &memory);
    timers = bench_alloc(bench->n, sizeof(*timers));
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_check(tocsin_timer_init(&timers[i], tocsin_pool_driver(pool), fire, NULL), "init");
        tocsin_timer_arm(&timers[i], bench_far_ns(&random_state, base_ns));
    }
    made(&memory);
    start_ns = bench_now_ns();
    run_one(&rearm_ops);
    per_item("op_ns", start_ns, ops);
    start_ns = bench_now_ns();
    for (uint64_t i = 0; i < bench->n; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    per_item("end_ns", start_ns, bench->n);
    bench_pool_finish(pool);
    free(timers);
}

/* Write to some, until all of those and of the ones before have been read. */
static void write_some(void)
{
    uint64_t one = 1;

    for (size_t i = 0; i < AT_ONCE; i++) {
        bench_must(write(items[pick()].fd, &one, sizeof(one)) == sizeof(one), "write");
    }
}

static void on_readable(struct tocsin_watch *watch, int events, void *arg)
{
    const struct item *item = arg;
    uint64_t sum;

    (void)watch;
    bench_check(events, "watch");
    bench_must(read(item->fd, &sum, sizeof(sum)) == sizeof(sum), "read");
    left -= left < sum ? left : sum;
    if (left == 0) {
        tocsin_pool_stop(pool);
    } else if (left % AT_ONCE == 0) {
        write_some();
    }
}

static void run_descriptor(struct bench *asked)
{
    struct bench_memory memory;
    uint64_t ops = asked->count - asked->count % AT_ONCE;
    int *fds = bench_alloc(asked->n, sizeof(*fds));
    uint64_t start_ns;

    for (uint64_t i = 0; i < asked->n; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        bench_must(fds[i] >= 0, "eventfd");
    }
    begin(asked, &memory);
    items = bench_alloc(bench->n, sizeof(*items));
    for (uint64_t i = 0; i < bench->n; i++) {
        items[i].fd = fds[i];
        bench_check(tocsin_watch_start(&items[i].watch, tocsin_pool_driver(pool), fds[i], TOCSIN_IN,
                                       on_readable, &items[i]),
                    "tocsin_watch_start");
    }
    left = 0;
    run_one(&waker_ops); /* a backend that puts it off has done it now */
    made(&memory);
    left = ops;
    start_ns = bench_now_ns();
    write_some();
    bench_must(tocsin_pool_run(pool) == 1, "tocsin_pool_run");
    per_item("op_ns", start_ns, ops);
    start_ns = bench_now_ns();
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_check(tocsin_watch_stop(&items[i].watch), "tocsin_watch_stop");
        close(fds[i]);
    }
    per_item("end_ns", start_ns, bench->n);
    bench_pool_finish(pool);
    free(items);
    free(fds);
}

static const struct bench_case cases[] = {
    {"task", run_task}, {"timer", run_timer}, {"descriptor", run_descriptor}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
