/*
 * Mounting vpoll's file system where nobody sees it, and the process that serves it.
 *
 *   caller            first child                     second child
 *   clone ----------> mounts
 *                     clone -----------------------> closes all but its own descriptors
 *                     exits (the caller waits)       sends the mount's root to the caller
 *   has the root                                     serves, until nothing of the mount is left
 *
 * The first child is in a user namespace of its own where that is the way to mount; it is waited
 * for, and its end makes no SIGCHLD, so that the program's own waits see nothing.  The second one
 * is nobody's child.  It ends by itself: its read says ENODEV when the last of the root and the
 * files has been closed, in whatever process.
 *
 *   H2  Nobody but the server has the device, so no forked child of the program can have it.
 *   H3  The server outlives the creator as long as somebody has a descriptor.
 *   H5  All signals are blocked before the clone, so that no handler of the program runs here.
 *
 * The children run in a copy of a program that may have had other threads: between clone and exec
 * or exit there is nothing but system calls.  What is text is made before the clone.
 *
 * With fusermount3 there is a mount point, for the moment that it takes to open it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/vpoll/fuse.h"

#define FUSERMOUNT "fusermount3"
#define DEVICE "/dev/fuse"

enum {
    KEEP_DEV = 0, /* the server's descriptors */
    KEEP_CHANNEL = 1,
    KEEP_ROOT = 2,
    KEEP_COUNT = 3,
    ABOVE_THEM = 10,
    CLOSE_MAX = 65536, /* how far to close one by one on kernels without close_range(2) */
};

enum stage {
    STAGE_DONE,
    STAGE_NAMESPACE,
    STAGE_DEVICE,
    STAGE_FSOPEN,
    STAGE_FSCONFIG,
    STAGE_FSMOUNT,
    STAGE_DIRECTORY,
    STAGE_FUSERMOUNT,
    STAGE_CLONE,
};

static const char *const stage_names[] = {
    [STAGE_DONE] = "",
    [STAGE_NAMESPACE] = "user namespace",
    [STAGE_DEVICE] = "open of the device",
    [STAGE_FSOPEN] = "fsopen",
    [STAGE_FSCONFIG] = "fsconfig",
    [STAGE_FSMOUNT] = "fsmount",
    [STAGE_DIRECTORY] = "mount point",
    [STAGE_FUSERMOUNT] = FUSERMOUNT,
    [STAGE_CLONE] = "clone",
};

/* What the children tell, with the descriptors if it went well. */
struct report {
    int32_t error;
    int32_t stage;
};

/* All that the children need to know. */
struct plan {
    enum tocsin__vpoll_how how;
    bool in_process;
    uint64_t server;
    int channel;
    struct tocsin__vpoll_slots *table; /* for the server; NULL if it is not the second child */
    char device[108];
    char user[12];
    char group[12];
    char user_map[40];
    char group_map[40];
    char directory[64];
};

/* What the first child makes. */
struct made {
    int dev;
    int root;
};

const char *tocsin__vpoll_fuse_path(void)
{
    const char *path = secure_getenv("TOCSIN_VPOLL_FUSE");

    return path != NULL ? path : DEVICE;
}

/* ---- In the children ------------------------------------------------------------------------- */

/*
 * The system calls by themselves: a wrapper may take a lock that another thread of the program held
 * at the clone, and the race detector's do.
 */
static int bare_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

static void bare_close(int fd)
{
    syscall(SYS_close, fd);
}

static int bare_dup_above(int fd, int least)
{
    return (int)syscall(SYS_fcntl, fd, F_DUPFD, (long)least);
}

static void bare_dup_to(int fd, int number)
{
    syscall(SYS_dup3, fd, number, 0);
}

static void bare_rmdir(const char *path)
{
    syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

static _Noreturn void bare_exit(int status)
{
    for (;;) {
        syscall(SYS_exit_group, status);
    }
}

static pid_t bare_clone(unsigned long flags)
{
#ifdef __s390__
    return (pid_t)syscall(SYS_clone, 0L, flags, 0L, 0L, 0L);
#else
    return (pid_t)syscall(SYS_clone, flags, 0L, 0L, 0L, 0L);
#endif
}

static void write_decimal(char *text, unsigned value)
{
    char digits[12];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count > 0) {
        *text++ = digits[--count];
    }
    *text = '\0';
}

static int write_file(const char *path, const char *text)
{
    int fd = bare_open(path, O_WRONLY | O_CLOEXEC);
    long written;

    if (fd < 0) {
        return -errno;
    }
    written = syscall(SYS_write, fd, text, strlen(text));
    bare_close(fd);
    return written < 0 ? -EPERM : 0;
}

/* The user and group are the same inside as outside: the descriptors' owner is the creator. */
static int enter_namespace(const struct plan *plan)
{
    int r = write_file("/proc/self/setgroups", "deny");

    r = r < 0 && r != -ENOENT ? r : write_file("/proc/self/uid_map", plan->user_map);
    return r < 0 ? r : write_file("/proc/self/gid_map", plan->group_map);
}

static int configure(int fs, const char *key, const char *value)
{
    return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

/* Mount without a mount point: Linux 5.2. */
static int mount_detached(const struct plan *plan, struct made *made, enum stage *stage)
{
    char dev[12];
    long root;
    int fs;
    int r;

    *stage = STAGE_DEVICE;
    made->dev = bare_open(plan->device, O_RDWR | O_CLOEXEC);
    if (made->dev < 0) {
        return -errno;
    }
    *stage = STAGE_FSOPEN;
    fs = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
    if (fs < 0) {
        return -errno;
    }
    *stage = STAGE_FSCONFIG;
    write_decimal(dev, (unsigned)made->dev);
    r = configure(fs, "source", "tocsin-vpoll");
    r = r < 0 ? r : configure(fs, "fd", dev);
    r = r < 0 ? r : configure(fs, "rootmode", "40500");
    r = r < 0 ? r : configure(fs, "user_id", plan->user);
    r = r < 0 ? r : configure(fs, "group_id", plan->group);
    if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        r = -errno;
    }
    if (r < 0) {
        return r;
    }
    *stage = STAGE_FSMOUNT;
    root = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0) {
        return -errno;
    }
    made->root = (int)root;
    bare_close(fs);
    return 0;
}

/* Run fusermount3 with @args, its end of the channel in @channel; wait for it. */
static int run_fusermount(char *const *args, char *const *environment)
{
    static const char *const paths[] = {"/usr/bin/" FUSERMOUNT, "/bin/" FUSERMOUNT,
                                        "/usr/local/bin/" FUSERMOUNT};
    int status = 0;
    pid_t child = bare_clone(SIGCHLD);

    if (child < 0) {
        return -errno;
    }
    if (child == 0) {
        static const uint64_t none;
        int null = bare_open("/dev/null", O_RDWR);

        for (int fd = 0; fd < KEEP_COUNT; fd++) {
            bare_dup_to(null, fd); /* it would tell the user what it is refused */
        }
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
            syscall(SYS_execve, paths[i], args, environment);
        }
        bare_exit(127);
    }
    while (syscall(SYS_wait4, child, &status, __WALL, NULL) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    if (!WIFEXITED(status)) {
        return -EINTR;
    }
    return WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status) == 127 ? -ENOENT : -EPERM;
}

/* Take the descriptor that comes by @socket.  Negative errno: none came. */
static int receive_descriptor(int socket)
{
    char byte;
    struct iovec part = {&byte, 1};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};
    int fd = -EPROTO;

    if (syscall(SYS_recvmsg, socket, &message, MSG_CMSG_CLOEXEC) < 0) {
        return -errno;
    }
    if (CMSG_FIRSTHDR(&message) != NULL && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    }
    return fd;
}

static int mount_by_fusermount(const struct plan *plan, struct made *made, enum stage *stage)
{
    char variable[32] = "_FUSE_COMMFD=";
    char path[] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
    char *environment[] = {variable, path, NULL};
    char name[] = FUSERMOUNT;
    char dash[] = "-o";
    char options[] = "rw,nosuid,nodev,fsname=tocsin-vpoll,subtype=vpoll";
    char end[] = "--";
    char *args[] = {name, dash, options, end, (char *)(uintptr_t)plan->directory, NULL};
    int pair[2];
    int channel;
    int r;

    *stage = STAGE_DIRECTORY;
    if (syscall(SYS_mkdirat, AT_FDCWD, plan->directory, 0700) < 0) {
        return -errno;
    }
    *stage = STAGE_FUSERMOUNT;
    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        r = -errno;
        goto err_directory;
    }
    channel = bare_dup_above(pair[0], ABOVE_THEM); /* the lowest ones become /dev/null */
    bare_close(pair[0]);
    write_decimal(variable + strlen(variable), (unsigned)channel);
    r = run_fusermount(args, environment);
    bare_close(channel);
    r = r < 0 ? r : receive_descriptor(pair[1]);
    bare_close(pair[1]);
    if (r < 0) {
        goto err_directory;
    }
    made->dev = r;
    *stage = STAGE_DIRECTORY;
    made->root = bare_open(plan->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (made->root < 0) {
        r = -errno;
        bare_close(made->dev); /* the mount is dead now, and can be taken away */
        made->dev = -1;
        goto err_directory;
    }
    return 0;

err_directory:
    bare_rmdir(plan->directory);
    return r;
}

/* The mount point goes; the mount stays as long as somebody has something of it. */
static void unmount(const struct plan *plan)
{
    char path[] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
    char *environment[] = {path, NULL};
    char name[] = FUSERMOUNT;
    char unmount[] = "-u";
    char lazily[] = "-z";
    char end[] = "--";
    char *args[] = {name, unmount, lazily, end, (char *)(uintptr_t)plan->directory, NULL};

    run_fusermount(args, environment);
    bare_rmdir(plan->directory);
}

/* Tell the caller, with up to two descriptors. */
static void send_report(int channel, struct report report, const int *fds, size_t fds_count)
{
    struct iovec part = {&report, sizeof(report)};
    union {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds_count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(fds_count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, fds_count * sizeof(int));
    }
    syscall(SYS_sendmsg, channel, &message, MSG_NOSIGNAL);
}

/* Close all descriptors but three, which get the lowest numbers. */
static void keep(const struct plan *plan, const struct made *made)
{
    int fds[KEEP_COUNT] = {
        [KEEP_DEV] = bare_dup_above(made->dev, ABOVE_THEM),
        [KEEP_CHANNEL] = bare_dup_above(plan->channel, ABOVE_THEM),
        [KEEP_ROOT] = bare_dup_above(made->root, ABOVE_THEM),
    };

    for (int i = 0; i < KEEP_COUNT; i++) {
        bare_dup_to(fds[i], i);
    }
    if (syscall(SYS_close_range, KEEP_COUNT, ~0U, 0) < 0) {
        for (int fd = KEEP_COUNT; fd < CLOSE_MAX; fd++) {
            bare_close(fd);
        }
    }
}

static _Noreturn void second_child(const struct plan *plan, const struct made *made)
{
    static const int both[] = {KEEP_ROOT, KEEP_DEV};

    syscall(SYS_setsid);
    syscall(SYS_chdir, "/");
    syscall(SYS_prctl, PR_SET_NAME, "tocsin-vpoll", 0L, 0L, 0L);
    keep(plan, made);
    send_report(KEEP_CHANNEL, (struct report){0}, both, plan->in_process ? 2 : 1);
    bare_close(KEEP_CHANNEL);
    bare_close(KEEP_ROOT);
    if (!plan->in_process) {
        tocsin__vpoll_serve(KEEP_DEV, plan->server, plan->table);
    } else if (plan->how == TOCSIN__VPOLL_FUSERMOUNT) {
        bare_close(KEEP_DEV);
        unmount(plan); /* which the caller's thread serves */
    }
    bare_exit(0);
}

static _Noreturn void first_child(const struct plan *plan)
{
    struct made made = {-1, -1};
    enum stage stage = STAGE_NAMESPACE;
    pid_t child;
    int r = plan->how == TOCSIN__VPOLL_USERNS ? enter_namespace(plan) : 0;

    if (r == 0) {
        r = plan->how == TOCSIN__VPOLL_FUSERMOUNT ? mount_by_fusermount(plan, &made, &stage)
                                                  : mount_detached(plan, &made, &stage);
    }
    if (r == 0) {
        stage = STAGE_CLONE;
        child = bare_clone(SIGCHLD);
        if (child == 0) {
            second_child(plan, &made);
        }
        r = child < 0 ? -errno : 0;
    }
    if (r < 0) {
        send_report(plan->channel, (struct report){.error = r, .stage = (int32_t)stage}, NULL, 0);
    } else if (plan->how == TOCSIN__VPOLL_FUSERMOUNT && !plan->in_process) {
        bare_close(made.dev);
        bare_close(made.root);
        unmount(plan); /* which the second child serves */
    }
    bare_exit(0);
}

/* ---- In the caller --------------------------------------------------------------------------- */

static int make_plan(struct plan *plan)
{
    unsigned user = (unsigned)geteuid();
    unsigned group = (unsigned)getegid();
    const char *device = tocsin__vpoll_fuse_path();
    const char *folder = secure_getenv("TMPDIR");

    if (strlen(device) >= sizeof(plan->device)) {
        return -ENAMETOOLONG;
    }
    if (plan->how == TOCSIN__VPOLL_FUSERMOUNT && strcmp(device, DEVICE) != 0) {
        return -ENODEV; /* it knows no other */
    }
    if (getrandom(&plan->server, sizeof(plan->server), 0) != (ssize_t)sizeof(plan->server)) {
        return -EAGAIN;
    }
    folder = folder != NULL && strlen(folder) < 32 ? folder : "/tmp";
    strcpy(plan->device, device);
    snprintf(plan->user, sizeof(plan->user), "%u", user);
    snprintf(plan->group, sizeof(plan->group), "%u", group);
    snprintf(plan->user_map, sizeof(plan->user_map), "%u %u 1", user, user);
    snprintf(plan->group_map, sizeof(plan->group_map), "%u %u 1", group, group);
    snprintf(plan->directory, sizeof(plan->directory), "%s/tocsin-%016llx", folder,
             (unsigned long long)plan->server);
    return 0;
}

/* Wait for the report.  Returns: how many descriptors came; -ECHILD: the children died. */
static int receive_report(int channel, struct report *report, int fds[2])
{
    struct iovec part = {report, sizeof(*report)};
    union {
        char room[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr header;
    } control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};
    struct cmsghdr *header;
    ssize_t size;
    size_t count;

    do {
        size = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof(*report)) {
        return -ECHILD;
    }
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return (int)count;
}

/* Make the children; they are told by @plan.  Returns: the first one's id. */
static pid_t make_children(const struct plan *plan)
{
    unsigned long flags = plan->how == TOCSIN__VPOLL_USERNS ? CLONE_NEWUSER | CLONE_NEWNS : 0;
    sigset_t all;
    sigset_t old;
    pid_t child;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    child = bare_clone(flags); /* with no signal at its end */
    if (child == 0) {
        first_child(plan);
    }
    error = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = error;
    return child;
}

int tocsin__vpoll_mount(enum tocsin__vpoll_how how, bool in_process,
                        struct tocsin__vpoll_mount *out_mount, struct tocsin__vpoll_why *out_why)
{
    static const char *const hows[] = {"direct", "user namespace", FUSERMOUNT};
    struct plan plan = {.how = how, .in_process = in_process};
    struct report report = {.stage = STAGE_DEVICE};
    int fds[2] = {-1, -1};
    int channel[2];
    pid_t child;
    int r = make_plan(&plan);

    if (r < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
        r = r < 0 ? r : -errno;
        goto out;
    }
    plan.channel = channel[1];
    plan.table = in_process ? NULL : tocsin__vpoll_slots_make();
    errno = ENOMEM;
    child = in_process || plan.table != NULL ? make_children(&plan) : -1;
    r = child < 0 ? -errno : 0;
    close(channel[1]);
    if (r == 0) {
        r = receive_report(channel[0], &report, fds);
        while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR) {
        }
    }
    close(channel[0]);
    tocsin__vpoll_slots_free(plan.table);
    r = r == 0 ? report.error : r;
out:
    if (r <= 0) {
        r = r < 0 ? r : -EPROTO;
        tocsin__vpoll_say(out_why, "%s: %s: %s", hows[how], stage_names[report.stage],
                          strerror(-r));
        return r;
    }
    *out_mount = (struct tocsin__vpoll_mount){
        .root = tocsin__vpoll_place_high(fds[0]),
        .dev = r == 2 ? tocsin__vpoll_place_high(fds[1]) : -1,
        .server = plan.server,
    };
    return 0;
}
