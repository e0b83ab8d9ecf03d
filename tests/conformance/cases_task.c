/*
 * Tasks: spawn, post, drop and release, state, names, the list, block_on.
 */
#include <errno.h>
#include <string.h>

#include "conform.h"

/* ---- Spawn ----------------------------------------------------------------------------------- */

static void run_of_an_empty_pool_returns(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    conform_pool_close(t, pool);
}

static void ready_task_is_polled_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, conform_read(&task.polls), 0);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void pending_task_is_polled_when_woken(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    }
    CHECK_EQ(t, conform_read(&task.polls), 1);

    conform_finish(&task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 2);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_spawns(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform_task *other = task->arg;

    conform_spawn(task->t, cx->driver, other, conform_poll_ready, NULL);
    CHECK_EQ(task->t, conform_read(&other->polls), 0);
    return 0;
}

static void spawn_inside_a_poll_runs_later(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct conform_task other = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_spawns, &other);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    CHECK_GONE(t, &other);
    conform_pool_close(t, pool);
}

enum {
    SPAWNED = 40,
    SPAWNERS = 2,
};

struct spawner {
    struct tocsin_driver *driver;
    struct conform_task tasks[SPAWNED];
};

static void spawn_many_elsewhere(struct conform *t, void *arg)
{
    struct spawner *spawner = arg;

    for (int i = 0; i < SPAWNED; i++) {
        conform_spawn(t, spawner->driver, &spawner->tasks[i], conform_poll_ready, NULL);
    }
    tocsin_driver_unref(spawner->driver);
}

static void threads_spawn_on_a_running_pool(struct conform *t)
{
    static struct spawner spawners[SPAWNERS];

    for (unsigned round = 0; round < conform_times(t, 10); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct conform_thread *threads[SPAWNERS];

        memset(spawners, 0, sizeof(spawners));
        for (int i = 0; i < SPAWNERS; i++) {
            spawners[i].driver = tocsin_driver_ref(tocsin_pool_driver(pool));
        }
        for (int i = 0; i < SPAWNERS; i++) {
            threads[i] = conform_thread(t, spawn_many_elsewhere, &spawners[i]);
        }
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        for (int i = 0; i < SPAWNERS; i++) {
            conform_thread_join(t, threads[i]);
            for (int j = 0; j < SPAWNED; j++) {
                CHECK_GONE(t, &spawners[i].tasks[j]);
            }
        }
        conform_pool_close(t, pool);
    }
}

static void released_task_can_be_spawned_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    for (unsigned i = 1; i <= 3; i++) {
        conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&task.releases), i);
    }
    CHECK_EQ(t, conform_read(&task.polls), 3);
    CHECK_EQ(t, conform_read(&task.drops), 3);
    conform_pool_close(t, pool);
}

static void check_not_released(struct conform_task *task)
{
    CHECK_EQ(task->t, conform_read(&task->drops), 0);
    CHECK_EQ(task->t, conform_read(&task->releases), 0);
}

static void drop_comes_before_release(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {.dropped = check_not_released};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    CHECK_EQ(t, task.drop_thread, conform_thread_id());
    CHECK_EQ(t, conform_read(&task.releases), 0);

    tocsin_task_ref(&task.task);
    tocsin_task_unref(&task.task);
    CHECK_EQ(t, conform_read(&task.releases), 0);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int bare_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 7;
}

static void drop_and_release_may_be_absent(struct conform *t)
{
    static const struct tocsin_task_ops ops = {.poll = bare_poll};
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_task task;
    int result = 0;

    REQUIRE(t, tocsin_task_spawn_ref(tocsin_pool_driver(pool), &task, &ops, NULL) == 0);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task, &result), 0);
    CHECK_EQ(t, result, 7);
    tocsin_task_unref(&task);
    tocsin_task_unref(NULL);
    conform_pool_close(t, pool);
}

/* ---- Post ------------------------------------------------------------------------------------ */

struct post {
    struct conform *t;
    struct tocsin_driver *driver;
    unsigned again;
    atomic_uint calls;
    int status;
    uintptr_t thread_id;
};

static void posted(void *arg, int status)
{
    struct post *post = arg;

    conform_count(&post->calls);
    post->status = status;
    post->thread_id = conform_thread_id();
    if (post->again > 0) {
        post->again--;
        CHECK_EQ(post->t, tocsin_post(post->driver, posted, post), 0);
    }
}

static void post_runs_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct post post = {.t = t, .status = 1};

    CHECK_EQ(t, tocsin_post(tocsin_pool_driver(pool), posted, &post), 0);
    CHECK_EQ(t, conform_read(&post.calls), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&post.calls), 1);
    CHECK_EQ(t, post.status, 0);
    conform_pool_close(t, pool);
}

static void post_may_post_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct post post = {.t = t, .driver = tocsin_pool_driver(pool), .again = 9};

    CHECK_EQ(t, tocsin_post(post.driver, posted, &post), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&post.calls), 10);
    conform_pool_close(t, pool);
}

static void post_elsewhere(struct conform *t, void *arg)
{
    struct post *post = arg;

    CHECK_EQ(t, tocsin_post(post->driver, posted, post), 0);
}

static void post_from_another_thread_runs_on_the_pools(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct post post = {.t = t, .driver = tocsin_pool_driver(pool)};

    conform_elsewhere(t, post_elsewhere, &post);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&post.calls), 1);
    CHECK_EQ(t, post.thread_id, conform_thread_id());
    conform_pool_close(t, pool);
}

static void post_that_never_ran_hears_of_the_close(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct post here = {.t = t};
    struct post there = {.t = t, .driver = tocsin_pool_driver(pool)};

    CHECK_EQ(t, tocsin_post(tocsin_pool_driver(pool), posted, &here), 0);
    conform_elsewhere(t, post_elsewhere, &there);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&here.calls), 1);
    CHECK_EQ(t, here.status, -ECANCELED);
    CHECK_EQ(t, conform_read(&there.calls), 1);
    CHECK_EQ(t, there.status, -ECANCELED);
}

/* ---- Current, yield -------------------------------------------------------------------------- */

static int poll_is_current(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    CHECK(task->t, tocsin_task_current() == &task->task);
    return 0;
}

static void posted_without_task(void *arg, int status)
{
    (void)status;
    CHECK((struct conform *)arg, tocsin_task_current() == NULL);
}

static void current_is_the_task_in_its_poll(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    CHECK(t, tocsin_task_current() == NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_is_current, NULL);
    CHECK_EQ(t, tocsin_post(tocsin_pool_driver(pool), posted_without_task, t), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, tocsin_task_current() == NULL);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

enum {
    YIELDS = 20,
};

/* Two tasks count in turn; neither may be two ahead. */
static int poll_counts_fairly(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform_task *other = task->arg;
    unsigned mine = conform_read(&task->polls);
    unsigned others = conform_read(&other->polls);

    CHECK(task->t, mine <= others + 1);
    return mine == YIELDS ? 0 : tocsin_task_yield(cx);
}

static void yield_gives_the_others_a_turn(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task one = {0};
    struct conform_task two = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &one, poll_counts_fairly, &two);
    conform_spawn(t, tocsin_pool_driver(pool), &two, poll_counts_fairly, &one);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&one.polls), YIELDS);
    CHECK_EQ(t, conform_read(&two.polls), YIELDS);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    task,
    CASE(run_of_an_empty_pool_returns, "4.6", "A run with nothing alive returns without waiting.",
         0),
    CASE(ready_task_is_polled_once, "5", "A task that is ready at once: one poll, drop, release.",
         0),
    CASE(pending_task_is_polled_when_woken, "5", "A pending task is polled again only when woken.",
         0),
    CASE(spawn_inside_a_poll_runs_later, "5", "A spawn never polls inside the call.", 0),
    CASE(threads_spawn_on_a_running_pool, "5", "Two threads spawn while the pool runs and sleeps.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(released_task_can_be_spawned_again, "5", "After its release a task's memory is free.", 0),
    CASE(drop_comes_before_release, "5", "Drop at the end, release with the last reference.", 0),
    CASE(drop_and_release_may_be_absent, "5", "A task's ops need no more than a poll.", 0),
    CASE(post_runs_once, "5", "A posted callback runs once, not inside the call.", 0),
    CASE(post_may_post_again, "5", "A posted callback may post itself.", 0),
    CASE(post_from_another_thread_runs_on_the_pools, "5", "A post runs on the pool's thread.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(post_that_never_ran_hears_of_the_close, "4.6",
         "Queued posts are called with -ECANCELED when the pool closes.", 0),
    CASE(current_is_the_task_in_its_poll, "5", "tocsin_task_current() in a poll, and outside.", 0),
    CASE(yield_gives_the_others_a_turn, "F2", "Two tasks that yield take turns.", 0));
