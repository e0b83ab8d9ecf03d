/*
 * The pool's close against those who still hold something of it.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tests/model/kit.h"

struct close_scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *drivers[2];
    struct kit_log log;
    struct kit_log spawned_log;
    struct kit_task *task;
    struct tocsin_waker waker;
    unsigned posted;
    unsigned told; /* of posts */
    uint32_t data;
};

static int poll_for_ever(void *arg, struct tocsin_context *cx)
{
    (void)arg;
    (void)cx;
    return TOCSIN_PENDING;
}

static void set_up(void *scene)
{
    struct close_scene *close_scene = scene;
    struct tocsin_driver *driver;

    close_scene->pool = model_pool_open(KIT_FEATURES);
    driver = tocsin_pool_driver(close_scene->pool);
    close_scene->task = kit_spawn(driver, &close_scene->log, poll_for_ever, scene, true);
    close_scene->waker = tocsin_task_waker(&close_scene->task->task);
    for (unsigned i = 0; i < 2; i++) {
        close_scene->drivers[i] = tocsin_driver_ref(driver);
    }
}

/* One turn, and then the close, whatever the others do. */
static void turn_and_close(void *scene)
{
    struct close_scene *close_scene = scene;

    MODEL_CHECK(tocsin_pool_poll_fd(close_scene->pool) >= 0);
    MODEL_CHECK(tocsin_pool_turn(close_scene->pool) >= 0);
    kit_close(close_scene->pool);
}

static void close_at_once(void *scene)
{
    struct close_scene *close_scene = scene;

    kit_close(close_scene->pool);
}

/* A run that a stop ends: the pool sleeps, and may be kicked while it closes. */
static void run_and_close(void *scene)
{
    struct close_scene *close_scene = scene;

    MODEL_CHECK(tocsin_pool_run(close_scene->pool) == 1);
    kit_close(close_scene->pool);
}

static void wake_then_give_back(void *scene)
{
    struct close_scene *close_scene = scene;

    tocsin_waker_wake(&close_scene->waker);
    tocsin_driver_unref(close_scene->drivers[0]);
}

static void give_back_then_wake(void *scene)
{
    struct close_scene *close_scene = scene;

    tocsin_driver_unref(close_scene->drivers[0]);
    tocsin_waker_wake(&close_scene->waker);
}

static void cancel_then_give_back(void *scene)
{
    struct close_scene *close_scene = scene;
    int r = tocsin_task_cancel(&close_scene->task->task);

    MODEL_CHECK(r == 0 || r == -EALREADY);
    tocsin_task_unref(&close_scene->task->task);
    tocsin_driver_unref(close_scene->drivers[1]);
}

static void join_then_give_back(void *scene)
{
    struct close_scene *close_scene = scene;
    int result = 0;

    MODEL_CHECK(tocsin_task_join(&close_scene->task->task, &result) == 0);
    MODEL_CHECK(result == -ECANCELED);
    tocsin_task_unref(&close_scene->task->task);
    tocsin_driver_unref(close_scene->drivers[1]);
}

/* A join that is given up leaves its mark on the task. */
static void join_once_then_stop(void *scene)
{
    struct close_scene *close_scene = scene;
    struct tocsin_context cx = {.waker = tocsin_task_waker(&close_scene->task->task)};
    struct tocsin_join join;
    int result = -ECANCELED;

    tocsin_join_init(&join, &close_scene->task->task);
    (void)tocsin_join_poll(&join, &cx, &result);
    MODEL_CHECK(result == -ECANCELED);
    tocsin_join_deinit(&join);
    tocsin_waker_drop(&cx.waker);
    tocsin_task_unref(&close_scene->task->task);
    tocsin_pool_stop(close_scene->pool);
    tocsin_driver_unref(close_scene->drivers[1]);
}

static void stop_then_cancel(void *scene)
{
    struct close_scene *close_scene = scene;

    tocsin_pool_stop(close_scene->pool);
    cancel_then_give_back(scene);
}

static void be_told(void *arg, int status)
{
    struct close_scene *close_scene = arg;

    MODEL_CHECK(status == 0 || status == -ECANCELED);
    MODEL_CHECK(close_scene->data == 1);
    close_scene->told++;
}

static void post_then_give_back(void *scene)
{
    struct close_scene *close_scene = scene;
    int r;

    close_scene->data = 1;
    for (unsigned i = 0; i < 2; i++) {
        r = tocsin_post(close_scene->drivers[0], be_told, scene);
        MODEL_CHECK(r == 0 || r == -ESHUTDOWN);
        close_scene->posted += r == 0;
    }
    tocsin_waker_drop(&close_scene->waker);
    tocsin_driver_unref(close_scene->drivers[0]);
}

static void spawn_then_give_back(void *scene)
{
    struct close_scene *close_scene = scene;

    if (kit_spawn(close_scene->drivers[0], &close_scene->spawned_log, poll_for_ever, scene,
                  false) == NULL) {
        close_scene->spawned_log.drops = 1; /* it never was one */
        close_scene->spawned_log.releases = 1;
    }
    tocsin_waker_drop(&close_scene->waker);
    tocsin_driver_unref(close_scene->drivers[0]);
}

static void task_ended(void *scene)
{
    struct close_scene *close_scene = scene;

    kit_check_ended(&close_scene->log);
    MODEL_CHECK(close_scene->told == close_scene->posted);
}

static void both_ended(void *scene)
{
    struct close_scene *close_scene = scene;

    task_ended(scene);
    kit_check_ended(&close_scene->spawned_log);
}

#define SCENE .scene_size = sizeof(struct close_scene), .set_up = set_up

const struct model_scenario model_scenes_close[] = {
    {.name = "close_meets_a_wake_and_a_cancel",
     .rules = "K1 K2 K3 I2 REFS-1",
     SCENE,
     .threads = {close_at_once, wake_then_give_back, cancel_then_give_back},
     .check = task_ended},
    {.name = "close_after_a_turn_meets_a_wake",
     .rules = "K1 K2 K3 I2 REFS-1",
     SCENE,
     .threads = {turn_and_close, give_back_then_wake, cancel_then_give_back},
     .check = task_ended},
    {.name = "close_meets_a_late_kick",
     .rules = "W1 K3 STOP-1",
     SCENE,
     .threads = {run_and_close, wake_then_give_back, stop_then_cancel},
     .check = task_ended},
    {.name = "close_meets_a_join",
     .rules = "join K2 K3",
     SCENE,
     .threads = {turn_and_close, give_back_then_wake, join_then_give_back},
     .check = task_ended},
    {.name = "close_meets_a_join_given_up",
     .rules = "join K2 K3",
     SCENE,
     .threads = {run_and_close, wake_then_give_back, join_once_then_stop},
     .check = task_ended},
    {.name = "close_meets_posts",
     .rules = "I2 posts",
     SCENE,
     .threads = {turn_and_close, post_then_give_back, cancel_then_give_back},
     .check = task_ended},
    {.name = "close_meets_a_spawn",
     .rules = "I2 K2",
     SCENE,
     .threads = {turn_and_close, spawn_then_give_back, cancel_then_give_back},
     .check = both_ended},
    {.name = NULL},
};
