/*
 * What FUSE brings with it, one case for each hazard of docs/VPOLL.md: whoever dies, forks, execs,
 * stops or changes its user, nobody hangs and nothing stays.
 *
 * "fuse" is served by a process of its own, which outlives the creator; "fuse-thread" by a thread,
 * which does not.  That nothing is mounted and no process stays, the harness checks after each.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <grp.h>

#include "harness.h"

enum {
    NOBODY = 65534,
    FUSE_MAJOR = 10,
    FUSE_MINOR = 229,
    THREADS = 4,
    PER_THREAD = 50,
    LOW_NUMBERS = 256,
};

static bool is_thread(void)
{
    return harness_is("fuse-thread");
}

static void set(int fd, uint32_t events)
{
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, events), 0);
}

/* ---- Creators that end ----------------------------------------------------------------------- */

/* A creator: sends a descriptor, says that it is there, and lives until it is killed. */
struct creator {
    int pair[2];
    struct harness_gate gate;
    bool forks; /* its child lives on */
    bool execs;
    pid_t pid;
    int fd; /* in the case */
};

static void send_descriptor(int socket, int fd)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {{0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    REQUIRE(sendmsg(socket, &message, 0) == 1);
}

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
    int fd;

    REQUIRE(recvmsg(socket, &message, 0) == 1);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    return fd;
}

static void wait_at_the_gate(void *arg)
{
    harness_gate_wait(arg, 1);
}

static void creator_main(void *arg)
{
    struct creator *creator = arg;

    harness_choose();
    send_descriptor(creator->pair[1], harness_create(TOCSIN_VPOLL_OUT));
    if (creator->forks) {
        harness_fork(wait_at_the_gate, &creator->gate);
    }
    send(creator->pair[1], "!", 1, 0);
    if (creator->execs) {
        execl("/bin/sh", "sh", "-c", "read line", (char *)NULL);
        _exit(1);
    }
    pause();
}

static void creator_start(struct creator *creator)
{
    char byte;

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, creator->pair) == 0);
    harness_gate_open(&creator->gate);
    creator->pid = harness_fork(creator_main, creator);
    creator->fd = receive_descriptor(creator->pair[0]);
    REQUIRE(recv(creator->pair[0], &byte, 1, 0) == 1);
}

static void creator_kill(struct creator *creator)
{
    int status;

    kill(creator->pid, SIGKILL);
    REQUIRE(waitpid(creator->pid, &status, 0) == creator->pid);
}

static void poll_until_told(void *arg)
{
    struct pollfd one = {.fd = *(int *)arg, .events = POLLIN};

    CHECK_EQ(poll(&one, 1, -1), 1);
    CHECK_EQ(one.revents, is_thread() ? POLLERR : POLLIN);
}

/* With the server gone: told, not blocked. */
static void check_gone(int fd)
{
    CHECK_EQ(harness_poll(fd) & TOCSIN_VPOLL_ERR, TOCSIN_VPOLL_ERR);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), -ENOTCONN);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

static void check_after_the_creator(struct creator *creator)
{
    if (is_thread()) {
        check_gone(creator->fd);
    } else {
        CHECK_EQ(harness_poll(creator->fd), TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_IN);
        CHECK_EQ(tocsin_vpoll_close(creator->fd), 0);
    }
}

static void killed_creator_leaves_nobody_hanging(void)
{
    struct creator creator = {.forks = false};
    pid_t poller;

    creator_start(&creator);
    poller = harness_fork(poll_until_told, &creator.fd);
    creator_kill(&creator);
    if (!is_thread()) {
        CHECK_EQ(tocsin_vpoll_ctl(creator.fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    }
    harness_join(poller);
    check_after_the_creator(&creator);
}

/* H2: the creator's forked child, alive, must not look like a server. */
static void forked_child_of_a_killed_creator_serves_nobody(void)
{
    struct creator creator = {.forks = true};
    pid_t poller;

    creator_start(&creator);
    poller = harness_fork(poll_until_told, &creator.fd);
    creator_kill(&creator);
    if (!is_thread()) {
        CHECK_EQ(tocsin_vpoll_ctl(creator.fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    }
    harness_join(poller);
    check_after_the_creator(&creator);
    harness_gate_signal(&creator.gate, 0);
}

/* H3 */
static void creator_that_execs_leaves_nobody_hanging(void)
{
    struct creator creator = {.execs = true};
    pid_t poller;

    creator_start(&creator);
    poller = harness_fork(poll_until_told, &creator.fd);
    if (!is_thread()) {
        CHECK_EQ(tocsin_vpoll_ctl(creator.fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    }
    harness_join(poller);
    check_after_the_creator(&creator);
    kill(creator.pid, SIGKILL);
    waitpid(creator.pid, NULL, 0);
}

/* ---- H1: ends with descriptors open ---------------------------------------------------------- */

static void create_some(void)
{
    harness_choose();
    for (int i = 0; i < 20; i++) {
        int fd = tocsin_vpoll_create(TOCSIN_VPOLL_IN, 0);

        REQUIRE(fd >= 0);
        set(fd, TOCSIN_VPOLL_OUT);
        CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_OUT); /* none is closed before the end */
    }
}

static void end_by_exit(void *arg)
{
    (void)arg;
    create_some();
    fflush(stdout);
    _exit(0);
}

static void end_by_exec(void *arg)
{
    (void)arg;
    create_some();
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void end_by_kill(void *arg)
{
    harness_gate_wait(arg, 1);
    create_some();
    harness_gate_signal(arg, 1);
    pause();
}

static void ends_with_open_descriptors(void)
{
    struct harness_gate gate;
    pid_t child;
    int status;

    for (int i = 0; i < 5; i++) {
        harness_join(harness_fork(end_by_exit, NULL));
        harness_join(harness_fork(end_by_exec, NULL));
        harness_gate_open(&gate);
        child = harness_fork(end_by_kill, &gate);
        harness_gate_signal(&gate, 0);
        harness_gate_wait(&gate, 0);
        kill(child, SIGKILL);
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK_EQ(WTERMSIG(status), SIGKILL);
    }
}

/* ---- The server ------------------------------------------------------------------------------ */

static void killed_server_is_told_and_replaced(void)
{
    pid_t server = 0;
    int fd;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};

    harness_choose();
    if (is_thread()) {
        harness_skip("the server is a thread");
    }
    fd = harness_create(0);
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK_EQ(harness_servers(&server), 1);
    kill(server, SIGKILL);
    CHECK_EQ(epoll_wait(epoll, &event, 1, -1), 1);
    CHECK_EQ(event.events & EPOLLERR, EPOLLERR);
    check_gone(fd);

    fd = harness_create(TOCSIN_VPOLL_PRI);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_PRI);
    set(fd, TOCSIN_VPOLL_HUP);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_HUP);
    CHECK_EQ(harness_servers(&server), 1);
}

static void ctl_and_poll(void *arg)
{
    set(*(int *)arg, TOCSIN_VPOLL_MSG);
    CHECK_EQ(harness_poll(*(int *)arg), TOCSIN_VPOLL_MSG);
}

/* H4 */
static void stopped_server_goes_on(void)
{
    pid_t server = 0;
    pid_t child;
    int status;
    int fd;

    harness_choose();
    if (is_thread()) {
        harness_skip("the server is a thread");
    }
    fd = harness_create(0);
    CHECK_EQ(harness_servers(&server), 1);
    kill(server, SIGSTOP);
    child = harness_fork(ctl_and_poll, &fd);
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0); /* it needs the server, which is stopped */
    kill(server, SIGCONT);
    harness_join(child);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_MSG);
}

static void helper_is_nobodys_child_and_holds_nothing(void)
{
    sigset_t pending;
    int status;
    int pipes[2];
    char byte;
    int fd;

    REQUIRE(pipe(pipes) == 0);
    harness_choose();
    fd = harness_create(0);
    CHECK_EQ(waitpid(-1, &status, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGCHLD));
    close(pipes[1]);
    CHECK_EQ(read(pipes[0], &byte, 1), 0); /* nobody else has the other end */
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

/* ---- The program around it ------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;
static volatile sig_atomic_t strays;
static pid_t main_thread;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
    strays += (pid_t)syscall(SYS_gettid) != main_thread;
}

/* H5 */
static void signals_disturb_nothing(void)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* and no SA_RESTART */
    const struct itimerval often = {{0, 200}, {0, 200}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    pid_t server;
    int fd;

    main_thread = (pid_t)syscall(SYS_gettid);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    harness_choose();
    fd = harness_create(0);
    while (alarms < 200) {
        set(fd, TOCSIN_VPOLL_IN);
        CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_IN);
        set(fd, 0);
        CHECK_EQ(harness_poll(fd), 0);
        CHECK_EQ(tocsin_vpoll_close(harness_create(0)), 0);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    if (!is_thread()) {
        CHECK_EQ(harness_servers(&server), 1); /* no create took its end for the server's */
    }
    CHECK_EQ(strays, 0);
}

/* H6 */
static void low_numbers_may_all_be_closed(void)
{
    pid_t server = 0;
    pid_t other = 0;
    int fd;

    harness_choose();
    close(harness_create(0));
    if (!is_thread()) {
        CHECK_EQ(harness_servers(&server), 1);
    }
    for (int i = 3; i < LOW_NUMBERS; i++) {
        close(i);
    }
    fd = harness_create(TOCSIN_VPOLL_IN);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_IN);
    if (is_thread()) {
        return;
    }
    CHECK_EQ(harness_servers(&other), 1);
    CHECK_EQ(server, other);
    /* And the high ones: the next create mounts anew, the older descriptors work on. */
    syscall(SYS_close_range, fd + 1, ~0U, 0);
    REQUIRE(open("/dev/null", O_RDONLY) >= 0);
    other = harness_create(TOCSIN_VPOLL_PRI);
    CHECK_EQ(harness_poll(other), TOCSIN_VPOLL_PRI);
    set(fd, TOCSIN_VPOLL_HUP);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_HUP);
}

static void become_nobody(void)
{
    REQUIRE(setgroups(0, NULL) == 0);
    REQUIRE(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    REQUIRE(setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

static void ctl_as_nobody(void *arg)
{
    int fd = *(int *)arg;
    int count = eventfd(0, EFD_NONBLOCK);
    uint64_t value;

    become_nobody();
    set(fd, TOCSIN_VPOLL_RDBAND);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_RDBAND);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_RDBAND), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_HUP), 0);
    CHECK_EQ(tocsin_vpoll_ctl(count, TOCSIN_VPOLL_ADD, 1), -ENOTTY);
    CHECK_EQ(read(count, &value, sizeof(value)), -1);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

/* H7 */
static void ctl_works_after_setuid(void)
{
    int fd;

    if (geteuid() != 0) {
        harness_skip("not root");
    }
    harness_choose();
    fd = harness_create(0);
    harness_join(harness_fork(ctl_as_nobody, &fd));
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_HUP);
}

/* H8 */
static void strangers_are_left_alone(void)
{
    char name[] = "/tmp/tocsin-stranger-XXXXXX";
    int fds[6];
    struct stat status;
    uint64_t value;

    harness_choose();
    harness_create(0);
    fds[0] = eventfd(0, EFD_NONBLOCK);
    fds[1] = mkstemp(name);
    fds[2] = open("/dev/null", O_RDWR);
    fds[3] = epoll_create1(0);
    fds[4] = socket(AF_UNIX, SOCK_STREAM, 0);
    fds[5] = open("/", O_RDONLY | O_DIRECTORY);
    unlink(name);
    for (int i = 0; i < 6; i++) {
        REQUIRE(fds[i] >= 0);
        for (int op = TOCSIN_VPOLL_ADD; op <= TOCSIN_VPOLL_SET; op++) {
            CHECK_EQ(tocsin_vpoll_ctl(fds[i], (enum tocsin_vpoll_op)op, 1), -ENOTTY);
        }
        CHECK_EQ(tocsin_vpoll_close(fds[i]), -ENOTTY);
        CHECK(fcntl(fds[i], F_GETFD) >= 0);
    }
    CHECK_EQ(read(fds[0], &value, sizeof(value)), -1);
    REQUIRE(fstat(fds[1], &status) == 0);
    CHECK_EQ(status.st_size, 0);
}

static void *create_in_a_thread(void *arg)
{
    uint32_t events = *(uint32_t *)arg;

    for (int i = 0; i < PER_THREAD; i++) {
        int fd = harness_create(events);

        CHECK_EQ(harness_poll(fd), events);
        set(fd, events << 1);
        CHECK_EQ(harness_poll(fd), events << 1);
        CHECK_EQ(tocsin_vpoll_close(fd), 0);
    }
    return NULL;
}

static void threads_create_at_once(void)
{
    uint32_t events[THREADS] = {TOCSIN_VPOLL_IN, TOCSIN_VPOLL_PRI, TOCSIN_VPOLL_OUT,
                                TOCSIN_VPOLL_ERR};
    pthread_t threads[THREADS];
    pid_t server;

    if (harness_is("fuse-thread")) {
        harness_choose(); /* says whether to skip */
    }
    for (int i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, create_in_a_thread, &events[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    if (!is_thread()) {
        CHECK_EQ(harness_servers(&server), 1); /* found out once */
    }
}

static atomic_bool busy_ends;

/* Takes what locks the C library has, and gives them back, all the time. */
static void *be_busy(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&busy_ends, memory_order_relaxed)) {
        FILE *file = fopen("/dev/null", "re");
        void *memory = malloc(5000);

        fprintf(file, "%p", memory);
        free(memory);
        fclose(file);
    }
    return NULL;
}

static void create_among_busy_threads(void *arg)
{
    pthread_t threads[2];
    int fd;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, be_busy, NULL) == 0);
    }
    harness_choose();
    fd = harness_create(TOCSIN_VPOLL_IN);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_IN);
    atomic_store_explicit(&busy_ends, true, memory_order_relaxed);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* H5: the helper begins as a copy of a program whose threads are anywhere. */
static void threads_may_hold_any_lock(void)
{
    int status = 0;

    for (int i = 0; i < 20; i++) {
        REQUIRE(waitpid(harness_fork(create_among_busy_threads, NULL), &status, 0) > 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == HARNESS_SKIPPED) {
            _exit(HARNESS_SKIPPED);
        }
        CHECK_EQ(status, 0);
    }
}

/* ---- Users ----------------------------------------------------------------------------------- */

static void as_an_ordinary_user(void *arg)
{
    struct tocsin_vpoll_info info;
    int fd;

    become_nobody();
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as after the exec that would be between */
    setenv("TOCSIN_VPOLL_FUSE", arg, 1);
    if (tocsin_vpoll_info_get(&info) < 0) {
        harness_skip("%s", info.reason);
    }
    fd = harness_create(TOCSIN_VPOLL_PRI);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_PRI);
    set(fd, TOCSIN_VPOLL_RDHUP);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_RDHUP);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void ordinary_user_needs_but_the_device(void)
{
    char folder[] = "/tmp/tocsin-device-XXXXXX";
    char path[64];
    int status = 0;
    int fd;

    if (geteuid() != 0) {
        harness_choose(); /* it is what all the other cases show */
        return;
    }
    if (harness_is("fuse-fusermount")) {
        harness_skip("fusermount3 opens /dev/fuse as the user, which here is root's alone");
    }
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(chmod(folder, 0755) == 0);
    snprintf(path, sizeof(path), "%s/fuse", folder);
    if (mknod(path, S_IFCHR | 0666, makedev(FUSE_MAJOR, FUSE_MINOR)) < 0 || chmod(path, 0666) < 0 ||
        (fd = open(path, O_RDWR | O_CLOEXEC)) < 0) {
        int error = errno;

        unlink(path);
        rmdir(folder);
        harness_skip("a device node of its own: %s", strerror(error));
    }
    close(fd);
    REQUIRE(waitpid(harness_fork(as_an_ordinary_user, path), &status, 0) > 0);
    unlink(path);
    rmdir(folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == HARNESS_SKIPPED) {
        _exit(HARNESS_SKIPPED); /* no user namespaces here: it has said so */
    }
    CHECK_EQ(status, 0);
}

static const struct harness_case cases[] = {
    CASE(killed_creator_leaves_nobody_hanging),
    CASE(forked_child_of_a_killed_creator_serves_nobody),
    CASE(creator_that_execs_leaves_nobody_hanging),
    CASE(ends_with_open_descriptors),
    CASE(killed_server_is_told_and_replaced),
    CASE(stopped_server_goes_on),
    CASE(helper_is_nobodys_child_and_holds_nothing),
    CASE(signals_disturb_nothing),
    CASE(low_numbers_may_all_be_closed),
    CASE(ctl_works_after_setuid),
    CASE(strangers_are_left_alone),
    CASE(threads_create_at_once),
    CASE(threads_may_hold_any_lock),
    CASE(ordinary_user_needs_but_the_device),
};

int main(int argc, char **argv)
{
    return harness_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
