/*
 * Emulating vpoll by AF_UNIX sockets, where no provider is exact.
 *
 * The descriptor is a socket; its peers, which nobody else has, make it ready or not.  Nothing is
 * counted: at most one byte is under way to the descriptor, and whether it can be written to, the
 * size of its send buffer decides, over a message that always waits at the other end.
 *
 * The state is in memory that is shared with forked children, under a lock that survives the death
 * of its holder.  A socket is known by its cookie, which no other has, so that a number that was
 * closed and given to another file is told.
 */
#include "backends/vpoll/emulation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    /*
     * The kernel calls a socket writable while four times what it has under way fit its buffer.
     * The smallest buffer is 4,608 bytes: this message takes more than a quarter of that, and less
     * than all.
     */
    RESIDENT_SIZE = 1000,
    BUFFER_SMALL = 1,
    BUFFER_LARGE = 65536,
};

static int cookie_of(int fd, uint64_t *out_cookie)
{
    socklen_t size = sizeof(*out_cookie);

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, out_cookie, &size) < 0 ? -errno : 0;
}

static void lock_state(struct tocsin__vpoll_emulation *emulation)
{
    if (pthread_mutex_lock(&emulation->state->lock) == EOWNERDEAD) {
        pthread_mutex_consistent(&emulation->state->lock);
    }
}

static int ctl(struct tocsin__vpoll_object *object, int fd, enum tocsin_vpoll_op op,
               uint32_t events)
{
    struct tocsin__vpoll_emulation *emulation = (struct tocsin__vpoll_emulation *)(void *)object;
    struct tocsin__vpoll_state *state = emulation->state;

    if (emulation->exact != 0 && (events & ~emulation->exact) != 0) {
        return -ENOTSUP;
    }
    lock_state(emulation);
    state->events = tocsin__vpoll_apply(state->events, op, events);
    emulation->show(emulation, fd, state->events);
    pthread_mutex_unlock(&state->lock);
    return 0;
}

static void forget(struct tocsin__vpoll_object *object)
{
    struct tocsin__vpoll_emulation *emulation = (struct tocsin__vpoll_emulation *)(void *)object;
    uint64_t cookie;

    for (int i = 0; i < TOCSIN__VPOLL_PEERS; i++) {
        if (emulation->peers[i] >= 0 && cookie_of(emulation->peers[i], &cookie) == 0 &&
            cookie == emulation->peer_identities[i]) {
            close(emulation->peers[i]);
        }
    }
    munmap(emulation->state, sizeof(*emulation->state));
    free(emulation);
}

static const struct tocsin__vpoll_object_ops emulation_ops = {
    .identify = cookie_of,
    .ctl = ctl,
    .forget = forget,
};

static struct tocsin__vpoll_state *make_state(void)
{
    struct tocsin__vpoll_state *state =
        mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;

    if (state == MAP_FAILED) {
        return NULL;
    }
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&state->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return state;
}

/* Fill in what identifies the sockets, with the peers at high numbers. */
static int identify_all(struct tocsin__vpoll_emulation *emulation, int fd)
{
    int r = cookie_of(fd, &emulation->object.identity);

    for (int i = 0; r == 0 && i < TOCSIN__VPOLL_PEERS; i++) {
        if (emulation->peers[i] >= 0) {
            emulation->peers[i] = tocsin__vpoll_place_high(emulation->peers[i]);
            r = cookie_of(emulation->peers[i], &emulation->peer_identities[i]);
        }
    }
    return r;
}

int tocsin__vpoll_emulate(struct tocsin__vpoll_emulation *emulation, int fd, uint32_t events,
                          uint32_t flags)
{
    struct tocsin__vpoll_emulation *kept = malloc(sizeof(*kept));
    int r = identify_all(emulation, fd);

    if (kept == NULL || r < 0) {
        r = r < 0 ? r : -ENOMEM;
        goto err_kept;
    }
    emulation->object.ops = &emulation_ops;
    emulation->exact = (flags & TOCSIN_VPOLL_STRICT) != 0 ? emulation->exact : 0;
    emulation->state = make_state();
    if (emulation->state == NULL) {
        r = -ENOMEM;
        goto err_kept;
    }
    *kept = *emulation;
    kept->state->events = events;
    kept->show(kept, fd, events);
    r = tocsin__vpoll_table_put(fd, &kept->object);
    if (r == 0) {
        return fd;
    }
    munmap(emulation->state, sizeof(*emulation->state));
err_kept:
    free(kept);
    return r;
}

int tocsin__vpoll_make_unwritable(int fd, const struct sockaddr_un *to, unsigned to_size)
{
    static const char message[RESIDENT_SIZE];
    const int size = BUFFER_SMALL;

    if (sendto(fd, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)to, to_size) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0) {
        return -errno;
    }
    return 0;
}

void tocsin__vpoll_show_writable(struct tocsin__vpoll_state *state, int fd, bool is_writable)
{
    const int size = is_writable ? BUFFER_LARGE : BUFFER_SMALL;

    if (is_writable || state->is_writable) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        state->is_writable = is_writable;
    }
}

int tocsin__vpoll_bytes_waiting(int fd)
{
    int count = 0;

    return ioctl(fd, FIONREAD, &count) < 0 ? 0 : count;
}
