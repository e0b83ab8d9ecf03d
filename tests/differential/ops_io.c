/*
 * Single operations on descriptors, by io_uring or without: the same results both ways.
 */
#include "differential.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tocsin/uring_io.h>
#include <unistd.h>

enum {
    SMALL_MAX = 256,
};

struct io {
    struct tocsin_uring_io io;
    struct tally released;
    atomic_uint lates;
    int32_t late;
};

static void io_is_late(struct tocsin_uring_io *base, int32_t result)
{
    struct io *io = (struct io *)(void *)base;

    io->late = result;
    atomic_fetch_add_explicit(&io->lates, 1, memory_order_relaxed);
}

static void io_is_released(struct tocsin_uring_io *base)
{
    tally_add(&((struct io *)(void *)base)->released);
}

static const struct tocsin_uring_io_ops io_ops = {io_is_late, io_is_released};

static void io_init(struct io *io)
{
    memset(io, 0, sizeof(*io));
    tally_init(&io->released);
    CALL(tocsin_uring_io_init)(&io->io, &io_ops);
}

static void io_end(struct actor *actor, struct io *io)
{
    CALL(tocsin_uring_io_drop)(&io->io);
    tally_await(actor, &io->released, 1);
    say(actor, " late %u", atomic_load_explicit(&io->lates, memory_order_acquire));
    tally_deinit(&io->released);
}

/* The result of what was started with @started; a start that fails says that. */
static int32_t io_result(struct actor *actor, struct io *io, int started)
{
    int32_t result = 0;
    int r = started;

    if (started == -EOPNOTSUPP) {
        say_not_here(actor, TOCSIN_BACKEND_URING);
    }
    if (started == 0) {
        do {
            r = CALL(tocsin_uring_io_poll)(&io->io, actor->cx, &result);
        } while (again(actor, r));
    }
    say(actor, " %d %d", r, result);
    return r < 0 ? r : result;
}

/* ---- Streams --------------------------------------------------------------------------------- */

static void io_pipe(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    unsigned char out[SMALL_MAX];
    unsigned char in[SMALL_MAX];
    size_t size = 1 + pick(actor, 0, SMALL_MAX);
    struct io reading;
    struct io writing;
    int started;
    int fds[2];

    NEED(pipe2(fds, O_CLOEXEC | (pick(actor, 1, 2) == 0 ? O_NONBLOCK : 0)) == 0);
    bytes_fill(out, size, 1, 0);
    io_init(&reading);
    io_init(&writing);
    started = CALL(tocsin_uring_io_read)(driver, &reading.io, fds[0], in, sizeof(in), -1);
    say(actor, " busy %d",
        CALL(tocsin_uring_io_read)(driver, &reading.io, fds[0], in, sizeof(in), -1));
    io_result(actor, &writing,
              CALL(tocsin_uring_io_write)(driver, &writing.io, fds[1], out, size, -1));
    io_result(actor, &reading, started);
    EXPECT(actor, memcmp(in, out, size) == 0);
    close(fds[1]);
    io_result(actor, &reading,
              CALL(tocsin_uring_io_read)(driver, &reading.io, fds[0], in, sizeof(in), -1));
    io_end(actor, &reading);
    io_end(actor, &writing);
    close(fds[0]);
}

static void io_socket(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    unsigned char data[SMALL_MAX] = {0};
    size_t size = 1 + pick(actor, 0, SMALL_MAX);
    struct io io;
    int fds[2];

    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    io_init(&io);
    io_result(actor, &io, CALL(tocsin_uring_io_send)(driver, &io.io, fds[0], data, size, 0));
    io_result(actor, &io,
              CALL(tocsin_uring_io_recv)(driver, &io.io, fds[1], data, sizeof(data), 0));
    io_result(actor, &io, CALL(tocsin_uring_io_close)(driver, &io.io, fds[0]));
    io_result(actor, &io,
              CALL(tocsin_uring_io_recv)(driver, &io.io, fds[1], data, sizeof(data), 0));
    io_result(actor, &io, CALL(tocsin_uring_io_send)(driver, &io.io, fds[1], data, size, 0));
    io_result(actor, &io, CALL(tocsin_uring_io_close)(driver, &io.io, fds[1]));
    io_result(actor, &io, CALL(tocsin_uring_io_close)(driver, &io.io, -1));
    io_end(actor, &io);
}

static void io_accept(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    struct sockaddr_in address;
    int listener = listener_open(&address);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct io accepting;
    struct io connecting;
    int started;
    int fd;

    NEED(client >= 0);
    io_init(&accepting);
    io_init(&connecting);
    NEED(fcntl(listener, F_SETFL, 0) == 0);
    started =
        CALL(tocsin_uring_io_accept)(driver, &accepting.io, listener, NULL, NULL, SOCK_CLOEXEC);
    io_result(actor, &connecting,
              CALL(tocsin_uring_io_connect)(driver, &connecting.io, client,
                                            (struct sockaddr *)&address, sizeof(address)));
    NEED(started == 0);
    do {
        started = CALL(tocsin_uring_io_poll)(&accepting.io, actor->cx, &fd);
    } while (again(actor, started));
    say(actor, " accept %d %d", started, fd >= 0);
    close(fd);
    close(client);
    close(listener);
    io_end(actor, &accepting);
    io_end(actor, &connecting);
}

static void io_poll_fd(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    struct io io;
    int started;
    int fds[2];

    NEED(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    io_init(&io);
    say(actor, " none %d", CALL(tocsin_uring_io_poll_fd)(driver, &io.io, fds[0], 0));
    io_result(actor, &io,
              CALL(tocsin_uring_io_poll_fd)(driver, &io.io, fds[1], TOCSIN_IN | TOCSIN_OUT));
    started = CALL(tocsin_uring_io_poll_fd)(driver, &io.io, fds[0], TOCSIN_IN);
    NEED(write(fds[1], "x", 1) == 1);
    io_result(actor, &io, started);
    io_end(actor, &io);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static void io_file(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    unsigned char data[SMALL_MAX] = {0};
    size_t size = 1 + pick(actor, 0, SMALL_MAX);
    int64_t offset = pick(actor, 1, 1000);
    int file = memfd_create("differential", MFD_CLOEXEC);
    struct statx about = {0};
    struct io io;
    int fd;

    NEED(file >= 0);
    io_init(&io);
    io_result(actor, &io, CALL(tocsin_uring_io_write)(driver, &io.io, file, data, size, offset));
    io_result(actor, &io,
              CALL(tocsin_uring_io_read)(driver, &io.io, file, data, sizeof(data), offset));
    io_result(actor, &io, CALL(tocsin_uring_io_fsync)(driver, &io.io, file, offset % 2 == 0));
    io_result(actor, &io,
              CALL(tocsin_uring_io_statx)(driver, &io.io, file, "", AT_EMPTY_PATH, &about));
    say(actor, " size %u", (unsigned)about.stx_size);
    io_result(
        actor, &io,
        CALL(tocsin_uring_io_statx)(driver, &io.io, AT_FDCWD, "/there/is/no/such/file", 0, &about));
    io_result(actor, &io,
              CALL(tocsin_uring_io_openat)(driver, &io.io, AT_FDCWD, "/there/is/no/such/file",
                                           O_RDONLY | O_CLOEXEC, 0));
    if (CALL(tocsin_uring_io_openat)(driver, &io.io, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC,
                                     0) == 0) {
        int r;

        do {
            r = CALL(tocsin_uring_io_poll)(&io.io, actor->cx, &fd);
        } while (again(actor, r));
        say(actor, " open %d %d", r, fd >= 0);
        close(fd);
    }
    io_end(actor, &io);
    close(file);
}

/* ---- Time, and ends -------------------------------------------------------------------------- */

static void io_timeout(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    uint64_t due_ns = CALL(tocsin_driver_now_ns)(driver) + pick(actor, 0, 4) * UINT64_C(50000);
    struct io io;

    io_init(&io);
    say(actor, " early %d", CALL(tocsin_uring_io_cancel)(&io.io));
    io_result(actor, &io, CALL(tocsin_uring_io_timeout)(driver, &io.io, due_ns));
    EXPECT(actor, CALL(tocsin_driver_now_ns)(driver) >= due_ns);
    say(actor, " start %d", CALL(tocsin_uring_io_timeout)(driver, &io.io, TOCSIN_NEVER_NS));
    say(actor, " cancel %d", CALL(tocsin_uring_io_cancel)(&io.io));
    io_result(actor, &io, 0);
    io_end(actor, &io);
}

/* Dropped in flight, or cancelled and dropped; also from a thread. */
static void io_drop(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    unsigned char data[SMALL_MAX];
    struct io io;
    int fds[2];

    NEED(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    io_init(&io);
    say(actor, " start %d",
        pick(actor, 0, 2) == 0
            ? CALL(tocsin_uring_io_timeout)(driver, &io.io, TOCSIN_NEVER_NS)
            : CALL(tocsin_uring_io_read)(driver, &io.io, fds[0], data, sizeof(data), -1));
    if (pick(actor, 1, 2) == 0) {
        say(actor, " cancel %d", CALL(tocsin_uring_io_cancel)(&io.io));
    }
    io_end(actor, &io);
    say(actor, " %d", io.late);
    close(fds[0]);
    close(fds[1]);
}

static const struct op_kind ops_io_kinds[] = {
    {"io_pipe", io_pipe, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 15},
    {"io_socket", io_socket, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 15},
    {"io_accept", io_accept, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
    {"io_poll_fd", io_poll_fd, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
    {"io_file", io_file, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
    {"io_timeout", io_timeout, BY_TASK, 0, 12},
    {"io_drop", io_drop, BY_TASK | BY_THREAD, TOCSIN_BACKEND_DESCRIPTORS, 12},
};

OP_GROUP(ops_io);
