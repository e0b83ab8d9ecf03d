/*
 * The epoll backend by itself: rounding, fallbacks, kicks, hosting.
 */
#include "backends/epoll/epoll.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static const struct tocsin_backend_ops *const ops = &tocsin__backend_epoll;

/* What epoll_pwait2() is made to answer; 0: the kernel does. */
static int pwait2_errno;
static unsigned pwait2_calls;
static int epoll_wait_errno;
static int epoll_wait_timeout;
static unsigned epoll_wait_calls;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
int __real_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_epoll_pwait2) {
        pwait2_calls++;
        if (pwait2_errno != 0) {
            errno = pwait2_errno;
            return -1;
        }
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    epoll_wait_calls++;
    epoll_wait_timeout = timeout_ms;
    if (epoll_wait_errno != 0) {
        errno = epoll_wait_errno;
        return -1;
    }
    return __real_epoll_wait(fd, events, count, timeout_ms);
}

/* A backend that is open, and room for what it reports. */
struct fixture {
    void *state;
    struct tocsin_backend_event room[64];
    struct tocsin_backend_events list;
};

static void start(struct fixture *fixture)
{
    *fixture = (struct fixture){.state = test_calloc(1, ops->state_size)};
    fixture->list.events = fixture->room;
    fixture->list.capacity = UNIT_COUNT(fixture->room);
    pwait2_errno = 0;
    pwait2_calls = 0;
    epoll_wait_errno = 0;
    epoll_wait_calls = 0;
    assert_int_equal(ops->open(fixture->state, NULL), 0);
}

static void end(struct fixture *fixture)
{
    ops->close(fixture->state, TOCSIN_BACKEND_CLOSE);
    test_free(fixture->state);
}

static int wait_until(struct fixture *fixture, uint64_t deadline_ns)
{
    fixture->list.count = 0;
    return ops->wait(fixture->state, deadline_ns, &fixture->list);
}

static int look(struct fixture *fixture)
{
    fixture->list.count = 0;
    return ops->look(fixture->state, &fixture->list);
}

static void milliseconds_are_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(tocsin__timeout_ms_ceil(0), 0);
    assert_int_equal(tocsin__timeout_ms_ceil(1), 1);
    assert_int_equal(tocsin__timeout_ms_ceil(MS - 1), 1);
    assert_int_equal(tocsin__timeout_ms_ceil(MS), 1);
    assert_int_equal(tocsin__timeout_ms_ceil(MS + 1), 2);
    assert_int_equal(tocsin__timeout_ms_ceil(1500 * MS), 1500);
    assert_int_equal(tocsin__timeout_ms_ceil(INT_MAX * MS), INT_MAX);
    assert_int_equal(tocsin__timeout_ms_ceil(INT_MAX * MS + 1), INT_MAX);
    assert_int_equal(tocsin__timeout_ms_ceil(TOCSIN_NEVER_NS), INT_MAX);
    assert_int_equal(tocsin__timeout_ms_ceil(TOCSIN_NEVER_NS - 1), INT_MAX);
}

static void the_clock_is_monotonic_nanoseconds(void **state)
{
    struct fixture fixture;
    struct timespec now;
    uint64_t before_ns;
    uint64_t here_ns;

    (void)state;
    start(&fixture);
    before_ns = ops->now(fixture.state);
    clock_gettime(CLOCK_MONOTONIC, &now);
    here_ns = (uint64_t)now.tv_sec * S + (uint64_t)now.tv_nsec;
    assert_true(before_ns <= here_ns);
    assert_true(here_ns <= ops->now(fixture.state));
    end(&fixture);
}

static void check_not_early(struct fixture *fixture, uint64_t delay_ns)
{
    uint64_t deadline_ns = ops->now(fixture->state) + delay_ns;

    assert_int_equal(wait_until(fixture, deadline_ns), 0);
    assert_true(ops->now(fixture->state) >= deadline_ns);
    assert_int_equal(fixture->list.count, 0);
}

static void a_wait_ends_at_its_deadline_by_nanoseconds(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    if (__real_syscall(SYS_epoll_pwait2, -1, NULL, 0, NULL, NULL, 8) < 0 && errno == ENOSYS) {
        end(&fixture);
        unit_skip("no epoll_pwait2 here");
    }
    for (unsigned i = 0; i < 20; i++) {
        check_not_early(&fixture, 100000 + i * 7919);
    }
    assert_int_equal(pwait2_calls, 20);
    assert_int_equal(epoll_wait_calls, 0);
    assert_int_equal(wait_until(&fixture, 1), 0); /* long past: a look */
    assert_int_equal(pwait2_calls, 20);
    assert_int_equal(epoll_wait_timeout, 0);
    end(&fixture);
}

/* The first wait finds out and returns for no reason; those after it round up. */
static void check_fallback(int error)
{
    struct fixture fixture;

    start(&fixture);
    pwait2_errno = error;
    assert_int_equal(wait_until(&fixture, ops->now(fixture.state) + 10 * S), 0);
    assert_int_equal(pwait2_calls, 1);
    for (unsigned i = 0; i < 3; i++) {
        check_not_early(&fixture, 1300000);
        assert_int_equal(epoll_wait_timeout, 2);
    }
    assert_int_equal(pwait2_calls, 1);
    assert_int_equal(epoll_wait_calls, 3);
    end(&fixture);
}

static void without_epoll_pwait2_waits_round_up(void **state)
{
    (void)state;
    check_fallback(ENOSYS);
    check_fallback(EPERM); /* a filter's answer */
}

static void an_interrupted_wait_found_nothing(void **state)
{
    static const int errors[] = {EINTR, ENOMEM};
    struct fixture fixture;

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        pwait2_errno = errors[i];
        assert_int_equal(wait_until(&fixture, ops->now(fixture.state) + S), 0);
        epoll_wait_errno = errors[i];
        assert_int_equal(wait_until(&fixture, TOCSIN_NEVER_NS), 0);
        assert_int_equal(look(&fixture), 0);
    }
    epoll_wait_errno = EBADF;
    assert_int_equal(look(&fixture), -EBADF);
    end(&fixture);
}

static void a_kick_ends_the_next_wait(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < 3; i++) {
        ops->kick(fixture.state);
        ops->kick(fixture.state);
        assert_int_equal(wait_until(&fixture, TOCSIN_NEVER_NS), 0);
        assert_int_equal(fixture.list.count, 0); /* it is nobody's event */
    }
    ops->kick(fixture.state);
    assert_int_equal(look(&fixture), 0);                /* takes it in */
    wait_until(&fixture, ops->now(fixture.state) + MS); /* may find out what the kernel lacks */
    check_not_early(&fixture, 5 * MS);
    end(&fixture);
}

static void a_kick_leaves_errno_alone(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    errno = 12345;
    ops->kick(fixture.state);
    assert_int_equal(errno, 12345);
    end(&fixture);
}

static void events_come_under_the_id_of_the_watch(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch = {.id = UINT64_C(7) << 32 | 9};
    int fds[2];

    (void)state;
    start(&fixture);
    assert_int_equal(pipe(fds), 0);
    watch.number = fds[0];
    assert_int_equal(ops->attach(fixture.state, &watch), 0);
    assert_int_equal(ops->attach(fixture.state, &watch), -EEXIST);
    assert_int_equal(look(&fixture), 0);
    assert_int_equal(fixture.list.count, 0);
    assert_int_equal(write(fds[1], "a", 1), 1);
    assert_int_equal(wait_until(&fixture, TOCSIN_NEVER_NS), 0);
    assert_int_equal(fixture.list.count, 1);
    assert_int_equal(fixture.list.events[0].id, watch.id);
    assert_int_equal(fixture.list.events[0].events, TOCSIN_IN);
    assert_int_equal(look(&fixture), 0); /* an edge comes once */
    assert_int_equal(fixture.list.count, 0);
    close(fds[1]);
    assert_int_equal(look(&fixture), 0);
    assert_int_equal(fixture.list.events[0].events, TOCSIN_IN | TOCSIN_HUP);
    assert_int_equal(ops->detach(fixture.state, &watch), 0);
    assert_int_equal(ops->detach(fixture.state, &watch), -ENOENT);
    close(fds[0]);
    assert_int_equal(ops->detach(fixture.state, &watch), -EBADF);
    end(&fixture);
}

/* E1: what does not fit stays in the kernel. */
static void more_than_fits_comes_with_the_next_look(void **state)
{
    enum {
        COUNT = 70 /* more than the list's 64 */
    };
    struct fixture fixture;
    struct tocsin_backend_watch watches[COUNT];
    uint8_t seen[COUNT] = {0};

    (void)state;
    start(&fixture);
    for (unsigned i = 0; i < COUNT; i++) {
        watches[i] = (struct tocsin_backend_watch){.id = i + 1, .number = eventfd(1, 0)};
        assert_int_equal(ops->attach(fixture.state, &watches[i]), 0);
    }
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(look(&fixture), 0);
        for (unsigned i = 0; i < fixture.list.count; i++) {
            seen[fixture.list.events[i].id - 1]++;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(seen[i], 1);
        close((int)watches[i].number);
    }
    end(&fixture);
}

/* ---- Hosting -----------------------------------------------------------------------------------
 */

static int readable(intptr_t fd, int timeout_ms)
{
    struct pollfd host = {.fd = (int)fd, .events = POLLIN};

    return poll(&host, 1, timeout_ms);
}

static void the_descriptor_tells_of_kicks_and_deadlines(void **state)
{
    struct fixture fixture;
    uint64_t deadline_ns;
    intptr_t fd;

    (void)state;
    start(&fixture);
    fd = ops->poll_handle(fixture.state);
    assert_true(fd >= 0);
    assert_int_equal(ops->poll_handle(fixture.state), fd);
    assert_int_equal(readable(fd, 0), 0);
    ops->kick(fixture.state);
    assert_int_equal(readable(fd, 0), 1);
    look(&fixture);
    assert_int_equal(readable(fd, 0), 0);

    deadline_ns = ops->now(fixture.state) + 3 * MS;
    ops->host(fixture.state, deadline_ns);
    ops->host(fixture.state, deadline_ns);
    assert_int_equal(readable(fd, 60000), 1);
    assert_true(ops->now(fixture.state) >= deadline_ns);
    look(&fixture);
    assert_int_equal(fixture.list.count, 0); /* the timer is nobody's event */
    assert_int_equal(readable(fd, 0), 0);

    ops->host(fixture.state, 1); /* long past */
    assert_int_equal(readable(fd, 60000), 1);
    look(&fixture);
    ops->host(fixture.state, 0);
    assert_int_equal(readable(fd, 60000), 1);
    look(&fixture);
    ops->host(fixture.state, ops->now(fixture.state) + 20 * MS);
    ops->host(fixture.state, TOCSIN_NEVER_NS);
    assert_int_equal(readable(fd, 40), 0);
    end(&fixture);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(milliseconds_are_rounded_up),
    cmocka_unit_test(the_clock_is_monotonic_nanoseconds),
    cmocka_unit_test(a_wait_ends_at_its_deadline_by_nanoseconds),
    cmocka_unit_test(without_epoll_pwait2_waits_round_up),
    cmocka_unit_test(an_interrupted_wait_found_nothing),
    cmocka_unit_test(a_kick_ends_the_next_wait),
    cmocka_unit_test(a_kick_leaves_errno_alone),
    cmocka_unit_test(events_come_under_the_id_of_the_watch),
    cmocka_unit_test(more_than_fits_comes_with_the_next_look),
    cmocka_unit_test(the_descriptor_tells_of_kicks_and_deadlines),
};

UNIT_MAIN(tests)
