/*
 * Tasks that other threads spawn, and the rows that they are listed in.
 */
#include <errno.h>
#include <stdatomic.h>

#include "runtime/pool.h"
#include "runtime/row.h"
#include "tests/model/kit.h"

struct spawn_scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct kit_log log;
    struct kit_log other_log;
    struct kit_task *task;
    struct tocsin_waker waker;
    _Atomic(uint32_t) sent; /* the waker is there */
    uint32_t data;          /* written before a spawn */
    unsigned spawned;
    struct tocsin_task *listed;
    struct model_gate gate;
};

static void set_up_driver(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    spawn_scene->pool = model_pool_open(KIT_FEATURES);
    spawn_scene->driver = tocsin_driver_ref(tocsin_pool_driver(spawn_scene->pool));
}

static void run_and_close(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    kit_run_and_close(spawn_scene->pool);
}

static void task_ended(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    kit_check_ended(&spawn_scene->log);
}

/* ---- Spawns from elsewhere ------------------------------------------------------------------- */

static int poll_at_once(void *arg, struct tocsin_context *cx)
{
    struct spawn_scene *spawn_scene = arg;

    (void)cx;
    MODEL_CHECK(spawn_scene->data == 1);
    return 7;
}

static void spawn_and_unref(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    spawn_scene->data = 1;
    kit_spawn(spawn_scene->driver, &spawn_scene->log, poll_at_once, scene, false);
    tocsin_driver_unref(spawn_scene->driver);
}

static void spawn_wake_cancel_and_unref(void *scene)
{
    struct spawn_scene *spawn_scene = scene;
    struct tocsin_waker waker;
    int r;

    spawn_scene->data = 1;
    spawn_scene->task =
        kit_spawn(spawn_scene->driver, &spawn_scene->log, poll_at_once, scene, true);
    waker = tocsin_task_waker(&spawn_scene->task->task);
    tocsin_waker_wake(&waker);
    r = tocsin_task_cancel(&spawn_scene->task->task);
    MODEL_CHECK(r == 0 || r == -EALREADY);
    tocsin_task_unref(&spawn_scene->task->task);
    tocsin_driver_unref(spawn_scene->driver);
}

/* ---- The list -------------------------------------------------------------------------------- */

static void list_tasks(void *scene)
{
    struct spawn_scene *spawn_scene = scene;
    struct tocsin_task_info infos[4];
    int count;

    model_gate_await(&spawn_scene->gate);
    tocsin_waker_wake(&spawn_scene->waker);
    count = tocsin_task_list(spawn_scene->driver, infos, 4);
    MODEL_CHECK(count >= 0 && count <= 3);
    for (int i = 0; i < count; i++) {
        MODEL_CHECK(infos[i].id != 0);
        if (infos[i].name[0] != 'k') { /* the task that spawns the others */
            MODEL_CHECK(infos[i].name[0] == 'a' || infos[i].name[0] == 'b');
            MODEL_CHECK(infos[i].name[8] == infos[i].name[0]); /* another word of the row */
            MODEL_CHECK((infos[i].place[0] == 'A') == (infos[i].name[0] == 'a'));
        }
    }
    tocsin_driver_unref(spawn_scene->driver);
}

static int poll_listed(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return TOCSIN_PENDING;
}

static void release_listed(struct tocsin_task *task)
{
    model_free(task);
}

static const struct tocsin_task_ops listed_ops = {.poll = poll_listed, .release = release_listed};

static void spawn_listed(struct spawn_scene *spawn_scene, struct tocsin_context *cx,
                         const char *name, const char *place)
{
    spawn_scene->listed = model_alloc(sizeof(*spawn_scene->listed));
    MODEL_CHECK(
        tocsin_task_spawn_ref_at(cx->driver, spawn_scene->listed, &listed_ops, name, place) == 0);
}

static void end_listed(struct spawn_scene *spawn_scene)
{
    MODEL_CHECK(tocsin_task_cancel(spawn_scene->listed) == 0);
    tocsin_task_unref(spawn_scene->listed);
}

/*
 * Two tasks, one after the other in one row.  The lister wakes this when the first is there, and
 * then lists while it makes way for the second.
 */
static int poll_to_spawn(void *arg, struct tocsin_context *cx)
{
    struct spawn_scene *spawn_scene = arg;

    switch (spawn_scene->spawned++) {
    case 0:
        spawn_listed(spawn_scene, cx, "aaaaaaaaaaaa", "A");
        spawn_scene->waker = tocsin_waker_clone(&cx->waker);
        model_gate_open(&spawn_scene->gate);
        return TOCSIN_PENDING;
    case 1:
        end_listed(spawn_scene);
        return tocsin_task_yield(cx);
    default:
        spawn_listed(spawn_scene, cx, "bbbbbbbbbbbb", "B");
        end_listed(spawn_scene);
        return 0;
    }
}

static void run_listed(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    kit_spawn(tocsin_pool_driver(spawn_scene->pool), &spawn_scene->log, poll_to_spawn, scene,
              false);
    kit_run_and_close(spawn_scene->pool);
}

/* ---- Rows that go back to who spawns elsewhere ----------------------------------------------- */

/* All rows of the first chunk but one are taken. */
static void set_up_last_row(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    set_up_driver(scene);
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK - 1; i++) {
        MODEL_CHECK(tocsin__row_take(spawn_scene->pool, true) != NULL);
    }
}

/* The second task takes the row that the first has left, if it has, or one of a new chunk. */
static void spawn_join_and_spawn(void *scene)
{
    struct spawn_scene *spawn_scene = scene;
    struct kit_task *task;
    int result = 0;

    spawn_scene->data = 1;
    task = kit_spawn(spawn_scene->driver, &spawn_scene->other_log, poll_at_once, scene, true);
    MODEL_CHECK(tocsin_task_join(&task->task, &result) == 0);
    MODEL_CHECK(result == 7);
    tocsin_task_unref(&task->task);
    spawn_and_unref(scene);
}

static void both_tasks_ended(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    kit_check_ended(&spawn_scene->log);
    kit_check_ended(&spawn_scene->other_log);
}

/* ---- A wake on the pool's thread of what is not received yet --------------------------------- */

static int poll_to_wake(void *arg, struct tocsin_context *cx)
{
    struct spawn_scene *spawn_scene = arg;

    (void)cx;
    if (atomic_load_explicit(&spawn_scene->sent, memory_order_acquire) != 0) {
        tocsin_waker_wake_by_ref(&spawn_scene->waker);
    }
    return 0;
}

static void run_waking_task(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    kit_spawn(tocsin_pool_driver(spawn_scene->pool), &spawn_scene->other_log, poll_to_wake, scene,
              false);
    kit_run_and_close(spawn_scene->pool);
}

static void spawn_and_show_waker(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    spawn_scene->data = 1;
    spawn_scene->task =
        kit_spawn(spawn_scene->driver, &spawn_scene->log, poll_at_once, scene, true);
    spawn_scene->waker = tocsin_task_waker(&spawn_scene->task->task);
    atomic_store_explicit(&spawn_scene->sent, 1, memory_order_release);
    tocsin_task_unref(&spawn_scene->task->task);
    tocsin_driver_unref(spawn_scene->driver);
}

static void shown_waker_is_the_last(void *scene)
{
    struct spawn_scene *spawn_scene = scene;

    tocsin_waker_drop(&spawn_scene->waker);
    kit_check_ended(&spawn_scene->log);
    kit_check_ended(&spawn_scene->other_log);
    MODEL_CHECK(spawn_scene->log.polls == 1);
}

#define SCENE .scene_size = sizeof(struct spawn_scene)

const struct model_scenario model_scenes_spawn[] = {
    {.name = "spawn_elsewhere_is_run",
     .rules = "K2 W2 DRIVER-1",
     SCENE,
     .set_up = set_up_driver,
     .threads = {run_and_close, spawn_and_unref},
     .check = task_ended},
    {.name = "spawn_wake_and_cancel_elsewhere",
     .rules = "K1 K2 K3",
     SCENE,
     .set_up = set_up_driver,
     .threads = {run_and_close, spawn_wake_cancel_and_unref},
     .check = task_ended},
    {.name = "wake_here_of_a_task_on_its_way",
     .rules = "K1 K2",
     SCENE,
     .set_up = set_up_driver,
     .threads = {run_waking_task, spawn_and_show_waker},
     .check = shown_waker_is_the_last},
    {.name = "row_goes_back_to_who_spawns_elsewhere",
     .rules = "ROW-3 R2",
     SCENE,
     .set_up = set_up_last_row,
     .threads = {run_and_close, spawn_join_and_spawn},
     .check = both_tasks_ended,
     .fewer = 1},
    {.name = "rows_of_the_list_are_whole",
     .rules = "ROW-1 ROW-2",
     SCENE,
     .set_up = set_up_driver,
     .threads = {run_listed, list_tasks},
     .fewer = 1},
    {.name = NULL},
};
