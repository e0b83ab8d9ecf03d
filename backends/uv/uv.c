/*
 * The libuv backend: the loop, wait and look, kicks, and the end.  See home.h.
 *
 * Wait runs the pool's own loop once and again until something has come: a kick (uv_async_t, which
 * libuv keeps until it has been told: W4), the deadline (uv_timer_t, in milliseconds, rounded up:
 * T1), or an event.  A loop that was handed in is never run here: it is its owner's uv_run() that
 * waits, and look only takes what the callbacks have put on the ready list.
 *
 * A pool with a loop of its own can be hosted elsewhere by the loop's descriptor.  libuv tells the
 * kernel what it watches as late as in uv_run(), so each hosted turn ends with one that does not
 * block; what that finds, and kicks that it takes in, are kicked again.
 *
 * libuv 1.44 leaves a descriptor behind where it cannot make a loop for want of another, and aborts
 * where it cannot make a pipe that the process needs once: open sees to it that there is room.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "backends/uv/home.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

enum {
    LOOP_PIPES = 3, /* a loop takes four descriptors, the first of a process two more */
};

static_assert(UV_VERSION_HEX >= 0x012c00, "uv_poll_t with all four events, uv_loop_fork");

uint64_t tocsin__uv_tick(uint64_t deadline_ns)
{
    return deadline_ns / NS_PER_MS + (deadline_ns % NS_PER_MS != 0);
}

static void on_kick(uv_async_t *kick)
{
    tocsin__uv_roused(kick->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_home *home = timer->data;

    if (tocsin__uv_is_own(home)) {
        home->is_roused = true;
        uv_stop(home->loop); /* libuv 1.44 may fire it before it blocks: then it must not */
    } else {
        tocsin__uv_due(home);
    }
}

void tocsin__uv_timer_set(struct uv_home *home, uint64_t deadline_ns)
{
    uint64_t now_ms = uv_now(home->loop); /* what uv_timer_start() counts from */
    uint64_t tick_ms = tocsin__uv_tick(deadline_ns);

    if (deadline_ns == TOCSIN_NEVER_NS) {
        uv_timer_stop(&home->timer);
    } else {
        uv_timer_start(&home->timer, on_timer, tick_ms > now_ms ? tick_ms - now_ms : 0, 0);
    }
}

/* ---- Open -------------------------------------------------------------------------------------*/

/* Returns: 0; or negative errno: there are not enough descriptors for a loop. */
static int check_room(void)
{
    int fds[LOOP_PIPES * 2];
    int taken = 0;
    int r = 0;

    while (taken < LOOP_PIPES * 2 && r == 0) {
        if (pipe2(&fds[taken], O_CLOEXEC) < 0) {
            r = -errno;
        } else {
            taken += 2;
        }
    }
    while (taken > 0) {
        close(fds[--taken]);
    }
    return r;
}

static int open_loop(struct uv_home *home, uv_loop_t *handed_in)
{
    int r;

    if (handed_in != NULL) {
        home->loop = handed_in;
        return 0;
    }
    home->loop = &home->own;
    r = check_room();
    return r < 0 ? r : uv_loop_init(&home->own);
}

/* None of these fails once the async is there. */
static int open_handles(struct uv_home *home)
{
    int r = uv_async_init(home->loop, &home->kick, on_kick);

    if (r < 0) {
        return r;
    }
    uv_timer_init(home->loop, &home->timer);
    uv_check_init(home->loop, &home->check);
    home->kick.data = home;
    home->timer.data = home;
    home->check.data = home;
    home->handles_live = 3;
    if (!tocsin__uv_is_own(home)) {
        /* What keeps the loop going is decided after each turn: host.c, by the async alone. */
        uv_unref((uv_handle_t *)&home->kick);
        uv_unref((uv_handle_t *)&home->timer);
        uv_unref((uv_handle_t *)&home->check);
        uv_check_start(&home->check, tocsin__uv_on_check);
    }
    return 0;
}

static int be_uv_open(void *state, void *arg)
{
    struct uv_state *uv = state;
    struct uv_home *home = calloc(1, sizeof(*home));
    int r;

    if (home == NULL) {
        return -ENOMEM;
    }
    home->ready.next = &home->ready;
    home->ready.prev = &home->ready;
    home->timer_fd = -1;
    home->hosted_ns = TOCSIN_NEVER_NS;
    home->pid = getpid();
    atomic_init(&home->thread, 0);
    r = open_loop(home, arg);
    if (r < 0) {
        goto err_loop;
    }
    r = open_handles(home);
    if (r < 0) {
        goto err_handles;
    }
    uv->home = home;
    return 0;

err_handles:
    if (tocsin__uv_is_own(home)) {
        uv_loop_close(&home->own);
    }
err_loop:
    free(home);
    return r;
}

/* ---- Close ------------------------------------------------------------------------------------*/

/* V3: in a loop that was handed in the last one takes the memory along. */
static void on_closed(uv_handle_t *handle)
{
    struct uv_home *home = handle->data;

    if (--home->handles_live == 0 && !tocsin__uv_is_own(home)) {
        free(home);
    }
}

static void close_handles(struct uv_home *home, bool is_shared)
{
    tocsin__uv_watches_close(home, is_shared);
    if (home->timer_fd >= 0) { /* of an own loop, which is never shared here */
        uv_close((uv_handle_t *)&home->timer_poll, NULL);
        close(home->timer_fd);
    }
    uv_close((uv_handle_t *)&home->kick, on_closed);
    uv_close((uv_handle_t *)&home->timer, on_closed);
    uv_close((uv_handle_t *)&home->check, on_closed);
}

/*
 * In a forked child the loop's epoll instance and eventfd are the parent's too.  An own loop gets
 * new ones (uv_loop_fork(3)) and can then be closed as ever.  With one that was handed in that is
 * its owner's choice: handles are closed as far as memory goes, and the rest is left to the child's
 * uv_run(), if it comes.
 */
static void be_uv_close(void *state, enum tocsin_backend_close how)
{
    struct uv_state *uv = state;
    struct uv_home *home = uv->home;
    bool is_forked = how == TOCSIN_BACKEND_CLOSE_FORKED;

    uv->home = NULL;
    home->pool = NULL;
    if (!tocsin__uv_is_own(home)) {
        close_handles(home, is_forked);
        return;
    }
    if (is_forked && uv_loop_fork(&home->own) < 0) {
        close_handles(home, false);
        return; /* out of descriptors: there is no epoll instance to run it with, so it stays */
    }
    close_handles(home, false);
    uv_run(&home->own, UV_RUN_DEFAULT); /* until nothing but closing is left, and that done */
    if (uv_loop_close(&home->own) < 0) {
        abort(); /* a handle is left: ours alone are in it */
    }
    free(home);
}

/* ---- Wait -------------------------------------------------------------------------------------*/

static uint64_t be_uv_now(void *state)
{
    (void)state;
    return uv_hrtime(); /* CLOCK_MONOTONIC, as are libuv's timers */
}

static int be_uv_look(void *state, struct tocsin_backend_events *list)
{
    struct uv_state *uv = state;

    if (tocsin__uv_is_own(uv->home)) {
        uv_run(uv->home->loop, UV_RUN_NOWAIT);
    }
    tocsin__uv_report(uv->home, list);
    return 0;
}

/* An iteration may end for nothing, as after a detach, whose handle it gives back. */
static int be_uv_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct uv_state *uv = state;
    struct uv_home *home = uv->home;

    if (!tocsin__uv_is_own(home)) {
        return -EDEADLK; /* it is in its owner's uv_run() that such a pool waits */
    }
    if (tocsin__uv_is_ready(home)) {
        return be_uv_look(state, list); /* what did not fit into the last list */
    }
    tocsin__uv_timer_set(home, deadline_ns);
    home->is_roused = false;
    do {
        uv_run(home->loop, UV_RUN_ONCE);
    } while (!home->is_roused);
    tocsin__uv_report(home, list);
    return 0;
}

static void be_uv_kick(void *state)
{
    struct uv_state *uv = state;
    int saved_errno = errno;

    tocsin__uv_kick(uv->home);
    errno = saved_errno;
}

/* ---- Watches ----------------------------------------------------------------------------------*/

static int be_uv_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct uv_state *uv = state;

    return tocsin__uv_attach(uv->home, watch);
}

static void be_uv_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    (void)state;
    tocsin__uv_arm(watch, events);
}

static int be_uv_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct uv_state *uv = state;

    return tocsin__uv_detach(uv->home, watch);
}

/* ---- Hosted elsewhere -------------------------------------------------------------------------*/

static void on_timer_fd(uv_poll_t *poll, int status, int events)
{
    struct uv_home *home = poll->data;
    uint64_t expirations;

    (void)status;
    (void)events;
    (void)!read(home->timer_fd, &expirations, sizeof(expirations)); /* or it stays readable */
    home->is_roused = true;
}

static int open_timer_fd(struct uv_home *home)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = uv_poll_init(home->loop, &home->timer_poll, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    home->timer_poll.data = home;
    home->timer_fd = fd;
    uv_poll_start(&home->timer_poll, UV_READABLE, on_timer_fd);
    return 0;
}

static intptr_t be_uv_poll_handle(void *state)
{
    struct uv_state *uv = state;
    struct uv_home *home = uv->home;

    if (tocsin__uv_is_asked(home)) {
        return 0; /* what for, tocsin_uv_host() knows */
    }
    if (!tocsin__uv_is_own(home)) {
        return -EOPNOTSUPP;
    }
    if (home->timer_fd < 0) {
        int r = open_timer_fd(home);

        if (r < 0) {
            return r;
        }
    }
    return uv_backend_fd(home->loop);
}

static void set_timer_fd(struct uv_home *home, uint64_t deadline_ns)
{
    struct itimerspec when = {.it_interval = {0}};

    if (home->hosted_ns == deadline_ns) {
        return; /* still set, or told already */
    }
    home->hosted_ns = deadline_ns;
    if (deadline_ns != TOCSIN_NEVER_NS) {
        /* 0 would disarm; 1 ns is as past as that. */
        when.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(deadline_ns == 0 ? 1 : deadline_ns % NS_PER_S);
    }
    timerfd_settime(home->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void be_uv_host(void *state, uint64_t deadline_ns)
{
    struct uv_state *uv = state;
    struct uv_home *home = uv->home;
    bool again;

    if (tocsin__uv_is_own(home)) {
        set_timer_fd(home, deadline_ns);
        home->is_roused = false;
        uv_run(home->loop, UV_RUN_NOWAIT);
        again = home->is_roused || tocsin__uv_is_ready(home);
    } else {
        bool is_due = tocsin__uv_tick(deadline_ns) <= uv_now(home->loop);

        /* A timer that is due already would be fired in this very phase, again and again. */
        tocsin__uv_timer_set(home, is_due ? TOCSIN_NEVER_NS : deadline_ns);
        again = is_due || home->turn_due || tocsin__uv_is_ready(home);
    }
    if (again) {
        tocsin__uv_kick(home);
    }
}

const struct tocsin_backend_ops tocsin__backend_uv = {
    .name = "uv",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_EXACT_EVENTS | TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_POLL_HANDLE,
    .state_size = sizeof(struct uv_state),
    .open = be_uv_open,
    .close = be_uv_close,
    .now = be_uv_now,
    .wait = be_uv_wait,
    .look = be_uv_look,
    .kick = be_uv_kick,
    .attach = be_uv_attach,
    .arm = be_uv_arm,
    .detach = be_uv_detach,
    .poll_handle = be_uv_poll_handle,
    .host = be_uv_host,
};
