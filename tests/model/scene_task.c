/*
 * A task's life against other threads: cancels, wakes after the end, last references.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tests/model/kit.h"

enum {
    RESULT = 7,
};

struct task_scene {
    struct tocsin_pool *pool;
    struct kit_log log;
    struct kit_task *task;
    struct tocsin_waker wakers[2];
    _Atomic(uint32_t) sent;  /* relaxed: it is the wake that publishes */
    _Atomic(uint32_t) polls; /* begun */
    uint32_t polls_at_cancel;
    int cancel_results[2];
    int joined;
    int result;
    bool ended_by_itself; /* the poll said ready */
};

static int poll_for_sent(void *arg, struct tocsin_context *cx)
{
    struct task_scene *task_scene = arg;

    (void)cx;
    atomic_fetch_add_explicit(&task_scene->polls, 1, memory_order_relaxed);
    if (atomic_load_explicit(&task_scene->sent, memory_order_relaxed) == 0) {
        return TOCSIN_PENDING;
    }
    task_scene->ended_by_itself = true;
    return RESULT;
}

static void set_up(void *scene)
{
    struct task_scene *task_scene = scene;

    task_scene->pool = model_pool_open(KIT_FEATURES);
    task_scene->task = kit_spawn(tocsin_pool_driver(task_scene->pool), &task_scene->log,
                                 poll_for_sent, scene, true);
    task_scene->wakers[0] = tocsin_task_waker(&task_scene->task->task);
    task_scene->wakers[1] = tocsin_task_waker(&task_scene->task->task);
}

/* With nobody who wakes. */
static void set_up_for_cancel(void *scene)
{
    struct task_scene *task_scene = scene;

    set_up(scene);
    tocsin_waker_drop(&task_scene->wakers[0]);
    tocsin_waker_drop(&task_scene->wakers[1]);
}

static void set_up_one_waker(void *scene)
{
    struct task_scene *task_scene = scene;

    set_up(scene);
    tocsin_waker_drop(&task_scene->wakers[1]);
}

static void run_and_close(void *scene)
{
    struct task_scene *task_scene = scene;

    kit_run_and_close(task_scene->pool);
}

static void send_and_wake(void *scene)
{
    struct task_scene *task_scene = scene;

    atomic_store_explicit(&task_scene->sent, 1, memory_order_relaxed);
    tocsin_waker_wake(&task_scene->wakers[0]);
}

static void wake_for_nothing(void *scene)
{
    struct task_scene *task_scene = scene;

    tocsin_waker_wake(&task_scene->wakers[1]);
    tocsin_task_unref(&task_scene->task->task);
}

/* No poll starts after a cancel that said 0: one that was under way may end. */
static void cancel_and_unref(void *scene)
{
    struct task_scene *task_scene = scene;

    task_scene->cancel_results[0] = tocsin_task_cancel(&task_scene->task->task);
    task_scene->polls_at_cancel =
        atomic_fetch_add_explicit(&task_scene->polls, 0, memory_order_relaxed);
    tocsin_task_unref(&task_scene->task->task);
}

static void cancel_twice_and_unref(void *scene)
{
    struct task_scene *task_scene = scene;

    task_scene->cancel_results[1] = tocsin_task_cancel(&task_scene->task->task);
    cancel_and_unref(scene);
}

/* Its own reference is gone after the join, so the result is read before. */
static void cancel_join_and_unref(void *scene)
{
    struct task_scene *task_scene = scene;

    task_scene->cancel_results[0] = tocsin_task_cancel(&task_scene->task->task);
    task_scene->polls_at_cancel =
        atomic_fetch_add_explicit(&task_scene->polls, 0, memory_order_relaxed);
    task_scene->joined = tocsin_task_join(&task_scene->task->task, &task_scene->result);
    tocsin_task_unref(&task_scene->task->task);
}

static void ended_as_cancel_said(void *scene)
{
    struct task_scene *task_scene = scene;
    uint32_t polls = atomic_load_explicit(&task_scene->polls, memory_order_relaxed);

    kit_check_ended(&task_scene->log);
    if (task_scene->cancel_results[0] == -EALREADY) {
        MODEL_CHECK(task_scene->ended_by_itself || task_scene->cancel_results[1] == 0);
    } else {
        MODEL_CHECK(task_scene->cancel_results[0] == 0);
    }
    /* A poll that had begun when cancel returned is counted, if late. */
    MODEL_CHECK(polls <= task_scene->polls_at_cancel + 1);
}

static void joined_what_cancel_said(void *scene)
{
    struct task_scene *task_scene = scene;

    ended_as_cancel_said(scene);
    MODEL_CHECK(task_scene->joined == 0);
    MODEL_CHECK(task_scene->result == (task_scene->ended_by_itself ? RESULT : -ECANCELED));
}

/* After its end a task outlives the pool, and answers. */
static void ask_and_unref(void *scene)
{
    struct task_scene *task_scene = scene;
    struct tocsin_task *task = &task_scene->task->task;
    enum tocsin_task_state state = tocsin_task_state(task);

    MODEL_CHECK(state != TOCSIN_TASK_CANCELLED);
    if (state == TOCSIN_TASK_ENDED) {
        MODEL_CHECK(tocsin_task_state(task) == TOCSIN_TASK_ENDED);
        MODEL_CHECK(tocsin_task_cancel(task) == -EALREADY);
    }
    tocsin_task_unref(task);
}

static void task_ended(void *scene)
{
    struct task_scene *task_scene = scene;

    kit_check_ended(&task_scene->log);
    MODEL_CHECK(task_scene->ended_by_itself);
}

/* A clone made elsewhere while the task ends. */
static void clone_wake_and_drop(void *scene)
{
    struct task_scene *task_scene = scene;
    struct tocsin_waker clone = tocsin_waker_clone(&task_scene->wakers[1]);

    tocsin_waker_wake_by_ref(&clone);
    tocsin_waker_drop(&task_scene->wakers[1]);
    tocsin_waker_wake(&clone);
}

/* The pool's thread cancels, and drops its own reference. */
static void run_cancel_and_close(void *scene)
{
    struct task_scene *task_scene = scene;

    tocsin_task_cancel(&task_scene->task->task);
    tocsin_task_unref(&task_scene->task->task);
    kit_run_and_close(task_scene->pool);
}

static void task_was_released(void *scene)
{
    struct task_scene *task_scene = scene;

    kit_check_ended(&task_scene->log);
}

#define SCENE .scene_size = sizeof(struct task_scene)

const struct model_scenario model_scenes_task[] = {
    {.name = "cancel_ends_a_task_that_waits",
     .rules = "K1 K2 cancel",
     SCENE,
     .set_up = set_up_for_cancel,
     .threads = {run_and_close, cancel_and_unref},
     .check = ended_as_cancel_said},
    {.name = "cancel_meets_the_end",
     .rules = "K1 K2 K3 cancel",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_and_close, send_and_wake, cancel_and_unref},
     .check = ended_as_cancel_said},
    {.name = "second_cancel_changes_nothing",
     .rules = "K1 K2 K3 cancel",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_and_close, cancel_twice_and_unref, send_and_wake},
     .check = ended_as_cancel_said},
    {.name = "join_tells_what_cancel_did",
     .rules = "K1 K2 K3 cancel join",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_and_close, send_and_wake, cancel_join_and_unref},
     .check = joined_what_cancel_said},
    {.name = "wake_meets_the_end",
     .rules = "K1 K2 K3",
     SCENE,
     .set_up = set_up,
     .threads = {run_and_close, send_and_wake, wake_for_nothing},
     .check = task_ended},
    {.name = "task_answers_after_its_end",
     .rules = "K3 ROW-2",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_and_close, send_and_wake, ask_and_unref},
     .check = task_ended},
    {.name = "clone_meets_the_end",
     .rules = "K1 K2 K3",
     SCENE,
     .set_up = set_up,
     .threads = {run_cancel_and_close, send_and_wake, clone_wake_and_drop},
     .check = task_was_released},
    {.name = NULL},
};
