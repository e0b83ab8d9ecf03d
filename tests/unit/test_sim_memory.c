/*
 * The simulation without memory: whatever asks for some says -ENOMEM, and leaves nothing behind.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/sim.h"

enum {
    OBJECTS = 40, /* more than a table begins with */
};

/* The allocation from now that fails; 0: none. */
static unsigned fail_at;

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return fails() ? NULL : __real_realloc(pointer, size);
}

/* Run @fn with the first allocation failing, then the second ..., until it asks for fewer. */
static void each_allocation_fails(int (*fn)(void *arg), void *arg, unsigned least)
{
    for (unsigned n = 1;; n++) {
        bool failed;
        int r;

        fail_at = n;
        r = fn(arg);
        failed = fail_at == 0;
        fail_at = 0;
        if (!failed) {
            assert_int_equal(r, 0);
            assert_in_range(n, least + 1, 1000);
            return;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

static int open_and_close(void *arg)
{
    struct tocsin_sim *sim = NULL;
    int r = tocsin_sim_open(&sim, NULL);

    (void)arg;
    UNIT_CHECK((tocsin_sim_current() != NULL) == (r == 0));
    return r < 0 ? r : tocsin_sim_close(sim);
}

static void opening_without_memory(void **state)
{
    (void)state;
    each_allocation_fails(open_and_close, NULL, 2);
}

static int make_objects(void *arg)
{
    struct tocsin_sim *sim = arg;
    intptr_t numbers[OBJECTS];
    intptr_t ends[2][2] = {{-1, -1}, {-1, -1}};
    int made = 0;
    int r = tocsin_sim_stream_pair(sim, NULL, ends[0]);

    r = r < 0 ? r : tocsin_sim_pipe(sim, NULL, ends[1]);
    while (made < OBJECTS && r == 0) {
        r = tocsin_sim_event(sim, 0, false, &numbers[made]);
        made += r == 0;
    }
    for (int i = 0; i < made; i++) {
        UNIT_CHECK(tocsin_sim_object_close(sim, numbers[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        intptr_t number = ends[i / 2][i % 2];

        UNIT_CHECK(number < 0 || tocsin_sim_object_close(sim, number) == 0);
    }
    UNIT_CHECK(tocsin_sim_object_events(sim, 0) == -EBADF); /* nothing is left */
    return r;
}

static void objects_without_memory(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);

    (void)state;
    each_allocation_fails(make_objects, sim, OBJECTS + 7);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static int watch_many(void *arg)
{
    struct tocsin_sim *sim = arg;
    struct tocsin_fd_ready *readies[OBJECTS];
    unsigned before = fail_at;
    struct tocsin_pool *pool;
    int watched = 0;
    int r = 0;

    fail_at = 0;
    pool = unit_sim_pool(sim);
    fail_at = before;
    while (watched < OBJECTS && r == 0) {
        r = tocsin_source_ready_open(tocsin_pool_driver(pool), TOCSIN_SOURCE_OWN, watched,
                                     &readies[watched]);
        watched += r == 0;
    }
    for (int i = 0; i < watched; i++) {
        UNIT_CHECK(tocsin_fd_ready_close(readies[i]) == 0);
    }
    UNIT_CHECK(tocsin_pool_close(pool) == 0);
    return r;
}

static void watches_without_memory(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    intptr_t number;

    (void)state;
    for (int i = 0; i < OBJECTS; i++) {
        assert_int_equal(tocsin_sim_event(sim, 1, false, &number), 0);
    }
    each_allocation_fails(watch_many, sim, 2);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void a_thread_without_memory(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    struct tocsin_sim_thread *thread = NULL;

    (void)state;
    fail_at = 1;
    assert_int_equal(tocsin_sim_thread_start(sim, &thread, NULL, do_nothing, NULL), -ENOMEM);
    assert_null(thread);
    assert_int_equal(tocsin_sim_thread_start(sim, &thread, NULL, do_nothing, NULL), 0);
    assert_int_equal(tocsin_sim_thread_join(thread), 0);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(opening_without_memory),
    cmocka_unit_test(objects_without_memory),
    cmocka_unit_test(watches_without_memory),
    cmocka_unit_test(a_thread_without_memory),
};

UNIT_MAIN(tests)
