/*
 * Names, places, states, and the list that any thread can read at any time.
 */
#include <errno.h>
#include <string.h>

#include "conform.h"

enum {
    ROWS = 16,
};

static const struct tocsin_task_info *row_named(const struct tocsin_task_info *infos, int count,
                                                const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            return &infos[i];
        }
    }
    return NULL;
}

static void spawn_named(struct conform *t, struct tocsin_driver *driver, struct conform_task *task,
                        conform_poll_fn *poll, const char *name)
{
    task->t = t;
    task->poll = poll;
    REQUIRE(t, tocsin_task_spawn_ref(driver, &task->task, &conform_task_ops, name) == 0);
}

static void list_shows_name_place_and_state(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct conform_task waiting = {0};
    struct conform_task fresh = {0};
    struct tocsin_task_info infos[ROWS];
    const struct tocsin_task_info *row;

    spawn_named(t, driver, &waiting, conform_poll_flag, "the one that waits");
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    spawn_named(t, driver, &fresh, conform_poll_ready, "the fresh one");
    CHECK_EQ(t, tocsin_task_state(&waiting.task), TOCSIN_TASK_WAITING);
    CHECK_EQ(t, tocsin_task_state(&fresh.task), TOCSIN_TASK_READY);

    CHECK(t, tocsin_task_list(driver, infos, ROWS) >= 1);
    row = row_named(infos, 1, "the one that waits");
    REQUIRE(t, row != NULL);
    CHECK_EQ(t, row->state, TOCSIN_TASK_WAITING);
    REQUIRE(t, row->place != NULL);
    CHECK(t, strstr(row->place, "cases_list.c:") != NULL);

    conform_finish(&waiting);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_task_list(driver, infos, ROWS), 0);
    CHECK_EQ(t, tocsin_task_state(&fresh.task), TOCSIN_TASK_ENDED);
    tocsin_task_unref(&waiting.task);
    tocsin_task_unref(&fresh.task);
    conform_pool_close(t, pool);
}

static int poll_lists_itself(struct conform_task *task, struct tocsin_context *cx)
{
    struct tocsin_task_info infos[ROWS];

    CHECK_EQ(task->t, tocsin_task_state(&task->task), TOCSIN_TASK_RUNNING);
    CHECK_EQ(task->t, tocsin_task_list(cx->driver, infos, ROWS), 1);
    CHECK_EQ(task->t, infos[0].state, TOCSIN_TASK_RUNNING);
    return 0;
}

static void task_in_its_poll_is_running(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    spawn_named(t, tocsin_pool_driver(pool), &task, poll_lists_itself, "running");
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void names_are_cut_and_may_be_absent(struct conform *t)
{
    static const char long_name[] = "a name of more than thirty-one bytes, so it is cut";
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct conform_task tasks[2] = {0};
    struct tocsin_task_info infos[ROWS];
    char cut[TOCSIN_TASK_NAME_SIZE] = "";

    memcpy(cut, long_name, sizeof(cut) - 1);
    spawn_named(t, driver, &tasks[0], conform_poll_flag, long_name);
    tasks[1].t = t;
    tasks[1].poll = conform_poll_flag;
    REQUIRE(t,
            tocsin_task_spawn_ref_at(driver, &tasks[1].task, &conform_task_ops, NULL, NULL) == 0);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);

    CHECK_EQ(t, tocsin_task_list(driver, infos, ROWS), 2);
    CHECK(t, row_named(infos, 2, cut) != NULL);
    REQUIRE(t, row_named(infos, 2, "") != NULL);
    CHECK(t, row_named(infos, 2, "")->place == NULL);
    CHECK(t, infos[0].id != infos[1].id);

    for (int i = 0; i < 2; i++) {
        conform_finish(&tasks[i]);
        tocsin_task_unref(&tasks[i].task);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void list_tells_of_more_than_it_has_room_for(struct conform *t)
{
    static struct conform_task tasks[200];
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_task_info infos[3];

    for (int i = 0; i < 200; i++) {
        spawn_named(t, driver, &tasks[i], conform_poll_flag, "one of many");
    }
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    memset(infos, 0, sizeof(infos));
    CHECK_EQ(t, tocsin_task_list(driver, infos, 2), 200);
    CHECK(t, strcmp(infos[1].name, "one of many") == 0);
    CHECK_EQ(t, infos[2].id, 0);
    CHECK_EQ(t, tocsin_task_list(driver, NULL, 0), 200);
    for (int i = 0; i < 200; i++) {
        conform_finish(&tasks[i]);
        tocsin_task_unref(&tasks[i].task);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

/* ---- From other threads ---------------------------------------------------------------------- */

static void list_elsewhere(struct conform *t, void *arg)
{
    struct tocsin_task_info infos[ROWS];
    const struct tocsin_task_info *row;
    int count = tocsin_task_list(arg, infos, ROWS);

    CHECK_EQ(t, count, 2);
    row = row_named(infos, count, "stuck");
    REQUIRE(t, row != NULL);
    CHECK_EQ(t, row->state, TOCSIN_TASK_RUNNING);
    row = row_named(infos, count, "behind it");
    REQUIRE(t, row != NULL);
    CHECK_EQ(t, row->state, TOCSIN_TASK_READY);
}

static int poll_is_stuck(struct conform_task *task, struct tocsin_context *cx)
{
    /* It returns when the other thread has listed it, and not before. */
    conform_elsewhere(task->t, list_elsewhere, cx->driver);
    return 0;
}

static void pool_that_is_stuck_can_be_listed(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task stuck = {0};
    struct conform_task behind = {0};

    spawn_named(t, tocsin_pool_driver(pool), &stuck, poll_is_stuck, "stuck");
    spawn_named(t, tocsin_pool_driver(pool), &behind, conform_poll_ready, "behind it");
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&stuck.task);
    tocsin_task_unref(&behind.task);
    conform_pool_close(t, pool);
}

struct lister {
    struct tocsin_driver *driver;
    atomic_uint lists;
    atomic_uint stop;
};

/* Rows are whole: a task's name and place were given together. */
static void list_until_stopped(struct conform *t, void *arg)
{
    struct lister *lister = arg;
    struct tocsin_task_info infos[ROWS];

    while (conform_read(&lister->stop) == 0) {
        int count = tocsin_task_list(lister->driver, infos, ROWS);

        REQUIRE(t, count >= 0);
        for (int i = 0; i < count && i < ROWS; i++) {
            REQUIRE(t, infos[i].place != NULL);
            REQUIRE(t, strcmp(infos[i].name, infos[i].place) == 0);
            REQUIRE(t, infos[i].id != 0);
            for (int j = 0; j < i; j++) {
                REQUIRE(t, infos[j].id != infos[i].id);
            }
        }
        conform_count(&lister->lists);
        conform_point();
    }
}

static void list_is_whole_while_tasks_come_and_go(struct conform *t)
{
    static const char *const names[] = {"a", "bb", "ccccccccccccccccccccccc", "dddddddddd"};
    struct tocsin_pool *pool = conform_pool(t);
    struct lister lister = {.driver = tocsin_pool_driver(pool)};
    struct conform_thread *thread = conform_thread(t, list_until_stopped, &lister);
    struct conform_task tasks[ROWS] = {0};

    for (unsigned round = 0; round < conform_times(t, 500) || conform_read(&lister.lists) < 100;
         round++) {
        for (int i = 0; i < ROWS; i++) {
            const char *name = names[(round + (unsigned)i) % 4];

            tasks[i] = (struct conform_task){.t = t, .poll = conform_poll_ready};
            REQUIRE(t, tocsin_task_spawn_at(lister.driver, &tasks[i].task, &conform_task_ops, name,
                                            name) == 0);
        }
        REQUIRE(t, tocsin_pool_run(pool) == 0);
    }
    conform_set(&lister.stop, 1);
    conform_thread_join(t, thread);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    list,
    CASE(list_shows_name_place_and_state, "5", "Name, place and state of live tasks; none ended.",
         0),
    CASE(task_in_its_poll_is_running, "5", "A task sees itself running.", 0),
    CASE(names_are_cut_and_may_be_absent, "5", "31 bytes of a name are kept; ids differ.", 0),
    CASE(list_tells_of_more_than_it_has_room_for, "5", "The count is of all, the rows of some.", 0),
    CASE(pool_that_is_stuck_can_be_listed, "5", "Another thread lists a pool that is in a poll.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(list_is_whole_while_tasks_come_and_go, "5",
         "Rows are whole and ids differ while tasks come and go.", TOCSIN_BACKEND_FOREIGN_THREADS));
