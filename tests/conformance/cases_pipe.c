/*
 * Pipes and what reads and writes like them: packet pipes, ttys, FIFOs; design sections 7 and 11.
 *
 * Pipe writes raise SIGPIPE on kernels without RWF_NOSIGNAL, so the cases that write to nobody
 * ignore it, as the documentation has programs do.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "transfer.h"

enum {
    DESCRIPTORS = TOCSIN_BACKEND_DESCRIPTORS,
    MEGABYTE = 1024 * 1024,
};

/* A pool with a pipe object for one end; the other is a plain descriptor. */
struct end {
    struct tocsin_pool *pool;
    struct tocsin_pipe *pipe;
    int peer;
    struct probe probe;
    struct tocsin_context cx; /* polls on behalf of the probe */
};

static struct tocsin_pipe *open_pipe(struct conform *t, struct tocsin_pool *pool, int fd)
{
    struct tocsin_pipe *pipe = NULL;

    REQUIRE(t, tocsin_pipe_open(tocsin_pool_driver(pool), fd, &pipe) == 0);
    return pipe;
}

/* Takes @fd and @peer over. */
static void end_open(struct conform *t, struct end *end, int fd, int peer)
{
    memset(end, 0, sizeof(*end));
    end->pool = conform_pool(t);
    end->pipe = open_pipe(t, end->pool, fd);
    end->peer = peer;
    end->cx = probe_context(&end->probe, end->pool);
}

/* The pool has the read end if @reads, else the write end. */
static void end_open_pipe(struct conform *t, struct end *end, bool reads)
{
    int fds[2] = {-1, -1};

    REQUIRE(t, tocsin_pipe_pair(&fds[0], &fds[1]) == 0);
    end_open(t, end, fds[reads ? 0 : 1], fds[reads ? 1 : 0]);
}

static void end_close_peer(struct end *end)
{
    close(end->peer);
    end->peer = -1;
}

static void end_close(struct conform *t, struct end *end)
{
    CHECK_EQ(t, tocsin_pipe_close(end->pipe), 0);
    probe_turns(t, end->pool);
    CHECK_EQ(t, probe_references(&end->probe), 0);
    conform_pool_close(t, end->pool);
    if (end->peer >= 0) {
        close(end->peer);
    }
}

/* One read, of more than there is. */
static void end_reads(struct conform *t, struct end *end, const char *wanted)
{
    char bytes[100];
    int r = tocsin_pipe_read(end->pipe, bytes, sizeof(bytes), &end->cx);

    if (CHECK_EQ(t, r, strlen(wanted))) {
        CHECK(t, memcmp(bytes, wanted, strlen(wanted)) == 0);
    }
}

static void end_pends(struct conform *t, struct end *end)
{
    char byte;

    CHECK_EQ(t, tocsin_pipe_read(end->pipe, &byte, 1, &end->cx), TOCSIN_PENDING);
}

static void pipe_pair_is_nonblocking_and_not_inherited(struct conform *t)
{
    int fds[2] = {-1, -1};

    REQUIRE(t, tocsin_pipe_pair(&fds[0], &fds[1]) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(t, fd_has_flag(fds[i], O_NONBLOCK));
        CHECK(t, (fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
        close(fds[i]);
    }
}

static void pipe_owns_its_descriptor(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_pipe *pipe;
    int fds[2];
    char byte;

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    pipe = open_pipe(t, pool, fds[1]);
    CHECK(t, fd_has_flag(fds[1], O_NONBLOCK));
    CHECK_EQ(t, tocsin_pipe_release(pipe), fds[1]);
    CHECK(t, fd_is_open(fds[1]));
    pipe = open_pipe(t, pool, fds[1]);
    CHECK_EQ(t, tocsin_pipe_close(pipe), 0);
    CHECK(t, !fd_is_open(fds[1]));
    probe_turns(t, pool);
    CHECK_EQ(t, read(fds[0], &byte, 1), 0);
    CHECK_EQ(t, tocsin_pipe_close(NULL), 0);
    conform_pool_close(t, pool);
    close(fds[0]);
}

static void data_and_the_end_wake_a_read(struct conform *t)
{
    struct end end;

    end_open_pipe(t, &end, true);
    end_pends(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    end_reads(t, &end, "abc");
    end_pends(t, &end);
    CHECK_EQ(t, write(end.peer, "de", 2), 2);
    end_close_peer(&end);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 2);
    end_reads(t, &end, "de");
    end_reads(t, &end, "");
    end_reads(t, &end, "");
    end_close(t, &end);
}

static void write_into_a_full_pipe_pends_until_drained(struct conform *t)
{
    static char bytes[4096];
    struct end end;
    size_t filled = 0;
    int r;

    end_open_pipe(t, &end, false);
    while ((r = tocsin_pipe_write(end.pipe, bytes, sizeof(bytes), &end.cx)) > 0) {
        filled += (size_t)r;
    }
    CHECK_EQ(t, r, TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, end.pool));
    CHECK_EQ(t, probe_wakes(&end.probe), 0);
    while (filled > 0) {
        ssize_t n = read(end.peer, bytes, sizeof(bytes));

        REQUIRE(t, n > 0);
        filled -= (size_t)n;
    }
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_pipe_write(end.pipe, bytes, 1, &end.cx), 1);
    end_close(t, &end);
}

/* Two pipes there and back, each full most of the time; one pool works all four ends. */
static void pipes_carry_a_megabyte_both_ways(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct transfer transfers[4];
    struct probe_task tasks[4];

    for (size_t i = 0; i < 4; i += 2) {
        int fds[2] = {-1, -1};

        REQUIRE(t, tocsin_pipe_pair(&fds[0], &fds[1]) == 0);
        transfers[i] = (struct transfer){.pipe = open_pipe(t, pool, fds[0]), .size = SIZE_MAX};
        transfers[i].chunk = 1000 + 777 * i;
        transfers[i + 1] = (struct transfer){.pipe = open_pipe(t, pool, fds[1]), .size = MEGABYTE};
        probe_spawn(t, pool, &tasks[i], transfer_receive, &transfers[i]);
        probe_spawn(t, pool, &tasks[i + 1], transfer_send, &transfers[i + 1]);
    }
    for (int i = 1; i < 4; i += 2) {
        CHECK_EQ(t, probe_finish(t, pool, &tasks[i]), 0);
        CHECK_EQ(t, tocsin_pipe_close(transfers[i].pipe), 0);
    }
    for (int i = 0; i < 4; i += 2) {
        /* To the end, which the writer's close has made. */
        CHECK_EQ(t, probe_finish(t, pool, &tasks[i]), 0);
        CHECK_EQ(t, transfers[i].done, MEGABYTE);
        CHECK_EQ(t, transfers[i].wrong, 0);
        CHECK_EQ(t, tocsin_pipe_close(transfers[i].pipe), 0);
    }
    conform_pool_close(t, pool);
}

static void write_without_a_reader_is_epipe(struct conform *t)
{
    static const char bytes[4096];
    struct end end;

    REQUIRE(t, signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    end_open_pipe(t, &end, false);
    while (tocsin_pipe_write(end.pipe, bytes, sizeof(bytes), &end.cx) > 0) {
    }
    end_close_peer(&end);
    /* The pending write is woken to hear it. */
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    CHECK_EQ(t, tocsin_pipe_write(end.pipe, bytes, 1, &end.cx), -EPIPE);
    CHECK_EQ(t, tocsin_pipe_write(end.pipe, bytes, 1, &end.cx), -EPIPE);
    end_close(t, &end);
}

static void files_are_no_pipes(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_pipe *pipe = NULL;
    int file = memfd_create("conform", MFD_CLOEXEC);
    int r = tocsin_pipe_open(tocsin_pool_driver(pool), file, &pipe);
    struct probe probe = {0};

    if (r == 0) {
        /* Attaching was put off: the readiness object has the answer. */
        probe_turns(t, pool);
        r = probe_poll(pool, tocsin_pipe_ready(pipe), TOCSIN_SLOT_READ, TOCSIN_IN, &probe);
        CHECK_EQ(t, tocsin_pipe_release(pipe), file);
    }
    CHECK_EQ(t, r, -EPERM);
    CHECK(t, fd_is_open(file));
    conform_pool_close(t, pool);
    close(file);
}

static void pipe_is_closed_after_its_pool(struct conform *t)
{
    struct end end;

    end_open_pipe(t, &end, true);
    end_pends(t, &end);
    conform_pool_close(t, end.pool);
    CHECK_EQ(t, tocsin_pipe_close(end.pipe), 0);
    CHECK_EQ(t, probe_references(&end.probe), 0);
    close(end.peer);
}

/* ---- Short reads with more behind them: design 7 --------------------------------------------- */

static void packet_pipe_does_not_stall(struct conform *t)
{
    struct end end;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_DIRECT | O_NONBLOCK | O_CLOEXEC) == 0);
    end_open(t, &end, fds[0], fds[1]);
    end_pends(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    CHECK_EQ(t, write(end.peer, "d", 1), 1);
    CHECK_EQ(t, write(end.peer, "ef", 2), 2);
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    end_reads(t, &end, "abc");
    end_reads(t, &end, "d");
    end_reads(t, &end, "ef");
    end_pends(t, &end);
    end_close(t, &end);
}

static void tty_does_not_stall(struct conform *t)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios mode;
    struct end end;
    char name[64];
    int slave;

    REQUIRE(t, master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    REQUIRE(t, ptsname_r(master, name, sizeof(name)) == 0);
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(t, slave >= 0);
    /* Line by line, as terminals are: a read gets one line. */
    REQUIRE(t, tcgetattr(slave, &mode) == 0);
    mode.c_lflag |= ICANON;
    mode.c_lflag &= ~(tcflag_t)ECHO;
    REQUIRE(t, tcsetattr(slave, TCSANOW, &mode) == 0);

    end_open(t, &end, slave, master);
    end_pends(t, &end);
    CHECK_EQ(t, write(end.peer, "ab\nc\ndef\n", 9), 9);
    /* Lines pass through the kernel's own worker: the last of them tells that all are there. */
    probe_kernel_says(t, slave, POLLIN);
    for (int queued = 0; queued < 9;) {
        REQUIRE(t, ioctl(slave, FIONREAD, &queued) == 0);
    }
    probe_turns(t, end.pool);
    CHECK_EQ(t, probe_wakes(&end.probe), 1);
    end_reads(t, &end, "ab\n");
    end_reads(t, &end, "c\n");
    end_reads(t, &end, "def\n");
    end_pends(t, &end);
    end_close(t, &end);
}

CONFORM_CASES(pipe,
              CASE(pipe_pair_is_nonblocking_and_not_inherited, "7",
                   "A pipe pair is non-blocking and close-on-exec.", DESCRIPTORS),
              CASE(pipe_owns_its_descriptor, "7",
                   "A pipe makes its descriptor non-blocking, closes it, or gives it back.",
                   DESCRIPTORS),
              CASE(data_and_the_end_wake_a_read, "7",
                   "Data wakes a pending read, and so does the end.", DESCRIPTORS),
              CASE(write_into_a_full_pipe_pends_until_drained, "7",
                   "A write into a full pipe pends, asleep, until it is drained.", DESCRIPTORS),
              CASE(pipes_carry_a_megabyte_both_ways, "7",
                   "A megabyte each way at once passes two full pipes whole.", DESCRIPTORS),
              CASE(write_without_a_reader_is_epipe, "7",
                   "A pending write hears of the reader's end, and says -EPIPE.", DESCRIPTORS),
              CASE(files_are_no_pipes, "7",
                   "A regular file is refused with -EPERM and stays the caller's.", DESCRIPTORS),
              CASE(pipe_is_closed_after_its_pool, "4.6",
                   "A pipe that outlives its pool closes safely.", DESCRIPTORS),
              CASE(packet_pipe_does_not_stall, "7",
                   "Packets of an O_DIRECT pipe that came in one event are read one by one.",
                   DESCRIPTORS),
              CASE(tty_does_not_stall, "7",
                   "Lines of a tty that came in one event are read one by one.", DESCRIPTORS));
