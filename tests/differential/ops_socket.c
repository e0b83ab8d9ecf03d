/*
 * Operations on connected sockets.
 */
#include "differential.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SMALL_MAX = 256,
    TRANSFER_MAX = 300000, /* more than a socket or a pipe holds */
};

/* From one pump to another, through more than there is room for. */
static void transfer(struct actor *actor)
{
    static const enum pair_kind kinds[] = {PAIR_STREAM, PAIR_TCP, PAIR_PIPE};
    enum pair_kind kind = kinds[pick(actor, 0, 3)];
    uint64_t size = 1 + pick(actor, 1, 2) * pick(actor, 2, TRANSFER_MAX);
    uint32_t chunks = actor->op->p[3];
    struct stream out;
    struct stream in;
    struct pump *writer;
    struct pump *reader;
    intptr_t ends[2];

    world_pair(actor, kind, ends);
    stream_open(&in, actor->run, kind, ends[0]);
    stream_open(&out, actor->run, kind, ends[1]);
    reader = pump_start(actor->run,
                        (struct pump){.stream = &in,
                                      .way = chunks % 2 == 0 ? PUMP_READS : PUMP_READS_PIECES,
                                      .key = actor->op->p[2],
                                      .chunk = 100 + chunks % 4000,
                                      .size = size + 1});
    writer = pump_start(actor->run,
                        (struct pump){.stream = &out,
                                      .way = chunks % 3 == 0 ? PUMP_WRITES : PUMP_WRITES_PIECES,
                                      .key = actor->op->p[2],
                                      .chunk = 100 + chunks / 5 % 4000,
                                      .size = size});
    pump_join(actor, writer);
    say(actor, " close %d", stream_close(&out)); /* what ends the reader */
    pump_join(actor, reader);
    say(actor, " close %d", stream_close(&in));
}

/* Both directions at once, each end read and written by a pump of its own. */
static void duplex(struct actor *actor)
{
    uint64_t size = 1 + pick(actor, 0, 30000);
    enum pair_kind kind = pick(actor, 1, 2) == 0 ? PAIR_STREAM : PAIR_TCP;
    struct stream streams[2];
    struct pump *pumps[4];
    intptr_t ends[2];

    world_pair(actor, kind, ends);
    for (unsigned i = 0; i < 2; i++) {
        stream_open(&streams[i], actor->run, kind, ends[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        bool writes = i % 2 == 0;

        pumps[i] = pump_start(actor->run, (struct pump){.stream = &streams[i / 2],
                                                        .way = writes ? PUMP_WRITES : PUMP_READS,
                                                        .key = (i == 0 || i == 3) ? 1 : 2,
                                                        .chunk = 500 + pick(actor, 2, 2000),
                                                        .size = writes ? size : size + 1,
                                                        .shuts = writes});
    }
    for (unsigned i = 0; i < 4; i++) {
        pump_join(actor, pumps[i]);
    }
    say(actor, " close %d", stream_close(&streams[0]));
    say(actor, " %d", stream_close(&streams[1]));
}

/* Closed under a task that waits for it: no word, no crash. */
static void close_under_a_reader(struct actor *actor)
{
    struct stream streams[2];
    struct pump *reader;
    intptr_t ends[2];

    world_pair(actor, PAIR_STREAM, ends);
    stream_open(&streams[0], actor->run, PAIR_STREAM, ends[0]);
    stream_open(&streams[1], actor->run, PAIR_STREAM, ends[1]);
    reader = pump_start(actor->run, (struct pump){.stream = &streams[0], .size = 10});
    for (unsigned i = 0; i < pick(actor, 0, 3); i++) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    pump_cancel(actor, reader);
    say(actor, " close %d", stream_close(&streams[0]));
    say(actor, " %d", stream_close(&streams[1]));
}

/* ---- Sockets of the library only ------------------------------------------------------------- */

static void sockets_open(struct actor *actor, int type, struct tocsin_socket *sockets[2])
{
    int fds[2];

    NEED(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    for (unsigned i = 0; i < 2; i++) {
        NEED(CALL(tocsin_socket_open)(actor->run->driver, fds[i], &sockets[i]) == 0);
        EXPECT(actor, CALL(tocsin_socket_fd)(sockets[i]) == fds[i]);
    }
}

static int write_all(struct actor *actor, struct tocsin_socket *socket, const void *data,
                     size_t size)
{
    int r;

    do {
        r = CALL(tocsin_socket_write)(socket, data, size, actor->cx);
    } while (again(actor, r));
    return r;
}

static int read_some(struct actor *actor, struct tocsin_socket *socket, void *data, size_t size)
{
    int r;

    do {
        r = CALL(tocsin_socket_read)(socket, data, size, actor->cx);
    } while (again(actor, r));
    return r;
}

static void peek(struct actor *actor)
{
    struct tocsin_socket *sockets[2];
    unsigned char data[SMALL_MAX];
    size_t size = 1 + pick(actor, 0, SMALL_MAX);
    int r;

    sockets_open(actor, SOCK_STREAM, sockets);
    bytes_fill(data, size, 1, 0);
    say(actor, " wrote %d", write_all(actor, sockets[1], data, size));
    memset(data, 0, sizeof(data));
    do {
        r = CALL(tocsin_socket_peek)(sockets[0], data, sizeof(data), actor->cx);
    } while (again(actor, r));
    say(actor, " peeked %d %d", r, r > 0 && bytes_are(data, (size_t)r, 1, 0));
    say(actor, " read %d", read_some(actor, sockets[0], data, sizeof(data)));
    say(actor, " close %d", CALL(tocsin_socket_close)(sockets[0]));
    say(actor, " %d", CALL(tocsin_socket_close)(sockets[1]));
}

/* Messages keep their bounds. */
static void messages(struct actor *actor)
{
    struct tocsin_socket *sockets[2];
    unsigned char data[SMALL_MAX];
    unsigned count = 1 + pick(actor, 0, 5);
    int type = pick(actor, 1, 2) == 0 ? SOCK_SEQPACKET : SOCK_DGRAM;

    sockets_open(actor, type, sockets);
    for (unsigned i = 0; i < count; i++) {
        bytes_fill(data, 1 + i * 7, i, 0);
        say(actor, " %d", write_all(actor, sockets[0], data, 1 + i * 7));
    }
    for (unsigned i = 0; i < count; i++) {
        int r = read_some(actor, sockets[1], data, sizeof(data));

        say(actor, " %d", r);
        EXPECT(actor, r > 0 && bytes_are(data, (size_t)r, i, 0));
    }
    say(actor, " close %d", CALL(tocsin_socket_close)(sockets[0]));
    say(actor, " %d", CALL(tocsin_socket_close)(sockets[1]));
}

/* Each direction shut down, and what both ends then see. */
static void shut_down(struct actor *actor)
{
    struct tocsin_socket *sockets[2];
    unsigned char data[SMALL_MAX] = {0};
    enum tocsin_shutdown how = (enum tocsin_shutdown)pick(actor, 0, 3);

    sockets_open(actor, SOCK_STREAM, sockets);
    say(actor, " %d", CALL(tocsin_socket_shutdown)(sockets[0], how));
    if (how != TOCSIN_SHUTDOWN_READ) {
        say(actor, " peer reads %d", read_some(actor, sockets[1], data, sizeof(data)));
        say(actor, " writes %d", write_all(actor, sockets[0], data, 1));
    } else {
        say(actor, " reads %d", read_some(actor, sockets[0], data, sizeof(data)));
        say(actor, " peer writes %d", write_all(actor, sockets[1], data, 1));
    }
    say(actor, " close %d", CALL(tocsin_socket_close)(sockets[0]));
    say(actor, " peer reads %d", read_some(actor, sockets[1], data, sizeof(data)));
    say(actor, " writes %d", write_all(actor, sockets[1], data, 1));
    say(actor, " close %d", CALL(tocsin_socket_close)(sockets[1]));
}

static int try_receive(intptr_t fd, void *arg)
{
    ssize_t r = recv((int)fd, arg, SMALL_MAX, 0);

    return r < 0 ? -errno : (int)r;
}

/* Taken apart: its own operation, its readiness, its descriptor given back. */
static void release(struct actor *actor)
{
    struct tocsin_socket *sockets[2];
    unsigned char data[SMALL_MAX] = {0};
    struct tocsin_socket *wrong;
    intptr_t fd;
    int pipe_fds[2];
    int r;

    sockets_open(actor, SOCK_STREAM, sockets);
    do {
        r = CALL(tocsin_fd_ready_poll)(CALL(tocsin_socket_ready)(sockets[0]), TOCSIN_SLOT_WRITE,
                                       TOCSIN_OUT, actor->cx);
    } while (again(actor, r));
    say(actor, " out %d", r & TOCSIN_OUT);
    say(actor, " wrote %d", write_all(actor, sockets[1], data, 1 + pick(actor, 0, 9)));
    do {
        r = CALL(tocsin_socket_poll_io)(sockets[0], TOCSIN_SLOT_READ, TOCSIN_IN, try_receive, data,
                                        actor->cx);
    } while (again(actor, r));
    say(actor, " got %d", r);
    fd = CALL(tocsin_socket_release)(sockets[0]);
    EXPECT(actor, fd >= 0 && (fcntl((int)fd, F_GETFL) & O_NONBLOCK) != 0);
    close((int)fd);
    say(actor, " close %d", CALL(tocsin_socket_close)(sockets[1]));

    NEED(CALL(tocsin_pipe_pair)(&pipe_fds[0], &pipe_fds[1]) == 0);
    say(actor, " pipe %d", CALL(tocsin_socket_open)(actor->run->driver, pipe_fds[0], &wrong));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static const struct op_kind ops_socket_kinds[] = {
    {"transfer", transfer, BY_TASK, 0, 25},
    {"duplex", duplex, BY_TASK, 0, 12},
    {"close_under_a_reader", close_under_a_reader, BY_TASK, 0, 12},
    {"peek", peek, BY_TASK, TOCSIN_BACKEND_SOCKETS, 10},
    {"messages", messages, BY_TASK, TOCSIN_BACKEND_SOCKETS, 10},
    {"shut_down", shut_down, BY_TASK, TOCSIN_BACKEND_SOCKETS, 12},
    {"release", release, BY_TASK, TOCSIN_BACKEND_SOCKETS, 12},
};

OP_GROUP(ops_socket);
