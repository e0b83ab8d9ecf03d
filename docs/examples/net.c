/*
 * Addresses, for the examples.
 */
#include "net.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int net_address_parse(const char *host, const char *port, struct net_address *out_address)
{
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -EINVAL;
    }
    memcpy(&out_address->storage, found->ai_addr, found->ai_addrlen);
    out_address->size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int net_address_parse_pair(const char *pair, struct net_address *out_address)
{
    const char *colon = strrchr(pair, ':');
    char host[NET_NAME_SIZE];
    size_t size;

    if (colon == NULL) {
        return -EINVAL;
    }
    size = (size_t)(colon - pair);
    if (size >= 2 && pair[0] == '[' && pair[size - 1] == ']') {
        pair++;
        size -= 2;
    }
    if (size == 0 || size >= sizeof(host)) {
        return -EINVAL;
    }
    memcpy(host, pair, size);
    host[size] = '\0';
    return net_address_parse(host, colon + 1, out_address);
}

int net_socket_name(int fd, char out_name[NET_NAME_SIZE])
{
    struct net_address address = {.size = sizeof(address.storage)};
    char host[48];
    char port[8];

    if (getsockname(fd, (struct sockaddr *)&address.storage, &address.size) != 0) {
        return -errno;
    }
    if (getnameinfo((struct sockaddr *)&address.storage, address.size, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return -EINVAL;
    }
    snprintf(out_name, NET_NAME_SIZE, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

int net_listen(const struct net_address *address)
{
    static const int yes = 1;
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    /* Else a server that is started again soon finds its port still taken. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        bind(fd, (const struct sockaddr *)&address->storage, address->size) != 0 ||
        listen(fd, SOMAXCONN) != 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

unsigned long net_raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    return limit.rlim_cur;
}
