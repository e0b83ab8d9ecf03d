/*
 * Whether io_uring is refused here, asked of the kernel itself and not of the library: a library
 * that finds a reason where there is none must not have its cases skipped.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

enum {
    OPCODES = 256,
    /* What the library documents that it cannot do without. */
    FEATURES = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE,
};

/* Writes the reason to @reason, or nothing. */
static void ask_kernel(char *reason, size_t size)
{
    struct io_uring_params params = {0};
    struct io_uring_probe *probe;
    int fd = (int)syscall(SYS_io_uring_setup, 2, &params);

    if (fd < 0) {
        (void)snprintf(reason, size, "io_uring_setup: %s", strerror(errno));
        return;
    }
    probe = calloc(1, sizeof(*probe) + OPCODES * sizeof(probe->ops[0]));
    if (probe == NULL) {
        (void)snprintf(reason, size, "no memory");
    } else if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, probe, OPCODES) < 0) {
        (void)snprintf(reason, size, "io_uring_register: %s", strerror(errno));
    } else if ((params.features & FEATURES) != FEATURES) {
        (void)snprintf(reason, size, "io_uring of a kernel that is too old");
    }
    free(probe);
    close(fd);
}

/* In a child: the filter, if there is to be one, would stay. */
static _Noreturn void ask_in_child(const struct conform_settings *settings, int fd)
{
    struct conform_refusal refusal = {.reason = ""};
    struct tocsin_pool *pool = NULL;

    if (settings->deny.error != 0 && deny_install(&settings->deny) < 0) {
        (void)snprintf(refusal.reason, sizeof(refusal.reason), "no filters here");
        refusal.is_total = true;
    } else {
#ifdef TOCSIN_HAVE_URING
        ask_kernel(refusal.reason, sizeof(refusal.reason));
#else
        (void)ask_kernel;
        (void)snprintf(refusal.reason, sizeof(refusal.reason), "built without io_uring");
#endif
        if (refusal.reason[0] != '\0') {
            refusal.is_total = tocsin_pool_open(&pool, settings->backend, NULL) < 0;
        }
    }
    if (pool != NULL) {
        (void)tocsin_pool_close(pool);
    }
    _exit(write(fd, &refusal, sizeof(refusal)) == (ssize_t)sizeof(refusal) ? 0 : 1);
}

void conform_refusal_ask(struct conform_settings *settings)
{
    ssize_t length;
    int fds[2];
    pid_t pid;

    if ((settings->backend->ops->features & TOCSIN_BACKEND_URING) == 0) {
        return;
    }
    if (pipe(fds) != 0 || (pid = fork()) < 0) {
        perror("# asking for io_uring");
        exit(2);
    }
    if (pid == 0) {
        ask_in_child(settings, fds[1]);
    }
    close(fds[1]);
    length = read(fds[0], &settings->refusal, sizeof(settings->refusal));
    close(fds[0]);
    if (waitpid(pid, NULL, 0) != pid || length != (ssize_t)sizeof(settings->refusal)) {
        fprintf(stderr, "tocsin-conformance: asking for io_uring failed\n");
        exit(2);
    }
}
