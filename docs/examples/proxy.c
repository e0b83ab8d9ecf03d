/*
 * A TCP proxy: what comes in at one address goes out to another, and back.
 *
 *   proxy [--backend NAME] [--connections-max N] LISTEN:PORT UPSTREAM:PORT
 *
 * Addresses are numeric; IPv6 ones stand in brackets.  SIGINT or SIGTERM ends it with 0.
 *
 * Each connection is one task with two sockets, and two flows through them, one each way:
 *
 *                 .----> read slot   flows[0]   write slot ----.
 *          client                                               upstream
 *                 `----- write slot  flows[1]   read slot <----'
 *
 * A socket has two interest slots, so both flows can be pending at once without another task.
 *
 *   P1  A flow holds one buffer.  While that is full it does not read: a slow receiver slows its
 *       sender down, through the kernel, and nothing grows here.
 *   P2  The end of what one side sends is passed on after the last byte of it, and the other
 *       direction goes on: half-closed connections stay half-closed.
 *   P3  A connection that breaks is broken off on the other side too, with a reset, so that nobody
 *       takes half of the data for all of it.
 */
#include "acceptor.h"
#include "net.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tocsin/linux.h>
#include <unistd.h>

enum {
    FLOW_BUFFER_SIZE = 32 * 1024,
    FLOW_MOVES_MAX = 8, /* reads of one flow in a poll; then the other tasks run */
    CONNECTIONS_MAX_DEFAULT = 1024,
    DESCRIPTORS_OWN = 32,
    DESCRIPTORS_PER_CONNECTION = 2,
};

struct flow {
    struct tocsin_socket *from;
    struct tocsin_socket *to;
    size_t start; /* of what was read and not written yet */
    size_t end;
    bool has_ended; /* @from will send no more */
    bool is_done;   /* and @to has been told */
    char buffer[FLOW_BUFFER_SIZE];
};

struct proxy {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct acceptor acceptor;
    struct net_address upstream;
    struct tocsin_task stopper;
    struct tocsin_signals *signals;
};

struct connection {
    struct tocsin_task task;
    struct proxy *proxy;
    struct tocsin_socket *client;
    struct tocsin_socket *upstream;
    bool is_connected;
    struct flow flows[2];
};

/*
 * Move what can be moved.
 *
 * Returns: 0: the flow is done; 1: it would go on, but it is the others' turn; TOCSIN_PENDING; or
 *          the error that broke it.
 */
static int flow_poll(struct flow *flow, struct tocsin_context *cx)
{
    int moves = 0;
    int r;

    while (!flow->is_done) {
        if (flow->start < flow->end) {
            r = tocsin_socket_write(flow->to, flow->buffer + flow->start, flow->end - flow->start,
                                    cx);
            if (r < 0) {
                return r; /* P1: pending among them */
            }
            flow->start += (size_t)r;
        } else if (flow->has_ended) {
            r = tocsin_socket_shutdown(flow->to, TOCSIN_SHUTDOWN_WRITE); /* P2 */
            if (r < 0) {
                return r;
            }
            flow->is_done = true;
        } else if (moves++ == FLOW_MOVES_MAX) {
            return 1;
        } else {
            r = tocsin_socket_read(flow->from, flow->buffer, sizeof(flow->buffer), cx);
            if (r < 0) {
                return r;
            }
            flow->start = 0;
            flow->end = (size_t)r;
            flow->has_ended = r == 0;
        }
    }
    return 0;
}

static struct connection *connection_of(struct tocsin_task *task)
{
    return (struct connection *)((char *)task - offsetof(struct connection, task));
}

/* P3: what is closed with a linger time of 0 is reset. */
static int connection_break(struct connection *c, int error)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setsockopt((int)tocsin_socket_fd(c->client), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    setsockopt((int)tocsin_socket_fd(c->upstream), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    return error;
}

static int connection_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct connection *c = connection_of(task);
    int results[2];

    if (!c->is_connected) {
        const struct net_address *address = &c->proxy->upstream;
        int r = tocsin_socket_connect(c->upstream, (const struct sockaddr *)&address->storage,
                                      address->size, cx);

        if (r == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        if (r < 0) {
            return connection_break(c, r);
        }
        c->is_connected = true;
    }
    for (int i = 0; i < 2; i++) {
        results[i] = flow_poll(&c->flows[i], cx);
        if (results[i] < 0 && results[i] != TOCSIN_PENDING) {
            return connection_break(c, results[i]);
        }
    }
    if (results[0] == 0 && results[1] == 0) {
        return 0;
    }
    return results[0] == 1 || results[1] == 1 ? tocsin_task_yield(cx) : TOCSIN_PENDING;
}

static void connection_drop(struct tocsin_task *task)
{
    struct connection *c = connection_of(task);

    tocsin_socket_close(c->client);
    tocsin_socket_close(c->upstream);
    acceptor_give_back(&c->proxy->acceptor);
}

static void connection_release(struct tocsin_task *task)
{
    free(connection_of(task));
}

/* Take over @fd as a socket object; it is closed if that fails. */
static int open_socket(struct tocsin_driver *driver, int fd, struct tocsin_socket **out_socket)
{
    static const int yes = 1;
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = tocsin_socket_open(driver, fd, out_socket);
    if (r < 0) {
        close(fd);
        return r;
    }
    /* What came in small pieces goes out in small pieces, at once. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return 0;
}

/* An acceptor_fn. */
static int accepted(void *arg, intptr_t fd)
{
    static const struct tocsin_task_ops ops = {
        .poll = connection_poll,
        .drop = connection_drop,
        .release = connection_release,
    };
    struct proxy *proxy = arg;
    struct connection *c = malloc(sizeof(*c));
    int r;

    if (c == NULL) {
        close((int)fd);
        return -ENOMEM;
    }
    c->proxy = proxy;
    c->client = NULL;
    c->upstream = NULL;
    c->is_connected = false;
    r = open_socket(proxy->driver, (int)fd, &c->client);
    if (r < 0) {
        goto err_connection;
    }
    r = open_socket(proxy->driver,
                    socket(proxy->upstream.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
                    &c->upstream);
    if (r < 0) {
        goto err_client;
    }
    for (int i = 0; i < 2; i++) {
        struct flow *flow = &c->flows[i];

        flow->from = i == 0 ? c->client : c->upstream;
        flow->to = i == 0 ? c->upstream : c->client;
        flow->start = flow->end = 0;
        flow->has_ended = flow->is_done = false;
    }
    r = tocsin_task_spawn(proxy->driver, &c->task, &ops, "connection");
    if (r < 0) {
        goto err_upstream;
    }
    return 0;

err_upstream:
    tocsin_socket_close(c->upstream);
err_client:
    tocsin_socket_close(c->client);
err_connection:
    free(c);
    return r;
}

/*
 * Closing the pool drops every connection: there is nothing to finish, a connection may last for
 * ever.
 */
static int stopper_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct proxy *proxy = (struct proxy *)((char *)task - offsetof(struct proxy, stopper));
    int r = tocsin_signals_poll(proxy->signals, cx, NULL);

    if (r == TOCSIN_PENDING) {
        return TOCSIN_PENDING;
    }
    tocsin_pool_stop(proxy->pool);
    return r < 0 ? r : 0;
}

static void stopper_drop(struct tocsin_task *task)
{
    struct proxy *proxy = (struct proxy *)((char *)task - offsetof(struct proxy, stopper));

    tocsin_signals_close(proxy->signals);
}

static int start_stopper(struct proxy *proxy)
{
    static const struct tocsin_task_ops ops = {.poll = stopper_poll, .drop = stopper_drop};
    static const int signals[] = {SIGINT, SIGTERM};
    sigset_t mask;
    int r;

    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &mask, NULL); /* what is blocked comes through the descriptor */
    r = tocsin_signals_open(proxy->driver, signals, 2, &proxy->signals);
    if (r < 0) {
        return r;
    }
    r = tocsin_task_spawn(proxy->driver, &proxy->stopper, &ops, "stopper");
    if (r < 0) {
        tocsin_signals_close(proxy->signals);
    }
    return r;
}

/* Returns what the run returned, or what kept it from starting. */
static int serve(struct proxy *proxy, const struct net_address *address, unsigned long open_max)
{
    unsigned long descriptors = net_raise_descriptor_limit();
    char name[NET_NAME_SIZE];
    int fd;
    int r = start_stopper(proxy);

    if (r < 0) {
        return r;
    }
    fd = net_listen(address);
    if (fd < 0) {
        return fd;
    }
    r = net_socket_name(fd, name);
    if (r < 0) {
        close(fd);
        return r;
    }
    if (open_max * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_OWN > descriptors) {
        open_max = descriptors < DESCRIPTORS_OWN + DESCRIPTORS_PER_CONNECTION
                       ? 1
                       : (descriptors - DESCRIPTORS_OWN) / DESCRIPTORS_PER_CONNECTION;
    }
    r = acceptor_start(&proxy->acceptor, proxy->driver, fd, (uint32_t)open_max, accepted, proxy);
    if (r < 0) {
        return r;
    }
    printf("listening on %s\n", name);
    fflush(stdout);
    return tocsin_pool_run(proxy->pool);
}

static int usage(void)
{
    fputs("usage: proxy [--backend NAME] [--connections-max N] LISTEN:PORT UPSTREAM:PORT\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"backend", required_argument, NULL, 'b'},
        {"connections-max", required_argument, NULL, 'c'},
        {0},
    };
    static struct proxy proxy;
    const struct tocsin_backend *backend = NULL; /* the default one */
    unsigned long open_max = CONNECTIONS_MAX_DEFAULT;
    struct net_address address;
    int option;
    int r;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'b') {
            backend = tocsin_backend_find(optarg);
        } else if (option == 'c') {
            open_max = strtoul(optarg, NULL, 10);
        }
        if (option == '?' || (option == 'b' && backend == NULL) || open_max < 1 ||
            open_max > 1000000) {
            return usage();
        }
    }
    if (optind != argc - 2 || net_address_parse_pair(argv[optind], &address) < 0 ||
        net_address_parse_pair(argv[optind + 1], &proxy.upstream) < 0) {
        return usage();
    }
    r = tocsin_pool_open(&proxy.pool, backend, NULL);
    if (r == 0) {
        proxy.driver = tocsin_pool_driver(proxy.pool);
        r = serve(&proxy, &address, open_max);
        tocsin_pool_close(proxy.pool);
    }
    if (r < 0) {
        fprintf(stderr, "proxy: %s\n", strerror(-r));
    }
    return r < 0 ? 1 : 0;
}
