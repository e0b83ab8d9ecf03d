/*
 * The end of a process, as something to poll.
 *
 * By pidfd on Linux (5.4): no SIGCHLD handler is touched, and a recycled pid is never mistaken for
 * the process that was opened.  Closing the object neither reaps nor kills.
 */
#ifndef TOCSIN_PROCESS_H
#define TOCSIN_PROCESS_H

#include <tocsin/base.h>
#include <tocsin/waker.h>

TOCSIN_BEGIN_DECLS

struct tocsin_process;

/* How a process ended. */
struct tocsin_process_exit {
    /*
     * 0: the fields below hold; -ECHILD: it ended, but was no child of ours, or somebody reaped it.
     */
    int status;
    int code;         /* what it gave to exit(3); -1 if a signal killed it */
    int signal;       /* the signal that killed it, or 0 */
    bool core_dumped; /* with @signal */
};

/*
 * Wait for the process @pid, a child or any other.
 *
 * Thread:  any.
 * Memory:  *@out_process goes to tocsin_process_close().
 * Returns: 0.
 * Errors:  -EINVAL: not a pid; -ESRCH: no such process; -ENOSYS: no pidfd_open(2); -EMFILE; those
 *          of tocsin_fd_ready_open().
 */
TOCSIN_API int tocsin_process_open(struct tocsin_driver *driver, int64_t pid,
                                   struct tocsin_process **out_process);

/*
 * Free the object; the process goes on, or stays a zombie for its parent.
 *
 * Thread: any.
 * Returns: 0.  NULL is 0.
 */
TOCSIN_API int tocsin_process_close(struct tocsin_process *process);

/*
 * Has it ended?  A child is reaped by the call that says so; later calls repeat the answer.
 *
 * Thread:  the pool's.
 * Returns: 0, and how in *@out_exit; or TOCSIN_PENDING.
 * Errors:  those of tocsin_fd_ready_poll().
 */
TOCSIN_API int tocsin_process_poll(struct tocsin_process *process, struct tocsin_context *cx,
                                   struct tocsin_process_exit *out_exit);

/*
 * Send @signal to the very process that was opened, by pidfd_send_signal(2).
 *
 * Thread:  any.
 * Errors:  -ESRCH: it has ended and was reaped; -EPERM, -EINVAL.
 */
TOCSIN_API int tocsin_process_kill(struct tocsin_process *process, int signal);

TOCSIN_END_DECLS

#endif
