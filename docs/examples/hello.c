/*
 * The shortest whole program: a callback, a timer, and a pipe that the timer writes to.
 */
#include <stdio.h>
#include <tocsin/tocsin.h>
#include <unistd.h>

static void say(void *text, int status)
{
    printf("callback: %s\n", status == 0 ? (const char *)text : "the pool has closed");
}

static void ring(struct tocsin_timer *timer, uint64_t missed, void *fd)
{
    dprintf(*(int *)fd, missed == 0 ? "ding" : "late");
    tocsin_timer_deinit(timer);
}

static void hear(struct tocsin_watch *watch, int events, void *fd)
{
    char text[8] = "";

    printf("pipe: %s\n", events > 0 && read(*(int *)fd, text, 7) > 0 ? text : "nothing");
    tocsin_watch_stop(watch);
}

int main(void)
{
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    struct tocsin_watch watch = {0};
    int fds[2];

    if (tocsin_pool_open(&pool, NULL, NULL) < 0 || tocsin_pipe_pair(&fds[0], &fds[1]) < 0 ||
        tocsin_timer_init(&timer, tocsin_pool_driver(pool), ring, &fds[1]) < 0) {
        return 1;
    }
    tocsin_post(tocsin_pool_driver(pool), say, "hello");
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 50000000});
    tocsin_watch_start(&watch, tocsin_pool_driver(pool), fds[0], TOCSIN_IN, hear, &fds[0]);
    return tocsin_pool_run(pool) < 0 || tocsin_pool_close(pool) < 0; /* runs while there is work */
}
