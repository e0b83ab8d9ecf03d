/*
 * Joins, from tasks and from threads; block_on.
 */
#include <errno.h>

#include "probe.h"

/* ---- From tasks ------------------------------------------------------------------------------ */

struct joiner {
    struct conform_task task;
    struct tocsin_join join;
    bool inited;
    int result;
};

static int poll_joins(struct conform_task *task, struct tocsin_context *cx)
{
    struct joiner *joiner = (struct joiner *)task;

    if (!joiner->inited) {
        tocsin_join_init(&joiner->join, task->arg);
        joiner->inited = true;
    }
    return tocsin_join_poll(&joiner->join, cx, &joiner->result);
}

static void drop_deinits_join(struct conform_task *task)
{
    struct joiner *joiner = (struct joiner *)task;

    if (joiner->inited) {
        tocsin_join_deinit(&joiner->join);
    }
}

static void spawn_joiner(struct conform *t, struct tocsin_pool *pool, struct joiner *joiner,
                         struct conform_task *task)
{
    joiner->task.dropped = drop_deinits_join;
    joiner->result = -1;
    conform_spawn(t, tocsin_pool_driver(pool), &joiner->task, poll_joins, &task->task);
}

static int poll_ready_42(struct conform_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 42;
}

static void joiners_get_the_result(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct joiner joiners[3] = {0};
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    for (int i = 0; i < 3; i++) {
        spawn_joiner(t, pool, &joiners[i], &task);
    }
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_set(&task.flag, 42);
    conform_wake(&task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, joiners[i].result, 42);
        CHECK_EQ(t, conform_read(&joiners[i].task.polls), 2);
        CHECK_GONE(t, &joiners[i].task);
    }
    CHECK_EQ(t, conform_read(&task.releases), 0);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void join_of_an_ended_task_is_ready(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct joiner joiner = {0};
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_ready_42, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    spawn_joiner(t, pool, &joiner, &task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, joiner.result, 42);
    CHECK_EQ(t, conform_read(&joiner.task.polls), 1);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

static void joiners_hear_of_a_cancel(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct joiner joiner = {0};
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    spawn_joiner(t, pool, &joiner, &task);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, joiner.result, -ECANCELED);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_joins_itself(struct conform_task *task, struct tocsin_context *cx)
{
    struct tocsin_join join;
    int result = 5;

    tocsin_join_init(&join, &task->task);
    CHECK_EQ(task->t, tocsin_join_poll(&join, cx, &result), -EDEADLK);
    CHECK_EQ(task->t, result, 5);
    tocsin_join_deinit(&join);
    return 0;
}

static void join_of_oneself_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_joins_itself, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void join_given_up_is_not_woken(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct probe probes[3] = {0};
    struct tocsin_join joins[3];

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_ready_42, NULL);
    for (int i = 0; i < 3; i++) {
        struct tocsin_context cx = probe_context(&probes[i], pool);

        tocsin_join_init(&joins[i], &task.task);
        CHECK_EQ(t, tocsin_join_poll(&joins[i], &cx, NULL), TOCSIN_PENDING);
    }
    tocsin_join_deinit(&joins[1]);
    CHECK_EQ(t, probe_references(&probes[1]), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, probe_wakes(&probes[0]), 1);
    CHECK_EQ(t, probe_wakes(&probes[1]), 0);
    CHECK_EQ(t, probe_wakes(&probes[2]), 1);
    tocsin_join_deinit(&joins[0]);
    tocsin_join_deinit(&joins[2]);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void join_holds_the_task(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    struct tocsin_join join;
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_ready_42, NULL);
    tocsin_join_init(&join, &task.task);
    tocsin_task_unref(&task.task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&task.releases), 0);
    CHECK_EQ(t, tocsin_join_poll(&join, &cx, &result), 0);
    CHECK_EQ(t, result, 42);
    tocsin_join_deinit(&join);
    CHECK_GONE(t, &task);
}

/* ---- From threads ---------------------------------------------------------------------------- */

struct thread_joiner {
    struct conform_task *task;
    int result;
};

static void join_elsewhere(struct conform *t, void *arg)
{
    struct thread_joiner *joiner = arg;

    CHECK_EQ(t, tocsin_task_join(&joiner->task->task, &joiner->result), 0);
}

static void threads_join_a_task(struct conform *t)
{
    for (unsigned round = 0; round < conform_times(t, 20); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct conform_task task = {0};
        struct thread_joiner joiners[2] = {{&task, -1}, {&task, -1}};
        struct conform_thread *threads[2];

        conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_ready_42, NULL);
        for (int i = 0; i < 2; i++) {
            threads[i] = conform_thread(t, join_elsewhere, &joiners[i]);
        }
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        for (int i = 0; i < 2; i++) {
            conform_thread_join(t, threads[i]);
            CHECK_EQ(t, joiners[i].result, 42);
        }
        tocsin_task_unref(&task.task);
        CHECK_GONE(t, &task);
        conform_pool_close(t, pool);
    }
}

static void thread_joins_a_task_that_the_close_cancels(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct thread_joiner joiner = {&task, -1};
    struct conform_thread *thread;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    thread = conform_thread(t, join_elsewhere, &joiner);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    conform_pool_close(t, pool);
    conform_thread_join(t, thread);
    CHECK_EQ(t, joiner.result, -ECANCELED);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
}

static int poll_blocks_on_the_other(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform_task *other = task->arg;
    int result = 5;

    (void)cx;
    CHECK_EQ(task->t, tocsin_task_join(&other->task, &result), -EDEADLK);
    CHECK_EQ(task->t, result, 5);
    return 0;
}

static void blocking_join_on_a_pools_thread_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task other = {0};
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &other, conform_poll_flag, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_blocks_on_the_other, &other);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, tocsin_task_join(&other.task, NULL), -EDEADLK);

    conform_finish(&other);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_task_join(&other.task, &result), 0);
    CHECK_EQ(t, result, 1);
    tocsin_task_unref(&other.task);
    conform_pool_close(t, pool);
}

/* ---- block_on -------------------------------------------------------------------------------- */

struct blocked {
    struct conform *t;
    atomic_uint polls;
    atomic_uint kept; /* the waker is there for the other thread */
    struct tocsin_waker waker;
    unsigned rounds;
};

static int poll_ready_at_once(struct tocsin_context *cx, void *arg)
{
    CHECK((struct conform *)arg, cx->driver == NULL);
    return 3;
}

static int poll_keeps_waker_each_round(struct tocsin_context *cx, void *arg)
{
    struct blocked *blocked = arg;

    if (conform_count(&blocked->polls) > blocked->rounds) {
        return 4;
    }
    blocked->waker = tocsin_waker_clone(&cx->waker);
    conform_count(&blocked->kept);
    return TOCSIN_PENDING;
}

static void wake_each_round(struct conform *t, void *arg)
{
    struct blocked *blocked = arg;

    (void)t;
    for (unsigned i = 1; i <= blocked->rounds; i++) {
        struct tocsin_waker waker;

        conform_await(&blocked->kept, i);
        waker = blocked->waker;
        tocsin_waker_wake(&waker);
    }
}

static void block_on_polls_until_ready(struct conform *t)
{
    struct blocked blocked = {.t = t, .rounds = conform_times(t, 500)};
    struct conform_thread *thread;
    int result = 0;

    CHECK_EQ(t, tocsin_block_on(poll_ready_at_once, t, &result), 0);
    CHECK_EQ(t, result, 3);

    thread = conform_thread(t, wake_each_round, &blocked);
    CHECK_EQ(t, tocsin_block_on(poll_keeps_waker_each_round, &blocked, &result), 0);
    conform_thread_join(t, thread);
    CHECK_EQ(t, result, 4);
    CHECK_EQ(t, conform_read(&blocked.polls), blocked.rounds + 1);
}

static int poll_keeps_waker_and_is_ready(struct tocsin_context *cx, void *arg)
{
    struct blocked *blocked = arg;

    blocked->waker = tocsin_waker_clone(&cx->waker);
    return 0;
}

static void block_on_waker_outlives_the_call(struct conform *t)
{
    struct blocked blocked = {.t = t};

    CHECK_EQ(t, tocsin_block_on(poll_keeps_waker_and_is_ready, &blocked, NULL), 0);
    tocsin_waker_wake_by_ref(&blocked.waker);
    tocsin_waker_drop(&blocked.waker);
}

static int poll_blocks_on_itself(struct conform_task *task, struct tocsin_context *cx)
{
    int result = 5;

    (void)cx;
    CHECK_EQ(task->t, tocsin_block_on(poll_ready_at_once, task->t, &result), -EDEADLK);
    CHECK_EQ(task->t, result, 5);
    return 0;
}

static void block_on_a_pools_thread_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_blocks_on_itself, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_block_on(poll_ready_at_once, t, NULL), -EDEADLK);
    conform_pool_close(t, pool);
    CHECK_EQ(t, tocsin_block_on(poll_ready_at_once, t, NULL), 0);
    CHECK_EQ(t, tocsin_block_on(NULL, t, NULL), -EINVAL);
    CHECK_GONE(t, &task);
}

CONFORM_CASES(
    join, CASE(joiners_get_the_result, "5", "Three tasks join one, and each gets its result.", 0),
    CASE(join_of_an_ended_task_is_ready, "5", "A join after the end is ready at once.", 0),
    CASE(joiners_hear_of_a_cancel, "5", "A joiner of a cancelled task gets -ECANCELED.", 0),
    CASE(join_of_oneself_is_refused, "5", "A task that joins itself gets -EDEADLK.", 0),
    CASE(join_given_up_is_not_woken, "5", "A join that was given up drops its waker.", 0),
    CASE(join_holds_the_task, "5", "A join holds the task and its result, past the pool's end.", 0),
    CASE(threads_join_a_task, "5", "Two threads join a task while it ends.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(thread_joins_a_task_that_the_close_cancels, "5", "A joining thread hears of the close.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(blocking_join_on_a_pools_thread_is_refused, "5",
         "A blocking join on a pool's own thread is -EDEADLK, unless the task has ended.", 0),
    CASE(block_on_polls_until_ready, "5", "block_on sleeps until its waker is woken.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(block_on_waker_outlives_the_call, "5", "A waker of block_on may be kept and woken later.",
         0),
    CASE(block_on_a_pools_thread_is_refused, "5", "block_on on a pool's own thread is -EDEADLK.",
         0));
