/*
 * The filter: see deny.h.
 */
#include "deny.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct named {
    const char *name;
    int value;
};

static const struct named calls[] = {
    {"io_uring_setup", SYS_io_uring_setup},
    {"io_uring_register", SYS_io_uring_register},
    {"io_uring_enter", SYS_io_uring_enter},
};

static const struct named errors[] = {
    {"EPERM", EPERM},
    {"ENOSYS", ENOSYS},
    {"EACCES", EACCES},
    {"ENOMEM", ENOMEM},
};

/* The value that the first @length characters of @name stand for; 0: none. */
static int value_of(const struct named *table, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0) {
            return table[i].value;
        }
    }
    return 0;
}

int deny_parse(const char *text, struct deny *out_deny)
{
    size_t length = strcspn(text, "=");
    struct deny deny = {0, 0};

    if (text[length] == '=') {
        const char *error = text + length + 1;

        deny.number = value_of(calls, sizeof(calls) / sizeof(calls[0]), text, length);
        deny.error = value_of(errors, sizeof(errors) / sizeof(errors[0]), error, strlen(error));
    }
    if (deny.number == 0 || deny.error == 0) {
        return -EINVAL;
    }
    *out_deny = deny;
    return 0;
}

int deny_install(const struct deny *deny)
{
    uint32_t answer = deny->error == DENY_KILLS ? SECCOMP_RET_KILL_PROCESS
                                                : SECCOMP_RET_ERRNO | (uint32_t)deny->error;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)deny->number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        return -errno;
    }
    return 0;
}
