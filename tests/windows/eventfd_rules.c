/*
 * What an eventfd does, alone and among threads.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backends/windows/eventfd.h"
#include "tests/windows/rules.h"

enum {
    ROUNDS = 400,
};

#define NONBLOCK TOCSIN_EFD_NONBLOCK
#define SEMAPHORE TOCSIN_EFD_SEMAPHORE

static struct tocsin_eventfd *open_one(struct rules *t, uint32_t count, uint32_t flags)
{
    struct tocsin_eventfd *eventfd = NULL;

    if (tocsin__eventfd_open(t->nt, count, flags, &eventfd) < 0) {
        rules_failed(t, __FILE__, __LINE__, "an eventfd");
    }
    return eventfd;
}

static bool is_readable(struct tocsin_eventfd *eventfd)
{
    return nt_model_is_signaled(tocsin_eventfd_handle(eventfd));
}

static void a_write_of_nothing_makes_nothing_readable(struct rules *t)
{
    struct tocsin_eventfd *eventfd = open_one(t, 0, NONBLOCK);
    uint64_t value;

    REQUIRE(t, tocsin_eventfd_write(eventfd, 0) == 0);
    REQUIRE(t, !is_readable(eventfd));
    REQUIRE(t, tocsin_eventfd_read(eventfd, &value) == -EAGAIN);
    tocsin_eventfd_close(eventfd);
}

static void a_timed_read_takes_or_says_so(struct rules *t)
{
    struct tocsin_eventfd *eventfd = open_one(t, 0, 0);
    uint64_t begin_ns = t->nt->now_ns();
    uint64_t value = 9;

    REQUIRE(t, tocsin_eventfd_read_for(eventfd, 5000000, &value) == -EAGAIN && value == 9);
    REQUIRE(t, t->nt->now_ns() - begin_ns >= 5000000);
    REQUIRE(t, tocsin_eventfd_write(eventfd, 3) == 0);
    REQUIRE(t, tocsin_eventfd_read_for(eventfd, 0, &value) == 0 && value == 3);
    REQUIRE(t, !is_readable(eventfd));
    tocsin_eventfd_close(eventfd);
}

static void an_epoll_sees_it(struct rules *t)
{
    struct tocsin_eventfd *eventfd = open_one(t, 0, NONBLOCK | SEMAPHORE);
    uint64_t value;

    REQUIRE(t, rules_add(t, tocsin_eventfd_handle(eventfd), TOCSIN_EPOLL_IN, 1) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, tocsin_eventfd_write(eventfd, 2) == 0);
    for (int i = 0; i < 2; i++) {
        REQUIRE(t, rules_gets(t, 1));
        REQUIRE(t, tocsin_eventfd_read(eventfd, &value) == 0 && value == 1);
    }
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_del(t, tocsin_eventfd_handle(eventfd)) == 0);
    tocsin_eventfd_close(eventfd);
}

/* ---- Threads ---- */

struct shared {
    struct tocsin_eventfd *eventfd;
    uint64_t unit;
    atomic_uint taken;
    atomic_uint failures;
};

static void *write_units(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        if (tocsin_eventfd_write(shared->eventfd, shared->unit) != 0) {
            atomic_fetch_add_explicit(&shared->failures, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

static void *read_units(void *arg)
{
    struct shared *shared = arg;
    uint64_t value = 0;

    while (atomic_load_explicit(&shared->taken, memory_order_acquire) < 2 * ROUNDS) {
        int r = tocsin_eventfd_read_for(shared->eventfd, 1000000, &value);

        if (r == 0) {
            atomic_fetch_add_explicit(&shared->taken, (unsigned)(value / shared->unit),
                                      memory_order_acq_rel);
        }
    }
    return NULL;
}

/* Two that write and two that read; with large units those who write have to wait for room. */
static bool race(struct rules *t, uint64_t unit)
{
    struct shared shared = {.eventfd = open_one(t, 0, 0), .unit = unit};
    pthread_t threads[4];
    bool right;

    for (int i = 0; i < 4; i++) {
        if (pthread_create(&threads[i], NULL, i < 2 ? write_units : read_units, &shared) != 0) {
            return false;
        }
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    right = atomic_load_explicit(&shared.taken, memory_order_relaxed) == 2 * ROUNDS &&
            atomic_load_explicit(&shared.failures, memory_order_relaxed) == 0 &&
            !is_readable(shared.eventfd);
    tocsin_eventfd_close(shared.eventfd);
    return right;
}

static void nothing_is_lost_between_threads(struct rules *t)
{
    REQUIRE(t, race(t, 1));
}

static void writers_wait_for_room(struct rules *t)
{
    REQUIRE(t, race(t, UINT64_MAX / 2));
}

const struct rules_row rules_rows[] = {
    RULE(a_write_of_nothing_makes_nothing_readable),
    RULE(a_timed_read_takes_or_says_so),
    RULE(an_epoll_sees_it),
    RULE(nothing_is_lost_between_threads),
    RULE(writers_wait_for_room),
    {0},
};
