/*
 * Hosting, design 4.5: a pool inside another loop, which watches one descriptor.
 *
 * The host is poll(2), or an epoll that holds the descriptor level- or edge-triggered.  A host that
 * is not told hangs, and the watchdog says so; one that is told for nothing makes more turns than
 * it should.
 */
#include <errno.h>
#include <poll.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif
#include <unistd.h>

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

#ifdef __linux__

/*
 * All at once: a task that yields, one that sleeps, one that another thread asks, one with a
 * source.
 */
struct scene {
    struct tocsin_pool *pool;
    struct conform_task yielder;
    struct conform_task sleeper;
    struct tocsin_timer timer;
    uint64_t deadline_ns;
    unsigned sleeps;
    struct conform_task answerer;
    atomic_uint asked;
    atomic_uint answered;
    struct conform_task reader;
    struct conform_source source;
    struct tocsin_fd_ready *ready;
    unsigned reads;
};

enum {
    SCENE_ASKS = 300,
    SCENE_SLEEPS = 5,
    SCENE_READS = 100,
};

static int poll_sleeps_often(struct conform_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;

    while (scene->sleeps < SCENE_SLEEPS) {
        if (scene->deadline_ns == 0) {
            scene->deadline_ns = tocsin_driver_now_ns(cx->driver) + MS_NS / 2;
        }
        if (tocsin_timer_poll(&scene->timer, cx, scene->deadline_ns) == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        scene->deadline_ns = 0;
        scene->sleeps++;
    }
    return 0;
}

static int poll_answers(struct conform_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;
    unsigned asked = conform_read(&scene->asked);

    (void)cx;
    conform_set(&scene->answered, asked);
    return asked == SCENE_ASKS ? 0 : TOCSIN_PENDING;
}

/* Signals its own source again each time. */
static int poll_reads(struct conform_task *task, struct tocsin_context *cx)
{
    struct scene *scene = task->arg;

    for (;;) {
        if (conform_source_take(&scene->source)) {
            if (++scene->reads == SCENE_READS) {
                return 0;
            }
            conform_source_signal(&scene->source);
        }
        tocsin_fd_ready_clear(scene->ready, TOCSIN_SLOT_READ);
        if (tocsin_fd_ready_poll(scene->ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx) == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
    }
}

static void ask_elsewhere(struct conform *t, void *arg)
{
    struct scene *scene = arg;

    (void)t;
    for (unsigned i = 1; i <= SCENE_ASKS; i++) {
        conform_set(&scene->asked, i);
        conform_wake(&scene->answerer);
        conform_await(&scene->answered, i);
    }
}

static void scene_open(struct conform *t, struct scene *scene)
{
    struct tocsin_pool_options options = {.budget_polls = 3};
    struct tocsin_driver *driver;

    *scene = (struct scene){0};
    REQUIRE(t, conform_pool_open(t, &options, &scene->pool) == 0);
    driver = tocsin_pool_driver(scene->pool);
    conform_source_open(t, &scene->source);
    REQUIRE(t, conform_source_watch(driver, &scene->source, &scene->ready) == 0);
    REQUIRE(t, tocsin_timer_init(&scene->timer, driver, NULL, NULL) == 0);
    conform_spawn(t, driver, &scene->yielder, poll_ten_times, scene);
    conform_spawn(t, driver, &scene->sleeper, poll_sleeps_often, scene);
    conform_spawn_ref(t, driver, &scene->answerer, poll_answers, scene);
    conform_spawn(t, driver, &scene->reader, poll_reads, scene);
}

static void scene_close(struct conform *t, struct scene *scene)
{
    CHECK_EQ(t, scene->sleeps, SCENE_SLEEPS);
    CHECK_EQ(t, scene->reads, SCENE_READS);
    CHECK_EQ(t, conform_read(&scene->answered), SCENE_ASKS);
    tocsin_timer_deinit(&scene->timer);
    CHECK_EQ(t, tocsin_fd_ready_close(scene->ready), 0);
    tocsin_task_unref(&scene->answerer.task);
    conform_pool_close(t, scene->pool);
    conform_source_close(t, &scene->source);
    CHECK_GONE(t, &scene->yielder);
    CHECK_GONE(t, &scene->sleeper);
    CHECK_GONE(t, &scene->answerer);
    CHECK_GONE(t, &scene->reader);
}

static void host_in_epoll(struct conform *t, uint32_t trigger)
{
    struct epoll_event event = {.events = EPOLLIN | trigger};
    struct conform_thread *thread;
    struct scene scene;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int r;

    REQUIRE(t, epoll >= 0);
    scene_open(t, &scene);
    REQUIRE(t, epoll_ctl(epoll, EPOLL_CTL_ADD, tocsin_pool_poll_fd(scene.pool), &event) == 0);
    r = tocsin_pool_turn(scene.pool);
    conform_source_signal(&scene.source);
    thread = conform_thread(t, ask_elsewhere, &scene);
    while (r == 1) {
        if (epoll_wait(epoll, &event, 1, -1) == 1) {
            r = tocsin_pool_turn(scene.pool);
        }
    }
    CHECK_EQ(t, r, 0);
    conform_thread_join(t, thread);
    scene_close(t, &scene);
    CHECK_EQ(t, close(epoll), 0);
}

static void pool_lives_in_a_level_triggered_epoll(struct conform *t)
{
    host_in_epoll(t, 0);
}

static void pool_lives_in_an_edge_triggered_epoll(struct conform *t)
{
    host_in_epoll(t, EPOLLET);
}

#define HOST_LINUX_CASES                                                                           \
    CASE(pool_lives_in_a_level_triggered_epoll, "4.5",                                             \
         "Yields, timers, wakes and events through a foreign epoll, level-triggered.",             \
         TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_FOREIGN_THREADS | CONFORM_SOURCES),           \
        CASE(pool_lives_in_an_edge_triggered_epoll, "4.5", "The same, edge-triggered.",            \
             TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_FOREIGN_THREADS | CONFORM_SOURCES),
#else
#define HOST_LINUX_CASES
#endif

CONFORM_CASES(
    host,
    HOST_LINUX_CASES CASE(poll_fd_without_a_handle_is_refused, "4.5",
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
