/*
 * Operations on readiness, its slots and its callback face.
 */
#include "differential.h"

#include <tocsin/backend.h>

enum {
    PIECE_MAX = 500,
};

/* Wait until @slot has one of @events; those of them that it has. */
static uint32_t await_events(struct actor *actor, struct tocsin_fd_ready *ready,
                             enum tocsin_slot slot, uint32_t events)
{
    int r;

    do {
        r = CALL(tocsin_fd_ready_poll)(ready, slot, events, actor->cx);
    } while (again(actor, r));
    return r < 0 ? 0 : (uint32_t)r & events;
}

/* Both slots of one end: writable at once, readable when something came, and at the end. */
static void see_events(struct actor *actor)
{
    static const enum pair_kind kinds[] = {PAIR_STREAM, PAIR_TCP};
    enum pair_kind kind = kinds[pick(actor, 0, 2)];
    unsigned char data[PIECE_MAX];
    struct tocsin_fd_ready *ready;
    intptr_t ends[2];
    int got = 0;
    int r;

    world_pair(actor, kind, ends);
    NEED(world_ready_open(actor->run, ends[0], &ready) == 0);
    say(actor, " out %u", await_events(actor, ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT));
    say(actor, " none %d", CALL(tocsin_fd_ready_poll)(ready, TOCSIN_SLOT_READ, 0, actor->cx));
    say(actor, " odd %d", CALL(tocsin_fd_ready_poll)(ready, TOCSIN_SLOT_READ, 1 << 20, actor->cx));

    bytes_fill(data, sizeof(data), 0, 0);
    world_write_all(actor->run, ends[1], data, 1 + pick(actor, 1, 100));
    say(actor, " in %u", await_events(actor, ready, TOCSIN_SLOT_READ, TOCSIN_IN));
    NEED(world_shutdown(actor->run, ends[1], TOCSIN_SHUTDOWN_WRITE) == 0);
    do {
        r = world_read(actor->run, ends[0], data, sizeof(data));
        got += r > 0 ? r : 0;
        if (r == -EAGAIN) {
            CALL(tocsin_fd_ready_clear)(ready, TOCSIN_SLOT_READ);
            await_events(actor, ready, TOCSIN_SLOT_READ, TOCSIN_IN | TOCSIN_RDHUP);
        }
    } while (r > 0 || r == -EAGAIN);
    say(actor, " got %d then %d", got, r);
    if ((actor->run->features & TOCSIN_BACKEND_EXACT_EVENTS) != 0) {
        EXPECT(actor, await_events(actor, ready, TOCSIN_SLOT_READ, TOCSIN_RDHUP) != 0);
    }
    say(actor, " close %d", CALL(tocsin_fd_ready_close)(ready));
    world_close(actor->run, ends[0]);
    world_close(actor->run, ends[1]);
}

/* Opened and closed again and again, as the number comes back. */
static void open_and_close(struct actor *actor)
{
    unsigned times = 1 + pick(actor, 0, 5);

    for (unsigned i = 0; i < times; i++) {
        struct tocsin_fd_ready *ready;
        intptr_t ends[2];

        world_pair(actor, i % 2 == 0 ? PAIR_PIPE : PAIR_STREAM, ends);
        say(actor, " %d", world_ready_open(actor->run, ends[0], &ready));
        if (i % 2 == 1 && actor->by == BY_TASK) {
            say(actor, " out %u", await_events(actor, ready, TOCSIN_SLOT_WRITE, TOCSIN_OUT));
        }
        /* From a thread the pool may learn of it after its end: then nobody can tell. */
        EXPECT(actor, CALL(tocsin_fd_ready_close)(ready) == 0);
        world_close(actor->run, ends[0]);
        world_close(actor->run, ends[1]);
    }
}

/* ---- By one try at a time -------------------------------------------------------------------- */

struct tries {
    struct actor *actor;
    unsigned char *data;
    size_t size;
};

static int try_read(intptr_t end, void *arg)
{
    struct tries *tries = arg;

    return world_read(tries->actor->run, end, tries->data, tries->size);
}

static void poll_io(struct actor *actor)
{
    unsigned char data[PIECE_MAX];
    struct tries tries = {actor, data, 1 + pick(actor, 0, 64)};
    uint64_t size = 1 + pick(actor, 1, 3000);
    struct stream writer;
    struct tocsin_fd_ready *ready;
    struct pump *pump;
    intptr_t ends[2];
    uint64_t got = 0;
    bool same = true;
    int r;

    world_pair(actor, PAIR_STREAM, ends);
    NEED(world_ready_open(actor->run, ends[0], &ready) == 0);
    stream_open(&writer, actor->run, PAIR_STREAM, ends[1]);
    pump = pump_start(actor->run, (struct pump){.stream = &writer,
                                                .way = PUMP_WRITES,
                                                .key = actor->op->p[2],
                                                .chunk = 1 + pick(actor, 3, 400),
                                                .size = size,
                                                .shuts = true});
    do {
        do {
            r = CALL(tocsin_fd_ready_poll_io)(ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_read, &tries,
                                              actor->cx);
        } while (again(actor, r));
        if (r > 0) {
            same = same && bytes_are(data, (size_t)r, actor->op->p[2], got);
            got += (unsigned)r;
        }
    } while (r > 0);
    say(actor, " %d after %u %s", r, (unsigned)got, same ? "same" : "other bytes");
    pump_join(actor, pump);
    say(actor, " close %d", CALL(tocsin_fd_ready_close)(ready));
    world_close(actor->run, ends[0]);
    say(actor, " %d", stream_close(&writer));
}

/* ---- Watches --------------------------------------------------------------------------------- */

struct watched {
    struct actor *actor;
    struct tally tally; /* counts bytes */
    intptr_t end;
    unsigned calls_without_events;
};

static void watch_sees(struct tocsin_watch *watch, int events, void *arg)
{
    struct watched *watched = arg;
    unsigned char byte;

    (void)watch;
    watched->calls_without_events += events <= 0;
    while (world_read(watched->actor->run, watched->end, &byte, 1) == 1) {
        tally_add(&watched->tally);
    }
}

static int watch_start(struct watched *watched, struct tocsin_watch *watch, uint32_t events)
{
    struct run *run = watched->actor->run;

    if (run->sim != NULL) {
        return CALL(tocsin_own_watch_start)(watch, run->driver, watched->end, events, watch_sees,
                                            watched);
    }
    return CALL(tocsin_watch_start)(watch, run->driver, (int)watched->end, events, watch_sees,
                                    watched);
}

static void watch(struct actor *actor)
{
    struct watched watched = {.actor = actor};
    struct tocsin_watch watch = {0};
    unsigned rounds = 1 + pick(actor, 0, 4);
    unsigned sent = 0;
    intptr_t ends[2];

    world_pair(actor, pick(actor, 1, 2) == 0 ? PAIR_PIPE : PAIR_STREAM, ends);
    watched.end = ends[0];
    tally_init(&watched.tally);
    say(actor, " none %d", watch_start(&watched, &watch, 0));
    say(actor, " %d", watch_start(&watched, &watch, TOCSIN_IN));
    say(actor, " again %d", watch_start(&watched, &watch, TOCSIN_IN));
    CALL(tocsin_watch_set_background)(&watch, pick(actor, 2, 2) == 0);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned count = 1 + (actor->op->p[3] >> i) % 5;

        world_write_all(actor->run, ends[1], "watch", count);
        sent += count;
        tally_await(actor, &watched.tally, sent);
    }
    say(actor, " seen %u, odd calls %u", watched.tally.count, watched.calls_without_events);
    say(actor, " stop %d", CALL(tocsin_watch_stop)(&watch));
    say(actor, " %d", CALL(tocsin_watch_stop)(&watch));
    tally_deinit(&watched.tally);
    world_close(actor->run, ends[0]);
    world_close(actor->run, ends[1]);
}

/* Sources of a kind that the backend has or has not: its bits say. */
static void sources(struct actor *actor)
{
    bool own = actor->run->sim != NULL;
    struct tocsin_fd_ready *ready = NULL;
    intptr_t ends[2];
    int r;

    world_pair(actor, PAIR_EVENT, ends);
    r = CALL(tocsin_source_ready_open)(actor->run->driver, TOCSIN_SOURCE_OWN, ends[0], &ready);
    EXPECT(actor, r == (own ? 0 : -EOPNOTSUPP));
    EXPECT(actor, r < 0 || CALL(tocsin_fd_ready_close)(ready) == 0);
    r = CALL(tocsin_source_ready_open)(actor->run->driver, TOCSIN_SOURCE_HANDLE, ends[0], &ready);
    say(actor, " handle %d", r);
    world_close(actor->run, ends[0]);
}

static const struct op_kind ops_ready_kinds[] = {
    {"see_events", see_events, BY_TASK, 0, 20},
    {"open_and_close", open_and_close, BY_TASK | BY_THREAD, 0, 15},
    {"poll_io", poll_io, BY_TASK, 0, 15},
    {"watch", watch, BY_TASK, 0, 20},
    {"sources", sources, BY_TASK | BY_THREAD | BY_MAIN, 0, 6},
};

OP_GROUP(ops_ready);
