/*
 * A program outside the project, in C11 and in C++17, that lives on libuv: a post and a timer on a
 * pool in its loop.
 *
 * Prints the version of the library it runs with.  Ends with 0 if both ran and the loop could be
 * closed.
 */
#include <stdio.h>
#include <tocsin/tocsin.h>
#include <tocsin/uv.h>
#include <uv.h>

#define DELAY_NS UINT64_C(1500000)

static struct tocsin_driver *driver;
static uint64_t deadline_ns;
static unsigned posts;
static unsigned timers;

static void posted(void *arg, int status)
{
    (void)arg;
    posts += status == 0;
}

static void fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)missed;
    (void)arg;
    timers += tocsin_driver_now_ns(driver) >= deadline_ns;
    tocsin_timer_deinit(timer);
}

int main(void)
{
    uv_loop_t loop;
    struct tocsin_backend backend = tocsin_uv_backend(&loop);
    struct tocsin_pool *pool = NULL;
    struct tocsin_timer timer;

    if (uv_loop_init(&loop) != 0 || tocsin_pool_open(&pool, &backend, NULL) != 0 ||
        tocsin_uv_host(pool) != 0) {
        return 1;
    }
    driver = tocsin_pool_driver(pool);
    if (tocsin_post(driver, posted, NULL) != 0 ||
        tocsin_timer_init(&timer, driver, fired, NULL) != 0) {
        return 1;
    }
    deadline_ns = tocsin_driver_now_ns(driver) + DELAY_NS;
    tocsin_timer_arm(&timer, deadline_ns);
    uv_run(&loop, UV_RUN_DEFAULT);
    tocsin_pool_close(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    printf("%s\n", tocsin_version());
    return posts != 1 || timers != 1 || uv_loop_close(&loop) != 0;
}
