/*
 * Many timers with slow callbacks are due, and a descriptor is ready.
 *
 * A turn called up to budget_polls timer callbacks in a row without a look at the clock, so that
 * events waited for all of them.  The time limit of a batch is theirs, too: once budget_ns have
 * passed, the clock read after at most clock_polls callbacks ends them, and the backend is asked.
 */
#include <stdio.h>
#include <unistd.h>

#include <tocsin/tocsin.h>

enum {
    TIMERS = 256,
    CLOCK_POLLS = 16, /* the defaults */
    SLOW_NS = 1000000,
};

struct scene {
    struct tocsin_pool *pool;
    struct tocsin_timer timers[TIMERS];
    int fired;
    int fired_when_heard;
};

static void be_slow(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct scene *scene = arg;
    uint64_t start_ns = tocsin_pool_now_ns(scene->pool);

    (void)timer;
    (void)missed;
    while (tocsin_pool_now_ns(scene->pool) - start_ns < SLOW_NS) {
    }
    scene->fired++;
}

static void hear(struct tocsin_watch *watch, int events, void *arg)
{
    struct scene *scene = arg;

    (void)events;
    scene->fired_when_heard = scene->fired;
    tocsin_watch_stop(watch);
}

static int run(struct scene *scene)
{
    struct tocsin_driver *driver = tocsin_pool_driver(scene->pool);
    struct tocsin_watch watch = {.ready_ = NULL};
    int fds[2];
    int r;

    for (int i = 0; i < TIMERS; i++) {
        r = tocsin_timer_init(&scene->timers[i], driver, be_slow, scene);
        if (r < 0) {
            return r;
        }
        tocsin_timer_arm(&scene->timers[i], 1);
    }
    r = tocsin_pipe_pair(&fds[0], &fds[1]);
    if (r < 0 || write(fds[1], "x", 1) != 1) {
        return -1;
    }
    r = tocsin_watch_start(&watch, driver, fds[0], TOCSIN_IN, hear, scene);
    r = r < 0 ? r : tocsin_pool_run(scene->pool);
    for (int i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&scene->timers[i]);
    }
    close(fds[0]);
    close(fds[1]);
    return r;
}

int main(void)
{
    static struct scene scene = {.fired_when_heard = -1};
    unsigned passed = 0;

    if (tocsin_pool_open(&scene.pool, NULL, NULL) == 0) {
        passed += run(&scene) == 0 && scene.fired == TIMERS; /* none was forgotten */
        /* The look comes after one run of callbacks; its events are heard after one more. */
        passed += scene.fired_when_heard >= 0 && scene.fired_when_heard <= 2 * CLOCK_POLLS;
        tocsin_pool_close(scene.pool);
    }
    printf("%d of %d timers had fired when the pipe was heard, %d in the end\n",
           scene.fired_when_heard, TIMERS, scene.fired);
    printf("%u passed, %u failed\n", passed, 2 - passed);
    return passed != 2;
}
