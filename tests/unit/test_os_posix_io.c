/*
 * The system calls behind sockets and pipes: results, errors, and what each must not do.
 */
#include "runtime/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* What pwritev2() is made to say: 0: the kernel's own answer. */
static int pwritev2_errno;
static unsigned pwritev2_calls;

/* The call's name with 64-bit offsets, which the build asks for. */
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    pwritev2_calls++;
    if (pwritev2_errno != 0) {
        errno = pwritev2_errno;
        return -1;
    }
    return __real_pwritev64v2(fd, iov, count, offset, flags);
}

static void a_pipe_is_non_blocking_and_close_on_exec(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(tocsin__pipe(&fds[0], &fds[1]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tocsin__fd_is_nonblocking(fds[i]), 1);
        assert_int_equal(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    tocsin__fd_close(fds[0]);
    tocsin__fd_close(fds[1]);
    assert_int_equal(tocsin__fd_is_nonblocking(fds[0]), -EBADF);
    assert_int_equal(tocsin__fd_set_nonblocking(fds[0]), -EBADF);
}

static void a_descriptor_is_made_non_blocking_and_nothing_else(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_APPEND), 0);
    assert_int_equal(tocsin__fd_is_nonblocking(fds[1]), 0);
    assert_int_equal(tocsin__fd_set_nonblocking(fds[1]), 0);
    assert_int_equal(tocsin__fd_set_nonblocking(fds[1]), 0);
    assert_int_equal(fcntl(fds[1], F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);
    close(fds[0]);
    close(fds[1]);
}

static void reads_and_writes_answer_with_counts_and_errors(void **state)
{
    bool refused = false;
    char data[8] = "";
    int fds[2];

    (void)state;
    assert_int_equal(tocsin__pipe(&fds[0], &fds[1]), 0);
    assert_int_equal(tocsin__fd_read(fds[0], data, sizeof(data)), -EAGAIN);
    assert_int_equal(tocsin__fd_write_nosignal(fds[1], "abc", 3, &refused), 3);
    assert_int_equal(tocsin__fd_read(fds[0], data, sizeof(data)), 3);
    assert_memory_equal(data, "abc", 3);
    assert_int_equal(tocsin__fd_write_nosignal(fds[0], "abc", 3, &refused), -EBADF);
    close(fds[1]);
    assert_int_equal(tocsin__fd_read(fds[0], data, sizeof(data)), 0);
    close(fds[0]);
}

/* A write to a pipe without readers, with SIGPIPE as deadly as it is by default. */
static void write_to_nobody(void)
{
    bool refused = false;
    int fds[2];

    signal(SIGPIPE, SIG_DFL);
    UNIT_CHECK(tocsin__pipe(&fds[0], &fds[1]) == 0);
    close(fds[0]);
    UNIT_CHECK(tocsin__fd_write_nosignal(fds[1], "a", 1, &refused) == -EPIPE);
    close(fds[1]);
}

static bool kernel_knows_nosignal(void)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t) "", .iov_len = 0};
    bool knows;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    iov.iov_len = 1;
    knows = __real_pwritev64v2(fds[1], &iov, 1, -1, 0x100) == 1; /* RWF_NOSIGNAL, Linux 6.18 */
    close(fds[0]);
    close(fds[1]);
    return knows;
}

static void write_plainly(void *arg)
{
    (void)arg;
    write_to_nobody();
}

static void a_write_to_nobody_raises_no_signal(void **state)
{
    (void)state;
    if (!kernel_knows_nosignal()) {
        unit_skip("no RWF_NOSIGNAL in this kernel");
    }
    unit_expect_return(write_plainly, NULL);
}

/* Descriptors that refuse the flag for reasons of their own, and one that is written too little. */
static void write_to_others_first(void *arg)
{
    int counter = eventfd(0, EFD_NONBLOCK);
    bool refused = false;
    uint64_t one = 1;

    (void)arg;
    UNIT_CHECK(tocsin__fd_write_nosignal(counter, &one, sizeof(one), &refused) == (int)sizeof(one));
    UNIT_CHECK(tocsin__fd_write_nosignal(counter, &one, 1, &refused) == -EINVAL);
    UNIT_CHECK(tocsin__fd_write_nosignal(counter, &one, sizeof(one), &refused) == (int)sizeof(one));
    close(counter);
    write_to_nobody();
}

static void a_descriptor_that_refuses_the_flag_takes_it_from_no_other(void **state)
{
    (void)state;
    if (!kernel_knows_nosignal()) {
        unit_skip("no RWF_NOSIGNAL in this kernel");
    }
    unit_expect_return(write_to_others_first, NULL);
}

static void check_refused(int error)
{
    bool refused = false;
    char data[4];
    int fds[2];

    assert_int_equal(tocsin__pipe(&fds[0], &fds[1]), 0);
    pwritev2_errno = error;
    pwritev2_calls = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tocsin__fd_write_nosignal(fds[1], "abc", 3, &refused), 3);
        assert_int_equal(tocsin__fd_read(fds[0], data, sizeof(data)), 3);
    }
    assert_true(refused);
    assert_int_equal(pwritev2_calls, 1); /* asked once for each file */
    pwritev2_errno = 0;
    close(fds[0]);
    close(fds[1]);
}

static void a_kernel_without_the_flag_is_written_to_plainly(void **state)
{
    (void)state;
    check_refused(EOPNOTSUPP);
    check_refused(ENOSYS);
    check_refused(EPERM); /* a filter's answer */
}

/* ---- Sockets -----------------------------------------------------------------------------------
 */

static int listen_tcp(struct sockaddr_in *out_addr)
{
    socklen_t size = sizeof(*out_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    *out_addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)out_addr, size), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)out_addr, &size), 0);
    return fd;
}

static void a_short_read_ends_only_on_tcp(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int fds[2];
    int fd;

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(types); i++) {
        assert_int_equal(socketpair(AF_UNIX, types[i], 0, fds), 0);
        assert_int_equal(tocsin__socket_short_read_ends(fds[0]), 0);
        close(fds[0]);
        close(fds[1]);
    }
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(tocsin__socket_short_read_ends(fd), 1);
    close(fd);
    assert_int_equal(tocsin__socket_short_read_ends(fd), -EBADF);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(tocsin__socket_short_read_ends(fd), 0);
    close(fd);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(tocsin__socket_short_read_ends(fds[0]), -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
}

static void sockets_are_tried_without_blocking_and_peeked_at(void **state)
{
    char one[2] = "";
    char two[4] = "";
    struct tocsin_buffer whole = {two, sizeof(two)};
    struct tocsin_buffer pieces[2] = {{one, sizeof(one)}, {two, sizeof(two)}};
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0); /* blocking ones */
    assert_int_equal(tocsin__socket_receive(fds[0], &whole, 1, 0), -EAGAIN);
    assert_int_equal(tocsin__socket_receive(fds[0], pieces, 2, 0), -EAGAIN);
    assert_int_equal(
        tocsin__socket_send(fds[1], &(struct tocsin_buffer){(void *)(uintptr_t) "abcde", 5}, 1), 5);
    assert_int_equal(tocsin__socket_receive(fds[0], &whole, 1, TOCSIN__PEEK), 4);
    assert_memory_equal(two, "abcd", 4);
    assert_int_equal(tocsin__socket_receive(fds[0], pieces, 2, TOCSIN__PEEK), 5);
    assert_int_equal(tocsin__socket_receive(fds[0], pieces, 2, 0), 5);
    assert_memory_equal(one, "ab", 2);
    assert_memory_equal(two, "cde", 3);
    assert_int_equal(tocsin__socket_send(fds[1], pieces, 2), 6);
    close(fds[0]);
    assert_int_equal(tocsin__socket_send(fds[1], pieces, 1), -EPIPE); /* and no SIGPIPE */
    assert_int_equal(tocsin__socket_send(fds[1], pieces, 2), -EPIPE);
    close(fds[1]);
}

static void accepted_sockets_are_non_blocking_and_close_on_exec(void **state)
{
    struct sockaddr_in addr;
    int listener = listen_tcp(&addr);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    intptr_t accepted = -9;

    (void)state;
    assert_int_equal(tocsin__socket_accept(listener, &accepted), -EAGAIN);
    assert_int_equal(accepted, -9);
    assert_int_equal(tocsin__socket_connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(tocsin__socket_accept(listener, &accepted), 0);
    assert_int_equal(tocsin__fd_is_nonblocking(accepted), 1);
    assert_int_equal(fcntl((int)accepted, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close((int)accepted);
    close(client);
    close(listener);
}

static void a_connect_tells_its_own_error(void **state)
{
    struct sockaddr_in addr;
    int listener = listen_tcp(&addr);
    int client = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    close(listener); /* nobody listens there now */
    assert_int_equal(tocsin__socket_connect(client, (struct sockaddr *)&addr, sizeof(addr)),
                     -ECONNREFUSED);
    close(client);
    assert_int_equal(tocsin__socket_connect(client, (struct sockaddr *)&addr, sizeof(addr)),
                     -EBADF);
}

static void each_direction_is_shut_down_alone(void **state)
{
    char byte;
    struct tocsin_buffer buffer = {&byte, 1};
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(tocsin__socket_shutdown(fds[0], TOCSIN_SHUTDOWN_WRITE), 0);
    assert_int_equal(tocsin__socket_receive(fds[1], &buffer, 1, 0), 0);
    assert_int_equal(tocsin__socket_send(fds[1], &buffer, 1), 1);
    assert_int_equal(tocsin__socket_receive(fds[0], &buffer, 1, 0), 1);
    assert_int_equal(tocsin__socket_shutdown(fds[0], TOCSIN_SHUTDOWN_READ), 0);
    assert_int_equal(tocsin__socket_receive(fds[0], &buffer, 1, 0), 0);
    assert_int_equal(tocsin__socket_shutdown(fds[1], TOCSIN_SHUTDOWN_BOTH), 0);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(tocsin__socket_shutdown(fds[1], TOCSIN_SHUTDOWN_BOTH), -EBADF);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pipe_is_non_blocking_and_close_on_exec),
    cmocka_unit_test(a_descriptor_is_made_non_blocking_and_nothing_else),
    cmocka_unit_test(reads_and_writes_answer_with_counts_and_errors),
    cmocka_unit_test(a_write_to_nobody_raises_no_signal),
    cmocka_unit_test(a_descriptor_that_refuses_the_flag_takes_it_from_no_other),
    cmocka_unit_test(a_kernel_without_the_flag_is_written_to_plainly),
    cmocka_unit_test(a_short_read_ends_only_on_tcp),
    cmocka_unit_test(sockets_are_tried_without_blocking_and_peeked_at),
    cmocka_unit_test(accepted_sockets_are_non_blocking_and_close_on_exec),
    cmocka_unit_test(a_connect_tells_its_own_error),
    cmocka_unit_test(each_direction_is_shut_down_alone),
};

UNIT_MAIN(tests)
