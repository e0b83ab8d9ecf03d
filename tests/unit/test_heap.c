/*
 * The timer queue against a naive model: order, ties, places, room.
 */
#include "runtime/heap.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

enum {
    TIMERS = 150,
    DEADLINES = 40, /* few: ties are the rule */
};

/* A heap over an allocator that counts; the pool lends nothing but that. */
struct fixture {
    struct unit_memory memory;
    struct tocsin_pool pool;
    struct tocsin__heap heap;
    struct tocsin_timer timers[TIMERS];
    bool in[TIMERS];
    uint64_t order;
};

static struct fixture *start(unsigned reserved)
{
    static struct fixture fixture;

    fixture = (struct fixture){.order = 0};
    unit_memory_init(&fixture.memory);
    fixture.pool.allocator = fixture.memory.allocator;
    for (unsigned i = 0; i < reserved; i++) {
        assert_int_equal(tocsin__heap_reserve(&fixture.heap, &fixture.pool), 0);
    }
    return &fixture;
}

static void end(struct fixture *fixture)
{
    tocsin__heap_deinit(&fixture->heap, &fixture->pool);
    assert_int_equal(fixture->heap.count, 0);
    assert_int_equal(fixture->heap.reserved, 0);
    assert_int_equal(unit_load(&fixture->memory.live), 0);
}

static void insert(struct fixture *fixture, unsigned i, uint64_t deadline_ns)
{
    fixture->timers[i].deadline_ns_ = deadline_ns;
    fixture->timers[i].order_ = fixture->order++;
    fixture->in[i] = true;
    tocsin__heap_insert(&fixture->heap, &fixture->timers[i]);
}

static void take(struct fixture *fixture, unsigned i)
{
    fixture->in[i] = false;
    tocsin__heap_remove(&fixture->heap, &fixture->timers[i]);
}

/* The one that the model says comes first, or TIMERS. */
static unsigned first_of(const struct fixture *fixture)
{
    unsigned first = TIMERS;

    for (unsigned i = 0; i < TIMERS; i++) {
        const struct tocsin_timer *a = &fixture->timers[i];

        if (fixture->in[i] &&
            (first == TIMERS || a->deadline_ns_ < fixture->timers[first].deadline_ns_ ||
             (a->deadline_ns_ == fixture->timers[first].deadline_ns_ &&
              a->order_ < fixture->timers[first].order_))) {
            first = i;
        }
    }
    return first;
}

static void check(const struct fixture *fixture)
{
    const struct tocsin__heap *heap = &fixture->heap;
    unsigned first = first_of(fixture);
    unsigned count = 0;

    for (unsigned i = 0; i < TIMERS; i++) {
        count += fixture->in[i];
    }
    assert_int_equal(heap->count, count);
    for (size_t i = 0; i < heap->count; i++) {
        assert_int_equal(heap->entries[i].timer->index_, i);
        assert_int_equal(heap->entries[i].deadline_ns, heap->entries[i].timer->deadline_ns_);
    }
    if (first == TIMERS) {
        assert_int_equal(tocsin__heap_next_ns(heap), TOCSIN_NEVER_NS);
    } else {
        assert_ptr_equal(heap->entries[0].timer, &fixture->timers[first]);
        assert_int_equal(tocsin__heap_next_ns(heap), fixture->timers[first].deadline_ns_);
    }
}

static void random_operations_agree_with_a_naive_model(void **state)
{
    struct fixture *fixture = start(TIMERS);
    struct support_random random = {UINT64_C(0x9e3779b97f4a7c15)};
    unsigned rounds = support_scaled(20000);

    (void)state;
    printf("seed=%#llx\n", (unsigned long long)random.state);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned i = support_random_below(&random, TIMERS);

        if (!fixture->in[i]) {
            insert(fixture, i, support_random_below(&random, DEADLINES));
        } else if (support_random_below(&random, 3) == 0) {
            take(fixture, first_of(fixture));
        } else {
            take(fixture, i);
        }
        if (round % 8 == 0) {
            check(fixture);
        }
    }
    while (first_of(fixture) < TIMERS) {
        take(fixture, first_of(fixture));
        check(fixture);
    }
    end(fixture);
}

static void ties_come_out_in_the_order_of_arming(void **state)
{
    struct fixture *fixture = start(TIMERS);

    (void)state;
    for (unsigned i = 0; i < TIMERS; i++) {
        insert(fixture, i, 7);
    }
    take(fixture, 0); /* armed anew: the last of the tie now */
    insert(fixture, 0, 7);
    for (unsigned i = 1; i <= TIMERS; i++) {
        assert_ptr_equal(fixture->heap.entries[0].timer, &fixture->timers[i % TIMERS]);
        take(fixture, i % TIMERS);
    }
    end(fixture);
}

/* T2: of the other timers at most one for each level changes its place. */
static void one_change_moves_few_others(void **state)
{
    struct fixture *fixture = start(TIMERS);
    uint32_t before[TIMERS];
    unsigned moved = 0;

    (void)state;
    for (unsigned i = 0; i < TIMERS - 1; i++) {
        insert(fixture, i, 1000 + i);
    }
    for (unsigned i = 0; i < TIMERS - 1; i++) {
        before[i] = fixture->timers[i].index_;
    }
    insert(fixture, TIMERS - 1, 1); /* all the way up */
    for (unsigned i = 0; i < TIMERS - 1; i++) {
        moved += before[i] != fixture->timers[i].index_;
    }
    assert_in_range(moved, 1, 4); /* log4(150) < 4 */
    end(fixture);
}

static void growth_keeps_what_is_armed(void **state)
{
    struct fixture *fixture = start(0);

    (void)state;
    for (unsigned i = 0; i < TIMERS; i++) {
        assert_int_equal(tocsin__heap_reserve(&fixture->heap, &fixture->pool), 0);
        insert(fixture, i, (i * 37) % 101);
        check(fixture);
    }
    assert_in_range(unit_load(&fixture->memory.allocations), 2, 8);
    assert_int_equal(unit_load(&fixture->memory.live), 1);
    end(fixture);
}

static void failed_growth_changes_nothing(void **state)
{
    struct fixture *fixture = start(16);

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        insert(fixture, i, i);
    }
    atomic_store_explicit(&fixture->memory.fail_at, 1, memory_order_relaxed);
    assert_int_equal(tocsin__heap_reserve(&fixture->heap, &fixture->pool), -ENOMEM);
    assert_int_equal(fixture->heap.reserved, 16);
    check(fixture);
    assert_int_equal(tocsin__heap_reserve(&fixture->heap, &fixture->pool), 0);
    insert(fixture, 16, 0);
    check(fixture);
    end(fixture);
}

static void room_given_back_is_used_again(void **state)
{
    struct fixture *fixture = start(16);
    unsigned allocations = unit_load(&fixture->memory.allocations);

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        tocsin__heap_unreserve(&fixture->heap);
        assert_int_equal(tocsin__heap_reserve(&fixture->heap, &fixture->pool), 0);
    }
    assert_int_equal(unit_load(&fixture->memory.allocations), allocations);
    end(fixture);
}

static void insert_unreserved(void *arg)
{
    struct fixture *fixture = arg;

    insert(fixture, 1, 1);
}

static void unreserve_armed(void *arg)
{
    struct fixture *fixture = arg;

    tocsin__heap_unreserve(&fixture->heap);
}

static void remove_stranger(void *arg)
{
    struct fixture *fixture = arg;

    take(fixture, 1);
}

static void misuse_aborts(void **state)
{
    struct fixture *fixture = start(1);

    (void)state;
    insert(fixture, 0, 5);
    unit_expect_abort(insert_unreserved, fixture, "armed without tocsin_timer_init()");
    unit_expect_abort(unreserve_armed, fixture, "gave its room back while armed");
    unit_expect_abort(remove_stranger, fixture, "not where it was put");
    take(fixture, 0);
    end(fixture);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_operations_agree_with_a_naive_model),
    cmocka_unit_test(ties_come_out_in_the_order_of_arming),
    cmocka_unit_test(one_change_moves_few_others),
    cmocka_unit_test(growth_keeps_what_is_armed),
    cmocka_unit_test(failed_growth_changes_nothing),
    cmocka_unit_test(room_given_back_is_used_again),
    cmocka_unit_test(misuse_aborts),
};

UNIT_MAIN(tests)
