/*
 * Operations of the main actor, outside of the pool's turns; and those with a pool of their own.
 */
#include "differential.h"

#include <tocsin/backend.h>
#include <tocsin/uring.h>

#define FAR_NS UINT64_C(3600000000000)

static void backends(struct actor *actor)
{
    const struct tocsin_backend *backend;
    unsigned count = 0;

    for (; (backend = CALL(tocsin_backend_at)(count)) != NULL; count++) {
        EXPECT(actor, CALL(tocsin_backend_find)(backend->ops->name) == backend);
    }
    EXPECT(actor, CALL(tocsin_backend_default)() != NULL);
    EXPECT(actor, CALL(tocsin_driver_backend)(actor->run->driver)->ops ==
                      actor->run->target->backend->ops);
    say(actor, " %u, %s, unknown %d", count, CALL(tocsin_version)(),
        CALL(tocsin_backend_find)("no such backend") != NULL);
}

static int main_poll(struct tocsin_context *cx, void *arg)
{
    unsigned *left = arg;

    return (*left)-- > 0 ? CALL(tocsin_task_yield)(cx) : 42;
}

static void run_with(struct actor *actor)
{
    unsigned left = pick(actor, 0, 5);
    int result = 0;
    int r = CALL(tocsin_run_with)(main_poll, &left, &result);

    say(actor, " %d %d", r, result);
}

/* A stop before a run ends that run after its first batch. */
static void stop_before(struct actor *actor)
{
    CALL(tocsin_pool_stop)(actor->run->pool);
    say(actor, " %d", CALL(tocsin_pool_run)(actor->run->pool));
}

static void take_turns(struct actor *actor)
{
    struct child *child = child_new(actor->run, CHILD_YIELDS, pick(actor, 0, 6), 9);
    int result;

    child_spawn(actor->run->driver, child, "in turns");
    while (CALL(tocsin_task_state)(&child->task) != TOCSIN_TASK_ENDED) {
        EXPECT(actor, CALL(tocsin_pool_next_deadline)(actor->run->pool) == 0);
        EXPECT(actor, CALL(tocsin_pool_turn)(actor->run->pool) >= 0);
    }
    say(actor, " %d", child_join(actor, child, &result));
    say(actor, " %d", result);
    child_unref(child);
}

static void never_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct run *run = arg;

    (void)timer;
    (void)missed;
    expect(run, NULL, false, "a timer an hour away has not fired", TOCSIN_HERE);
}

/* A timer in the background, for the rest of the program: it keeps no run from returning. */
static void background(struct actor *actor)
{
    struct run *run = actor->run;
    struct tocsin_timer_options options = {.delay_ns = FAR_NS, .background = true};

    if (!run->background_armed) {
        NEED(CALL(tocsin_timer_init)(&run->background, run->driver, never_fires, run) == 0);
        run->background_armed = true;
    }
    CALL(tocsin_timer_start)(&run->background, &options);
    say(actor, " %d", CALL(tocsin_timer_deadline_ns)(&run->background) != TOCSIN_NEVER_NS);
}

/* ---- Other pools ----------------------------------------------------------------------------- */

struct ending {
    struct actor *actor;
    int cancelled;
};

static void post_ends(void *arg, int status)
{
    struct ending *ending = arg;

    ending->cancelled += status == -ECANCELED;
}

/* A pool that is closed with things alive in it; then what its driver answers. */
static void pool_life(struct actor *actor)
{
    struct tocsin_pool_options options = {.allocator = &actor->run->allocator};
    struct child *alive = child_new(actor->run, CHILD_WAITS, 0, 1);
    struct child *late = child_new(actor->run, CHILD_WAITS, 0, 1);
    struct ending ending = {actor, 0};
    struct tocsin_driver *driver;
    struct tocsin_waker waker;
    struct tocsin_timer timer;
    struct tocsin_pool *pool;
    unsigned posts = pick(actor, 0, 4);

    NEED(CALL(tocsin_pool_open)(&pool, actor->run->backend, &options) == 0);
    driver = CALL(tocsin_driver_ref)(CALL(tocsin_pool_driver)(pool));
    child_spawn(driver, alive, "alive");
    waker = CALL(tocsin_task_waker)(&alive->task);
    NEED(CALL(tocsin_timer_init)(&timer, driver, never_fires, actor->run) == 0);
    CALL(tocsin_timer_arm)(&timer, CALL(tocsin_pool_now_ns)(pool) + FAR_NS);
    if (pick(actor, 1, 2) == 0) {
        say(actor, " turn %d", CALL(tocsin_pool_turn)(pool));
    }
    for (unsigned i = 0; i < posts; i++) {
        NEED(CALL(tocsin_post)(driver, post_ends, &ending) == 0);
    }
    say(actor, " close %d",
        pick(actor, 2, 2) == 0 ? CALL(tocsin_pool_close)(pool)
                               : CALL(tocsin_pool_close_timeout)(pool, UINT64_C(1000000000)));
    say(actor, " posts %d state %d", ending.cancelled, (int)CALL(tocsin_task_state)(&alive->task));
    CALL(tocsin_waker_wake)(&waker);
    CALL(tocsin_timer_deinit)(&timer);
    say(actor, " spawn %d",
        CALL(tocsin_task_spawn_at)(driver, &late->task, &child_ops, "late", TOCSIN_HERE));
    say(actor, " post %d", CALL(tocsin_post)(driver, post_ends, &ending));
    say(actor, " list %d", CALL(tocsin_task_list)(driver, NULL, 0));
    say(actor, " timer %d", CALL(tocsin_timer_init)(&timer, driver, NULL, NULL));
    CALL(tocsin_driver_unref)(driver);
    child_unref(alive);
    tally_deinit(&late->polled);
    free(late);
}

/* A thread with a pool, and a child there that is joined from here. */
static void spawn_thread(struct actor *actor)
{
    struct tocsin_pool_options options = {.allocator = &actor->run->allocator};
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
    struct child *child = child_new(actor->run, CHILD_WAITS, 0, (int)pick(actor, 0, 100));
    int result = -1;

    NEED(CALL(tocsin_pool_spawn_thread)(&thread, &driver, "other", actor->run->backend, &options) ==
         0);
    child_spawn(driver, child, "elsewhere");
    if (pick(actor, 1, 2) == 0) {
        child_finish(child);
    } else {
        say(actor, " cancel %d", CALL(tocsin_task_cancel)(&child->task));
    }
    say(actor, " join %d", child_join(actor, child, &result));
    say(actor, " %d", result);
    child_unref(child);
    CALL(tocsin_driver_unref)(driver);
    say(actor, " thread %d", CALL(tocsin_pool_thread_join)(thread));
}

static const struct op_kind ops_main_kinds[] = {
    {"backends", backends, BY_MAIN | BY_TASK | BY_THREAD, 0, 4},
    {"run_with", run_with, BY_MAIN, 0, 10},
    {"stop_before", stop_before, BY_MAIN, 0, 10},
    {"take_turns", take_turns, BY_MAIN, 0, 15},
    {"background", background, BY_MAIN, 0, 10},
    {"pool_life", pool_life, BY_MAIN, 0, 20},
    {"spawn_thread", spawn_thread, BY_TASK | BY_THREAD, TOCSIN_BACKEND_FOREIGN_THREADS, 5},
};

OP_GROUP(ops_main);
