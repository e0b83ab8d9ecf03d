/*
 * The end: closing with everything alive, who may, and what is left afterwards.
 */
#include <errno.h>

#include "probe.h"

static void drop_notes_thread(struct conform_task *task)
{
    conform_count(&task->flag);
}

static void close_drops_live_tasks_in_the_call(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task tasks[4] = {0};

    for (int i = 0; i < 4; i++) {
        tasks[i].dropped = drop_notes_thread;
    }
    conform_spawn_ref(t, tocsin_pool_driver(pool), &tasks[0], conform_poll_never, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &tasks[1], conform_poll_never, NULL);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_wake(&tasks[0]);
    conform_spawn(t, tocsin_pool_driver(pool), &tasks[2], conform_poll_ready, NULL);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &tasks[3], conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_task_cancel(&tasks[3].task), 0);
    conform_pool_close(t, pool);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(t, conform_read(&tasks[i].drops), 1);
        CHECK_EQ(t, tasks[i].drop_thread, conform_thread_id());
        CHECK_EQ(t, conform_read(&tasks[i].flag), 1);
    }
    CHECK_EQ(t, conform_read(&tasks[2].polls), 0);
    CHECK_EQ(t, tocsin_task_state(&tasks[0].task), TOCSIN_TASK_CANCELLED);
    tocsin_task_unref(&tasks[0].task);
    tocsin_task_unref(&tasks[3].task);
    for (int i = 0; i < 4; i++) {
        CHECK_GONE(t, &tasks[i]);
    }
}

/* No operation is in flight: the limit changes nothing. */
static void close_with_a_time_limit_is_a_close(struct conform *t)
{
    const uint64_t limits[] = {0, 1, TOCSIN_NEVER_NS};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct conform_task task = {0};

        conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
        CHECK_EQ(t, tocsin_pool_close_timeout(pool, limits[i]), 0);
        CHECK_EQ(t, conform_read(&task.drops), 1);
        CHECK_GONE(t, &task);
    }
    CHECK_EQ(t, tocsin_pool_close_timeout(NULL, 0), 0);
}

static void close_elsewhere(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_pool_close(arg), 0);
}

static void pool_that_never_ran_is_closed_by_any_thread(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    conform_elsewhere(t, close_elsewhere, pool);
    CHECK_EQ(t, conform_read(&task.polls), 0);
    CHECK_GONE(t, &task);
    CHECK_EQ(t, tocsin_pool_close(NULL), 0);
}

static void wrong_thread_elsewhere(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_pool_close(arg), -EPERM);
    CHECK_EQ(t, tocsin_pool_close_timeout(arg, 0), -EPERM);
    CHECK_EQ(t, tocsin_pool_run(arg), -EPERM);
    CHECK_EQ(t, tocsin_pool_turn(arg), -EPERM);
}

static void other_threads_may_not_run_or_close(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    conform_elsewhere(t, wrong_thread_elsewhere, pool);
    CHECK_EQ(t, conform_read(&task.polls), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void run_and_close_elsewhere(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_pool_run(arg), 0);
    CHECK_EQ(t, tocsin_pool_run(arg), 0);
    CHECK_EQ(t, tocsin_pool_close(arg), 0);
}

static void pool_belongs_to_the_thread_that_first_ran_it(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct tocsin_timer timer;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    tocsin_timer_arm(&timer, 1);
    tocsin_timer_deinit(&timer);
    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    conform_elsewhere(t, run_and_close_elsewhere, pool);
    CHECK(t, task.poll_thread != conform_thread_id());
    CHECK_EQ(t, task.drop_thread, task.poll_thread);
    CHECK_GONE(t, &task);
}

static int poll_closes_its_own_pool(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    CHECK_EQ(task->t, tocsin_pool_close(task->arg), -EBUSY);
    CHECK_EQ(task->t, tocsin_pool_close_timeout(task->arg, 0), -EBUSY);
    CHECK_EQ(task->t, tocsin_pool_run(task->arg), -EBUSY);
    CHECK_EQ(task->t, tocsin_pool_turn(task->arg), -EBUSY);
    return 3;
}

static void pool_is_not_closed_or_run_from_inside(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_closes_its_own_pool, pool);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, 3);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

static void never_posted(void *arg, int status)
{
    (void)status;
    CHECK((struct conform *)arg, false && "the pool had closed");
}

static void counted_driver_outlives_the_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    struct conform_task task = {.t = t, .poll = conform_poll_ready};
    struct tocsin_task_info info;
    struct tocsin_timer timer;

    conform_pool_close(t, pool);
    CHECK_EQ(t, tocsin_task_spawn(driver, &task.task, &conform_task_ops, "late"), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_task_spawn_ref(driver, &task.task, &conform_task_ops, "late"), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_post(driver, never_posted, t), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_timer_init(&timer, driver, NULL, NULL), -ESHUTDOWN);
    CHECK_EQ(t, tocsin_task_list(driver, &info, 1), -ESHUTDOWN);
    CHECK_EQ(t, conform_read(&task.drops), 0);
    CHECK_EQ(t, conform_read(&task.releases), 0);
    tocsin_driver_ref(driver);
    tocsin_driver_unref(driver);
    tocsin_driver_unref(driver);
}

static void open_after_the_close_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;

    conform_source_open(t, &source);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_source_watch(driver, &source, &ready), -ESHUTDOWN);
    CHECK(t, ready == NULL);
    tocsin_driver_unref(driver);
    conform_source_close(t, &source);
}

static void objects_are_closed_after_their_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct conform_task task = {0};
    struct tocsin_join join;
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;
    struct tocsin_timer timer;
    int result = 0;

    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    tocsin_join_init(&join, &task.task);
    CHECK_EQ(t, tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx, tocsin_pool_now_ns(pool) + 1000000000),
             TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, NULL), TOCSIN_PENDING);
    conform_pool_close(t, pool);

    CHECK_EQ(t, tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), -ESHUTDOWN);
    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    tocsin_timer_deinit(&timer);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, &result), 0);
    CHECK_EQ(t, result, -ECANCELED);
    tocsin_join_deinit(&join);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    CHECK_EQ(t, probe_references(&probe), 0);
    conform_source_close(t, &source);
}

/* What is dropped while the pool closes drops and wakes others. */
static void drop_wakes_and_spawns(struct conform_task *task)
{
    struct conform_task *other = task->arg;
    struct conform_task extra = {.t = task->t, .poll = conform_poll_ready};
    int r;

    conform_wake(other);
    r = tocsin_task_cancel(&other->task);
    CHECK_EQ(task->t, r, conform_read(&other->drops) == 0 ? 0 : -EALREADY);
    CHECK_EQ(task->t,
             tocsin_task_spawn(task->waker.data, &extra.task, &conform_task_ops, "too late"),
             -ESHUTDOWN);
    CHECK_EQ(task->t, tocsin_post(task->waker.data, never_posted, task->t), -ESHUTDOWN);
    tocsin_task_unref(&other->task);
}

static void drop_during_the_close_may_call_the_library(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task tasks[2] = {0};

    for (int i = 0; i < 2; i++) {
        tasks[i].dropped = drop_wakes_and_spawns;
        tasks[i].waker.data = tocsin_pool_driver(pool);
        conform_spawn_ref(t, tocsin_pool_driver(pool), &tasks[i], conform_poll_never,
                          &tasks[1 - i]);
    }
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &tasks[0]);
    CHECK_GONE(t, &tasks[1]);
}

/* Threads wake, spawn, post and list while the pool closes under them. */
struct visitor {
    struct tocsin_driver *driver;
    struct conform_task *task;
    struct conform_task own[8];
    atomic_uint *ready;
    atomic_uint posts;
    unsigned posted;
};

static void visitor_posted(void *arg, int status)
{
    (void)status;
    conform_count(&((struct visitor *)arg)->posts);
}

static void visit(struct conform *t, void *arg)
{
    struct visitor *visitor = arg;
    struct tocsin_task_info infos[4];

    conform_count(visitor->ready);
    for (int i = 0; i < 8; i++) {
        struct conform_task *own = &visitor->own[i];
        int r;

        *own = (struct conform_task){.t = t, .poll = conform_poll_never};
        r = tocsin_task_spawn(visitor->driver, &own->task, &conform_task_ops, "visitor's");
        CHECK(t, r == 0 || r == -ESHUTDOWN);
        conform_set(&own->flag, r == 0);
        r = tocsin_post(visitor->driver, visitor_posted, visitor);
        CHECK(t, r == 0 || r == -ESHUTDOWN);
        visitor->posted += r == 0;
        conform_wake(visitor->task);
        r = tocsin_task_list(visitor->driver, infos, 4);
        CHECK(t, r >= 0 || r == -ESHUTDOWN);
    }
    tocsin_driver_unref(visitor->driver);
}

enum {
    VISITORS = 2,
};

static void visitors_check(struct conform *t, struct visitor visitors[VISITORS])
{
    for (int i = 0; i < VISITORS; i++) {
        CHECK_EQ(t, conform_read(&visitors[i].posts), visitors[i].posted);
        for (int j = 0; j < 8; j++) {
            unsigned spawned = conform_read(&visitors[i].own[j].flag);

            CHECK_EQ(t, conform_read(&visitors[i].own[j].drops), spawned);
            CHECK_EQ(t, conform_read(&visitors[i].own[j].releases), spawned);
        }
    }
}

static void threads_visit_a_closing_pool(struct conform *t)
{
    static struct visitor visitors[VISITORS];

    for (unsigned round = 0; round < conform_times(t, 100); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct conform_task task = {0};
        struct conform_thread *threads[VISITORS];
        atomic_uint ready = 0;

        conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
        for (int i = 0; i < VISITORS; i++) {
            visitors[i] = (struct visitor){.driver = tocsin_driver_ref(tocsin_pool_driver(pool)),
                                           .task = &task,
                                           .ready = &ready};
        }
        for (int i = 0; i < VISITORS; i++) {
            threads[i] = conform_thread(t, visit, &visitors[i]);
        }
        conform_await(&ready, VISITORS);
        conform_pool_close(t, pool);
        for (int i = 0; i < VISITORS; i++) {
            conform_thread_join(t, threads[i]);
        }
        visitors_check(t, visitors);
        tocsin_task_unref(&task.task);
        CHECK_GONE(t, &task);
    }
}

CONFORM_CASES(
    close,
    CASE(close_drops_live_tasks_in_the_call, "4.6",
         "Waiting, queued, fresh and cancelled tasks are dropped in the close, on its thread.", 0),
    CASE(close_with_a_time_limit_is_a_close, "4.6",
         "Without operations in flight a time limit changes nothing, and nothing is lost.", 0),
    CASE(pool_that_never_ran_is_closed_by_any_thread, "4.6",
         "A pool that nobody ran has no thread yet; closing nothing is 0.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(other_threads_may_not_run_or_close, "4.6", "Elsewhere run, turn and close are -EPERM.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(pool_belongs_to_the_thread_that_first_ran_it, "4.6",
         "Opened here, run and closed on another thread.", TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(pool_is_not_closed_or_run_from_inside, "4.6", "Inside a turn they are -EBUSY.", 0),
    CASE(counted_driver_outlives_the_pool, "4.6",
         "Through a counted driver of a closed pool everything is -ESHUTDOWN.", 0),
    CASE(open_after_the_close_is_refused, "4.6", "So is opening a readiness object.",
         CONFORM_SOURCES),
    CASE(objects_are_closed_after_their_pool, "4.6",
         "Readiness objects, timers and joins are safe to give up after the close.",
         CONFORM_SOURCES),
    CASE(drop_during_the_close_may_call_the_library, "4.6",
         "Drops in the close wake, cancel, spawn and post.", 0),
    CASE(threads_visit_a_closing_pool, "4.6",
         "Threads spawn, post, wake and list while the pool closes; nothing is lost.",
         TOCSIN_BACKEND_FOREIGN_THREADS));
