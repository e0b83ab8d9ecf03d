/*
 * Hosting, design 4.5: a pool with everything in it inside a foreign epoll.
 *
 * A host that is not told hangs, and the watchdog says so.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "conform.h"

#define MS_NS UINT64_C(1000000)

static int poll_ten_times(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 10 ? 0 : tocsin_task_yield(cx);
}

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

CONFORM_CASES(host_epoll,
              CASE(pool_lives_in_a_level_triggered_epoll, "4.5",
                   "Yields, timers, wakes and events through a foreign epoll, level-triggered.",
                   TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_FOREIGN_THREADS | CONFORM_SOURCES),
              CASE(pool_lives_in_an_edge_triggered_epoll, "4.5", "The same, edge-triggered.",
                   TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_FOREIGN_THREADS | CONFORM_SOURCES));
