/*
 * Operations on pipes and waits.
 */
#include "differential.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SMALL_MAX = 256,
};

static int pipe_read(struct actor *actor, struct tocsin_pipe *pipe, void *data, size_t size)
{
    int r;

    do {
        r = CALL(tocsin_pipe_read)(pipe, data, size, actor->cx);
    } while (again(actor, r));
    return r;
}

static int pipe_write(struct actor *actor, struct tocsin_pipe *pipe, const void *data, size_t size)
{
    int r;

    do {
        r = CALL(tocsin_pipe_write)(pipe, data, size, actor->cx);
    } while (again(actor, r));
    return r;
}

static void pipes_open(struct actor *actor, struct tocsin_pipe *pipes[2])
{
    int fds[2];

    NEED(CALL(tocsin_pipe_pair)(&fds[0], &fds[1]) == 0);
    NEED(CALL(tocsin_pipe_open)(actor->run->driver, fds[0], &pipes[0]) == 0);
    NEED(CALL(tocsin_pipe_open)(actor->run->driver, fds[1], &pipes[1]) == 0);
}

/* The last writer goes: the end; the reader goes: EPIPE. */
static void pipe_ends(struct actor *actor)
{
    struct tocsin_pipe *pipes[2];
    unsigned char data[SMALL_MAX] = {0};
    size_t size = 1 + pick(actor, 0, SMALL_MAX);

    pipes_open(actor, pipes);
    say(actor, " write %d", pipe_write(actor, pipes[1], data, size));
    say(actor, " read %d", pipe_read(actor, pipes[0], data, sizeof(data)));
    if (pick(actor, 1, 2) == 0) {
        say(actor, " close %d", CALL(tocsin_pipe_close)(pipes[1]));
        say(actor, " read %d", pipe_read(actor, pipes[0], data, sizeof(data)));
        say(actor, " close %d", CALL(tocsin_pipe_close)(pipes[0]));
    } else {
        say(actor, " close %d", CALL(tocsin_pipe_close)(pipes[0]));
        say(actor, " write %d", pipe_write(actor, pipes[1], data, size));
        say(actor, " close %d", CALL(tocsin_pipe_close)(pipes[1]));
    }
}

static void pipe_release(struct actor *actor)
{
    struct tocsin_pipe *pipes[2];
    unsigned char byte = 1;
    int fd;
    int r;

    pipes_open(actor, pipes);
    do {
        r = CALL(tocsin_fd_ready_poll)(CALL(tocsin_pipe_ready)(pipes[1]), TOCSIN_SLOT_WRITE,
                                       TOCSIN_OUT, actor->cx);
    } while (again(actor, r));
    say(actor, " out %d", r & TOCSIN_OUT);
    fd = CALL(tocsin_pipe_release)(pipes[1]);
    NEED(write(fd, &byte, 1) == 1);
    say(actor, " read %d", pipe_read(actor, pipes[0], &byte, 1));
    close(fd);
    say(actor, " end %d", pipe_read(actor, pipes[0], &byte, 1));
    say(actor, " close %d", CALL(tocsin_pipe_close)(pipes[0]));
}

/* ---- Waits ----------------------------------------------------------------------------------- */

static int wait_for(struct actor *actor, struct tocsin_wait *wait, uint64_t *out_value)
{
    int r;

    do {
        r = CALL(tocsin_wait_poll)(wait, actor->cx, out_value);
    } while (again(actor, r));
    return r;
}

/* Signals that merge in the counter, or not, with a poll given up before them. */
static void wait_for_signals(struct actor *actor)
{
    bool semaphore = pick(actor, 0, 2) == 0;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : 0));
    uint64_t count = 1 + pick(actor, 1, 5);
    struct tocsin_wait *wait;
    uint64_t value = 0;
    uint64_t sum = 0;
    int r;

    NEED(fd >= 0);
    NEED(CALL(tocsin_wait_open)(actor->run->driver, fd, &wait) == 0);
    r = CALL(tocsin_wait_poll)(wait, actor->cx, &value);
    say(actor, " %s", r == TOCSIN_PENDING ? "pending" : "not pending");
    if (pick(actor, 2, 2) == 0) {
        say(actor, " cancel %d", CALL(tocsin_wait_cancel)(wait, &value));
    }
    NEED(write(fd, &count, sizeof(count)) == sizeof(count));
    while (sum < count) {
        r = wait_for(actor, wait, &value);
        say(actor, " %d %u", r, (unsigned)value);
        sum += value;
    }
    r = CALL(tocsin_wait_poll)(wait, actor->cx, &value);
    say(actor, " %s, cancel %d", r == TOCSIN_PENDING ? "pending" : "not pending",
        CALL(tocsin_wait_cancel)(wait, NULL));
    say(actor, " close %d", CALL(tocsin_wait_close)(wait));
    close(fd);
}

/* A blocking descriptor is refused. */
static void wait_refused(struct actor *actor)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    struct tocsin_wait *wait;

    say(actor, " %d", CALL(tocsin_wait_open)(actor->run->driver, fd, &wait));
    close(fd);
}

static const struct op_kind ops_pipe_kinds[] = {
    {"pipe_ends", pipe_ends, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 12},
    {"pipe_release", pipe_release, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 12},
    {"wait_for_signals", wait_for_signals, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 18},
    {"wait_refused", wait_refused, BY_TASK | BY_THREAD, TOCSIN_BACKEND_DESCRIPTORS, 5},
};

OP_GROUP(ops_pipe);
