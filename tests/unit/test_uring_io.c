/*
 * Typed operations, one after the other: what each does, with a ring and without, for it must look
 * the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/uring_io.h"

#define MS UINT64_C(1000000)

/* True: no file knows RWF_NOWAIT. */
static bool nowait_refused;

ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (nowait_refused) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_preadv64v2(fd, iov, count, offset, flags);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (nowait_refused) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_pwritev64v2(fd, iov, count, offset, flags);
}

/* ---- Reading and writing -------------------------------------------------------------------- */

static void a_read_waits_for_what_is_written(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted reader;
    struct uring_io_counted writer;
    char text[16] = "";
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0); /* blocking ones */
    uring_io_init(&reader);
    uring_io_init(&writer);
    assert_int_equal(tocsin_uring_io_read(driver, &reader.io, fds[0], text, 15, -1), 0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&reader.io, NULL), TOCSIN_PENDING);
    assert_int_equal(tocsin_uring_io_write(driver, &writer.io, fds[1], "seven b", 7, -1), 0);
    assert_int_equal(uring_io_finish(pool, &writer.io), 7);
    assert_int_equal(uring_io_finish(pool, &reader.io), 7);
    assert_string_equal(text, "seven b");
    close(fds[1]);
    assert_int_equal(tocsin_uring_io_read(driver, &reader.io, fds[0], text, 15, 0), 0);
    assert_int_equal(uring_io_finish(pool, &reader.io),
                     0); /* the end; an offset means nothing to a pipe */
    close(fds[0]);
    uring_io_drop_idle(&reader);
    uring_io_drop_idle(&writer);
    uring_io_pool_close(pool);
}

/* The pool's thread must come back from a blocking pipe that is full. */
static void a_full_pipe_does_not_block(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    size_t size = 1 << 20;
    char *data = calloc(1, size);
    struct uring_io_counted writer;
    int32_t written;
    int left = 0;
    int fds[2];

    nowait_refused = !uring_io_has_ring(state);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        uring_io_init(&writer);
        do { /* until it is pending */
            assert_int_equal(tocsin_uring_io_write(driver, &writer.io, fds[1], data, size, -1), 0);
            uring_io_turn(pool);
        } while (uring_io_glance(&writer.io, &written) == 0);
        assert_int_equal(ioctl(fds[0], FIONREAD, &left), 0);
        assert_true(left > 0);
        assert_true(read(fds[0], data, (size_t)left) > 0);
        assert_true(uring_io_finish(pool, &writer.io) > 0);
        close(fds[0]);
        close(fds[1]);
        uring_io_drop_idle(&writer);
        nowait_refused = false; /* and again, as the kernel is */
    }
    free(data);
    uring_io_pool_close(pool);
}

/* A kind of file that has its own ways: blocking, and each read takes all. */
static void an_eventfd_is_read_when_it_counts(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    uint64_t three = 3;
    uint64_t value = 0;
    struct uring_io_counted io;
    int fd = eventfd(0, EFD_CLOEXEC);

    nowait_refused = !uring_io_has_ring(state);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, fd, &value, sizeof(value), -1), 0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&io.io, NULL), TOCSIN_PENDING);
    assert_int_equal(write(fd, &three, sizeof(three)), sizeof(three));
    assert_int_equal(uring_io_finish(pool, &io.io), sizeof(value));
    assert_int_equal(value, 3);
    assert_int_equal(tocsin_uring_io_write(driver, &io.io, fd, &three, sizeof(three), -1), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), sizeof(value));
    assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
    assert_int_equal(value, 3);
    close(fd);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
    nowait_refused = false;
}

static void closing_the_number_does_not_end_the_operation(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted io;
    char byte = 0;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, fds[0], &byte, 1, -1), 0);
    uring_io_turn(pool);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(uring_io_finish(pool, &io.io), 1);
    assert_int_equal(byte, 'x');
    close(fds[1]);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static void a_registered_descriptor_can_be_read_too(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_fd_ready *ready = NULL;
    struct uring_io_counted io;
    char byte = 0;
    int fds[2];

    assert_int_equal(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    assert_int_equal(tocsin_fd_ready_open(driver, fds[0], &ready), 0);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, fds[0], &byte, 1, -1), 0);
    uring_io_turn(pool);
    assert_int_equal(write(fds[1], "y", 1), 1);
    assert_int_equal(uring_io_finish(pool, &io.io), 1);
    assert_int_equal(byte, 'y');
    uring_io_drop_idle(&io);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    close(fds[0]);
    close(fds[1]);
    uring_io_pool_close(pool);
}

/* Both are told that there is something, and only one finds it. */
static void one_byte_ends_one_of_two_reads(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted ios[2];
    char bytes[2] = "";
    int32_t result;
    unsigned first;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    for (unsigned i = 0; i < 2; i++) {
        uring_io_init(&ios[i]);
        assert_int_equal(tocsin_uring_io_read(driver, &ios[i].io, fds[0], &bytes[i], 1, -1), 0);
    }
    uring_io_turn(pool);
    assert_int_equal(write(fds[1], "1", 1), 1);
    do {
        uring_io_turn(pool);
        first = uring_io_glance(&ios[0].io, &result) == 0 ? 0 : 1;
    } while (first == 1 && uring_io_glance(&ios[1].io, &result) != 0);
    assert_int_equal(result, 1);
    assert_int_equal(bytes[first], '1');
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&ios[1 - first].io, NULL), TOCSIN_PENDING);
    assert_int_equal(write(fds[1], "2", 1), 1);
    assert_int_equal(uring_io_finish(pool, &ios[1 - first].io), 1);
    assert_int_equal(bytes[1 - first], '2');
    close(fds[0]);
    close(fds[1]);
    uring_io_drop_idle(&ios[0]);
    uring_io_drop_idle(&ios[1]);
    uring_io_pool_close(pool);
}

/* ---- Sockets -------------------------------------------------------------------------------- */

static void use_connection(void **state, int more_flags)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct sockaddr_in addr;
    struct sockaddr_in peer;
    unsigned peer_size = sizeof(peer);
    struct uring_io_counted server;
    struct uring_io_counted client;
    char text[16] = "";
    int listener = uring_io_listen(&addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | more_flags, 0);
    int accepted;

    uring_io_init(&server);
    uring_io_init(&client);
    assert_int_equal(tocsin_uring_io_accept(driver, &server.io, listener, (void *)&peer, &peer_size,
                                            SOCK_CLOEXEC),
                     0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&server.io, NULL), TOCSIN_PENDING);
    assert_int_equal(tocsin_uring_io_connect(driver, &client.io, fd, (void *)&addr, sizeof(addr)),
                     0);
    assert_int_equal(uring_io_finish(pool, &client.io), 0);
    accepted = uring_io_finish(pool, &server.io);
    assert_true(accepted >= 0);
    assert_int_equal(peer_size, sizeof(peer));
    assert_int_equal(fcntl(accepted, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, more_flags & SOCK_NONBLOCK);

    assert_int_equal(tocsin_uring_io_recv(driver, &server.io, accepted, text, 15, 0), 0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&server.io, NULL), TOCSIN_PENDING);
    assert_int_equal(tocsin_uring_io_send(driver, &client.io, fd, "hello", 5, 0), 0);
    assert_int_equal(uring_io_finish(pool, &client.io), 5);
    assert_int_equal(uring_io_finish(pool, &server.io), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(tocsin_uring_io_write(driver, &client.io, fd, "again", 5, -1), 0);
    assert_int_equal(uring_io_finish(pool, &client.io), 5);
    assert_int_equal(tocsin_uring_io_read(driver, &server.io, accepted, text, 15, -1), 0);
    assert_int_equal(uring_io_finish(pool, &server.io), 5);
    assert_string_equal(text, "again");

    assert_int_equal(tocsin_uring_io_close(driver, &client.io, fd), 0);
    assert_int_equal(uring_io_finish(pool, &client.io), 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(tocsin_uring_io_recv(driver, &server.io, accepted, text, 15, 0), 0);
    assert_int_equal(uring_io_finish(pool, &server.io), 0);
    close(accepted);
    close(listener);
    uring_io_drop_idle(&server);
    uring_io_drop_idle(&client);
    uring_io_pool_close(pool);
}

static void blocking_sockets_do_not_block(void **state)
{
    use_connection(state, 0);
}

static void non_blocking_sockets_wait(void **state)
{
    use_connection(state, SOCK_NONBLOCK);
}

/* The listener's queue is full, so the kernel asks again after a second: it is what we wait for. */
static void a_connect_that_takes_its_time_is_waited_for(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct sockaddr_in addr;
    struct uring_io_counted io;
    int listener = uring_io_listen(&addr);
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int accepted;

    assert_int_equal(listen(listener, 0), 0); /* room for one */
    assert_int_equal(connect(first, (struct sockaddr *)&addr, sizeof(addr)), 0);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_connect(tocsin_pool_driver(pool), &io.io, second,
                                             (void *)&addr, sizeof(addr)),
                     0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&io.io, NULL), TOCSIN_PENDING);
    accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 0);
    close(accepted);
    close(first);
    close(second);
    close(listener);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static void errors_come_as_results(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct sockaddr_in addr;
    struct uring_io_counted io;
    char byte = 0;
    int number = uring_io_listen(&addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fds[2];

    close(number); /* nobody listens there, and the number means nothing */
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    number = dup(fd);
    close(number);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_connect(driver, &io.io, fd, (void *)&addr, sizeof(addr)), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -ECONNREFUSED);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, number, &byte, 1, -1), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
    assert_int_equal(tocsin_uring_io_accept(driver, &io.io, number, NULL, NULL, 0), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
    assert_int_equal(tocsin_uring_io_close(driver, &io.io, number), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, number, TOCSIN_IN), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
    assert_int_equal(tocsin_uring_io_recv(driver, &io.io, fds[0], &byte, 1, 0), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -ENOTSOCK);
    assert_int_equal(tocsin_uring_io_accept(driver, &io.io, fd, NULL, NULL, 0), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EINVAL);
    for (unsigned i = 0; i < 2; i++) { /* the wrong end of a pipe */
        nowait_refused = i == 1 && !uring_io_has_ring(state);
        assert_int_equal(tocsin_uring_io_write(driver, &io.io, fds[0], &byte, 1, -1), 0);
        assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
        assert_int_equal(tocsin_uring_io_read(driver, &io.io, fds[1], &byte, 1, -1), 0);
        assert_int_equal(uring_io_finish(pool, &io.io), -EBADF);
    }
    nowait_refused = false;
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, fd, 0), -EINVAL);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, fd, 1 << 6), -EINVAL);
    close(fd);
    close(fds[0]);
    close(fds[1]);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static void dontwait_is_not_waited_for(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct uring_io_counted io;
    char byte = 0;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    uring_io_init(&io);
    assert_int_equal(
        tocsin_uring_io_recv(tocsin_pool_driver(pool), &io.io, fds[0], &byte, 1, MSG_DONTWAIT), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EAGAIN);
    close(fds[0]);
    close(fds[1]);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

/* ---- Timeouts and polls --------------------------------------------------------------------- */

static void a_timeout_is_never_early(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted io;

    uring_io_init(&io);
    for (uint64_t delay_ns = 0; delay_ns <= 3 * MS; delay_ns += MS / 2) {
        uint64_t deadline_ns = tocsin_pool_now_ns(pool) + delay_ns;

        assert_int_equal(tocsin_uring_io_timeout(driver, &io.io, deadline_ns), 0);
        assert_int_equal(uring_io_glance(&io.io, NULL), TOCSIN_PENDING);
        assert_int_equal(uring_io_finish(pool, &io.io), 0);
        assert_true(tocsin_pool_now_ns(pool) >= deadline_ns);
    }
    assert_int_equal(tocsin_uring_io_timeout(driver, &io.io, 0), 0); /* long ago */
    assert_int_equal(uring_io_glance(&io.io, NULL), TOCSIN_PENDING);
    assert_int_equal(uring_io_finish(pool, &io.io), 0);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static void a_poll_tells_what_holds(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted io;
    char byte;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, fds[0], TOCSIN_IN), 0);
    uring_io_turn(pool);
    assert_int_equal(uring_io_glance(&io.io, NULL), TOCSIN_PENDING);
    assert_int_equal(write(fds[1], "z", 1), 1);
    assert_int_equal(uring_io_finish(pool, &io.io), TOCSIN_IN);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, fds[0], TOCSIN_IN | TOCSIN_OUT), 0);
    assert_int_equal(uring_io_glance(&io.io, NULL),
                     TOCSIN_PENDING); /* it holds, but not in this call */
    assert_int_equal(uring_io_finish(pool, &io.io), TOCSIN_IN | TOCSIN_OUT);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[1]);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, fds[0], TOCSIN_RDHUP), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), TOCSIN_HUP | TOCSIN_RDHUP);
    assert_int_equal(tocsin_uring_io_poll_fd(driver, &io.io, file, TOCSIN_IN), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), TOCSIN_IN); /* a file is always ready */
    close(fds[0]);
    close(file);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

/* ---- Files: with a ring only ---------------------------------------------------------------- */

static int32_t write_whole_file(struct tocsin_pool *pool, struct tocsin_uring_io *io,
                                const char *name)
{
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    int fd;

    assert_int_equal(
        tocsin_uring_io_openat(driver, io, AT_FDCWD, name, O_RDWR | O_CREAT | O_CLOEXEC, 0640), 0);
    fd = uring_io_finish(pool, io);
    assert_true(fd >= 0);
    assert_int_equal(tocsin_uring_io_write(driver, io, fd, "0123456789", 10, 0), 0);
    assert_int_equal(uring_io_finish(pool, io), 10);
    assert_int_equal(tocsin_uring_io_write(driver, io, fd, "ab", 2, 4), 0);
    assert_int_equal(uring_io_finish(pool, io), 2);
    assert_int_equal(tocsin_uring_io_fsync(driver, io, fd, false), 0);
    assert_int_equal(uring_io_finish(pool, io), 0);
    assert_int_equal(tocsin_uring_io_fsync(driver, io, fd, true), 0);
    assert_int_equal(uring_io_finish(pool, io), 0);
    return fd;
}

static void files_are_opened_written_asked_about_and_read(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    char folder[] = "/tmp/tocsin-unit-XXXXXX";
    char name[64];
    char text[16] = "";
    struct statx stat = {0};
    struct uring_io_counted io;
    int fd;

    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof(name), "%s/file", folder);
    uring_io_init(&io);
    fd = write_whole_file(pool, &io.io, name);
    assert_int_equal(tocsin_uring_io_statx(driver, &io.io, AT_FDCWD, name, 0, &stat), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 0);
    assert_int_equal(stat.stx_size, 10);
    assert_int_equal(stat.stx_mode & 0777, 0640);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, fd, text, 15, 2), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 8);
    assert_string_equal(text, "23ab6789");
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, fd, text, 3, -1), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 3); /* where it stands: nothing has moved it */
    assert_memory_equal(text, "012", 3);
    assert_int_equal(tocsin_uring_io_close(driver, &io.io, fd), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 0);
    assert_int_equal(tocsin_uring_io_openat(driver, &io.io, AT_FDCWD, folder, O_WRONLY, 0), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -EISDIR);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(tocsin_uring_io_statx(driver, &io.io, AT_FDCWD, name, 0, &stat), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -ENOENT);
    assert_int_equal(rmdir(folder), 0);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

/* ---- Without a ring only -------------------------------------------------------------------- */

static void what_cannot_do_without_a_ring_says_so(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    unsigned before = uring_io_descriptors();
    struct statx stat = {0};
    struct uring_io_counted io;
    char byte = 0;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_read(driver, &io.io, file, &byte, 1, 0), -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_write(driver, &io.io, file, &byte, 1, 0), -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_write(driver, &io.io, null, &byte, 1, 0), -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_fsync(driver, &io.io, file, false), -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_openat(driver, &io.io, AT_FDCWD, "/", O_RDONLY, 0),
                     -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_statx(driver, &io.io, AT_FDCWD, "/", 0, &stat), -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_recv(driver, &io.io, fds[0], &byte, 1, MSG_WAITALL),
                     -EOPNOTSUPP);
    assert_int_equal(tocsin_uring_io_send(driver, &io.io, fds[0], &byte, 1, MSG_WAITALL),
                     -EOPNOTSUPP);
    assert_int_equal(uring_io_glance(&io.io, NULL), -EINVAL); /* nothing of that was started */
    assert_int_equal(tocsin_uring_io_send(driver, &io.io, fds[0], "!", 1, 0), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), 1);
    assert_int_equal(read(fds[1], &byte, 1), 1);
    assert_int_equal(byte, '!');
    assert_non_null(tocsin_uring_reason(driver));
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(uring_io_descriptors(), before);
    close(file);
    close(null);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static const struct CMUnitTest tests[] = {
    URING_IO_BOTH(a_read_waits_for_what_is_written),
    URING_IO_BOTH(a_full_pipe_does_not_block),
    URING_IO_BOTH(an_eventfd_is_read_when_it_counts),
    URING_IO_BOTH(closing_the_number_does_not_end_the_operation),
    URING_IO_BOTH(a_registered_descriptor_can_be_read_too),
    URING_IO_BOTH(one_byte_ends_one_of_two_reads),
    URING_IO_BOTH(a_connect_that_takes_its_time_is_waited_for),
    URING_IO_BOTH(blocking_sockets_do_not_block),
    URING_IO_BOTH(non_blocking_sockets_wait),
    URING_IO_BOTH(errors_come_as_results),
    URING_IO_BOTH(dontwait_is_not_waited_for),
    URING_IO_BOTH(a_timeout_is_never_early),
    URING_IO_BOTH(a_poll_tells_what_holds),
    URING_IO_WITH(files_are_opened_written_asked_about_and_read),
    URING_IO_WITHOUT(what_cannot_do_without_a_ring_says_so),
};

UNIT_MAIN(tests)
