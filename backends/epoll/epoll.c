/*
 * The epoll backend.
 *
 * One epoll instance.  Watches are registered once, edge-triggered, for everything, under their id;
 * the kick is an eventfd, edge-triggered and never read: each write is a new edge, and its 64-bit
 * counter does not fill in any program's life.  Waits end at nanosecond deadlines by epoll_pwait2
 * (Linux 5.11); where the kernel lacks it, or a filter refuses it, by epoll_wait with the time
 * rounded up to milliseconds: late, never early (T1).  A hosted pool gets a timerfd inside the
 * instance, so that the epoll descriptor alone tells its host everything.
 *
 * A ring is made at the first submission and registered under a token of its own.  It never uses
 * DEFER_TASKRUN: such a ring's descriptor does not end an epoll_wait (measured on Linux 6.18).
 *
 * Invariants
 *   E1  Between wait and the walk nothing is taken from the kernel: what does not fit stays there.
 *   E2  A kick that comes at any moment makes the next, or the current, epoll_wait return (W4).
 */
#include "backends/epoll/epoll.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "backends/ring/host.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Tokens of what is not a watch; no watch has such an id: its low half is never 0. */
#define TOKEN_KICK UINT64_C(0)
#define TOKEN_TIMER (UINT64_C(1) << 32)
#define TOKEN_RING (UINT64_C(2) << 32)

enum {
    EVENTS_MAX = 256, /* taken at once; bounds the work of one turn */
};

struct epoll_state {
    int epoll_fd;
    int kick_fd;
    int timer_fd;       /* -1 until the pool is hosted */
    bool has_no_pwait2; /* the kernel said ENOSYS, or a filter EPERM */
    uint64_t hosted_ns; /* what timer_fd is set to */
    struct uring_host ring;
    struct epoll_event events[EVENTS_MAX];
};

static_assert(sizeof(struct epoll_event) * EVENTS_MAX <= 4096, "the state stays about a page");

static int add(struct epoll_state *epoll, int fd, uint32_t events, uint64_t token)
{
    struct epoll_event event = {.events = events, .data = {.u64 = token}};

    return epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 ? -errno : 0;
}

/* Any completion is a new edge; what it says is found at the top of the next turn. */
static int ring_made(struct uring_host *host, int ring_fd)
{
    struct epoll_state *epoll =
        (struct epoll_state *)(void *)((char *)host - offsetof(struct epoll_state, ring));

    return add(epoll, ring_fd, EPOLLIN | EPOLLET, TOKEN_RING);
}

static int be_epoll_open(void *state, void *arg)
{
    struct epoll_state *epoll = state;
    int r;

    epoll->ring.flags = URING_TOKEN_FLAGS;
    epoll->ring.features = URING_TOKEN_FEATURES;
    epoll->ring.made = ring_made;
    r = tocsin__uring_host_init(&epoll->ring, arg);
    if (r < 0) {
        return r;
    }
    epoll->timer_fd = -1;
    epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->epoll_fd < 0) {
        return -errno;
    }
    epoll->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll->kick_fd < 0) {
        r = -errno;
        goto err_eventfd;
    }
    r = add(epoll, epoll->kick_fd, EPOLLIN | EPOLLET, TOKEN_KICK);
    if (r < 0) {
        goto err_add;
    }
    return 0;

err_add:
    close(epoll->kick_fd);
err_eventfd:
    close(epoll->epoll_fd);
    return r;
}

/*
 * In a forked child too: closing the child's descriptors leaves the parent's registrations alone.
 */
static void be_epoll_close(void *state, enum tocsin_backend_close how)
{
    struct epoll_state *epoll = state;

    tocsin__uring_host_close(&epoll->ring, how);
    if (epoll->timer_fd >= 0) {
        close(epoll->timer_fd);
    }
    close(epoll->kick_fd);
    close(epoll->epoll_fd);
}

static uint64_t be_epoll_now(void *state)
{
    struct timespec now;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Linux's bits are ours by other names; EXACT_EVENTS. */
static uint32_t events_from_epoll(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? TOCSIN_IN : 0) | ((events & EPOLLOUT) != 0 ? TOCSIN_OUT : 0) |
           ((events & EPOLLERR) != 0 ? TOCSIN_ERR : 0) |
           ((events & EPOLLHUP) != 0 ? TOCSIN_HUP : 0) |
           ((events & EPOLLPRI) != 0 ? TOCSIN_PRI : 0) |
           ((events & EPOLLRDHUP) != 0 ? TOCSIN_RDHUP : 0);
}

/*
 * The timeout, in milliseconds, for a wait that should end @delay_ns from now.
 *
 * Rounds up.  Rounding down would wake up to 1 ms early and then spin in 0 ms waits until the
 * deadline.  Nothing else in the library turns nanoseconds into milliseconds.
 */
int tocsin__timeout_ms_ceil(uint64_t delay_ns)
{
    uint64_t ms = delay_ns / NS_PER_MS + (delay_ns % NS_PER_MS != 0);

    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* epoll_pwait2(2), Linux 5.11, by number: glibc names it since 2.35 only. */
static int pwait2(struct epoll_state *epoll, int count, const struct timespec *timeout)
{
    return (int)syscall(SYS_epoll_pwait2, epoll->epoll_fd, epoll->events, count, timeout, NULL,
                        sizeof(uint64_t));
}

/* One system call; EINTR and ENOMEM are nothing found (U5). */
static int wait_for(struct epoll_state *epoll, int count, uint64_t delay_ns)
{
    struct timespec timeout = {
        .tv_sec = (time_t)(delay_ns / NS_PER_S),
        .tv_nsec = (long)(delay_ns % NS_PER_S),
    };
    int n;

    if (delay_ns == 0) {
        n = epoll_wait(epoll->epoll_fd, epoll->events, count, 0);
    } else if (delay_ns == TOCSIN_NEVER_NS) {
        n = epoll_wait(epoll->epoll_fd, epoll->events, count, -1);
    } else if (epoll->has_no_pwait2) {
        n = epoll_wait(epoll->epoll_fd, epoll->events, count, tocsin__timeout_ms_ceil(delay_ns));
    } else {
        n = pwait2(epoll, count, &timeout);
        if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
            epoll->has_no_pwait2 = true;
            return 0; /* the caller comes again */
        }
    }
    if (n < 0) {
        return errno == EINTR || errno == ENOMEM ? 0 : -errno;
    }
    return n;
}

static int collect(struct epoll_state *epoll, uint64_t delay_ns, struct tocsin_backend_events *list)
{
    uint32_t room = list->capacity - list->count;
    int n = wait_for(epoll, room < EVENTS_MAX ? (int)room : EVENTS_MAX, delay_ns);

    for (int i = 0; i < n; i++) {
        const struct epoll_event *event = &epoll->events[i];

        if (event->data.u64 != TOKEN_KICK && event->data.u64 != TOKEN_TIMER &&
            event->data.u64 != TOKEN_RING) {
            tocsin_backend_report(list, event->data.u64, events_from_epoll(event->events));
        }
    }
    return n < 0 ? n : 0;
}

static int be_epoll_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    uint64_t now_ns;

    if (deadline_ns == TOCSIN_NEVER_NS) {
        return collect(state, TOCSIN_NEVER_NS, list);
    }
    now_ns = be_epoll_now(state);
    return collect(state, deadline_ns > now_ns ? deadline_ns - now_ns : 0, list);
}

static int be_epoll_look(void *state, struct tocsin_backend_events *list)
{
    struct epoll_state *epoll = state;

    tocsin__uring_host_flush(&epoll->ring);
    return collect(state, 0, list);
}

static uint64_t be_epoll_prepare(void *state, uint64_t deadline_ns)
{
    struct epoll_state *epoll = state;

    return tocsin__uring_host_prepare(&epoll->ring, deadline_ns);
}

static void be_epoll_harvest(void *state)
{
    struct epoll_state *epoll = state;

    tocsin__uring_host_harvest(&epoll->ring);
}

static struct uring_host *be_epoll_uring(void *state)
{
    struct epoll_state *epoll = state;

    return &epoll->ring;
}

static void be_epoll_kick(void *state)
{
    struct epoll_state *epoll = state;
    uint64_t one = 1;
    int saved_errno = errno;

    /*
     * EAGAIN would mean a full counter, whose last edge is still to be seen or was: then it is
     * awake.
     */
    (void)!write(epoll->kick_fd, &one, sizeof(one));
    errno = saved_errno;
}

static int be_epoll_attach(void *state, struct tocsin_backend_watch *watch)
{
    return add(state, (int)watch->number, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
               watch->id);
}

static int be_epoll_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct epoll_state *epoll = state;

    if (epoll_ctl(epoll->epoll_fd, EPOLL_CTL_DEL, (int)watch->number, NULL) == 0) {
        return 0;
    }
    /* EPERM: the number is a file by now that cannot be polled at all, so another one. */
    return errno == EPERM ? -ENOENT : -errno;
}

static intptr_t be_epoll_poll_handle(void *state)
{
    struct epoll_state *epoll = state;
    int r;

    if (epoll->timer_fd < 0) {
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

        if (fd < 0) {
            return -errno;
        }
        r = add(epoll, fd, EPOLLIN | EPOLLET, TOKEN_TIMER);
        if (r < 0) {
            close(fd);
            return r;
        }
        epoll->timer_fd = fd;
        epoll->hosted_ns = TOCSIN_NEVER_NS;
    }
    return epoll->epoll_fd;
}

static void be_epoll_host(void *state, uint64_t deadline_ns)
{
    struct epoll_state *epoll = state;
    struct itimerspec when = {.it_interval = {0}};

    if (epoll->hosted_ns == deadline_ns) {
        return; /* still set, or fired and seen by the turn before */
    }
    epoll->hosted_ns = deadline_ns;
    if (deadline_ns != TOCSIN_NEVER_NS) {
        /* 0 would disarm; 1 ns is as past as that. */
        when.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(deadline_ns == 0 ? 1 : deadline_ns % NS_PER_S);
    }
    timerfd_settime(epoll->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

const struct tocsin_backend_ops tocsin__backend_epoll = {
    .name = "epoll",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_EDGE | TOCSIN_BACKEND_ANY_THREAD_ATTACH |
                TOCSIN_BACKEND_EXACT_EVENTS | TOCSIN_BACKEND_FINE_DEADLINE |
                TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_URING,
    .state_size = sizeof(struct epoll_state),
    .open = be_epoll_open,
    .close = be_epoll_close,
    .now = be_epoll_now,
    .wait = be_epoll_wait,
    .look = be_epoll_look,
    .kick = be_epoll_kick,
    .attach = be_epoll_attach,
    .detach = be_epoll_detach,
    .poll_handle = be_epoll_poll_handle,
    .host = be_epoll_host,
    .prepare = be_epoll_prepare,
    .harvest = be_epoll_harvest,
    .uring = be_epoll_uring,
};
