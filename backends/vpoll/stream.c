/*
 * The stream emulation: one end of a socket pair.
 *
 *   IN     a byte that waits; taken back by reading it
 *   OUT    a send buffer that is large enough
 *   PRI    an urgent byte, which is IN as well (Linux 5.15)
 *   RDHUP  the other end writes no more: IN and RDHUP, for good
 *   HUP    the other end does nothing more: IN, RDHUP and HUP, for good
 *
 * ERR cannot be had.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/vpoll/emulation.h"

enum {
    EXACT = TOCSIN_VPOLL_IN | TOCSIN_VPOLL_OUT,
};

/* Take back whatever waits. */
static void drain(int fd)
{
    char bytes[8];

    (void)!recv(fd, bytes, 1, MSG_OOB | MSG_DONTWAIT);
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* Let @wanted wait: IN, PRI or nothing.  At most one byte, and an edge if there is one. */
static void show_waiting(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t wanted)
{
    struct tocsin__vpoll_state *state = emulation->state;
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (wanted == TOCSIN_VPOLL_PRI ? MSG_OOB : 0);
    bool is_same = state->waiting == wanted;
    char byte = 0;

    state->waiting = wanted;
    if (is_same && wanted == 0) {
        return;
    }
    if (is_same && wanted == TOCSIN_VPOLL_IN) {
        bool has_byte = tocsin__vpoll_bytes_waiting(fd) > 0; /* somebody may have read it */

        (void)!send(emulation->peers[0], &byte, 1, flags);
        if (has_byte) {
            (void)!recv(fd, &byte, 1, MSG_DONTWAIT);
        }
        return;
    }
    drain(fd);
    if (wanted != 0) {
        (void)!send(emulation->peers[0], &byte, 1, flags);
    }
}

static void show(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t events)
{
    struct tocsin__vpoll_state *state = emulation->state;

    state->final |= events & (TOCSIN_VPOLL_HUP | TOCSIN_VPOLL_RDHUP);
    if (state->final == 0) {
        show_waiting(emulation, fd,
                     (events & TOCSIN_VPOLL_PRI) != 0 ? TOCSIN_VPOLL_PRI
                                                      : events & TOCSIN_VPOLL_IN);
    }
    tocsin__vpoll_show_writable(state, fd, (events & TOCSIN_VPOLL_OUT) != 0);
    if (state->final != 0) {
        shutdown(emulation->peers[0], (state->final & TOCSIN_VPOLL_HUP) != 0 ? SHUT_RDWR : SHUT_WR);
    }
}

static int probe(struct tocsin__vpoll_why *out_why)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        tocsin__vpoll_say(out_why, "socketpair: %s", strerror(errno));
        return -errno;
    }
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int create(uint32_t events, uint32_t flags)
{
    struct tocsin__vpoll_emulation emulation = {.show = show, .exact = EXACT};
    int type = SOCK_STREAM | ((flags & TOCSIN_VPOLL_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0);
    int pair[2];
    int r;

    if (socketpair(AF_UNIX, type, 0, pair) < 0) {
        return -errno;
    }
    emulation.peers[0] = pair[1];
    emulation.peers[1] = -1;
    r = tocsin__vpoll_make_unwritable(pair[0], NULL, 0);
    r = r < 0 ? r : tocsin__vpoll_emulate(&emulation, pair[0], events, flags);
    if (r < 0) {
        close(pair[0]);
        close(emulation.peers[0]);
    }
    return r;
}

const struct tocsin__vpoll_provider tocsin__vpoll_stream = {
    .name = "stream",
    .exact = EXACT,
    .events = EXACT | TOCSIN_VPOLL_PRI | TOCSIN_VPOLL_RDHUP | TOCSIN_VPOLL_HUP,
    .probe = probe,
    .create = create,
};
