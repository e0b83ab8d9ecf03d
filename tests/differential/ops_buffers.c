/*
 * Operations with memory and files that the ring knows beforehand.
 *
 * A ring has one table of buffers and one of files: who uses one keeps the others out.
 */
#include "differential.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <tocsin/uring_buffers.h>
#include <unistd.h>

enum {
    BUFFERS = 4,
    BUFFER_SIZE = 64,
};

static const char text[] = "what was sent through the ring";

static void tables_take(struct actor *actor)
{
    while (atomic_load_explicit(&actor->run->ring_users, memory_order_relaxed) != 0) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    atomic_store_explicit(&actor->run->ring_users, 1, memory_order_relaxed);
}

static void tables_give_back(struct actor *actor)
{
    atomic_store_explicit(&actor->run->ring_users, 0, memory_order_relaxed);
}

/* Submit, and wait for the result. */
static int32_t go(struct actor *actor, struct io_uring_sqe sqe, uint32_t *out_flags)
{
    struct tocsin_uring_op op;
    int32_t result = -1;
    int r;

    CALL(tocsin_uring_op_init)(&op, NULL);
    r = CALL(tocsin_uring_submit)(actor->run->driver, &op, &sqe);
    if (EXPECT(actor, r == 0)) {
        do {
            r = CALL(tocsin_uring_poll)(&op, actor->cx, &result, out_flags);
        } while (again(actor, r));
        EXPECT(actor, r == 0);
    }
    CALL(tocsin_uring_drop)(&op);
    return result;
}

static struct io_uring_sqe entry(unsigned opcode, int fd, void *data, unsigned size)
{
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = (unsigned char)opcode;
    sqe.fd = fd;
    sqe.addr = (uint64_t)(uintptr_t)data;
    sqe.len = size;
    return sqe;
}

/* The kernel picks a buffer for each receive; more receives than buffers, so they come back. */
static void provided_buffers(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    struct tocsin_uring_buffers *buffers;
    struct tocsin_uring_buffers *twice;
    uint16_t group = (uint16_t)actor->index;
    unsigned rounds = 1 + pick(actor, 0, 2 * BUFFERS);
    uint32_t flags = 0;
    int fds[2];
    int r;

    r = CALL(tocsin_uring_buffers_open)(driver, group, BUFFERS, BUFFER_SIZE, &buffers);
    if (r == -EOPNOTSUPP) {
        say(actor, " not in this kernel");
        return;
    }
    say(actor, " %d, twice %d, three %d", r,
        CALL(tocsin_uring_buffers_open)(driver, group, BUFFERS, BUFFER_SIZE, &twice),
        CALL(tocsin_uring_buffers_open)(driver, 100, 3, BUFFER_SIZE, &twice));
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    for (unsigned i = 0; i < rounds; i++) {
        struct io_uring_sqe sqe = entry(IORING_OP_RECV, fds[0], NULL, 0);
        size_t size = 1 + (actor->op->p[1] >> i) % (sizeof(text) - 1);
        void *buffer;
        int32_t got;

        sqe.flags = IOSQE_BUFFER_SELECT;
        sqe.buf_group = group;
        NEED(write(fds[1], text, size) == (ssize_t)size);
        got = go(actor, sqe, &flags);
        buffer = CALL(tocsin_uring_buffers_take)(buffers, flags);
        say(actor, " %d", got);
        if (EXPECT(actor, buffer != NULL)) {
            EXPECT(actor, got > 0 && memcmp(buffer, text, (size_t)got) == 0);
            CALL(tocsin_uring_buffers_put)(buffers, buffer);
        }
    }
    EXPECT(actor, CALL(tocsin_uring_buffers_take)(buffers, 0) == NULL);
    say(actor, " close %d", CALL(tocsin_uring_buffers_close)(buffers));
    close(fds[0]);
    close(fds[1]);
}

static void registered_buffers(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    char data[2][BUFFER_SIZE];
    struct iovec pieces[2] = {{data[0], BUFFER_SIZE}, {NULL, 0}};
    struct io_uring_sqe sqe;
    uint32_t flags;
    int fds[2];

    tables_take(actor);
    NEED(pipe2(fds, O_CLOEXEC) == 0);
    memcpy(data[0], text, sizeof(text));
    say(actor, " none %d", CALL(tocsin_uring_unregister_buffers)(driver));
    say(actor, " register %d", CALL(tocsin_uring_register_buffers)(driver, pieces, 2));
    say(actor, " twice %d", CALL(tocsin_uring_register_buffers)(driver, pieces, 2));
    pieces[1] = (struct iovec){data[1], BUFFER_SIZE};
    say(actor, " update %d", CALL(tocsin_uring_update_buffers)(driver, 1, &pieces[1], 1));
    sqe = entry(IORING_OP_WRITE_FIXED, fds[1], data[0], (unsigned)sizeof(text));
    sqe.buf_index = 0;
    say(actor, " write %d", go(actor, sqe, &flags));
    sqe = entry(IORING_OP_READ_FIXED, fds[0], data[1], BUFFER_SIZE);
    sqe.buf_index = 1;
    say(actor, " read %d", go(actor, sqe, &flags));
    EXPECT(actor, memcmp(data[1], text, sizeof(text)) == 0);
    say(actor, " end %d", CALL(tocsin_uring_unregister_buffers)(driver));
    close(fds[0]);
    close(fds[1]);
    tables_give_back(actor);
}

static void registered_files(struct actor *actor)
{
    struct tocsin_driver *driver = actor->run->driver;
    char data[BUFFER_SIZE];
    struct io_uring_sqe sqe;
    uint32_t flags;
    int fds[2];
    int places[2];

    tables_take(actor);
    NEED(pipe2(fds, O_CLOEXEC) == 0);
    memcpy(data, text, sizeof(text));
    places[0] = fds[0];
    places[1] = -1;
    say(actor, " none %d", CALL(tocsin_uring_unregister_files)(driver));
    say(actor, " register %d", CALL(tocsin_uring_register_files)(driver, places, 2));
    say(actor, " update %d", CALL(tocsin_uring_update_files)(driver, 1, &fds[1], 1));
    /* The ring holds them open. */
    close(fds[0]);
    close(fds[1]);
    sqe = entry(IORING_OP_WRITE, 1, data, (unsigned)sizeof(text));
    sqe.flags = IOSQE_FIXED_FILE;
    say(actor, " write %d", go(actor, sqe, &flags));
    sqe = entry(IORING_OP_READ, 0, data, BUFFER_SIZE);
    sqe.flags = IOSQE_FIXED_FILE;
    say(actor, " read %d", go(actor, sqe, &flags));
    say(actor, " end %d", CALL(tocsin_uring_unregister_files)(driver));
    tables_give_back(actor);
}

static const struct op_kind ops_buffers_kinds[] = {
    {"provided_buffers", provided_buffers, BY_TASK, TOCSIN_BACKEND_URING, 10},
    {"registered_buffers", registered_buffers, BY_TASK, TOCSIN_BACKEND_URING, 8},
    {"registered_files", registered_files, BY_TASK, TOCSIN_BACKEND_URING, 8},
};

OP_GROUP(ops_buffers);
