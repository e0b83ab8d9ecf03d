/*
 * A program outside the project, in C11 and in C++17: a timer, a post, a task and an operation,
 * with a ring or without, on one pool.
 *
 * Prints the version of the library it runs with.  Ends with 0 if all four ran, and neither the
 * timer nor the operation was early.
 */
#include <stdio.h>
#include <stdlib.h>

#include <tocsin/linux.h>
#include <tocsin/tocsin.h>
#include <tocsin/uring_io.h>

#define DELAY_NS UINT64_C(1000000)

struct program {
    struct tocsin_task task;
    struct tocsin_timer timer;
    struct tocsin_uring_io io;
    uint64_t deadline_ns;
    int posts;
    int polls;
    int operations;
    int releases;
};

static struct program program;

static void posted(void *arg, int status)
{
    struct program *p = (struct program *)arg;

    if (status == 0) {
        p->posts++;
    }
}

static int poll_task(struct tocsin_task *task, struct tocsin_context *cx)
{
    int32_t result = -1;
    int r;

    (void)task;
    if (program.polls++ == 0) {
        r = tocsin_uring_io_timeout(cx->driver, &program.io, program.deadline_ns);
        return r < 0 ? r : tocsin_uring_io_poll(&program.io, cx, &result);
    }
    if (program.operations == 0) {
        r = tocsin_uring_io_poll(&program.io, cx, &result);
        if (r != 0 || result != 0) {
            return r != 0 ? r : result;
        }
        program.operations++;
    }
    return tocsin_timer_poll(&program.timer, cx, program.deadline_ns);
}

static void drop_task(struct tocsin_task *task)
{
    (void)task;
    tocsin_timer_deinit(&program.timer);
    tocsin_uring_io_drop(&program.io);
}

static void release_task(struct tocsin_task *task)
{
    (void)task;
    program.releases++;
}

static const struct tocsin_task_ops task_ops = {poll_task, drop_task, release_task};

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "consumer: %s\n", what);
        exit(1);
    }
}

int main(void)
{
    struct tocsin_pool *pool = NULL;
    struct tocsin_driver *driver;

    require(tocsin_pool_open(&pool, NULL, NULL) == 0, "no pool");
    driver = tocsin_pool_driver(pool);
    require(tocsin_post(driver, posted, &program) == 0, "no post");
    require(tocsin_timer_init(&program.timer, driver, NULL, NULL) == 0, "no timer");
    tocsin_uring_io_init(&program.io, NULL);
    program.deadline_ns = tocsin_pool_now_ns(pool) + DELAY_NS;
    require(tocsin_task_spawn(driver, &program.task, &task_ops, "consumer") == 0, "no task");
    require(tocsin_pool_run(pool) == 0, "the run failed");
    require(tocsin_pool_now_ns(pool) >= program.deadline_ns, "the timer was early");
    require(program.posts == 1 && program.polls >= 2 && program.operations == 1, "not all ran");
    require(tocsin_pool_close(pool) == 0, "the pool did not close");
    require(program.releases == 1, "the task was not released");
    printf("%s %d.%d.%d\n", tocsin_version(), TOCSIN_VERSION_MAJOR, TOCSIN_VERSION_MINOR,
           TOCSIN_VERSION_PATCH);
    return 0;
}
