/*
 * Wakers as values: clone, wake, drop, will_wake; and wakers of the user's own making.
 */
#include "probe.h"

static int poll_wakes_itself_once(struct conform_task *task, struct tocsin_context *cx)
{
    if (conform_read(&task->polls) == 1) {
        tocsin_waker_wake_by_ref(&cx->waker);
        return TOCSIN_PENDING;
    }
    return 0;
}

static void wake_during_poll_runs_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_wakes_itself_once, NULL);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 2);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void wakes_merge(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, conform_read(&task.polls), 1);

    for (int i = 0; i < 100; i++) {
        conform_wake(&task);
    }
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, conform_read(&task.polls), 2);

    conform_finish(&task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 3);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

static void wake_after_the_end_does_nothing(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);

    conform_wake(&task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    CHECK_EQ(t, conform_read(&task.releases), 0);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_keeps_waker(struct conform_task *task, struct tocsin_context *cx)
{
    task->waker = tocsin_waker_clone(&cx->waker);
    return 0;
}

static void waker_clone_holds_the_task(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_keeps_waker, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    CHECK_EQ(t, conform_read(&task.releases), 0);

    tocsin_waker_drop(&task.waker);
    CHECK(t, task.waker.ops == NULL);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void waker_wake_uses_the_waker_up(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_keeps_waker, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);

    tocsin_waker_wake(&task.waker);
    CHECK(t, task.waker.ops == NULL);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_compares_wakers(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform_task *other = task->arg;
    struct tocsin_waker own = tocsin_task_waker(&task->task);
    struct tocsin_waker others = tocsin_task_waker(&other->task);
    struct tocsin_waker clone = tocsin_waker_clone(&cx->waker);

    CHECK(task->t, tocsin_waker_will_wake(&own, &cx->waker));
    CHECK(task->t, tocsin_waker_will_wake(&clone, &cx->waker));
    CHECK(task->t, !tocsin_waker_will_wake(&others, &cx->waker));
    tocsin_waker_drop(&own);
    tocsin_waker_drop(&others);
    tocsin_waker_drop(&clone);
    return 0;
}

static void will_wake_tells_tasks_apart(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct conform_task other = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &other, conform_poll_ready, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_compares_wakers, &other);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&other.task);
    CHECK_GONE(t, &task);
    CHECK_GONE(t, &other);
    conform_pool_close(t, pool);
}

static void empty_waker_does_nothing(struct conform *t)
{
    struct tocsin_waker empty = {0};
    struct tocsin_waker clone = tocsin_waker_clone(&empty);

    CHECK(t, tocsin_waker_will_wake(&empty, &clone));
    tocsin_waker_wake_by_ref(&empty);
    tocsin_waker_wake(&empty);
    tocsin_waker_drop(&clone);
    CHECK(t, empty.ops == NULL && clone.ops == NULL);
}

/* ---- The end of a pool, and other threads ---------------------------------------------------- */

static int poll_keeps_waker_for_ever(struct conform_task *task, struct tocsin_context *cx)
{
    task->waker = tocsin_waker_clone(&cx->waker);
    return TOCSIN_PENDING;
}

static void waker_clone_outlives_the_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct tocsin_waker clone;

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_keeps_waker_for_ever, NULL);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    CHECK_EQ(t, conform_read(&task.releases), 0);

    clone = tocsin_waker_clone(&task.waker);
    tocsin_waker_wake_by_ref(&clone);
    tocsin_waker_wake(&clone);
    CHECK_EQ(t, conform_read(&task.releases), 0);
    tocsin_waker_drop(&task.waker);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_GONE(t, &task);
}

static void wake_and_drop_elsewhere(struct conform *t, void *arg)
{
    struct conform_task *task = arg;

    tocsin_waker_wake_by_ref(&task->waker);
    CHECK_EQ(t, conform_read(&task->releases), 0);
    tocsin_waker_drop(&task->waker);
    CHECK_EQ(t, conform_read(&task->releases), 1);
}

static void last_waker_releases_on_its_own_thread(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_keeps_waker_for_ever, NULL);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_pool_close(t, pool);

    conform_elsewhere(t, wake_and_drop_elsewhere, &task);
    CHECK_GONE(t, &task);
}

enum {
    DROPPERS = 3,
    CLONES = 50,
};

static void clone_and_drop_elsewhere(struct conform *t, void *arg)
{
    struct tocsin_waker *waker = arg;

    (void)t;
    for (int i = 0; i < CLONES; i++) {
        struct tocsin_waker clone = tocsin_waker_clone(waker);

        if (i % 2 == 0) {
            tocsin_waker_wake(&clone);
        } else {
            tocsin_waker_drop(&clone);
        }
    }
    tocsin_waker_drop(waker);
}

static void droppers_that_race_release_once(struct conform *t)
{
    for (unsigned round = 0; round < conform_times(t, 20); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct conform_task task = {0};
        struct tocsin_waker wakers[DROPPERS];
        struct conform_thread *threads[DROPPERS];

        conform_spawn(t, tocsin_pool_driver(pool), &task, poll_keeps_waker_for_ever, NULL);
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
        for (int i = 0; i < DROPPERS; i++) {
            wakers[i] = tocsin_waker_clone(&task.waker);
        }
        for (int i = 0; i < DROPPERS; i++) {
            threads[i] = conform_thread(t, clone_and_drop_elsewhere, &wakers[i]);
        }
        conform_pool_close(t, pool);
        tocsin_waker_drop(&task.waker);
        for (int i = 0; i < DROPPERS; i++) {
            conform_thread_join(t, threads[i]);
        }
        CHECK_GONE(t, &task);
    }
}

/* ---- Wakers of the user's own making --------------------------------------------------------- */

static void user_made_waker_is_woken(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct tocsin_join join;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    tocsin_join_init(&join, &task.task);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, NULL), TOCSIN_PENDING);
    CHECK_EQ(t, probe_references(&probe), 1);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, NULL), 0);
    tocsin_join_deinit(&join);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void newer_waker_takes_the_olders_place(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe older = {0};
    struct probe newer = {0};
    struct tocsin_context cx_older = probe_context(&older, pool);
    struct tocsin_context cx_newer = probe_context(&newer, pool);
    struct tocsin_timer timer;
    uint64_t deadline_ns;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    deadline_ns = tocsin_pool_now_ns(pool) + UINT64_C(3600000000000);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx_older, deadline_ns), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx_newer, 0), TOCSIN_PENDING);
    CHECK_EQ(t, probe_references(&older), 0);
    CHECK_EQ(t, probe_references(&newer), 1);

    tocsin_timer_arm(&timer, 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, probe_wakes(&older), 0);
    CHECK_EQ(t, probe_wakes(&newer), 1);
    CHECK_EQ(t, probe_references(&newer), 0);
    CHECK_EQ(t, tocsin_timer_poll(&timer, &cx_newer, 0), 0);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

/* A waker whose wake spawns a task and posts: it is called with no lock held. */
struct busybody {
    struct conform *t;
    struct tocsin_driver *driver;
    struct conform_task task;
    atomic_uint posts;
};

static void busybody_nothing(void *data)
{
    (void)data;
}

static void busybody_posted(void *arg, int status)
{
    struct busybody *self = arg;

    CHECK_EQ(self->t, status, 0);
    conform_count(&self->posts);
}

static void busybody_wake(void *data)
{
    struct busybody *self = data;
    struct tocsin_task_info infos[4];

    conform_spawn(self->t, self->driver, &self->task, conform_poll_ready, NULL);
    CHECK_EQ(self->t, tocsin_post(self->driver, busybody_posted, self), 0);
    CHECK(self->t, tocsin_task_list(self->driver, infos, 4) >= 1);
}

static void waker_may_call_the_library(struct conform *t)
{
    static const struct tocsin_waker_ops ops = {busybody_nothing, busybody_wake, busybody_wake,
                                                busybody_nothing};
    struct tocsin_pool *pool = conform_pool(t);
    struct busybody self = {.t = t, .driver = tocsin_pool_driver(pool)};
    struct tocsin_context cx = {.waker = {&ops, &self}, .driver = self.driver};
    struct conform_task task = {0};
    struct tocsin_join join;

    conform_spawn_ref(t, self.driver, &task, conform_poll_ready, NULL);
    tocsin_join_init(&join, &task.task);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, NULL), TOCSIN_PENDING);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&self.posts), 1);
    CHECK_GONE(t, &self.task);
    tocsin_join_deinit(&join);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    waker,
    CASE(wake_during_poll_runs_again, "5", "A wake during a task's own poll queues it again.", 0),
    CASE(wakes_merge, "5", "A hundred wakes before a turn make one poll.", 0),
    CASE(wake_after_the_end_does_nothing, "5", "Waking a task that has ended is no fault.", 0),
    CASE(waker_clone_holds_the_task, "5", "A task is released when its last waker has gone.", 0),
    CASE(waker_wake_uses_the_waker_up, "5", "Wake gives the waker's reference up.", 0),
    CASE(will_wake_tells_tasks_apart, "5", "Wakers of one task are alike, those of two are not.",
         0),
    CASE(empty_waker_does_nothing, "5", "An empty waker can be cloned, woken and dropped.", 0),
    CASE(waker_clone_outlives_the_pool, "5",
         "A waker can be cloned, woken and dropped after its pool has closed.", 0),
    CASE(last_waker_releases_on_its_own_thread, "5",
         "The last reference releases the task, on whatever thread, after the pool's end.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(droppers_that_race_release_once, "5",
         "Threads clone, wake and drop while the pool closes: one release.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(user_made_waker_is_woken, "5", "A waker of the user's making is cloned, woken, dropped.",
         0),
    CASE(newer_waker_takes_the_olders_place, "6",
         "Polling a timer with another waker drops the one before.", 0),
    CASE(waker_may_call_the_library, "D4", "A waker's wake may spawn, post and list.", 0));
