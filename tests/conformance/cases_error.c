/*
 * Bad input and failing backends: an error changes nothing.  And what only a bug can do aborts.
 */
#include <errno.h>

#include "probe.h"

static void task_without_poll_is_refused(struct conform *t)
{
    static const struct tocsin_task_ops ops = {0};
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_task task;

    CHECK_EQ(t, tocsin_task_spawn(tocsin_pool_driver(pool), &task, &ops, "none"), -EINVAL);
    CHECK_EQ(t, tocsin_task_spawn(tocsin_pool_driver(pool), &task, NULL, "none"), -EINVAL);
    CHECK_EQ(t, tocsin_post(tocsin_pool_driver(pool), NULL, NULL), -EINVAL);
    CHECK_EQ(t, tocsin_task_list(tocsin_pool_driver(pool), NULL, 0), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void polls_for_no_or_unknown_events_are_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;
    struct probe probe = {0};

    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, 0, &probe), -EINVAL);
    CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN | 1u << 20, &probe), -EINVAL);
    CHECK_EQ(t, probe_references(&probe), 0);

    conform_source_signal(&source);
    CHECK(t, (probe_seen(t, pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN) & TOCSIN_IN) != 0);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    CHECK_EQ(t, tocsin_fd_ready_close(NULL), 0);
    conform_source_close(t, &source);
    conform_pool_close(t, pool);
}

static void source_of_a_kind_that_is_lacking_is_refused(struct conform *t)
{
    static const struct {
        enum tocsin_source source;
        uint32_t bit;
    } kinds[] = {
        {TOCSIN_SOURCE_DESCRIPTOR, TOCSIN_BACKEND_DESCRIPTORS},
        {TOCSIN_SOURCE_SOCKET, TOCSIN_BACKEND_SOCKETS},
        {TOCSIN_SOURCE_HANDLE, TOCSIN_BACKEND_HANDLES},
        {TOCSIN_SOURCE_OWN, TOCSIN_BACKEND_OWN_SOURCES},
    };
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    unsigned attaches = conform_read(&t->counts.attaches);

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if ((t->features & kinds[i].bit) == 0) {
            CHECK_EQ(t,
                     tocsin_source_ready_open(tocsin_pool_driver(pool), kinds[i].source, 0, &ready),
                     -EOPNOTSUPP);
        }
    }
    CHECK(t, ready == NULL);
    CHECK_EQ(t, conform_read(&t->counts.attaches), attaches);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

/* ---- Failing backends ------------------------------------------------------------------------ */

static void backend_that_does_not_open_opens_no_pool(struct conform *t)
{
    struct tocsin_pool_options options = conform_options(t);
    struct tocsin_pool *pool = (struct tocsin_pool *)t;
    struct tocsin_pool_thread *thread = (struct tocsin_pool_thread *)t;
    struct tocsin_driver *driver = (struct tocsin_driver *)t;

    t->fail_open = -EMFILE;
    CHECK_EQ(t, conform_pool_open(t, NULL, &pool), -EMFILE);
    CHECK(t, pool == (struct tocsin_pool *)t);
    CHECK_EQ(t, tocsin_pool_spawn_thread(&thread, &driver, NULL, t->backend, &options), -EMFILE);
    CHECK(t, thread == (struct tocsin_pool_thread *)t && driver == (struct tocsin_driver *)t);
    CHECK_EQ(t, conform_read(&t->counts.closes), 0);
    CHECK_EQ(t, atomic_load_explicit(&t->live, memory_order_relaxed), 0);
}

static void wait_that_fails_ends_the_run(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    t->fail_wait = -EIO;
    CHECK_EQ(t, tocsin_pool_run(pool), -EIO);
    CHECK_EQ(t, tocsin_pool_run(pool), -EIO);
    CHECK_EQ(t, tocsin_pool_turn(pool), -EIO);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
}

static int poll_yields_long(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 100000 ? 0 : tocsin_task_yield(cx);
}

static void look_that_fails_ends_the_run(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_yields_long, NULL);
    t->fail_wait = -EIO;
    CHECK_EQ(t, tocsin_pool_run(pool), -EIO);
    conform_pool_close(t, pool);
    CHECK(t, conform_read(&task.polls) < 100000);
    CHECK_GONE(t, &task);
}

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static void wait_that_ends_for_no_reason_is_made_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer timer;
    uint64_t deadline_ns;
    unsigned fired = 0;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    /* Where the machine takes so long that there are fewer waits, try a longer one. */
    for (uint64_t delay_ns = 1000000; conform_read(&t->counts.waits) != 6; delay_ns *= 2) {
        conform_set(&t->counts.waits, 0);
        t->empty_waits = 5;
        fired = 0;
        deadline_ns = tocsin_pool_now_ns(pool) + delay_ns;
        tocsin_timer_arm(&timer, deadline_ns);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, fired, 1);
        CHECK(t, tocsin_pool_now_ns(pool) >= deadline_ns);
    }
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

/* At once where attaching is done at once, else with the first poll. */
static void attach_that_fails_is_told(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;
    struct probe probe = {0};
    int r;

    conform_source_open(t, &source);
    t->fail_attach = -ENOSPC;
    r = conform_source_watch(tocsin_pool_driver(pool), &source, &ready);
    if ((t->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH) != 0) {
        CHECK_EQ(t, r, -ENOSPC);
        CHECK(t, ready == NULL);
    } else {
        REQUIRE(t, r == 0);
        CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
        probe_turns(t, pool);
        CHECK_EQ(t, probe_wakes(&probe), 1);
        CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), -ENOSPC);
        CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    }
    t->fail_attach = 0;
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    conform_source_signal(&source);
    CHECK(t, probe_seen(t, pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN) == TOCSIN_IN);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    conform_source_close(t, &source);
    conform_pool_close(t, pool);
}

/* ---- Bugs ------------------------------------------------------------------------------------ */

static void gives_back_too_often(struct conform *t, void *arg)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    (void)arg;
    conform_spawn(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    tocsin_task_unref(&task.task);
}

static void arm_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    tocsin_timer_arm(arg, 1);
}

static void arms_on_the_wrong_thread(struct conform *t, void *arg)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer timer;

    (void)arg;
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), NULL, NULL) == 0);
    conform_elsewhere(t, arm_elsewhere, &timer);
}

static void poll_elsewhere(struct conform *t, void *arg)
{
    struct probe probe = {0};

    (void)t;
    (void)probe_poll(t->hook_arg, arg, TOCSIN_SLOT_READ, TOCSIN_IN, &probe);
}

static void polls_on_the_wrong_thread(struct conform *t, void *arg)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready;
    struct conform_source source;

    (void)arg;
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    t->hook_arg = pool;
    conform_elsewhere(t, poll_elsewhere, ready);
}

static void bugs_abort(struct conform *t)
{
    CHECK_ABORTS(t, gives_back_too_often, NULL);
    CHECK_ABORTS(t, arms_on_the_wrong_thread, NULL);
}

static void poll_on_the_wrong_thread_aborts(struct conform *t)
{
    CHECK_ABORTS(t, polls_on_the_wrong_thread, NULL);
}

static void impossible_wait(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                            struct tocsin_backend_events *list, void *arg)
{
    (void)deadline_ns;
    (void)list;
    if (moment == CONFORM_BEFORE_WAIT) {
        CHECK_EQ(t, tocsin_pool_turn(arg), -EBUSY);
        CHECK_EQ(t, tocsin_pool_run(arg), -EBUSY);
        CHECK_EQ(t, tocsin_pool_close(arg), -EBUSY);
        tocsin_pool_stop(arg);
    }
}

/* W5 from outside: nobody gets the pool to run or sleep while it sleeps. */
static void sleeping_pool_is_not_entered(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    t->hook = impossible_wait;
    t->hook_arg = pool;
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    t->hook = NULL;
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    error,
    CASE(task_without_poll_is_refused, "11", "A spawn without poll and a post without function.",
         0),
    CASE(polls_for_no_or_unknown_events_are_refused, "11", "-EINVAL, and the next poll works.",
         CONFORM_SOURCES),
    CASE(source_of_a_kind_that_is_lacking_is_refused, "9",
         "Sources that the backend has no bit for are -EOPNOTSUPP.", 0),
    CASE(backend_that_does_not_open_opens_no_pool, "9", "What open says is what the caller gets.",
         0),
    CASE(wait_that_fails_ends_the_run, "9", "A wait that fails makes the run return its error.", 0),
    CASE(look_that_fails_ends_the_run, "9", "So does a look.", 0),
    CASE(wait_that_ends_for_no_reason_is_made_again, "9",
         "Waits that come back with nothing neither end the run nor a timer's delay.", 0),
    CASE(attach_that_fails_is_told, "9", "By the open, or by the first poll.", CONFORM_SOURCES),
    CASE(bugs_abort, "11", "One reference too many given back; a timer armed on a wrong thread.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(poll_on_the_wrong_thread_aborts, "11", "A readiness object polled on a wrong thread.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(sleeping_pool_is_not_entered, "W5", "Run, turn and close inside the wait are -EBUSY.", 0));
