/*
 * What only Linux has: signals as a wait, by signalfd(2).
 */
#ifndef TOCSIN_LINUX_H
#define TOCSIN_LINUX_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_signals;

/* A signal that came: number and sender, from struct signalfd_siginfo. */
struct tocsin_signal_info {
    int signal;
    int code;    /* SI_USER and the like */
    int64_t pid; /* the sender, where there is one */
    int64_t uid;
    int64_t value; /* with sigqueue(3) */
};

/*
 * Wait for the @signals_count signals whose numbers are in @signals.
 *
 * The program blocks them itself (pthread_sigmask(3)) in every thread before it opens this: a
 * signal that is not blocked is handled as ever and not seen here.  The library changes no mask and
 * no handler.
 *
 * Thread:  any; the signals seen are the process's and those of the thread that polls.
 * Memory:  *@out_signals goes to tocsin_signals_close().
 * Returns: 0.
 * Errors:  -EINVAL: none, or not a signal's number; -EMFILE, -ENFILE, -ENOMEM; those of
 *          tocsin_fd_ready_open().
 */
TOCSIN_API int tocsin_signals_open(struct tocsin_driver *driver, const int *signals,
                                   size_t signals_count, struct tocsin_signals **out_signals);

/* Free it; the signals stay blocked.  Thread: any.  Returns: 0.  NULL is 0. */
TOCSIN_API int tocsin_signals_close(struct tocsin_signals *signals);

/*
 * Take one signal.
 *
 * Thread:  the pool's.
 * Returns: the signal's number, its details in *@out_info (may be NULL); or TOCSIN_PENDING.
 * Errors:  those of read(2) and tocsin_fd_ready_poll().
 */
TOCSIN_API int tocsin_signals_poll(struct tocsin_signals *signals, struct tocsin_context *cx,
                                   struct tocsin_signal_info *out_info);

TOCSIN_END_DECLS

#endif
