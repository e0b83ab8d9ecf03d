/*
 * Question: what do the pool's basic operations cost, beside the least code that does the same?
 *
 *   post    post 1,000 trivial callbacks on the pool's thread and run them, again and again
 *   task    spawn 1,000 ready tasks on the pool's thread, run and release them
 *   yield   a task that wakes itself
 *   trip    two pools on two threads wake each other in turn (raw: eventfd and epoll with edges)
 *   rearm   move the deadline of a random one of 10,000 armed timers
 *
 * Each is measured in rounds, ours and raw in alternating order, after a warm-up round.  Reported:
 * the median and the 99th percentile (of so few rounds: the worst) in nanoseconds each, and, where
 * there is a raw one, the median of the rounds' ratios.  A noisy machine moves the numbers more
 * than the ratios.
 *
 * Usage: core [--backend=NAME] [--json] [--quick]
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <tocsin/tocsin.h>

enum {
    BATCH = 1000,
    TIMERS = 10000,
    ROUNDS = 15,
    ROUNDS_QUICK = 5,
};

static const struct tocsin_backend *backend;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "core: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

/* A task that drives a measurement: @step is called once a turn until it returns 0. */
struct measure {
    struct tocsin_task task;
    uint64_t left;
    uint64_t done;
    void (*step)(struct measure *measure, struct tocsin_context *cx);
    struct tocsin_task *tasks;
};

static int poll_measure(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct measure *measure = (struct measure *)(void *)task; /* its first member */

    if (measure->left == 0) {
        return 0;
    }
    measure->left--;
    measure->step(measure, cx);
    return tocsin_task_yield(cx);
}

static const struct tocsin_task_ops measure_ops = {.poll = poll_measure};

/* Nanoseconds for @count steps on a pool of their own. */
static uint64_t run_steps(uint64_t count, void (*step)(struct measure *, struct tocsin_context *))
{
    struct measure measure = {.left = count, .step = step};
    struct tocsin_pool *pool;
    uint64_t start_ns;

    measure.tasks = calloc(BATCH, sizeof(*measure.tasks));
    must(measure.tasks == NULL ? -ENOMEM : 0, "calloc");
    must(tocsin_pool_open(&pool, backend, NULL), "tocsin_pool_open");
    must(tocsin_task_spawn(tocsin_pool_driver(pool), &measure.task, &measure_ops, "measure"),
         "tocsin_task_spawn");
    start_ns = now_ns();
    must(tocsin_pool_run(pool), "tocsin_pool_run");
    start_ns = now_ns() - start_ns;
    must(tocsin_pool_close(pool), "tocsin_pool_close");
    free(measure.tasks);
    return start_ns;
}

static void count_post(void *arg, int status)
{
    (void)status;
    ++*(uint64_t *)arg;
}

static void step_posts(struct measure *measure, struct tocsin_context *cx)
{
    for (size_t i = 0; i < BATCH; i++) {
        must(tocsin_post(cx->driver, count_post, &measure->done), "tocsin_post");
    }
}

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 0;
}

static const struct tocsin_task_ops ready_ops = {.poll = poll_ready};

static void step_tasks(struct measure *measure, struct tocsin_context *cx)
{
    for (size_t i = 0; i < BATCH; i++) {
        must(tocsin_task_spawn(cx->driver, &measure->tasks[i], &ready_ops, ""), "spawn");
    }
}

static void step_nothing(struct measure *measure, struct tocsin_context *cx)
{
    (void)cx;
    measure->done++;
}

/* The least code for post: a linked list of malloc'ed callbacks. */
struct raw_post {
    struct raw_post *next;
    void (*fn)(void *arg, int status);
    void *arg;
};

static uint64_t raw_posts(uint64_t count, bool use_malloc)
{
    struct raw_post *own = calloc(BATCH, sizeof(*own));
    uint64_t done = 0;
    uint64_t start_ns = now_ns();

    must(own == NULL ? -ENOMEM : 0, "calloc");
    for (uint64_t round = 0; round < count; round++) {
        struct raw_post *head = NULL;
        struct raw_post **tail = &head;

        for (size_t i = 0; i < BATCH; i++) {
            struct raw_post *post = use_malloc ? malloc(sizeof(*post)) : &own[i];

            must(post == NULL ? -ENOMEM : 0, "malloc");
            *post = (struct raw_post){NULL, count_post, &done};
            *tail = post;
            tail = &post->next;
        }
        while (head != NULL) {
            struct raw_post *post = head;

            head = post->next;
            post->fn(post->arg, 0);
            if (use_malloc) {
                free(post);
            }
        }
    }
    start_ns = now_ns() - start_ns;
    free(own);
    return start_ns;
}

static uint64_t post_ours(uint64_t count)
{
    return run_steps(count / BATCH, step_posts);
}

static uint64_t post_raw(uint64_t count)
{
    return raw_posts(count / BATCH, true);
}

static uint64_t task_ours(uint64_t count)
{
    return run_steps(count / BATCH, step_tasks);
}

static uint64_t task_raw(uint64_t count)
{
    return raw_posts(count / BATCH, false);
}

static uint64_t yield_ours(uint64_t count)
{
    return run_steps(count, step_nothing);
}

/*
 * One side of a trip: a task that, woken, wakes the other's.  The first poll is that of the spawn.
 */
struct side {
    struct tocsin_task task;
    struct tocsin_waker peer;
    uint64_t left;
};

static int poll_side(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct side *side = (struct side *)(void *)task; /* its first member */

    (void)cx;
    if (side->peer.ops == NULL) {
        return TOCSIN_PENDING;
    }
    if (--side->left == 0) {
        tocsin_waker_wake(&side->peer);
        return 0;
    }
    tocsin_waker_wake_by_ref(&side->peer);
    return TOCSIN_PENDING;
}

static const struct tocsin_task_ops side_ops = {.poll = poll_side};

/* Give the first side its turn. */
static void start_side(void *arg, int status)
{
    struct side *sides = arg;

    (void)status;
    tocsin_waker_wake_by_ref(&sides[1].peer); /* that is the waker of sides[0] */
}

static uint64_t trip_ours(uint64_t count)
{
    struct tocsin_pool_thread *threads[2];
    struct tocsin_driver *drivers[2];
    struct side sides[2] = {{.left = count}, {.left = count}};
    uint64_t start_ns;

    for (size_t i = 0; i < 2; i++) {
        must(tocsin_pool_spawn_thread(&threads[i], &drivers[i], "bench", backend, NULL), "thread");
    }
    for (size_t i = 0; i < 2; i++) {
        must(tocsin_task_spawn_ref(drivers[i], &sides[i].task, &side_ops, "side"), "spawn");
    }
    /* Wait until both have had the poll of their spawn: then only wakes poll them. */
    while (tocsin_task_state(&sides[0].task) != TOCSIN_TASK_WAITING ||
           tocsin_task_state(&sides[1].task) != TOCSIN_TASK_WAITING) {
        sched_yield();
    }
    sides[0].peer = tocsin_task_waker(&sides[1].task);
    sides[1].peer = tocsin_task_waker(&sides[0].task);
    start_ns = now_ns();
    must(tocsin_post(drivers[0], start_side, sides), "tocsin_post");
    for (size_t i = 0; i < 2; i++) {
        must(tocsin_task_join(&sides[i].task, NULL), "tocsin_task_join");
    }
    start_ns = now_ns() - start_ns;
    for (size_t i = 0; i < 2; i++) {
        tocsin_task_unref(&sides[i].task);
        tocsin_driver_unref(drivers[i]);
        must(tocsin_pool_thread_join(threads[i]), "tocsin_pool_thread_join");
    }
    return start_ns;
}

struct raw_side {
    int epoll_fd;
    int own_fd;
    int peer_fd;
    uint64_t count;
};

static void *raw_trips(void *arg)
{
    const struct raw_side *side = arg;
    struct epoll_event event;
    uint64_t one = 1;

    for (uint64_t i = 0; i < side->count; i++) {
        while (epoll_wait(side->epoll_fd, &event, 1, -1) != 1) {
        }
        must(write(side->peer_fd, &one, sizeof(one)) < 0 ? -errno : 0, "write");
    }
    return NULL;
}

static uint64_t trip_raw(uint64_t count)
{
    struct raw_side sides[2];
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    pthread_t thread;
    uint64_t one = 1;
    uint64_t start_ns;

    for (size_t i = 0; i < 2; i++) {
        sides[i] = (struct raw_side){.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                                     .own_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                     .count = count};
        must(epoll_ctl(sides[i].epoll_fd, EPOLL_CTL_ADD, sides[i].own_fd, &event), "epoll_ctl");
    }
    sides[0].peer_fd = sides[1].own_fd;
    sides[1].peer_fd = sides[0].own_fd;
    start_ns = now_ns();
    must(-pthread_create(&thread, NULL, raw_trips, &sides[1]), "pthread_create");
    must(write(sides[0].own_fd, &one, sizeof(one)) < 0 ? -errno : 0, "write");
    raw_trips(&sides[0]);
    pthread_join(thread, NULL);
    start_ns = now_ns() - start_ns;
    for (size_t i = 0; i < 2; i++) {
        close(sides[i].epoll_fd);
        close(sides[i].own_fd);
    }
    return start_ns;
}

static uint64_t rearm_ours(uint64_t count)
{
    struct tocsin_timer *timers = calloc(TIMERS, sizeof(*timers));
    struct tocsin_pool *pool;
    uint64_t random = 42;
    uint64_t start_ns;

    must(timers == NULL ? -ENOMEM : 0, "calloc");
    must(tocsin_pool_open(&pool, backend, NULL), "tocsin_pool_open");
    start_ns = tocsin_pool_now_ns(pool) + UINT64_C(10000000000);
    for (size_t i = 0; i < TIMERS; i++) {
        must(tocsin_timer_init(&timers[i], tocsin_pool_driver(pool), NULL, NULL), "timer_init");
        tocsin_timer_arm(&timers[i], start_ns + i * 1000);
    }
    start_ns = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        tocsin_timer_arm(&timers[(random >> 33) % TIMERS],
                         start_ns + UINT64_C(10000000000) + (random >> 40));
    }
    start_ns = now_ns() - start_ns;
    for (size_t i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    must(tocsin_pool_close(pool), "tocsin_pool_close");
    free(timers);
    return start_ns;
}

struct question {
    const char *name;
    uint64_t count;
    uint64_t (*ours)(uint64_t count);
    uint64_t (*raw)(uint64_t count); /* NULL: none */
};

static const struct question questions[] = {
    {"post", 1000000, post_ours, post_raw}, {"task", 1000000, task_ours, task_raw},
    {"yield", 2000000, yield_ours, NULL},   {"trip", 20000, trip_ours, trip_raw},
    {"rearm", 1000000, rearm_ours, NULL},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

static void ask(const struct question *question, size_t rounds, bool quick, bool json)
{
    uint64_t count = quick ? question->count / 10 : question->count;
    double ours[ROUNDS];
    double raw[ROUNDS] = {0};
    double ratios[ROUNDS] = {0};
    double ours_median;

    question->ours(count);
    for (size_t i = 0; i < rounds; i++) {
        bool raw_first = i % 2 == 1;

        if (question->raw != NULL && raw_first) {
            raw[i] = (double)question->raw(count) / (double)count;
        }
        ours[i] = (double)question->ours(count) / (double)count;
        if (question->raw != NULL && !raw_first) {
            raw[i] = (double)question->raw(count) / (double)count;
        }
        ratios[i] = question->raw != NULL ? ours[i] / raw[i] : 0;
    }
    ours_median = median_of(ours, rounds);
    if (json) {
        printf("{\"question\": \"%s\", \"ns_median\": %.1f, \"ns_p99\": %.1f, \"raw_ns_median\": "
               "%.1f, \"ratio_median\": %.2f}\n",
               question->name, ours_median, ours[rounds - 1], median_of(raw, rounds),
               median_of(ratios, rounds));
    } else if (question->raw == NULL) {
        printf("| %s | %.1f | %.1f | - | - |\n", question->name, ours_median, ours[rounds - 1]);
    } else {
        printf("| %s | %.1f | %.1f | %.1f | %.2f |\n", question->name, ours_median,
               ours[rounds - 1], median_of(raw, rounds), median_of(ratios, rounds));
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct utsname system;
    bool json = false;
    bool quick = false;

    backend = tocsin_backend_default();
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--backend=", 10) == 0) {
            backend = tocsin_backend_find(argv[i] + 10);
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else {
            fprintf(stderr, "usage: core [--backend=NAME] [--json] [--quick]\n");
            return 2;
        }
    }
    if (backend == NULL) {
        fprintf(stderr, "core: no such backend\n");
        return 2;
    }
    uname(&system);
    if (!json) {
        printf("Backend %s, %s %s.  Nanoseconds each.\n\n", backend->ops->name, system.sysname,
               system.release);
        printf("| question | median | p99 | raw | ratio |\n| --- | --- | --- | --- | --- |\n");
    }
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        ask(&questions[i], quick ? ROUNDS_QUICK : ROUNDS, quick, json);
    }
    return 0;
}
