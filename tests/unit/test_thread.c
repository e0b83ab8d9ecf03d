/*
 * A pool on a thread of its own, and a whole program on a pool.
 */
#include <tocsin/pool.h>
#include <tocsin/task.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "runtime/pool.h"
#include "tests/unit/unit.h"

/* What a post on the pool's thread saw. */
struct seen {
    struct tocsin_pool_thread *thread;
    pthread_t self;
    char name[16];
    int joined;
    bool has_pool;
    atomic_bool done;
};

static void look_around(void *arg, int status)
{
    struct seen *seen = arg;

    UNIT_CHECK(status == 0);
    seen->self = pthread_self();
    UNIT_CHECK(pthread_getname_np(seen->self, seen->name, sizeof(seen->name)) == 0);
    seen->has_pool = tocsin__thread_has_pool();
    seen->joined = tocsin_pool_thread_join(seen->thread);
    atomic_store_explicit(&seen->done, true, memory_order_release);
}

static void check_named(const char *name, const char *shown)
{
    struct seen seen = {.joined = 0};
    struct tocsin_driver *driver;

    assert_int_equal(tocsin_pool_spawn_thread(&seen.thread, &driver, name, NULL, NULL), 0);
    assert_int_equal(tocsin_post(driver, look_around, &seen), 0);
    tocsin_driver_unref(driver);
    assert_int_equal(tocsin_pool_thread_join(seen.thread), 0);
    assert_true(atomic_load_explicit(&seen.done, memory_order_acquire));
    assert_string_equal(seen.name, shown);
    assert_int_equal(seen.joined, -EDEADLK); /* on the pool's own thread */
    assert_true(seen.has_pool);
    assert_false(pthread_equal(seen.self, pthread_self()));
}

static void the_thread_has_its_name_cut_to_what_the_kernel_keeps(void **state)
{
    (void)state;
    check_named("worker", "worker");
    check_named("a name that is far too long", "a name that is ");
    check_named(NULL, "tocsin");
}

static void the_thread_ends_with_its_last_driver(void **state)
{
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
    unsigned rounds = support_scaled(200);

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        assert_int_equal(tocsin_pool_spawn_thread(&thread, &driver, "brief", NULL, NULL), 0);
        tocsin_driver_unref(driver);
        assert_int_equal(tocsin_pool_thread_join(thread), 0);
    }
}

static void what_the_open_said_is_returned_and_no_thread_is_left(void **state)
{
    static struct unit_fake fake;
    struct tocsin_pool_thread *thread = NULL;
    struct tocsin_driver *driver = NULL;

    (void)state;
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    fake.open_result = -ENFILE;
    assert_int_equal(tocsin_pool_spawn_thread(&thread, &driver, "never", &fake.backend, NULL),
                     -ENFILE);
    assert_null(thread);
    assert_null(driver);
}

static void options_and_backend_are_copied(void **state)
{
    struct unit_memory memory;
    struct tocsin_pool_options *options = test_malloc(sizeof(*options));
    struct tocsin_backend *backend = test_malloc(sizeof(*backend));
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    (void)state;
    unit_memory_init(&memory);
    *options = (struct tocsin_pool_options){.allocator = &memory.allocator};
    *backend = *tocsin_backend_find("epoll");
    assert_int_equal(tocsin_pool_spawn_thread(&thread, &driver, "copied", backend, options), 0);
    memset(options, 0xdd, sizeof(*options));
    memset(backend, 0xdd, sizeof(*backend));
    test_free(options);
    test_free(backend);
    assert_true(unit_load(&memory.live) > 0);
    assert_string_equal(tocsin_driver_backend(driver)->ops->name, "epoll");
    tocsin_driver_unref(driver);
    assert_int_equal(tocsin_pool_thread_join(thread), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* ---- run_with ----------------------------------------------------------------------------------
 */

struct program {
    unsigned polls;
    struct tocsin_driver *driver;
    struct tocsin_waker kept;
};

static int three_polls(struct tocsin_context *cx, void *arg)
{
    struct program *program = arg;

    if (++program->polls < 3) {
        return tocsin_task_yield(cx);
    }
    program->kept = tocsin_waker_clone(&cx->waker);
    program->driver = tocsin_driver_ref(cx->driver);
    return 40;
}

static void a_program_is_polled_until_it_is_ready(void **state)
{
    struct program program = {.polls = 0};
    int result = 0;

    (void)state;
    assert_int_equal(tocsin_run_with(three_polls, &program, &result), 0);
    assert_int_equal(result, 40);
    assert_int_equal(program.polls, 3);
    assert_false(tocsin__thread_has_pool());
    tocsin_waker_wake(&program.kept); /* after the end: does nothing */
    assert_int_equal(tocsin_post(program.driver, look_around, NULL), -ESHUTDOWN);
    tocsin_driver_unref(program.driver);
    assert_int_equal(tocsin_run_with(NULL, NULL, &result), -EINVAL);
    assert_int_equal(result, 40);
}

static int nested(struct tocsin_context *cx, void *arg)
{
    struct program program = {.polls = 0};
    int result = 0;

    (void)cx;
    (void)arg;
    UNIT_CHECK(tocsin_run_with(three_polls, &program, &result) == 0);
    UNIT_CHECK(tocsin__running != NULL); /* the outer one is back */
    tocsin_waker_drop(&program.kept);
    tocsin_driver_unref(program.driver);
    return result + 1;
}

static void programs_nest(void **state)
{
    int result = 0;

    (void)state;
    assert_int_equal(tocsin_run_with(nested, NULL, &result), 0);
    assert_int_equal(result, 41);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_thread_has_its_name_cut_to_what_the_kernel_keeps),
    cmocka_unit_test(the_thread_ends_with_its_last_driver),
    cmocka_unit_test(what_the_open_said_is_returned_and_no_thread_is_left),
    cmocka_unit_test(options_and_backend_are_copied),
    cmocka_unit_test(a_program_is_polled_until_it_is_ready),
    cmocka_unit_test(programs_nest),
};

UNIT_MAIN(tests)
