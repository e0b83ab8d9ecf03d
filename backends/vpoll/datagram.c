/*
 * The datagram emulation: IN, OUT and ERR, each alone and reversible.
 *
 * Three sockets.  The descriptor is connected to the first peer, which sends it the byte that is
 * IN.  The second peer keeps the message over which the send buffer's size decides OUT.
 *
 *   ERR    the first peer, connected back, ends that connection with a message of the descriptor's
 *          unread: messages were lost, and the kernel says ECONNRESET to who sent them.  Reading
 *          the socket's error takes it back; so does every other operation on the descriptor, and
 *          therefore it is shown last.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends/vpoll/emulation.h"

enum {
    EXACT = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_OUT | TOCSIN_VPOLL_ERR,
    CONNECTED = 0, /* of the peers */
    KEEPER = 1,
    SOCKETS = 3,
};

static int take_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : error;
}

static int address_of(int fd, struct sockaddr_un *address, socklen_t *size)
{
    *size = sizeof(*address);
    return getsockname(fd, (struct sockaddr *)address, size) < 0 ? -errno : 0;
}

static void show_in(struct tocsin__vpoll_emulation *emulation, int fd, bool wanted)
{
    bool has_byte = tocsin__vpoll_bytes_waiting(fd) > 0;
    struct sockaddr_un address;
    socklen_t size;
    char byte = 0;

    if (wanted && address_of(fd, &address, &size) == 0) {
        (void)!sendto(emulation->peers[CONNECTED], &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *)&address, size);
    }
    if (has_byte) {
        (void)!recv(fd, &byte, 1, MSG_DONTWAIT);
    }
}

static void raise_error(struct tocsin__vpoll_emulation *emulation, int fd)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    struct sockaddr_un address;
    socklen_t size;
    char byte = 0;

    if (address_of(fd, &address, &size) == 0 &&
        connect(emulation->peers[CONNECTED], (const struct sockaddr *)&address, size) == 0) {
        (void)!send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)!connect(emulation->peers[CONNECTED], &nobody, sizeof(nobody));
    }
}

static void show(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t events)
{
    take_error(fd); /* or the receive below would be told of it */
    show_in(emulation, fd, (events & TOCSIN_VPOLL_IN) != 0);
    tocsin__vpoll_show_writable(emulation->state, fd, (events & TOCSIN_VPOLL_OUT) != 0);
    if ((events & TOCSIN_VPOLL_ERR) != 0) {
        raise_error(emulation, fd);
    }
}

/* Three sockets with names that the kernel gives, in the abstract namespace. */
static int make_sockets(int fds[SOCKETS], uint32_t flags)
{
    const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    int cloexec = (flags & TOCSIN_VPOLL_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0;

    for (int i = 0; i < SOCKETS; i++) {
        fds[i] = socket(AF_UNIX, SOCK_DGRAM | (i == 0 ? cloexec : SOCK_CLOEXEC), 0);
        if (fds[i] < 0 ||
            bind(fds[i], (const struct sockaddr *)&unnamed, sizeof(unnamed.sun_family)) < 0) {
            int error = errno;

            for (int j = 0; j <= i; j++) {
                close(fds[j]);
            }
            return -error;
        }
    }
    return 0;
}

static int connect_sockets(const int fds[SOCKETS])
{
    struct sockaddr_un address;
    socklen_t size;
    int r = address_of(fds[1 + CONNECTED], &address, &size);

    if (r == 0 && connect(fds[0], (const struct sockaddr *)&address, size) < 0) {
        r = -errno;
    }
    r = r < 0 ? r : address_of(fds[1 + KEEPER], &address, &size);
    return r < 0 ? r : tocsin__vpoll_make_unwritable(fds[0], &address, size);
}

static int probe(struct tocsin__vpoll_why *out_why)
{
    int fds[SOCKETS];
    int r = make_sockets(fds, TOCSIN_VPOLL_CLOEXEC);

    if (r < 0) {
        tocsin__vpoll_say(out_why, "socket: %s", strerror(-r));
        return r;
    }
    for (int i = 0; i < SOCKETS; i++) {
        close(fds[i]);
    }
    return 0;
}

static int create(uint32_t events, uint32_t flags)
{
    struct tocsin__vpoll_emulation emulation = {.show = show, .exact = EXACT};
    int fds[SOCKETS];
    int r = make_sockets(fds, flags);

    if (r < 0) {
        return r;
    }
    emulation.peers[CONNECTED] = fds[1 + CONNECTED];
    emulation.peers[KEEPER] = fds[1 + KEEPER];
    r = connect_sockets(fds);
    r = r < 0 ? r : tocsin__vpoll_emulate(&emulation, fds[0], events, flags);
    if (r < 0) {
        close(fds[0]);
        close(emulation.peers[CONNECTED]);
        close(emulation.peers[KEEPER]);
    }
    return r;
}

const struct tocsin__vpoll_provider tocsin__vpoll_datagram = {
    .name = "datagram",
    .on_request = true,
    .exact = EXACT,
    .events = EXACT,
    .probe = probe,
    .create = create,
};
