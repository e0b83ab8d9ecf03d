/*
 * The shared part of the fault programs: see fault.h.
 */
#include "tests/fault/fault.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
#define DETECTOR_CALLS true /* the race detector makes calls of its own, for its records */
#else
#define DETECTOR_CALLS false
#endif

enum {
    SKIPPED = 77,
    WATCHDOG_S = 120,
    DESCRIPTORS_MAX = 64, /* while they are exhausted */
};

/* Where a case that is skipped says why. */
static int reason_fd = -1;

_Noreturn void fault_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    _exit(1);
}

void fault_expect(const char *file, int line, const char *what, long result, long expected)
{
    if (result != expected) {
        fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", file, line, what, result, expected);
        _exit(1);
    }
}

_Noreturn void fault_skip(const char *reason)
{
    (void)!write(reason_fd, reason, strlen(reason));
    _exit(SKIPPED);
}

unsigned fault_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    FAULT_CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static int fillers[DESCRIPTORS_MAX];
static int fillers_count;

void fault_exhaust(int spare)
{
    struct rlimit limit;
    int fd;

    FAULT_EXPECT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = DESCRIPTORS_MAX;
    FAULT_EXPECT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = dup(STDERR_FILENO)) >= 0) {
        FAULT_CHECK(fillers_count < DESCRIPTORS_MAX);
        fillers[fillers_count++] = fd;
    }
    FAULT_EXPECT(errno, EMFILE);
    while (spare-- > 0) {
        fault_release_descriptor();
    }
}

int fault_spare_descriptors(void)
{
    int taken[DESCRIPTORS_MAX];
    int count = 0;

    while (count < DESCRIPTORS_MAX && (taken[count] = dup(STDERR_FILENO)) >= 0) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        close(taken[i]);
    }
    return count;
}

void fault_release_descriptor(void)
{
    FAULT_CHECK(fillers_count > 0);
    close(fillers[--fillers_count]);
}

void fault_without_descriptors(fault_attempt_fn *fn, void *arg, int needed)
{
    fault_exhaust(0);
    for (int i = 0; i < needed; i++) {
        FAULT_EXPECT(fn(arg), -EMFILE);
        FAULT_EXPECT(fault_spare_descriptors(), i);
        fault_release_descriptor();
    }
    FAULT_EXPECT(fn(arg), 0);
}

struct tocsin_pool *fault_pool(void)
{
    struct tocsin_pool *pool = NULL;

    FAULT_EXPECT(tocsin_pool_open(&pool, NULL, NULL), 0);
    return pool;
}

struct in_turn {
    support_body_fn *fn;
    void *arg;
};

static void call_in_turn(void *arg, int status)
{
    const struct in_turn *in_turn = arg;

    FAULT_EXPECT(status, 0);
    in_turn->fn(in_turn->arg);
}

void fault_in_turn(struct tocsin_pool *pool, support_body_fn *armed, support_body_fn *fn, void *arg)
{
    struct in_turn in_turn = {fn, arg};

    FAULT_EXPECT(tocsin_post(tocsin_pool_driver(pool), call_in_turn, &in_turn), 0);
    if (armed != NULL) {
        armed(arg);
    }
    FAULT_CHECK(tocsin_pool_turn(pool) >= 0);
}

void fault_forbid_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = FAULT_COUNT(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        fault_skip("no filters here");
    }
}

void fault_calls_can_be_forbidden(void)
{
    int status = 0;
    pid_t pid;

    if (support_on_valgrind() || DETECTOR_CALLS) {
        fault_skip("a filter would meet the calls of valgrind or of the race detector");
    }
    pid = fork();
    FAULT_CHECK(pid >= 0);
    if (pid == 0) {
        fault_forbid_calls();
        syscall(SYS_getppid);
        syscall(SYS_exit, 0);
    }
    FAULT_EXPECT(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        _exit(WEXITSTATUS(status)); /* skipped: the child has told why */
    }
    FAULT_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* Run @one in a child.  Returns: its wait status; what it was skipped for is in @reason. */
static int run_case(const struct fault_case *one, char *reason, size_t reason_size)
{
    ssize_t length;
    int status;
    int fds[2];
    pid_t pid;

    if (pipe(fds) != 0) {
        return -1;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        reason_fd = fds[1];
        alarm(WATCHDOG_S); /* a hang is a failure */
        one->run();
        exit(0); /* with the leak checker's say */
    }
    close(fds[1]);
    length = read(fds[0], reason, reason_size - 1);
    reason[length > 0 ? length : 0] = '\0';
    close(fds[0]);
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Is there no pool to be had on the backend that TOCSIN_BACKEND names? */
static bool backend_is_refused(void)
{
    struct tocsin_pool *pool = NULL;
    const char *name = getenv("TOCSIN_BACKEND");
    int r = name != NULL ? tocsin_pool_open(&pool, NULL, NULL) : 0;

    if (r == -EPERM || r == -ENOSYS) {
        printf("1..0 # SKIP no pool on %s here: %s\n", name, strerror(-r));
        return true;
    }
    if (pool != NULL) {
        FAULT_EXPECT(tocsin_pool_close(pool), 0);
    }
    return false;
}

int fault_main(const struct fault_case *cases, size_t cases_count)
{
    unsigned passed = 0;
    unsigned skipped = 0;
    unsigned failed = 0;

    if (backend_is_refused()) {
        return SKIPPED;
    }
    printf("1..%zu\n", cases_count);
    for (size_t i = 0; i < cases_count; i++) {
        char reason[200];
        int status = run_case(&cases[i], reason, sizeof(reason));

        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            printf("ok %zu - %s\n", i + 1, cases[i].name);
            passed++;
        } else if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            printf("ok %zu - %s # SKIP %s\n", i + 1, cases[i].name, reason);
            skipped++;
        } else {
            printf("not ok %zu - %s\n# wait status %x\n", i + 1, cases[i].name, (unsigned)status);
            failed++;
        }
    }
    printf("%u passed, %u failed", passed, failed);
    if (skipped > 0) {
        printf(", %u skipped", skipped);
    }
    printf("\n");
    return failed != 0;
}
