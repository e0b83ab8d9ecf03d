/*
 * The run queue in a seed's order, and that nothing starves by it.
 */
#include "runtime/order.h"

#include "tests/unit/unit.h"

enum {
    ITEMS = 200,
};

static void fill(struct tocsin__queue *queue, struct tocsin_item_ *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i].word_ = i;
        tocsin__queue_push(queue, &items[i]);
    }
}

static void each_item_comes_once(void **state)
{
    struct tocsin__order order = {.state = 5};
    struct tocsin__queue queue = {0};
    struct tocsin_item_ items[ITEMS];
    bool seen[ITEMS] = {false};
    struct tocsin_item_ *item;
    uint32_t moved = 0;
    uint32_t count = 0;

    (void)state;
    fill(&queue, items, ITEMS);
    while ((item = tocsin__order_pop(&order, &queue)) != NULL) {
        assert_false(seen[item->word_]);
        seen[item->word_] = true;
        moved += item->word_ != count;
        count++;
    }
    assert_int_equal(count, ITEMS);
    assert_true(moved > ITEMS / 2);
    assert_null(tocsin__order_pop(&order, &queue));
}

/* However many come behind it: it is overtaken by fewer than a window. */
static void no_item_starves(void **state)
{
    struct tocsin__order order = {.state = 9};
    struct tocsin__queue queue = {0};
    struct tocsin_item_ items[ITEMS];
    uint32_t waited[ITEMS] = {0};

    (void)state;
    fill(&queue, items, ITEMS);
    for (int round = 0; round < 10000; round++) {
        struct tocsin_item_ *item = tocsin__order_pop(&order, &queue);

        for (uint32_t i = 0; i < ITEMS; i++) {
            waited[i]++;
        }
        assert_true(waited[item->word_] < ITEMS + TOCSIN__ORDER_WINDOW);
        waited[item->word_] = 0;
        tocsin__queue_push(&queue, item);
    }
}

static uint32_t first_of(uint64_t seed)
{
    struct tocsin__order order = {.state = seed};
    struct tocsin__queue queue = {0};
    struct tocsin_item_ items[10];

    fill(&queue, items, 10);
    return tocsin__order_pop(&order, &queue)->word_;
}

static void the_seed_decides(void **state)
{
    uint32_t firsts = 0;

    (void)state;
    for (uint64_t seed = 1; seed < 200; seed++) {
        assert_int_equal(first_of(seed), first_of(seed));
        firsts |= 1u << first_of(seed);
    }
    assert_int_equal(firsts, (1u << 10) - 1);
}

/* ---- In a pool ------------------------------------------------------------------------------- */

struct noted {
    struct unit_task task;
    unsigned *order;
    unsigned *count;
};

static int poll_notes(struct unit_task *task, struct tocsin_context *cx)
{
    struct noted *noted = (struct noted *)(void *)task;

    (void)cx;
    noted->order[(*noted->count)++] = (unsigned)task->result;
    return 0;
}

static void order_in_a_pool(uint64_t seed, unsigned order[10])
{
    const struct tocsin_pool_options options = {.order_seed = seed};
    struct noted tasks[10] = {0};
    struct unit_fake fake;
    struct tocsin_pool *pool;
    unsigned count = 0;

    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    pool = unit_fake_pool(&fake, &options);
    for (int i = 0; i < 10; i++) {
        tasks[i].task.poll = poll_notes;
        tasks[i].task.result = i;
        tasks[i].order = order;
        tasks[i].count = &count;
        unit_task_spawn(&tasks[i].task, tocsin_pool_driver(pool), "noted");
    }
    UNIT_CHECK(tocsin_pool_run(pool) == 0);
    UNIT_CHECK(count == 10);
    for (int i = 0; i < 10; i++) {
        tocsin_task_unref(&tasks[i].task.task);
    }
    UNIT_CHECK(tocsin_pool_close(pool) == 0);
}

static void tasks_run_in_the_seeds_order_if_asked(void **state)
{
    unsigned without[10];
    unsigned first[10];
    unsigned again[10];
    unsigned other[10];

    (void)state;
    order_in_a_pool(0, without);
    order_in_a_pool(1, first);
    order_in_a_pool(1, again);
    order_in_a_pool(2, other);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(without[i], i);
    }
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, without, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_item_comes_once),
    cmocka_unit_test(no_item_starves),
    cmocka_unit_test(the_seed_decides),
    cmocka_unit_test(tasks_run_in_the_seeds_order_if_asked),
};

UNIT_MAIN(tests)
