/*
 * Runs: what keeps them going, what ends them, on which thread; stop, run_until, run_with, threads.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "conform.h"

/* ---- What keeps a run going ------------------------------------------------------------------ */

static void unref_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    tocsin_driver_unref(arg);
}

static void driver_reference_keeps_the_run_going(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    CHECK(t, driver == tocsin_pool_driver(pool));
    tocsin_driver_ref(driver);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_at_sleep(t, unref_elsewhere, driver);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_driver_unref(NULL);
    conform_pool_close(t, pool);
}

static void live_task_keeps_the_run_going(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    }
    conform_finish(&task);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

/* ---- Stop ------------------------------------------------------------------------------------ */

static void stop_before_the_run_is_kept(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    tocsin_pool_stop(pool);
    tocsin_pool_stop(pool);
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_stops(struct conform_task *task, struct tocsin_context *cx)
{
    if (conform_read(&task->polls) == 2) {
        return 0;
    }
    tocsin_pool_stop(task->arg);
    return tocsin_task_yield(cx);
}

static void stopped_pool_can_be_run_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_stops, pool);
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 2);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void stop_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    tocsin_pool_stop(arg);
}

static void stop_ends_a_sleep(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    conform_at_sleep(t, stop_elsewhere, pool);
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

struct stopper {
    struct tocsin_pool *pool;
    atomic_uint runs;
    unsigned rounds;
};

static void stop_each_run(struct conform *t, void *arg)
{
    struct stopper *stopper = arg;

    (void)t;
    for (unsigned i = 1; i <= stopper->rounds; i++) {
        tocsin_pool_stop(stopper->pool);
        conform_await(&stopper->runs, i);
    }
}

static void no_stop_is_lost(struct conform *t)
{
    struct stopper stopper = {.pool = conform_pool(t), .rounds = conform_times(t, 2000)};
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(stopper.pool));
    struct conform_thread *thread = conform_thread(t, stop_each_run, &stopper);

    for (unsigned i = 0; i < stopper.rounds; i++) {
        REQUIRE(t, tocsin_pool_run(stopper.pool) == 1);
        conform_count(&stopper.runs);
    }
    conform_thread_join(t, thread);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_run(stopper.pool), 0);
    conform_pool_close(t, stopper.pool);
}

/* ---- run_until, run_with --------------------------------------------------------------------- */

static int poll_ready_on_third(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 3 ? 8 : tocsin_task_yield(cx);
}

static void run_until_leaves_the_others_alive(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task other = {0};
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &other, conform_poll_flag, NULL);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_ready_on_third, NULL);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, 8);
    CHECK_EQ(t, tocsin_task_state(&other.task), TOCSIN_TASK_WAITING);

    /* It has ended: no turn is needed to say so again. */
    result = 0;
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, 8);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);

    tocsin_pool_stop(pool);
    result = 3;
    CHECK_EQ(t, tocsin_pool_run_until(pool, &other.task, &result), 1);
    CHECK_EQ(t, result, 3);
    conform_finish(&other);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &other.task, NULL), 0);
    tocsin_task_unref(&other.task);
    conform_pool_close(t, pool);
}

static void run_until_waits_for_another_pools_task(struct conform *t)
{
    struct tocsin_pool_options options = conform_options(t);
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
    int result = 0;

    REQUIRE(t, tocsin_pool_spawn_thread(&thread, &driver, NULL, t->backend, &options) == 0);
    conform_spawn_ref(t, driver, &task, conform_poll_flag, NULL);
    conform_finish(&task);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, 1);
    tocsin_task_unref(&task.task);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_thread_join(thread), 0);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &task);
}

static int main_spawns_and_yields(struct tocsin_context *cx, void *arg)
{
    struct conform_task *task = arg;

    if (task->t == NULL) {
        return 11;
    }
    if (conform_read(&task->flag) == 0) {
        conform_set(&task->flag, 1);
        conform_spawn(task->t, cx->driver, task, conform_poll_ready, NULL);
        return tocsin_task_yield(cx);
    }
    return 12;
}

/* Over the default backend, which is the one under test if that is built in. */
static void run_with_is_a_whole_program(struct conform *t)
{
    struct conform_task nothing = {0};
    struct conform_task task = {.t = t};
    int result = 0;

    CHECK_EQ(t, tocsin_run_with(main_spawns_and_yields, &nothing, &result), 0);
    CHECK_EQ(t, result, 11);
    CHECK_EQ(t, tocsin_run_with(main_spawns_and_yields, &task, &result), 0);
    CHECK_EQ(t, result, 12);
    CHECK_GONE(t, &task);
}

/* ---- Threads of pools ------------------------------------------------------------------------ */

static int poll_knows_its_thread(struct conform_task *task, struct tocsin_context *cx)
{
    char name[32] = "";

    (void)cx;
    CHECK_EQ(task->t, pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    CHECK(task->t, strcmp(name, task->arg) == 0);
    return 5;
}

static void pool_on_a_thread_runs_until_let_go(struct conform *t)
{
    struct tocsin_pool_options options = conform_options(t);
    struct conform_task named = {0};
    struct conform_task unnamed = {0};
    struct tocsin_pool_thread *thread = NULL;
    struct tocsin_driver *driver = NULL;
    char name[] = "conform-pool";
    int result = 0;

    REQUIRE(t, tocsin_pool_spawn_thread(&thread, &driver, name, t->backend, &options) == 0);
    memset(name, 'x', sizeof(name) - 1);
    conform_spawn_ref(t, driver, &named, poll_knows_its_thread, "conform-pool");
    CHECK_EQ(t, tocsin_task_join(&named.task, &result), 0);
    CHECK_EQ(t, result, 5);
    CHECK(t, named.poll_thread != conform_thread_id());
    CHECK(t, tocsin_driver_backend(driver)->ops == t->backend->ops);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_thread_join(thread), 0);
    CHECK_EQ(t, conform_read(&named.drops), 1);
    CHECK_EQ(t, conform_read(&t->counts.closes), 1);
    tocsin_task_unref(&named.task);
    CHECK_GONE(t, &named);

    REQUIRE(t, tocsin_pool_spawn_thread(&thread, &driver, NULL, t->backend, &options) == 0);
    conform_spawn(t, driver, &unnamed, poll_knows_its_thread, "tocsin");
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_thread_join(thread), 0);
    CHECK_GONE(t, &unnamed);
}

static int poll_joins_its_own_thread(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    CHECK_EQ(task->t, tocsin_pool_thread_join(task->arg), -EDEADLK);
    return 0;
}

static void pool_thread_does_not_join_itself(struct conform *t)
{
    struct tocsin_pool_options options = conform_options(t);
    struct conform_task task = {0};
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    REQUIRE(t, tocsin_pool_spawn_thread(&thread, &driver, NULL, t->backend, &options) == 0);
    conform_spawn(t, driver, &task, poll_joins_its_own_thread, thread);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_thread_join(thread), 0);
    CHECK_GONE(t, &task);
}

static int poll_ready_19(struct conform_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 19;
}

/* A task of one pool runs another pool. */
static int poll_runs_another_pool(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform *t = task->t;
    struct tocsin_pool *inner = conform_pool(t);
    struct conform_task other = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(inner), &other, poll_ready_19, NULL);
    CHECK_EQ(t, tocsin_pool_run_until(inner, &other.task, &result), 0);
    CHECK_EQ(t, result, 19);
    CHECK(t, tocsin_task_current() == &task->task);
    CHECK_EQ(t, tocsin_pool_turn(task->arg), -EBUSY);
    tocsin_task_unref(&other.task);
    conform_pool_close(t, inner);
    CHECK_GONE(t, &other);
    return conform_read(&task->polls) == 2 ? 0 : tocsin_task_yield(cx);
}

static void pool_runs_inside_another_pools_task(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_runs_another_pool, pool);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 2);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    pool,
    CASE(driver_reference_keeps_the_run_going, "4.6", "A run waits for counted drivers.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(live_task_keeps_the_run_going, "4.6", "A pending task keeps turns answering 1.", 0),
    CASE(stop_before_the_run_is_kept, "4.6", "Stop is sticky: the next run ends after one batch.",
         0),
    CASE(stopped_pool_can_be_run_again, "4.6", "A task stops its pool, which then runs on.", 0),
    CASE(stop_ends_a_sleep, "4.6", "A stop from another thread kicks once.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(no_stop_is_lost, "4.6", "Another thread stops run after run, at any moment.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(run_until_leaves_the_others_alive, "4.6",
         "run_until gives the task's result, whatever else is alive.", 0),
    CASE(run_until_waits_for_another_pools_task, "4.6", "The task may live on another pool.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(run_with_is_a_whole_program, "4.6", "run_with opens, runs one function, closes.", 0),
    CASE(pool_on_a_thread_runs_until_let_go, "4.6", "A pool on its own thread: name, driver, join.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(pool_thread_does_not_join_itself, "4.6", "Joining one's own thread is -EDEADLK.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(pool_runs_inside_another_pools_task, "4.6", "A task may run a pool other than its own.",
         0));
