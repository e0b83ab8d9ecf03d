/*
 * Sockets: owning a descriptor, accepting, connecting, and the errors of connections; design
 * section 7.
 */
#include <sys/resource.h>
#include <sys/un.h>

#include "transfer.h"

enum {
    SOCKETS = TOCSIN_BACKEND_SOCKETS | TOCSIN_BACKEND_DESCRIPTORS,
};

static struct tocsin_socket *open_socket(struct conform *t, struct tocsin_pool *pool, int fd)
{
    struct tocsin_socket *socket = NULL;

    REQUIRE(t, tocsin_socket_open(tocsin_pool_driver(pool), fd, &socket) == 0);
    return socket;
}

static struct tocsin_socket *new_socket(struct conform *t, struct tocsin_pool *pool, int family,
                                        int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    REQUIRE(t, fd >= 0);
    return open_socket(t, pool, fd);
}

/* An operation for probe_complete(). */
struct call {
    struct tocsin_socket *socket;
    const void *address;
    unsigned address_size;
    intptr_t accepted;
};

static int call_connect(struct tocsin_context *cx, void *arg)
{
    struct call *call = arg;

    return tocsin_socket_connect(call->socket, call->address, call->address_size, cx);
}

static int call_accept(struct tocsin_context *cx, void *arg)
{
    struct call *call = arg;

    return tocsin_socket_accept(call->socket, cx, &call->accepted);
}

static int call_read_byte(struct tocsin_context *cx, void *arg)
{
    struct call *call = arg;
    char byte;

    return tocsin_socket_read(call->socket, &byte, 1, cx);
}

/* ---- The descriptor -------------------------------------------------------------------------- */

static void socket_owns_its_descriptor(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_socket *socket;
    int fds[2];
    char byte;

    REQUIRE(t, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    socket = open_socket(t, pool, fds[0]);
    CHECK(t, fd_has_flag(fds[0], O_NONBLOCK));
    CHECK_EQ(t, tocsin_socket_fd(socket), fds[0]);

    /* Given back it is open, and can be taken over again. */
    CHECK_EQ(t, tocsin_socket_release(socket), fds[0]);
    CHECK(t, fd_is_open(fds[0]));
    CHECK(t, fd_has_flag(fds[0], O_NONBLOCK));
    socket = open_socket(t, pool, fds[0]);
    CHECK_EQ(t, tocsin_socket_close(socket), 0);
    CHECK(t, !fd_is_open(fds[0]));
    probe_turns(t, pool);
    CHECK_EQ(t, read(fds[1], &byte, 1), 0);
    CHECK_EQ(t, tocsin_socket_close(NULL), 0);
    conform_pool_close(t, pool);
    close(fds[1]);
}

static void what_is_no_socket_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_socket *socket = NULL;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    CHECK_EQ(t, tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &socket), -ENOTSOCK);
    /* It stays the caller's, as it was. */
    CHECK(t, fd_is_open(fds[0]));
    CHECK(t, !fd_has_flag(fds[0], O_NONBLOCK));
    CHECK_EQ(t, tocsin_socket_open(tocsin_pool_driver(pool), -1, &socket), -EBADF);
    CHECK(t, socket == NULL);
    conform_pool_close(t, pool);
    close(fds[0]);
    close(fds[1]);
}

static void socket_is_closed_after_its_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_socket *socket;
    int fds[2];
    char byte;

    conform_stream_pair(t, fds);
    socket = open_socket(t, pool, fds[0]);
    conform_pool_close(t, pool);
    CHECK(t, fd_is_open(fds[0]));
    CHECK_EQ(t, tocsin_socket_close(socket), 0);
    CHECK_EQ(t, read(fds[1], &byte, 1), 0);
    close(fds[1]);
}

/* ---- Accepting ------------------------------------------------------------------------------- */

static int connected_to(struct conform *t, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(t, fd >= 0);
    REQUIRE(t, connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
    return fd;
}

static void accept_takes_each_connection_once(struct conform *t)
{
    enum { CONNECTIONS = 5 };
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address;
    struct call call = {.socket = open_socket(t, pool, tcp_listener(t, &address))};
    struct probe_task task;
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    int clients[CONNECTIONS];

    probe_spawn(t, pool, &task, call_accept, &call);
    probe_turns(t, pool);
    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] = connected_to(t, &address);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        CHECK_EQ(
            t, i == 0 ? probe_finish(t, pool, &task) : probe_complete(t, pool, call_accept, &call),
            0);
        CHECK(t, fd_has_flag((int)call.accepted, O_NONBLOCK));
        CHECK(t, (fcntl((int)call.accepted, F_GETFD) & FD_CLOEXEC) != 0);
        close((int)call.accepted);
    }
    CHECK_EQ(t, tocsin_socket_accept(call.socket, &cx, &call.accepted), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
    for (int i = 0; i < CONNECTIONS; i++) {
        close(clients[i]);
    }
}

/* Let no more descriptors be opened; returns the limit as it was. */
static struct rlimit exhaust_descriptors(struct conform *t)
{
    struct rlimit before = {0};
    struct rlimit now;
    int next = fcntl(0, F_DUPFD_CLOEXEC, 0);

    REQUIRE(t, next >= 0);
    close(next);
    REQUIRE(t, getrlimit(RLIMIT_NOFILE, &before) == 0);
    now = before;
    now.rlim_cur = (rlim_t)next;
    REQUIRE(t, setrlimit(RLIMIT_NOFILE, &now) == 0);
    return before;
}

static void accept_without_descriptors_keeps_the_connection(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address;
    struct call call = {.socket = open_socket(t, pool, tcp_listener(t, &address)), .accepted = -1};
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pool);
    int client = connected_to(t, &address);
    struct rlimit before = exhaust_descriptors(t);

    CHECK_EQ(t, probe_complete(t, pool, call_accept, &call), -EMFILE);
    CHECK_EQ(t, tocsin_socket_accept(call.socket, &cx, &call.accepted), -EMFILE);
    CHECK_EQ(t, call.accepted, -1);
    REQUIRE(t, setrlimit(RLIMIT_NOFILE, &before) == 0);

    /* It is still in the queue, and no event is needed to get at it. */
    CHECK_EQ(t, tocsin_socket_accept(call.socket, &cx, &call.accepted), 0);
    close((int)call.accepted);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
    close(client);
}

/* ---- Connecting ------------------------------------------------------------------------------ */

static void connect_and_accept_meet_over_tcp(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address;
    struct call accepts = {.socket = open_socket(t, pool, tcp_listener(t, &address))};
    struct call connects = {.socket = new_socket(t, pool, AF_INET, SOCK_STREAM),
                            .address = &address,
                            .address_size = sizeof(address)};
    struct probe_task task;
    char byte = 0;

    probe_spawn(t, pool, &task, call_accept, &accepts);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &connects), 0);
    CHECK_EQ(t, probe_finish(t, pool, &task), 0);
    CHECK_EQ(t, write((int)accepts.accepted, "x", 1), 1);
    probe_kernel_says(t, (int)tocsin_socket_fd(connects.socket), POLLIN);
    CHECK_EQ(t, read((int)tocsin_socket_fd(connects.socket), &byte, 1), 1);
    CHECK_EQ(t, byte, 'x');
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &connects), -EISCONN);
    CHECK_EQ(t, tocsin_socket_close(connects.socket), 0);
    CHECK_EQ(t, tocsin_socket_close(accepts.socket), 0);
    conform_pool_close(t, pool);
    close((int)accepts.accepted);
}

static void refused_connection_is_told_and_can_be_tried_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    /* Bound, so that nobody else has the port, and not listening yet. */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct call call = {.socket = new_socket(t, pool, AF_INET, SOCK_STREAM),
                        .address = &address,
                        .address_size = sizeof(address)};

    REQUIRE(t, bind(listener, (const struct sockaddr *)&address, size) == 0);
    REQUIRE(t, getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), -ECONNREFUSED);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), -ECONNREFUSED);
    REQUIRE(t, listen(listener, 1) == 0);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), 0);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
    close(listener);
}

static void unix_connect_succeeds_or_tells(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct sockaddr_un missing = {.sun_family = AF_UNIX,
                                        .sun_path = "/no-such-folder/socket"};
    socklen_t size = sizeof(address);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct call call = {.socket = new_socket(t, pool, AF_UNIX, SOCK_STREAM)};
    struct tocsin_socket *first;

    /* The kernel picks an abstract name; a backlog of 0 holds one connection. */
    REQUIRE(t, bind(listener, (const struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
    REQUIRE(t, getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    REQUIRE(t, listen(listener, 0) == 0);

    call.address = &missing;
    call.address_size = sizeof(missing);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), -ENOENT);
    call.address = &address;
    call.address_size = size;
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), 0);
    first = call.socket;
    call.socket = new_socket(t, pool, AF_UNIX, SOCK_STREAM);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), -EAGAIN);
    CHECK_EQ(t, tocsin_socket_close(first), 0);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
    close(listener);
}

/* ---- Errors of connections ------------------------------------------------------------------- */

static void reset_wakes_a_read_and_is_told(struct conform *t)
{
    const struct linger reset = {.l_onoff = 1};
    struct tocsin_pool *pool = conform_pool(t);
    struct call call = {0};
    struct probe_task task;
    int fds[2];

    tcp_pair(t, fds);
    call.socket = open_socket(t, pool, fds[0]);
    probe_spawn(t, pool, &task, call_read_byte, &call);
    probe_turns(t, pool);
    CHECK_EQ(t, task.result, TOCSIN_PENDING);
    REQUIRE(t, setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    close(fds[1]);
    CHECK_EQ(t, probe_finish(t, pool, &task), -ECONNRESET);
    /* It was told once; after it comes the end. */
    CHECK_EQ(t, probe_complete(t, pool, call_read_byte, &call), 0);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
}

static void error_of_a_datagram_wakes_a_read(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct call call = {.socket = new_socket(t, pool, AF_INET, SOCK_DGRAM)};
    int fd = (int)tocsin_socket_fd(call.socket);
    int peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct probe_task task;

    REQUIRE(t, bind(peer, (const struct sockaddr *)&address, size) == 0);
    REQUIRE(t, getsockname(peer, (struct sockaddr *)&address, &size) == 0);
    call.address = &address;
    call.address_size = sizeof(address);
    CHECK_EQ(t, probe_complete(t, pool, call_connect, &call), 0);
    probe_spawn(t, pool, &task, call_read_byte, &call);
    probe_turns(t, pool);
    CHECK_EQ(t, task.result, TOCSIN_PENDING);

    close(peer);
    CHECK_EQ(t, send(fd, "x", 1, 0), 1);
    CHECK_EQ(t, probe_finish(t, pool, &task), -ECONNREFUSED);
    CHECK_EQ(t, tocsin_socket_close(call.socket), 0);
    conform_pool_close(t, pool);
}

CONFORM_CASES(connect,
              CASE(socket_owns_its_descriptor, "7",
                   "A socket makes its descriptor non-blocking, closes it, or gives it back.",
                   SOCKETS),
              CASE(what_is_no_socket_is_refused, "7",
                   "What is no socket is refused and left as it was.", SOCKETS),
              CASE(socket_is_closed_after_its_pool, "4.6",
                   "A socket that outlives its pool closes safely.", SOCKETS),
              CASE(accept_takes_each_connection_once, "7",
                   "Accepting takes each connection once, then pends.", SOCKETS),
              CASE(accept_without_descriptors_keeps_the_connection, "7",
                   "Accepting without free descriptors says -EMFILE and loses nothing.", SOCKETS),
              CASE(connect_and_accept_meet_over_tcp, "7",
                   "A connect and an accept of one pool meet.", SOCKETS),
              CASE(refused_connection_is_told_and_can_be_tried_again, "7",
                   "A refused connect says -ECONNREFUSED, and the socket may try again.", SOCKETS),
              CASE(unix_connect_succeeds_or_tells, "7",
                   "Connecting over AF_UNIX succeeds, or says -ENOENT, or -EAGAIN at a full queue.",
                   SOCKETS),
              CASE(reset_wakes_a_read_and_is_told, "7",
                   "A reset ends a pending read with -ECONNRESET.", SOCKETS),
              CASE(error_of_a_datagram_wakes_a_read, "7",
                   "A socket's error, as of a datagram refused, ends a pending read.", SOCKETS));
