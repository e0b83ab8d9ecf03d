/*
 * Processes by pidfd: open, reap, signal.  Raw calls, for Debian 12's glibc names only some of
 * them.
 */
#include "runtime/os.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Linux 5.4, waitid(2). */
#define TOCSIN__P_PIDFD ((idtype_t)3)

int tocsin__process_open(int64_t pid, int *out_fd)
{
    long fd;

    if (pid <= 0 || pid > INT_MAX) {
        return -EINVAL;
    }
    /* pidfd_open(2), Linux 5.3; the descriptor is close-on-exec by itself. */
    fd = syscall(SYS_pidfd_open, (pid_t)pid, 0U);
    if (fd < 0) {
        /* A thread that leads no process: EINVAL, since Linux 6.15 ENOENT. */
        return errno == ENOENT ? -EINVAL : -errno;
    }
    *out_fd = (int)fd;
    return 0;
}

int tocsin__process_reap(int fd, struct tocsin_process_exit *out_exit)
{
    siginfo_t info;
    int r;

    info.si_pid = 0;
    do {
        r = waitid(TOCSIN__P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    } while (r != 0 && errno == EINTR);
    *out_exit = (struct tocsin_process_exit){.code = -1};
    if (r != 0) {
        if (errno != ECHILD) {
            return -errno;
        }
        out_exit->status = -ECHILD;
        return 0;
    }
    if (info.si_pid == 0) {
        return -EAGAIN;
    }
    if (info.si_code == CLD_EXITED) {
        out_exit->code = info.si_status;
    } else {
        out_exit->signal = info.si_status;
        out_exit->core_dumped = info.si_code == CLD_DUMPED;
    }
    return 0;
}

int tocsin__process_kill(int fd, int signal)
{
    /* pidfd_send_signal(2), Linux 5.1. */
    return syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0U) != 0 ? -errno : 0;
}
