/*
 * More timers are due at one moment than a turn's budget, in a hosted pool.
 *
 * The inner timer had told of that moment already, and was not set anew for the same one: the rest
 * of the timers waited for ever.  A turn that leaves due timers behind has to leave a kick, too.
 */
#include <poll.h>
#include <stdio.h>

#include <tocsin/tocsin.h>

enum {
    TIMERS = 300, /* the budget is 256 */
    WATCHDOG_MS = 10000,
};

static void count(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(int *)arg;
}

static int run(struct tocsin_pool *pool, struct tocsin_timer *timers)
{
    struct pollfd host = {.fd = tocsin_pool_poll_fd(pool), .events = POLLIN};
    uint64_t deadline_ns = tocsin_pool_now_ns(pool) + 1000000;
    int fired = 0;

    for (int i = 0; i < TIMERS; i++) {
        if (tocsin_timer_init(&timers[i], tocsin_pool_driver(pool), count, &fired) < 0) {
            return -1;
        }
        tocsin_timer_arm(&timers[i], deadline_ns);
    }
    while (tocsin_pool_turn(pool) == 1 && poll(&host, 1, WATCHDOG_MS) == 1) {
    }
    for (int i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timers[i]);
    }
    return fired;
}

int main(void)
{
    static struct tocsin_timer timers[TIMERS];
    struct tocsin_pool *pool;
    bool passed;

    if (tocsin_pool_open(&pool, tocsin_backend_find("epoll"), NULL) < 0) {
        printf("0 passed, 1 failed\n");
        return 1;
    }
    passed = run(pool, timers) == TIMERS;
    tocsin_pool_close(pool);
    printf("%d passed, %d failed\n", passed, !passed);
    return !passed;
}
