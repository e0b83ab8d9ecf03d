/*
 * Fork, design 4.6: the child's copy of a pool is dead, the parent's is untouched.
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define HOUR_NS UINT64_C(3600000000000)

/* A pool with one of everything. */
struct scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct conform_task task;
    struct tocsin_waker waker;
    struct tocsin_join join;
    struct tocsin_timer timer;
    struct conform_source source;
    struct tocsin_fd_ready *ready;
    struct probe probe;
    struct forking *forking;
};

static void never_posted(void *arg, int status)
{
    (void)status;
    CHECK((struct conform *)arg, false && "posted in a child");
}

static void scene_open(struct conform *t, struct scene *scene)
{
    struct tocsin_context cx;

    *scene = (struct scene){.pool = conform_pool(t)};
    scene->driver = tocsin_driver_ref(tocsin_pool_driver(scene->pool));
    cx = probe_context(&scene->probe, scene->pool);
    conform_spawn_ref(t, scene->driver, &scene->task, conform_poll_flag, NULL);
    scene->waker = tocsin_task_waker(&scene->task.task);
    tocsin_join_init(&scene->join, &scene->task.task);
    CHECK_EQ(t, tocsin_join_poll(&scene->join, &cx, NULL), TOCSIN_PENDING);
    REQUIRE(t, tocsin_timer_init(&scene->timer, scene->driver, NULL, NULL) == 0);
    CHECK_EQ(t, tocsin_timer_poll(&scene->timer, &cx, tocsin_pool_now_ns(scene->pool) + HOUR_NS),
             TOCSIN_PENDING);
    conform_source_open(t, &scene->source);
    REQUIRE(t, conform_source_watch(scene->driver, &scene->source, &scene->ready) == 0);
    CHECK_EQ(t, probe_poll(scene->pool, scene->ready, TOCSIN_SLOT_READ, TOCSIN_IN, &scene->probe),
             TOCSIN_PENDING);
    probe_turns(t, scene->pool);
}

/* The parent's side, after its child has ended: everything still works. */
static void scene_works_on_and_closes(struct conform *t, struct scene *scene)
{
    unsigned wakes = probe_wakes(&scene->probe);
    int result = 0;

    CHECK_EQ(t, wakes, 0);
    probe_turns(t, scene->pool);
    CHECK_EQ(t, probe_wakes(&scene->probe), 0);
    conform_source_signal(&scene->source);
    probe_turns(t, scene->pool);
    CHECK_EQ(t, probe_wakes(&scene->probe), 1);
    CHECK(t, tocsin_timer_disarm(&scene->timer));
    conform_set(&scene->task.flag, 6);
    tocsin_waker_wake(&scene->waker);
    CHECK_EQ(t, tocsin_pool_run_until(scene->pool, &scene->task.task, &result), 0);
    CHECK_EQ(t, result, 6);
    CHECK_EQ(t, probe_wakes(&scene->probe), 2);
    tocsin_join_deinit(&scene->join);
    tocsin_task_unref(&scene->task.task);
    tocsin_timer_deinit(&scene->timer);
    CHECK_EQ(t, tocsin_fd_ready_close(scene->ready), 0);
    tocsin_driver_unref(scene->driver);
    CHECK_EQ(t, tocsin_pool_run(scene->pool), 0);
    conform_pool_close(t, scene->pool);
    conform_source_close(t, &scene->source);
    CHECK_GONE(t, &scene->task);
    CHECK_EQ(t, probe_references(&scene->probe), 0);
}

static void child_is_refused(struct conform *t, void *arg)
{
    struct scene *scene = arg;
    struct tocsin_context cx = probe_context(&scene->probe, scene->pool);
    struct conform_task task = {.t = t, .poll = conform_poll_ready};
    struct tocsin_fd_ready *ready = NULL;
    struct tocsin_timer timer;

    CHECK_EQ(t, tocsin_pool_run(scene->pool), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_pool_turn(scene->pool), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_pool_run_until(scene->pool, &scene->task.task, NULL), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_pool_poll_fd(scene->pool), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_task_spawn(scene->driver, &task.task, &conform_task_ops, "child's"),
             -EOWNERDEAD);
    CHECK_EQ(t, tocsin_post(scene->driver, never_posted, t), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_task_list(scene->driver, NULL, 0), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_task_cancel(&scene->task.task), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_task_join(&scene->task.task, NULL), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_timer_init(&timer, scene->driver, NULL, NULL), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_timer_poll(&scene->timer, &cx, 0), -EOWNERDEAD);
    CHECK_EQ(t, conform_source_watch(scene->driver, &scene->source, &ready), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_fd_ready_poll(scene->ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), -EOWNERDEAD);
    CHECK(t, ready == NULL);
}

static void forked_child_is_refused(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_in_child(t, child_is_refused, &scene);
    scene_works_on_and_closes(t, &scene);
}

static void child_does_nothing(struct conform *t, void *arg)
{
    const struct tocsin_timer_options options = {.delay_ns = 1};
    struct scene *scene = arg;
    unsigned kicks = conform_read(&t->counts.kicks);

    tocsin_waker_wake_by_ref(&scene->waker);
    tocsin_pool_stop(scene->pool);
    tocsin_timer_move(&scene->timer, 1);
    tocsin_timer_arm(&scene->timer, 1);
    tocsin_timer_start(&scene->timer, &options);
    tocsin_fd_ready_clear(scene->ready, TOCSIN_SLOT_READ);
    CHECK_EQ(t, conform_read(&t->counts.kicks), kicks);
    CHECK_EQ(t, probe_wakes(&scene->probe), 0);
    CHECK_EQ(t, conform_read(&scene->task.drops), 0);
}

static void forked_child_does_nothing(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_in_child(t, child_does_nothing, &scene);
    scene_works_on_and_closes(t, &scene);
}

static void child_closes(struct conform *t, void *arg)
{
    struct scene *scene = arg;
    unsigned detaches = conform_read(&t->counts.detaches);
    unsigned kicks = conform_read(&t->counts.kicks);

    CHECK_EQ(t, tocsin_fd_ready_close(scene->ready), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_pool_close(scene->pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.detaches), detaches);
    CHECK_EQ(t, conform_read(&t->counts.kicks), kicks);
    CHECK_EQ(t, conform_read(&scene->task.polls), 1);
    CHECK_EQ(t, conform_read(&scene->task.drops), 0);
    CHECK_EQ(t, conform_read(&scene->task.releases), 0);
    CHECK_EQ(t, probe_wakes(&scene->probe), 0);
}

static void close_in_a_forked_child_spares_the_parent(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_in_child(t, child_closes, &scene);
    scene_works_on_and_closes(t, &scene);
}

/* The numbers that the child's close frees are the child's own. */
static void child_closes_descriptors(struct conform *t, void *arg)
{
    enum { NUMBERS_MAX = 64 };
    unsigned before = 0;
    unsigned after = 0;

    for (int fd = 0; fd < NUMBERS_MAX; fd++) {
        before += dup2(fd, fd) == fd;
    }
    CHECK_EQ(t, tocsin_pool_close(arg), 0);
    for (int fd = 0; fd < NUMBERS_MAX; fd++) {
        after += dup2(fd, fd) == fd;
    }
    /* A backend without descriptors of its own closes none. */
    CHECK(t, (t->features & TOCSIN_BACKEND_DESCRIPTORS) == 0 ? after == before : after < before);
}

static void close_in_a_forked_child_closes_descriptors(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    conform_in_child(t, child_closes_descriptors, pool);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void child_opens_its_own(struct conform *t, void *arg)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct tocsin_timer timer;

    (void)arg;
    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    tocsin_timer_arm(&timer, tocsin_pool_now_ns(pool) + 1000000);
    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

static void forked_child_opens_pools_of_its_own(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_in_child(t, child_opens_its_own, &scene);
    scene_works_on_and_closes(t, &scene);
}

static int poll_forks(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_in_child(task->t, child_is_refused, task->arg);
    return 0;
}

static void fork_inside_a_poll_is_a_fork(struct conform *t)
{
    struct conform_task task = {0};
    struct scene scene;

    scene_open(t, &scene);
    conform_spawn_ref(t, scene.driver, &task, poll_forks, &scene);
    CHECK_EQ(t, tocsin_pool_run_until(scene.pool, &task.task, NULL), 0);
    tocsin_task_unref(&task.task);
    scene_works_on_and_closes(t, &scene);
    CHECK_GONE(t, &task);
}

/* ---- A callback that forks, and whose child goes on ------------------------------------------ */

/* Two callbacks that are due in one turn; the first forks, and the second is left to the child. */
struct forking {
    struct conform *t;
    struct tocsin_timer timers[2];
    struct tocsin_watch watches[2];
    struct conform_source sources[2];
    pid_t pid; /* of the child, and in it 0 */
    unsigned calls;
    unsigned arms; /* that the backend had seen at the fork */
};

static void forking_call(struct forking *forking)
{
    struct conform *t = forking->t;

    if (++forking->calls > 1) {
        CHECK(t, forking->pid > 0); /* never in the child */
        return;
    }
    forking->arms = conform_read(&t->counts.arms);
    forking->pid = fork();
    REQUIRE(t, forking->pid >= 0);
    if (forking->pid == 0) {
        conform_set(&t->failures, 0);
    }
}

/* Parent and child have both come out of the run, with @r. */
static void forking_check(struct forking *forking, int r)
{
    struct conform *t = forking->t;
    int status = 0;

    if (forking->pid == 0) {
        CHECK_EQ(t, r, -EOWNERDEAD);
        CHECK_EQ(t, forking->calls, 1);
        CHECK_EQ(t, conform_read(&t->counts.arms), forking->arms);
        _exit(conform_read(&t->failures) == 0 ? 0 : 1);
    }
    CHECK_EQ(t, r, 0);
    CHECK_EQ(t, forking->calls, 2);
    REQUIRE(t, waitpid(forking->pid, &status, 0) == forking->pid);
    CHECK_EQ(t, status, 0);
}

static void timer_forks(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    forking_call(arg);
}

static void fork_inside_a_timers_callback_ends_the_childs_run(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct forking forking = {.t = t};

    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(t, tocsin_timer_init(&forking.timers[i], tocsin_pool_driver(pool), timer_forks,
                                     &forking) == 0);
        tocsin_timer_arm(&forking.timers[i], 1);
    }
    forking_check(&forking, tocsin_pool_run(pool));
    for (unsigned i = 0; i < 2; i++) {
        tocsin_timer_deinit(&forking.timers[i]);
    }
    conform_pool_close(t, pool);
}

static void close_it(struct conform *t, void *arg)
{
    struct scene *scene = arg;

    CHECK_EQ(t, tocsin_fd_ready_close(scene->ready), 0);
}

/* Has an object closed elsewhere, and forks: what that left to be freed is the parent's. */
static void timer_has_one_closed_and_forks(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct scene *scene = arg;
    struct forking *forking = scene->forking;

    (void)timer;
    (void)missed;
    conform_elsewhere(forking->t, close_it, scene);
    forking_call(forking);
    if (forking->pid > 0) {
        forking->calls++;
    }
}

static void fork_inside_a_timers_callback_frees_nothing(struct conform *t)
{
    struct forking forking = {.t = t};
    struct scene scene = {.pool = conform_pool(t), .forking = &forking};
    int r;

    scene.driver = tocsin_pool_driver(scene.pool);
    conform_source_open(t, &scene.source);
    REQUIRE(t, conform_source_watch(scene.driver, &scene.source, &scene.ready) == 0);
    CHECK_EQ(t, probe_poll(scene.pool, scene.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &scene.probe),
             TOCSIN_PENDING);
    probe_turns(t, scene.pool);
    REQUIRE(t, tocsin_timer_init(&scene.timer, scene.driver, timer_has_one_closed_and_forks,
                                 &scene) == 0);
    tocsin_timer_arm(&scene.timer, 1);
    r = tocsin_pool_run(scene.pool);
    CHECK_EQ(t, probe_references(&scene.probe), forking.pid == 0 ? 1 : 0);
    forking_check(&forking, r);
    tocsin_timer_deinit(&scene.timer);
    conform_pool_close(t, scene.pool);
    conform_source_close(t, &scene.source);
}

static void watch_forks(struct tocsin_watch *watch, int events, void *arg)
{
    struct forking *forking = arg;

    CHECK_EQ(forking->t, events, TOCSIN_IN);
    forking_call(forking);
    if (forking->pid > 0) {
        CHECK_EQ(forking->t, tocsin_watch_stop(watch), 0);
    }
}

static void fork_inside_a_watchs_callback_ends_the_childs_run(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct forking forking = {.t = t};

    for (unsigned i = 0; i < 2; i++) {
        conform_source_open(t, &forking.sources[i]);
        REQUIRE(t, conform_source_watch_start(&forking.watches[i], tocsin_pool_driver(pool),
                                              &forking.sources[i], TOCSIN_IN, watch_forks,
                                              &forking) == 0);
        conform_source_signal(&forking.sources[i]);
    }
    forking_check(&forking, tocsin_pool_run(pool));
    conform_pool_close(t, pool);
    for (unsigned i = 0; i < 2; i++) {
        conform_source_close(t, &forking.sources[i]);
    }
}

CONFORM_CASES(fork,
              CASE(forked_child_is_refused, "4.6",
                   "In a child functions that return int say -EOWNERDEAD.", CONFORM_SOURCES),
              CASE(forked_child_does_nothing, "4.6", "In a child void functions do nothing.",
                   CONFORM_SOURCES),
              CASE(close_in_a_forked_child_spares_the_parent, "4.6",
                   "A close in the child drops nothing, and the parent works on.", CONFORM_SOURCES),
              CASE(close_in_a_forked_child_closes_descriptors, "4.6",
                   "A close in the child closes the child's descriptors.", 0),
              CASE(forked_child_opens_pools_of_its_own, "4.6", "A new pool in the child works.",
                   CONFORM_SOURCES),
              CASE(fork_inside_a_poll_is_a_fork, "4.6", "The same from inside a poll.",
                   CONFORM_SOURCES),
              CASE(fork_inside_a_timers_callback_ends_the_childs_run, "4.6",
                   "A child made in a timer's callback calls no other that is due.", 0),
              CASE(fork_inside_a_timers_callback_frees_nothing, "4.6",
                   "A child made in a timer's callback leaves alone what was closed before.",
                   CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(fork_inside_a_watchs_callback_ends_the_childs_run, "4.6",
                   "A child made in a watch's callback calls no other, and arms nothing.",
                   CONFORM_SOURCES));
