/*
 * Signals as a wait, by signalfd: tocsin/linux.h.
 *
 * The program's masks and handlers are its own: nothing here changes them.
 */
#include <tocsin/linux.h>

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runtime/pool.h"

struct tocsin_signals {
    struct tocsin_fd_ready *ready;
    struct tocsin_pool *pool; /* referenced */
    int fd;
};

static int open_signalfd(const int *signals, size_t signals_count)
{
    sigset_t set;
    int fd;

    if (signals_count == 0) {
        return -EINVAL;
    }
    sigemptyset(&set);
    for (size_t i = 0; i < signals_count; i++) {
        if (sigaddset(&set, signals[i]) != 0) {
            return -EINVAL;
        }
    }
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int tocsin_signals_open(struct tocsin_driver *driver, const int *signals, size_t signals_count,
                        struct tocsin_signals **out_signals)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin_signals *object;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    object = tocsin__alloc_zeroed(pool, sizeof(*object));
    if (object == NULL) {
        return -ENOMEM;
    }
    object->fd = open_signalfd(signals, signals_count);
    if (object->fd < 0) {
        r = object->fd;
        goto err_signalfd;
    }
    r = tocsin_fd_ready_open(driver, object->fd, &object->ready);
    if (r < 0) {
        goto err_ready;
    }
    object->pool = pool;
    tocsin__pool_ref(pool);
    *out_signals = object;
    return 0;

err_ready:
    close(object->fd);
err_signalfd:
    tocsin__free(pool, object);
    return r;
}

int tocsin_signals_close(struct tocsin_signals *signals)
{
    struct tocsin_pool *pool;
    int r;

    if (signals == NULL) {
        return 0;
    }
    pool = signals->pool;
    r = tocsin_fd_ready_close(signals->ready);
    close(signals->fd);
    tocsin__free(pool, signals);
    tocsin__pool_unref(pool);
    return r;
}

static int try_take(intptr_t fd, void *arg)
{
    struct tocsin_signal_info *info = arg;
    struct signalfd_siginfo read_info;
    int n = tocsin__fd_read(fd, &read_info, sizeof(read_info));

    if (n < 0) {
        return n;
    }
    if (n != (int)sizeof(read_info)) {
        return -EIO;
    }
    if (info != NULL) {
        *info = (struct tocsin_signal_info){
            .signal = (int)read_info.ssi_signo,
            .code = read_info.ssi_code,
            .pid = read_info.ssi_pid,
            .uid = read_info.ssi_uid,
            .value = read_info.ssi_int,
        };
    }
    return (int)read_info.ssi_signo;
}

int tocsin_signals_poll(struct tocsin_signals *signals, struct tocsin_context *cx,
                        struct tocsin_signal_info *out_info)
{
    return tocsin_fd_ready_poll_io(signals->ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_take, out_info,
                                   cx);
}
