/*
 * Making a pool's ring, once, and ending it: see host.h.
 */
#include "backends/ring/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/ring/uring.h"
#include "runtime/pool.h"

#define NS_PER_S UINT64_C(1000000000)

int tocsin__uring_host_init(struct uring_host *host, const struct tocsin_uring_options *options)
{
    if (options != NULL) {
        host->options = *options;
    }
    if (host->options.entries == 0) {
        host->options.entries = RING_ENTRIES;
    }
    if (host->options.cq_entries == 0) {
        host->options.cq_entries = host->options.entries * RING_CQ_FACTOR;
    }
    if (host->options.entries > RING_ENTRIES_MAX ||
        host->options.cq_entries < host->options.entries) {
        return -EINVAL;
    }
    atomic_init(&host->uring, NULL);
    tocsin__remote_init(&host->remote);
    return 0;
}

static const char *name_of(int error)
{
    switch (error) {
    case -EPERM:
        return "EPERM (a filter, or the sysctl kernel.io_uring_disabled)";
    case -ENOSYS:
        return "ENOSYS (a filter, or a kernel without it)";
    case -ENOMEM:
        return "ENOMEM";
    case -EMFILE:
        return "EMFILE";
    default:
        return "an error";
    }
}

static struct ring_setup setup_of(const struct uring_host *host)
{
    return (struct ring_setup){
        .entries = host->options.entries,
        .cq_entries = host->options.cq_entries,
        .flags = host->flags & ~host->options.setup_flags_no,
        .features = host->features,
    };
}

static struct uring *make(struct uring_host *host, struct tocsin_pool *pool)
{
    struct ring_setup setup = setup_of(host);
    struct uring *uring = tocsin__alloc_zeroed(pool, sizeof(*uring));
    const char *failed = "memory";
    int r = -ENOMEM;

    if (uring == NULL) {
        goto err_uring;
    }
    r = tocsin__ring_open(&uring->ring, &setup);
    if (r < 0) {
        failed = setup.failed;
        goto err_ring;
    }
    uring->pool = pool;
    uring->later_delay_ns = URING_RETRY_NS;
    uring->remote = &host->remote;
    r = -ENOMEM;
    uring->stash = tocsin__alloc(pool, *uring->ring.uring.cq.kring_entries * sizeof(*uring->stash));
    if (uring->stash == NULL) {
        goto err_stash;
    }
    r = host->made != NULL ? host->made(host, uring->ring.uring.ring_fd) : 0;
    if (r < 0) {
        failed = "epoll_ctl";
        goto err_made;
    }
    host->sq_entries = *uring->ring.uring.sq.kring_entries;
    memcpy(host->opcodes, uring->ring.opcodes, sizeof(host->opcodes));
    return uring;

err_made:
    tocsin__free(pool, uring->stash);
err_stash:
    tocsin__ring_close(&uring->ring);
err_ring:
    tocsin__free(pool, uring);
err_uring:
    host->error = r;
    snprintf(host->reason, sizeof(host->reason), "%s: %s (%d)", failed, name_of(r), r);
    return NULL;
}

struct uring *tocsin__uring_host_peek(const struct uring_host *host)
{
    /* RING-2 acquire: pairs with the store in tocsin__uring_host_get(). */
    return atomic_load_explicit(&host->uring, memory_order_acquire);
}

/*
 * May it be tried (again)?  Memory may come back; what the kernel refused is not asked twice (U4).
 */
static bool may_make(const struct uring_host *host)
{
    return host->error == 0 || host->error == -ENOMEM || host->error == -EMFILE;
}

struct uring *tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                     int *out_error)
{
    struct uring *uring = tocsin__uring_host_peek(host);

    if (uring != NULL) {
        return uring;
    }
    tocsin__mutex_lock(&pool->registrations.lock);
    uring = tocsin__uring_host_peek(host);
    if (uring == NULL && !pool->registrations.closed && may_make(host)) {
        uring = make(host, pool);
        if (uring != NULL) {
            host->error = 0;
            /* RING-2 release: the ring is complete. */
            atomic_store_explicit(&host->uring, uring, memory_order_release);
        }
    }
    if (uring == NULL) {
        *out_error = pool->registrations.closed ? -ESHUTDOWN
                     : may_make(host)           ? host->error
                                                : -EOPNOTSUPP;
    }
    tocsin__mutex_unlock(&pool->registrations.lock);
    return uring;
}

/* Take in what has come; nobody sleeps here, so nobody need be woken. */
static void settle(struct uring_host *host, struct uring *uring)
{
    tocsin__uring_flush(uring);
    tocsin__uring_collect(uring, host->other, host);
    tocsin__uring_harvest(uring);
}

static bool is_busy(const struct uring_host *host, const struct uring *uring)
{
    return uring->flying > 0 || (host->is_busy != NULL && host->is_busy(host));
}

/* For a completion or, where no event tells, a while.  False: the pool waits no longer. */
static bool wait_at_the_end(struct uring *uring)
{
    uint64_t now_ns = tocsin_pool_now_ns(uring->pool);
    uint64_t by_ns = uring->pool->close_by_ns;
    struct __kernel_timespec limit;
    int r;

    if (now_ns >= by_ns) {
        return false;
    }
    if ((tocsin__uring_is_stuck(uring) || uring->cancels_later > 0) &&
        by_ns - now_ns > URING_RETRY_NS) {
        by_ns = now_ns + URING_RETRY_NS;
    }
    limit.tv_sec = (long long)((by_ns - now_ns) / NS_PER_S);
    limit.tv_nsec = (long long)((by_ns - now_ns) % NS_PER_S);
    r = tocsin__ring_enter(&uring->ring, 1, by_ns == TOCSIN_NEVER_NS ? NULL : &limit);
    if (r == -EAGAIN || r == -EBUSY) { /* it took nothing, and so did not wait */
        limit.tv_sec = 0;
        limit.tv_nsec = URING_RETRY_NS;
        tocsin__ring_wait(&uring->ring, &limit);
    }
    return true;
}

/*
 * What the kernel never took is cancelled.  The rest is its own for good, with the reference that
 * each holds on the pool's memory: to its owner it is in flight for ever.
 */
static void lose(struct uring *uring)
{
    static const struct uring_completion never_taken = {.result = -ECANCELED};

    while (tocsin__uring_take_back(uring, &never_taken)) {
    }
    for (uint32_t i = 0; i < uring->slots_count; i++) {
        if (uring->slots[i].op != NULL) {
            struct tocsin_waker waker = uring->slots[i].op->waker_;

            uring->slots[i].op->waker_ = (struct tocsin_waker){0};
            uring->pool->lost++;
            tocsin_waker_drop(&waker);
        }
    }
}

static void end(struct uring_host *host, struct uring *uring)
{
    uring->ending = true;
    tocsin__ring_enable(&uring->ring);
    tocsin__uring_harvest(uring);
    for (uint32_t i = 0; i < uring->slots_count; i++) {
        if (uring->slots[i].op != NULL &&
            !tocsin__uring_op_has(uring->slots[i].op, URING_OP_CANCEL)) {
            tocsin__uring_cancel(uring, uring->slots[i].op);
        }
    }
    settle(host, uring);
    while (is_busy(host, uring) && wait_at_the_end(uring)) {
        settle(host, uring);
    }
    lose(uring);
    tocsin__uring_arrive(uring, tocsin__remote_close(uring->remote));
}

void tocsin__uring_host_close(struct uring_host *host, enum tocsin_backend_close how)
{
    struct uring *uring = tocsin__uring_host_peek(host);
    struct tocsin_pool *pool;

    if (uring == NULL) {
        return;
    }
    if (how == TOCSIN_BACKEND_CLOSE) {
        end(host, uring);
    }
    /* RING-2 relaxed: whoever comes now finds the queue closed, or asks under the lock. */
    atomic_store_explicit(&host->uring, NULL, memory_order_relaxed);
    pool = uring->pool;
    if (how == TOCSIN_BACKEND_CLOSE) {
        tocsin__ring_close(&uring->ring);
    } else {
        tocsin__ring_close_forked(&uring->ring);
    }
    tocsin__free(pool, uring->stash);
    tocsin__free(pool, uring->slots);
    tocsin__free(pool, uring);
}

uint64_t tocsin__uring_host_prepare(struct uring_host *host, uint64_t deadline_ns)
{
    struct uring *uring = tocsin__uring_host_peek(host);

    if (uring == NULL) {
        return deadline_ns;
    }
    tocsin__uring_flush(uring);
    tocsin__uring_collect(uring, NULL, NULL);
    if (uring->stash_count > 0 || !tocsin__remote_arm(uring->remote)) {
        return 0;
    }
    return tocsin__uring_bound_sleep(uring, deadline_ns);
}

void tocsin__uring_host_flush(struct uring_host *host)
{
    struct uring *uring = tocsin__uring_host_peek(host);

    if (uring != NULL) {
        tocsin__uring_flush(uring);
        tocsin__uring_collect(uring, NULL, NULL);
        tocsin__uring_call_turn(uring);
    }
}

void tocsin__uring_host_harvest(struct uring_host *host)
{
    struct uring *uring = tocsin__uring_host_peek(host);

    if (uring != NULL) {
        tocsin__uring_collect(uring, NULL, NULL);
        tocsin__uring_harvest(uring);
    }
}

int tocsin__uring_host_reopen(struct uring_host *host, uint32_t flags_no)
{
    struct uring *uring = tocsin__uring_host_peek(host);
    struct ring_setup setup = setup_of(host);
    struct ring ring = {.tail = 0};
    int r;

    if (uring->flying > 0 || tocsin__uring_is_stuck(uring) ||
        tocsin__ring_completions(&uring->ring) > 0) {
        return -EBUSY;
    }
    setup.flags &= ~flags_no;
    r = tocsin__ring_open(&ring, &setup);
    if (r < 0) {
        return r;
    }
    if (uring->ring.enabled) {
        tocsin__ring_enable(&ring);
    }
    tocsin__ring_close(&uring->ring);
    uring->ring = ring;
    return 0;
}
