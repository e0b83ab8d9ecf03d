/*
 * Memory that is not to be had: each public function that allocates, with the n-th allocation
 * failing, for every n.  What fails leaves nothing behind; and what is not to allocate does not.
 */
#include <errno.h>

#include "probe.h"

static int open_and_close(struct conform *t, void *arg)
{
    struct tocsin_pool *pool = (struct tocsin_pool *)arg;
    int r = conform_pool_open(t, NULL, &pool);

    if (r < 0) {
        CHECK(t, pool == (struct tocsin_pool *)arg);
        return r;
    }
    CHECK_EQ(t, tocsin_pool_close(pool), 0);
    return r;
}

static void pool_open_without_memory(struct conform *t)
{
    conform_each_alloc_fails(t, open_and_close, t);
}

static int spawn_thread_and_join(struct conform *t, void *arg)
{
    struct tocsin_pool_options options = conform_options(t);
    struct tocsin_pool_thread *thread = arg;
    struct tocsin_driver *driver = arg;
    int r = tocsin_pool_spawn_thread(&thread, &driver, NULL, t->backend, &options);

    if (r < 0) {
        CHECK(t, thread == arg && driver == arg);
        return r;
    }
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_thread_join(thread), 0);
    return r;
}

static void spawn_thread_without_memory(struct conform *t)
{
    conform_each_alloc_fails(t, spawn_thread_and_join, t);
}

enum {
    CROWD = 300, /* more than any reserve that a pool may keep */
};

/* Tasks until one fails; those that were spawned run. */
struct crowd {
    struct tocsin_pool *pool;
    struct conform_task tasks[CROWD];
    bool elsewhere;
    int result;
};

static void spawn_crowd(struct conform *t, void *arg)
{
    struct crowd *crowd = arg;

    crowd->result = 0;
    for (int i = 0; i < CROWD && crowd->result == 0; i++) {
        crowd->tasks[i] = (struct conform_task){.t = t, .poll = conform_poll_ready};
        crowd->result = tocsin_task_spawn(tocsin_pool_driver(crowd->pool), &crowd->tasks[i].task,
                                          &conform_task_ops, "crowd");
        conform_set(&crowd->tasks[i].flag, crowd->result == 0);
    }
}

static int spawn_and_run(struct conform *t, void *arg)
{
    struct crowd *crowd = arg;
    int r = conform_pool_open(t, NULL, &crowd->pool);

    for (int i = 0; i < CROWD; i++) {
        crowd->tasks[i] = (struct conform_task){0};
    }
    if (r < 0) {
        return r;
    }
    if (crowd->elsewhere) {
        conform_elsewhere(t, spawn_crowd, crowd);
    } else {
        spawn_crowd(t, crowd);
    }
    r = tocsin_pool_run(crowd->pool);
    CHECK_EQ(t, r, 0);
    conform_pool_close(t, crowd->pool);
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ(t, conform_read(&crowd->tasks[i].polls), conform_read(&crowd->tasks[i].flag));
        CHECK_EQ(t, conform_read(&crowd->tasks[i].drops), conform_read(&crowd->tasks[i].flag));
        CHECK_EQ(t, conform_read(&crowd->tasks[i].releases), conform_read(&crowd->tasks[i].flag));
    }
    return crowd->result;
}

static void spawn_without_memory(struct conform *t)
{
    static struct crowd crowd;

    conform_each_alloc_fails(t, spawn_and_run, &crowd);
}

static void spawn_elsewhere_without_memory(struct conform *t)
{
    static struct crowd crowd = {.elsewhere = true};

    conform_each_alloc_fails(t, spawn_and_run, &crowd);
}

struct posts {
    struct conform *t;
    unsigned calls;
};

static void posted(void *arg, int status)
{
    struct posts *posts = arg;

    CHECK_EQ(posts->t, status, 0);
    posts->calls++;
}

static int post_and_run(struct conform *t, void *arg)
{
    struct posts posts = {.t = t};
    struct tocsin_pool *pool;
    unsigned queued = 0;
    int r = conform_pool_open(t, NULL, &pool);

    (void)arg;
    if (r < 0) {
        return r;
    }
    while (r == 0 && queued < 10) {
        r = tocsin_post(tocsin_pool_driver(pool), posted, &posts);
        queued += r == 0;
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, posts.calls, queued);
    conform_pool_close(t, pool);
    return r;
}

static void post_without_memory(struct conform *t)
{
    conform_each_alloc_fails(t, post_and_run, NULL);
}

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static int init_timers_and_run(struct conform *t, void *arg)
{
    static struct tocsin_timer timers[CROWD];
    struct tocsin_pool *pool;
    unsigned fired = 0;
    int inited = 0;
    int r = conform_pool_open(t, NULL, &pool);

    (void)arg;
    if (r < 0) {
        return r;
    }
    while (r == 0 && inited < CROWD) {
        r = tocsin_timer_init(&timers[inited], tocsin_pool_driver(pool), note_fired, &fired);
        inited += r == 0;
    }
    for (int i = 0; i < inited; i++) {
        tocsin_timer_arm(&timers[i], 1);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, fired, inited);
    for (int i = 0; i < inited; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    conform_pool_close(t, pool);
    return r;
}

static void timer_init_without_memory(struct conform *t)
{
    conform_each_alloc_fails(t, init_timers_and_run, NULL);
}

enum {
    OBJECTS = 40,
};

/* Sources that stay open over all rounds, so that only the pool allocates. */
static int open_objects(struct conform *t, void *arg)
{
    struct conform_source *sources = arg;
    struct tocsin_fd_ready *readies[OBJECTS];
    struct probe probe = {0};
    struct tocsin_pool *pool;
    int opened = 0;
    int failed = 0;
    int r = conform_pool_open(t, NULL, &pool);

    if (r < 0) {
        return r;
    }
    while (r == 0 && opened < OBJECTS) {
        r = conform_source_watch(tocsin_pool_driver(pool), &sources[opened], &readies[opened]);
        opened += r == 0;
    }
    probe_turns(t, pool);
    for (int i = 0; i < opened; i++) {
        int polled = probe_poll(pool, readies[i], TOCSIN_SLOT_READ, TOCSIN_IN, &probe);

        /* Where attaching is put off its failure comes here. */
        CHECK(t, polled == TOCSIN_PENDING || polled == -ENOMEM);
        failed = polled == -ENOMEM ? polled : failed;
    }
    for (int i = 0; i < opened; i++) {
        CHECK_EQ(t, tocsin_fd_ready_close(readies[i]), 0);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, probe_references(&probe), 0);
    conform_pool_close(t, pool);
    return r < 0 ? r : failed;
}

static void ready_open_without_memory(struct conform *t)
{
    struct conform_source sources[OBJECTS];

    for (int i = 0; i < OBJECTS; i++) {
        conform_source_open(t, &sources[i]);
    }
    conform_each_alloc_fails(t, open_objects, sources);
    for (int i = 0; i < OBJECTS; i++) {
        conform_source_close(t, &sources[i]);
    }
}

/* ---- What does not allocate ------------------------------------------------------------------ */

struct worker {
    struct conform_task task;
    struct tocsin_timer timer;
    struct tocsin_timer callback;
    struct conform_source source;
    struct tocsin_fd_ready *ready;
    unsigned fired;
};

/* Wakes, timers of both faces, readiness and joins, round after round. */
static int poll_works(struct conform_task *task, struct tocsin_context *cx)
{
    struct worker *worker = (struct worker *)task;
    unsigned round = conform_read(&task->polls);
    struct tocsin_waker clone;

    (void)tocsin_timer_poll(&worker->timer, cx, tocsin_driver_now_ns(cx->driver) + 1000);
    tocsin_timer_arm(&worker->callback, 1);
    if (round % 2 == 0) {
        conform_source_signal(&worker->source);
    } else {
        conform_source_take(&worker->source);
        tocsin_fd_ready_clear(worker->ready, TOCSIN_SLOT_READ);
    }
    (void)tocsin_fd_ready_poll(worker->ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);
    clone = tocsin_waker_clone(&cx->waker);
    tocsin_waker_wake(&clone);
    return round == 2000 ? 0 : TOCSIN_PENDING;
}

static void running_allocates_nothing(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct worker worker = {0};
    unsigned allocations;

    conform_source_open(t, &worker.source);
    REQUIRE(t, conform_source_watch(driver, &worker.source, &worker.ready) == 0);
    REQUIRE(t, tocsin_timer_init(&worker.timer, driver, NULL, NULL) == 0);
    REQUIRE(t, tocsin_timer_init(&worker.callback, driver, note_fired, &worker.fired) == 0);
    conform_spawn(t, driver, &worker.task, poll_works, NULL);
    probe_turns(t, pool);
    allocations = conform_read(&t->allocations);
    conform_fail_alloc(t, 1, true);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_fail_alloc(t, 0, false);
    CHECK_EQ(t, conform_read(&t->allocations), allocations);
    CHECK(t, worker.fired > 0);
    tocsin_timer_deinit(&worker.timer);
    tocsin_timer_deinit(&worker.callback);
    CHECK_EQ(t, tocsin_fd_ready_close(worker.ready), 0);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &worker.task); /* the last event may not have come: the slot then has its waker */
    conform_source_close(t, &worker.source);
}

CONFORM_CASES(
    oom,
    CASE(pool_open_without_memory, "11", "Each allocation of tocsin_pool_open() fails in turn.", 0),
    CASE(spawn_thread_without_memory, "11", "Each of tocsin_pool_spawn_thread().",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(spawn_without_memory, "11", "Each that 300 spawns make; what was spawned runs.", 0),
    CASE(spawn_elsewhere_without_memory, "11", "The same from another thread.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(post_without_memory, "11", "Each that ten posts make; what was posted runs.", 0),
    CASE(timer_init_without_memory, "11", "Each that 300 timers make; those that are there fire.",
         0),
    CASE(ready_open_without_memory, "11", "Each that 40 readiness objects make.", CONFORM_SOURCES),
    CASE(running_allocates_nothing, "11", "Wakes, timers and readiness allocate nothing.",
         CONFORM_SOURCES));
