/*
 * An eventfd on Windows: a counter, and an event that is signalled while it is above 0.
 *
 * The counter is changed by compare-and-swap, and most reads and writes are that and nothing else.
 * Whoever takes it from 0 or to 0 makes the event agree with it: set or reset it, look again, and
 * go on until the two agree.  Of two that do so at once the one whose call into the kernel was last
 * sees what the other did to the counter, so the last word is right.
 *
 * A writer that has to wait counts itself, and then swaps the full counter for itself: a reader
 * that makes room comes after that swap, and sees that somebody waits, or before it, and makes it
 * fail (W6).
 *
 * Invariants
 *   V1  When nobody is inside, the event is signalled if and only if the counter is above 0, or
 *       is_stale says that the kernel refused that; then the next read or write tries again.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backends/windows/eventfd.h"
#include "backends/windows/nt_table.h"
#include "backends/windows/win_errno.h"
#include "runtime/assert.h"

#define COUNT_MAX (UINT64_MAX - 1)
#define FLAGS_KNOWN ((uint32_t)(TOCSIN_EFD_SEMAPHORE | TOCSIN_EFD_NONBLOCK | TOCSIN_EFD_CLOEXEC))

struct tocsin_eventfd {
    const struct nt *nt;
    bool owns_table;
    uint32_t flags;
    void *readable; /* manual: signalled while the counter is above 0 */
    void *room;     /* a semaphore: readers have made room, and so many were waiting */

    _Atomic(uint64_t) count; /* EVENTFD-1: what the writers did before they wrote */
    atomic_uint waiting;     /* EVENTFD-2: writers that wait for room */
    atomic_bool is_stale;    /* EVENTFD-3: V1 */
};

/* V1.  A change between 0 and more than that was made. */
static void agree(struct tocsin_eventfd *eventfd)
{
    /* EVENTFD-1 acquire: also after the call, which orders what others did before theirs. */
    bool is_set = atomic_load_explicit(&eventfd->count, memory_order_acquire) != 0;

    for (;;) {
        int32_t status = is_set ? eventfd->nt->event_set(eventfd->readable)
                                : eventfd->nt->event_reset(eventfd->readable);
        bool is_above;

        if (nt_failed(status)) {
            /* EVENTFD-3 relaxed: a note to whoever comes next. */
            atomic_store_explicit(&eventfd->is_stale, true, memory_order_relaxed);
            return;
        }
        is_above = atomic_load_explicit(&eventfd->count, memory_order_acquire) != 0;
        if (is_above == is_set) {
            return;
        }
        is_set = is_above;
    }
}

static void agree_if_stale(struct tocsin_eventfd *eventfd)
{
    /* EVENTFD-3 relaxed: see agree(). */
    if (atomic_load_explicit(&eventfd->is_stale, memory_order_relaxed) &&
        atomic_exchange_explicit(&eventfd->is_stale, false, memory_order_relaxed)) {
        agree(eventfd);
    }
}

/* True: something was taken, and is in *@out_value. */
static bool try_read(struct tocsin_eventfd *eventfd, uint64_t *out_value)
{
    /* EVENTFD-1 relaxed: the swap says whether it was right. */
    uint64_t count = atomic_load_explicit(&eventfd->count, memory_order_relaxed);
    uint64_t taken;
    unsigned waiting;

    agree_if_stale(eventfd);
    do {
        if (count == 0) {
            return false;
        }
        taken = (eventfd->flags & TOCSIN_EFD_SEMAPHORE) != 0 ? 1 : count;
        /* EVENTFD-1 acq_rel: what the writers did; and room, for those who wait. */
    } while (!atomic_compare_exchange_weak_explicit(&eventfd->count, &count, count - taken,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (count == taken) {
        agree(eventfd);
    }
    /* EVENTFD-2 acquire: pairs with the release of who waits, through the counter. */
    waiting = atomic_load_explicit(&eventfd->waiting, memory_order_acquire);
    if (waiting != 0) {
        eventfd->nt->semaphore_release(eventfd->room, (int32_t)waiting);
    }
    *out_value = taken;
    return true;
}

/* True: it is added.  False: there is no room for @value. */
static bool try_write(struct tocsin_eventfd *eventfd, uint64_t value)
{
    /* EVENTFD-1 relaxed: as in try_read(). */
    uint64_t count = atomic_load_explicit(&eventfd->count, memory_order_relaxed);
    bool fits;

    agree_if_stale(eventfd);
    do {
        fits = value <= COUNT_MAX - count;
        /* EVENTFD-1 acq_rel: what this thread did before; a full one is swapped for itself. */
    } while (!atomic_compare_exchange_weak_explicit(&eventfd->count, &count,
                                                    fits ? count + value : count,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (fits && count == 0 && value != 0) {
        agree(eventfd);
    }
    return fits;
}

int tocsin_eventfd_read(struct tocsin_eventfd *eventfd, uint64_t *out_value)
{
    return tocsin_eventfd_read_for(
        eventfd, (eventfd->flags & TOCSIN_EFD_NONBLOCK) != 0 ? 0 : TOCSIN_NEVER_NS, out_value);
}

int tocsin_eventfd_read_for(struct tocsin_eventfd *eventfd, uint64_t delay_ns, uint64_t *out_value)
{
    uint64_t begin_ns = delay_ns != 0 ? eventfd->nt->now_ns() : 0;
    uint64_t left_ns = delay_ns;

    for (;;) {
        int32_t status;

        if (try_read(eventfd, out_value)) {
            return 0;
        }
        if (left_ns == 0) {
            return -EAGAIN;
        }
        status = eventfd->nt->wait_one(eventfd->readable, left_ns);
        if (nt_failed(status)) {
            return tocsin__win_errno(status);
        }
        if (delay_ns != TOCSIN_NEVER_NS) {
            uint64_t gone_ns = eventfd->nt->now_ns() - begin_ns;

            left_ns = gone_ns < delay_ns ? delay_ns - gone_ns : 0;
        }
    }
}

/* Until there is room for @value, and it is added. */
static int write_when_there_is_room(struct tocsin_eventfd *eventfd, uint64_t value)
{
    int r = 0;

    /* EVENTFD-2 release: before the swap of the full counter, after which readers see it. */
    atomic_fetch_add_explicit(&eventfd->waiting, 1, memory_order_release);
    while (!try_write(eventfd, value)) {
        int32_t status = eventfd->nt->wait_one(eventfd->room, TOCSIN_NEVER_NS);

        if (nt_failed(status)) {
            r = tocsin__win_errno(status);
            break;
        }
    }
    /* EVENTFD-2 relaxed: a unit too much only makes somebody try in vain. */
    atomic_fetch_sub_explicit(&eventfd->waiting, 1, memory_order_relaxed);
    return r;
}

int tocsin_eventfd_write(struct tocsin_eventfd *eventfd, uint64_t value)
{
    if (value == UINT64_MAX) {
        return -EINVAL;
    }
    if (try_write(eventfd, value)) {
        return 0;
    }
    if ((eventfd->flags & TOCSIN_EFD_NONBLOCK) != 0) {
        return -EAGAIN;
    }
    return write_when_there_is_room(eventfd, value);
}

void *tocsin_eventfd_handle(struct tocsin_eventfd *eventfd)
{
    return eventfd->readable;
}

int tocsin__eventfd_open(const struct nt *nt, uint32_t count, uint32_t flags,
                         struct tocsin_eventfd **out_eventfd)
{
    struct tocsin_eventfd *eventfd;
    int32_t status;

    if ((flags & ~FLAGS_KNOWN) != 0) {
        return -EINVAL;
    }
    eventfd = calloc(1, sizeof(*eventfd));
    if (eventfd == NULL) {
        return -ENOMEM;
    }
    eventfd->nt = nt;
    eventfd->flags = flags;
    /* EVENTFD-1 relaxed: not published yet. */
    atomic_store_explicit(&eventfd->count, count, memory_order_relaxed);
    status = nt->event_create(true, count != 0, &eventfd->readable);
    if (nt_failed(status)) {
        goto err_readable;
    }
    status = nt->semaphore_create(0, INT32_MAX, &eventfd->room);
    if (nt_failed(status)) {
        goto err_room;
    }
    *out_eventfd = eventfd;
    return 0;

err_room:
    nt->close(eventfd->readable);
err_readable:
    free(eventfd);
    return tocsin__win_errno(status);
}

int tocsin_eventfd_create(uint32_t count, uint32_t flags, struct tocsin_eventfd **out_eventfd)
{
    const struct nt *nt = tocsin__nt_open();
    int r = tocsin__eventfd_open(nt, count, flags, out_eventfd);

    if (r < 0) {
        tocsin__nt_close(nt);
        return r;
    }
    (*out_eventfd)->owns_table = true;
    return 0;
}

void tocsin_eventfd_close(struct tocsin_eventfd *eventfd)
{
    if (eventfd == NULL) {
        return;
    }
    eventfd->nt->close(eventfd->readable);
    eventfd->nt->close(eventfd->room);
    if (eventfd->owns_table) {
        tocsin__nt_close(eventfd->nt);
    }
    free(eventfd);
}
