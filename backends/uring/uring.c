/*
 * The uring backend: the wait step is io_uring_enter itself.
 *
 * One call submits what is queued and waits until the deadline: at most one in a turn.  Descriptors
 * are watched by multishot polls (polls.h).  The ring is SINGLE_ISSUER and DEFER_TASKRUN where the
 * kernel has them: completions are made when the loop enters the kernel, and never interrupt it.
 *
 * How the pool is kicked depends on how it parks, which the loop decides before it goes to sleep
 * (PARK-3): in io_uring_enter by an eventfd with a multishot poll in the ring; on a futex where the
 * kernel owes nothing: no operation, watch or queued entry.
 *
 * A hosted pool gives out the ring's descriptor, which a ring with DEFER_TASKRUN does not make
 * readable; so such a ring is opened anew without it.  (An eventfd registered with the ring would
 * do, but for completions that another eventfd brings about: the kernel defers those signals, and
 * after the first one forgets them, Linux 6.18.)  A timerfd in the ring makes it readable at the
 * deadline.
 *
 * Invariants
 *   R1  A kick that comes at any moment makes the current wait, or the next, return (W4): it leaves
 *       a count in the futex word or in an eventfd whose poll is armed before the pool sleeps.
 *   R2  The wait step has an entry queued that the kernel refused only with a time limit (U6).
 */
#include "backends/uring/uring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "backends/uring/polls.h"
#include "runtime/pool.h"

#define NS_PER_S UINT64_C(1000000000)

/* user_data of the backend's own polls: slot 0 is no watch's. */
#define DATA_KICK ((uint64_t)URING_KIND_OTHER << URING_KIND_SHIFT)
#define DATA_TIMER (DATA_KICK | UINT64_C(1) << 32)

enum park {
    PARK_KICK_FD,
    PARK_FUTEX,
};

struct uring_state {
    struct uring_host host; /* first: it is what the host's hooks are given */
    struct polls polls;
    int kick_fd;
    int timer_fd;       /* -1 until the pool is hosted */
    bool has_kick_poll; /* in the kernel or in the queue */
    bool has_timer_poll;
    uint64_t hosted_ns; /* what timer_fd is set to */
    /* PARK-3: how to kick; the loop's word publishes it to whoever finds the pool asleep. */
    _Atomic(uint32_t) park;
    /* PARK-2: 1: kicked; the futex. */
    _Atomic(uint32_t) kicked;
};

/*
 * ---- Completions of the backend's own ---------------------------------------------------------
 */

struct collection {
    struct uring_state *state;
    struct tocsin_backend_events *list;
};

static bool own_completed(struct uring_state *state, uint64_t user_data, uint32_t flags)
{
    bool has_more = (flags & IORING_CQE_F_MORE) != 0;

    if (user_data == DATA_KICK) {
        state->has_kick_poll = has_more;
    } else {
        state->has_timer_poll = has_more;
    }
    return true;
}

static bool completed(void *arg, uint64_t user_data, int32_t result, uint32_t flags)
{
    struct collection *collection = arg;

    if ((user_data & URING_SLOT_MASK) == 0) {
        return own_completed(collection->state, user_data, flags);
    }
    return tocsin__polls_completed(&collection->state->polls, user_data, result, flags,
                                   collection->list);
}

/* While the pool closes nobody hears of events. */
static bool completed_late(void *host, uint64_t user_data, int32_t result, uint32_t flags)
{
    struct uring_state *state = host;

    if ((user_data & URING_SLOT_MASK) == 0) {
        return own_completed(state, user_data, flags);
    }
    return tocsin__polls_completed(&state->polls, user_data, result, flags, NULL);
}

static bool is_busy(const struct uring_host *host)
{
    const struct uring_state *state = (const void *)host;

    return state->polls.live > 0;
}

/*
 * ---- Open and close ---------------------------------------------------------------------------
 */

static struct uring *uring_of(const struct uring_state *state)
{
    return tocsin__uring_host_peek(&state->host);
}

static int be_uring_open(void *arg_state, void *arg)
{
    struct uring_state *state = arg_state;
    int r;

    state->host.flags = URING_NATIVE_FLAGS;
    state->host.features = URING_NATIVE_FEATURES;
    state->host.other = completed_late;
    state->host.is_busy = is_busy;
    state->timer_fd = -1;
    atomic_init(&state->park, PARK_KICK_FD);
    atomic_init(&state->kicked, 0);
    r = tocsin__uring_host_init(&state->host, arg);
    if (r < 0) {
        return r;
    }
    state->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (state->kick_fd < 0) {
        return -errno;
    }
    if (tocsin__uring_host_get(&state->host, tocsin__running, &r) == NULL) {
        close(state->kick_fd);
        return state->host.error;
    }
    return 0;
}

static void be_uring_close(void *arg_state, enum tocsin_backend_close how)
{
    struct uring_state *state = arg_state;
    struct uring *uring = uring_of(state);
    struct tocsin_pool *pool = uring->pool;

    if (how == TOCSIN_BACKEND_CLOSE) {
        tocsin__polls_end(&state->polls, uring);
    }
    tocsin__uring_host_close(&state->host, how);
    tocsin__polls_free(&state->polls, pool);
    if (state->timer_fd >= 0) {
        close(state->timer_fd);
    }
    close(state->kick_fd);
}

static uint64_t be_uring_now(void *state)
{
    struct timespec now;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/*
 * ---- Waiting -----------------------------------------------------------------------------------
 */

/* Queue what is missing, as far as there is room. */
static void fill(struct uring_state *state, struct uring *uring)
{
    if (state->polls.waiting > 0) {
        tocsin__polls_ask(&state->polls, uring);
    }
    if (state->timer_fd >= 0 && !state->has_timer_poll) {
        state->has_timer_poll = tocsin__polls_add(uring, state->timer_fd, EPOLLIN, DATA_TIMER);
    }
    tocsin__uring_fill(uring);
}

static bool is_waiting(const struct uring_state *state, const struct uring *uring)
{
    return state->polls.waiting > 0 || uring->backlog.head != NULL || uring->cancels > 0;
}

static bool owes_nothing(const struct uring_state *state, const struct uring *uring)
{
    return uring->flying == 0 && state->polls.live == 0 &&
           tocsin__ring_unsubmitted(&uring->ring) == 0 &&
           tocsin__ring_completions(&uring->ring) == 0 && !tocsin__ring_wants_enter(&uring->ring);
}

static enum park choose(struct uring_state *state, struct uring *uring)
{
    bool is_hosted = state->timer_fd >= 0;

    if (!is_hosted && owes_nothing(state, uring)) {
        return PARK_FUTEX;
    }
    if (!state->has_kick_poll) {
        state->has_kick_poll = tocsin__polls_add(uring, state->kick_fd, EPOLLIN, DATA_KICK);
    }
    if (is_hosted) {
        tocsin__uring_flush(uring); /* nobody waits in the ring for us */
    }
    return PARK_KICK_FD;
}

static uint64_t be_uring_prepare(void *arg_state, uint64_t deadline_ns)
{
    struct uring_state *state = arg_state;
    struct uring *uring = uring_of(state);
    uint64_t retry_ns;
    enum park park;

    tocsin__ring_enable(&uring->ring);
    fill(state, uring);
    park = choose(state, uring);
    if (is_waiting(state, uring)) {
        tocsin__uring_flush(uring);
        fill(state, uring);
    }
    tocsin__uring_collect(uring, NULL, NULL); /* up to the first event; the wait step takes that */
    /* PARK-3 relaxed: the way into sleep that follows publishes it. */
    atomic_store_explicit(&state->park, park, memory_order_relaxed);
    if (uring->stash_count > 0 || !tocsin__remote_arm(uring->remote) ||
        (state->timer_fd >= 0 && tocsin__ring_completions(&uring->ring) > 0)) {
        return 0;
    }
    if (uring->cancels_later > 0 && uring->later_at_ns < deadline_ns) {
        deadline_ns = uring->later_at_ns;
    }
    if (is_waiting(state, uring) || (park == PARK_KICK_FD && !state->has_kick_poll) ||
        (state->timer_fd >= 0 && tocsin__uring_is_stuck(uring))) {
        retry_ns = be_uring_now(state) + URING_RETRY_NS;
        return retry_ns < deadline_ns ? retry_ns : deadline_ns;
    }
    return deadline_ns;
}

static void park_on_futex(struct uring_state *state, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S),
        .tv_nsec = (long)(deadline_ns % NS_PER_S),
    };

    /* FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC (futex(2)). */
    syscall(SYS_futex, &state->kicked, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
            deadline_ns == TOCSIN_NEVER_NS ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    /* PARK-2 relaxed: whoever comes later kicks for nothing, or the next sleep. */
    atomic_store_explicit(&state->kicked, 0, memory_order_relaxed);
}

static struct __kernel_timespec timespec_of(uint64_t delay_ns)
{
    return (struct __kernel_timespec){.tv_sec = (long long)(delay_ns / NS_PER_S),
                                      .tv_nsec = (long long)(delay_ns % NS_PER_S)};
}

/* Submit and wait in one call.  What it returns shows in the queues, but for what must be told. */
static int enter(struct uring *uring, uint64_t deadline_ns)
{
    bool is_endless = deadline_ns == TOCSIN_NEVER_NS;
    uint64_t now_ns = is_endless ? 0 : be_uring_now(NULL);
    uint64_t delay_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct __kernel_timespec timeout = timespec_of(delay_ns);
    int r = tocsin__ring_enter(&uring->ring, 1, is_endless ? NULL : &timeout);

    if (r == -EAGAIN || r == -EBUSY) { /* nothing was taken: R2 */
        timeout = timespec_of(delay_ns < URING_RETRY_NS ? delay_ns : URING_RETRY_NS);
        r = tocsin__ring_wait(&uring->ring, &timeout);
    }
    switch (r) {
    case -EAGAIN:
    case -EBUSY:
    case -EINTR:
    case -ENOMEM:
    case -ETIME:
        return 0;
    default:
        return r < 0 ? r : 0;
    }
}

static void collect(struct uring_state *state, struct uring *uring,
                    struct tocsin_backend_events *list)
{
    struct collection collection = {.state = state, .list = list};

    tocsin__uring_collect(uring, completed, &collection);
}

static int be_uring_look(void *arg_state, struct tocsin_backend_events *list)
{
    struct uring_state *state = arg_state;
    struct uring *uring = uring_of(state);
    const struct __kernel_timespec no_time = {.tv_sec = 0};

    tocsin__ring_enable(&uring->ring);
    fill(state, uring);
    if (is_waiting(state, uring)) {
        tocsin__uring_flush(uring);
    }
    if (tocsin__ring_unsubmitted(&uring->ring) > 0 || tocsin__ring_wants_enter(&uring->ring)) {
        /*
         * To wait for many, and no time, has the kernel do as much of what it deferred; to wait for
         * none stops at 20 (IO_LOCAL_TW_DEFAULT_MAX, Linux 6.18).
         */
        tocsin__ring_enter(&uring->ring, list->capacity, &no_time);
    }
    /* PARK-2 relaxed: a kick that is there was for a sleep that has ended. */
    atomic_store_explicit(&state->kicked, 0, memory_order_relaxed);
    collect(state, uring, list);
    tocsin__uring_call_turn(uring);
    return 0;
}

static int be_uring_wait(void *arg_state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct uring_state *state = arg_state;
    struct uring *uring = uring_of(state);
    int r;

    /* PARK-3 relaxed: this thread wrote it. */
    if (atomic_load_explicit(&state->park, memory_order_relaxed) == PARK_FUTEX) {
        park_on_futex(state, deadline_ns);
        return 0;
    }
    r = enter(uring, deadline_ns);
    collect(state, uring, list);
    return r;
}

static void signal_event(int fd)
{
    uint64_t one = 1;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EAGAIN) {
        (void)!read(fd, &one, sizeof(one)); /* full: make room, for each write is an edge */
        one = 1;
    }
}

static void be_uring_kick(void *arg_state)
{
    struct uring_state *state = arg_state;
    int saved_errno = errno;

    /* PARK-3 relaxed: whoever kicks has found the pool asleep, and so sees what it wrote before. */
    switch ((enum park)atomic_load_explicit(&state->park, memory_order_relaxed)) {
    case PARK_KICK_FD:
        signal_event(state->kick_fd);
        break;
    case PARK_FUTEX:
        /* PARK-2 relaxed: the futex call orders it against the sleeper's look at the word. */
        atomic_store_explicit(&state->kicked, 1, memory_order_relaxed);
        syscall(SYS_futex, &state->kicked, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
        break;
    }
    errno = saved_errno;
}

/*
 * ---- Watches and hosting -----------------------------------------------------------------------
 */

static int be_uring_attach(void *arg_state, struct tocsin_backend_watch *watch)
{
    struct uring_state *state = arg_state;

    return tocsin__polls_attach(&state->polls, uring_of(state), watch);
}

static int be_uring_detach(void *arg_state, struct tocsin_backend_watch *watch)
{
    struct uring_state *state = arg_state;

    return tocsin__polls_detach(&state->polls, uring_of(state), watch);
}

static intptr_t be_uring_poll_handle(void *arg_state)
{
    struct uring_state *state = arg_state;
    int timer_fd;
    int r;

    if (state->timer_fd >= 0) {
        return uring_of(state)->ring.uring.ring_fd;
    }
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer_fd < 0) {
        return -errno;
    }
    r = state->polls.live > 0 ? -EBUSY
                              : tocsin__uring_host_reopen(&state->host, IORING_SETUP_DEFER_TASKRUN);
    if (r < 0) {
        close(timer_fd);
        return r;
    }
    state->timer_fd = timer_fd;
    state->hosted_ns = TOCSIN_NEVER_NS;
    state->has_kick_poll = false;
    /* PARK-3 relaxed: a pool that sleeps already takes its next turn in any case. */
    atomic_store_explicit(&state->park, PARK_KICK_FD, memory_order_relaxed);
    if (uring_of(state)->ring.enabled) {
        state->has_kick_poll =
            tocsin__polls_add(uring_of(state), state->kick_fd, EPOLLIN, DATA_KICK);
        tocsin__uring_flush(uring_of(state));
        signal_event(state->kick_fd);
    }
    return uring_of(state)->ring.uring.ring_fd;
}

static void be_uring_host(void *arg_state, uint64_t deadline_ns)
{
    struct uring_state *state = arg_state;
    struct itimerspec when = {.it_interval = {0}};

    if (state->hosted_ns == deadline_ns) {
        return;
    }
    state->hosted_ns = deadline_ns;
    if (deadline_ns != TOCSIN_NEVER_NS) {
        /* 0 would disarm; 1 ns is as past as that. */
        when.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(deadline_ns == 0 ? 1 : deadline_ns % NS_PER_S);
    }
    timerfd_settime(state->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static struct uring_host *be_uring_uring(void *arg_state)
{
    struct uring_state *state = arg_state;

    return &state->host;
}

static void be_uring_harvest(void *arg_state)
{
    struct uring_state *state = arg_state;

    tocsin__uring_harvest(uring_of(state));
}

const struct tocsin_backend_ops tocsin__backend_uring = {
    .name = "uring",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_EDGE | TOCSIN_BACKEND_EXACT_EVENTS | TOCSIN_BACKEND_FINE_DEADLINE |
                TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_POLL_HANDLE | TOCSIN_BACKEND_URING,
    .state_size = sizeof(struct uring_state),
    .open = be_uring_open,
    .close = be_uring_close,
    .now = be_uring_now,
    .wait = be_uring_wait,
    .look = be_uring_look,
    .kick = be_uring_kick,
    .attach = be_uring_attach,
    .detach = be_uring_detach,
    .poll_handle = be_uring_poll_handle,
    .host = be_uring_host,
    .prepare = be_uring_prepare,
    .harvest = be_uring_harvest,
    .uring = be_uring_uring,
};
