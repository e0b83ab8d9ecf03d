/*
 * Joins against the end of a task: by threads, by tasks of the pool, by a pool of its own.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tests/model/kit.h"

enum {
    RESULT = 7,
};

struct join_scene {
    struct tocsin_pool *pool;
    struct kit_log log;
    struct kit_log joiner_log;
    struct kit_task *task;
    struct tocsin_join join;
    struct tocsin_waker waker;
    _Atomic(uint32_t) sent;
    uint32_t made;     /* by the task, for who has joined it */
    unsigned joins;    /* by the pool's thread */
    uint32_t answered; /* B1 */
    bool is_parked;    /* by the blocking thread */
    struct tocsin_waker parker;
    struct model_gate parked;
};

static int poll_for_sent(void *arg, struct tocsin_context *cx)
{
    struct join_scene *join_scene = arg;

    (void)cx;
    if (atomic_load_explicit(&join_scene->sent, memory_order_relaxed) == 0) {
        return TOCSIN_PENDING;
    }
    join_scene->made = 1;
    return RESULT;
}

static void set_up(void *scene)
{
    struct join_scene *join_scene = scene;

    join_scene->pool = model_pool_open(KIT_FEATURES);
    join_scene->task = kit_spawn(tocsin_pool_driver(join_scene->pool), &join_scene->log,
                                 poll_for_sent, scene, true);
    join_scene->waker = tocsin_task_waker(&join_scene->task->task);
}

/* The task ends at its first poll. */
static void set_up_sent(void *scene)
{
    struct join_scene *join_scene = scene;

    set_up(scene);
    atomic_store_explicit(&join_scene->sent, 1, memory_order_relaxed);
    tocsin_waker_drop(&join_scene->waker);
}

static int poll_join(void *arg, struct tocsin_context *cx)
{
    struct join_scene *join_scene = arg;
    int result = 0;
    int r = tocsin_join_poll(&join_scene->join, cx, &result);

    if (r == TOCSIN_PENDING) {
        return r;
    }
    MODEL_CHECK(r == 0 && result == RESULT && join_scene->made == 1);
    join_scene->joins++;
    tocsin_join_deinit(&join_scene->join);
    return 0;
}

static void set_up_task_that_joins(void *scene)
{
    struct join_scene *join_scene = scene;

    set_up(scene);
    tocsin_join_init(&join_scene->join, &join_scene->task->task);
    kit_spawn(tocsin_pool_driver(join_scene->pool), &join_scene->joiner_log, poll_join, scene,
              false);
}

static void run_and_close(void *scene)
{
    struct join_scene *join_scene = scene;

    kit_run_and_close(join_scene->pool);
}

static void send_and_wake(void *scene)
{
    struct join_scene *join_scene = scene;

    atomic_store_explicit(&join_scene->sent, 1, memory_order_relaxed);
    tocsin_waker_wake(&join_scene->waker);
}

static void join_and_unref(void *scene)
{
    struct join_scene *join_scene = scene;
    int result = 0;

    MODEL_CHECK(tocsin_task_join(&join_scene->task->task, &result) == 0);
    MODEL_CHECK(result == RESULT);
    MODEL_CHECK(join_scene->made == 1);
    tocsin_task_unref(&join_scene->task->task);
}

/* A join that is given up while the task may be ending. */
static void join_once_and_give_up(void *scene)
{
    struct join_scene *join_scene = scene;
    struct tocsin_context cx = {0};
    struct tocsin_join join;
    int result = 0;
    int r;

    cx.waker = tocsin_task_waker(&join_scene->task->task); /* any waker that counts */
    tocsin_join_init(&join, &join_scene->task->task);
    r = tocsin_join_poll(&join, &cx, &result);
    MODEL_CHECK(r == TOCSIN_PENDING || (r == 0 && result == RESULT && join_scene->made == 1));
    tocsin_join_deinit(&join);
    tocsin_waker_drop(&cx.waker);
    tocsin_task_unref(&join_scene->task->task);
}

static void both_ended(void *scene)
{
    struct join_scene *join_scene = scene;

    kit_check_ended(&join_scene->log);
    kit_check_ended(&join_scene->joiner_log);
    MODEL_CHECK(join_scene->joins == 1);
}

static void task_ended(void *scene)
{
    struct join_scene *join_scene = scene;

    kit_check_ended(&join_scene->log);
}

static void run_until_and_close(void *scene)
{
    struct join_scene *join_scene = scene;
    int result = 0;

    MODEL_CHECK(tocsin_pool_run_until(join_scene->pool, &join_scene->task->task, &result) == 0);
    MODEL_CHECK(result == RESULT && join_scene->made == 1);
    tocsin_task_unref(&join_scene->task->task);
    kit_run_and_close(join_scene->pool);
}

/* ---- B1: blocking without a pool ------------------------------------------------------------- */

static int poll_for_answer(struct tocsin_context *cx, void *arg)
{
    struct join_scene *join_scene = arg;

    if (atomic_load_explicit(&join_scene->sent, memory_order_acquire) != 0) {
        MODEL_CHECK(join_scene->answered == 1);
        return RESULT;
    }
    if (!join_scene->is_parked) {
        join_scene->is_parked = true;
        join_scene->parker = tocsin_waker_clone(&cx->waker);
        model_gate_open(&join_scene->parked);
    }
    return TOCSIN_PENDING;
}

static void block(void *scene)
{
    int result;

    MODEL_CHECK(tocsin_block_on(poll_for_answer, scene, &result) == 0);
    MODEL_CHECK(result == RESULT);
}

/* The last to use the parker frees it, whichever of the two that is. */
static void wake_the_blocked(void *scene)
{
    struct join_scene *join_scene = scene;

    model_gate_await(&join_scene->parked);
    join_scene->answered = 1;
    tocsin_waker_wake_by_ref(&join_scene->parker); /* one for nothing, perhaps */
    atomic_store_explicit(&join_scene->sent, 1, memory_order_release);
    tocsin_waker_wake(&join_scene->parker);
}

#define SCENE .scene_size = sizeof(struct join_scene)

const struct model_scenario model_scenes_join[] = {
    {.name = "join_meets_the_end",
     .rules = "join K2 K3",
     SCENE,
     .set_up = set_up_sent,
     .threads = {run_and_close, join_and_unref},
     .check = task_ended},
    {.name = "join_of_a_woken_task",
     .rules = "join K2 K3",
     SCENE,
     .set_up = set_up,
     .threads = {run_and_close, join_and_unref, send_and_wake},
     .check = task_ended},
    {.name = "join_that_is_given_up",
     .rules = "join K2 K3",
     SCENE,
     .set_up = set_up,
     .threads = {run_and_close, join_once_and_give_up, send_and_wake},
     .check = task_ended},
    {.name = "task_and_thread_both_join",
     .rules = "join K2 K3",
     SCENE,
     .set_up = set_up_task_that_joins,
     .threads = {run_and_close, join_and_unref, send_and_wake},
     .check = both_ended},
    {.name = "run_until_sees_the_end",
     .rules = "join 4.6",
     SCENE,
     .set_up = set_up,
     .threads = {run_until_and_close, send_and_wake},
     .check = task_ended},
    {.name = "wake_before_the_block_is_kept",
     .rules = "B1 PARK-1",
     SCENE,
     .threads = {block, wake_the_blocked}},
    {.name = NULL},
};
