/*
 * Spawns and joins from two threads, and lists made by a third.
 *
 * Each spawner keeps a window of tasks, joins the oldest and checks its result; tasks join each
 * other, too.  The reader checks that each row is whole: its place is the one that its name says.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/stress/stress.h"

enum {
    SPAWNERS = 2,
    WINDOW = 16,
    LISTED_MAX = 64,
};

/* Names that are their places: a row that mixes two shows. */
static const char *const names[] = {
    "first-first-first-first-first-1",
    "second-second-second-second-se2",
    "third-third-third-third-third-3",
    "four",
};

struct task {
    struct tocsin_task task;
    struct tocsin_join join; /* of another one's end, if it has one to wait for */
    bool joins;
    unsigned yields;
    int result;
};

static atomic_uint live;

static int poll_task(struct tocsin_task *base, struct tocsin_context *cx)
{
    struct task *task = (struct task *)(void *)base;
    int result;

    if (task->yields > 0) {
        task->yields--;
        return tocsin_task_yield(cx);
    }
    if (task->joins) {
        int r = tocsin_join_poll(&task->join, cx, &result);

        if (r != 0) {
            return r;
        }
        STRESS_CHECK(result == task->result - 1); /* the one spawned before */
    }
    return task->result;
}

static void drop_task(struct tocsin_task *base)
{
    struct task *task = (struct task *)(void *)base;

    if (task->joins) {
        tocsin_join_deinit(&task->join);
    }
}

static void release_task(struct tocsin_task *base)
{
    free(base);
    atomic_fetch_sub_explicit(&live, 1, memory_order_acq_rel);
}

static const struct tocsin_task_ops ops = {poll_task, drop_task, release_task};

struct spawner {
    struct support_thread thread;
    struct support_random random;
    struct tocsin_driver *driver;
    struct task *window[WINDOW];
    unsigned count;
};

static void spawn(struct spawner *spawner, unsigned number)
{
    struct task *task = calloc(1, sizeof(*task));
    const char *name = names[support_random_below(&spawner->random, 4)];

    STRESS_CHECK(task != NULL);
    stress_add(&live);
    task->yields = support_random_below(&spawner->random, 3);
    task->result = (int)number;
    task->joins = number > 0 && support_random_below(&spawner->random, 2) == 0;
    if (task->joins) {
        tocsin_join_init(&task->join, &spawner->window[(number - 1) % WINDOW]->task);
    }
    STRESS_CHECK(tocsin_task_spawn_ref_at(spawner->driver, &task->task, &ops, name, name) == 0);
    spawner->window[number % WINDOW] = task;
}

static void join(struct spawner *spawner, unsigned number)
{
    struct task *task = spawner->window[number % WINDOW];
    int result = -1;

    STRESS_CHECK(tocsin_task_join(&task->task, &result) == 0);
    STRESS_CHECK(result == (int)number);
    tocsin_task_unref(&task->task);
    stress_progress();
}

static void spawn_and_join(void *arg)
{
    struct spawner *spawner = arg;

    for (unsigned i = 0; i < spawner->count; i++) {
        if (i >= WINDOW - 1) {
            join(spawner, i - (WINDOW - 1));
        }
        spawn(spawner, i);
    }
    for (unsigned i = spawner->count > WINDOW - 1 ? spawner->count - (WINDOW - 1) : 0;
         i < spawner->count; i++) {
        join(spawner, i);
    }
}

struct reader {
    struct support_thread thread;
    struct tocsin_driver *driver;
    atomic_bool over;
};

static void list_until_over(void *arg)
{
    struct reader *reader = arg;

    while (!atomic_load_explicit(&reader->over, memory_order_relaxed)) {
        struct tocsin_task_info infos[LISTED_MAX];
        int count = tocsin_task_list(reader->driver, infos, LISTED_MAX);

        STRESS_CHECK(count >= 0); /* of tasks that come and go meanwhile it may see many */
        count = count < LISTED_MAX ? count : LISTED_MAX;
        for (int i = 0; i < count; i++) {
            STRESS_CHECK(infos[i].place != NULL);
            STRESS_CHECK(strcmp(infos[i].name, infos[i].place) == 0);
            STRESS_CHECK(infos[i].state <= TOCSIN_TASK_WAITING);
            for (int j = 0; j < i; j++) {
                STRESS_CHECK(infos[j].id != infos[i].id);
            }
        }
    }
}

static void run(unsigned count, struct support_random *random)
{
    static struct spawner spawners[SPAWNERS];
    static struct reader reader;
    struct tocsin_pool_thread *thread;

    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &reader.driver, "spawns", NULL, NULL) == 0);
    support_thread_start(&reader.thread, 1, list_until_over, &reader);
    for (unsigned i = 0; i < SPAWNERS; i++) {
        spawners[i].random.state = support_random_next(random);
        spawners[i].driver = reader.driver;
        spawners[i].count = count / SPAWNERS + 1;
        support_thread_start(&spawners[i].thread, i, spawn_and_join, &spawners[i]);
    }
    for (unsigned i = 0; i < SPAWNERS; i++) {
        support_thread_join(&spawners[i].thread);
    }
    atomic_store_explicit(&reader.over, true, memory_order_relaxed);
    support_thread_join(&reader.thread);
    tocsin_driver_unref(reader.driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
    STRESS_CHECK(stress_load(&live) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 20000, run);
}
