/*
 * The emulations: every transition from any mask to any other that they can show, and their edges.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

enum {
    SHOWN = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_PRI | TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_ERR |
            TOCSIN_VPOLL_HUP | TOCSIN_VPOLL_RDHUP,
    BITS = 3,
    MASKS = 1 << BITS,
    HIGH = 900,
};

static bool is_stream(void)
{
    return harness_is("stream");
}

/* The masks that a provider can go to and come back from. */
static uint32_t mask_at(unsigned index)
{
    const uint32_t bits[BITS] = {TOCSIN_VPOLL_IN, TOCSIN_VPOLL_OUT,
                                 is_stream() ? TOCSIN_VPOLL_PRI : TOCSIN_VPOLL_ERR};
    uint32_t mask = 0;

    for (int i = 0; i < BITS; i++) {
        mask |= (index >> i & 1) != 0 ? bits[i] : 0;
    }
    return mask;
}

/* What is to be seen of @events: an urgent byte is a byte. */
static uint32_t shown(uint32_t events)
{
    if (is_stream() && (events & TOCSIN_VPOLL_PRI) != 0) {
        events |= TOCSIN_VPOLL_IN;
    }
    return events;
}

static uint32_t seen(int fd)
{
    return harness_poll(fd) & SHOWN;
}

static void set(int fd, uint32_t events)
{
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, events), 0);
}

static int epoll_with(int fd)
{
    struct epoll_event event = {.events = SHOWN | EPOLLET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    REQUIRE(epoll >= 0);
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return epoll;
}

static uint32_t reported(int epoll)
{
    struct epoll_event event = {0};
    int count = epoll_wait(epoll, &event, 1, 0);

    REQUIRE(count >= 0);
    return count == 1 ? event.events : 0;
}

/* ---- Transitions ----------------------------------------------------------------------------- */

static void every_mask_from_every_mask(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd);

    for (unsigned from = 0; from < MASKS; from++) {
        for (unsigned to = 0; to < MASKS; to++) {
            set(fd, mask_at(from));
            CHECK_EQ(seen(fd), shown(mask_at(from)));
            CHECK_EQ(reported(epoll), shown(mask_at(from)));
            set(fd, mask_at(to));
            CHECK_EQ(seen(fd), shown(mask_at(to)));
            CHECK_EQ(reported(epoll), shown(mask_at(to)));
            CHECK_EQ(reported(epoll), 0);
        }
    }
}

static void every_add_and_del(void)
{
    int fd = harness_create(0);

    for (unsigned from = 0; from < MASKS; from++) {
        for (unsigned with = 0; with < MASKS; with++) {
            set(fd, mask_at(from));
            CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, mask_at(with)), 0);
            CHECK_EQ(seen(fd), shown(mask_at(from | with)));
            CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, mask_at(with)), 0);
            CHECK_EQ(seen(fd), shown(mask_at(from & ~with)));
        }
    }
}

static void every_mask_at_the_start(void)
{
    for (unsigned i = 0; i < MASKS; i++) {
        int fd = harness_create(mask_at(i));

        CHECK_EQ(seen(fd), shown(mask_at(i)));
        CHECK_EQ(tocsin_vpoll_close(fd), 0);
    }
}

static void nothing_is_counted(void)
{
    int fd = harness_create(0);

    for (int i = 0; i < 10; i++) {
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
    }
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(seen(fd), TOCSIN_VPOLL_OUT);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT), 0);
    }
    CHECK_EQ(seen(fd), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(seen(fd), TOCSIN_VPOLL_OUT);
}

static void each_ctl_is_an_edge(void)
{
    int fd = harness_create(0);
    int epoll = epoll_with(fd);

    for (unsigned i = 1; i < MASKS; i++) {
        set(fd, mask_at(i));
        CHECK_EQ(reported(epoll), shown(mask_at(i)));
        for (int again = 0; again < 3; again++) {
            CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, again == 0 ? 0 : mask_at(i)), 0);
            CHECK_EQ(reported(epoll), shown(mask_at(i)));
            CHECK_EQ(reported(epoll), 0);
        }
    }
    set(fd, 0);
    CHECK_EQ(reported(epoll), 0);
    set(fd, TOCSIN_VPOLL_IN);
    set(fd, 0);
    CHECK_EQ(reported(epoll), 0); /* set and taken back */
}

static void ends_are_final(void)
{
    const uint32_t gone = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_RDHUP | TOCSIN_VPOLL_HUP;

    if (!is_stream()) {
        harness_skip("it shows no ends");
    }
    for (unsigned from = 0; from < MASKS; from++) {
        int fd = harness_create(mask_at(from));
        int epoll = epoll_with(fd);
        uint32_t out = mask_at(from) & TOCSIN_VPOLL_OUT;
        uint32_t urgent = mask_at(from) & TOCSIN_VPOLL_PRI;

        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_RDHUP), 0);
        CHECK_EQ(seen(fd), TOCSIN_VPOLL_IN | TOCSIN_VPOLL_RDHUP | out | urgent);
        reported(epoll);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_HUP), 0);
        CHECK_EQ(seen(fd), gone | out | urgent);
        CHECK_EQ(reported(epoll), gone | out | urgent);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, gone), 0);
        CHECK_EQ(seen(fd) & gone, gone);
        /* What can still be changed is. */
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
        CHECK_EQ(seen(fd) & ~urgent, gone | TOCSIN_VPOLL_OUT);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT), 0);
        CHECK_EQ(seen(fd) & ~urgent, gone);
        close(epoll);
        CHECK_EQ(tocsin_vpoll_close(fd), 0);
    }
}

/* ---- What the program does to it ------------------------------------------------------------- */

static void byte_that_was_read_comes_again(void)
{
    int fd = harness_create(TOCSIN_VPOLL_IN);
    char bytes[4];

    for (int i = 0; i < 5; i++) {
        CHECK_EQ(read(fd, bytes, sizeof(bytes)), 1);
        CHECK_EQ(seen(fd), 0);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
        CHECK_EQ(seen(fd), TOCSIN_VPOLL_IN);
    }
}

static void forked_child(void *arg)
{
    int fd = *(int *)arg;
    int own = harness_create(TOCSIN_VPOLL_OUT);

    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(seen(own), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_close(own), 0);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void forked_child_shares_it(void)
{
    int fd = harness_create(TOCSIN_VPOLL_IN);

    for (int i = 0; i < 3; i++) {
        harness_join(harness_fork(forked_child, &fd));
        CHECK_EQ(seen(fd), TOCSIN_VPOLL_OUT);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN), 0);
        CHECK_EQ(seen(fd), TOCSIN_VPOLL_IN);
    }
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 2000; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void plain_close_leaves_little_and_hits_nobody(void)
{
    int before = count_descriptors();
    int pair[2];
    int fd = -1;

    for (int i = 0; i < 100; i++) {
        int next = harness_create(TOCSIN_VPOLL_IN);

        CHECK(fd < 0 || next == fd);
        fd = next;
        close(fd);
        CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, 1), -EBADF);
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0); /* of the same kind */
        CHECK_EQ(pair[0], fd);
        CHECK_EQ(tocsin_vpoll_ctl(pair[0], TOCSIN_VPOLL_SET, 1), -ENOTTY);
        CHECK_EQ(tocsin_vpoll_close(pair[0]), -ENOTTY);
        CHECK_EQ(harness_poll(pair[0]) & TOCSIN_VPOLL_IN, 0);
        close(pair[0]);
        close(pair[1]);
    }
    CHECK(count_descriptors() - before <= 2); /* the last one's peers */
    fd = harness_create(0);
    CHECK_EQ(seen(fd), 0);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
    CHECK_EQ(count_descriptors(), before);
}

static void dup_is_known(void)
{
    int fd = harness_create(0);
    int other = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);

    set(other, TOCSIN_VPOLL_OUT);
    CHECK_EQ(seen(fd), TOCSIN_VPOLL_OUT);
    close(fd);
    set(other, TOCSIN_VPOLL_IN);
    CHECK_EQ(seen(other), TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_close(other), 0);
}

static void strict_refuses_what_is_not_exact(void)
{
    struct tocsin_vpoll_info info;
    int fd = tocsin_vpoll_create(TOCSIN_VPOLL_IN, TOCSIN_VPOLL_STRICT | TOCSIN_VPOLL_CLOEXEC);

    REQUIRE(tocsin_vpoll_info_get(&info) == 0);
    CHECK_EQ(info.exact, TOCSIN_VPOLL_IN | TOCSIN_VPOLL_OUT | (is_stream() ? 0 : TOCSIN_VPOLL_ERR));
    CHECK_EQ(info.events & info.exact, info.exact);
    for (uint32_t bit = 1; bit <= TOCSIN_VPOLL_RDHUP; bit <<= 1) {
        if ((bit & TOCSIN_VPOLL_ALL) != 0) {
            bool is_exact = (bit & info.exact) != 0;

            CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, bit), is_exact ? 0 : -ENOTSUP);
            CHECK(is_exact || tocsin_vpoll_create(bit, TOCSIN_VPOLL_STRICT) == -ENOTSUP);
        }
    }
    CHECK_EQ(seen(fd), info.exact);
    CHECK_EQ(tocsin_vpoll_close(fd), 0);
}

static void what_cannot_be_shown_is_left_out(void)
{
    int fd = harness_create(TOCSIN_VPOLL_OUT);
    uint32_t cannot = TOCSIN_VPOLL_MSG | (is_stream() ? TOCSIN_VPOLL_ERR : TOCSIN_VPOLL_HUP);

    CHECK_EQ(tocsin_vpoll_ctl(fd, TOCSIN_VPOLL_ADD, cannot), 0);
    CHECK_EQ(seen(fd), TOCSIN_VPOLL_OUT);
}

static const struct harness_case cases[] = {
    CASE(every_mask_from_every_mask),
    CASE(every_add_and_del),
    CASE(every_mask_at_the_start),
    CASE(nothing_is_counted),
    CASE(each_ctl_is_an_edge),
    CASE(ends_are_final),
    CASE(byte_that_was_read_comes_again),
    CASE(forked_child_shares_it),
    CASE(plain_close_leaves_little_and_hits_nobody),
    CASE(dup_is_known),
    CASE(strict_refuses_what_is_not_exact),
    CASE(what_cannot_be_shown_is_left_out),
};

int main(int argc, char **argv)
{
    return harness_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]), harness_choose);
}
