/*
 * Hosting, design 4.5: a pool inside another loop, which watches one descriptor.
 *
 * The host is poll(2).  A host that is not told hangs, and the watchdog says so; one that is told
 * for nothing makes more turns than it should.
 */
#include <errno.h>
#include <poll.h>

#include "conform.h"

#define MS_NS UINT64_C(1000000)

static bool is_readable(struct conform *t, int fd, int timeout_ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int r;

    do {
        r = poll(&one, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    REQUIRE(t, r >= 0);
    return r == 1;
}

/* A hosted pool that has had its first turn. */
static int host(struct conform *t, struct tocsin_pool *pool)
{
    int fd = tocsin_pool_poll_fd(pool);

    REQUIRE(t, fd >= 0);
    CHECK(t, tocsin_pool_turn(pool) >= 0);
    CHECK(t, !is_readable(t, fd, 0));
    return fd;
}

/* Turn as long as the descriptor is readable; how often that was. */
static unsigned settle(struct conform *t, struct tocsin_pool *pool, int fd)
{
    unsigned turns = 0;

    while (is_readable(t, fd, 0)) {
        CHECK(t, tocsin_pool_turn(pool) >= 0);
        turns++;
        REQUIRE(t, turns < 10000);
    }
    return turns;
}

static void poll_fd_without_a_handle_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    int fd = tocsin_pool_poll_fd(pool);

    if ((t->features & TOCSIN_BACKEND_POLL_HANDLE) != 0) {
        CHECK(t, fd >= 0);
        CHECK_EQ(t, tocsin_pool_poll_fd(pool), fd);
    } else {
        CHECK_EQ(t, fd, -EOPNOTSUPP);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void idle_pool_keeps_its_host_quiet(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int fd = host(t, pool);

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    CHECK(t, is_readable(t, fd, 0));
    settle(t, pool, fd);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_EQ(t, tocsin_pool_next_deadline(pool), TOCSIN_NEVER_NS);

    /* On the pool's own thread, between turns. */
    conform_wake(&task);
    CHECK(t, is_readable(t, fd, 0));
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, conform_read(&task.polls), 2);
    settle(t, pool, fd);

    conform_finish(&task);
    CHECK(t, is_readable(t, fd, 0));
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    settle(t, pool, fd);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void finish_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_finish(arg);
}

static void remote_wake_reaches_the_host(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct conform_thread *thread;
    unsigned kicks;
    int fd = host(t, pool);

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_flag, NULL);
    settle(t, pool, fd);
    kicks = conform_read(&t->counts.kicks);
    thread = conform_thread(t, finish_elsewhere, &task);
    CHECK(t, is_readable(t, fd, -1));
    conform_thread_join(t, thread);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    tocsin_task_unref(&task.task);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &task);
}

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    conform_count(arg);
}

static void timer_alone_reaches_the_host(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer timer;
    atomic_uint fired = 0;
    unsigned turns = 0;
    uint64_t deadline_ns;
    int fd = host(t, pool);

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    deadline_ns = tocsin_pool_now_ns(pool) + 20 * MS_NS;
    tocsin_timer_arm(&timer, deadline_ns);
    settle(t, pool, fd);
    if (conform_read(&fired) == 0) {
        CHECK_EQ(t, tocsin_pool_next_deadline(pool), deadline_ns);
    }
    while (conform_read(&fired) == 0) {
        CHECK(t, is_readable(t, fd, -1));
        CHECK(t, tocsin_pool_turn(pool) >= 0);
        turns++;
    }
    CHECK(t, tocsin_pool_now_ns(pool) >= deadline_ns);
    CHECK(t, turns <= 2);
    settle(t, pool, fd);
    CHECK(t, !is_readable(t, fd, 0));
    CHECK_EQ(t, tocsin_pool_next_deadline(pool), TOCSIN_NEVER_NS);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

static void earlier_timer_between_turns_reaches_the_host(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer late;
    struct tocsin_timer early;
    atomic_uint fired = 0;
    uint64_t deadline_ns;
    int fd = host(t, pool);

    REQUIRE(t, tocsin_timer_init(&late, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    REQUIRE(t, tocsin_timer_init(&early, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    tocsin_timer_arm(&late, tocsin_pool_now_ns(pool) + 3600000 * MS_NS);
    settle(t, pool, fd);
    deadline_ns = tocsin_pool_now_ns(pool) + 2 * MS_NS;
    tocsin_timer_arm(&early, deadline_ns);
    while (conform_read(&fired) == 0) {
        CHECK(t, is_readable(t, fd, -1));
        CHECK(t, tocsin_pool_turn(pool) >= 0);
    }
    CHECK(t, tocsin_pool_now_ns(pool) >= deadline_ns);
    CHECK(t, tocsin_timer_disarm(&late));
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    tocsin_timer_deinit(&late);
    tocsin_timer_deinit(&early);
    conform_pool_close(t, pool);
}

static int poll_ten_times(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 10 ? 0 : tocsin_task_yield(cx);
}

static void work_that_remains_keeps_the_host_coming(struct conform *t)
{
    struct tocsin_pool_options options = {.budget_polls = 1};
    struct tocsin_pool *pool = NULL;
    struct conform_task task = {0};
    int fd;

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    fd = host(t, pool);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_ten_times, NULL);
    for (unsigned i = 1; i <= 10; i++) {
        CHECK(t, is_readable(t, fd, 0));
        CHECK_EQ(t, tocsin_pool_turn(pool), i < 10);
        CHECK_EQ(t, conform_read(&task.polls), i);
        CHECK_EQ(t, tocsin_pool_next_deadline(pool), i < 10 ? 0 : TOCSIN_NEVER_NS);
    }
    settle(t, pool, fd);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void turn_never_blocks(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));

    for (int i = 0; i < 10; i++) {
        CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    }
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_driver_unref(driver);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    host,
    CASE(poll_fd_without_a_handle_is_refused, "4.5",
         "A backend without POLL_HANDLE cannot be hosted: -EOPNOTSUPP.", 0),
    CASE(turn_never_blocks, "4.5", "A turn of an idle pool comes back at once.", 0),
    CASE(idle_pool_keeps_its_host_quiet, "4.5",
         "Spawns and wakes between turns make the descriptor readable; idleness does not.",
         TOCSIN_BACKEND_POLL_HANDLE),
    CASE(remote_wake_reaches_the_host, "4.5", "A wake from another thread: one kick, readable.",
         TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(timer_alone_reaches_the_host, "4.5", "A timer makes the descriptor readable.",
         TOCSIN_BACKEND_POLL_HANDLE),
    CASE(earlier_timer_between_turns_reaches_the_host, "4.5",
         "So does an earlier one that is armed between turns.", TOCSIN_BACKEND_POLL_HANDLE),
    CASE(work_that_remains_keeps_the_host_coming, "4.5",
         "What did not fit in the budget leaves the descriptor readable.",
         TOCSIN_BACKEND_POLL_HANDLE));
