/*
 * Cases, children, providers: see harness.h.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/vpoll/fuse.h"

enum {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    CASE_S = 100,
#else
    CASE_S = 30,
#endif
    MS_PER_S = 1000,
    KILLED_MS = 3000, /* how long a killed process may take to be gone */
};

const char *harness_provider;
static bool failed; /* in the process that runs */
static int case_s = CASE_S;
static char folder[] = "/tmp/tocsin-vpoll-XXXXXX";

bool harness_check(bool held, const char *expression, const char *file, int line)
{
    if (!held) {
        failed = true;
        printf("    %s:%d: not so: %s\n", file, line, expression);
        fflush(stdout);
    }
    return held;
}

bool harness_check_equal(long long got, long long wanted, const char *expression, const char *file,
                         int line)
{
    if (got != wanted) {
        failed = true;
        printf("    %s:%d: not so: %s: 0x%llx (%lld), not 0x%llx\n", file, line, expression,
               (unsigned long long)got, got, (unsigned long long)wanted);
        fflush(stdout);
    }
    return got == wanted;
}

void harness_require(bool held, const char *expression, const char *file, int line)
{
    if (!harness_check(held, expression, file, line)) {
        _exit(1);
    }
}

void harness_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("    skipped: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    _exit(HARNESS_SKIPPED);
}

/* ---- Children -------------------------------------------------------------------------------- */

pid_t harness_fork(void (*fn)(void *arg), void *arg)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        failed = false;
        fn(arg);
        fflush(stdout);
        _exit(failed ? 1 : 0);
    }
    return child;
}

void harness_join(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    CHECK_EQ(status, 0);
}

void harness_gate_open(struct harness_gate *gate)
{
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate->ends) == 0);
}

void harness_gate_signal(struct harness_gate *gate, int end)
{
    REQUIRE(send(gate->ends[end], "!", 1, MSG_NOSIGNAL) == 1);
}

void harness_gate_wait(struct harness_gate *gate, int end)
{
    char byte;
    ssize_t size;

    do {
        size = recv(gate->ends[end], &byte, 1, 0);
    } while (size < 0 && errno == EINTR);
    REQUIRE(size == 1);
}

int harness_create(uint32_t events)
{
    int fd = tocsin_vpoll_create(events, TOCSIN_VPOLL_CLOEXEC);

    if (fd < 0) {
        printf("    create: %s\n", strerror(-fd));
    }
    REQUIRE(fd >= 0);
    return fd;
}

uint32_t harness_poll(int fd)
{
    struct pollfd one = {.fd = fd, .events = (short)TOCSIN_VPOLL_ALL};

    while (poll(&one, 1, 0) < 0) {
        REQUIRE(errno == EINTR);
    }
    return (uint16_t)one.revents;
}

typedef void each_fn(pid_t pid, const char *name, void *arg);

/* Call @fn for each process whose parent is @parent, but for what is dead already. */
static void each_child(pid_t parent, each_fn *fn, void *arg)
{
    DIR *list = opendir("/proc");
    struct dirent *entry;
    char path[64];
    char name[64];
    char state;
    int its_parent;

    REQUIRE(list != NULL);
    while ((entry = readdir(list)) != NULL) {
        FILE *file;
        int pid = atoi(entry->d_name);

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        file = pid > 0 ? fopen(path, "re") : NULL;
        if (file == NULL) {
            continue;
        }
        if (fscanf(file, "%*d (%63[^)]) %c %d", name, &state, &its_parent) == 3 && state != 'Z' &&
            its_parent == parent) {
            fn(pid, name, arg);
        }
        fclose(file);
    }
    closedir(list);
}

struct servers {
    int count;
    pid_t last;
};

static void count_server(pid_t pid, const char *name, void *arg)
{
    struct servers *servers = arg;

    if (strcmp(name, "tocsin-vpoll") == 0) {
        servers->last = pid;
        servers->count++;
    }
}

int harness_servers(pid_t *out_last)
{
    struct servers servers = {0, 0};

    each_child(getppid(), count_server, &servers); /* the program adopts servers */
    *out_last = servers.last;
    return servers.count;
}

static void kill_it(pid_t pid, const char *name, void *arg)
{
    (void)arg;
    printf("    killed: %s\n", name);
    kill(pid, SIGKILL);
}

/* ---- Cases ----------------------------------------------------------------------------------- */

static int wait_for(pid_t pid, int timeout_ms, int *status)
{
    struct pollfd one = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int r = poll(&one, 1, timeout_ms);

    close(one.fd);
    return r == 1 && waitpid(pid, status, __WALL) == pid ? 0 : -ETIMEDOUT;
}

/* Wait for whatever the case orphaned: it has to end by itself.  SIGCHLD is blocked here. */
static bool all_end(void)
{
    struct timespec timeout = {.tv_sec = case_s};
    sigset_t set;
    int status;
    pid_t pid;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    do {
        pid = waitpid(-1, &status, __WALL | WNOHANG);
        if (pid == 0 && sigtimedwait(&set, NULL, &timeout) < 0 && errno == EAGAIN) {
            printf("    a process stays\n");
            each_child(getpid(), kill_it, NULL);
            return false;
        }
    } while (pid >= 0);
    return true;
}

/* Mount points are made in the program's own folder: other programs mount, too. */
static bool is_mounted(void)
{
    char line[1024];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    bool found = false;

    REQUIRE(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        found = found || strstr(line, folder) != NULL;
    }
    fclose(file);
    return found;
}

/* 0, 1 or HARNESS_SKIPPED. */
static int run_case(const struct harness_case *one, void (*before)(void))
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (before != NULL) {
            before();
        }
        one->run();
        fflush(stdout);
        _exit(failed ? 1 : 0);
    }
    if (wait_for(child, case_s * MS_PER_S, &status) < 0) {
        printf("    it hangs\n");
        kill(child, SIGKILL);
        if (wait_for(child, KILLED_MS, &status) < 0) {
            printf("    and cannot be killed\n");
            fflush(stdout);
            _exit(1);
        }
        each_child(getpid(), kill_it, NULL);
        status = 1;
    }
    if (!all_end()) {
        return 1;
    }
    if (is_mounted()) {
        printf("    something is mounted\n");
        return 1;
    }
    if (WIFSIGNALED(status)) {
        printf("    killed by signal %d\n", WTERMSIG(status));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool harness_is(const char *name)
{
    return strncmp(harness_provider, name, strlen(name)) == 0;
}

/* ---- Providers that are ours to serve -------------------------------------------------------- */

static struct tocsin__vpoll_mount injected;

static int injected_eventfd(unsigned events, int flags)
{
    struct tocsin__vpoll_identity identity = {.events = events, .set = 1};
    int fd = openat(injected.root, TOCSIN__VPOLL_FILE, O_RDWR | (flags & O_CLOEXEC));

    if (fd >= 0 && ioctl(fd, TOCSIN__VPOLL_IOC_IDENTIFY, &identity) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int injected_identify(int fd, uint64_t *out_identity)
{
    uint64_t server;

    return tocsin__vpoll_fuse_identity(fd, &server, out_identity);
}

static void inject(void)
{
    struct tocsin__vpoll_why why = {""};
    char path[64];
    int r = tocsin__vpoll_mount(TOCSIN__VPOLL_DIRECT, false, &injected, &why);

    r = r < 0 ? tocsin__vpoll_mount(TOCSIN__VPOLL_USERNS, false, &injected, &why) : r;
    r = r < 0 ? tocsin__vpoll_mount(TOCSIN__VPOLL_FUSERMOUNT, false, &injected, &why) : r;
    if (r < 0) {
        harness_skip("no FUSE file to put in its place: %s", why.text);
    }
    fcntl(injected.root, F_SETFD, 0);
    close(openat(injected.root, TOCSIN__VPOLL_FILE, O_RDWR | O_CLOEXEC));
    snprintf(path, sizeof(path), "/proc/self/fd/%d/" TOCSIN__VPOLL_FILE, injected.root);
    setenv("TOCSIN_VPOLL_DEVICE", path, 1);
    tocsin__vpoll_calls.eventfd = injected_eventfd;
    tocsin__vpoll_calls.identify = injected_identify;
}

void harness_choose(void)
{
    struct tocsin_vpoll_info info;

    if (harness_is("device") || harness_is("eventfd")) {
        inject();
    }
    if (tocsin_vpoll_info_get(&info) < 0) {
        harness_skip("%s", info.reason);
    }
    REQUIRE(strcmp(info.provider, harness_provider) == 0);
}

int harness_main(int argc, char **argv, const struct harness_case *cases, size_t cases_count,
                 void (*before)(void))
{
    unsigned passed = 0;
    unsigned failures = 0;
    unsigned skipped = 0;
    sigset_t set;

    REQUIRE(argc >= 2);
    harness_provider = argv[1];
    setenv("TOCSIN_VPOLL", harness_provider, 1);
    if (getenv("TOCSIN_VPOLL_CASE_S") != NULL) {
        case_s = atoi(getenv("TOCSIN_VPOLL_CASE_S"));
    }
    REQUIRE(mkdtemp(folder) != NULL);
    setenv("TMPDIR", folder, 1);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < cases_count; i++) {
        int status;

        if (argc > 2 && fnmatch(argv[2], cases[i].name, 0) != 0) {
            continue;
        }
        status = run_case(&cases[i], before);
        passed += status == 0;
        skipped += status == HARNESS_SKIPPED;
        failures += status != 0 && status != HARNESS_SKIPPED;
        printf("%s %s@%s\n",
               status == 0                 ? "ok"
               : status == HARNESS_SKIPPED ? "skip"
                                           : "not ok",
               cases[i].name, harness_provider);
        fflush(stdout);
    }
    if (rmdir(folder) < 0) {
        printf("not ok %s: %s\n", folder, strerror(errno)); /* a mount point was left */
        failures++;
    }
    printf("%u passed, %u failed, %u skipped\n", passed, failures, skipped);
    return failures > 0 ? 1 : passed == 0 ? HARNESS_SKIPPED : 0;
}
