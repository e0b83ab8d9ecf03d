/*
 * The libuv backend where there are no descriptors, or no memory: an open reports it and leaves
 * nothing behind; so does a watch.
 *
 * libuv itself ends the program where a table of its own cannot grow; what it reports is here.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <tocsin/uv.h>

#include "tests/fault/fault.h"

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* The backend's own calls, counted down to the one that fails; the pool's memory is malloc's. */
static int own_fail_in;

static bool own_fails(void)
{
    return own_fail_in > 0 && --own_fail_in == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return own_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return own_fails() ? NULL : __real_realloc(old, size);
}

/* libuv's. */
static bool libuv_fails;
static int libuv_live;

static void *libuv_malloc(size_t size)
{
    libuv_live++;
    return malloc(size);
}

static void *libuv_calloc(size_t count, size_t size)
{
    if (libuv_fails) {
        return NULL;
    }
    libuv_live++;
    return __real_calloc(count, size);
}

static void *libuv_realloc(void *old, size_t size)
{
    libuv_live += old == NULL;
    return __real_realloc(old, size);
}

static void libuv_free(void *memory)
{
    libuv_live -= memory != NULL;
    free(memory);
}

static int open_own(void *arg)
{
    struct tocsin_backend backend = tocsin_uv_backend(NULL);

    return tocsin_pool_open(arg, &backend, NULL);
}

/* The first loop of a process takes six: two of them are the process's, for good. */
static void pool_open_without_descriptors(void)
{
    struct tocsin_pool *pool = NULL;

    fault_without_descriptors(open_own, &pool, 6);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_EXPECT(fault_spare_descriptors(), 4);
}

static void pool_in_a_loop_takes_no_descriptor(void)
{
    uv_loop_t loop;
    struct tocsin_backend backend = tocsin_uv_backend(&loop);
    struct tocsin_pool *pool = NULL;

    FAULT_EXPECT(uv_loop_init(&loop), 0);
    fault_exhaust(0);
    FAULT_EXPECT(tocsin_pool_open(&pool, &backend, NULL), 0);
    FAULT_EXPECT(tocsin_uv_host(pool), 0);
    FAULT_EXPECT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_EXPECT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    FAULT_EXPECT(uv_loop_close(&loop), 0);
}

static int give_out_fd(void *arg)
{
    int fd = tocsin_pool_poll_fd(arg);

    return fd < 0 ? fd : 0;
}

static void poll_fd_without_descriptors(void)
{
    struct tocsin_pool *pool = NULL;

    FAULT_EXPECT(open_own(&pool), 0);
    fault_without_descriptors(give_out_fd, pool, 1);
    FAULT_EXPECT(give_out_fd(pool), 0);
    FAULT_EXPECT(tocsin_pool_turn(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_CHECK(fault_spare_descriptors() > 0);
}

/* Watching a pipe inside a turn, where attaching is not put off. */
struct watching {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    int fds[2];
    int result;
};

static void watch(void *arg)
{
    struct watching *watching = arg;

    watching->result = tocsin_fd_ready_open(tocsin_pool_driver(watching->pool), watching->fds[0],
                                            &watching->ready);
}

static int watch_in_turn(void *arg)
{
    struct watching *watching = arg;

    fault_in_turn(watching->pool, NULL, watch, watching);
    return watching->result;
}

static void watching_open(struct watching *watching)
{
    *watching = (struct watching){.result = 1};
    FAULT_EXPECT(open_own(&watching->pool), 0);
    FAULT_EXPECT(tocsin_pipe_pair(&watching->fds[0], &watching->fds[1]), 0);
}

static void watching_close(struct watching *watching)
{
    FAULT_EXPECT(tocsin_fd_ready_close(watching->ready), 0);
    FAULT_EXPECT(tocsin_pool_close(watching->pool), 0);
    close(watching->fds[0]);
    close(watching->fds[1]);
}

static void watch_without_descriptors(void)
{
    struct watching watching;

    watching_open(&watching);
    fault_without_descriptors(watch_in_turn, &watching, 1);
    FAULT_EXPECT(fault_spare_descriptors(), 0);
    watching_close(&watching);
}

static void watch_without_memory(void)
{
    struct watching watching;
    unsigned before;

    watching_open(&watching);
    before = fault_descriptors();
    for (int nth = 1; nth <= 2; nth++) { /* the table of numbers, the watch */
        own_fail_in = nth;
        FAULT_EXPECT(watch_in_turn(&watching), -ENOMEM);
        FAULT_EXPECT(own_fail_in, 0);
        FAULT_EXPECT(fault_descriptors(), before);
    }
    FAULT_EXPECT(watch_in_turn(&watching), 0);
    watching_close(&watching);
}

static void pool_open_without_memory(void)
{
    struct tocsin_pool *pool = NULL;
    unsigned before;

    FAULT_EXPECT(open_own(&pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    before = fault_descriptors();
    own_fail_in = 1;
    FAULT_EXPECT(open_own(&pool), -ENOMEM);
    FAULT_EXPECT(own_fail_in, 0);
    FAULT_EXPECT(fault_descriptors(), before);
}

static void pool_open_without_libuvs_memory(void)
{
    struct tocsin_pool *pool = NULL;
    int live_before;
    unsigned before;

    FAULT_EXPECT(uv_replace_allocator(libuv_malloc, libuv_realloc, libuv_calloc, libuv_free), 0);
    FAULT_EXPECT(open_own(&pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    before = fault_descriptors();
    live_before = libuv_live;
    libuv_fails = true;
    FAULT_EXPECT(open_own(&pool), -ENOMEM);
    FAULT_EXPECT(fault_descriptors(), before);
    FAULT_EXPECT(libuv_live, live_before);
    libuv_fails = false;
    FAULT_EXPECT(open_own(&pool), 0);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_EXPECT(libuv_live, live_before);
}

/* The loop cannot be made the child's own: its memory stays, and so does what the parent has. */
static void close_in_a_child_without_descriptors(void)
{
    struct rlimit none = {0, 0};
    struct watching watching;
    int status = -1;
    pid_t pid;

    watching_open(&watching);
    FAULT_EXPECT(watch_in_turn(&watching), 0);
    pid = fork();
    if (pid == 0) {
        FAULT_EXPECT(setrlimit(RLIMIT_NOFILE, &none), 0);
        FAULT_EXPECT(tocsin_pool_close(watching.pool), 0);
        _exit(0);
    }
    FAULT_EXPECT(waitpid(pid, &status, 0), pid);
    FAULT_EXPECT(status, 0);
    FAULT_EXPECT(watch_in_turn(&watching), -EEXIST);
    FAULT_EXPECT(tocsin_pool_run(watching.pool), 0);
    watching_close(&watching);
}

static const struct fault_case cases[] = {
    {"pool_open_without_descriptors", pool_open_without_descriptors},
    {"pool_in_a_loop_takes_no_descriptor", pool_in_a_loop_takes_no_descriptor},
    {"poll_fd_without_descriptors", poll_fd_without_descriptors},
    {"watch_without_descriptors", watch_without_descriptors},
    {"watch_without_memory", watch_without_memory},
    {"pool_open_without_memory", pool_open_without_memory},
    {"pool_open_without_libuvs_memory", pool_open_without_libuvs_memory},
    {"close_in_a_child_without_descriptors", close_in_a_child_without_descriptors},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
