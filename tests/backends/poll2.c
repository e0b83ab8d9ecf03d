/*
 * A backend over poll(2), for the conformance suite.
 *
 * It is all that epoll is not, and so proves that the runtime leans on none of it.
 * Level-triggered: it has arm, and reports a watch once for each arm.  Attach, arm and detach are
 * the loop thread's alone: what other threads open reaches it through the pool.  The kernel keeps
 * nothing between two waits: who is attached is an array here, and whether a number still means the
 * same file has to be found out.
 *
 *   P1  polls[0] is the kick's eventfd; polls[i] is that of entries[i], for i from 1 to count - 1.
 *   P2  polls[i].fd is -1 unless the entry is armed: poll(2) reports HUP and ERR unasked, and would
 *       end every wait with those of a watch that wants nothing.
 *   P3  An entry that lost its number (closed, recycled) is never armed again.  No event is made up
 *       for it: epoll says nothing of a descriptor that was closed too early, nor does this.
 *   P4  A watch's data is the index of its entry, or 0: a later watch has taken its place.
 *   P5  A scan starts after the entry that filled the last list, so none starves behind 64 busy
 *       ones.
 *
 * Files are told apart by fstat(2).  Two sockets never share an inode; eventfds and their like all
 * share one, and there a recycled number looks like the old file (EEXIST and ENOENT are then not
 * told).
 */
#include "backends.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

enum {
    CAPACITY_FIRST = 16,
};

/* What a descriptor's number stands for. */
struct identity {
    dev_t device;
    ino_t inode;
    mode_t type;
    int access; /* O_ACCMODE of it: the ends of a pipe share an inode */
};

struct entry {
    struct tocsin_backend_watch *watch;
    struct identity identity;
    bool lost; /* P3 */
};

struct poll2 {
    struct pollfd *polls;
    struct entry *entries;
    uintptr_t count; /* of both, with the kick */
    uintptr_t capacity;
    uintptr_t scan_start; /* P5 */
    int kick_fd;
};

/* Returns 0, or -EBADF. */
static int identify(int fd, struct identity *out_identity)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &status) < 0) {
        return -errno;
    }
    out_identity->device = status.st_dev;
    out_identity->inode = status.st_ino;
    out_identity->type = status.st_mode & S_IFMT;
    out_identity->access = flags & O_ACCMODE;
    return 0;
}

static bool may_be_same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->type == b->type &&
           a->access == b->access;
}

/* 0: as far as can be told, the entry's number means what it meant; else -EBADF or -ENOENT. */
static int entry_check(const struct entry *entry)
{
    struct identity now;
    int r = identify((int)entry->watch->number, &now);

    if (r < 0) {
        return r;
    }
    return !entry->lost && may_be_same(&entry->identity, &now) ? 0 : -ENOENT;
}

static int reserve(struct poll2 *poll2, uintptr_t count)
{
    uintptr_t capacity = poll2->capacity == 0 ? CAPACITY_FIRST : poll2->capacity;
    struct pollfd *polls;
    struct entry *entries;

    if (count <= poll2->capacity) {
        return 0;
    }
    while (capacity < count) {
        capacity *= 2;
    }
    polls = realloc(poll2->polls, capacity * sizeof(*polls));
    if (polls == NULL) {
        return -ENOMEM;
    }
    poll2->polls = polls;
    entries = realloc(poll2->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    poll2->entries = entries;
    poll2->capacity = capacity;
    return 0;
}

static void be_poll2_close(void *state, enum tocsin_backend_close how)
{
    struct poll2 *poll2 = state;

    (void)how; /* the kernel keeps nothing that a forked child shares: both ways are the same */
    close(poll2->kick_fd);
    free(poll2->polls);
    free(poll2->entries);
}

static int be_poll2_open(void *state, void *arg)
{
    struct poll2 *poll2 = state;
    int r;

    (void)arg;
    poll2->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poll2->kick_fd < 0) {
        return -errno;
    }
    r = reserve(poll2, 1);
    if (r < 0) {
        be_poll2_close(poll2, TOCSIN_BACKEND_CLOSE);
        return r;
    }
    poll2->polls[0] = (struct pollfd){.fd = poll2->kick_fd, .events = POLLIN};
    poll2->entries[0] = (struct entry){.watch = NULL};
    poll2->count = 1;
    poll2->scan_start = 1;
    return 0;
}

static uint64_t be_poll2_now(void *state)
{
    struct timespec now;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static const struct {
    short poll;
    uint32_t event;
} event_pairs[] = {
    {POLLIN, TOCSIN_IN},   {POLLOUT, TOCSIN_OUT}, {POLLERR, TOCSIN_ERR},
    {POLLHUP, TOCSIN_HUP}, {POLLPRI, TOCSIN_PRI}, {POLLRDHUP, TOCSIN_RDHUP},
};

enum {
    EVENT_PAIRS_COUNT = sizeof(event_pairs) / sizeof(event_pairs[0]),
};

static short events_to_poll(uint32_t events)
{
    int bits = 0;

    for (size_t i = 0; i < EVENT_PAIRS_COUNT; i++) {
        if ((events & event_pairs[i].event) != 0) {
            bits |= event_pairs[i].poll;
        }
    }
    return (short)bits;
}

static uint32_t events_from_poll(short bits)
{
    uint32_t events = 0;

    for (size_t i = 0; i < EVENT_PAIRS_COUNT; i++) {
        if ((bits & event_pairs[i].poll) != 0) {
            events |= event_pairs[i].event;
        }
    }
    return events;
}

/* One entry that poll(2) has marked. */
static void report(struct poll2 *poll2, uintptr_t index, struct tocsin_backend_events *list)
{
    struct pollfd *poll = &poll2->polls[index];
    struct entry *entry = &poll2->entries[index];
    uint32_t events = events_from_poll(poll->revents);

    poll->fd = -1;
    poll->revents = 0;
    /* Also when it was POLLNVAL and the number is in use again by now. */
    if (events == 0 || entry_check(entry) < 0) {
        entry->lost = true;
        return;
    }
    tocsin_backend_report(list, entry->watch->id, events);
}

static void scan(struct poll2 *poll2, struct tocsin_backend_events *list)
{
    uintptr_t sources = poll2->count - 1;
    uintptr_t start = poll2->scan_start < poll2->count ? poll2->scan_start : 1;

    for (uintptr_t i = 0; i < sources; i++) {
        uintptr_t index = 1 + (start - 1 + i) % sources;

        if (poll2->polls[index].revents == 0) {
            continue;
        }
        if (list->count == list->capacity) {
            poll2->scan_start = index;
            return;
        }
        report(poll2, index, list);
    }
}

static int collect(struct poll2 *poll2, const struct timespec *timeout,
                   struct tocsin_backend_events *list)
{
    int r = ppoll(poll2->polls, poll2->count, timeout, NULL);
    uint64_t kicks;

    if (r < 0) {
        /* These end a wait for no reason.  EINVAL: RLIMIT_NOFILE is below what is attached. */
        return errno == EINTR || errno == ENOMEM || errno == EAGAIN ? 0 : -errno;
    }
    if (r > 0 && poll2->polls[0].revents != 0) {
        /* Kicks have merged into the counter; one read takes them all. */
        (void)!read(poll2->kick_fd, &kicks, sizeof(kicks));
    }
    if (r > 0) {
        scan(poll2, list);
    }
    return 0;
}

static int be_poll2_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct timespec timeout = {0, 0};
    uint64_t now_ns;

    if (deadline_ns == TOCSIN_NEVER_NS) {
        return collect(state, NULL, list);
    }
    now_ns = be_poll2_now(state);
    if (deadline_ns > now_ns) {
        timeout.tv_sec = (time_t)((deadline_ns - now_ns) / NS_PER_S);
        timeout.tv_nsec = (long)((deadline_ns - now_ns) % NS_PER_S);
    }
    return collect(state, &timeout, list);
}

static int be_poll2_look(void *state, struct tocsin_backend_events *list)
{
    const struct timespec timeout = {0, 0};

    return collect(state, &timeout, list);
}

static void be_poll2_kick(void *state)
{
    struct poll2 *poll2 = state;
    uint64_t one = 1;

    /* EAGAIN: the counter is full, so the next wait ends as it should. */
    (void)!write(poll2->kick_fd, &one, sizeof(one));
}

/* The entry that has @number, or 0. */
static uintptr_t find(const struct poll2 *poll2, intptr_t number)
{
    for (uintptr_t i = 1; i < poll2->count; i++) {
        if (poll2->entries[i].watch->number == number) {
            return i;
        }
    }
    return 0;
}

/*
 * What cannot be polled is always ready to poll(2), and would end every wait.  epoll refuses it.  A
 * regular file may be one that FUSE serves, and then it can.
 */
static int check_kind(int fd, mode_t type)
{
    struct epoll_event event = {.events = 0};
    int epoll_fd;
    int r;

    if (type != S_IFREG && type != S_IFDIR) {
        return 0;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        return -errno;
    }
    r = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
    close(epoll_fd);
    return r;
}

static int be_poll2_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct poll2 *poll2 = state;
    uintptr_t old = find(poll2, watch->number);
    uintptr_t index;
    struct identity identity;
    int r = identify((int)watch->number, &identity);

    if (r == 0) {
        r = check_kind((int)watch->number, identity.type);
    }
    if (r < 0) {
        return r;
    }
    if (old != 0 && !poll2->entries[old].lost && identity.type == S_IFSOCK &&
        may_be_same(&poll2->entries[old].identity, &identity)) {
        return -EEXIST;
    }
    if (old != 0) {
        poll2->entries[old].watch->data = NULL;
        index = old;
    } else {
        r = reserve(poll2, poll2->count + 1);
        if (r < 0) {
            return r;
        }
        index = poll2->count++;
    }
    poll2->entries[index] = (struct entry){.watch = watch, .identity = identity};
    poll2->polls[index] = (struct pollfd){.fd = -1};
    watch->data = (void *)index;
    return 0;
}

static void be_poll2_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    struct poll2 *poll2 = state;
    uintptr_t index = (uintptr_t)watch->data;
    bool armed = events != 0 && !poll2->entries[index].lost;

    if (index == 0) {
        return;
    }
    poll2->polls[index].fd = armed ? (int)watch->number : -1;
    poll2->polls[index].events = events_to_poll(events);
    poll2->polls[index].revents = 0;
}

static int be_poll2_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct poll2 *poll2 = state;
    uintptr_t index = (uintptr_t)watch->data;
    uintptr_t last = poll2->count - 1;
    int r;

    if (index == 0) {
        return -ENOENT;
    }
    r = entry_check(&poll2->entries[index]);
    poll2->entries[index] = poll2->entries[last];
    poll2->polls[index] = poll2->polls[last];
    poll2->entries[index].watch->data = (void *)index;
    poll2->count--;
    watch->data = NULL;
    return r;
}

static const struct tocsin_backend_ops poll2_ops = {
    .name = "poll2",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_EXACT_EVENTS | TOCSIN_BACKEND_FINE_DEADLINE |
                TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                TOCSIN_BACKEND_FOREIGN_THREADS,
    .state_size = sizeof(struct poll2),
    .open = be_poll2_open,
    .close = be_poll2_close,
    .now = be_poll2_now,
    .wait = be_poll2_wait,
    .look = be_poll2_look,
    .kick = be_poll2_kick,
    .attach = be_poll2_attach,
    .arm = be_poll2_arm,
    .detach = be_poll2_detach,
};

static const struct tocsin_backend backend = {.ops = &poll2_ops};

const struct tocsin_backend *poll2_backend(void)
{
    return &backend;
}
