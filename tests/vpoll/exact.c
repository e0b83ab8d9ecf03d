/*
 * Providers that are exact: every mask, by everything that waits, and wherever the descriptor goes.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef TOCSIN_HAVE_URING
#include <liburing.h>
#endif

#include "harness.h"

enum {
    BITS = 11,
    MASKS = 1 << BITS,
    ALL = TOCSIN_VPOLL_ALL,
    ALWAYS = TOCSIN_VPOLL_ERR | TOCSIN_VPOLL_HUP,
    MANY = 10000,
    HIGH = 900,
};

/* The mask of which @index has the bits. */
static uint32_t mask_at(unsigned index)
{
    static const uint32_t bits[BITS] = {
        TOCSIN_VPOLL_IN,     TOCSIN_VPOLL_PRI,    TOCSIN_VPOLL_OUT,    TOCSIN_VPOLL_ERR,
        TOCSIN_VPOLL_HUP,    TOCSIN_VPOLL_RDNORM, TOCSIN_VPOLL_RDBAND, TOCSIN_VPOLL_WRNORM,
        TOCSIN_VPOLL_WRBAND, TOCSIN_VPOLL_MSG,    TOCSIN_VPOLL_RDHUP,
    };
    uint32_t mask = 0;

    for (int i = 0; i < BITS; i++) {
        mask |= (index >> i & 1) != 0 ? bits[i] : 0;
    }
    return mask;
}

static void set(int fd, uint32_t events)
{
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, events), 0);
}

static int epoll_with(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    REQUIRE(epoll >= 0);
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return epoll;
}

/* What epoll reports now; 0: nothing. */
static uint32_t reported(int epoll)
{
    struct epoll_event event = {0};
    int count = epoll_wait(epoll, &event, 1, 0);

    REQUIRE(count >= 0);
    return count == 1 ? event.events : 0;
}

/* ---- All masks ------------------------------------------------------------------------------- */

static void all_masks_by_poll(void)
{
    int fd = harness_create(0);

    for (unsigned i = 0; i < MASKS; i++) {
        set(fd, mask_at(i));
        CHECK_EQ(harness_poll(fd), mask_at(i));
    }
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void all_masks_by_select(void)
{
    const uint32_t reads = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_RDNORM | TOCSIN_VPOLL_RDBAND | ALWAYS;
    const uint32_t writes =
        TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_WRNORM | TOCSIN_VPOLL_WRBAND | TOCSIN_VPOLL_ERR;
    int fd = harness_create(0);
    struct timeval now = {0};
    fd_set sets[3];

    for (unsigned i = 0; i < MASKS; i++) {
        set(fd, mask_at(i));
        for (int j = 0; j < 3; j++) {
            FD_ZERO(&sets[j]);
            FD_SET(fd, &sets[j]);
        }
        REQUIRE(select(fd + 1, &sets[0], &sets[1], &sets[2], &now) >= 0);
        CHECK_EQ(FD_ISSET(fd, &sets[0]) != 0, (mask_at(i) & reads) != 0);
        CHECK_EQ(FD_ISSET(fd, &sets[1]) != 0, (mask_at(i) & writes) != 0);
        CHECK_EQ(FD_ISSET(fd, &sets[2]) != 0, (mask_at(i) & TOCSIN_VPOLL_PRI) != 0);
    }
}

static void all_masks_by_level_triggered_epoll(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd, ALL);

    for (unsigned i = 0; i < MASKS; i++) {
        set(fd, mask_at(i));
        CHECK_EQ(reported(epoll), mask_at(i));
        CHECK_EQ(reported(epoll), mask_at(i));
    }
}

static void all_masks_by_edge_triggered_epoll(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd, ALL | EPOLLET);

    for (unsigned i = 0; i < MASKS; i++) {
        set(fd, mask_at(i));
        CHECK_EQ(reported(epoll), mask_at(i));
        CHECK_EQ(reported(epoll), 0);
    }
}

static void all_masks_by_one_shot_epoll(void)
{
    struct epoll_event again = {.events = ALL | EPOLLONESHOT};
    int fd = harness_create(0);
    int epoll = epoll_with(fd, ALL | EPOLLONESHOT);

    for (unsigned i = 1; i < MASKS; i++) {
        set(fd, mask_at(i));
        CHECK_EQ(reported(epoll), mask_at(i));
        set(fd, mask_at(i));
        CHECK_EQ(reported(epoll), 0);
        set(fd, 0);
        REQUIRE(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &again) == 0);
    }
}

static void all_masks_by_io_uring(void)
{
#ifdef TOCSIN_HAVE_URING
    int fd = harness_create(0);
    struct io_uring_cqe *cqe;
    struct io_uring ring;
    int r = io_uring_queue_init(4, &ring, 0);

    if (r < 0) {
        harness_skip("io_uring: %s", strerror(-r));
    }
    for (unsigned i = 1; i < MASKS; i++) {
        set(fd, i % 2 != 0 ? mask_at(i) : 0); /* true before the poll, or after it */
        io_uring_prep_poll_add(io_uring_get_sqe(&ring), fd, ALL);
        REQUIRE(io_uring_submit(&ring) == 1);
        set(fd, mask_at(i));
        REQUIRE(io_uring_wait_cqe(&ring, &cqe) == 0);
        CHECK_EQ(cqe->res, mask_at(i));
        io_uring_cqe_seen(&ring, cqe);
    }
    io_uring_queue_exit(&ring);
#else
    harness_skip("built without liburing");
#endif
}

static void interest_picks_events(void)
{
    static const uint32_t interests[] = {TOCSIN_VPOLL_IN, TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_PRI,
                                         TOCSIN_VPOLL_RDHUP, TOCSIN_VPOLL_MSG};
    int fd = harness_create(0);

    for (size_t j = 0; j < sizeof(interests) / sizeof(interests[0]); j++) {
        int epoll = epoll_with(fd, interests[j] | EPOLLET);

        for (unsigned i = 0; i < MASKS; i++) {
            set(fd, mask_at(i));
            CHECK_EQ(reported(epoll), mask_at(i) & (interests[j] | ALWAYS));
        }
        close(epoll);
    }
}

/* ---- The edge rule --------------------------------------------------------------------------- */

static void each_ctl_that_leaves_an_event_is_an_edge(void)
{
    int fd = harness_create(TOCSIN_VPOLL_OUT);
    int epoll = epoll_with(fd, ALL | EPOLLET);

    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_OUT); /* what is true already */
    CHECK_EQ(reported(epoll), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 0), 0);
    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_PRI), 0);
    CHECK_EQ(reported(epoll), TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(reported(epoll), 0);
}

static void ctls_before_the_wait_are_one(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd, ALL | EPOLLET);

    for (int i = 0; i < 10; i++) {
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 1u << (i % 3)), 0);
    }
    CHECK_EQ(reported(epoll), 7);
    CHECK_EQ(reported(epoll), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_HUP), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, 0), 0);
    CHECK_EQ(reported(epoll), 0);
}

static void add_later(void *arg)
{
    CHECK_EQ(tocsin_vpoll_ctl(*(int *)arg, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_PRI), 0);
}

static void waiters_of_all_kinds_are_woken(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd, EPOLLPRI | EPOLLET);
    struct pollfd one = {.fd = fd, .events = POLLPRI};
    struct epoll_event event;
    fd_set except;
    pid_t child;

    for (int round = 0; round < 20; round++) {
        child = harness_fork(add_later, &fd);
        CHECK_EQ(epoll_wait(epoll, &event, 1, -1), 1);
        CHECK_EQ(event.events, TOCSIN_VPOLL_PRI);
        harness_join(child);
        set(fd, 0);
        child = harness_fork(add_later, &fd);
        CHECK_EQ(poll(&one, 1, -1), 1);
        harness_join(child);
        set(fd, 0);
        child = harness_fork(add_later, &fd);
        FD_ZERO(&except);
        FD_SET(fd, &except);
        CHECK_EQ(select(fd + 1, NULL, NULL, &except, NULL), 1);
        harness_join(child);
        set(fd, 0);
        reported(epoll);
    }
}

/* ---- Wherever the descriptor goes ------------------------------------------------------------ */

static void descriptors_are_apart(void)
{
    int fds[16];

    for (unsigned i = 0; i < 16; i++) {
        fds[i] = harness_create(mask_at(i * 127));
    }
    for (unsigned i = 0; i < 16; i++) {
        CHECK_EQ(harness_poll(fds[i]), mask_at(i * 127));
    }
    set(fds[3], TOCSIN_VPOLL_MSG);
    for (unsigned i = 0; i < 16; i++) {
        CHECK_EQ(harness_poll(fds[i]), i == 3 ? TOCSIN_VPOLL_MSG : mask_at(i * 127));
        CHECK_EQ(tocsin_vpoll_close(fds[i]), 0);
    }
}

static void forked_child(void *arg)
{
    int fd = *(int *)arg;
    int own = harness_create(TOCSIN_VPOLL_IN);

    set(fd, TOCSIN_VPOLL_RDHUP);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_RDHUP);
    CHECK_EQ(harness_poll(own), TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_close(own), 0);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void ctl_works_in_a_forked_child(void)
{
    int fd = harness_create(0);

    harness_join(harness_fork(forked_child, &fd));
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_RDHUP);
    set(fd, TOCSIN_VPOLL_IN);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_IN);
}

static void exec_ctl(void *arg)
{
    char number[12];

    fcntl(*(int *)arg, F_SETFD, 0);
    snprintf(number, sizeof(number), "%d", *(int *)arg);
    execl("/proc/self/exe", "exact", "--ctl", number, (char *)NULL);
    _exit(1);
}

static void ctl_works_after_exec(void)
{
    int fd = harness_create(TOCSIN_VPOLL_OUT);

    if (harness_is("eventfd")) {
        harness_skip("an eventfd does not tell whose it is");
    }
    harness_join(harness_fork(exec_ctl, &fd));
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_WRBAND);
}

static int ctl_after_exec(int fd)
{
    int r = tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_WRBAND);

    return r == 0 && tocsin_vpoll_close(fd) == 0 && fcntl(fd, F_GETFD) < 0 ? 0 : 1;
}

static void ctl_works_on_a_dup(void)
{
    int fd = harness_create(0);
    int other = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);

    REQUIRE(other >= HIGH);
    set(other, TOCSIN_VPOLL_ERR);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_ERR);
    close(fd);
    set(other, TOCSIN_VPOLL_RDBAND);
    CHECK_EQ(harness_poll(other), TOCSIN_VPOLL_RDBAND);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 1), -EBADF);
}

static void send_fd(int socket, int fd)
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

static void stranger(void *arg)
{
    int socket = *(int *)arg;
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
    set(fd, TOCSIN_VPOLL_HUP | TOCSIN_VPOLL_MSG);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void ctl_works_where_it_was_passed_to(void)
{
    int pair[2];
    pid_t child;
    int fd;

    if (harness_is("eventfd")) {
        harness_skip("an eventfd does not tell whose it is");
    }
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    child = harness_fork(stranger, &pair[1]); /* it has made no vpoll descriptor, and has none */
    fd = harness_create(0);
    send_fd(pair[0], fd);
    harness_join(child);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_HUP | TOCSIN_VPOLL_MSG);
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void plain_close_is_safe(void)
{
    int pipes[2];
    int fd;
    int next;

    for (int i = 0; i < 100; i++) {
        fd = harness_create(TOCSIN_VPOLL_IN);
        close(fd);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 1), -EBADF);
        CHECK_EQ(tocsin_vpoll_close(fd), -EBADF);
        /* The number becomes a stranger's: nothing is written to it, nor is it closed. */
        REQUIRE(pipe(pipes) == 0);
        CHECK_EQ(pipes[0], fd);
        CHECK_EQ(tocsin_vpoll_ctl(pipes[0], TOCSIN_VPOLL_ADD, 1), -ENOTTY);
        CHECK_EQ(tocsin_vpoll_ctl(pipes[1], TOCSIN_VPOLL_ADD, 1), -ENOTTY);
        CHECK_EQ(tocsin_vpoll_close(pipes[1]), -ENOTTY);
        CHECK_EQ(harness_poll(pipes[0]), 0);
        close(pipes[0]);
        close(pipes[1]);
        /* And again one of ours: none of the old one's events. */
        next = harness_create(0);
        CHECK_EQ(next, fd);
        CHECK_EQ(harness_poll(next), 0);
        CHECK_EQ(tocsin_vpoll_close(next), 0);
    }
}

static void close_it(void *arg)
{
    int *fds = arg;

    CHECK_EQ(tocsin_vpoll_close(fds[0]), 0);
    set(fds[1], TOCSIN_VPOLL_IN);
}

static void closed_while_it_is_polled(void)
{
    int fds[2] = {harness_create(0), harness_create(0)};
    struct pollfd polled[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
    int epoll = epoll_with(fds[0], ALL);
    struct epoll_event event = {.events = EPOLLIN};
    pid_t child;

    /* In another process, and here while epoll has it. */
    child = harness_fork(close_it, fds);
    CHECK_EQ(poll(polled, 2, -1), 1);
    CHECK_EQ(polled[0].revents, 0);
    harness_join(child);
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[1], &event) == 0);
    CHECK_EQ(tocsin_vpoll_close(fds[0]), 0);
    CHECK_EQ(epoll_wait(epoll, &event, 1, -1), 1);
    CHECK_EQ(event.events, EPOLLIN);
}

static void ten_thousand(void)
{
    struct rlimit limit = {.rlim_cur = MANY + 200, .rlim_max = MANY + 200};
    struct epoll_event event = {.events = ALL | EPOLLET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    static int fds[MANY];
    unsigned seen = 0;

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        struct rlimit now;

        REQUIRE(getrlimit(RLIMIT_NOFILE, &now) == 0);
        now.rlim_cur = now.rlim_max;
        setrlimit(RLIMIT_NOFILE, &now);
        if (now.rlim_max < limit.rlim_cur) {
            harness_skip("this user may have %llu descriptors", (unsigned long long)now.rlim_max);
        }
    }
    for (int i = 0; i < MANY; i++) {
        fds[i] = harness_create(0);
        event.data.u32 = (uint32_t)i;
        REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
    }
    for (unsigned i = 0; i < MANY; i += 100) {
        set(fds[i], mask_at(1 + i % (MASKS - 1)));
    }
    while (epoll_wait(epoll, &event, 1, 0) == 1) {
        CHECK_EQ(event.data.u32 % 100, 0);
        CHECK_EQ(event.events, mask_at(1 + event.data.u32 % (MASKS - 1)));
        seen++;
    }
    CHECK_EQ(seen, MANY / 100);
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void misuse_is_refused(void)
{
    int fd = harness_create(TOCSIN_VPOLL_IN);
    int flags = fcntl(fd, F_GETFD);
    int plain = tocsin_vpoll_create(0, 0);
    int strict = tocsin_vpoll_create(ALL, TOCSIN_VPOLL_STRICT);

    CHECK_EQ(flags & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_EQ(fcntl(plain, F_GETFD) & FD_CLOEXEC, 0);
    CHECK_EQ(harness_poll(strict), ALL);
    CHECK_EQ(tocsin_vpoll_create(0, 2), -EINVAL);
    CHECK_EQ(tocsin_vpoll_create(0x800, 0), -EINVAL);
    CHECK_EQ(tocsin_vpoll_ctl(fd, (enum tocsin_vpoll_op)0, 1), -EINVAL);
    CHECK_EQ(tocsin_vpoll_ctl(fd, (enum tocsin_vpoll_op)4, 1), -EINVAL);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 0x20), -EINVAL);
    CHECK_EQ(tocsin_vpoll_ctl(-1, TOCSIN_VPOLL_ADD, 1), -EBADF);
    CHECK_EQ(tocsin_vpoll_close(-1), -EBADF);
    CHECK_EQ(harness_poll(fd), TOCSIN_VPOLL_IN);
}

static void no_descriptor_is_left_is_said(void)
{
    struct rlimit limit;
    int fd = harness_create(0);
    int last;

    CHECK_EQ(tocsin_vpoll_close(fd), 0);
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)fd + 1;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    last = harness_create(TOCSIN_VPOLL_OUT);
    CHECK_EQ(last, fd);
    CHECK_EQ(tocsin_vpoll_create(0, 0), -EMFILE);
    CHECK_EQ(harness_poll(last), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_close(last), 0);
    CHECK_EQ(tocsin_vpoll_close(harness_create(TOCSIN_VPOLL_OUT)), 0);
}

static const struct harness_case cases[] = {
    CASE(all_masks_by_poll),
    CASE(all_masks_by_select),
    CASE(all_masks_by_level_triggered_epoll),
    CASE(all_masks_by_edge_triggered_epoll),
    CASE(all_masks_by_one_shot_epoll),
    CASE(all_masks_by_io_uring),
    CASE(interest_picks_events),
    CASE(each_ctl_that_leaves_an_event_is_an_edge),
    CASE(ctls_before_the_wait_are_one),
    CASE(waiters_of_all_kinds_are_woken),
    CASE(descriptors_are_apart),
    CASE(ctl_works_in_a_forked_child),
    CASE(ctl_works_after_exec),
    CASE(ctl_works_on_a_dup),
    CASE(ctl_works_where_it_was_passed_to),
    CASE(plain_close_is_safe),
    CASE(closed_while_it_is_polled),
    CASE(ten_thousand),
    CASE(misuse_is_refused),
    CASE(no_descriptor_is_left_is_said),
};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--ctl") == 0) {
        return ctl_after_exec(atoi(argv[2]));
    }
    return harness_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]), harness_choose);
}
