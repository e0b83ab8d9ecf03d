/*
 * Readiness objects that other threads close and open while events of them are on their way.
 *
 * A has an event coming and is closed elsewhere; B ends the task; C is opened where A was.
 */
#include <errno.h>

#include <tocsin/ready.h>

#include "tests/model/kit.h"

enum {
    NUMBER_A = 1,
    NUMBER_B = 2,
    NUMBER_C = 3,
};

struct ready_scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *drivers[2];
    struct tocsin_fd_ready *a;
    struct tocsin_fd_ready *b;
    struct tocsin_fd_ready *c;
    struct kit_log log;
    struct kit_task *task;
    struct model_gate dropped;
};

static int open_one(struct ready_scene *ready_scene, intptr_t number,
                    struct tocsin_fd_ready **out_ready)
{
    return tocsin_source_ready_open(tocsin_pool_driver(ready_scene->pool), TOCSIN_SOURCE_OWN,
                                    number, out_ready);
}

static int poll_for_b(void *arg, struct tocsin_context *cx)
{
    struct ready_scene *ready_scene = arg;
    int r = tocsin_fd_ready_poll(ready_scene->b, TOCSIN_SLOT_READ, TOCSIN_IN, cx);

    MODEL_CHECK(r == TOCSIN_PENDING || r == TOCSIN_IN);
    return r == TOCSIN_PENDING ? r : 0;
}

/* The task waits in A too, which it never polls again: whoever has A may close it. */
static void set_up(struct ready_scene *ready_scene, uint32_t features)
{
    struct tocsin_context cx = {0};
    struct tocsin_driver *driver;

    ready_scene->pool = model_pool_open(features);
    driver = tocsin_pool_driver(ready_scene->pool);
    MODEL_CHECK(open_one(ready_scene, NUMBER_A, &ready_scene->a) == 0);
    MODEL_CHECK(open_one(ready_scene, NUMBER_B, &ready_scene->b) == 0);
    ready_scene->task = kit_spawn(driver, &ready_scene->log, poll_for_b, ready_scene, false);
    cx.waker = tocsin_task_waker(&ready_scene->task->task);
    MODEL_CHECK(tocsin_fd_ready_poll(ready_scene->a, TOCSIN_SLOT_READ, TOCSIN_IN, &cx) ==
                TOCSIN_PENDING);
    tocsin_waker_drop(&cx.waker);
    for (unsigned i = 0; i < 2; i++) {
        ready_scene->drivers[i] = tocsin_driver_ref(driver);
    }
}

static void set_up_edge(void *scene)
{
    set_up(scene, KIT_FEATURES);
}

static void set_up_edge_on_loop(void *scene)
{
    set_up(scene, TOCSIN_BACKEND_EDGE);
}

static void set_up_level(void *scene)
{
    set_up(scene, TOCSIN_BACKEND_ANY_THREAD_ATTACH);
}

static void set_up_level_on_loop(void *scene)
{
    set_up(scene, 0);
}

/* Nothing that was A's came to C. */
static void run_and_close(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_context cx = {0};

    MODEL_CHECK(tocsin_pool_run(ready_scene->pool) == 0);
    if (ready_scene->c != NULL) {
        MODEL_CHECK(tocsin_fd_ready_poll(ready_scene->c, TOCSIN_SLOT_READ, TOCSIN_EVENTS_ALL,
                                         &cx) == TOCSIN_PENDING);
        MODEL_CHECK(tocsin_fd_ready_close(ready_scene->c) == 0);
    }
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->b) == 0);
    kit_close(ready_scene->pool);
}

static void bring_events(void *scene)
{
    struct ready_scene *ready_scene = scene;

    model_event(NUMBER_A, TOCSIN_IN);
    model_event(NUMBER_B, TOCSIN_IN);
    tocsin_driver_unref(ready_scene->drivers[0]);
}

static void close_a(void *scene)
{
    struct ready_scene *ready_scene = scene;

    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->a) == 0);
    tocsin_driver_unref(ready_scene->drivers[1]);
}

static void close_a_open_c(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_fd_ready *c;

    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->a) == 0);
    MODEL_CHECK(open_one(ready_scene, NUMBER_C, &c) == 0);
    ready_scene->c = c;
    tocsin_driver_unref(ready_scene->drivers[1]);
}

/* Open, and close at once: perhaps before the loop has attached it. */
static void open_c_close_both(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_fd_ready *c;

    MODEL_CHECK(open_one(ready_scene, NUMBER_C, &c) == 0);
    MODEL_CHECK(tocsin_fd_ready_close(c) == 0);
    close_a(scene);
}

/* All by one thread: A's event, its end, and what may come in its place. */
static void event_close_a_open_c(void *scene)
{
    struct ready_scene *ready_scene = scene;

    tocsin_driver_unref(ready_scene->drivers[0]);
    model_event(NUMBER_A, TOCSIN_IN);
    close_a_open_c(scene);
    model_event(NUMBER_B, TOCSIN_IN);
}

/* C's second life may come while its first is in the inbox. */
static void open_close_open_c(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_fd_ready *c;

    tocsin_driver_unref(ready_scene->drivers[0]);
    MODEL_CHECK(open_one(ready_scene, NUMBER_C, &c) == 0);
    MODEL_CHECK(tocsin_fd_ready_close(c) == 0);
    close_a_open_c(scene);
    model_event(NUMBER_B, TOCSIN_IN);
}

static void bring_events_of_c_too(void *scene)
{
    model_event(NUMBER_C, TOCSIN_IN);
    bring_events(scene);
}

/* C's event may come as soon as it is open. */
static void open_c(void *scene)
{
    struct ready_scene *ready_scene = scene;

    MODEL_CHECK(open_one(ready_scene, NUMBER_C, &ready_scene->c) == 0);
    tocsin_driver_unref(ready_scene->drivers[1]);
}

static void run_and_close_all(void *scene)
{
    struct ready_scene *ready_scene = scene;

    MODEL_CHECK(tocsin_pool_run(ready_scene->pool) == 0);
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->c) == 0);
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->b) == 0);
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->a) == 0);
    kit_close(ready_scene->pool);
}

static void task_ended(void *scene)
{
    struct ready_scene *ready_scene = scene;

    kit_check_ended(&ready_scene->log);
}

/* ---- Nobody else wakes the pool -------------------------------------------------------------- */

static void nothing(void *data)
{
    (void)data;
}

static void open_the_gate(void *data)
{
    struct ready_scene *ready_scene = data;

    model_gate_open(&ready_scene->dropped);
}

static const struct tocsin_waker_ops gate_waker_ops = {
    .clone = nothing,
    .wake = nothing,
    .wake_by_ref = nothing,
    .drop = open_the_gate,
};

/* B has a waker that tells of its drop. */
static void set_up_with_gate(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_context cx = {.waker = {.ops = &gate_waker_ops, .data = scene}};

    set_up(scene, KIT_FEATURES);
    MODEL_CHECK(tocsin_fd_ready_poll(ready_scene->b, TOCSIN_SLOT_WRITE, TOCSIN_OUT, &cx) ==
                TOCSIN_PENDING);
    MODEL_CHECK(tocsin_task_cancel(&ready_scene->task->task) == 0);
}

/* A close is followed by a drop of what the object held, without more wakes. */
static void close_and_await_the_drop(void *scene)
{
    struct ready_scene *ready_scene = scene;

    tocsin_driver_unref(ready_scene->drivers[0]);
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->b) == 0);
    model_gate_await(&ready_scene->dropped);
    close_a(scene);
}

static void run_until_closed(void *scene)
{
    struct ready_scene *ready_scene = scene;

    kit_run_and_close(ready_scene->pool);
}

/* ---- The pool closes first ------------------------------------------------------------------- */

static void close_pool(void *scene)
{
    struct ready_scene *ready_scene = scene;

    tocsin_driver_unref(ready_scene->drivers[0]);
    kit_close(ready_scene->pool);
    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->b) == 0);
}

static void close_a_open_c_or_not(void *scene)
{
    struct ready_scene *ready_scene = scene;
    struct tocsin_fd_ready *c;
    int r;

    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->a) == 0);
    r = tocsin_source_ready_open(ready_scene->drivers[1], TOCSIN_SOURCE_OWN, NUMBER_C, &c);
    MODEL_CHECK(r == 0 || r == -ESHUTDOWN);
    if (r == 0) {
        MODEL_CHECK(tocsin_fd_ready_close(c) == 0);
    }
    tocsin_driver_unref(ready_scene->drivers[1]);
}

/* What holds the pool's memory is A alone. */
static void set_up_without_drivers(void *scene)
{
    struct ready_scene *ready_scene = scene;

    set_up(scene, KIT_FEATURES);
    tocsin_driver_unref(ready_scene->drivers[0]);
    tocsin_driver_unref(ready_scene->drivers[1]);
}

static void close_pool_after_b(void *scene)
{
    struct ready_scene *ready_scene = scene;

    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->b) == 0);
    kit_close(ready_scene->pool);
}

static void only_close_a(void *scene)
{
    struct ready_scene *ready_scene = scene;

    MODEL_CHECK(tocsin_fd_ready_close(ready_scene->a) == 0);
}

#define SCENE .scene_size = sizeof(struct ready_scene), .check = task_ended

const struct model_scenario model_scenes_ready[] = {
    {.name = "close_elsewhere_meets_its_event",
     .rules = "D1 D3 G1 DEFER-1 LIVE-1",
     SCENE,
     .set_up = set_up_edge,
     .threads = {run_and_close, bring_events, close_a}},
    {.name = "late_event_reaches_no_newer_object",
     .rules = "D1 D3 G1 G2 LIVE-1",
     SCENE,
     .set_up = set_up_edge,
     .threads = {run_and_close, bring_events, close_a_open_c}},
    {.name = "late_event_reaches_no_newer_object_on_loop",
     .rules = "D1 D3 G1 G2 INBOX-1",
     SCENE,
     .set_up = set_up_edge_on_loop,
     .threads = {run_and_close, bring_events, close_a_open_c}},
    {.name = "late_event_reaches_no_newer_object_level",
     .rules = "D1 D3 G1 G2",
     SCENE,
     .set_up = set_up_level,
     .threads = {run_and_close, bring_events, close_a_open_c}},
    {.name = "event_meets_the_open",
     .rules = "G2 LIVE-1",
     SCENE,
     .set_up = set_up_edge,
     .threads = {run_and_close_all, bring_events_of_c_too, open_c}},
    {.name = "event_of_a_closed_object_is_nobodys",
     .rules = "D3 G1 G2 LIVE-1",
     SCENE,
     .set_up = set_up_edge,
     .threads = {run_and_close, event_close_a_open_c}},
    {.name = "object_is_opened_where_one_was",
     .rules = "D1 D3 G1 INBOX-1 DEFER-1",
     SCENE,
     .set_up = set_up_level_on_loop,
     .threads = {run_and_close, open_close_open_c}},
    {.name = "close_elsewhere_is_enough_for_the_drop",
     .rules = "D1 DEFER-1",
     SCENE,
     .set_up = set_up_with_gate,
     .threads = {run_until_closed, close_and_await_the_drop}},
    {.name = "open_and_close_meet_the_attach",
     .rules = "D1 D3 G1 INBOX-1 DEFER-1",
     SCENE,
     .set_up = set_up_level_on_loop,
     .threads = {run_and_close, bring_events_of_c_too, open_c_close_both}},
    {.name = "close_of_an_object_meets_the_close_of_the_pool",
     .rules = "D1 D3 G1 REFS-1",
     SCENE,
     .set_up = set_up_edge,
     .threads = {close_pool, close_a_open_c_or_not}},
    {.name = "last_object_holds_the_pool",
     .rules = "D1 REFS-1",
     SCENE,
     .set_up = set_up_without_drivers,
     .threads = {close_pool_after_b, only_close_a}},
    {.name = "close_meets_the_close_of_the_pool_on_loop",
     .rules = "D1 D3 G1 REFS-1 INBOX-1",
     SCENE,
     .set_up = set_up_level_on_loop,
     .threads = {close_pool, close_a_open_c_or_not}},
    {.name = NULL},
};
