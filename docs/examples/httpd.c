/*
 * A static file server for HTTP/1.1: what a program that lives on a pool looks like.
 *
 *   httpd [--address A] [--port N] [--backend NAME] [--connections-max N]
 *         [--idle-ms N] [--header-ms N] [--no-symlinks] DIRECTORY
 *
 * It serves what is in DIRECTORY and nothing else, and prints where it listens; port 0 lets the
 * kernel choose.  SIGINT or SIGTERM: it accepts what is in the queue, up to the cap, and no more,
 * closes idle connections, finishes the answers that are under way, and exits with 0.  A request of
 * which a part has come counts as under way: it holds up the end until the rest has come, for
 * --header-ms at most.  A second signal breaks all that off.
 *
 * One pool, one thread, and these tasks on it:
 *
 *   acceptor     acceptor.c: takes connections, no more than the cap
 *   connection   httpd/connection.c: one for each; the task and its buffers are one malloc
 *   stopper      here: waits for the signals, then for the last connection
 *
 * A connection reads a head (httpd/request.c), has an answer made (httpd/reply.c, with file.c,
 * listing.c, condition.c and date.c below it, none of which knows of sockets), and sends it.
 */
#include "acceptor.h"
#include "httpd/connection.h"
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tocsin/linux.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX_DEFAULT = 4096,
    DESCRIPTORS_OWN = 32,           /* beside those of the connections */
    DESCRIPTORS_PER_CONNECTION = 2, /* C3 in httpd/connection.c */
    IDLE_MS_DEFAULT = 15000,
    HEADER_MS_DEFAULT = 10000,
};

struct options {
    const char *address;
    const char *port;
    const char *backend;
    uint32_t connections_max;
    uint32_t idle_ms;
    uint32_t header_ms;
    bool refuse_symlinks;
    const char *directory;
};

struct server {
    struct tocsin_pool *pool;
    struct acceptor acceptor;
    struct connections connections;
    struct tocsin_task stopper;
    struct tocsin_signals *signals;
};

static int usage(void)
{
    fputs("usage: httpd [--address A] [--port N] [--backend NAME] [--connections-max N]\n"
          "             [--idle-ms N] [--header-ms N] [--no-symlinks] DIRECTORY\n",
          stderr);
    return -EINVAL;
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "httpd: %s: %s\n", what, strerror(-error));
    return error;
}

/* A number from 1 to 1,000,000. */
static int parse_count(const char *text, uint32_t *out_count)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || count < 1 || count > 1000000) {
        return usage();
    }
    *out_count = (uint32_t)count;
    return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"address", required_argument, NULL, 'a'},
        {"port", required_argument, NULL, 'p'},
        {"backend", required_argument, NULL, 'b'},
        {"connections-max", required_argument, NULL, 'c'},
        {"idle-ms", required_argument, NULL, 'i'},
        {"header-ms", required_argument, NULL, 'h'},
        {"no-symlinks", no_argument, NULL, 'n'},
        {0},
    };
    int r = 0;
    int option;

    while (r == 0 && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'a':
            options->address = optarg;
            break;
        case 'p':
            options->port = optarg;
            break;
        case 'b':
            options->backend = optarg;
            break;
        case 'c':
            r = parse_count(optarg, &options->connections_max);
            break;
        case 'i':
            r = parse_count(optarg, &options->idle_ms);
            break;
        case 'h':
            r = parse_count(optarg, &options->header_ms);
            break;
        case 'n':
            options->refuse_symlinks = true;
            break;
        default:
            r = usage();
        }
    }
    if (r == 0 && optind != argc - 1) {
        r = usage();
    }
    if (r == 0) {
        options->directory = argv[optind];
    }
    return r;
}

/* No more connections than there are descriptors for. */
static uint32_t connections_max(const struct options *options)
{
    unsigned long descriptors = net_raise_descriptor_limit();
    unsigned long fit = descriptors > DESCRIPTORS_OWN + DESCRIPTORS_PER_CONNECTION
                            ? (descriptors - DESCRIPTORS_OWN) / DESCRIPTORS_PER_CONNECTION
                            : 1;

    return options->connections_max < fit ? options->connections_max : (uint32_t)fit;
}

static int accepted(void *arg, intptr_t fd)
{
    struct server *server = arg;

    return connections_add(&server->connections, fd);
}

static int stopper_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct server *server = (struct server *)((char *)task - offsetof(struct server, stopper));
    int r;

    while ((r = tocsin_signals_poll(server->signals, cx, NULL)) > 0) {
        if (server->connections.is_stopping) {
            tocsin_pool_stop(server->pool);
        } else {
            acceptor_stop(&server->acceptor);
            connections_stop(&server->connections);
        }
    }
    if (r != TOCSIN_PENDING) {
        return r;
    }
    return server->connections.is_stopping ? acceptor_poll_empty(&server->acceptor, cx)
                                           : TOCSIN_PENDING;
}

static void stopper_drop(struct tocsin_task *task)
{
    struct server *server = (struct server *)((char *)task - offsetof(struct server, stopper));

    tocsin_signals_close(server->signals);
}

static int start_stopper(struct server *server, struct tocsin_driver *driver)
{
    static const struct tocsin_task_ops ops = {.poll = stopper_poll, .drop = stopper_drop};
    static const int signals[] = {SIGINT, SIGTERM};
    sigset_t mask;
    int r;

    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &mask, NULL); /* what is blocked comes through the descriptor */
    r = tocsin_signals_open(driver, signals, 2, &server->signals);
    if (r < 0) {
        return r;
    }
    r = tocsin_task_spawn(driver, &server->stopper, &ops, "stopper");
    if (r < 0) {
        tocsin_signals_close(server->signals);
    }
    return r;
}

static int start_listening(struct server *server, const struct options *options)
{
    char name[NET_NAME_SIZE];
    struct net_address address;
    int fd;
    int r = net_address_parse(options->address, options->port, &address);

    if (r < 0) {
        return fail(options->address, r);
    }
    fd = net_listen(&address);
    if (fd < 0) {
        return fail("listen", fd);
    }
    r = net_socket_name(fd, name);
    if (r < 0) {
        close(fd);
        return fail("listen", r);
    }
    r = acceptor_start(&server->acceptor, server->connections.driver, fd, connections_max(options),
                       accepted, server);
    if (r < 0) {
        return fail("listen", r);
    }
    printf("listening on http://%s/\n", name);
    fflush(stdout);
    return 0;
}

static int serve(struct server *server, const struct options *options)
{
    int r = start_stopper(server, server->connections.driver);

    if (r < 0) {
        return fail("signals", r);
    }
    r = start_listening(server, options);
    if (r < 0) {
        return r;
    }
    r = tocsin_pool_run(server->pool);
    return r < 0 ? fail("run", r) : r; /* 1: the second signal */
}

int main(int argc, char **argv)
{
    struct options options = {
        .address = "127.0.0.1",
        .port = "8080",
        .connections_max = CONNECTIONS_MAX_DEFAULT,
        .idle_ms = IDLE_MS_DEFAULT,
        .header_ms = HEADER_MS_DEFAULT,
    };
    static struct server server;
    const struct tocsin_backend *backend = NULL; /* the default one */
    int root_fd;
    int r;

    if (parse_options(argc, argv, &options) < 0) {
        return 2;
    }
    if (options.backend != NULL && (backend = tocsin_backend_find(options.backend)) == NULL) {
        fail(options.backend, -ENOENT);
        return 2;
    }
    root_fd = open(options.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) {
        fail(options.directory, -errno);
        return 2;
    }
    /* Sockets are asked not to raise SIGPIPE; sendfile(2) cannot be asked. */
    signal(SIGPIPE, SIG_IGN);
    r = tocsin_pool_open(&server.pool, backend, NULL);
    if (r < 0) {
        fail("pool", r);
        close(root_fd);
        return 1;
    }
    server.connections = (struct connections){
        .driver = tocsin_pool_driver(server.pool),
        .site = {.root_fd = root_fd, .refuse_symlinks = options.refuse_symlinks},
        .idle_ns = options.idle_ms * UINT64_C(1000000),
        .header_ns = options.header_ms * UINT64_C(1000000),
        .acceptor = &server.acceptor,
    };
    r = serve(&server, &options);
    tocsin_pool_close(server.pool);
    close(root_fd);
    return r == 0 ? 0 : 1;
}
