/*
 * Operations on synthetic readiness: slots, which every backend has, and descriptors.
 */
#include "differential.h"

#include <poll.h>
#include <tocsin/backend.h>
#include <tocsin/vpoll.h>

/* A change of what is true, made by a post: whoever polls has to wait for it. */
struct change {
    struct actor *actor;
    struct tocsin_vpoll_slot *slot;
    int fd;
    uint32_t events;
    struct tally made;
};

static void change_is_made(void *arg, int status)
{
    struct change *change = arg;
    int r;

    (void)status;
    r = change->slot != NULL
            ? CALL(tocsin_vpoll_slot_ctl)(change->slot, TOCSIN_VPOLL_ADD, change->events)
            : CALL(tocsin_vpoll_ctl)(change->fd, TOCSIN_VPOLL_ADD, change->events);
    EXPECT(change->actor, r == 0);
    tally_add(&change->made);
}

static void change_soon(struct change *change)
{
    tally_init(&change->made);
    NEED(CALL(tocsin_post)(change->actor->run->driver, change_is_made, change) == 0);
}

static uint32_t await_events(struct actor *actor, struct tocsin_fd_ready *ready, uint32_t events)
{
    int r;

    do {
        r = CALL(tocsin_fd_ready_poll)(ready, TOCSIN_SLOT_READ, events, actor->cx);
    } while (again(actor, r));
    return r < 0 ? 0 : (uint32_t)r & events;
}

static void slot(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    struct change change = {.actor = actor, .fd = -1, .events = TOCSIN_VPOLL_IN};
    unsigned rounds = 1 + pick(actor, 0, 4);
    struct tocsin_fd_ready *ready;

    NEED(CALL(tocsin_vpoll_slot_open)(driver, 0, &change.slot) == 0);
    NEED(CALL(tocsin_vpoll_slot_ready_open)(driver, change.slot, &ready) == 0);
    for (unsigned i = 0; i < rounds; i++) {
        EXPECT(actor, CALL(tocsin_fd_ready_poll)(ready, TOCSIN_SLOT_READ, TOCSIN_IN, actor->cx) ==
                          TOCSIN_PENDING);
        change_soon(&change);
        say(actor, " in %u", await_events(actor, ready, TOCSIN_IN));
        tally_await(actor, &change.made, 1);
        tally_deinit(&change.made);
        say(actor, " true %u", CALL(tocsin_vpoll_slot_events)(change.slot));
        say(actor, " back %d",
            CALL(tocsin_vpoll_slot_ctl)(change.slot, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN));
        CALL(tocsin_fd_ready_clear)(ready, TOCSIN_SLOT_READ);
    }
    say(actor, " odd %d", CALL(tocsin_vpoll_slot_ctl)(change.slot, TOCSIN_VPOLL_SET, 1U << 30));
    say(actor, " close %d", CALL(tocsin_fd_ready_close)(ready));
    say(actor, " %d", CALL(tocsin_vpoll_slot_close)(change.slot));
}

/* ---- Watched --------------------------------------------------------------------------------- */

static void slot_seen(struct tocsin_watch *watch, int events, void *arg)
{
    (void)watch;
    if (events > 0 && (events & TOCSIN_PRI) != 0) {
        tally_add(arg);
    }
}

static void watch_slot(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    struct change change = {.actor = actor, .fd = -1, .events = TOCSIN_VPOLL_PRI};
    struct tocsin_watch watch = {0};
    struct tally seen;

    tally_init(&seen);
    NEED(CALL(tocsin_vpoll_slot_open)(driver, TOCSIN_VPOLL_OUT, &change.slot) == 0);
    say(actor, " %d",
        CALL(tocsin_vpoll_slot_watch_start)(&watch, driver, change.slot, TOCSIN_PRI, slot_seen,
                                            &seen));
    change_soon(&change);
    tally_await(actor, &seen, 1);
    tally_await(actor, &change.made, 1);
    tally_deinit(&change.made);
    say(actor, " true %u", CALL(tocsin_vpoll_slot_events)(change.slot));
    say(actor, " stop %d", CALL(tocsin_watch_stop)(&watch));
    say(actor, " close %d", CALL(tocsin_vpoll_slot_close)(change.slot));
    tally_deinit(&seen);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

static short true_of(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) > 0 ? pollfd.revents : 0;
}

static void slot_descriptor(struct actor *actor)
{
    struct tocsin_vpoll_slot *slot;
    int fd;

    NEED(CALL(tocsin_vpoll_slot_open)(actor->run->driver, 0, &slot) == 0);
    fd = CALL(tocsin_vpoll_slot_fd)(slot);
    if (EXPECT(actor, fd >= 0)) {
        say(actor, " same %d", CALL(tocsin_vpoll_slot_fd)(slot) == fd);
        say(actor, " before %d", true_of(fd) & POLLIN);
        say(actor, " %d", CALL(tocsin_vpoll_slot_ctl)(slot, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN));
        say(actor, " after %d", true_of(fd) & POLLIN);
    }
    say(actor, " close %d", CALL(tocsin_vpoll_slot_close)(slot));
}

static void descriptor(struct actor *actor)
{
    struct change change = {.actor = actor, .events = TOCSIN_VPOLL_IN};
    struct tocsin_vpoll_info info;
    struct tocsin_fd_ready *ready;
    int r;

    change.fd = CALL(tocsin_vpoll_create)(0, TOCSIN_VPOLL_CLOEXEC);
    EXPECT(actor, CALL(tocsin_vpoll_info_get)(&info) == (change.fd >= 0 ? 0 : -EOPNOTSUPP));
    EXPECT(actor, info.reason != NULL);
    if (change.fd < 0) {
        say(actor, " none");
        return;
    }
    say(actor, " unknown %d", CALL(tocsin_vpoll_use)("no such provider"));
    say(actor, " too late %d", CALL(tocsin_vpoll_use)("stream"));
    r = CALL(tocsin_fd_ready_open)(actor->run->driver, change.fd, &ready);
    say(actor, " %d", r);
    if (r < 0) {
        CALL(tocsin_vpoll_close)(change.fd);
        return;
    }
    change_soon(&change);
    say(actor, " in %u", await_events(actor, ready, TOCSIN_IN));
    tally_await(actor, &change.made, 1);
    tally_deinit(&change.made);
    say(actor, " back %d", CALL(tocsin_vpoll_ctl)(change.fd, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN));
    say(actor, " then %d", true_of(change.fd) & POLLIN);
    say(actor, " close %d", CALL(tocsin_fd_ready_close)(ready));
    say(actor, " %d", CALL(tocsin_vpoll_close)(change.fd));
}

static const struct op_kind ops_vpoll_kinds[] = {
    {"slot", slot, BY_TASK, 0, 15},
    {"watch_slot", watch_slot, BY_TASK, 0, 10},
    {"slot_descriptor", slot_descriptor, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
    {"descriptor", descriptor, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
};

OP_GROUP(ops_vpoll);
