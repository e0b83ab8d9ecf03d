/*
 * The inbox: order, closing, and two pushers against the loop.
 */
#include "runtime/inbox.h"

#include "tests/unit/unit.h"

enum {
    ITEMS = 5,
    PUSHERS = 2,
};

/* Who pushed it, and the how many-th of his it was. */
struct numbered {
    struct tocsin_item_ item; /* first: the address of both */
    unsigned pusher;
    unsigned number;
};

static void items_come_out_in_the_order_of_pushing(void **state)
{
    struct tocsin_item_ items[ITEMS];
    struct tocsin__inbox inbox;
    struct tocsin_item_ *item;

    (void)state;
    tocsin__inbox_init(&inbox);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_true(tocsin__inbox_push(&inbox, &items[i]));
    }
    item = tocsin__inbox_take(&inbox);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_ptr_equal(item, &items[i]);
        item = item->next_;
    }
    assert_null(item);
}

static void a_take_leaves_nothing_behind(void **state)
{
    struct tocsin_item_ items[2];
    struct tocsin__inbox inbox;

    (void)state;
    tocsin__inbox_init(&inbox);
    assert_null(tocsin__inbox_take(&inbox));
    tocsin__inbox_push(&inbox, &items[0]);
    assert_ptr_equal(tocsin__inbox_take(&inbox), &items[0]);
    assert_null(tocsin__inbox_take(&inbox));
    tocsin__inbox_push(&inbox, &items[1]);
    assert_ptr_equal(tocsin__inbox_take(&inbox), &items[1]);
    assert_null(items[1].next_);
}

static void a_closed_inbox_takes_nothing_more(void **state)
{
    struct tocsin_item_ items[3] = {{.next_ = NULL}};
    struct tocsin__inbox inbox;
    struct tocsin_item_ *item;

    (void)state;
    tocsin__inbox_init(&inbox);
    tocsin__inbox_push(&inbox, &items[0]);
    tocsin__inbox_push(&inbox, &items[1]);
    assert_false(tocsin__inbox_is_closed(&inbox));
    item = tocsin__inbox_close(&inbox);
    assert_ptr_equal(item, &items[0]);
    assert_ptr_equal(item->next_, &items[1]);
    assert_null(item->next_->next_);
    assert_true(tocsin__inbox_is_closed(&inbox));
    for (unsigned i = 0; i < 2; i++) {
        assert_false(tocsin__inbox_push(&inbox, &items[2])); /* I2: for good */
        assert_null(items[2].next_);                         /* not linked */
        assert_null(tocsin__inbox_take(&inbox));
        assert_true(tocsin__inbox_is_closed(&inbox));
    }
    assert_null(tocsin__inbox_close(&inbox));
}

struct race {
    struct tocsin__inbox inbox;
    struct numbered *items[PUSHERS];
    unsigned count;
    atomic_uint accepted;
    atomic_uint ended;
};

struct pusher {
    struct race *race;
    unsigned index;
};

static void push_all(void *arg)
{
    const struct pusher *pusher = arg;
    struct race *race = pusher->race;
    unsigned accepted = 0;

    for (unsigned i = 0; i < race->count; i++) {
        struct numbered *numbered = &race->items[pusher->index][i];

        numbered->pusher = pusher->index;
        numbered->number = i;
        accepted += tocsin__inbox_push(&race->inbox, &numbered->item);
    }
    atomic_fetch_add_explicit(&race->accepted, accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&race->ended, 1, memory_order_release);
}

/* Each pusher's items come in his order; returns how many came. */
static unsigned receive(struct tocsin_item_ *item, unsigned *next)
{
    unsigned count = 0;

    while (item != NULL) {
        const struct numbered *numbered = (const struct numbered *)(void *)item;

        assert_int_equal(numbered->number, next[numbered->pusher]);
        next[numbered->pusher]++;
        count++;
        item = item->next_;
    }
    return count;
}

static void run_race(bool close_early)
{
    static struct race race;
    struct support_thread threads[PUSHERS];
    struct pusher pushers[PUSHERS];
    unsigned next[PUSHERS] = {0};
    unsigned received = 0;

    race.count = support_scaled(40000);
    tocsin__inbox_init(&race.inbox);
    atomic_store_explicit(&race.accepted, 0, memory_order_relaxed);
    atomic_store_explicit(&race.ended, 0, memory_order_relaxed);
    for (unsigned i = 0; i < PUSHERS; i++) {
        race.items[i] = test_calloc(race.count, sizeof(struct numbered));
        pushers[i] = (struct pusher){.race = &race, .index = i};
        support_thread_start(&threads[i], i, push_all, &pushers[i]);
    }
    while (atomic_load_explicit(&race.ended, memory_order_acquire) < PUSHERS) {
        received += receive(tocsin__inbox_take(&race.inbox), next);
        if (close_early && received > race.count / 2) {
            break;
        }
    }
    received += receive(tocsin__inbox_close(&race.inbox), next);
    for (unsigned i = 0; i < PUSHERS; i++) {
        support_thread_join(&threads[i]);
        test_free(race.items[i]);
    }
    assert_int_equal(received, unit_load(&race.accepted)); /* I1 */
    if (!close_early) {
        assert_int_equal(received, PUSHERS * race.count);
    }
}

static void what_two_threads_push_comes_once_and_in_order(void **state)
{
    (void)state;
    run_race(false);
}

static void what_was_accepted_before_the_close_comes_out_of_it(void **state)
{
    (void)state;
    run_race(true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(items_come_out_in_the_order_of_pushing),
    cmocka_unit_test(a_take_leaves_nothing_behind),
    cmocka_unit_test(a_closed_inbox_takes_nothing_more),
    cmocka_unit_test(what_two_threads_push_comes_once_and_in_order),
    cmocka_unit_test(what_was_accepted_before_the_close_comes_out_of_it),
};

UNIT_MAIN(tests)
