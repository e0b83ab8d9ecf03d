/*
 * The shared part of the fault programs: see fault.h.
 */
#include "tests/fault/fault.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SKIPPED = 77,
    WATCHDOG_S = 120,
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

int fault_main(const struct fault_case *cases, size_t cases_count)
{
    unsigned passed = 0;
    unsigned skipped = 0;
    unsigned failed = 0;

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
