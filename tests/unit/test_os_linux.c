/*
 * Processes by pidfd.
 */
#include "runtime/os.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* So many waitid() are interrupted before the real one. */
static unsigned interruptions;

int __real_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return __real_waitid(type, id, info, options);
}

/* valgrind 3.19 knows no pidfds; nor do kernels before 5.3. */
static void skip_without_pidfds(void)
{
    int fd;

    if (tocsin__process_open(getpid(), &fd) == -ENOSYS) {
        unit_skip("no pidfd_open here");
    }
    close(fd);
}

static void await(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&waiting, 1, 60000), 1);
}

/* A child that does as @how says: >= 0 exits with it, < 0 dies of that signal. */
static pid_t start_child(int how)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        if (how < 0) {
            signal(-how, SIG_DFL);
            raise(-how);
        }
        _exit(how);
    }
    return pid;
}

static void check_exit(int how, const struct tocsin_process_exit *expected)
{
    struct tocsin_process_exit ended = {.code = 77, .signal = 77, .status = 77};
    pid_t pid = start_child(how);
    int fd;

    assert_int_equal(tocsin__process_open(pid, &fd), 0);
    await(fd);
    interruptions = 3;
    assert_int_equal(tocsin__process_reap(fd, &ended), 0);
    assert_int_equal(ended.status, expected->status);
    assert_int_equal(ended.code, expected->code);
    assert_int_equal(ended.signal, expected->signal);
    assert_int_equal(tocsin__process_reap(fd, &ended), 0); /* it is gone by now */
    assert_int_equal(ended.status, -ECHILD);
    close(fd);
}

static void exits_and_deaths_are_told_apart(void **state)
{
    (void)state;
    skip_without_pidfds();
    check_exit(0, &(struct tocsin_process_exit){.code = 0});
    check_exit(255, &(struct tocsin_process_exit){.code = 255});
    check_exit(-SIGKILL, &(struct tocsin_process_exit){.code = -1, .signal = SIGKILL});
    check_exit(-SIGTERM, &(struct tocsin_process_exit){.code = -1, .signal = SIGTERM});
}

static void a_living_child_is_not_reaped(void **state)
{
    struct tocsin_process_exit ended;
    int fds[2];
    pid_t pid;
    char byte;
    int fd;

    (void)state;
    skip_without_pidfds();
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        close(fds[1]);
        (void)!read(fds[0], &byte, 1);
        _exit(0);
    }
    assert_int_equal(tocsin__process_open(pid, &fd), 0);
    assert_int_equal(tocsin__process_reap(fd, &ended), -EAGAIN);
    assert_int_equal(tocsin__process_kill(fd, 0), 0);
    assert_int_equal(tocsin__process_kill(fd, 100000), -EINVAL);
    assert_int_equal(tocsin__process_kill(fd, SIGKILL), 0);
    await(fd);
    assert_int_equal(tocsin__process_reap(fd, &ended), 0);
    assert_int_equal(ended.signal, SIGKILL);
    assert_int_equal(tocsin__process_kill(fd, 0), -ESRCH);
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

static void a_stranger_has_no_status(void **state)
{
    struct tocsin_process_exit ended;
    int fd;

    (void)state;
    skip_without_pidfds();
    assert_int_equal(tocsin__process_open(getpid(), &fd), 0);
    assert_int_equal(tocsin__process_reap(fd, &ended), 0);
    assert_int_equal(ended.status, -ECHILD);
    close(fd);
}

static void what_is_no_pid_is_refused(void **state)
{
    int fd = -5;
    pid_t pid;

    (void)state;
    skip_without_pidfds();
    pid = start_child(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(tocsin__process_open(0, &fd), -EINVAL);
    assert_int_equal(tocsin__process_open(-1, &fd), -EINVAL);
    assert_int_equal(tocsin__process_open((int64_t)INT_MAX + 1, &fd), -EINVAL);
    assert_int_equal(tocsin__process_open(pid, &fd), -ESRCH); /* not used again so soon */
    assert_int_equal(fd, -5);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(exits_and_deaths_are_told_apart),
    cmocka_unit_test(a_living_child_is_not_reaped),
    cmocka_unit_test(a_stranger_has_no_status),
    cmocka_unit_test(what_is_no_pid_is_refused),
};

UNIT_MAIN(tests)
