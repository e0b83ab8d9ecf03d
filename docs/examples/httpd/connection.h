/*
 * The connections of the file server, each a task.
 */
#ifndef HTTPD_CONNECTION_H
#define HTTPD_CONNECTION_H

#include "acceptor.h"
#include "httpd/file.h"

#include <stdbool.h>
#include <stdint.h>
#include <tocsin/tocsin.h>

struct connection;

/* What all connections share.  The pool's thread alone touches it. */
struct connections {
    struct tocsin_driver *driver;
    struct site site;
    uint64_t idle_ns;   /* how long a client may say nothing, or take nothing of its answer */
    uint64_t header_ns; /* how long a request may take from its first byte to its last */
    struct acceptor *acceptor; /* told of each one's end */
    struct connection *first;
    bool is_stopping;
};

/*
 * Serve the client behind @fd.
 *
 * Memory:  @fd is used up.
 * Returns: 0, or negative errno.
 */
int connections_add(struct connections *all, intptr_t fd);

/*
 * End those that wait for a request now, and each of the others after the answer that is under way.
 * A request that has begun is waited for, for the rest of header_ns.
 */
void connections_stop(struct connections *all);

#endif
