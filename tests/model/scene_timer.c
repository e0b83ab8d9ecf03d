/*
 * Timers that other threads move.
 *
 * Movers do nothing after their moves that would wake the pool: what a move forgets is lost.
 */
#include <stdatomic.h>

#include <tocsin/timer.h>

#include "tests/model/kit.h"

#define DUE_NS(offset) (MODEL_START_NS + (offset))

struct timer_scene {
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    struct tocsin_driver *driver;
    struct model_gate gates[MODEL_THREADS_MAX]; /* of each mover: it has moved */
    bool is_alone;                              /* there is one mover */
    uint64_t fired_ns;
    unsigned fired;
    uint64_t returned_ns[MODEL_THREADS_MAX]; /* the clock when the mover's last call returned */
    struct kit_log log;
    _Atomic(uint32_t) moved; /* a move has returned */
    bool disarmed;
};

static void fire(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct timer_scene *timer_scene = arg;

    (void)missed;
    MODEL_CHECK(!timer_scene->disarmed);
    MODEL_CHECK(tocsin_pool_now_ns(timer_scene->pool) >= timer->deadline_ns_); /* T1 */
    timer_scene->fired++;
    timer_scene->fired_ns = model_now_ns();
}

static void set_up(void *scene)
{
    struct timer_scene *timer_scene = scene;
    struct tocsin_driver *driver;

    timer_scene->pool = model_pool_open(KIT_FEATURES);
    driver = tocsin_pool_driver(timer_scene->pool);
    MODEL_CHECK(tocsin_timer_init(&timer_scene->timer, driver, fire, scene) == 0);
    tocsin_timer_arm(&timer_scene->timer, DUE_NS(1000));
}

static void set_up_one_mover(void *scene)
{
    struct timer_scene *timer_scene = scene;

    set_up(scene);
    timer_scene->is_alone = true;
}

/* A counted driver keeps the run from ending. */
static void set_up_with_driver(void *scene)
{
    struct timer_scene *timer_scene = scene;

    set_up(scene);
    timer_scene->driver = tocsin_driver_ref(tocsin_pool_driver(timer_scene->pool));
}

static void run_and_close(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(tocsin_pool_run(timer_scene->pool) == 0);
    tocsin_timer_deinit(&timer_scene->timer);
    kit_close(timer_scene->pool);
}

/* The run ends when the timer has fired; the timer's end waits for the movers. */
static void run_and_await_movers(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(tocsin_pool_run(timer_scene->pool) == 0);
    model_gate_await(&timer_scene->gates[1]);
    if (!timer_scene->is_alone) {
        model_gate_await(&timer_scene->gates[2]);
    }
    tocsin_timer_deinit(&timer_scene->timer);
    kit_close(timer_scene->pool);
}

static void move(struct timer_scene *timer_scene, unsigned thread, uint64_t deadline_ns)
{
    tocsin_timer_move(&timer_scene->timer, deadline_ns);
    timer_scene->returned_ns[thread] = model_now_ns();
}

static void move_to_100(void *scene)
{
    struct timer_scene *timer_scene = scene;

    move(timer_scene, 1, DUE_NS(100));
    model_gate_open(&timer_scene->gates[1]);
}

static void move_to_300(void *scene)
{
    struct timer_scene *timer_scene = scene;

    move(timer_scene, 2, DUE_NS(300));
    model_gate_open(&timer_scene->gates[2]);
}

static void move_to_2000(void *scene)
{
    struct timer_scene *timer_scene = scene;

    move(timer_scene, 2, DUE_NS(2000));
    model_gate_open(&timer_scene->gates[2]);
}

static void move_to_300_then_100(void *scene)
{
    struct timer_scene *timer_scene = scene;

    move(timer_scene, 1, DUE_NS(300));
    move_to_100(scene);
}

static void move_to_100_then_300(void *scene)
{
    struct timer_scene *timer_scene = scene;

    move(timer_scene, 1, DUE_NS(100));
    move(timer_scene, 1, DUE_NS(300));
    model_gate_open(&timer_scene->gates[1]);
}

/* When it must have fired: at @due_ns, or when the last move that the clock overtook came. */
static uint64_t latest_ns(const struct timer_scene *timer_scene, uint64_t due_ns)
{
    uint64_t latest = due_ns;

    for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
        latest = timer_scene->returned_ns[i] > latest ? timer_scene->returned_ns[i] : latest;
    }
    return latest;
}

static void fired_by_100(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(timer_scene->fired >= 1);
    MODEL_CHECK(timer_scene->fired_ns <= latest_ns(timer_scene, DUE_NS(100)));
}

/* Of one mover the last word counts: no older one overrides it. */
static void fired_last_by_300(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(timer_scene->fired >= 1);
    /* Unless it fired before the last word was said. */
    MODEL_CHECK(timer_scene->fired_ns >= DUE_NS(300) ||
                timer_scene->fired_ns <= timer_scene->returned_ns[1]);
    MODEL_CHECK(timer_scene->fired_ns <= latest_ns(timer_scene, DUE_NS(300)));
}

/* Of two movers it is either's, but no other's. */
static void fired_by_300(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(timer_scene->fired >= 1);
    MODEL_CHECK(timer_scene->fired_ns >= DUE_NS(100));
    MODEL_CHECK(timer_scene->fired_ns <= latest_ns(timer_scene, DUE_NS(300)));
}

/* It was armed for 1000 at first, but both have moved it. */
static void fired_by_100_or_at_2000(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(timer_scene->fired >= 1);
    MODEL_CHECK(timer_scene->fired_ns <= latest_ns(timer_scene, DUE_NS(100)) ||
                timer_scene->fired_ns == DUE_NS(2000));
}

/* ---- A move that has returned does not outlive a disarm -------------------------------------- */

static void move_and_say_so(void *scene)
{
    struct timer_scene *timer_scene = scene;

    tocsin_timer_move(&timer_scene->timer, DUE_NS(100));
    atomic_store_explicit(&timer_scene->moved, 1, memory_order_release);
    tocsin_driver_unref(timer_scene->driver);
}

static int poll_to_disarm(void *arg, struct tocsin_context *cx)
{
    struct timer_scene *timer_scene = arg;

    if (atomic_load_explicit(&timer_scene->moved, memory_order_acquire) == 0) {
        return tocsin_task_yield(cx);
    }
    tocsin_timer_disarm(&timer_scene->timer);
    timer_scene->disarmed = true;
    return 0;
}

/* The task is polled again only by chance: a post, and the driver's end, make turns. */
static int poll_once_to_disarm(void *arg, struct tocsin_context *cx)
{
    int r = poll_to_disarm(arg, cx);

    return r == TOCSIN_PENDING ? 0 : r;
}

static void run_and_disarm(void *scene)
{
    struct timer_scene *timer_scene = scene;

    kit_spawn(tocsin_pool_driver(timer_scene->pool), &timer_scene->log, poll_once_to_disarm, scene,
              false);
    run_and_close(scene);
}

/* ---- The polling face ------------------------------------------------------------------------ */

static int poll_timer(void *arg, struct tocsin_context *cx)
{
    struct timer_scene *timer_scene = arg;
    int r = tocsin_timer_poll(&timer_scene->timer, cx, DUE_NS(1000));

    if (r == 0) {
        timer_scene->fired++;
        timer_scene->fired_ns = model_now_ns();
    }
    return r;
}

static void set_up_polling(void *scene)
{
    struct timer_scene *timer_scene = scene;
    struct tocsin_driver *driver;

    timer_scene->pool = model_pool_open(KIT_FEATURES);
    driver = tocsin_pool_driver(timer_scene->pool);
    MODEL_CHECK(tocsin_timer_init(&timer_scene->timer, driver, NULL, NULL) == 0);
    kit_spawn(driver, &timer_scene->log, poll_timer, scene, false);
    timer_scene->is_alone = true;
}

/* The first poll may come after the move, and asks for 1000 then. */
static void fired_by_1000(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(timer_scene->fired == 1);
    MODEL_CHECK(timer_scene->fired_ns >= DUE_NS(100));
    MODEL_CHECK(timer_scene->fired_ns <= latest_ns(timer_scene, DUE_NS(1000)));
}

static void run_to_the_close(void *scene)
{
    struct timer_scene *timer_scene = scene;

    MODEL_CHECK(tocsin_pool_run(timer_scene->pool) >= 0);
    kit_close(timer_scene->pool);
    tocsin_timer_deinit(&timer_scene->timer);
}

/* The timer is not deinitialised before the mover has gone: its driver keeps the run going. */
static void stop_and_move(void *scene)
{
    struct timer_scene *timer_scene = scene;

    tocsin_timer_move(&timer_scene->timer, DUE_NS(100));
    tocsin_pool_stop(timer_scene->pool);
    tocsin_driver_unref(timer_scene->driver);
}

#define SCENE .scene_size = sizeof(struct timer_scene)

const struct model_scenario model_scenes_timer[] = {
    {.name = "timer_moved_earlier_fires_then",
     .rules = "T1 T3 W1 W5",
     SCENE,
     .set_up = set_up_one_mover,
     .threads = {run_and_await_movers, move_to_100},
     .check = fired_by_100},
    {.name = "timer_moved_twice_obeys_the_last",
     .rules = "T1 T3 W1 W5",
     SCENE,
     .set_up = set_up_one_mover,
     .threads = {run_and_await_movers, move_to_300_then_100},
     .check = fired_by_100},
    {.name = "older_move_overrides_no_newer_one",
     .rules = "T1 T3 W1 W5",
     SCENE,
     .set_up = set_up_one_mover,
     .threads = {run_and_await_movers, move_to_100_then_300},
     .check = fired_last_by_300},
    {.name = "timer_moved_by_two_fires_by_the_later",
     .rules = "T1 T3 W1 W5 W6",
     SCENE,
     .set_up = set_up,
     .threads = {run_and_await_movers, move_to_100, move_to_300},
     .check = fired_by_300},
    {.name = "later_move_hides_no_earlier_one",
     .rules = "T1 T3 W1 W5 W6",
     SCENE,
     .set_up = set_up,
     .threads = {run_and_await_movers, move_to_100, move_to_2000},
     .check = fired_by_100_or_at_2000},
    {.name = "move_that_returned_arms_nothing_after_a_disarm",
     .rules = "T3",
     SCENE,
     .set_up = set_up_with_driver,
     .threads = {run_and_disarm, move_and_say_so}},
    {.name = "polled_timer_is_moved",
     .rules = "T1 T3",
     SCENE,
     .set_up = set_up_polling,
     .threads = {run_and_await_movers, move_to_100},
     .check = fired_by_1000},
    {.name = "move_meets_the_stop",
     .rules = "T3 STOP-1",
     SCENE,
     .set_up = set_up_with_driver,
     .threads = {run_to_the_close, stop_and_move}},
    {.name = NULL},
};
