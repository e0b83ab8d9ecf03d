/*
 * A pool that lives in a program's own uv_loop_t: turns, what keeps the loop going, the end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/uv/home.h"
#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)

struct scene {
    uv_loop_t loop;
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
};

static struct tocsin_pool *open_in(uv_loop_t *loop, const struct tocsin_pool_options *options)
{
    struct tocsin_backend backend = tocsin_uv_backend(loop);
    struct tocsin_pool *pool = NULL;

    assert_int_equal(tocsin_pool_open(&pool, &backend, options), 0);
    return pool;
}

static void scene_open_with(struct scene *scene, const struct tocsin_pool_options *options)
{
    assert_int_equal(uv_loop_init(&scene->loop), 0);
    scene->pool = open_in(&scene->loop, options);
    scene->driver = tocsin_pool_driver(scene->pool);
    assert_int_equal(tocsin_uv_host(scene->pool), 0);
}

static void scene_open(struct scene *scene)
{
    scene_open_with(scene, NULL);
}

/* Returns: what uv_run() returned: are there handles that keep it going? */
static int run(struct scene *scene)
{
    return uv_run(&scene->loop, UV_RUN_DEFAULT);
}

static void scene_close(struct scene *scene)
{
    assert_int_equal(tocsin_pool_close(scene->pool), 0);
    assert_int_equal(run(scene), 0);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
}

static void count(void *arg, int status)
{
    (void)status;
    ++*(unsigned *)arg;
}

static void count_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static void read_and_stop(struct tocsin_watch *watch, int events, void *arg)
{
    char byte;

    UNIT_CHECK((events & TOCSIN_IN) != 0);
    UNIT_CHECK(read(*(int *)arg, &byte, 1) == 1);
    *(int *)arg = -1;
    UNIT_CHECK(tocsin_watch_stop(watch) == 0);
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void count_iteration(uv_prepare_t *prepare)
{
    ++*(unsigned *)prepare->data;
}

static void stop_loop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* How often @loop goes round until a timer of its own ends it, @delay_ms from now. */
static unsigned iterations(uv_loop_t *loop, uint64_t delay_ms)
{
    uv_prepare_t prepare;
    uv_timer_t timer;
    unsigned rounds = 0;

    uv_prepare_init(loop, &prepare);
    prepare.data = &rounds;
    uv_prepare_start(&prepare, count_iteration);
    uv_timer_init(loop, &timer);
    uv_update_time(loop);
    uv_timer_start(&timer, stop_loop, delay_ms, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return rounds;
}

static void what_was_sent_before_the_loop_runs_is_not_lost(void **state)
{
    struct scene scene;
    unsigned calls = 0;

    (void)state;
    assert_int_equal(uv_loop_init(&scene.loop), 0);
    scene.pool = open_in(&scene.loop, NULL);
    scene.driver = tocsin_pool_driver(scene.pool);
    assert_int_equal(tocsin_post(scene.driver, count, &calls), 0);
    assert_int_equal(tocsin_uv_host(scene.pool), 0);
    assert_int_equal(tocsin_uv_host(scene.pool), 0);
    assert_int_equal(tocsin_post(scene.driver, count, &calls), 0);
    assert_int_equal(calls, 0); /* hosting runs nothing by itself */
    assert_int_equal(run(&scene), 0);
    assert_int_equal(calls, 2);
    scene_close(&scene);
}

static void timers_and_watches_keep_the_loop_going_until_they_are_over(void **state)
{
    struct tocsin_timer_options options = {.delay_ns = 3 * MS + 1};
    struct tocsin_watch watch = {.ready_ = NULL};
    struct tocsin_timer timer;
    struct scene scene;
    uint64_t start_ns;
    unsigned fired = 0;
    int watched;
    int fds[2];

    (void)state;
    pair(fds);
    watched = fds[0];
    scene_open(&scene);
    assert_int_equal(tocsin_timer_init(&timer, scene.driver, count_timer, &fired), 0);
    start_ns = tocsin_driver_now_ns(scene.driver);
    tocsin_timer_start(&timer, &options);
    assert_int_equal(
        tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, read_and_stop, &watched), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(fired, 1);
    assert_int_equal(watched, -1);
    assert_true(tocsin_driver_now_ns(scene.driver) - start_ns >= options.delay_ns);
    tocsin_timer_deinit(&timer);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
}

static void a_counted_driver_keeps_the_loop_going(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(run(&scene), 0);
    tocsin_driver_ref(scene.driver);
    assert_int_equal(tocsin_uv_host(scene.pool), 0); /* hosted already: it asks for a turn */
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1);
    tocsin_driver_unref(scene.driver);
    assert_int_equal(run(&scene), 0);
    scene_close(&scene);
}

struct last_act {
    struct scene *scene;
    unsigned calls;
};

static void post_and_close(uv_timer_t *timer)
{
    struct last_act *act = timer->data;

    UNIT_CHECK(tocsin_post(act->scene->driver, count, &act->calls) == 0);
    uv_close((uv_handle_t *)timer, NULL);
}

/* The pool was dead, and the handle that sent was the last one of the loop. */
static void what_a_callback_of_the_loop_sends_is_run_before_the_loop_ends(void **state)
{
    struct scene scene;
    struct last_act act = {.scene = &scene};
    uv_timer_t timer;

    (void)state;
    scene_open(&scene);
    assert_int_equal(run(&scene), 0);
    uv_timer_init(&scene.loop, &timer);
    timer.data = &act;
    uv_timer_start(&timer, post_and_close, 1, 0);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(act.calls, 1);
    scene_close(&scene);
}

static void a_stop_keeps_no_loop_going(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    tocsin_pool_stop(scene.pool);
    assert_int_equal(run(&scene), 0);
    tocsin_pool_stop(scene.pool);
    assert_int_equal(run(&scene), 0);
    scene_close(&scene);
}

static int wait_for_ever(struct unit_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return TOCSIN_PENDING;
}

static void never(struct tocsin_watch *watch, int events, void *arg)
{
    (void)watch;
    (void)events;
    (void)arg;
    UNIT_CHECK(false);
}

/* No busy polling: with a task, a watch and a timer that all wait, the loop sleeps. */
static void an_idle_pool_lets_the_loop_sleep(void **state)
{
    struct tocsin_timer_options options = {.delay_ns = 3600 * 1000 * MS};
    struct unit_task task = {.poll = wait_for_ever};
    struct tocsin_watch watch = {.ready_ = NULL};
    struct tocsin_timer timer;
    struct scene scene;
    unsigned fired = 0;
    int fds[2];

    (void)state;
    pair(fds);
    scene_open(&scene);
    unit_task_spawn(&task, scene.driver, "idle");
    assert_int_equal(tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, never, NULL), 0);
    assert_int_equal(tocsin_timer_init(&timer, scene.driver, count_timer, &fired), 0);
    tocsin_timer_start(&timer, &options);
    iterations(&scene.loop, 5);
    assert_true(iterations(&scene.loop, 100) <= 4);
    assert_int_equal(unit_load(&task.polls), 1);
    tocsin_timer_deinit(&timer);
    assert_int_equal(tocsin_watch_stop(&watch), 0);
    scene_close(&scene);
    tocsin_task_unref(&task.task);
    close(fds[0]);
    close(fds[1]);
}

static int yield_for_ever(struct unit_task *task, struct tocsin_context *cx)
{
    (void)task;
    return tocsin_task_yield(cx);
}

/* The loop's timer ends the run, though the pool always has work; each round takes one turn. */
static void work_that_remains_lets_the_loops_handles_have_their_go(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 10, .clock_polls = 1000};
    struct unit_task task = {.poll = yield_for_ever};
    struct scene scene;
    unsigned rounds;

    (void)state;
    scene_open_with(&scene, &options);
    unit_task_spawn(&task, scene.driver, "yields");
    rounds = iterations(&scene.loop, 5);
    assert_true(rounds > 1);
    assert_true(unit_load(&task.polls) <= 10 * (rounds + 1));
    assert_true(unit_load(&task.polls) >= rounds - 1);
    scene_close(&scene);
    tocsin_task_unref(&task.task);
}

/* More timers are due than a turn's budget: the rest is the next round's, not this phase's. */
static void timers_that_are_due_let_the_loops_handles_have_their_go(void **state)
{
    enum { TIMERS = 50 };
    struct tocsin_pool_options options = {.budget_polls = 1, .clock_polls = 1};
    struct tocsin_timer timers[TIMERS];
    struct scene scene;
    unsigned fired = 0;

    (void)state;
    scene_open_with(&scene, &options);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(tocsin_timer_init(&timers[i], scene.driver, count_timer, &fired), 0);
        tocsin_timer_arm(&timers[i], tocsin_driver_now_ns(scene.driver) + 2 * MS);
    }
    assert_true(iterations(&scene.loop, 200) >= TIMERS);
    assert_int_equal(fired, TIMERS);
    for (size_t i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    scene_close(&scene);
}

static void a_hosted_pool_is_run_by_its_loop_alone(void **state)
{
    struct unit_task task = {.poll = wait_for_ever};
    struct tocsin_pool *own = open_in(NULL, NULL);
    struct tocsin_pool *other = NULL;
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(tocsin_pool_run(scene.pool), 0); /* nothing to wait for */
    unit_task_spawn(&task, scene.driver, "waits");
    assert_int_equal(tocsin_pool_run(scene.pool), -EDEADLK);
    assert_int_equal(tocsin_pool_poll_fd(scene.pool), -EOPNOTSUPP);
    assert_int_equal(tocsin_uv_host(own), -EINVAL);
    assert_int_equal(tocsin_pool_open(&other, tocsin_backend_find("epoll"), NULL), 0);
    assert_int_equal(tocsin_uv_host(other), -EINVAL);
    assert_int_equal(tocsin_pool_close(other), 0);
    assert_int_equal(tocsin_pool_close(own), 0);
    scene_close(&scene);
    tocsin_task_unref(&task.task);
}

static void closing_is_finished_by_the_loop(void **state)
{
    struct tocsin_watch watch = {.ready_ = NULL};
    struct scene scene;
    int fds[2];

    (void)state;
    pair(fds);
    scene_open(&scene);
    assert_int_equal(tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, never, NULL), 0);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1); /* the watch keeps it going */
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(tocsin_pool_close(scene.pool), 0);
    assert_int_equal(uv_loop_close(&scene.loop), UV_EBUSY);
    assert_int_equal(tocsin_watch_stop(&watch), 0);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(uv_loop_close(&scene.loop), 0);
    close(fds[0]);
    close(fds[1]);
}

struct closing {
    struct scene *scene;
    struct tocsin_pool *pool; /* the one to close */
    bool is_closed;
};

static void close_in_a_callback(uv_timer_t *timer)
{
    struct closing *closing = timer->data;

    UNIT_CHECK(tocsin_pool_close(closing->pool) == 0);
    closing->is_closed = true;
    uv_close((uv_handle_t *)timer, NULL);
}

static void close_in_a_turn(void *arg, int status)
{
    struct closing *closing = arg;

    UNIT_CHECK(status == 0);
    UNIT_CHECK(tocsin_pool_close(closing->scene->pool) == -EBUSY);
    UNIT_CHECK(tocsin_pool_close(closing->pool) == 0);
    closing->is_closed = true;
}

static void a_pool_is_closed_inside_a_callback_of_its_loop(void **state)
{
    struct unit_task task = {.poll = yield_for_ever};
    struct scene scene;
    struct closing closing = {.scene = &scene};
    uv_timer_t timer;

    (void)state;
    scene_open(&scene);
    closing.pool = open_in(&scene.loop, NULL);
    assert_int_equal(tocsin_uv_host(closing.pool), 0);
    assert_int_equal(tocsin_post(scene.driver, close_in_a_turn, &closing), 0);
    assert_int_equal(run(&scene), 0);
    assert_true(closing.is_closed);
    closing = (struct closing){.scene = &scene, .pool = scene.pool};
    unit_task_spawn(&task, scene.driver, "busy");
    uv_timer_init(&scene.loop, &timer);
    timer.data = &closing;
    uv_timer_start(&timer, close_in_a_callback, 1, 0);
    assert_int_equal(run(&scene), 0);
    assert_true(closing.is_closed);
    assert_int_equal(uv_loop_close(&scene.loop), 0);
    tocsin_task_unref(&task.task);
}

static void two_pools_live_in_one_loop(void **state)
{
    struct scene scene;
    struct tocsin_pool *second;
    unsigned calls = 0;

    (void)state;
    scene_open(&scene);
    second = open_in(&scene.loop, NULL);
    assert_int_equal(tocsin_uv_host(second), 0);
    assert_int_equal(tocsin_post(scene.driver, count, &calls), 0);
    assert_int_equal(tocsin_post(tocsin_pool_driver(second), count, &calls), 0);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(tocsin_pool_close(second), 0);
    assert_int_equal(tocsin_post(scene.driver, count, &calls), 0);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(calls, 3);
    scene_close(&scene);
}

static void on_theirs(uv_poll_t *poll, int status, int events)
{
    UNIT_CHECK(status == 0 && (events & UV_READABLE) != 0);
    ++*(unsigned *)poll->data;
    uv_poll_stop(poll);
}

/* libuv has one handle for each number; the pool's is another number. */
static void pool_and_program_watch_one_descriptor(void **state)
{
    struct tocsin_watch watch = {.ready_ = NULL};
    struct scene scene;
    uv_poll_t theirs;
    unsigned told = 0;
    int watched;
    int fds[2];

    (void)state;
    pair(fds);
    watched = fds[0];
    scene_open(&scene);
    assert_int_equal(
        tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, read_and_stop, &watched), 0);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(uv_poll_init(&scene.loop, &theirs, fds[0]), 0);
    theirs.data = &told;
    assert_int_equal(uv_poll_start(&theirs, UV_READABLE, on_theirs), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(run(&scene), 0);
    assert_int_equal(told, 1);
    assert_int_equal(watched, -1);
    uv_close((uv_handle_t *)&theirs, NULL);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
}

static unsigned epoll_instances(void)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    unsigned found = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        char target[64] = "";

        (void)!readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);
        found += strcmp(target, "anon_inode:[eventpoll]") == 0;
    }
    closedir(folder);
    return found;
}

static void the_pool_adds_no_epoll_instance(void **state)
{
    struct tocsin_watch watch = {.ready_ = NULL};
    unsigned before = epoll_instances();
    struct scene scene;
    int fds[2];

    (void)state;
    pair(fds);
    scene_open(&scene);
    assert_int_equal(tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, never, NULL), 0);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(epoll_instances(), before + 1);
    assert_int_equal(tocsin_watch_stop(&watch), 0);
    scene_close(&scene);
    assert_int_equal(epoll_instances(), before);
    close(fds[0]);
    close(fds[1]);
}

static int run_the_loop_inside(struct unit_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;

    (void)cx;
    UNIT_CHECK(uv_run(&scene->loop, UV_RUN_NOWAIT) != 0);
    return 0;
}

/* What a loop finds that is run inside a turn is another turn's. */
static void a_loop_inside_a_turn_loses_nothing(void **state)
{
    struct unit_task task = {.poll = run_the_loop_inside};
    struct tocsin_watch watch = {.ready_ = NULL};
    struct scene scene;
    int watched;
    int fds[2];

    (void)state;
    pair(fds);
    watched = fds[0];
    scene_open(&scene);
    task.arg = &scene;
    assert_int_equal(
        tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, read_and_stop, &watched), 0);
    assert_int_equal(uv_run(&scene.loop, UV_RUN_NOWAIT), 1); /* armed, and quiet */
    unit_task_spawn(&task, scene.driver, "nests");
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(tocsin_pool_turn(scene.pool), 1); /* its look comes before the loop's */
    assert_int_equal(run(&scene), 0);
    assert_int_equal(watched, -1);
    scene_close(&scene);
    tocsin_task_unref(&task.task);
    close(fds[0]);
    close(fds[1]);
}

static void run_elsewhere(void *arg)
{
    uv_run(arg, UV_RUN_DEFAULT);
}

static void run_on_another_thread(void *arg)
{
    struct scene scene;

    (void)arg;
    scene_open(&scene);
    UNIT_CHECK(tocsin_pool_turn(scene.pool) == 0);
    tocsin_pool_stop(scene.pool);
    support_elsewhere(run_elsewhere, &scene.loop);
}

static void the_loop_on_another_thread_is_a_bug(void **state)
{
    (void)state;
    unit_expect_abort(run_on_another_thread, NULL, "this function is for the pool's thread only");
}

struct forked {
    struct scene scene;
    struct tocsin_watch watch;
    int watched;
    int fds[2];
};

static void close_in_the_child(void *arg)
{
    struct forked *forked = arg;

    UNIT_CHECK(tocsin_uv_host(forked->scene.pool) == -EOWNERDEAD);
    tocsin_watch_stop(&forked->watch);
    UNIT_CHECK(tocsin_pool_close(forked->scene.pool) == 0);
}

/* The child makes the loop its own; then what the pool had in it goes. */
static void close_and_go_on_in_the_child(void *arg)
{
    struct forked *forked = arg;

    close_in_the_child(arg);
    UNIT_CHECK(uv_loop_fork(&forked->scene.loop) == 0);
    UNIT_CHECK(uv_run(&forked->scene.loop, UV_RUN_DEFAULT) == 0);
    UNIT_CHECK(uv_loop_close(&forked->scene.loop) == 0);
}

static void a_forked_child_leaves_the_parents_loop_alone(void **state)
{
    struct forked forked = {.watched = -1};

    (void)state;
    pair(forked.fds);
    forked.watched = forked.fds[0];
    scene_open(&forked.scene);
    assert_int_equal(tocsin_watch_start(&forked.watch, forked.scene.driver, forked.fds[0],
                                        TOCSIN_IN, read_and_stop, &forked.watched),
                     0);
    assert_int_equal(uv_run(&forked.scene.loop, UV_RUN_NOWAIT), 1);
    assert_int_equal(uv_run(&forked.scene.loop, UV_RUN_NOWAIT), 1); /* told to the kernel */
    unit_expect_return(close_in_the_child, &forked);
    unit_expect_return(close_and_go_on_in_the_child, &forked);
    assert_int_equal(write(forked.fds[1], "x", 1), 1);
    assert_int_equal(run(&forked.scene), 0);
    assert_int_equal(forked.watched, -1);
    scene_close(&forked.scene);
    close(forked.fds[0]);
    close(forked.fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sent_before_the_loop_runs_is_not_lost),
        cmocka_unit_test(timers_and_watches_keep_the_loop_going_until_they_are_over),
        cmocka_unit_test(a_counted_driver_keeps_the_loop_going),
        cmocka_unit_test(what_a_callback_of_the_loop_sends_is_run_before_the_loop_ends),
        cmocka_unit_test(a_stop_keeps_no_loop_going),
        cmocka_unit_test(an_idle_pool_lets_the_loop_sleep),
        cmocka_unit_test(work_that_remains_lets_the_loops_handles_have_their_go),
        cmocka_unit_test(timers_that_are_due_let_the_loops_handles_have_their_go),
        cmocka_unit_test(a_hosted_pool_is_run_by_its_loop_alone),
        cmocka_unit_test(closing_is_finished_by_the_loop),
        cmocka_unit_test(a_pool_is_closed_inside_a_callback_of_its_loop),
        cmocka_unit_test(two_pools_live_in_one_loop),
        cmocka_unit_test(pool_and_program_watch_one_descriptor),
        cmocka_unit_test(the_pool_adds_no_epoll_instance),
        cmocka_unit_test(a_loop_inside_a_turn_loses_nothing),
        cmocka_unit_test(the_loop_on_another_thread_is_a_bug),
        cmocka_unit_test(a_forked_child_leaves_the_parents_loop_alone),
    };

    return unit_run(__FILE__, tests, UNIT_COUNT(tests));
}
