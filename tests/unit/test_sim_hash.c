/*
 * The seed decides everything: the same seed takes the same steps, another one others.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sim.h"

enum {
    RUNS = 100,
    SEEDS = 50,
    BYTES = 200,
    TASKS = 5,
};

/* Two pools, three actors, a bad connection and shuffled tasks. */
struct scene {
    struct tocsin_sim *sim;
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    intptr_t ends[2];
    size_t sent;
    size_t received;
    char order[TASKS + 1];
    unsigned ran;
};

static int receive_some(intptr_t number, void *arg)
{
    struct scene *scene = arg;
    char bytes[16];
    int r = tocsin_sim_object_read(scene->sim, number, bytes, sizeof(bytes));

    scene->received += r > 0 ? (size_t)r : 0;
    return r;
}

static int poll_receive(struct unit_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;
    int r;

    do {
        r = tocsin_fd_ready_poll_io(scene->ready, TOCSIN_SLOT_READ, TOCSIN_IN, receive_some, scene,
                                    cx);
    } while (r > 0);
    return r;
}

static void send_all(void *arg)
{
    struct scene *scene = arg;

    while (scene->sent < BYTES) {
        int r = tocsin_sim_object_write(scene->sim, scene->ends[1], "0123456789", 10);

        if (r > 0) {
            scene->sent += (size_t)r;
        }
        UNIT_CHECK(tocsin_sim_sleep(scene->sim, tocsin_sim_random(scene->sim) % 1000) == 0);
    }
    UNIT_CHECK(tocsin_sim_object_close(scene->sim, scene->ends[1]) == 0);
}

static int poll_notes(struct unit_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;

    if (unit_load(&task->polls) == 1) {
        return tocsin_task_yield(cx);
    }
    scene->order[scene->ran++] = (char)('a' + task->result);
    return 0;
}

static void run_tasks(void *arg)
{
    struct scene *scene = arg;
    const struct tocsin_pool_options options = {.order_seed = tocsin_sim_random(scene->sim)};
    struct unit_task tasks[TASKS];
    struct tocsin_pool *pool;

    memset(tasks, 0, sizeof(tasks));
    UNIT_CHECK(tocsin_pool_open(&pool, tocsin_sim_backend(scene->sim), &options) == 0);
    for (int i = 0; i < TASKS; i++) {
        tasks[i].poll = poll_notes;
        tasks[i].result = i;
        tasks[i].arg = scene;
        unit_task_spawn(&tasks[i], tocsin_pool_driver(pool), "noted");
    }
    UNIT_CHECK(tocsin_pool_run(pool) == 0);
    for (int i = 0; i < TASKS; i++) {
        tocsin_task_unref(&tasks[i].task);
    }
    UNIT_CHECK(tocsin_pool_close(pool) == 0);
}

static uint64_t play(uint64_t seed, struct scene *scene)
{
    const struct tocsin_sim_options options = {
        .seed = seed,
        .faults = {.wait_ppm = 100000, .look_ppm = 100000, .event_ppm = 100000, .kick_ppm = 100000},
    };
    const struct tocsin_sim_link_options link = {
        .partial_ppm = 300000, .latency_min_ns = 10, .latency_max_ns = 2000, .capacity_bytes = 32};
    struct unit_task receiver = {.poll = poll_receive, .arg = scene};
    struct tocsin_sim_thread *threads[2];
    uint64_t hash;

    *scene = (struct scene){.sim = NULL};
    UNIT_CHECK(tocsin_sim_open(&scene->sim, &options) == 0);
    scene->pool = unit_sim_pool(scene->sim);
    UNIT_CHECK(tocsin_sim_stream_pair(scene->sim, &link, scene->ends) == 0);
    scene->ready = unit_sim_watch(scene->pool, scene->ends[0]);
    unit_task_spawn(&receiver, tocsin_pool_driver(scene->pool), "receiver");
    UNIT_CHECK(tocsin_sim_thread_start(scene->sim, &threads[0], "sender", send_all, scene) == 0);
    UNIT_CHECK(tocsin_sim_thread_start(scene->sim, &threads[1], "tasks", run_tasks, scene) == 0);
    UNIT_CHECK(tocsin_pool_run(scene->pool) == 0);
    for (int i = 0; i < 2; i++) {
        UNIT_CHECK(tocsin_sim_thread_join(threads[i]) == 0);
    }
    UNIT_CHECK(scene->received == scene->sent && scene->sent >= BYTES);
    tocsin_task_unref(&receiver.task);
    UNIT_CHECK(tocsin_fd_ready_close(scene->ready) == 0);
    UNIT_CHECK(tocsin_sim_object_close(scene->sim, scene->ends[0]) == 0);
    UNIT_CHECK(tocsin_pool_close(scene->pool) == 0);
    hash = tocsin_sim_hash(scene->sim);
    UNIT_CHECK(tocsin_sim_close(scene->sim) == 0);
    return hash;
}

/* The addresses that the simulation gets differ from run to run. */
static void the_same_seed_gives_the_same_hash(void **state)
{
    void *others[RUNS];
    struct scene first;
    uint64_t hash = play(7, &first);

    (void)state;
    for (unsigned i = 0; i < RUNS; i++) {
        struct scene scene;

        others[i] = malloc(16 * (i + 1));
        assert_non_null(others[i]);
        assert_true(play(7, &scene) == hash);
        assert_string_equal(scene.order, first.order);
    }
    for (unsigned i = 0; i < RUNS; i++) {
        free(others[i]);
    }
}

static void other_seeds_take_other_steps(void **state)
{
    struct scene scenes[SEEDS];
    uint64_t hashes[SEEDS];
    unsigned orders = 0;

    (void)state;
    for (unsigned i = 0; i < SEEDS; i++) {
        hashes[i] = play(i, &scenes[i]);
        for (unsigned j = 0; j < i; j++) {
            assert_true(hashes[i] != hashes[j]);
        }
        orders += strcmp(scenes[i].order, scenes[0].order) != 0;
    }
    assert_true(orders > SEEDS / 2);
}

/* Nothing but what the seed decides: a program of one actor without choices is the same for all. */
static uint64_t sleep_once(uint64_t seed, uint64_t delay_ns)
{
    struct tocsin_sim *sim = unit_sim(seed);
    uint64_t hash;

    UNIT_CHECK(tocsin_sim_sleep(sim, delay_ns) == 0);
    hash = tocsin_sim_hash(sim);
    UNIT_CHECK(tocsin_sim_close(sim) == 0);
    return hash;
}

static void what_the_program_does_is_in_the_hash(void **state)
{
    (void)state;
    assert_true(sleep_once(1, 5) == sleep_once(1, 5));
    assert_true(sleep_once(1, 5) != sleep_once(1, 6));
    assert_true(sleep_once(1, 5) != sleep_once(2, 5));
}

static void keep_line(void *arg, const char *line)
{
    char *lines = arg;
    size_t length = strlen(lines);

    (void)snprintf(lines + length, 4096 - length, "%s\n", line);
}

static void a_trace_tells_each_step(void **state)
{
    static char lines[4096];
    const struct tocsin_sim_options options = {.seed = 5, .trace = keep_line, .trace_arg = lines};
    struct tocsin_sim *sim;

    (void)state;
    assert_int_equal(tocsin_sim_open(&sim, &options), 0);
    assert_int_equal(tocsin_sim_sleep(sim, 1), 0);
    assert_int_equal(tocsin_sim_close(sim), 0);
    assert_string_equal(lines, "1.000000000 main seed 5 0\n"
                               "1.000000000 main sleep 1000000001 0\n"
                               "1.000000000 main time 1000000001 0\n");
}

static void random_numbers_are_the_seeds(void **state)
{
    struct tocsin_sim *sim = unit_sim(11);
    uint64_t first = tocsin_sim_random(sim);
    uint64_t second = tocsin_sim_random(sim);

    (void)state;
    assert_true(first != 0 && second != 0 && first != second);
    assert_int_equal(tocsin_sim_close(sim), 0);
    sim = unit_sim(11);
    assert_true(tocsin_sim_random(sim) == first);
    assert_true(tocsin_sim_random(sim) == second);
    assert_int_equal(tocsin_sim_close(sim), 0);
    sim = unit_sim(12);
    assert_true(tocsin_sim_random(sim) != first);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_same_seed_gives_the_same_hash),
    cmocka_unit_test(other_seeds_take_other_steps),
    cmocka_unit_test(what_the_program_does_is_in_the_hash),
    cmocka_unit_test(a_trace_tells_each_step),
    cmocka_unit_test(random_numbers_are_the_seeds),
};

UNIT_MAIN(tests)
