/*
 * Slots, ids and generations, and the table of numbers.
 */
#include "runtime/registrations.h"

#include <errno.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

enum {
    FIRST_CHUNK = 1 << TOCSIN__CHUNK_FIRST_BITS,
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

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* Take a slot and make its id findable, as opening does. */
static struct tocsin_fd_ready *take(struct tocsin_pool *pool, intptr_t number)
{
    struct tocsin_fd_ready *ready = tocsin__registration_take_locked(pool, number);

    assert_non_null(ready);
    atomic_store_explicit(&ready->live, ready->watch.id, memory_order_relaxed);
    return ready;
}

static void give_back(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    atomic_store_explicit(&ready->live, 0, memory_order_relaxed);
    tocsin__registration_free_locked(pool, ready);
}

static void ids_are_slot_and_generation(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *a = take(pool, 3);
    struct tocsin_fd_ready *b = take(pool, 4);

    (void)state;
    assert_int_equal(a->watch.id, UINT64_C(1) << 32 | 1);
    assert_int_equal(b->watch.id, UINT64_C(1) << 32 | 2);
    assert_int_equal(b->watch.number, 4);
    assert_ptr_equal(tocsin__registration_find(pool, a->watch.id), a);
    assert_ptr_equal(tocsin__registration_find(pool, b->watch.id), b);
    give_back(pool, a);
    give_back(pool, b);
    close_pool(pool);
}

static void an_old_generation_is_dead(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = take(pool, 3);
    uint64_t old_id = ready->watch.id;
    struct tocsin_fd_ready *again;

    (void)state;
    give_back(pool, ready);
    assert_null(tocsin__registration_find(pool, old_id));
    again = take(pool, 3);
    assert_ptr_equal(again, ready);
    assert_null(tocsin__registration_find(pool, old_id));
    assert_int_equal(again->watch.id, old_id + (UINT64_C(1) << 32));
    assert_ptr_equal(tocsin__registration_find(pool, again->watch.id), again);
    give_back(pool, again);
    close_pool(pool);
}

static void a_taken_slot_remembers_nothing_of_its_former_life(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = take(pool, 3);

    (void)state;
    ready->slots[0].observed = TOCSIN_IN;
    ready->slots[1].drained = true;
    ready->watch.events = TOCSIN_IN;
    ready->watch.data = pool;
    ready->flags = TOCSIN__REG_STALE | TOCSIN__REG_ATTACHED;
    ready->local_flags = TOCSIN__REG_CALLBACK;
    ready->error = -EBADF;
    give_back(pool, ready);
    assert_ptr_equal(take(pool, 8), ready);
    assert_int_equal(ready->slots[0].observed, 0);
    assert_false(ready->slots[1].drained);
    assert_int_equal(ready->watch.events, 0);
    assert_null(ready->watch.data);
    assert_int_equal(ready->flags, 0);
    assert_int_equal(ready->local_flags, 0);
    assert_int_equal(ready->error, 0);
    give_back(pool, ready);
    close_pool(pool);
}

static void the_generation_comes_around_without_the_id_0(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = take(pool, 3);

    (void)state;
    give_back(pool, ready);
    ready->generation = UINT32_MAX;
    assert_ptr_equal(take(pool, 3), ready);
    assert_int_equal(ready->watch.id, 1);
    assert_ptr_equal(tocsin__registration_find(pool, 1), ready);
    give_back(pool, ready);
    close_pool(pool);
}

/* Three chunks: 64, 128 and the first of 256. */
static void slots_never_move(void **state)
{
    enum { COUNT = FIRST_CHUNK * 3 + 1 };
    static struct tocsin_fd_ready *taken[COUNT];
    struct tocsin_pool *pool = open_pool();
    unsigned before = unit_load(&memory.allocations);

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        taken[i] = take(pool, i);
        assert_int_equal((uint32_t)taken[i]->watch.id, i + 1);
    }
    assert_int_equal(unit_load(&memory.allocations) - before, 3);
    for (int i = 0; i < COUNT; i++) {
        assert_ptr_equal(tocsin__registration_find(pool, taken[i]->watch.id), taken[i]);
        assert_int_equal(taken[i]->watch.number, i);
    }
    for (int i = 0; i < COUNT; i++) {
        give_back(pool, taken[i]);
    }
    close_pool(pool);
}

static void ids_of_nobody_find_nothing(void **state)
{
    static const uint64_t ids[] = {
        0,
        UINT64_C(1) << 32,      /* no slot */
        UINT64_C(1) << 32 | 2,  /* a slot that was never taken */
        UINT64_C(2) << 32 | 1,  /* a generation to come */
        UINT64_C(1) << 32 | 65, /* a chunk that is not there */
        UINT64_C(1) << 32 | 1 << 26 /* behind the last chunk there may be */,
        UINT64_C(1) << 32 | UINT32_C(0x80000000),
        UINT64_C(1) << 32 | UINT32_C(0xffffffbf),
        UINT64_C(1) << 32 | UINT32_C(0xffffffc1), /* where 32 bits come around */
        UINT32_MAX,
        UINT64_MAX,
    };
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = take(pool, 3);

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(ids); i++) {
        assert_null(tocsin__registration_find(pool, ids[i]));
    }
    give_back(pool, ready);
    close_pool(pool);
}

static void without_memory_no_slot_is_taken(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready;

    (void)state;
    atomic_store_explicit(&memory.fail_at, 1, memory_order_relaxed);
    assert_null(tocsin__registration_take_locked(pool, 3));
    assert_int_equal(pool->registrations.chunks_count, 0);
    ready = take(pool, 3);
    assert_int_equal((uint32_t)ready->watch.id, 1);
    give_back(pool, ready);
    close_pool(pool);
}

/* ---- Numbers -----------------------------------------------------------------------------------
 */

static struct tocsin_fd_ready *attach(struct tocsin_pool *pool, intptr_t number)
{
    struct tocsin_fd_ready *ready = take(pool, unit_number((int)number));

    assert_int_equal(tocsin__registration_attach_locked(pool, ready), 0);
    return ready;
}

static void a_number_leads_to_its_registration(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *low = attach(pool, 3);
    struct tocsin_fd_ready *high = attach(pool, 1000); /* the table grows, keeping the first */

    (void)state;
    assert_ptr_equal(pool->registrations.numbers[3], low);
    assert_ptr_equal(pool->registrations.numbers[1000], high);
    assert_true(pool->registrations.numbers_count > 1000);
    assert_int_equal(tocsin__registration_detach_locked(pool, low), 0);
    assert_null(pool->registrations.numbers[3]);
    assert_ptr_equal(pool->registrations.numbers[1000], high);
    assert_int_equal(tocsin__registration_detach_locked(pool, high), 0);
    assert_int_equal(fake.detaches, 2);
    give_back(pool, low);
    give_back(pool, high);
    close_pool(pool);
}

static void a_recycled_number_makes_the_older_one_stale(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *older = attach(pool, 5);
    struct tocsin_fd_ready *newer = attach(pool, 5);

    (void)state;
    assert_true((older->flags & TOCSIN__REG_STALE) != 0);
    assert_false((newer->flags & TOCSIN__REG_STALE) != 0);
    assert_int_equal(tocsin__registration_detach_locked(pool, older), -ENOENT);
    assert_int_equal(fake.detaches, 0); /* the kernel was left alone */
    assert_ptr_equal(pool->registrations.numbers[5], newer);
    assert_int_equal(tocsin__registration_detach_locked(pool, newer), 0);
    assert_int_equal(fake.detaches, 1);
    assert_null(pool->registrations.numbers[5]);
    give_back(pool, older);
    give_back(pool, newer);
    close_pool(pool);
}

static void a_number_given_back_in_time_makes_nobody_stale(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *older = attach(pool, 5);
    struct tocsin_fd_ready *newer;

    (void)state;
    assert_int_equal(tocsin__registration_detach_locked(pool, older), 0);
    newer = attach(pool, 5);
    assert_false((older->flags & TOCSIN__REG_STALE) != 0);
    assert_int_equal(tocsin__registration_detach_locked(pool, newer), 0);
    give_back(pool, older);
    give_back(pool, newer);
    close_pool(pool);
}

static void detaching_twice_touches_the_backend_once(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = attach(pool, 5);

    (void)state;
    fake.detach_result = -EBADF;
    assert_int_equal(tocsin__registration_detach_locked(pool, ready), -EBADF);
    assert_int_equal(tocsin__registration_detach_locked(pool, ready), 0);
    assert_int_equal(fake.detaches, 1);
    give_back(pool, ready);
    close_pool(pool);
}

static void a_refused_attach_leaves_the_number_to_its_owner(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *owner = attach(pool, 5);
    struct tocsin_fd_ready *refused = take(pool, 5);

    (void)state;
    fake.attach_result = -EEXIST;
    assert_int_equal(tocsin__registration_attach_locked(pool, refused), -EEXIST);
    assert_ptr_equal(pool->registrations.numbers[5], owner);
    assert_int_equal(owner->flags, TOCSIN__REG_ATTACHED);
    assert_int_equal(refused->flags, 0);
    give_back(pool, refused);
    assert_int_equal(tocsin__registration_detach_locked(pool, owner), 0);
    give_back(pool, owner);
    close_pool(pool);
}

static void without_memory_for_the_number_nothing_is_attached(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_fd_ready *ready = take(pool, unit_number(500));

    (void)state;
    atomic_store_explicit(&memory.fail_at, 1, memory_order_relaxed);
    assert_int_equal(tocsin__registration_attach_locked(pool, ready), -ENOMEM);
    assert_int_equal(fake.attaches, 0); /* after an attach nothing may fail */
    assert_int_equal(ready->flags, 0);
    assert_int_equal(tocsin__registration_attach_locked(pool, ready), 0);
    assert_ptr_equal(pool->registrations.numbers[500], ready);
    tocsin__registration_detach_locked(pool, ready);
    give_back(pool, ready);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ids_are_slot_and_generation),
    cmocka_unit_test(an_old_generation_is_dead),
    cmocka_unit_test(a_taken_slot_remembers_nothing_of_its_former_life),
    cmocka_unit_test(the_generation_comes_around_without_the_id_0),
    cmocka_unit_test(slots_never_move),
    cmocka_unit_test(ids_of_nobody_find_nothing),
    cmocka_unit_test(without_memory_no_slot_is_taken),
    cmocka_unit_test(a_number_leads_to_its_registration),
    cmocka_unit_test(a_recycled_number_makes_the_older_one_stale),
    cmocka_unit_test(a_number_given_back_in_time_makes_nobody_stale),
    cmocka_unit_test(detaching_twice_touches_the_backend_once),
    cmocka_unit_test(a_refused_attach_leaves_the_number_to_its_owner),
    cmocka_unit_test(without_memory_for_the_number_nothing_is_attached),
};

UNIT_MAIN(tests)
