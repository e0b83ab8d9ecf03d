/*
 * The task table: rows, their names, and readers that meet a writer.
 */
#include "runtime/row.h"
#include "runtime/task_table.h"

#include <stdio.h>
#include <string.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

enum {
    ROWS = 3 * TOCSIN__ROWS_PER_CHUNK,
};

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    return unit_fake_pool(&fake, &options);
}

static int list(struct tocsin_pool *pool, struct tocsin_task_info *infos, size_t infos_max)
{
    return tocsin_task_list(tocsin_pool_driver(pool), infos, infos_max);
}

/* R2: a row goes back to the kind that it came from. */
static void rows_go_back_to_their_own_kind(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin__row *own = tocsin__row_take(pool, false);
    struct tocsin__row *remote = tocsin__row_take(pool, true);

    (void)state;
    assert_non_null(own);
    assert_non_null(remote);
    assert_false(own->remote);
    assert_true(remote->remote);
    tocsin__row_untake(pool, own);
    assert_ptr_equal(pool->tasks.own_free, own);
    tocsin__row_untake(pool, remote);
    assert_ptr_equal(atomic_load_explicit(&pool->tasks.remote_returned, memory_order_relaxed),
                     remote);
    assert_ptr_equal(tocsin__row_take(pool, false), own);
    tocsin_pool_close(pool);
}

static void remote_spawners_use_what_was_returned_before_they_grow(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin__row *rows[TOCSIN__ROWS_PER_CHUNK];
    unsigned allocations;

    (void)state;
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
        rows[i] = tocsin__row_take(pool, true);
    }
    assert_null(pool->tasks.remote_free);
    allocations = unit_load(&memory.allocations);
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
        tocsin__row_untake(pool, rows[i]);
    }
    for (unsigned i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
        assert_non_null(tocsin__row_take(pool, true));
    }
    assert_int_equal(unit_load(&memory.allocations), allocations);
    assert_non_null(tocsin__row_take(pool, true));
    assert_int_equal(unit_load(&memory.allocations), allocations + 1);
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_row_is_seen_from_show_to_free(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin__row *row = tocsin__row_take(pool, false);
    struct tocsin_task task = {.ops_ = NULL};
    struct tocsin_task_info info = {.id = 77};
    uint64_t first_id;

    (void)state;
    tocsin__row_fill(row, "name", "place.c:1");
    assert_int_equal(list(pool, &info, 1), 0);
    assert_int_equal(info.id, 77); /* untouched */
    tocsin__row_show(pool, row, &task);
    assert_int_equal(list(pool, &info, 1), 1);
    assert_string_equal(info.name, "name");
    assert_string_equal(info.place, "place.c:1");
    assert_int_equal(info.state, TOCSIN_TASK_READY);
    first_id = info.id;
    tocsin__row_set_state(row, TOCSIN_TASK_WAITING);
    assert_int_equal(list(pool, &info, 1), 1);
    assert_int_equal(info.state, TOCSIN_TASK_WAITING);
    tocsin__row_free(pool, row);
    assert_int_equal(list(pool, &info, 1), 0);
    assert_ptr_equal(tocsin__row_take(pool, false), row);
    tocsin__row_fill(row, NULL, NULL);
    tocsin__row_show(pool, row, &task);
    assert_int_equal(list(pool, &info, 1), 1);
    assert_true(info.id > first_id); /* never used again */
    assert_string_equal(info.name, "");
    assert_null(info.place);
    tocsin__row_free(pool, row);
    tocsin_pool_close(pool);
}

static void names_are_cut_and_copied(void **state)
{
    static const char exact[] = "1234567890123456789012345678901"; /* 31 and the zero */
    static const char too_long[] = "12345678901234567890123456789012";
    char name[] = "gone";
    struct tocsin_pool *pool = open_pool();
    struct tocsin__row *row = tocsin__row_take(pool, false);
    struct tocsin_task task = {.ops_ = NULL};
    struct tocsin_task_info info;

    (void)state;
    tocsin__row_show(pool, row, &task);
    tocsin__row_fill(row, exact, NULL);
    list(pool, &info, 1);
    assert_string_equal(info.name, exact);
    tocsin__row_fill(row, too_long, NULL);
    list(pool, &info, 1);
    assert_string_equal(info.name, exact);
    tocsin__row_fill(row, name, NULL);
    memset(name, 'x', sizeof(name) - 1);
    list(pool, &info, 1);
    assert_string_equal(info.name, "gone");
    tocsin__row_free(pool, row);
    tocsin_pool_close(pool);
}

static void the_list_counts_more_than_it_has_room_for(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin__row *rows[ROWS];
    struct tocsin_task task = {.ops_ = NULL};
    struct tocsin_task_info infos[4];
    struct tocsin_task_info sentinel = {.id = 99};

    (void)state;
    for (unsigned i = 0; i < ROWS; i++) {
        rows[i] = tocsin__row_take(pool, i % 2 == 0);
        tocsin__row_fill(rows[i], "", NULL);
        tocsin__row_show(pool, rows[i], &task);
    }
    infos[3] = sentinel;
    assert_int_equal(list(pool, infos, 3), ROWS);
    assert_int_equal(infos[3].id, sentinel.id);
    assert_int_equal(list(pool, NULL, 0), ROWS);
    for (unsigned i = 0; i < ROWS; i++) {
        tocsin__row_free(pool, rows[i]);
    }
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static unsigned visits;

static void visit(struct tocsin_pool *pool, struct tocsin_task *task)
{
    tocsin__row_free(pool, task->slot_);
    visits++;
}

static void each_live_task_is_visited_once_and_may_end(void **state)
{
    struct tocsin_pool *pool = open_pool();
    static struct tocsin_task tasks[ROWS];

    (void)state;
    for (unsigned i = 0; i < ROWS; i++) {
        tasks[i].slot_ = tocsin__row_take(pool, false);
        tocsin__row_fill(tasks[i].slot_, "", NULL);
        tocsin__row_show(pool, tasks[i].slot_, &tasks[i]);
    }
    visits = 0;
    tocsin__task_table_each(pool, visit);
    assert_int_equal(visits, ROWS);
    tocsin__task_table_each(pool, visit);
    assert_int_equal(visits, ROWS);
    tocsin_pool_close(pool);
}

/* ---- Two cores ---------------------------------------------------------------------------------
 */

static const char *const names[] = {
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "ccccccccccccccccccccccccccccccc",
};

struct readers {
    struct tocsin_pool *pool;
    atomic_bool stop;
};

/* A row is whole: all of its name is one writing's, and its place is that one's, too. */
static void read_until_stopped(void *arg)
{
    struct readers *readers = arg;
    struct tocsin_task_info infos[4];

    while (!atomic_load_explicit(&readers->stop, memory_order_relaxed)) {
        int count = list(readers->pool, infos, UNIT_COUNT(infos));

        for (int i = 0; i < count; i++) {
            UNIT_CHECK(infos[i].place != NULL);
            UNIT_CHECK(strcmp(infos[i].name, infos[i].place) == 0);
            UNIT_CHECK(infos[i].id != 0);
        }
    }
}

static void readers_see_whole_rows_only(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct readers readers = {.pool = pool};
    struct tocsin_task task = {.ops_ = NULL};
    unsigned rounds = support_scaled(100000);
    struct support_thread reader;

    (void)state;
    atomic_init(&readers.stop, false);
    support_pin(0);
    support_thread_start(&reader, 1, read_until_stopped, &readers);
    for (unsigned i = 0; i < rounds; i++) {
        const char *name = names[i % UNIT_COUNT(names)];
        struct tocsin__row *row = tocsin__row_take(pool, i % 2 == 0);

        tocsin__row_fill(row, name, name);
        tocsin__row_show(pool, row, &task);
        tocsin__row_set_state(row, TOCSIN_TASK_WAITING);
        tocsin__row_free(pool, row);
    }
    atomic_store_explicit(&readers.stop, true, memory_order_relaxed);
    support_thread_join(&reader);
    tocsin_pool_close(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_go_back_to_their_own_kind),
    cmocka_unit_test(remote_spawners_use_what_was_returned_before_they_grow),
    cmocka_unit_test(a_row_is_seen_from_show_to_free),
    cmocka_unit_test(names_are_cut_and_copied),
    cmocka_unit_test(the_list_counts_more_than_it_has_room_for),
    cmocka_unit_test(each_live_task_is_visited_once_and_may_end),
    cmocka_unit_test(readers_see_whole_rows_only),
};

UNIT_MAIN(tests)
