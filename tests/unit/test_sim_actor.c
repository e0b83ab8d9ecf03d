/*
 * Actors: one at a time, in the seed's order; what blocks gives the baton up; others are refused;
 * and what happens when nobody can run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sim.h"

enum {
    ACTORS = 3,
    STEPS = 4,
};

/* Actors that write down who ran. */
struct scene {
    struct tocsin_sim *sim;
    char log[ACTORS * STEPS + 1];
    size_t length;
    unsigned inside;
    unsigned next; /* number of the next actor to be told its own */
};

static void step_often(void *arg)
{
    struct scene *scene = arg;
    char name = (char)('a' + scene->next++);

    for (int i = 0; i < STEPS; i++) {
        UNIT_CHECK(scene->inside++ == 0);
        scene->log[scene->length++] = name;
        scene->inside--;
        UNIT_CHECK(tocsin_sim_yield(scene->sim) == 0);
    }
}

static void play(uint64_t seed, struct scene *scene)
{
    struct tocsin_sim_thread *threads[ACTORS];

    *scene = (struct scene){.sim = unit_sim(seed)};
    for (int i = 0; i < ACTORS; i++) {
        UNIT_CHECK(tocsin_sim_thread_start(scene->sim, &threads[i], NULL, step_often, scene) == 0);
    }
    for (int i = 0; i < ACTORS; i++) {
        UNIT_CHECK(tocsin_sim_thread_join(threads[i]) == 0);
    }
    UNIT_CHECK(scene->length == ACTORS * STEPS);
    UNIT_CHECK(tocsin_sim_close(scene->sim) == 0);
}

static void the_seed_interleaves_actors(void **state)
{
    enum { SEEDS = 10 };
    struct scene scenes[SEEDS];
    struct scene again;
    unsigned others = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        play(seed, &scenes[seed]);
        play(seed, &again);
        assert_string_equal(scenes[seed].log, again.log);
        others += strcmp(scenes[seed].log, scenes[0].log) != 0;
    }
    assert_true(others >= SEEDS / 2);
}

/* ---- What blocks ----------------------------------------------------------------------------- */

struct blocked {
    struct tocsin_sim *sim;
    struct unit_task *task;
    struct tocsin_waker waker;
    unsigned polls;
    int result;
    bool is_set;
};

static int poll_kept(struct tocsin_context *cx, void *arg)
{
    struct blocked *blocked = arg;

    if (blocked->polls++ > 0) {
        return 7;
    }
    blocked->waker = tocsin_waker_clone(&cx->waker);
    return TOCSIN_PENDING;
}

static bool is_kept(void *arg)
{
    return ((struct blocked *)arg)->polls > 0;
}

static void wake_kept(void *arg)
{
    struct blocked *blocked = arg;

    UNIT_CHECK(tocsin_sim_await(blocked->sim, is_kept, blocked) == 0);
    tocsin_waker_wake(&blocked->waker);
}

static void block_on_gives_the_baton_up(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct blocked blocked = {.sim = unit_sim(seed)};
        struct tocsin_sim_thread *thread;

        assert_int_equal(tocsin_sim_thread_start(blocked.sim, &thread, NULL, wake_kept, &blocked),
                         0);
        assert_int_equal(tocsin_block_on(poll_kept, &blocked, &blocked.result), 0);
        assert_int_equal(blocked.result, 7);
        assert_int_equal(tocsin_sim_thread_join(thread), 0);
        assert_int_equal(tocsin_sim_close(blocked.sim), 0);
    }
    (void)state;
}

static void join_task(void *arg)
{
    struct blocked *blocked = arg;

    UNIT_CHECK(tocsin_task_join(&blocked->task->task, &blocked->result) == 0);
}

static int poll_after_a_while(struct unit_task *task, struct tocsin_context *cx)
{
    return unit_load(&task->polls) < 5 ? tocsin_task_yield(cx) : 9;
}

static void joining_a_task_gives_the_baton_up(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct blocked blocked = {.sim = unit_sim(seed)};
        struct tocsin_pool *pool = unit_sim_pool(blocked.sim);
        struct unit_task task = {.poll = poll_after_a_while};
        struct tocsin_sim_thread *thread;

        blocked.task = &task;
        unit_task_spawn(&task, tocsin_pool_driver(pool), "joined");
        assert_int_equal(tocsin_sim_thread_start(blocked.sim, &thread, NULL, join_task, &blocked),
                         0);
        assert_int_equal(tocsin_pool_run(pool), 0);
        assert_int_equal(tocsin_sim_thread_join(thread), 0);
        assert_int_equal(blocked.result, 9);
        tocsin_task_unref(&task.task);
        unit_sim_close(blocked.sim, pool);
    }
    (void)state;
}

static void a_pools_thread_is_an_actor(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct tocsin_sim *sim = unit_sim(seed);
        struct tocsin_pool_thread *thread;
        struct tocsin_driver *driver;
        struct unit_task task = {.poll = poll_after_a_while};
        int result = 0;

        assert_int_equal(
            tocsin_pool_spawn_thread(&thread, &driver, NULL, tocsin_sim_backend(sim), NULL), 0);
        unit_task_spawn(&task, driver, "elsewhere");
        assert_int_equal(tocsin_task_join(&task.task, &result), 0);
        assert_int_equal(result, 9);
        tocsin_driver_unref(driver);
        assert_int_equal(tocsin_pool_thread_join(thread), 0);
        tocsin_task_unref(&task.task);
        assert_int_equal(tocsin_sim_close(sim), 0);
    }
    (void)state;
}

/* ---- Who may --------------------------------------------------------------------------------- */

struct stranger {
    struct tocsin_sim *sim;
    struct tocsin_pool *pool;
    struct unit_task *task;
    intptr_t number;
    atomic_uint is_last;
};

static void is_refused(void *arg)
{
    struct stranger *stranger = arg;
    struct tocsin_sim_thread *thread;
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    intptr_t numbers[2];
    char byte;

    UNIT_CHECK(tocsin_sim_current() == NULL);
    UNIT_CHECK(tocsin_pool_open(&pool, tocsin_sim_backend(stranger->sim), NULL) == -EPERM);
    UNIT_CHECK(tocsin_sim_yield(stranger->sim) == -EPERM);
    UNIT_CHECK(tocsin_sim_sleep(stranger->sim, 1) == -EPERM);
    UNIT_CHECK(tocsin_sim_pass(stranger->sim, 1) == -EPERM);
    UNIT_CHECK(tocsin_sim_await(stranger->sim, is_kept, NULL) == -EPERM);
    UNIT_CHECK(tocsin_sim_thread_start(stranger->sim, &thread, NULL, is_refused, NULL) == -EPERM);
    UNIT_CHECK(tocsin_sim_stream_pair(stranger->sim, NULL, numbers) == -EPERM);
    UNIT_CHECK(tocsin_sim_pipe(stranger->sim, NULL, numbers) == -EPERM);
    UNIT_CHECK(tocsin_sim_event(stranger->sim, 0, false, numbers) == -EPERM);
    UNIT_CHECK(tocsin_sim_object_read(stranger->sim, stranger->number, &byte, 1) == -EPERM);
    UNIT_CHECK(tocsin_sim_object_write(stranger->sim, stranger->number, "x", 1) == -EPERM);
    UNIT_CHECK(tocsin_sim_object_events(stranger->sim, stranger->number) == -EPERM);
    UNIT_CHECK(tocsin_sim_object_close(stranger->sim, stranger->number) == -EPERM);
    UNIT_CHECK(tocsin_sim_close(stranger->sim) == -EPERM);
    UNIT_CHECK(tocsin_source_ready_open(tocsin_pool_driver(stranger->pool), TOCSIN_SOURCE_OWN,
                                        stranger->number, &ready) == -EPERM);
}

static void runs_a_pool(void *arg)
{
    struct stranger *stranger = arg;

    UNIT_CHECK(tocsin_pool_run(stranger->pool) == -EPERM);
    UNIT_CHECK(tocsin_pool_close(stranger->pool) == 0);
}

static void a_thread_that_is_no_actor_is_refused(void **state)
{
    struct stranger stranger = {.sim = unit_sim(1)};
    struct unit_task task = {.result = TOCSIN_PENDING};

    (void)state;
    stranger.pool = unit_sim_pool(stranger.sim);
    assert_int_equal(tocsin_sim_event(stranger.sim, 1, false, &stranger.number), 0);
    support_elsewhere(is_refused, &stranger);
    unit_task_spawn(&task, tocsin_pool_driver(stranger.pool), "never");
    support_elsewhere(runs_a_pool, &stranger);
    tocsin_task_unref(&task.task);
    assert_int_equal(tocsin_sim_close(stranger.sim), 0);
}

static void hold_and_write(void *arg)
{
    struct stranger *stranger = arg;
    const uint64_t one = 1;

    tocsin_sim_hold(stranger->sim);
    UNIT_CHECK(tocsin_sim_object_write(stranger->sim, stranger->number, &one, sizeof(one)) == 8);
    tocsin_sim_unhold(stranger->sim);
    UNIT_CHECK(tocsin_sim_object_write(stranger->sim, stranger->number, &one, sizeof(one)) ==
               -EPERM);
}

static void a_holder_may_use_objects(void **state)
{
    struct stranger stranger = {.sim = unit_sim(1)};
    uint64_t count = 0;

    (void)state;
    assert_int_equal(tocsin_sim_event(stranger.sim, 0, false, &stranger.number), 0);
    support_elsewhere(hold_and_write, &stranger);
    assert_int_equal(tocsin_sim_object_read(stranger.sim, stranger.number, &count, sizeof(count)),
                     8);
    assert_true(count == 1);
    assert_int_equal(tocsin_sim_close(stranger.sim), 0);
}

/* Wakes from the world's threads, with no hold of their own, are never lost. */
static void wake_often(void *arg)
{
    struct stranger *stranger = arg;
    struct tocsin_waker last;

    for (unsigned i = 0; i < support_scaled(2000); i++) {
        struct tocsin_waker waker = tocsin_task_waker(&stranger->task->task);

        tocsin_waker_wake(&waker);
    }
    atomic_store_explicit(&stranger->is_last, 1, memory_order_relaxed);
    last = tocsin_task_waker(&stranger->task->task);
    tocsin_waker_wake(&last);
}

static int poll_until_the_last(struct unit_task *task, struct tocsin_context *cx)
{
    struct stranger *stranger = task->arg;

    (void)cx;
    return unit_load(&stranger->is_last) != 0 ? 3 : TOCSIN_PENDING;
}

static void wakes_of_other_threads_are_not_lost(void **state)
{
    struct stranger stranger = {.sim = unit_sim(1)};
    struct unit_task task = {.poll = poll_until_the_last, .arg = &stranger};
    struct support_thread thread;
    int result = 0;

    (void)state;
    stranger.pool = unit_sim_pool(stranger.sim);
    stranger.task = &task;
    unit_task_spawn(&task, tocsin_pool_driver(stranger.pool), "woken");
    tocsin_sim_hold(stranger.sim);
    support_thread_start(&thread, 1, wake_often, &stranger);
    assert_int_equal(tocsin_pool_run_until(stranger.pool, &task.task, &result), 0);
    support_thread_join(&thread);
    tocsin_sim_unhold(stranger.sim); /* only now: it was the wake that ended the wait */
    assert_int_equal(result, 3);
    tocsin_task_unref(&task.task);
    unit_sim_close(stranger.sim, stranger.pool);
}

/* ---- Nobody can run -------------------------------------------------------------------------- */

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void await_for_ever(void *arg)
{
    (void)tocsin_sim_await(arg, never, NULL);
}

static void deadlock(void *arg)
{
    struct tocsin_sim *sim = unit_sim(4321);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    struct unit_task task = {.result = TOCSIN_PENDING};
    struct tocsin_sim_thread *thread;

    (void)arg;
    UNIT_CHECK(tocsin_sim_thread_start(sim, &thread, "waiter", await_for_ever, sim) == 0);
    unit_task_spawn(&task, tocsin_pool_driver(pool), "never");
    (void)tocsin_pool_run(pool);
}

static void a_deadlock_is_told_with_the_seed_and_who_waits(void **state)
{
    (void)state;
    unit_expect_abort(deadlock, NULL, "seed=4321");
    unit_expect_abort(deadlock, NULL, "\"main\" runs pool 0, which waits");
    unit_expect_abort(deadlock, NULL, "\"waiter\" awaits a condition");
}

static void a_deadlock_can_be_an_error(void **state)
{
    const struct tocsin_sim_options options = {.deadlock = TOCSIN_SIM_DEADLOCK_FAIL};
    struct unit_task task = {.result = TOCSIN_PENDING};
    struct tocsin_pool *pool;
    struct tocsin_sim *sim;

    (void)state;
    assert_int_equal(tocsin_sim_open(&sim, &options), 0);
    pool = unit_sim_pool(sim);
    unit_task_spawn(&task, tocsin_pool_driver(pool), "never");
    assert_int_equal(tocsin_pool_run(pool), -EDEADLK);
    tocsin_task_unref(&task.task);
    unit_sim_close(sim, pool);
}

static void a_report_says_who_waits_for_what(void **state)
{
    struct tocsin_sim *sim = unit_sim(77);
    char report[256];
    size_t length = tocsin_sim_report(sim, report, sizeof(report));

    (void)state;
    assert_int_equal(length, strlen(report));
    assert_non_null(strstr(report, "seed=77"));
    assert_non_null(strstr(report, "actor 0 \"main\" runs"));
    assert_int_equal(tocsin_sim_report(sim, report, 4), length); /* cut, and says so */
    assert_int_equal(strlen(report), 3);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static void a_simulation_in_use_is_not_closed(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    struct tocsin_sim *other = NULL;

    (void)state;
    assert_int_equal(tocsin_sim_open(&other, NULL), -EBUSY);
    assert_int_equal(tocsin_sim_close(sim), -EBUSY);
    assert_int_equal(tocsin_pool_close(pool), 0);
    tocsin_sim_hold(sim);
    assert_int_equal(tocsin_sim_close(sim), -EBUSY);
    tocsin_sim_unhold(sim);
    assert_ptr_equal(tocsin_sim_current(), sim);
    assert_int_equal(tocsin_sim_close(sim), 0);
    assert_null(tocsin_sim_current());
    assert_int_equal(tocsin_sim_close(NULL), 0);
}

/* A driver that outlives its pool tells the time at which that closed. */
static void the_clock_can_be_read_after_the_end(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    struct tocsin_pool *pool = unit_sim_pool(sim);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    uint64_t closed_ns;

    (void)state;
    assert_int_equal(tocsin_sim_pass(sim, UNIT_S), 0);
    closed_ns = tocsin_pool_now_ns(pool);
    unit_sim_close(sim, pool);
    assert_true(tocsin_driver_now_ns(driver) == closed_ns);
    tocsin_driver_unref(driver);
}

static void a_pool_by_name_brings_its_simulation(void **state)
{
    const struct tocsin_backend *backend = tocsin_backend_find("sim");
    struct tocsin_pool *pools[2];
    struct tocsin_sim *sim;

    (void)state;
    setenv("TOCSIN_SIM_SEED", "99", 1);
    assert_int_equal(tocsin_pool_open(&pools[0], backend, NULL), 0);
    sim = tocsin_sim_current();
    assert_non_null(sim);
    assert_true(tocsin_sim_seed(sim) == 99);
    assert_int_equal(tocsin_pool_open(&pools[1], backend, NULL), 0);
    unit_sim_run_for(pools[1], UNIT_S);
    assert_int_equal(tocsin_pool_close(pools[0]), 0);
    assert_ptr_equal(tocsin_sim_current(), sim);
    assert_int_equal(tocsin_pool_close(pools[1]), 0);
    assert_null(tocsin_sim_current());
    unsetenv("TOCSIN_SIM_SEED");
}

static void posted(void *arg, int status)
{
    UNIT_CHECK(status == 0);
    atomic_fetch_add_explicit((atomic_uint *)arg, 1, memory_order_relaxed);
}

/* Its pool waits for ever, and for threads that are no actors. */
static void a_pools_thread_by_name_waits_for_others(void **state)
{
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
    atomic_uint posts = 0;

    (void)state;
    for (unsigned i = 1; i <= support_scaled(200); i++) {
        assert_int_equal(
            tocsin_pool_spawn_thread(&thread, &driver, NULL, tocsin_backend_find("sim"), NULL), 0);
        assert_null(tocsin_sim_current());
        assert_int_equal(tocsin_post(driver, posted, &posts), 0);
        tocsin_driver_unref(driver);
        assert_int_equal(tocsin_pool_thread_join(thread), 0);
        assert_int_equal(unit_load(&posts), i);
    }
}

static void deadlock_by_name(void *arg)
{
    struct unit_task task = {.result = TOCSIN_PENDING};
    struct tocsin_pool *pool;

    (void)arg;
    UNIT_CHECK(tocsin_pool_open(&pool, tocsin_backend_find("sim"), NULL) == 0);
    unit_task_spawn(&task, tocsin_pool_driver(pool), "never");
    (void)tocsin_pool_run(pool);
}

static void a_deadlock_by_name_is_told(void **state)
{
    (void)state;
    unit_expect_abort(deadlock_by_name, NULL, "seed=1 ");
}

/* The child's copy goes on with the actor that forked, and nobody else. */
static void child_goes_on(void *arg)
{
    struct scene *scene = arg;

    UNIT_CHECK(tocsin_sim_sleep(scene->sim, UNIT_S) == 0);
    UNIT_CHECK(tocsin_sim_yield(scene->sim) == 0);
    /* The race detector allows no thread after the fork of a process that has some. */
#ifndef __SANITIZE_THREAD__
    struct scene again = {.sim = scene->sim};
    struct tocsin_sim_thread *thread;

    UNIT_CHECK(tocsin_sim_thread_start(again.sim, &thread, NULL, step_often, &again) == 0);
    UNIT_CHECK(tocsin_sim_thread_join(thread) == 0);
    UNIT_CHECK(again.length == STEPS);
#endif
}

static void a_forked_child_has_a_copy_of_its_own(void **state)
{
    struct scene scene = {.sim = unit_sim(1)};
    uint64_t begin_ns = tocsin_sim_now_ns(scene.sim);
    struct tocsin_sim_thread *thread;

    (void)state;
    assert_int_equal(tocsin_sim_thread_start(scene.sim, &thread, NULL, step_often, &scene), 0);
    unit_expect_return(child_goes_on, &scene);
    assert_true(tocsin_sim_now_ns(scene.sim) == begin_ns);
    assert_int_equal(tocsin_sim_thread_join(thread), 0);
    assert_int_equal(scene.length, STEPS);
    assert_int_equal(tocsin_sim_close(scene.sim), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_seed_interleaves_actors),
    cmocka_unit_test(block_on_gives_the_baton_up),
    cmocka_unit_test(joining_a_task_gives_the_baton_up),
    cmocka_unit_test(a_pools_thread_is_an_actor),
    cmocka_unit_test(a_thread_that_is_no_actor_is_refused),
    cmocka_unit_test(a_holder_may_use_objects),
    cmocka_unit_test(wakes_of_other_threads_are_not_lost),
    cmocka_unit_test(a_deadlock_is_told_with_the_seed_and_who_waits),
    cmocka_unit_test(a_deadlock_can_be_an_error),
    cmocka_unit_test(a_report_says_who_waits_for_what),
    cmocka_unit_test(a_simulation_in_use_is_not_closed),
    cmocka_unit_test(the_clock_can_be_read_after_the_end),
    cmocka_unit_test(a_pool_by_name_brings_its_simulation),
    cmocka_unit_test(a_pools_thread_by_name_waits_for_others),
    cmocka_unit_test(a_deadlock_by_name_is_told),
    cmocka_unit_test(a_forked_child_has_a_copy_of_its_own),
};

UNIT_MAIN(tests)
