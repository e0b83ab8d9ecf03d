/*
 * Provided buffers, registered buffers and files, and sends that copy nothing.
 */
#include <tocsin/uring_buffers.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/uring.h"

enum {
    GROUP = 7,
    SIZE = 64,
};

/* What io_uring_register answers to each of these calls but the probe, if not 0. */
static int register_errno;

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_io_uring_register && register_errno != 0) {
        errno = register_errno;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

static int open_group(struct unit_uring *uring, uint32_t count,
                      struct tocsin_uring_buffers **out_buffers)
{
    return tocsin_uring_buffers_open(uring->driver, GROUP, count, SIZE, out_buffers);
}

/* Skips where the kernel has no provided buffer rings. */
static struct tocsin_uring_buffers *open_or_skip(struct unit_uring *uring, uint32_t count)
{
    struct tocsin_uring_buffers *buffers = NULL;
    int r = open_group(uring, count, &buffers);

    if (r == -EOPNOTSUPP) {
        unit_uring_end(uring);
        unit_skip("no provided buffer rings before Linux 5.19");
    }
    assert_int_equal(r, 0);
    return buffers;
}

static struct io_uring_sqe sqe_recv(int fd, unsigned ioprio)
{
    struct io_uring_sqe sqe = {
        .opcode = IORING_OP_RECV,
        .flags = IOSQE_BUFFER_SELECT,
        .ioprio = (uint16_t)ioprio,
        .fd = fd,
        .buf_group = GROUP,
    };

    return sqe;
}

static void socket_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* Turns until @op has completed once more. */
static void complete(struct unit_uring *uring, struct unit_op *op)
{
    unit_turns_until(uring, &op->completes, unit_load(&op->completes) + 1);
}

static int submit_and_complete(struct unit_uring *uring, struct unit_op *op,
                               const struct io_uring_sqe *sqe)
{
    assert_int_equal(unit_submit(uring, op, sqe), 0);
    complete(uring, op);
    return op->result;
}

/* ---- Provided buffers ------------------------------------------------------------------------ */

static void a_completion_names_the_buffer_that_was_filled(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;
    struct unit_op op;
    struct io_uring_sqe sqe;
    int fds[2];

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 2);
    socket_pair(fds);
    unit_op_init(&op);
    sqe = sqe_recv(fds[0], 0);
    for (unsigned i = 0; i < 9; i++) { /* round the ring more than once */
        char text[2] = {(char)('a' + i), 0};
        char *buffer;

        assert_int_equal(send(fds[1], text, 2, 0), 2);
        assert_int_equal(submit_and_complete(&uring, &op, &sqe), 2);
        buffer = tocsin_uring_buffers_take(buffers, op.flags);
        assert_non_null(buffer);
        assert_string_equal(buffer, text);
        memset(buffer, 0, SIZE);
        tocsin_uring_buffers_put(buffers, buffer);
    }
    tocsin_uring_drop(&op.op);
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    close_pair(fds);
    unit_uring_end(&uring);
}

static void a_completion_without_a_buffer_gives_none(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 1);
    assert_null(tocsin_uring_buffers_take(buffers, IORING_CQE_F_MORE));
    assert_non_null(tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER));
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    unit_uring_end(&uring);
}

static void buffers_lie_page_aligned_one_after_the_other(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;
    char *first;
    char *third;

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 4);
    first = tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER);
    third = tocsin_uring_buffers_take(buffers, 2U << IORING_CQE_BUFFER_SHIFT | IORING_CQE_F_BUFFER);
    assert_int_equal((uintptr_t)first % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
    assert_ptr_equal(third, first + 2 * SIZE);
    memset(first, 1, 4 * SIZE); /* all of it is there: the sanitizer looks on */
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    unit_uring_end(&uring);
}

/* What a multishot receive brought. */
struct stream {
    struct tocsin_uring_buffers *buffers;
    char *taken[4];
    unsigned count;
};

static void take_it(struct unit_op *op)
{
    struct stream *stream = op->arg;

    if ((op->flags & IORING_CQE_F_BUFFER) != 0) {
        stream->taken[stream->count++] = tocsin_uring_buffers_take(stream->buffers, op->flags);
    }
}

/* Submits @op as a multishot receive; false: it is not known, before Linux 6.0. */
static bool receive_all(struct unit_uring *uring, struct unit_op *op, struct stream *stream, int fd)
{
    struct io_uring_sqe sqe = sqe_recv(fd, IORING_RECV_MULTISHOT);

    unit_op_init(op);
    op->on_complete = take_it;
    op->arg = stream;
    return submit_and_complete(uring, op, &sqe) != -EINVAL;
}

static void a_multishot_receive_out_of_buffers_ends_and_goes_on(void **state)
{
    struct unit_uring uring = {0};
    struct stream stream = {0};
    struct unit_op op;
    struct unit_op again;
    int fds[2];

    (void)state;
    unit_uring_start(&uring);
    stream.buffers = open_or_skip(&uring, 2);
    socket_pair(fds);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(send(fds[1], &"x\0y\0z"[2 * i], 2, 0), 2);
    }
    if (!receive_all(&uring, &op, &stream, fds[0])) {
        tocsin_uring_drop(&op.op);
        tocsin_uring_buffers_close(stream.buffers);
        close_pair(fds);
        unit_uring_end(&uring);
        unit_skip("no multishot receive before Linux 6.0");
    }
    unit_turns_until(&uring, &op.completes, 3);
    assert_int_equal(unit_load(&op.completes), 3);
    assert_int_equal(op.result, -ENOBUFS);
    assert_int_equal(op.flags & IORING_CQE_F_MORE, 0);
    assert_int_equal(stream.count, 2);
    assert_string_equal(stream.taken[0], "x");
    assert_string_equal(stream.taken[1], "y");

    tocsin_uring_buffers_put(stream.buffers, stream.taken[1]);
    tocsin_uring_buffers_put(stream.buffers, stream.taken[0]);
    assert_true(receive_all(&uring, &again, &stream, fds[0]));
    assert_int_equal(stream.count, 3);
    assert_string_equal(stream.taken[2], "z");
    assert_ptr_equal(stream.taken[2], stream.taken[1]); /* the first that was put back */

    tocsin_uring_drop(&op.op);
    tocsin_uring_drop(&again.op);
    unit_turns_until(&uring, &again.releases, 1);
    assert_int_equal(tocsin_uring_buffers_close(stream.buffers), 0);
    close_pair(fds);
    unit_uring_end(&uring);
}

static struct tocsin_uring_buffers *late_buffers;
static unsigned late_taken;
static atomic_uint late_released;

static void take_late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    void *buffer = tocsin_uring_buffers_take(late_buffers, flags);

    (void)op;
    (void)result;
    if (buffer != NULL) {
        late_taken++;
        tocsin_uring_buffers_put(late_buffers, buffer);
    }
}

static void late_release(struct tocsin_uring_op *op)
{
    (void)op;
    atomic_fetch_add_explicit(&late_released, 1, memory_order_relaxed);
}

static void a_dropped_receive_gives_its_buffer_to_late(void **state)
{
    static const struct tocsin_uring_op_ops ops = {.late = take_late, .release = late_release};
    struct unit_uring uring = {0};
    struct tocsin_uring_op op;
    struct io_uring_sqe sqe;
    int fds[2];

    (void)state;
    unit_uring_start(&uring);
    late_buffers = open_or_skip(&uring, 1);
    socket_pair(fds);
    sqe = sqe_recv(fds[0], 0);
    late_taken = 0;
    for (unsigned i = 0; i < 3; i++) { /* with one buffer: it is put back each time */
        assert_int_equal(send(fds[1], "x", 1, 0), 1);
        tocsin_uring_op_init(&op, &ops);
        atomic_store_explicit(&late_released, 0, memory_order_relaxed);
        assert_int_equal(tocsin_uring_submit(uring.driver, &op, &sqe), 0);
        tocsin_uring_drop(&op);
        unit_turns_until(&uring, &late_released, 1);
        if (late_taken <= i) { /* the cancel was faster: the datagram is still there */
            assert_int_equal(recv(fds[0], &(char){0}, 1, 0), 1);
            late_taken = i + 1;
        }
    }
    assert_int_equal(tocsin_uring_buffers_close(late_buffers), 0);
    close_pair(fds);
    unit_uring_end(&uring);
}

static void what_cannot_be_a_group_is_refused(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;
    struct tocsin_uring_buffers *other = NULL;
    unsigned live;

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 2);
    live = unit_load(&uring.memory.live);
    assert_int_equal(open_group(&uring, 0, &other), -EINVAL);
    assert_int_equal(open_group(&uring, 3, &other), -EINVAL);
    assert_int_equal(open_group(&uring, 65536, &other), -EINVAL);
    assert_int_equal(tocsin_uring_buffers_open(uring.driver, 8, 2, 0, &other), -EINVAL);
    assert_int_equal(open_group(&uring, 2, &other), -EEXIST);
    atomic_store_explicit(&uring.memory.fail_at, 1, memory_order_relaxed);
    assert_int_equal(tocsin_uring_buffers_open(uring.driver, 8, 2, SIZE, &other), -ENOMEM);
    assert_null(other);
    assert_int_equal(unit_load(&uring.memory.live), live);
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    assert_int_equal(open_group(&uring, 2, &buffers), 0); /* the group was given back */
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    assert_int_equal(tocsin_uring_buffers_close(NULL), 0);
    unit_uring_end(&uring);
}

static void a_kernel_without_buffer_rings_is_told_from_bad_arguments(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers = NULL;
    unsigned live;

    (void)state;
    unit_uring_start(&uring);
    live = unit_load(&uring.memory.live);
    register_errno = EINVAL;
    assert_int_equal(open_group(&uring, 2, &buffers), -EOPNOTSUPP);
    register_errno = EPERM;
    assert_int_equal(open_group(&uring, 2, &buffers), -EOPNOTSUPP);
    register_errno = ENOMEM;
    assert_int_equal(open_group(&uring, 2, &buffers), -ENOMEM);
    register_errno = 0;
    assert_null(buffers);
    assert_null(tocsin_uring_reason(uring.driver));
    assert_int_equal(unit_load(&uring.memory.live), live);
    unit_uring_end(&uring);
}

static void after_the_pool_has_closed_only_memory_is_left(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;
    struct tocsin_uring_buffers *other = NULL;
    struct tocsin_driver *driver;

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 2);
    driver = tocsin_driver_ref(uring.driver);
    assert_int_equal(tocsin_pool_close(uring.pool), 0);
    assert_int_equal(tocsin_uring_buffers_open(driver, 8, 2, SIZE, &other), -ESHUTDOWN);
    assert_int_equal(tocsin_uring_register_files(driver, &(int){-1}, 1), -ESHUTDOWN);
    tocsin_driver_unref(driver);
    assert_true(unit_load(&uring.memory.live) > 0);
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    assert_int_equal(unit_load(&uring.memory.live), 0);
}

/* ---- Bugs that abort, other threads, forked children ----------------------------------------- */

static void take_twice(void *arg)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers = NULL;

    (void)arg;
    unit_uring_start(&uring);
    UNIT_CHECK(open_group(&uring, 2, &buffers) == 0);
    tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER);
    tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER);
}

static void put_twice(void *arg)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers = NULL;
    void *buffer;

    (void)arg;
    unit_uring_start(&uring);
    UNIT_CHECK(open_group(&uring, 2, &buffers) == 0);
    buffer = tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER);
    tocsin_uring_buffers_put(buffers, buffer);
    tocsin_uring_buffers_put(buffers, buffer);
}

static void put_amiss(void *arg)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers = NULL;
    char *buffer;

    (void)arg;
    unit_uring_start(&uring);
    UNIT_CHECK(open_group(&uring, 2, &buffers) == 0);
    buffer = tocsin_uring_buffers_take(buffers, IORING_CQE_F_BUFFER);
    tocsin_uring_buffers_put(buffers, buffer + 1);
}

static void a_buffer_in_two_hands_aborts(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_uring_buffers *buffers;

    (void)state;
    unit_uring_start(&uring);
    buffers = open_or_skip(&uring, 1);
    assert_int_equal(tocsin_uring_buffers_close(buffers), 0);
    unit_uring_end(&uring);
    unit_expect_abort(take_twice, NULL, "P1");
    unit_expect_abort(put_twice, NULL, "P1");
    unit_expect_abort(put_amiss, NULL, "P1");
}

struct elsewhere {
    struct unit_uring *uring;
    struct tocsin_uring_buffers *buffers;
    int expected;
};

static void nothing_works(void *arg)
{
    struct elsewhere *elsewhere = arg;
    struct tocsin_driver *driver = elsewhere->uring->driver;
    struct tocsin_uring_buffers *buffers = NULL;
    struct iovec iovec = {0};
    int fd = -1;
    int expected = elsewhere->expected;

    UNIT_CHECK(tocsin_uring_buffers_open(driver, 8, 2, SIZE, &buffers) == expected);
    UNIT_CHECK(tocsin_uring_register_buffers(driver, &iovec, 1) == expected);
    UNIT_CHECK(tocsin_uring_update_buffers(driver, 0, &iovec, 1) == expected);
    UNIT_CHECK(tocsin_uring_unregister_buffers(driver) == expected);
    UNIT_CHECK(tocsin_uring_register_files(driver, &fd, 1) == expected);
    UNIT_CHECK(tocsin_uring_update_files(driver, 0, &fd, 1) == expected);
    UNIT_CHECK(tocsin_uring_unregister_files(driver) == expected);
}

static void nothing_works_and_no_close(void *arg)
{
    struct elsewhere *elsewhere = arg;

    nothing_works(arg);
    UNIT_CHECK(tocsin_uring_buffers_close(elsewhere->buffers) == -EPERM);
}

static void only_the_pools_thread_registers(void **state)
{
    struct unit_uring uring = {0};
    struct elsewhere elsewhere = {.uring = &uring, .expected = -EPERM};

    (void)state;
    unit_uring_start(&uring);
    elsewhere.buffers = open_or_skip(&uring, 2);
    assert_true(tocsin_pool_turn(uring.pool) >= 0); /* now it is this thread's */
    support_elsewhere(nothing_works_and_no_close, &elsewhere);
    assert_int_equal(tocsin_uring_buffers_close(elsewhere.buffers), 0);
    unit_uring_end(&uring);
}

static void in_the_child(void *arg)
{
    struct elsewhere *elsewhere = arg;

    nothing_works(arg);
    tocsin_uring_buffers_put(elsewhere->buffers, NULL);
    UNIT_CHECK(tocsin_uring_buffers_close(elsewhere->buffers) == 0);
}

static void a_forked_child_touches_nothing_of_the_parents(void **state)
{
    struct unit_uring uring = {0};
    struct elsewhere elsewhere = {.uring = &uring, .expected = -EOWNERDEAD};
    struct unit_op op;
    struct io_uring_sqe sqe;
    int fds[2];

    (void)state;
    unit_uring_start(&uring);
    elsewhere.buffers = open_or_skip(&uring, 2);
    unit_expect_return(in_the_child, &elsewhere);

    socket_pair(fds);
    unit_op_init(&op);
    sqe = sqe_recv(fds[0], 0);
    assert_int_equal(send(fds[1], "x", 1, 0), 1);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), 1);
    tocsin_uring_drop(&op.op);
    close_pair(fds);
    assert_int_equal(tocsin_uring_buffers_close(elsewhere.buffers), 0);
    unit_uring_end(&uring);
}

/* ---- Registered buffers and files ------------------------------------------------------------ */

static struct io_uring_sqe sqe_fixed(unsigned opcode, int fd, void *buffer, unsigned index)
{
    struct io_uring_sqe sqe = {
        .opcode = (uint8_t)opcode,
        .fd = fd,
        .addr = (uint64_t)(uintptr_t)buffer,
        .len = SIZE,
        .buf_index = (uint16_t)index,
    };

    return sqe;
}

static void registered_buffers_are_read_and_written(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_driver *driver;
    struct unit_op op;
    struct io_uring_sqe sqe;
    char memory[3][SIZE] = {"hello"};
    struct iovec iovecs[2] = {{memory[0], SIZE}, {memory[1], SIZE}};
    struct iovec third = {memory[2], SIZE};
    int fd = memfd_create("tocsin", MFD_CLOEXEC);

    (void)state;
    unit_uring_start(&uring);
    driver = uring.driver;
    assert_int_equal(tocsin_uring_unregister_buffers(driver), -ENXIO);
    assert_int_equal(tocsin_uring_update_buffers(driver, 0, &third, 1), -ENXIO);
    assert_int_equal(tocsin_uring_register_buffers(driver, iovecs, 0), -EINVAL);
    assert_int_equal(tocsin_uring_register_buffers(driver, iovecs, 2), 0);
    assert_int_equal(tocsin_uring_register_buffers(driver, iovecs, 2), -EBUSY);
    unit_op_init(&op);
    sqe = sqe_fixed(IORING_OP_WRITE_FIXED, fd, memory[0], 0);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), SIZE);
    sqe = sqe_fixed(IORING_OP_READ_FIXED, fd, memory[1], 1);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), SIZE);
    assert_string_equal(memory[1], "hello");

    sqe = sqe_fixed(IORING_OP_READ_FIXED, fd, memory[2], 1);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), -EFAULT);
    assert_int_equal(tocsin_uring_update_buffers(driver, 1, &third, 1), 0);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), SIZE);
    assert_string_equal(memory[2], "hello");
    assert_int_equal(tocsin_uring_update_buffers(driver, 2, &third, 1), -EINVAL);

    assert_int_equal(tocsin_uring_unregister_buffers(driver), 0);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), -EFAULT);
    tocsin_uring_drop(&op.op);
    close(fd);
    unit_uring_end(&uring);
}

static void registered_files_outlive_their_descriptors(void **state)
{
    struct unit_uring uring = {0};
    struct tocsin_driver *driver;
    struct unit_op op;
    struct io_uring_sqe sqe;
    char byte = 'x';
    int ends[2];
    int table[3];

    (void)state;
    unit_uring_start(&uring);
    driver = uring.driver;
    assert_int_equal(pipe(ends), 0);
    table[0] = ends[1];
    table[1] = -1;
    table[2] = -1;
    assert_int_equal(tocsin_uring_unregister_files(driver), -ENXIO);
    assert_int_equal(tocsin_uring_update_files(driver, 0, table, 1), -ENXIO);
    assert_int_equal(tocsin_uring_register_files(driver, table, 3), 0);
    assert_int_equal(tocsin_uring_register_files(driver, table, 3), -EBUSY);
    assert_int_equal(tocsin_uring_update_files(driver, 2, &ends[0], 1), 0);
    close_pair(ends);

    unit_op_init(&op);
    sqe = unit_sqe_read(2, &byte, 1);
    sqe.flags |= IOSQE_FIXED_FILE;
    assert_int_equal(unit_submit(&uring, &op, &sqe), 0);
    {
        struct unit_op writer;
        struct io_uring_sqe write = unit_sqe_read(0, (char[]){"y"}, 1);

        write.opcode = IORING_OP_WRITE;
        write.flags |= IOSQE_FIXED_FILE;
        unit_op_init(&writer);
        assert_int_equal(submit_and_complete(&uring, &writer, &write), 1);
        tocsin_uring_drop(&writer.op);
    }
    unit_turns_until(&uring, &op.completes, 1);
    assert_int_equal(op.result, 1);
    assert_int_equal(byte, 'y');

    table[0] = -1;
    assert_int_equal(tocsin_uring_update_files(driver, 0, table, 1), 0); /* the writer's end */
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), 0);         /* and so its last */
    assert_int_equal(tocsin_uring_update_files(driver, 3, table, 1), -EINVAL);
    assert_int_equal(tocsin_uring_unregister_files(driver), 0);
    assert_int_equal(submit_and_complete(&uring, &op, &sqe), -EBADF);
    tocsin_uring_drop(&op.op);
    unit_uring_end(&uring);
}

/* ---- Sends that copy nothing ----------------------------------------------------------------- */

/* Two ends of a connection over the loopback. */
static void connect_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (const struct sockaddr *)&address, size), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
}

/* What each completion said. */
struct record {
    int32_t results[2];
    uint32_t flags[2];
};

static void record(struct unit_op *op)
{
    struct record *record = op->arg;
    unsigned nth = unit_load(&op->completes) - 1;

    UNIT_CHECK(nth < 2);
    record->results[nth] = op->result;
    record->flags[nth] = op->flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF);
}

static void zerocopy_send_completes_and_then_gives_the_memory_back(void **state)
{
    struct unit_uring uring = {0};
    struct unit_op op;
    struct unit_op polled;
    struct record said = {0};
    struct unit_waker waker = {0};
    struct tocsin_context cx = {.waker = unit_waker_of(&waker)};
    struct io_uring_sqe sqe = {.opcode = IORING_OP_SEND_ZC};
    char text[] = "no copy";
    char answer[2 * sizeof(text)] = {0};
    int32_t result = -1;
    uint32_t flags = 0;
    int fds[2];
    int r;

    (void)state;
    unit_uring_start(&uring);
    if (tocsin_uring_probe(uring.driver, IORING_OP_SEND_ZC) != 1) {
        unit_uring_end(&uring);
        unit_skip("no zero-copy send before Linux 6.0");
    }
    connect_pair(fds);
    sqe.fd = fds[0];
    sqe.addr = (uint64_t)(uintptr_t)text;
    sqe.len = sizeof(text);
    unit_op_init(&op);
    op.on_complete = record;
    op.arg = &said;
    assert_int_equal(unit_submit(&uring, &op, &sqe), 0);
    complete(&uring, &op);
    assert_int_equal(recv(fds[1], answer, sizeof(text), MSG_WAITALL), (int)sizeof(text));
    assert_string_equal(answer, "no copy");
    unit_turns_until(&uring, &op.completes, 2);
    assert_int_equal(said.results[0], (int)sizeof(text));
    assert_int_equal(said.flags[0], IORING_CQE_F_MORE);
    assert_int_equal(said.flags[1], IORING_CQE_F_NOTIF);

    /* By polls it is one result, when the memory is the caller's again. */
    unit_op_init_polled(&polled);
    assert_int_equal(unit_submit(&uring, &polled, &sqe), 0);
    while ((r = tocsin_uring_poll(&polled.op, &cx, &result, &flags)) == TOCSIN_PENDING) {
        assert_true(tocsin_pool_turn(uring.pool) >= 0);
        if (recv(fds[1], answer, sizeof(answer), MSG_DONTWAIT) > 0) {
            assert_string_equal(answer, "no copy");
        }
    }
    assert_int_equal(r, 0);
    assert_int_equal(result, sizeof(text));
    assert_int_equal(flags & IORING_CQE_F_NOTIF, 0);
    assert_int_equal(unit_load(&waker.wakes), 1);
    tocsin_uring_drop(&op.op);
    tocsin_uring_drop(&polled.op);
    close_pair(fds);
    unit_uring_end(&uring);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_completion_names_the_buffer_that_was_filled),
    cmocka_unit_test(a_completion_without_a_buffer_gives_none),
    cmocka_unit_test(buffers_lie_page_aligned_one_after_the_other),
    cmocka_unit_test(a_multishot_receive_out_of_buffers_ends_and_goes_on),
    cmocka_unit_test(a_dropped_receive_gives_its_buffer_to_late),
    cmocka_unit_test(what_cannot_be_a_group_is_refused),
    cmocka_unit_test(a_kernel_without_buffer_rings_is_told_from_bad_arguments),
    cmocka_unit_test(after_the_pool_has_closed_only_memory_is_left),
    cmocka_unit_test(a_buffer_in_two_hands_aborts),
    cmocka_unit_test(only_the_pools_thread_registers),
    cmocka_unit_test(a_forked_child_touches_nothing_of_the_parents),
    cmocka_unit_test(registered_buffers_are_read_and_written),
    cmocka_unit_test(registered_files_outlive_their_descriptors),
    cmocka_unit_test(zerocopy_send_completes_and_then_gives_the_memory_back),
};

UNIT_MAIN(tests)
