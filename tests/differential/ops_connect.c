/*
 * Operations that connect and accept.
 */
#include "differential.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 4,
};

static int client_open(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    NEED(fd >= 0);
    return fd;
}

static int connect_to(struct actor *actor, struct tocsin_socket *socket,
                      const struct sockaddr_in *address)
{
    int r;

    do {
        r = CALL(tocsin_socket_connect)(socket, (const struct sockaddr *)address, sizeof(*address),
                                        actor->cx);
    } while (again(actor, r));
    return r;
}

/* Several clients connect, are accepted, and say a byte each. */
static void accept_clients(struct actor *actor)
{
    struct tocsin_socket *clients[CLIENTS_MAX];
    struct tocsin_socket *listener;
    struct tocsin_socket *server;
    unsigned count = 1 + pick(actor, 0, CLIENTS_MAX);
    struct sockaddr_in address;
    unsigned char byte = 7;
    intptr_t fd;
    int r;

    NEED(CALL(tocsin_socket_open)(actor->run->driver, listener_open(&address), &listener) == 0);
    if (pick(actor, 1, 2) == 0) {
        r = CALL(tocsin_socket_accept)(listener, actor->cx, &fd);
        say(actor, " %s", r == TOCSIN_PENDING ? "nobody" : "somebody");
    }
    for (unsigned i = 0; i < count; i++) {
        NEED(CALL(tocsin_socket_open)(actor->run->driver, client_open(), &clients[i]) == 0);
        say(actor, " connect %d", connect_to(actor, clients[i], &address));
        do {
            r = CALL(tocsin_socket_accept)(listener, actor->cx, &fd);
        } while (again(actor, r));
        say(actor, " accept %d", r);
        NEED(CALL(tocsin_socket_open)(actor->run->driver, fd, &server) == 0);
        do {
            r = CALL(tocsin_socket_write)(server, &byte, 1, actor->cx);
        } while (again(actor, r));
        say(actor, " %d", r);
        say(actor, " close %d", CALL(tocsin_socket_close)(server));
    }
    for (unsigned i = 0; i < count; i++) {
        for (int expected = 1; expected >= 0; expected--) {
            do {
                r = CALL(tocsin_socket_read)(clients[i], &byte, 1, actor->cx);
            } while (again(actor, r));
            say(actor, " read %d", r);
        }
        say(actor, " close %d", CALL(tocsin_socket_close)(clients[i]));
    }
    say(actor, " close %d", CALL(tocsin_socket_close)(listener));
}

/* Nobody listens there: the port is bound, so that nobody else takes it. */
static void connect_refused(struct actor *actor)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    struct tocsin_socket *socket;
    int bound = client_open();

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    NEED(bind(bound, (struct sockaddr *)&address, size) == 0);
    NEED(getsockname(bound, (struct sockaddr *)&address, &size) == 0);
    NEED(CALL(tocsin_socket_open)(actor->run->driver, client_open(), &socket) == 0);
    say(actor, " %d", connect_to(actor, socket, &address));
    say(actor, " close %d", CALL(tocsin_socket_close)(socket));
    close(bound);
}

static const struct op_kind ops_connect_kinds[] = {
    {"accept_clients", accept_clients, BY_TASK, TOCSIN_BACKEND_SOCKETS, 15},
    {"connect_refused", connect_refused, BY_TASK, TOCSIN_BACKEND_SOCKETS, 8},
};

OP_GROUP(ops_connect);
