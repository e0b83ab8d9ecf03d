/*
 * The wait step over a completion port: handles, by the epoll emulation.
 *
 * A watch asks for nothing when it is attached.  Arming it makes it a one-shot of the emulation:
 * that is what a wait completion packet is anyway.  So each arm costs one call into the kernel, and
 * a signal that comes while nobody wants it stays in its object.
 *
 * Deadlines are finer than the 15.6 ms in which Windows counts timeouts: a high-resolution timer is
 * one more handle.  What it says is only that a wait is over; a late one ends a wait for nothing,
 * which is allowed.  Without it, or if it cannot be set, the wait has a timeout.
 *
 * A kick is a posted packet.  If the kernel has no memory for one, an event is set that is watched
 * for this: that needs none.
 *
 * Invariants
 *   B1  What could not be armed is reported as ERR by the next wait or look: it is in failed.
 */
#include "backends/windows/iocp.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backends/windows/epoll.h"
#include "backends/windows/nt_table.h"
#include "backends/windows/win_errno.h"
#include "runtime/os.h"

enum {
    BATCH_MAX = 64,
    FAILED_FIRST = 16,
};

/* The data of the backend's own watches; ids of the pool's are never 0. */
#define OWN_DATA UINT64_C(0)

struct iocp_state {
    const struct nt *nt;
    struct tocsin_epoll *epoll;
    void *timer;
    void *kick_event;
    uint64_t timer_ns; /* what it is set to; TOCSIN_NEVER_NS: nothing */
    uint32_t attached; /* changed by attach and detach, which are never two at once */

    struct tocsin__mutex lock; /* guards what follows; alone, and held over nothing */
    uint64_t *failed;          /* B1: ids */
    uint32_t failed_max;       /* at least as many as are attached */
    /* IOCP-1: how many; changed under the lock. */
    atomic_uint failed_count;
};

static int watch_own(struct iocp_state *iocp, void *handle)
{
    struct tocsin_epoll_event event = {.events = TOCSIN_EPOLL_IN | TOCSIN_EPOLL_ET,
                                       .data = OWN_DATA};

    return tocsin_epoll_ctl(iocp->epoll, TOCSIN_EPOLL_CTL_ADD, handle, &event);
}

static int be_iocp_open(void *state, void *arg)
{
    struct iocp_state *iocp = state;
    int32_t status;
    int r;

    (void)arg;
    *iocp = (struct iocp_state){.nt = tocsin__nt_open(), .timer_ns = TOCSIN_NEVER_NS};
    r = tocsin__mutex_init(&iocp->lock);
    if (r < 0) {
        goto err_lock;
    }
    r = tocsin__epoll_open(iocp->nt, &iocp->epoll);
    if (r < 0) {
        goto err_epoll;
    }
    status = iocp->nt->timer_create(false, &iocp->timer);
    if (nt_failed(status)) {
        r = tocsin__win_errno(status);
        goto err_timer;
    }
    status = iocp->nt->event_create(false, false, &iocp->kick_event);
    if (nt_failed(status)) {
        r = tocsin__win_errno(status);
        goto err_event;
    }
    r = watch_own(iocp, iocp->timer);
    if (r == 0) {
        r = watch_own(iocp, iocp->kick_event);
    }
    if (r == 0) {
        return 0;
    }
    iocp->nt->close(iocp->kick_event);
err_event:
    iocp->nt->close(iocp->timer);
err_timer:
    tocsin_epoll_close(iocp->epoll);
err_epoll:
    tocsin__mutex_deinit(&iocp->lock);
err_lock:
    tocsin__nt_close(iocp->nt);
    return r;
}

static void be_iocp_close(void *state, enum tocsin_backend_close how)
{
    struct iocp_state *iocp = state;

    (void)how; /* there are no forks where there are handles */
    tocsin_epoll_close(iocp->epoll);
    iocp->nt->close(iocp->kick_event);
    iocp->nt->close(iocp->timer);
    tocsin__nt_close(iocp->nt);
    tocsin__mutex_deinit(&iocp->lock);
    free(iocp->failed);
    iocp->failed = NULL;
}

/* The table outlives all pools, also an emulated one that has been closed: it is static. */
static uint64_t be_iocp_now(void *state)
{
    struct iocp_state *iocp = state;

    return iocp->nt->now_ns();
}

static uint32_t events_of(uint32_t events)
{
    return (events & TOCSIN_EPOLL_IN) != 0 ? TOCSIN_IN : 0;
}

static void report_failed(struct iocp_state *iocp, struct tocsin_backend_events *list)
{
    unsigned count;

    /* IOCP-1 relaxed: arm is the loop's thread's, so nothing is missed. */
    if (atomic_load_explicit(&iocp->failed_count, memory_order_relaxed) == 0) {
        return;
    }
    tocsin__mutex_lock(&iocp->lock);
    count = atomic_load_explicit(&iocp->failed_count, memory_order_relaxed);
    while (count > 0 && list->count < list->capacity) {
        tocsin_backend_report(list, iocp->failed[--count], TOCSIN_ERR);
    }
    atomic_store_explicit(&iocp->failed_count, count, memory_order_relaxed);
    tocsin__mutex_unlock(&iocp->lock);
}

static int step(struct iocp_state *iocp, uint64_t delay_ns, struct tocsin_backend_events *list)
{
    struct tocsin_epoll_event events[BATCH_MAX];
    uint32_t room;
    int count;

    report_failed(iocp, list);
    room = list->capacity - list->count;
    if (room == 0) {
        return 0;
    }
    count = tocsin__epoll_step(iocp->epoll, events, room < BATCH_MAX ? (int)room : BATCH_MAX,
                               list->count > 0 ? 0 : delay_ns);
    if (count < 0) {
        return count == -ENOMEM ? 0 : count; /* tried again by the next */
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data != OWN_DATA) {
            tocsin_backend_report(list, events[i].data, events_of(events[i].events));
        }
    }
    return 0;
}

/* The timer ends the wait at @deadline_ns.  False: it does not. */
static bool set_timer(struct iocp_state *iocp, uint64_t deadline_ns, uint64_t now_ns)
{
    if (iocp->timer_ns == deadline_ns) {
        return true;
    }
    if (nt_failed(iocp->nt->timer_set(iocp->timer, deadline_ns - now_ns))) {
        return false;
    }
    iocp->timer_ns = deadline_ns;
    return true;
}

static int be_iocp_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct iocp_state *iocp = state;
    uint64_t delay_ns = TOCSIN_NEVER_NS;
    int r;

    if (deadline_ns != TOCSIN_NEVER_NS) {
        uint64_t now_ns = iocp->nt->now_ns();

        delay_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        if (delay_ns != 0 && set_timer(iocp, deadline_ns, now_ns)) {
            delay_ns = TOCSIN_NEVER_NS;
        }
    }
    r = step(iocp, delay_ns, list);
    if (iocp->timer_ns != TOCSIN_NEVER_NS && iocp->timer_ns <= iocp->nt->now_ns()) {
        iocp->timer_ns = TOCSIN_NEVER_NS; /* it has fired, or does so now */
    }
    return r;
}

static int be_iocp_look(void *state, struct tocsin_backend_events *list)
{
    return step(state, 0, list);
}

static void be_iocp_kick(void *state)
{
    struct iocp_state *iocp = state;

    if (!tocsin__epoll_kick(iocp->epoll)) {
        iocp->nt->event_set(iocp->kick_event);
    }
}

/* B1: room for one more that may fail. */
static int reserve_failed(struct iocp_state *iocp)
{
    uint32_t count = iocp->failed_max == 0 ? FAILED_FIRST : iocp->failed_max * 2;
    uint64_t *failed;

    if (iocp->attached < iocp->failed_max) {
        return 0;
    }
    tocsin__mutex_lock(&iocp->lock);
    failed = realloc(iocp->failed, count * sizeof(*failed));
    if (failed != NULL) {
        iocp->failed = failed;
        iocp->failed_max = count;
    }
    tocsin__mutex_unlock(&iocp->lock);
    return failed != NULL ? 0 : -ENOMEM;
}

static int be_iocp_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct iocp_state *iocp = state;
    struct watch *attached;
    int r = reserve_failed(iocp);

    if (r < 0) {
        return r;
    }
    r = tocsin__epoll_attach(iocp->epoll, (void *)watch->number, watch->id, &attached);
    if (r < 0) {
        return r;
    }
    watch->data = attached;
    iocp->attached++;
    return 0;
}

static void note_failed(struct iocp_state *iocp, uint64_t id)
{
    unsigned count;
    bool is_noted = false;

    tocsin__mutex_lock(&iocp->lock);
    /* IOCP-1 relaxed: under the lock. */
    count = atomic_load_explicit(&iocp->failed_count, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        is_noted = is_noted || iocp->failed[i] == id;
    }
    if (!is_noted) {
        iocp->failed[count++] = id;
    }
    atomic_store_explicit(&iocp->failed_count, count, memory_order_relaxed);
    tocsin__mutex_unlock(&iocp->lock);
}

static void be_iocp_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    struct iocp_state *iocp = state;
    uint32_t wanted = (events & TOCSIN_IN) != 0 ? TOCSIN_EPOLL_IN : 0;

    if (tocsin__epoll_arm(iocp->epoll, watch->data, watch->id, wanted) == -ENOMEM) {
        note_failed(iocp, watch->id);
    }
}

/* B1 for those that are attached: so there is room for all of them. */
static void forget_failed(struct iocp_state *iocp, uint64_t id)
{
    unsigned count;
    unsigned kept = 0;

    tocsin__mutex_lock(&iocp->lock);
    /* IOCP-1 relaxed: under the lock. */
    count = atomic_load_explicit(&iocp->failed_count, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        if (iocp->failed[i] != id) {
            iocp->failed[kept++] = iocp->failed[i];
        }
    }
    atomic_store_explicit(&iocp->failed_count, kept, memory_order_relaxed);
    tocsin__mutex_unlock(&iocp->lock);
}

static int be_iocp_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct iocp_state *iocp = state;

    iocp->attached--;
    forget_failed(iocp, watch->id);
    return tocsin__epoll_detach(iocp->epoll, watch->data, watch->id);
}

const struct tocsin_backend_ops tocsin__backend_iocp = {
    .name = "iocp",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_ANY_THREAD_ATTACH | TOCSIN_BACKEND_FINE_DEADLINE |
                TOCSIN_BACKEND_HANDLES | TOCSIN_BACKEND_FOREIGN_THREADS,
    .state_size = sizeof(struct iocp_state),
    .open = be_iocp_open,
    .close = be_iocp_close,
    .now = be_iocp_now,
    .wait = be_iocp_wait,
    .look = be_iocp_look,
    .kick = be_iocp_kick,
    .attach = be_iocp_attach,
    .arm = be_iocp_arm,
    .detach = be_iocp_detach,
};
