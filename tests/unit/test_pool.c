/*
 * The pool's memory, its thread, its opening and its end.
 */
#include <tocsin/pool.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "runtime/task.h"
#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    return unit_fake_pool(&fake, &options);
}

static uint64_t refs_of(struct tocsin_pool *pool)
{
    return atomic_load_explicit(&pool->refs, memory_order_relaxed);
}

static void options_of_zero_mean_the_defaults(void **state)
{
    struct tocsin_pool_options options = {.budget_polls = 7, .budget_ns = 8, .clock_polls = 9};
    struct tocsin_pool *pool;

    (void)state;
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    pool = unit_fake_pool(&fake, NULL);
    assert_int_equal(pool->options.budget_polls, 256);
    assert_int_equal(pool->options.clock_polls, 16);
    assert_int_equal(pool->options.budget_ns, 250000);
    assert_int_equal(pool->options.busy_poll_ns, 0);
    assert_int_equal(pool->options.timer_slack_ns, 0);
    tocsin_pool_close(pool);
    pool = unit_fake_pool(&fake, &options);
    assert_int_equal(pool->options.budget_polls, 7);
    assert_int_equal(pool->options.budget_ns, 8);
    assert_int_equal(pool->options.clock_polls, 9);
    tocsin_pool_close(pool);
}

static bool was_pinned;

static void open_on_one_processor(void *arg)
{
    const struct tocsin_pool_options options = {.busy_poll_ns = 1000};
    struct tocsin_pool *pool;

    (void)arg;
    support_pin(0);
    was_pinned = tocsin__processors() == 1;
    pool = unit_fake_pool(&fake, &options);
    UNIT_CHECK(pool->options.busy_poll_ns == (was_pinned ? 0 : 1000));
    tocsin_pool_close(pool);
}

static void no_pool_polls_busily_on_one_processor(void **state)
{
    const struct tocsin_pool_options options = {.busy_poll_ns = 1000};
    struct tocsin_pool *pool;

    (void)state;
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    support_elsewhere(open_on_one_processor, NULL);
    if (!was_pinned) {
        unit_skip("threads cannot be pinned here");
    }
    if (tocsin__processors() > 1) {
        pool = unit_fake_pool(&fake, &options);
        assert_int_equal(pool->options.busy_poll_ns, 1000);
        tocsin_pool_close(pool);
    }
}

static void the_pool_stands_on_a_cache_line_whatever_the_allocator_gives(void **state)
{
    struct tocsin_pool *pools[8];

    (void)state;
    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    for (unsigned i = 0; i < UNIT_COUNT(pools); i++) {
        struct tocsin_pool_options options = {.allocator = &memory.allocator};

        pools[i] = unit_fake_pool(&fake, &options);
        assert_int_equal((uintptr_t)pools[i] % TOCSIN__CACHE_LINE, 0);
        assert_ptr_equal(tocsin_pool_driver(pools[i]), pools[i]); /* one address for both */
        assert_ptr_equal(tocsin_driver_backend(tocsin_pool_driver(pools[i]))->ops, &fake.ops);
    }
    for (unsigned i = 0; i < UNIT_COUNT(pools); i++) {
        tocsin_pool_close(pools[i]);
    }
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_refused_open_leaves_nothing(void **state)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};
    struct tocsin_pool *pool = NULL;

    (void)state;
    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    fake.open_result = -EMFILE;
    assert_int_equal(tocsin_pool_open(&pool, &fake.backend, &options), -EMFILE);
    fake.ops.version = TOCSIN_BACKEND_VERSION + 1;
    assert_int_equal(tocsin_pool_open(&pool, &fake.backend, &options), -EINVAL);
    assert_null(pool);
    assert_int_equal(fake.closes, 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void close_in_turn(void *arg)
{
    UNIT_CHECK(tocsin_pool_close(arg) == -EBUSY);
    UNIT_CHECK(tocsin_pool_run(arg) == -EBUSY);
    UNIT_CHECK(tocsin_pool_turn(arg) == -EBUSY);
}

static void a_pool_is_not_entered_twice(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    unit_in_turn(pool, close_in_turn, pool);
    assert_false(pool->in_turn);
    assert_null(tocsin__running);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void try_from_elsewhere(void *arg)
{
    struct tocsin_pool *pool = arg;

    UNIT_CHECK(tocsin_pool_run(pool) == -EPERM);
    UNIT_CHECK(tocsin_pool_turn(pool) == -EPERM);
    UNIT_CHECK(tocsin_pool_close(pool) == -EPERM);
}

static void the_first_turn_binds_the_thread_for_good(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    assert_false(tocsin__thread_has_pool());
    tocsin_pool_turn(pool);
    assert_true(tocsin__thread_has_pool());
    assert_int_equal(atomic_load_explicit(&pool->owner, memory_order_relaxed), tocsin__thread_id());
    support_elsewhere(try_from_elsewhere, pool);
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_false(tocsin__thread_has_pool());
    assert_int_equal(unit_load(&memory.live), 0);
}

static void close_elsewhere(void *arg)
{
    UNIT_CHECK(tocsin_pool_close(arg) == 0);
    UNIT_CHECK(!tocsin__thread_has_pool());
}

static void a_pool_that_never_ran_is_closed_anywhere(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    support_elsewhere(close_elsewhere, pool);
    assert_int_equal(unit_load(&memory.live), 0);
    assert_int_equal(fake.closes, 1);
    assert_int_equal(tocsin_pool_close(NULL), 0);
}

struct from_thread {
    struct tocsin_fd_ready *ready;
};

static void poll_from_elsewhere(void *arg)
{
    struct from_thread *from = arg;

    tocsin_fd_ready_clear(from->ready, TOCSIN_SLOT_READ);
}

static void abort_elsewhere(void *arg)
{
    support_elsewhere(poll_from_elsewhere, arg);
}

static void the_wrong_thread_aborts(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct from_thread from;

    (void)state;
    assert_int_equal(tocsin_fd_ready_open(tocsin_pool_driver(pool), unit_number(3), &from.ready),
                     0);
    support_elsewhere(poll_from_elsewhere, &from); /* before the first run: any */
    tocsin_pool_turn(pool);
    pool->fork_mark = &(const unsigned char){1}; /* the death is watched in a child */
    unit_expect_abort(abort_elsewhere, &from, "for the pool's thread only");
    tocsin_fd_ready_close(from.ready);
    tocsin_pool_close(pool);
}

static void counted_drivers_hold_the_memory_and_the_run(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    uint64_t refs = refs_of(pool);

    (void)state;
    assert_false(tocsin__is_alive(pool));
    assert_ptr_equal(tocsin_driver_ref(driver), driver);
    assert_ptr_equal(tocsin_driver_ref(driver), driver);
    assert_true(tocsin__is_alive(pool));
    assert_int_equal(refs_of(pool), refs + 2);
    tocsin_driver_unref(driver);
    assert_true(tocsin__is_alive(pool));
    assert_false(tocsin__wake_is_woken(&pool->wake));
    tocsin_pool_close(pool);
    assert_true(unit_load(&memory.live) > 0);
    assert_true(tocsin_driver_now_ns(driver) > 0); /* also after the end */
    tocsin_driver_unref(driver);
    assert_int_equal(unit_load(&memory.live), 0);
    tocsin_driver_unref(NULL);
}

static void the_last_driver_wakes_the_run(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    (void)state;
    tocsin_pool_turn(pool);
    tocsin_driver_unref(driver);
    assert_int_equal(unit_load(&fake.kicks), 1);
    assert_int_equal(tocsin_pool_turn(pool), 0);
    tocsin_pool_close(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void a_closed_pool_is_kicked_no_more(void **state)
{
    struct tocsin_pool *pool = open_pool();

    (void)state;
    tocsin__pool_ref(pool);
    tocsin_pool_turn(pool);
    tocsin__pool_kick(pool);
    assert_int_equal(unit_load(&fake.kicks), 1);
    tocsin_pool_close(pool);
    assert_false(tocsin__wake_is_asleep(&pool->wake));
    tocsin__pool_kick(pool);
    tocsin__pool_wake(pool);
    tocsin__pool_wake_for_timer(pool, 1);
    assert_int_equal(unit_load(&fake.kicks), 1);
    tocsin__pool_unref(pool);
    assert_int_equal(unit_load(&memory.live), 0);
}

/* What the close calls, in turn. */
struct ending {
    struct unit_task task;
    struct tocsin_timer timer;
    char order[8];
};

static struct ending *ending;

static void note(char what)
{
    size_t length = strlen(ending->order);

    UNIT_CHECK(length < sizeof(ending->order) - 1);
    ending->order[length] = what;
}

static void drop_note(struct tocsin_task *task)
{
    (void)task;
    note('d');
}

static void release_note(struct tocsin_task *task)
{
    (void)task;
    note('r');
}

static int pend(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return TOCSIN_PENDING;
}

static void post_note(void *arg, int status)
{
    (void)arg;
    note(status == -ECANCELED ? 'p' : '?');
}

static void timer_note(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
    note('t');
}

static void close_ends_all_that_lives(void **state)
{
    static const struct tocsin_task_ops ops = {
        .poll = pend, .drop = drop_note, .release = release_note};
    struct tocsin_pool *pool = open_pool();
    struct ending everything = {.order = ""};

    (void)state;
    ending = &everything;
    assert_int_equal(tocsin_task_spawn(tocsin_pool_driver(pool), &everything.task.task, &ops, ""),
                     0);
    tocsin_pool_turn(pool);
    assert_int_equal(tocsin_post(tocsin_pool_driver(pool), post_note, NULL), 0);
    assert_int_equal(
        tocsin_timer_init(&everything.timer, tocsin_pool_driver(pool), timer_note, NULL), 0);
    tocsin_timer_arm(&everything.timer, 1); /* long due */
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_string_equal(everything.order, "drp"); /* and no t: it is disarmed */
    assert_int_equal(tocsin_timer_deadline_ns(&everything.timer), TOCSIN_NEVER_NS);
    assert_true(unit_load(&memory.live) > 0);
    tocsin_timer_deinit(&everything.timer);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void use_in_child(void *arg)
{
    struct tocsin_pool *pool = arg;
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    unsigned kicks = unit_load(&fake.kicks);
    struct unit_task task = {.result = 0};
    struct tocsin_timer timer;
    struct tocsin_fd_ready *ready;
    struct tocsin_task_info info;
    int result;

    UNIT_CHECK(tocsin_pool_run(pool) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_pool_turn(pool) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_pool_poll_fd(pool) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_task_spawn(driver, &task.task, &unit_task_ops, "") == -EOWNERDEAD);
    UNIT_CHECK(tocsin_post(driver, post_note, NULL) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_timer_init(&timer, driver, NULL, NULL) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_fd_ready_open(driver, 0, &ready) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_task_list(driver, &info, 1) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_task_cancel(&ending->task.task) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_task_join(&ending->task.task, &result) == -EDEADLK ||
               tocsin_task_join(&ending->task.task, &result) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_pool_next_deadline(pool) == TOCSIN_NEVER_NS);
    tocsin_pool_stop(pool);
    tocsin_driver_unref(tocsin_driver_ref(driver));
    UNIT_CHECK(tocsin_pool_close(pool) == 0);
    UNIT_CHECK(unit_load(&fake.kicks) == kicks);
    UNIT_CHECK(unit_load(&ending->task.drops) == 0);
    UNIT_CHECK(fake.closes == 1);
}

static void a_forked_childs_copy_is_dead(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct ending everything = {.task = {.result = TOCSIN_PENDING}};

    (void)state;
    ending = &everything;
    unit_task_spawn(&everything.task, tocsin_pool_driver(pool), "");
    tocsin_pool_turn(pool);
    unit_expect_return(use_in_child, pool);
    assert_int_equal(fake.closes, 0);
    assert_int_equal(tocsin_pool_turn(pool), 1); /* the parent's is as alive as before */
    tocsin_pool_close(pool);
    tocsin_task_unref(&everything.task.task);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void the_version_is_that_of_the_headers(void **state)
{
    (void)state;
    assert_string_equal(tocsin_version(), "0.1.0");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(options_of_zero_mean_the_defaults),
    cmocka_unit_test(no_pool_polls_busily_on_one_processor),
    cmocka_unit_test(the_pool_stands_on_a_cache_line_whatever_the_allocator_gives),
    cmocka_unit_test(a_refused_open_leaves_nothing),
    cmocka_unit_test(a_pool_is_not_entered_twice),
    cmocka_unit_test(the_first_turn_binds_the_thread_for_good),
    cmocka_unit_test(a_pool_that_never_ran_is_closed_anywhere),
    cmocka_unit_test(the_wrong_thread_aborts),
    cmocka_unit_test(counted_drivers_hold_the_memory_and_the_run),
    cmocka_unit_test(the_last_driver_wakes_the_run),
    cmocka_unit_test(a_closed_pool_is_kicked_no_more),
    cmocka_unit_test(close_ends_all_that_lives),
    cmocka_unit_test(a_forked_childs_copy_is_dead),
    cmocka_unit_test(the_version_is_that_of_the_headers),
};

UNIT_MAIN(tests)
