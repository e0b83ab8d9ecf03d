/*
 * The wake protocol, W1: what a wake costs.  Kicks and waits are counted by the backend; where a
 * case says what happens in a sleep it acts at the sleep itself, so that the order is sure.
 */
#include "conform.h"

static void finish_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_finish(arg);
}

/* ---- W1 -------------------------------------------------------------------------------------- */

static void wake_of_a_sleeping_pool_kicks_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    conform_at_sleep(t, finish_elsewhere, &task);

    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, NULL), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    CHECK_EQ(t, conform_read(&t->counts.waits), 1);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

enum {
    RACERS = 3,
};

struct race {
    struct conform_task tasks[RACERS];
    struct conform_gate start;
    atomic_uint ready;
};

struct racer {
    struct race *race;
    struct conform_task *task;
};

static void racer_wakes(struct conform *t, void *arg)
{
    struct racer *racer = arg;

    (void)t;
    conform_count(&racer->race->ready);
    conform_gate_wait(&racer->race->start);
    conform_finish(racer->task);
}

static void race_in_a_sleep(struct conform *t, void *arg)
{
    struct race *race = arg;
    struct racer racers[RACERS];
    struct conform_thread *threads[RACERS];

    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){race, &race->tasks[i]};
        threads[i] = conform_thread(t, racer_wakes, &racers[i]);
    }
    conform_await(&race->ready, RACERS);
    conform_gate_open(&race->start);
    for (int i = 0; i < RACERS; i++) {
        conform_thread_join(t, threads[i]);
    }
}

static void wakers_that_race_kick_once(struct conform *t)
{
    for (unsigned round = 0; round < conform_times(t, 20); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        unsigned kicks = conform_read(&t->counts.kicks);
        struct race race = {0};

        for (int i = 0; i < RACERS; i++) {
            conform_spawn_ref(t, tocsin_pool_driver(pool), &race.tasks[i], conform_poll_flag, NULL);
        }
        conform_at_sleep(t, race_in_a_sleep, &race);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
        for (int i = 0; i < RACERS; i++) {
            tocsin_task_unref(&race.tasks[i].task);
            CHECK_GONE(t, &race.tasks[i]);
        }
        conform_pool_close(t, pool);
    }
}

/* Its poll lets another thread wake @arg, and ends. */
static int poll_has_it_finished_elsewhere(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_elsewhere(task->t, finish_elsewhere, task->arg);
    return 0;
}

static void wake_of_a_running_pool_never_kicks(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task waits = {0};
    struct conform_task helps = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &waits, conform_poll_flag, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &helps, poll_has_it_finished_elsewhere, &waits);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_task_unref(&waits.task);
    CHECK_GONE(t, &waits);
    conform_pool_close(t, pool);
}

static int poll_finishes_the_other(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_finish(task->arg);
    return 0;
}

static void wake_on_the_pools_thread_never_kicks(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task waits = {0};
    struct conform_task helps = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &waits, conform_poll_flag, NULL);
    conform_spawn(t, tocsin_pool_driver(pool), &helps, poll_finishes_the_other, &waits);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_task_unref(&waits.task);
    conform_pool_close(t, pool);
}

static void posted(void *arg, int status)
{
    conform_set(&((struct conform_task *)arg)->flag, status == 0 ? 1 : 2);
}

static void post_elsewhere(struct conform *t, void *arg)
{
    struct conform_task *task = arg;

    CHECK_EQ(t, tocsin_post(task->arg, posted, task), 0);
    CHECK_EQ(t, tocsin_post(task->arg, posted, task), 0);
    conform_wake(task);
}

static void post_to_a_sleeping_pool_kicks_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag,
                      tocsin_pool_driver(pool));
    conform_at_sleep(t, post_elsewhere, &task);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&task.flag), 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
}

struct spawn {
    struct tocsin_driver *driver;
    struct conform_task task;
};

static void spawn_elsewhere(struct conform *t, void *arg)
{
    struct spawn *spawn = arg;

    conform_spawn(t, spawn->driver, &spawn->task, conform_poll_ready, NULL);
    tocsin_driver_unref(spawn->driver);
}

static void spawn_on_a_sleeping_pool_kicks_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct spawn spawn = {.driver = tocsin_driver_ref(tocsin_pool_driver(pool))};

    conform_at_sleep(t, spawn_elsewhere, &spawn);

    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    CHECK_EQ(t, conform_read(&spawn.task.polls), 1);
    CHECK_GONE(t, &spawn.task);
    conform_pool_close(t, pool);
}

CONFORM_CASES(wake,
              CASE(wake_of_a_sleeping_pool_kicks_once, "W1",
                   "A wake of a sleeping pool makes one kick.", TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(wakers_that_race_kick_once, "W1",
                   "Of wakers that race for one sleep, one kicks.", TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(wake_of_a_running_pool_never_kicks, "W1",
                   "A wake from another thread while the pool runs makes no kick.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(wake_on_the_pools_thread_never_kicks, "W1",
                   "A wake inside a turn makes no kick.", 0),
              CASE(post_to_a_sleeping_pool_kicks_once, "W1",
                   "Two posts and a wake in one sleep: one kick.", TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(spawn_on_a_sleeping_pool_kicks_once, "W1",
                   "A spawn and a driver given back in one sleep: one kick.",
                   TOCSIN_BACKEND_FOREIGN_THREADS));
