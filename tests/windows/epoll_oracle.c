/*
 * Linux' epoll as the oracle: random programs, on the kernel's epoll over eventfds and on the
 * emulation over events, must see the same.
 *
 *     windows_epoll_oracle [--seed N] [--count N]
 *
 * A manual-reset event is an eventfd that the program reads when it likes; an auto-reset event is
 * one that is read when it is reported.  A program adds, changes, deletes, signals, drains, closes
 * and opens anew, and waits.  Each answer is compared, and each set of events with their data.
 *
 * What may differ (docs/WINDOWS.md says why): an edge-triggered watch of a manual-reset event that
 * was not drained is told again.  And programs do not do what has no like: signal an auto-reset
 * event twice before it is reported, drain or delete one that is signalled, close what is
 * signalled.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/windows/epoll.h"
#include "backends/windows/packets.h"
#include "tests/nt_model/model.h"

enum {
    THINGS = 5,
    STEPS = 40,
    TRACE_MAX = STEPS + 1,
};

#define SOON_NS UINT64_C(20000000000)

struct thing {
    bool is_auto;
    bool is_signaled;
    bool is_edge; /* the watch */
    int fd;
    void *handle;
    uint64_t data;
};

static struct {
    const struct nt *nt;
    struct tocsin_epoll *epoll;
    int epoll_fd;
    struct thing things[THINGS];
    uint64_t next_data;
    uint64_t random;
    unsigned extra; /* edges that were told again */
    char trace[TRACE_MAX][100];
    int trace_count;
} world;

static uint32_t below(uint32_t limit)
{
    world.random = world.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(world.random >> 33) % limit;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;

    if (world.trace_count < TRACE_MAX) {
        va_start(args, format);
        vsnprintf(world.trace[world.trace_count++], sizeof(world.trace[0]), format, args);
        va_end(args);
    }
}

static bool differs(const char *what)
{
    for (int i = 0; i < world.trace_count; i++) {
        printf("# %s\n", world.trace[i]);
    }
    printf("# differs: %s\n", what);
    return false;
}

static void thing_open(struct thing *thing, bool is_auto)
{
    *thing = (struct thing){.is_auto = is_auto, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (thing->fd < 0 || nt_failed(world.nt->event_create(!is_auto, false, &thing->handle))) {
        abort();
    }
}

static void thing_close(struct thing *thing)
{
    close(thing->fd);
    world.nt->close(thing->handle);
}

static void thing_signal(struct thing *thing)
{
    uint64_t one = 1;

    (void)!write(thing->fd, &one, sizeof(one));
    world.nt->event_set(thing->handle);
    thing->is_signaled = true;
}

static void thing_drain(struct thing *thing)
{
    uint64_t value;

    (void)!read(thing->fd, &value, sizeof(value));
    world.nt->event_reset(thing->handle);
    thing->is_signaled = false;
}

/* ---- Steps ---- */

static bool ctl(struct thing *thing, int op)
{
    static const uint32_t flags[] = {EPOLLIN,
                                     EPOLLIN,
                                     EPOLLIN | EPOLLET,
                                     EPOLLIN | EPOLLONESHOT,
                                     EPOLLIN | EPOLLET | EPOLLONESHOT,
                                     EPOLLIN | EPOLLEXCLUSIVE,
                                     0};
    uint32_t events = flags[below(sizeof(flags) / sizeof(flags[0]))];
    uint64_t data = ++world.next_data;
    struct epoll_event linux_event = {.events = events, .data.u64 = data};
    struct tocsin_epoll_event event = {.events = events, .data = data};
    int wanted = epoll_ctl(world.epoll_fd, op, thing->fd, &linux_event) < 0 ? -errno : 0;
    int got = tocsin_epoll_ctl(world.epoll, (enum tocsin_epoll_op)op, thing->handle, &event);

    note("thing %d: ctl %d, events %x, data %llu: %d, here %d", (int)(thing - world.things), op,
         events, (unsigned long long)data, wanted, got);
    if (wanted == 0 && op != EPOLL_CTL_DEL) {
        thing->data = data;
        thing->is_edge = (events & EPOLLET) != 0;
    }
    return wanted == got || differs("an answer");
}

static struct thing *thing_of(uint64_t data)
{
    for (int i = 0; i < THINGS; i++) {
        if (world.things[i].data == data) {
            return &world.things[i];
        }
    }
    return NULL;
}

/* Take @event out of what is wanted, if it is there. */
static bool take(struct epoll_event *wanted, int *count, const struct tocsin_epoll_event *event)
{
    for (int i = 0; i < *count; i++) {
        if (wanted[i].data.u64 == event->data && wanted[i].events == event->events) {
            wanted[i] = wanted[--*count];
            return true;
        }
    }
    return false;
}

/* @round: the emulation was asked so often for this; a level is told each time. */
static bool may_be_told_again(const struct tocsin_epoll_event *event, int round)
{
    struct thing *thing = thing_of(event->data);

    return event->events == TOCSIN_EPOLL_IN && thing != NULL && !thing->is_auto &&
           thing->is_signaled && (thing->is_edge || round > 0);
}

static bool wait_for_events(void)
{
    struct epoll_event wanted[THINGS];
    struct tocsin_epoll_event got[THINGS];
    int left = epoll_wait(world.epoll_fd, wanted, THINGS, 0);
    int round = 0;
    int count;

    note("wait: %d", left);
    for (int i = 0; i < left; i++) {
        struct thing *thing = thing_of(wanted[i].data.u64);

        note("  data %llu, events %x", (unsigned long long)wanted[i].data.u64, wanted[i].events);
        if (thing != NULL && thing->is_auto) {
            thing->is_signaled = false;
            (void)!read(thing->fd, &(uint64_t){0}, sizeof(uint64_t));
        }
    }
    do { /* what comes by a thread of ours takes a while */
        count = tocsin_epoll_wait(world.epoll, got, THINGS, left > 0 ? SOON_NS : 0);
        for (int i = 0; i < count; i++) {
            note("  here: data %llu, events %x", (unsigned long long)got[i].data, got[i].events);
            if (!take(wanted, &left, &got[i])) {
                if (!may_be_told_again(&got[i], round)) {
                    return differs("an event that is too much");
                }
                world.extra += round == 0;
            }
        }
        round++;
    } while (left > 0 && count > 0);
    return left == 0 || differs("an event that is missing");
}

static bool step(void)
{
    struct thing *thing = &world.things[below(THINGS)];

    switch (below(10)) {
    case 0:
    case 1:
        return ctl(thing, EPOLL_CTL_ADD);
    case 2:
        return ctl(thing, EPOLL_CTL_MOD);
    case 3:
        return (thing->is_auto && thing->is_signaled) || ctl(thing, EPOLL_CTL_DEL);
    case 4:
    case 5:
        if (!thing->is_auto || !thing->is_signaled) {
            note("thing %d: signal", (int)(thing - world.things));
            thing_signal(thing);
        }
        return true;
    case 6:
        if (!thing->is_auto) {
            note("thing %d: drain", (int)(thing - world.things));
            thing_drain(thing);
        }
        return true;
    case 7:
        if (!thing->is_signaled) {
            note("thing %d: close, open", (int)(thing - world.things));
            thing_close(thing);
            thing_open(thing, below(2) == 0);
        }
        return true;
    default:
        return wait_for_events();
    }
}

static bool program(uint64_t seed)
{
    bool same = true;

    world.random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    world.trace_count = 0;
    world.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (world.epoll_fd < 0 || tocsin__epoll_open(world.nt, &world.epoll) < 0) {
        abort();
    }
    for (int i = 0; i < THINGS; i++) {
        thing_open(&world.things[i], below(2) == 0);
    }
    for (int i = 0; i < STEPS && same; i++) {
        same = step();
    }
    same = same && wait_for_events();
    for (int i = 0; i < THINGS; i++) {
        thing_close(&world.things[i]);
    }
    tocsin_epoll_close(world.epoll);
    close(world.epoll_fd);
    if (!same) {
        printf("not ok program %llu\n", (unsigned long long)seed);
    }
    return same;
}

static unsigned run(const char *name, bool emulated, uint64_t seed, unsigned count)
{
    struct nt_model_options options = {.seed = seed, .without_packets = emulated};
    unsigned failed = 0;

    nt_model_begin(&options);
    world.nt = emulated ? tocsin__packets_open(nt_model_table()) : nt_model_table();
    world.extra = 0;
    for (unsigned i = 0; i < count && failed < 3; i++) {
        failed += !program(seed * 1000000 + i);
    }
    if (emulated) {
        tocsin__packets_close(world.nt);
    }
    if (nt_model_handles() != 0 || nt_model_objects() != 0) {
        printf("# left: %u handles\n", nt_model_handles());
        failed++;
    }
    printf("%s %s: %u programs, %u edges told again\n", failed == 0 ? "ok" : "not ok", name, count,
           world.extra);
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    unsigned count = 1000;
    unsigned failed;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 0);
        } else if (strcmp(argv[i], "--count") == 0) {
            count = (unsigned)strtoul(argv[i + 1], NULL, 0);
        }
    }
    printf("seed=%llu\n", (unsigned long long)seed);
    failed = run("native", false, seed, count);
    failed = failed != 0 ? failed : run("emulated", true, seed, count / 4);
    printf("%d passed, %u failed\n", failed == 0 ? 2 : 0, failed);
    return failed != 0;
}
