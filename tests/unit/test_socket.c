/*
 * Sockets and pipes over their readiness: who owns the descriptor, which try is spared, and a
 * connect whose events come late.
 */
#include <tocsin/pipe.h>
#include <tocsin/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/os.h"
#include "runtime/pool.h"
#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

/* How often the system was asked, and what it is made to say; 0: its own answer. */
static unsigned receives;
static unsigned connects;
static int connect_results[4];
static int accept_results[4];
static unsigned accepts;

int __real_tocsin__socket_receive(intptr_t fd, const struct tocsin_buffer *buffers,
                                  int buffers_count, uint32_t flags);
int __wrap_tocsin__socket_receive(intptr_t fd, const struct tocsin_buffer *buffers,
                                  int buffers_count, uint32_t flags);
int __wrap_tocsin__socket_connect(intptr_t fd, const struct sockaddr *addr, unsigned addr_size);
int __real_tocsin__socket_accept(intptr_t fd, intptr_t *out_fd);
int __wrap_tocsin__socket_accept(intptr_t fd, intptr_t *out_fd);

int __wrap_tocsin__socket_receive(intptr_t fd, const struct tocsin_buffer *buffers,
                                  int buffers_count, uint32_t flags)
{
    receives++;
    return __real_tocsin__socket_receive(fd, buffers, buffers_count, flags);
}

int __wrap_tocsin__socket_connect(intptr_t fd, const struct sockaddr *addr, unsigned addr_size)
{
    (void)fd;
    (void)addr;
    (void)addr_size;
    UNIT_CHECK(connects < UNIT_COUNT(connect_results));
    return connect_results[connects++];
}

int __wrap_tocsin__socket_accept(intptr_t fd, intptr_t *out_fd)
{
    int result = accepts < UNIT_COUNT(accept_results) ? accept_results[accepts] : 0;

    accepts++;
    return result != 0 ? result : __real_tocsin__socket_accept(fd, out_fd);
}

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    receives = 0;
    connects = 0;
    accepts = 0;
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void event(struct tocsin_pool *pool, uint32_t events)
{
    unit_fake_event(&fake, fake.attached_id, events);
    tocsin_pool_turn(pool);
}

/* A TCP connection on the loopback. */
static void connect_tcp(int fds[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&addr, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&addr, size), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    close(listener);
}

static void a_socket_owns_its_descriptor_from_open_to_close(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_socket *socket = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fake.attach_result = -ENOSPC;
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), -ENOSPC);
    assert_null(socket);
    assert_true(fcntl(fds[0], F_GETFD) >= 0); /* still the caller's */
    fake.attach_result = 0;
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), 0);
    assert_int_equal(tocsin_socket_fd(socket), fds[0]);
    assert_int_equal(tocsin__fd_is_nonblocking(fds[0]), 1);
    assert_int_equal(tocsin_socket_close(socket), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[1], &socket), 0);
    assert_int_equal(tocsin_socket_release(socket), fds[1]);
    assert_true(fcntl(fds[1], F_GETFD) >= 0);
    close(fds[1]);
    assert_int_equal(tocsin_socket_close(NULL), 0);
    close_pool(pool);
}

static void what_is_no_socket_is_refused(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct tocsin_socket *socket = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), -ENOTSOCK);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), -1, &socket), -EBADF);
    assert_null(socket);
    assert_int_equal(fake.attaches, 0);
    close(fds[0]);
    close(fds[1]);
    close_pool(pool);
}

/* One call of the system for a message on TCP, two elsewhere, peeks aside. */
static void check_tries(bool is_tcp, uint32_t events, unsigned tries)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_socket *socket;
    char data[16];
    int fds[2];

    if (is_tcp) {
        connect_tcp(fds);
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    }
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), 0);
    assert_int_equal(write(fds[1], "hello", 5), 5);
    event(pool, events);
    assert_int_equal(tocsin_socket_peek(socket, data, sizeof(data), &cx), 5);
    assert_int_equal(receives, 1);
    assert_int_equal(tocsin_socket_read(socket, data, sizeof(data), &cx), 5);
    assert_int_equal(tocsin_socket_read(socket, data, sizeof(data), &cx), TOCSIN_PENDING);
    assert_int_equal(receives, 1 + tries);
    assert_int_equal(tocsin_socket_close(socket), 0);
    close(fds[1]);
    close_pool(pool);
}

static void a_short_read_of_tcp_spares_the_try_that_would_say_eagain(void **state)
{
    (void)state;
    check_tries(true, TOCSIN_IN | TOCSIN_OUT, 1);
    check_tries(true, TOCSIN_IN, 1);
}

static void a_short_read_elsewhere_spares_nothing(void **state)
{
    (void)state;
    check_tries(false, TOCSIN_IN | TOCSIN_OUT, 2);
    check_tries(true, TOCSIN_IN | TOCSIN_PRI, 2);
    check_tries(true, TOCSIN_IN | TOCSIN_RDHUP, 2);
}

static void a_full_read_spares_nothing(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_socket *socket;
    char data[5];
    int fds[2];

    (void)state;
    connect_tcp(fds);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), 0);
    assert_int_equal(write(fds[1], "hello", 5), 5);
    event(pool, TOCSIN_IN | TOCSIN_OUT);
    assert_int_equal(tocsin_socket_read(socket, data, sizeof(data), &cx), 5);
    assert_int_equal(tocsin_socket_read(socket, data, sizeof(data), &cx), TOCSIN_PENDING);
    assert_int_equal(receives, 2);
    assert_int_equal(tocsin_socket_close(socket), 0);
    close(fds[1]);
    close_pool(pool);
}

static void too_many_or_too_large_buffers_are_refused(void **state)
{
    static struct tocsin_buffer buffers[1025];
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_socket *socket;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), 0);
    assert_int_equal(tocsin_socket_readv(socket, buffers, 0, &cx), -EINVAL);
    assert_int_equal(tocsin_socket_readv(socket, buffers, -1, &cx), -EINVAL);
    assert_int_equal(tocsin_socket_readv(socket, buffers, 1025, &cx), -EINVAL);
    assert_int_equal(tocsin_socket_writev(socket, buffers, 1025, &cx), -EINVAL);
    buffers[0].size = INT_MAX;
    buffers[1].size = 1;
    assert_int_equal(tocsin_socket_writev(socket, buffers, 2, &cx), -EINVAL);
    buffers[1].size = SIZE_MAX;
    assert_int_equal(tocsin_socket_readv(socket, buffers, 2, &cx), -EINVAL);
    assert_int_equal(receives, 0);
    assert_int_equal(tocsin_socket_close(socket), 0);
    close(fds[1]);
    close_pool(pool);
}

/* ---- Connect -----------------------------------------------------------------------------------
 */

struct connecting {
    struct tocsin_pool *pool;
    struct tocsin_socket *socket;
    struct unit_waker counts;
    int peer;
};

static void start_connecting(struct connecting *connecting, int first, int second, int third)
{
    int fds[2];

    *connecting = (struct connecting){.pool = open_pool()};
    connect_results[0] = first;
    connect_results[1] = second;
    connect_results[2] = third;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    connecting->peer = fds[1];
    assert_int_equal(
        tocsin_socket_open(tocsin_pool_driver(connecting->pool), fds[0], &connecting->socket), 0);
}

static int try_connect(struct connecting *connecting)
{
    struct tocsin_context cx = {.waker = unit_waker_of(&connecting->counts)};
    struct sockaddr_in addr = {.sin_family = AF_INET};

    return tocsin_socket_connect(connecting->socket, (struct sockaddr *)&addr, sizeof(addr), &cx);
}

static void end_connecting(struct connecting *connecting, unsigned tries)
{
    assert_int_equal(connects, tries);
    assert_int_equal(tocsin_socket_close(connecting->socket), 0);
    close(connecting->peer);
    close_pool(connecting->pool);
}

static void a_connect_is_tried_again_when_its_event_comes(void **state)
{
    struct connecting connecting;

    (void)state;
    start_connecting(&connecting, -EINPROGRESS, -EISCONN, 0);
    assert_int_equal(try_connect(&connecting), TOCSIN_PENDING);
    assert_int_equal(try_connect(&connecting), TOCSIN_PENDING); /* asks nobody */
    assert_int_equal(connects, 1);
    event(connecting.pool, TOCSIN_OUT);
    assert_int_equal(unit_load(&connecting.counts.wakes), 1);
    assert_int_equal(try_connect(&connecting), 0);
    end_connecting(&connecting, 2);
}

/* The edge of the socket's unconnected life comes after the connect has begun. */
static void an_event_of_before_the_connect_connects_nothing(void **state)
{
    struct connecting connecting;

    (void)state;
    start_connecting(&connecting, -EINPROGRESS, -EALREADY, -EISCONN);
    event(connecting.pool, TOCSIN_OUT | TOCSIN_HUP);
    assert_int_equal(try_connect(&connecting), TOCSIN_PENDING); /* forgets what was seen */
    event(connecting.pool, TOCSIN_OUT | TOCSIN_HUP);
    assert_int_equal(try_connect(&connecting), TOCSIN_PENDING);
    event(connecting.pool, TOCSIN_OUT);
    assert_int_equal(try_connect(&connecting), 0);
    end_connecting(&connecting, 3);
}

static void an_interrupted_connect_goes_on(void **state)
{
    struct connecting connecting;

    (void)state;
    start_connecting(&connecting, -EINTR, -EISCONN, 0);
    assert_int_equal(try_connect(&connecting), TOCSIN_PENDING);
    event(connecting.pool, TOCSIN_OUT);
    assert_int_equal(try_connect(&connecting), 0);
    end_connecting(&connecting, 2);
}

static void a_refused_connect_can_be_tried_anew(void **state)
{
    struct connecting connecting;

    (void)state;
    start_connecting(&connecting, -ECONNREFUSED, -EAGAIN, 0);
    assert_int_equal(try_connect(&connecting), -ECONNREFUSED);
    assert_int_equal(try_connect(&connecting), -EAGAIN); /* nobody tells when to try again */
    assert_int_equal(try_connect(&connecting), 0);
    end_connecting(&connecting, 3);
}

static void accept_passes_over_what_was_given_up_and_tells_what_it_lacks(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_socket *socket;
    intptr_t fd = -9;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), 0);
    accept_results[0] = -ECONNABORTED;
    accept_results[1] = -EINTR;
    accept_results[2] = -EMFILE;
    accept_results[3] = -EAGAIN;
    assert_int_equal(tocsin_socket_accept(socket, &cx, &fd), -EMFILE);
    assert_int_equal(accepts, 3);
    assert_int_equal(tocsin_socket_accept(socket, &cx, &fd), TOCSIN_PENDING); /* tried at once */
    assert_int_equal(accepts, 4);
    assert_int_equal(fd, -9);
    assert_int_equal(tocsin_socket_close(socket), 0);
    close(fds[1]);
    close_pool(pool);
}

static void a_pipe_owns_its_descriptor_too(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_pipe *reader;
    struct tocsin_pipe *writer;
    char data[8];
    int fds[2];

    (void)state;
    assert_int_equal(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    assert_int_equal(tocsin_pipe_open(tocsin_pool_driver(pool), fds[0], &reader), 0);
    assert_int_equal(tocsin_pipe_open(tocsin_pool_driver(pool), fds[1], &writer), 0);
    assert_int_equal(tocsin_pipe_read(reader, data, sizeof(data), &cx), TOCSIN_PENDING);
    assert_int_equal(tocsin_pipe_write(writer, "abc", 3, &cx), 3);
    unit_fake_event(&fake, tocsin_pipe_ready(reader)->watch.id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_pipe_read(reader, data, sizeof(data), &cx), 3);
    assert_int_equal(tocsin_pipe_release(writer), fds[1]);
    assert_int_equal(tocsin_pipe_close(reader), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    assert_int_equal(tocsin_pipe_close(NULL), 0);
    close(fds[1]);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_socket_owns_its_descriptor_from_open_to_close),
    cmocka_unit_test(what_is_no_socket_is_refused),
    cmocka_unit_test(a_short_read_of_tcp_spares_the_try_that_would_say_eagain),
    cmocka_unit_test(a_short_read_elsewhere_spares_nothing),
    cmocka_unit_test(a_full_read_spares_nothing),
    cmocka_unit_test(too_many_or_too_large_buffers_are_refused),
    cmocka_unit_test(a_connect_is_tried_again_when_its_event_comes),
    cmocka_unit_test(an_event_of_before_the_connect_connects_nothing),
    cmocka_unit_test(an_interrupted_connect_goes_on),
    cmocka_unit_test(a_refused_connect_can_be_tried_anew),
    cmocka_unit_test(accept_passes_over_what_was_given_up_and_tells_what_it_lacks),
    cmocka_unit_test(a_pipe_owns_its_descriptor_too),
};

UNIT_MAIN(tests)
