/*
 * Addresses, for the examples: numeric ones, so that nothing here asks a name server and blocks.
 */
#ifndef EXAMPLES_NET_H
#define EXAMPLES_NET_H

#include <sys/socket.h>

enum {
    NET_NAME_SIZE = 64, /* "[address]:port" and a zero */
};

struct net_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* Returns 0, or -EINVAL: not a numeric address and port. */
int net_address_parse(const char *host, const char *port, struct net_address *out_address);

/* The same for "host:port" and "[host]:port". */
int net_address_parse_pair(const char *pair, struct net_address *out_address);

/*
 * Write the address that the socket @fd is bound to as a URL would have it: "1.2.3.4:80",
 * "[::1]:80".
 */
int net_socket_name(int fd, char out_name[NET_NAME_SIZE]);

/* A listening socket, close-on-exec; port 0 leaves the choice to the kernel.  Or negative errno. */
int net_listen(const struct net_address *address);

/* Let this process open as many descriptors as it may; how many that are. */
unsigned long net_raise_descriptor_limit(void);

#endif
