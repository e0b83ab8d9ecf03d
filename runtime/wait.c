/*
 * Waits on eventfds and their like, the ends of processes, and signals: readiness plus one read.
 *
 * Nothing is consumed but by the poll that reports it, so cancel has nothing to tell: the signal
 * stays in the descriptor for the next poll or for somebody else.
 */
#include <errno.h>

#include <tocsin/process.h>
#include <tocsin/wait.h>

#include "runtime/pool.h"

struct tocsin_wait {
    struct tocsin_fd_ready *ready;
    struct tocsin_pool *pool; /* referenced */
};

int tocsin_wait_open(struct tocsin_driver *driver, int fd, struct tocsin_wait **out_wait)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin_wait *wait;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    r = tocsin__fd_is_nonblocking(fd);
    if (r <= 0) {
        return r < 0 ? r : -EINVAL;
    }
    wait = tocsin__alloc_zeroed(pool, sizeof(*wait));
    if (wait == NULL) {
        return -ENOMEM;
    }
    r = tocsin_fd_ready_open(driver, fd, &wait->ready);
    if (r < 0) {
        tocsin__free(pool, wait);
        return r;
    }
    wait->pool = pool;
    tocsin__pool_ref(pool);
    *out_wait = wait;
    return 0;
}

int tocsin_wait_close(struct tocsin_wait *wait)
{
    struct tocsin_pool *pool;
    int r;

    if (wait == NULL) {
        return 0;
    }
    pool = wait->pool;
    r = tocsin_fd_ready_close(wait->ready);
    tocsin__free(pool, wait);
    tocsin__pool_unref(pool);
    return r;
}

static int try_take(intptr_t fd, void *arg)
{
    uint64_t value;
    int n = tocsin__fd_read(fd, &value, sizeof(value));

    if (n < 0) {
        return n;
    }
    if (n != (int)sizeof(value)) {
        return -EIO;
    }
    if (arg != NULL) {
        *(uint64_t *)arg = value;
    }
    return 0;
}

int tocsin_wait_poll(struct tocsin_wait *wait, struct tocsin_context *cx, uint64_t *out_value)
{
    return tocsin_fd_ready_poll_io(wait->ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_take, out_value,
                                   cx);
}

int tocsin_wait_cancel(struct tocsin_wait *wait, uint64_t *out_value)
{
    (void)out_value;
    if (tocsin__is_forked(wait->pool)) {
        return -EOWNERDEAD;
    }
    tocsin__ready_unwait(wait->ready, TOCSIN_SLOT_READ);
    return 0;
}

struct tocsin_process {
    struct tocsin_fd_ready *ready;
    struct tocsin_pool *pool; /* referenced */
    int fd;
    bool ended;
    struct tocsin_process_exit exit; /* once ended */
};

int tocsin_process_open(struct tocsin_driver *driver, int64_t pid,
                        struct tocsin_process **out_process)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin_process *process;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    process = tocsin__alloc_zeroed(pool, sizeof(*process));
    if (process == NULL) {
        return -ENOMEM;
    }
    r = tocsin__process_open(pid, &process->fd);
    if (r < 0) {
        goto err_pidfd;
    }
    r = tocsin_fd_ready_open(driver, process->fd, &process->ready);
    if (r < 0) {
        goto err_ready;
    }
    process->pool = pool;
    tocsin__pool_ref(pool);
    *out_process = process;
    return 0;

err_ready:
    tocsin__fd_close(process->fd);
err_pidfd:
    tocsin__free(pool, process);
    return r;
}

int tocsin_process_close(struct tocsin_process *process)
{
    struct tocsin_pool *pool;
    int r;

    if (process == NULL) {
        return 0;
    }
    pool = process->pool;
    r = tocsin_fd_ready_close(process->ready);
    tocsin__fd_close(process->fd);
    tocsin__free(pool, process);
    tocsin__pool_unref(pool);
    return r;
}

int tocsin_process_poll(struct tocsin_process *process, struct tocsin_context *cx,
                        struct tocsin_process_exit *out_exit)
{
    int r;

    while (!process->ended) {
        /* A pidfd is readable from the end on, for children and strangers alike. */
        r = tocsin_fd_ready_poll(process->ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);
        if (r < 0) {
            return r;
        }
        r = tocsin__process_reap(process->fd, &process->exit);
        if (r < 0 && r != -EAGAIN) {
            return r;
        }
        process->ended = r == 0;
        tocsin_fd_ready_clear(process->ready, TOCSIN_SLOT_READ);
    }
    *out_exit = process->exit;
    return 0;
}

int tocsin_process_kill(struct tocsin_process *process, int signal)
{
    return tocsin__process_kill(process->fd, signal);
}
