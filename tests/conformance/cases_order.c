/*
 * Fairness, F2 and F3: the order in which tasks run, and what looking at the backend costs.
 */
#include <string.h>

#include "conform.h"

/* ---- F2 -------------------------------------------------------------------------------------- */

enum {
    QUEUED = 30,
};

struct queue {
    struct conform_task tasks[QUEUED];
    int wake[QUEUED]; /* the order of waking */
    int ran[QUEUED];
    int ran_count;
};

static int poll_notes_order(struct conform_task *task, struct tocsin_context *cx)
{
    struct queue *queue = task->arg;

    (void)cx;
    if (conform_read(&task->flag) == 0) {
        return TOCSIN_PENDING;
    }
    queue->ran[queue->ran_count++] = (int)(task - queue->tasks);
    return 0;
}

static void queue_init(struct conform *t, struct tocsin_pool *pool, struct queue *queue)
{
    *queue = (struct queue){0};
    for (int i = 0; i < QUEUED; i++) {
        int j = (int)(conform_random(t) % (uint64_t)(i + 1));

        queue->wake[i] = queue->wake[j];
        queue->wake[j] = i;
        conform_spawn_ref(t, tocsin_pool_driver(pool), &queue->tasks[i], poll_notes_order, queue);
    }
    do {
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    } while (tocsin_pool_next_deadline(pool) == 0);
    for (int i = 0; i < QUEUED; i++) {
        CHECK_EQ(t, conform_read(&queue->tasks[i].polls), 1);
    }
}

static void queue_wake(struct queue *queue)
{
    for (int i = 0; i < QUEUED; i++) {
        conform_finish(&queue->tasks[queue->wake[i]]);
    }
}

static void queue_check(struct conform *t, struct queue *queue)
{
    CHECK_EQ(t, queue->ran_count, QUEUED);
    for (int i = 0; i < QUEUED; i++) {
        CHECK_EQ(t, queue->ran[i], queue->wake[i]);
        tocsin_task_unref(&queue->tasks[i].task);
    }
}

static int poll_wakes_queue(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    queue_wake(task->arg);
    return 0;
}

static void tasks_run_in_the_order_of_waking(struct conform *t)
{
    static struct queue queue;
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    queue_init(t, pool, &queue);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_wakes_queue, &queue);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    queue_check(t, &queue);
    conform_pool_close(t, pool);
}

static void queue_wake_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    queue_wake(arg);
}

static void another_threads_wakes_keep_their_order(struct conform *t)
{
    static struct queue queue;
    struct tocsin_pool *pool = conform_pool(t);

    queue_init(t, pool, &queue);
    conform_at_sleep(t, queue_wake_elsewhere, &queue);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    queue_check(t, &queue);
    conform_pool_close(t, pool);
}

static void spawned_tasks_run_in_the_order_of_spawning(struct conform *t)
{
    static struct queue queue;
    struct tocsin_pool *pool = conform_pool(t);

    queue = (struct queue){0};
    for (int i = 0; i < QUEUED; i++) {
        queue.wake[i] = i;
        conform_set(&queue.tasks[i].flag, 1);
        conform_spawn_ref(t, tocsin_pool_driver(pool), &queue.tasks[i], poll_notes_order, &queue);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    queue_check(t, &queue);
    conform_pool_close(t, pool);
}

/* In which order tasks run that are spawned in one go, each once. */
static void order_by_seed(struct conform *t, uint64_t seed, struct queue *queue)
{
    const struct tocsin_pool_options options = {.order_seed = seed};
    struct tocsin_pool *pool = NULL;

    *queue = (struct queue){0};
    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    for (int i = 0; i < QUEUED; i++) {
        conform_set(&queue->tasks[i].flag, 1);
        conform_spawn(t, tocsin_pool_driver(pool), &queue->tasks[i], poll_notes_order, queue);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, queue->ran_count, QUEUED);
    for (int i = 0; i < QUEUED; i++) {
        CHECK_EQ(t, conform_read(&queue->tasks[i].polls), 1);
    }
    conform_pool_close(t, pool);
}

static void order_seed_decides_the_order(struct conform *t)
{
    static struct queue first;
    static struct queue again;
    static struct queue other;

    order_by_seed(t, 1, &first);
    order_by_seed(t, 1, &again);
    order_by_seed(t, 2, &other);
    CHECK(t, memcmp(first.ran, again.ran, sizeof(first.ran)) == 0);
    CHECK(t, memcmp(first.ran, other.ran, sizeof(first.ran)) != 0);
}

/* ---- F3 -------------------------------------------------------------------------------------- */

enum {
    BUDGET = 256,
};

static int poll_yields_often(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 40 * BUDGET ? 0 : tocsin_task_yield(cx);
}

static void yield_loop_looks_once_per_budget(struct conform *t)
{
    /* The time limit is out of reach: the count alone decides. */
    struct tocsin_pool_options options = {.budget_ns = UINT64_C(3600000000000)};
    struct tocsin_pool *pool = NULL;
    struct conform_task task = {0};

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_yields_often, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, conform_read(&t->counts.looks) >= 30);
    CHECK(t, conform_read(&t->counts.looks) <= 41);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    conform_pool_close(t, pool);
}

CONFORM_CASES(order,
              CASE(tasks_run_in_the_order_of_waking, "F2",
                   "Woken in a random order, run in that order.", 0),
              CASE(another_threads_wakes_keep_their_order, "F2",
                   "The same, woken by another thread.", TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(spawned_tasks_run_in_the_order_of_spawning, "F2", "Spawning counts as a wake.",
                   0),
              CASE(order_seed_decides_the_order, "F2",
                   "With order_seed each task runs once, in the seed's order.", 0),
              CASE(yield_loop_looks_once_per_budget, "F3",
                   "A task that yields 10,240 times costs 40 looks, no wait and no kick.", 0));
