/*
 * tocsin_timer_poll() asks for a new deadline after another thread has moved the timer.
 *
 * The move had returned, but its item was still in the inbox, and the next turn's drain armed the
 * timer for what the move had asked: the younger deadline was lost.  What asks last decides.
 */
#include <pthread.h>
#include <stdio.h>

#include <tocsin/tocsin.h>

#define HOUR_NS UINT64_C(3600000000000)

/* A task that sleeps by a timer which somebody else moves first. */
struct sleeper {
    struct tocsin_task task;
    struct tocsin_timer timer;
    uint64_t start_ns;
    bool has_asked;
};

static void *move(void *arg)
{
    struct sleeper *sleeper = arg;

    tocsin_timer_move(&sleeper->timer, sleeper->start_ns + 2 * HOUR_NS);
    return NULL;
}

static int sleeper_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct sleeper *sleeper = (struct sleeper *)(void *)task;
    pthread_t thread;

    if (!sleeper->has_asked) {
        sleeper->has_asked = true;
        sleeper->start_ns = tocsin_driver_now_ns(cx->driver);
        tocsin_timer_poll(&sleeper->timer, cx, sleeper->start_ns + HOUR_NS);
        if (pthread_create(&thread, NULL, move, sleeper) != 0) {
            return -1;
        }
        pthread_join(thread, NULL);
    }
    return tocsin_timer_poll(&sleeper->timer, cx, sleeper->start_ns + 10000000);
}

static const struct tocsin_task_ops sleeper_ops = {.poll = sleeper_poll};

static void watchdog(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    tocsin_pool_stop(arg);
}

int main(void)
{
    static struct sleeper sleeper;
    const struct tocsin_timer_options ten_seconds = {.delay_ns = UINT64_C(10000000000),
                                                     .background = true};
    struct tocsin_timer dog;
    struct tocsin_pool *pool;
    bool passed = false;

    if (tocsin_pool_open(&pool, NULL, NULL) == 0 &&
        tocsin_timer_init(&sleeper.timer, tocsin_pool_driver(pool), NULL, NULL) == 0 &&
        tocsin_timer_init(&dog, tocsin_pool_driver(pool), watchdog, pool) == 0 &&
        tocsin_task_spawn(tocsin_pool_driver(pool), &sleeper.task, &sleeper_ops, "s") == 0) {
        tocsin_timer_start(&dog, &ten_seconds);
        passed = tocsin_pool_run(pool) == 0; /* 1: the watchdog stopped it */
        tocsin_timer_deinit(&dog);
        tocsin_timer_deinit(&sleeper.timer);
        tocsin_pool_close(pool);
    }
    printf("%d passed, %d failed\n", passed, !passed);
    return !passed;
}
