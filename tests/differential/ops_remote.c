/*
 * Operations on objects that a thread opens and closes, while the pool's thread polls them.
 */
#include "differential.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* Bytes from the thread to a task, through an end that the thread opened. */
static void open_remotely(struct actor *actor)
{
    static const enum pair_kind kinds[] = {PAIR_STREAM, PAIR_TCP, PAIR_PIPE};
    enum pair_kind kind = kinds[pick(actor, 0, 3)];
    unsigned char data[LINK_SEND_MAX];
    size_t size = 1 + pick(actor, 1, LINK_SEND_MAX);
    uint32_t key = actor->op->p[2];
    struct stream in;
    struct pump *reader;
    intptr_t ends[2];

    world_pair(actor, kind, ends);
    stream_open(&in, actor->run, kind, ends[0]);
    reader = pump_start(actor->run, (struct pump){.stream = &in, .key = key, .size = size + 1});
    bytes_fill(data, size, key, 0);
    world_write_all(actor->run, ends[1], data, size);
    if (pick(actor, 3, 3) == 0) {
        pump_cancel(actor, reader);
        world_close(actor->run, ends[1]);
    } else {
        world_close(actor->run, ends[1]);
        pump_join(actor, reader);
    }
    /* The pool's thread may have it in a batch. */
    EXPECT(actor, stream_close(&in) == 0);
}

/* The other way round: no more than there is room for. */
static void write_remotely(struct actor *actor)
{
    uint64_t size = 1 + pick(actor, 0, 20000);
    uint32_t key = actor->op->p[1];
    struct stream out;
    struct pump *writer;
    intptr_t ends[2];

    world_pair(actor, PAIR_STREAM, ends);
    stream_open(&out, actor->run, PAIR_STREAM, ends[1]);
    writer = pump_start(actor->run, (struct pump){.stream = &out,
                                                  .way = PUMP_WRITES,
                                                  .key = key,
                                                  .chunk = 500 + pick(actor, 2, 3500),
                                                  .size = size,
                                                  .shuts = true});
    pump_join(actor, writer);
    EXPECT(actor, stream_close(&out) == 0);
    world_close(actor->run, ends[0]);
}

/* A wait that the thread opens and closes, and nobody polls. */
static void wait_remotely(struct actor *actor)
{
    int fd = eventfd(pick(actor, 0, 3), EFD_NONBLOCK | EFD_CLOEXEC);
    struct tocsin_wait *wait;

    NEED(fd >= 0);
    say(actor, " open %d", CALL(tocsin_wait_open)(actor->run->driver, fd, &wait));
    EXPECT(actor, CALL(tocsin_wait_close)(wait) == 0);
    close(fd);
}

static const struct op_kind ops_remote_kinds[] = {
    {"open_remotely", open_remotely, BY_THREAD, 0, 25},
    {"write_remotely", write_remotely, BY_THREAD, 0, 15},
    {"wait_remotely", wait_remotely, BY_THREAD, TOCSIN_BACKEND_DESCRIPTORS, 10},
};

OP_GROUP(ops_remote);
