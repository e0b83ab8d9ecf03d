/*
 * Descriptors of slots: for those outside of the pool, in step with the slot, and known when they
 * come back to a pool.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <tocsin/tocsin.h>
#include <unistd.h>

#include "harness.h"

enum {
    SHOWN = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_OUT,
    ROUNDS = 200,
};

struct fixture {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct tocsin_vpoll_slot *slot;
    int fd;
};

static struct fixture fixture_open(const char *backend)
{
    struct fixture fixture = {0};

    REQUIRE(tocsin_pool_open(&fixture.pool, tocsin_backend_find(backend), NULL) == 0);
    fixture.driver = tocsin_pool_driver(fixture.pool);
    REQUIRE(tocsin_vpoll_slot_open(fixture.driver, TOCSIN_VPOLL_OUT, &fixture.slot) == 0);
    fixture.fd = tocsin_vpoll_slot_fd(fixture.slot);
    REQUIRE(fixture.fd >= 0);
    return fixture;
}

static void fixture_close(struct fixture *fixture)
{
    CHECK_EQ(tocsin_vpoll_slot_close(fixture->slot), 0);
    CHECK_EQ(tocsin_pool_close(fixture->pool), 0);
}

static uint32_t seen(int fd)
{
    return harness_poll(fd) & SHOWN;
}

static void ignore_data(void *data)
{
    (void)data;
}

/* What @ready is told in a few turns; 0: nothing. */
static int told(struct fixture *fixture, struct tocsin_fd_ready *ready)
{
    static const struct tocsin_waker_ops ops = {ignore_data, ignore_data, ignore_data, ignore_data};
    struct tocsin_context cx = {.waker = {&ops, NULL}, .driver = fixture->driver};
    int events;

    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    for (int i = 0; i < 3; i++) {
        CHECK(tocsin_pool_turn(fixture->pool) >= 0);
    }
    events = tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN | TOCSIN_OUT, &cx);
    return events == TOCSIN_PENDING ? 0 : events;
}

static void descriptor_is_in_step(void)
{
    struct fixture fixture = fixture_open("sim");

    CHECK_EQ(tocsin_vpoll_slot_fd(fixture.slot), fixture.fd); /* made once */
    CHECK_EQ(fcntl(fixture.fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_slot_ctl(fixture.slot, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_slot_ctl(fixture.slot, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_IN);
    /* A ctl on the descriptor is the slot's. */
    CHECK_EQ(tocsin_vpoll_ctl(fixture.fd, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_slot_events(fixture.slot), TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_close(fixture.fd), -EBUSY);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT);
    fixture_close(&fixture);
    CHECK_EQ(fcntl(fixture.fd, F_GETFD), -1);
}

/* The simulation watches no descriptors: what is told comes from the slot. */
static void descriptor_in_a_pool_is_served_by_its_slot(void)
{
    struct fixture fixture = fixture_open("sim");
    struct tocsin_fd_ready *ready = NULL;
    struct tocsin_fd_ready *other = NULL;
    int pipes[2];
    int plain = harness_create(0);

    REQUIRE(pipe(pipes) == 0);
    CHECK_EQ(tocsin_fd_ready_open(fixture.driver, pipes[0], &other), -EOPNOTSUPP);
    CHECK_EQ(tocsin_fd_ready_open(fixture.driver, plain, &other), -EOPNOTSUPP);
    REQUIRE(tocsin_fd_ready_open(fixture.driver, fixture.fd, &ready) == 0);
    CHECK_EQ(told(&fixture, ready), TOCSIN_OUT);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(tocsin_vpoll_ctl(fixture.fd, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN), 0);
        CHECK_EQ(told(&fixture, ready), TOCSIN_IN);
        CHECK_EQ(told(&fixture, ready), 0);
    }
    CHECK_EQ(tocsin_fd_ready_close(ready), 0);
    fixture_close(&fixture);
}

/* One of which nobody made a slot is a descriptor like any other. */
static void other_descriptors_on(const char *backend)
{
    struct fixture fixture = fixture_open(backend);
    struct tocsin_fd_ready *ready = NULL;
    int plain = harness_create(0);

    REQUIRE(tocsin_fd_ready_open(fixture.driver, plain, &ready) == 0);
    CHECK_EQ(told(&fixture, ready), 0);
    CHECK_EQ(tocsin_vpoll_ctl(plain, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(told(&fixture, ready), TOCSIN_IN);
    CHECK_EQ(tocsin_vpoll_ctl(plain, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(told(&fixture, ready), TOCSIN_OUT);
    CHECK_EQ(tocsin_fd_ready_close(ready), 0);
    CHECK_EQ(tocsin_vpoll_close(plain), 0);
    fixture_close(&fixture);
}

static void other_descriptors_are_the_backends(void)
{
    struct tocsin_pool *pool = NULL;

    other_descriptors_on("epoll");
    if (tocsin_backend_find("uring") != NULL &&
        tocsin_pool_open(&pool, tocsin_backend_find("uring"), NULL) == 0) {
        CHECK_EQ(tocsin_pool_close(pool), 0);
        other_descriptors_on("uring");
    }
}

static void change_the_descriptor(void *arg)
{
    struct fixture *fixture = arg;

    CHECK_EQ(tocsin_vpoll_slot_fd(fixture->slot), -EOWNERDEAD);
    CHECK_EQ(tocsin_vpoll_slot_ctl(fixture->slot, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), -EOWNERDEAD);
    CHECK_EQ(tocsin_vpoll_ctl(fixture->fd, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    CHECK_EQ(tocsin_vpoll_slot_close(fixture->slot), -EOWNERDEAD);
}

static void forked_child_changes_the_descriptor_alone(void)
{
    struct fixture fixture = fixture_open("epoll");

    harness_join(harness_fork(change_the_descriptor, &fixture));
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_IN);
    CHECK_EQ(tocsin_vpoll_slot_events(fixture.slot), TOCSIN_VPOLL_OUT);
    /* The slot's next ctl brings it back into step. */
    CHECK_EQ(tocsin_vpoll_slot_ctl(fixture.slot, TOCSIN_VPOLL_ADD, 0), 0);
    CHECK_EQ(seen(fixture.fd), TOCSIN_VPOLL_OUT);
    fixture_close(&fixture);
}

static void number_of_a_closed_descriptor_is_no_slots(void)
{
    struct fixture fixture = fixture_open("sim");
    struct tocsin_fd_ready *ready = NULL;
    int other;

    close(fixture.fd); /* which is not the program's to do */
    other = harness_create(TOCSIN_VPOLL_IN);
    CHECK_EQ(other, fixture.fd);
    CHECK_EQ(tocsin_fd_ready_open(fixture.driver, other, &ready), -EOPNOTSUPP);
    CHECK_EQ(tocsin_vpoll_ctl(other, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_OUT), 0);
    CHECK_EQ(seen(other), TOCSIN_VPOLL_OUT);
    fixture_close(&fixture);
    CHECK_EQ(seen(other), TOCSIN_VPOLL_OUT); /* and closes nobody else's */
    CHECK_EQ(tocsin_vpoll_close(other), 0);
}

static void many_slots_have_descriptors(void)
{
    struct tocsin_vpoll_slot *slots[ROUNDS];
    struct fixture fixture = fixture_open("epoll");

    for (int i = 0; i < ROUNDS; i++) {
        REQUIRE(tocsin_vpoll_slot_open(fixture.driver, 0, &slots[i]) == 0);
        REQUIRE(tocsin_vpoll_slot_fd(slots[i]) >= 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(tocsin_vpoll_ctl(tocsin_vpoll_slot_fd(slots[i]), TOCSIN_VPOLL_ADD,
                                  i % 2 != 0 ? TOCSIN_VPOLL_IN : TOCSIN_VPOLL_OUT),
                 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(seen(tocsin_vpoll_slot_fd(slots[i])),
                 i % 2 != 0 ? TOCSIN_VPOLL_IN : TOCSIN_VPOLL_OUT);
        CHECK_EQ(tocsin_vpoll_slot_close(slots[i]), 0);
    }
    fixture_close(&fixture);
}

static const struct harness_case cases[] = {
    CASE(descriptor_is_in_step),
    CASE(descriptor_in_a_pool_is_served_by_its_slot),
    CASE(other_descriptors_are_the_backends),
    CASE(forked_child_changes_the_descriptor_alone),
    CASE(number_of_a_closed_descriptor_is_no_slots),
    CASE(many_slots_have_descriptors),
};

int main(int argc, char **argv)
{
    return harness_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]), harness_choose);
}
