/*
 * A task that accepts connections.
 *
 *   A1  When as many are open as may be, it accepts no more until one has ended: the others wait in
 *       the kernel's queue, which costs this process nothing.
 *   A2  When accepting fails it pauses.  Out of descriptors (EMFILE), the connection stays in the
 *       queue and no new event will come for it; trying again at once would spin.
 *   A3  It accepts a few at a time and then lets the others run.
 *   A4  When it stops it takes what is in the kernel's queue by then, up to the cap: closing the
 *       listening socket resets that, requests included.
 */
#include "acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_MAX = 32, /* A3 */
};

#define PAUSE_NS UINT64_C(100000000)

static struct acceptor *acceptor_of(struct tocsin_task *task)
{
    return (struct acceptor *)((char *)task - offsetof(struct acceptor, task));
}

static void acceptor_keep_waker(struct acceptor *acceptor, struct tocsin_context *cx)
{
    tocsin_waker_drop(&acceptor->waiter);
    acceptor->waiter = tocsin_waker_clone(&cx->waker);
}

static int acceptor_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct acceptor *acceptor = acceptor_of(task);

    for (int accepts = 0; accepts < ACCEPTS_MAX; accepts++) {
        intptr_t fd;
        int r;

        if (acceptor->is_pausing) {
            if (tocsin_timer_poll(&acceptor->pause, cx, 0) == TOCSIN_PENDING) {
                return TOCSIN_PENDING;
            }
            acceptor->is_pausing = false;
        }
        if (acceptor->open == acceptor->open_max) {
            acceptor_keep_waker(acceptor, cx); /* A1 */
            return TOCSIN_PENDING;
        }
        r = tocsin_socket_accept(acceptor->listener, cx, &fd);
        if (r == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        if (r == 0) {
            r = acceptor->fn(acceptor->arg, fd);
            acceptor->open += r == 0 ? 1 : 0;
        }
        if (r < 0) {
            tocsin_timer_arm(&acceptor->pause, tocsin_driver_now_ns(cx->driver) + PAUSE_NS);
            acceptor->is_pausing = true; /* A2 */
        }
    }
    return tocsin_task_yield(cx);
}

static void acceptor_drop(struct tocsin_task *task)
{
    struct acceptor *acceptor = acceptor_of(task);

    tocsin_timer_deinit(&acceptor->pause);
    tocsin_socket_close(acceptor->listener);
    acceptor->listener = NULL;
}

int acceptor_start(struct acceptor *acceptor, struct tocsin_driver *driver, int fd,
                   uint32_t open_max, acceptor_fn *fn, void *arg)
{
    static const struct tocsin_task_ops ops = {.poll = acceptor_poll, .drop = acceptor_drop};
    int r;

    *acceptor = (struct acceptor){.driver = driver, .open_max = open_max, .fn = fn, .arg = arg};
    r = tocsin_socket_open(driver, fd, &acceptor->listener);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = tocsin_timer_init(&acceptor->pause, driver, NULL, NULL);
    if (r < 0) {
        goto err_listener;
    }
    r = tocsin_task_spawn(driver, &acceptor->task, &ops, "acceptor");
    if (r < 0) {
        goto err_pause;
    }
    return 0;

err_pause:
    tocsin_timer_deinit(&acceptor->pause);
err_listener:
    tocsin_socket_close(acceptor->listener);
    return r;
}

void acceptor_give_back(struct acceptor *acceptor)
{
    acceptor->open--;
    tocsin_waker_wake(&acceptor->waiter);
}

/* A4: the kernel itself is asked, for the pool may not have heard of the last ones. */
static void acceptor_take_queued(struct acceptor *acceptor)
{
    int listener = (int)tocsin_socket_fd(acceptor->listener);

    while (acceptor->open < acceptor->open_max) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) {
            continue;
        }
        if (fd < 0 || acceptor->fn(acceptor->arg, fd) < 0) {
            return;
        }
        acceptor->open++;
    }
}

void acceptor_stop(struct acceptor *acceptor)
{
    if (acceptor->listener != NULL) {
        acceptor_take_queued(acceptor);
        tocsin_task_cancel(&acceptor->task);
        tocsin_waker_drop(&acceptor->waiter);
    }
}

int acceptor_poll_empty(struct acceptor *acceptor, struct tocsin_context *cx)
{
    if (acceptor->open == 0) {
        tocsin_waker_drop(&acceptor->waiter);
        return 0;
    }
    acceptor_keep_waker(acceptor, cx);
    return TOCSIN_PENDING;
}
