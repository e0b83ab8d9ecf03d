/*
 * A pool's run against other threads: wakes, posts, drivers, stop, hosted turns,
 * submissions.
 *
 * Setting up runs on another thread than the pool's, which is allowed before the first run.
 */
#include <errno.h>
#include <stdatomic.h>

#include "backends/ring/remote.h"
#include "runtime/pool.h"
#include "tests/model/kit.h"

enum {
    DATA_MAX = 2,
    POSTS_MAX = 4,
};

struct pool_scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *drivers[2];
    struct kit_log log;
    struct kit_task *task;
    struct tocsin_waker wakers[DATA_MAX];
    _Atomic(uint32_t) sent[DATA_MAX]; /* relaxed: it is the wake that publishes */
    uint32_t data[DATA_MAX];          /* written before */
    uint32_t wanted;                  /* sum of data that ends the task */
    unsigned posts_run;
    unsigned order[POSTS_MAX];
    unsigned stops;
    struct remote remote;
    struct tocsin_item_ items[DATA_MAX];
    uint32_t item_data[DATA_MAX];
    unsigned items_taken;
};

/* ---- Wakes ----------------------------------------------------------------------------------- */

/* What was sent before a wake is seen by a poll after it, with all that came before it. */
static int poll_for_data(void *arg, struct tocsin_context *cx)
{
    struct pool_scene *pool_scene = arg;
    uint32_t sum = 0;

    (void)cx;
    for (unsigned i = 0; i < DATA_MAX; i++) {
        sum += atomic_load_explicit(&pool_scene->sent[i], memory_order_relaxed);
    }
    return sum == pool_scene->wanted ? 7 : TOCSIN_PENDING;
}

static void set_up_task(struct pool_scene *pool_scene, uint32_t wanted)
{
    struct tocsin_driver *driver;

    pool_scene->pool = model_pool_open(KIT_FEATURES);
    pool_scene->wanted = wanted;
    driver = tocsin_pool_driver(pool_scene->pool);
    pool_scene->task = kit_spawn(driver, &pool_scene->log, poll_for_data, pool_scene, false);
    for (unsigned i = 0; i < DATA_MAX; i++) {
        pool_scene->wakers[i] = tocsin_task_waker(&pool_scene->task->task);
    }
}

static void set_up_two_wakers(void *scene)
{
    set_up_task(scene, 2);
}

static void set_up_one_waker(void *scene)
{
    struct pool_scene *pool_scene = scene;

    set_up_task(pool_scene, 2);
    tocsin_waker_drop(&pool_scene->wakers[1]);
}

static void run_and_close(void *scene)
{
    struct pool_scene *pool_scene = scene;

    kit_run_and_close(pool_scene->pool);
}

static void send_and_wake(struct pool_scene *pool_scene, unsigned i)
{
    atomic_store_explicit(&pool_scene->sent[i], 1, memory_order_relaxed);
    tocsin_waker_wake(&pool_scene->wakers[i]);
}

static void send_0_and_wake(void *scene)
{
    send_and_wake(scene, 0);
}

static void send_1_and_wake(void *scene)
{
    send_and_wake(scene, 1);
}

static void send_twice(void *scene)
{
    struct pool_scene *pool_scene = scene;

    atomic_store_explicit(&pool_scene->sent[0], 1, memory_order_relaxed);
    tocsin_waker_wake_by_ref(&pool_scene->wakers[0]);
    atomic_store_explicit(&pool_scene->sent[0], 2, memory_order_relaxed);
    tocsin_waker_wake(&pool_scene->wakers[0]);
}

static void task_ended(void *scene)
{
    struct pool_scene *pool_scene = scene;

    kit_check_ended(&pool_scene->log);
}

/* ---- Posts and drivers ----------------------------------------------------------------------- */

static void set_up_drivers(void *scene)
{
    struct pool_scene *pool_scene = scene;

    pool_scene->pool = model_pool_open(KIT_FEATURES);
    for (unsigned i = 0; i < 2; i++) {
        pool_scene->drivers[i] = tocsin_driver_ref(tocsin_pool_driver(pool_scene->pool));
    }
}

static void set_up_driver(void *scene)
{
    struct pool_scene *pool_scene = scene;

    set_up_drivers(scene);
    tocsin_driver_unref(pool_scene->drivers[1]);
}

struct post_arg {
    struct pool_scene *pool_scene;
    unsigned number;
};

static void run_post(void *arg, int status)
{
    struct post_arg *post_arg = arg;
    struct pool_scene *pool_scene = post_arg->pool_scene;

    MODEL_CHECK(status == 0);
    pool_scene->order[pool_scene->posts_run++] = post_arg->number;
    model_free(post_arg);
}

static void post(struct pool_scene *pool_scene, struct tocsin_driver *driver, unsigned number)
{
    struct post_arg *post_arg = model_alloc(sizeof(*post_arg));

    post_arg->pool_scene = pool_scene;
    post_arg->number = number;
    MODEL_CHECK(tocsin_post(driver, run_post, post_arg) == 0);
}

static void post_0_and_1(void *scene)
{
    struct pool_scene *pool_scene = scene;

    post(pool_scene, pool_scene->drivers[0], 0);
    post(pool_scene, pool_scene->drivers[0], 1);
    tocsin_driver_unref(pool_scene->drivers[0]);
}

static void post_2(void *scene)
{
    struct pool_scene *pool_scene = scene;

    post(pool_scene, pool_scene->drivers[1], 2);
    tocsin_driver_unref(pool_scene->drivers[1]);
}

static void posts_ran_in_order(void *scene)
{
    struct pool_scene *pool_scene = scene;
    unsigned next = 0;

    MODEL_CHECK(pool_scene->posts_run == 2 || pool_scene->posts_run == 3);
    for (unsigned i = 0; i < pool_scene->posts_run; i++) {
        if (pool_scene->order[i] < 2) {
            MODEL_CHECK(pool_scene->order[i] == next++);
        }
    }
    MODEL_CHECK(next == 2);
}

static void unref_0(void *scene)
{
    struct pool_scene *pool_scene = scene;

    pool_scene->data[0] = 1;
    tocsin_driver_unref(pool_scene->drivers[0]);
}

static void unref_1(void *scene)
{
    struct pool_scene *pool_scene = scene;

    pool_scene->data[1] = 1;
    tocsin_driver_unref(pool_scene->drivers[1]);
}

static void run_sees_what_came_before_unref(void *scene)
{
    struct pool_scene *pool_scene = scene;

    MODEL_CHECK(tocsin_pool_run(pool_scene->pool) == 0);
    MODEL_CHECK(pool_scene->data[0] == 1 && pool_scene->data[1] == 1);
    kit_close(pool_scene->pool);
}

/* ---- Stop ------------------------------------------------------------------------------------ */

static void stop_with_data(void *scene)
{
    struct pool_scene *pool_scene = scene;

    pool_scene->data[0] = 1;
    tocsin_pool_stop(pool_scene->pool);
}

/* The task is never woken; what ends the run is the stop. */
static void run_until_stopped(void *scene)
{
    struct pool_scene *pool_scene = scene;

    MODEL_CHECK(tocsin_pool_run(pool_scene->pool) == 1);
    MODEL_CHECK(pool_scene->data[0] == 1);
    kit_close(pool_scene->pool);
}

static void set_up_unwoken(void *scene)
{
    struct pool_scene *pool_scene = scene;

    set_up_task(pool_scene, 2);
    tocsin_waker_drop(&pool_scene->wakers[0]);
    tocsin_waker_drop(&pool_scene->wakers[1]);
}

/* Each stop is taken by one run: two of them end one or two runs, and no third. */
static void run_until_stopped_and_woken(void *scene)
{
    struct pool_scene *pool_scene = scene;

    while (tocsin_pool_run(pool_scene->pool) == 1) {
        MODEL_CHECK(++pool_scene->stops <= 2);
    }
    kit_close(pool_scene->pool);
}

static void stop_twice_then_send(void *scene)
{
    struct pool_scene *pool_scene = scene;

    tocsin_pool_stop(pool_scene->pool);
    tocsin_pool_stop(pool_scene->pool);
    atomic_store_explicit(&pool_scene->sent[0], 2, memory_order_relaxed);
    tocsin_waker_wake(&pool_scene->wakers[0]);
}

/* ---- Hosted ---------------------------------------------------------------------------------- */

static void host_turns(void *scene)
{
    struct pool_scene *pool_scene = scene;
    int r;

    MODEL_CHECK(tocsin_pool_poll_fd(pool_scene->pool) >= 0);
    for (;;) {
        r = tocsin_pool_turn(pool_scene->pool);
        MODEL_CHECK(r >= 0);
        if (r == 0) {
            break;
        }
        model_await_readable();
    }
    kit_close(pool_scene->pool);
}

/* ---- The pool of a ring ---------------------------------------------------------------------- */

static void take_items(void *arg)
{
    struct pool_scene *pool_scene = arg;
    struct tocsin_item_ *item = tocsin__remote_take(&pool_scene->remote);

    while (item != NULL) {
        struct tocsin_item_ *next = item->next_;

        MODEL_CHECK(pool_scene->item_data[item->word_] == 1);
        pool_scene->items_taken++;
        item = next;
    }
}

static uint64_t arm_remote(void *arg, uint64_t deadline_ns)
{
    struct pool_scene *pool_scene = arg;

    return tocsin__remote_arm(&pool_scene->remote) ? deadline_ns : 0;
}

static void set_up_ring(void *scene)
{
    struct pool_scene *pool_scene = scene;
    struct model_hooks hooks = {.prepare = arm_remote, .harvest = take_items, .arg = scene};

    tocsin__remote_init(&pool_scene->remote);
    pool_scene->pool = model_pool_open_hooked(KIT_FEATURES, &hooks);
    for (unsigned i = 0; i < 2; i++) {
        pool_scene->drivers[i] = tocsin_driver_ref(tocsin_pool_driver(pool_scene->pool));
        pool_scene->items[i].word_ = i;
    }
}

static void submit(struct pool_scene *pool_scene, unsigned i)
{
    pool_scene->item_data[i] = 1;
    if (tocsin__remote_push(&pool_scene->remote, &pool_scene->items[i]) > 0) {
        tocsin__pool_wake(tocsin__pool_of(pool_scene->drivers[i]));
    }
    tocsin_driver_unref(pool_scene->drivers[i]);
}

static void submit_0(void *scene)
{
    submit(scene, 0);
}

static void submit_1(void *scene)
{
    submit(scene, 1);
}

static void both_were_taken(void *scene)
{
    struct pool_scene *pool_scene = scene;

    MODEL_CHECK(pool_scene->items_taken == 2);
}

#define SCENE .scene_size = sizeof(struct pool_scene)

const struct model_scenario model_scenes_pool[] = {
    {.name = "wakes_of_two_threads_reach_a_task",
     .rules = "W1 W2 W4 K1 K2",
     SCENE,
     .set_up = set_up_two_wakers,
     .threads = {run_and_close, send_0_and_wake, send_1_and_wake},
     .check = task_ended},
    {.name = "two_wakes_of_a_thread_reach_a_task",
     .rules = "W1 W2 W4 K1 K2",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_and_close, send_twice},
     .check = task_ended},
    {.name = "posts_run_before_the_run_ends",
     .rules = "F2 I1 DRIVER-1",
     SCENE,
     .set_up = set_up_driver,
     .threads = {run_and_close, post_0_and_1},
     .check = posts_ran_in_order},
    {.name = "posts_of_two_threads_run",
     .rules = "F2 I1 DRIVER-1",
     SCENE,
     .set_up = set_up_drivers,
     .threads = {run_and_close, post_0_and_1, post_2},
     .check = posts_ran_in_order},
    {.name = "run_ends_after_the_last_driver",
     .rules = "4.6 DRIVER-1 REFS-1",
     SCENE,
     .set_up = set_up_drivers,
     .threads = {run_sees_what_came_before_unref, unref_0, unref_1}},
    {.name = "stop_ends_a_run",
     .rules = "STOP-1",
     SCENE,
     .set_up = set_up_unwoken,
     .threads = {run_until_stopped, stop_with_data},
     .check = task_ended},
    {.name = "stops_are_taken_once",
     .rules = "STOP-1",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {run_until_stopped_and_woken, stop_twice_then_send},
     .check = task_ended},
    {.name = "hosted_pool_is_woken",
     .rules = "W1 W5 4.5",
     SCENE,
     .set_up = set_up_one_waker,
     .threads = {host_turns, send_twice},
     .check = task_ended},
    {.name = "submissions_are_taken_before_the_run_ends",
     .rules = "Q1 Q2 REMOTE-1",
     SCENE,
     .set_up = set_up_ring,
     .threads = {run_and_close, submit_0, submit_1},
     .check = both_were_taken},
    {.name = NULL},
};
