/*
 * An epoll over a completion port: who is watched, and the wait.
 *
 * The watches do the work (watch.h).  Here is the way from a caller's handle to its watch, under a
 * lock that adds, changes and deletes take and waits do not; and for each thread that waits a
 * record of the watches that it was told of and has to arm again at its next wait.
 *
 * A handle is a number that Windows gives out anew as soon as it is closed.  So the way from handle
 * to watch is believed only if both still are the same object.
 *
 * A record is taken by its thread's id.  One that is empty is given back after each wait, so a
 * thread that ends leaves a record behind only if it was told of something and never came again.
 *
 * Invariants
 *   H1  by_handle leads from a handle to the one live watch that was added under it.
 *   H2  A record's list has room for all that one batch may bring, or the wait takes less.
 */
#include "backends/windows/epoll.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "backends/windows/nt_table.h"
#include "backends/windows/watch.h"
#include "backends/windows/win_errno.h"
#include "runtime/assert.h"
#include "runtime/os.h"

enum {
    BATCH_MAX = 64,
    DUES_MAX = 2 * BATCH_MAX,
    BUCKETS_FIRST = 64,
};

/* How long to wait at most while there are watches that could not be armed for want of memory. */
#define REARM_AGAIN_NS UINT64_C(1000000)

#define EVENTS_KNOWN                                                                               \
    (UINT32_C(0xFFFF) | TOCSIN_EPOLL_EXCLUSIVE | TOCSIN_EPOLL_ONESHOT | TOCSIN_EPOLL_ET)

struct record {
    struct record *next; /* constant once it is published */
    /* WAITER-1: the thread that has it; 0: nobody.  Publishes the list. */
    _Atomic(uintptr_t) owner;
    uint32_t count;
    struct watch_due dues[DUES_MAX];
};

struct tocsin_epoll {
    const struct nt *nt;
    void *port;
    struct watch_table watches;

    struct tocsin__mutex lock; /* guards what follows, and start, change and kill of watches */
    uint32_t *buckets;         /* H1: index + 1; a watch's map_next goes on */
    uint32_t buckets_count;
    uint32_t watched;

    _Atomic(struct record *) records; /* WAITER-2: a list that only grows */
    atomic_uint waits;                /* WAITER-3: those under way, for close to check */
    bool owns_table;                  /* opened by tocsin__nt_open() */
};

/* ---- From handle to watch ---- */

static uint32_t bucket_of(const struct tocsin_epoll *epoll, const void *handle)
{
    uint64_t hash = (uint64_t)((uintptr_t)handle >> 2) * UINT64_C(0x9E3779B97F4A7C15);

    return (uint32_t)(hash >> 32) & (epoll->buckets_count - 1);
}

static struct watch *watch_at(struct tocsin_epoll *epoll, uint32_t link)
{
    return link != 0 ? tocsin__watch_at(&epoll->watches, link - 1) : NULL;
}

static struct watch *find_locked(struct tocsin_epoll *epoll, const void *handle)
{
    struct watch *watch;

    if (epoll->buckets_count == 0) {
        return NULL;
    }
    watch = watch_at(epoll, epoll->buckets[bucket_of(epoll, handle)]);
    while (watch != NULL && watch->handle != handle) {
        watch = watch_at(epoll, watch->map_next);
    }
    return watch;
}

static void map_locked(struct tocsin_epoll *epoll, struct watch *watch)
{
    uint32_t *bucket = &epoll->buckets[bucket_of(epoll, watch->handle)];

    watch->map_next = *bucket;
    watch->is_mapped = true;
    *bucket = watch->index + 1;
}

static void unmap_locked(struct tocsin_epoll *epoll, struct watch *watch)
{
    uint32_t *link = &epoll->buckets[bucket_of(epoll, watch->handle)];

    while (*link != watch->index + 1) {
        link = &watch_at(epoll, *link)->map_next;
    }
    *link = watch->map_next;
    watch->is_mapped = false;
    epoll->watched--;
}

/* Room for one more. */
static int reserve_locked(struct tocsin_epoll *epoll)
{
    uint32_t count = epoll->buckets_count == 0 ? BUCKETS_FIRST : epoll->buckets_count * 2;
    uint32_t old_count = epoll->buckets_count;
    uint32_t *old = epoll->buckets;
    uint32_t *buckets;

    if (epoll->watched < old_count) {
        return 0;
    }
    buckets = calloc(count, sizeof(*buckets));
    if (buckets == NULL) {
        return -ENOMEM;
    }
    epoll->buckets = buckets;
    epoll->buckets_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        struct watch *watch = watch_at(epoll, old[i]);

        while (watch != NULL) {
            struct watch *next = watch_at(epoll, watch->map_next);

            map_locked(epoll, watch);
            watch = next;
        }
    }
    free(old);
    return 0;
}

/*
 * The watch of @handle, if it still is the object that was added.  One that is not is forgotten, as
 * Linux forgets what is closed.  0; -ENOENT; -EBADF.
 */
static int resolve_locked(struct tocsin_epoll *epoll, void *handle, struct watch **out_watch)
{
    struct watch *watch = find_locked(epoll, handle);
    enum nt_type type;
    int32_t status;

    *out_watch = NULL;
    status = epoll->nt->type(handle, &type);
    if (nt_failed(status)) {
        return tocsin__win_errno(status);
    }
    if (watch == NULL) {
        return -ENOENT;
    }
    status = epoll->nt->compare(handle, watch->target);
    if (status == NT_NOT_SAME_OBJECT) {
        unmap_locked(epoll, watch);
        tocsin__watch_kill(&epoll->watches, watch);
        return -ENOENT;
    }
    if (nt_failed(status) && status != NT_NOT_IMPLEMENTED) {
        return tocsin__win_errno(status);
    }
    *out_watch = watch;
    return 0;
}

/* ---- Add, change, delete ---- */

static int add_locked(struct tocsin_epoll *epoll, void *handle, const struct watch_config *config,
                      struct watch **out_watch)
{
    struct watch *watch;
    int r = resolve_locked(epoll, handle, &watch);

    if (r != -ENOENT) {
        return r == 0 ? -EEXIST : r;
    }
    r = reserve_locked(epoll);
    if (r < 0) {
        return r;
    }
    r = tocsin__watch_start(&epoll->watches, handle, config, &watch);
    if (r < 0) {
        return r;
    }
    watch->events = config->events;
    watch->name = config->data;
    map_locked(epoll, watch);
    epoll->watched++;
    *out_watch = watch;
    return 0;
}

static int ctl_locked(struct tocsin_epoll *epoll, enum tocsin_epoll_op op, void *handle,
                      const struct watch_config *config)
{
    struct watch *watch;
    int r;

    if (op == TOCSIN_EPOLL_CTL_ADD) {
        return add_locked(epoll, handle, config, &watch);
    }
    r = resolve_locked(epoll, handle, &watch);
    if (r < 0) {
        return r;
    }
    TOCSIN_ASSERT(watch != NULL, "what was resolved is a watch");
    if (op == TOCSIN_EPOLL_CTL_MOD) {
        if ((watch->events & TOCSIN_EPOLL_EXCLUSIVE) != 0) {
            return -EINVAL;
        }
        r = tocsin__watch_change(&epoll->watches, watch, config);
        if (r == 0) {
            watch->events = config->events;
        }
        return r;
    }
    unmap_locked(epoll, watch);
    tocsin__watch_kill(&epoll->watches, watch);
    return 0;
}

int tocsin_epoll_ctl(struct tocsin_epoll *epoll, enum tocsin_epoll_op op, void *handle,
                     const struct tocsin_epoll_event *event)
{
    struct watch_config config = {0};
    int r;

    if (op != TOCSIN_EPOLL_CTL_ADD && op != TOCSIN_EPOLL_CTL_MOD && op != TOCSIN_EPOLL_CTL_DEL) {
        return -EINVAL;
    }
    if (op != TOCSIN_EPOLL_CTL_DEL) {
        if (event == NULL || (event->events & ~EVENTS_KNOWN) != 0) {
            return -EINVAL;
        }
        if ((event->events & TOCSIN_EPOLL_EXCLUSIVE) != 0 &&
            (op == TOCSIN_EPOLL_CTL_MOD || (event->events & TOCSIN_EPOLL_ONESHOT) != 0)) {
            return -EINVAL;
        }
        config = (struct watch_config){.events = event->events, .data = event->data};
    }
    tocsin__mutex_lock(&epoll->lock);
    r = ctl_locked(epoll, op, handle, &config);
    tocsin__mutex_unlock(&epoll->lock);
    return r;
}

/* ---- The same by name ---- */

int tocsin__epoll_attach(struct tocsin_epoll *epoll, void *handle, uint64_t name,
                         struct watch **out_watch)
{
    struct watch_config config = {.events = TOCSIN_EPOLL_ONESHOT, .data = name};
    int r;

    tocsin__mutex_lock(&epoll->lock);
    r = add_locked(epoll, handle, &config, out_watch);
    tocsin__mutex_unlock(&epoll->lock);
    return r;
}

/* Its slot may be somebody else's by now: it was forgotten when its handle's value came again. */
static bool is_attached(const struct watch *watch, uint64_t name)
{
    return watch->is_mapped && watch->name == name;
}

int tocsin__epoll_arm(struct tocsin_epoll *epoll, struct watch *watch, uint64_t name,
                      uint32_t events)
{
    struct watch_config config = {.events = events | TOCSIN_EPOLL_ONESHOT, .data = name};
    int r = -ENOENT;

    tocsin__mutex_lock(&epoll->lock);
    if (is_attached(watch, name)) {
        r = tocsin__watch_change(&epoll->watches, watch, &config);
    }
    tocsin__mutex_unlock(&epoll->lock);
    return r;
}

int tocsin__epoll_detach(struct tocsin_epoll *epoll, struct watch *watch, uint64_t name)
{
    struct watch *found;
    int r = -ENOENT;

    tocsin__mutex_lock(&epoll->lock);
    if (is_attached(watch, name)) {
        r = resolve_locked(epoll, watch->handle, &found);
    }
    if (is_attached(watch, name)) { /* it was not another object, which ends it */
        unmap_locked(epoll, watch);
        tocsin__watch_kill(&epoll->watches, watch);
    }
    tocsin__mutex_unlock(&epoll->lock);
    return r;
}

/* ---- Records ---- */

/* The calling thread's, or one that nobody has.  NULL: no memory for a new one. */
static struct record *record_take(struct tocsin_epoll *epoll)
{
    uintptr_t self = tocsin__thread_id();
    /* WAITER-2 acquire: pairs with the release below. */
    struct record *first = atomic_load_explicit(&epoll->records, memory_order_acquire);
    struct record *record;

    for (record = first; record != NULL; record = record->next) {
        /* WAITER-1 relaxed: our own id is there only if we have put it there. */
        if (atomic_load_explicit(&record->owner, memory_order_relaxed) == self) {
            return record;
        }
    }
    for (record = first; record != NULL; record = record->next) {
        uintptr_t nobody = 0;

        /* WAITER-1 acquire: pairs with the release in record_give_back(). */
        if (atomic_compare_exchange_strong_explicit(&record->owner, &nobody, self,
                                                    memory_order_acquire, memory_order_relaxed)) {
            return record;
        }
    }
    record = calloc(1, sizeof(*record));
    if (record == NULL) {
        return NULL;
    }
    /* WAITER-1 relaxed: not published yet. */
    atomic_store_explicit(&record->owner, self, memory_order_relaxed);
    record->next = first;
    /* WAITER-2 release: a record that is complete. */
    while (!atomic_compare_exchange_weak_explicit(&epoll->records, &record->next, record,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    return record;
}

static void record_give_back(struct record *record)
{
    if (record->count == 0) {
        /* WAITER-1 release: pairs with the acquire in record_take(). */
        atomic_store_explicit(&record->owner, 0, memory_order_release);
    }
}

/* Arm what is due; what could not be armed stays. */
static void record_rearm(struct tocsin_epoll *epoll, struct record *record)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < record->count; i++) {
        if (!tocsin__watch_rearm(&epoll->watches, &record->dues[i])) {
            record->dues[kept++] = record->dues[i];
        }
    }
    record->count = kept;
}

/* ---- Waiting ---- */

/* Events of a batch.  Returns: how many. */
static int walk(struct tocsin_epoll *epoll, struct record *record, const struct nt_entry *entries,
                uint32_t count, struct tocsin_epoll_event *events, bool *out_kicked)
{
    struct watch_due at_once[BATCH_MAX];
    uint32_t at_once_count = 0;
    int events_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct watch_due due;
        uint32_t what;

        if (entries[i].key == 0) {
            *out_kicked = true;
            continue;
        }
        what = tocsin__watch_arrived(&epoll->watches, &entries[i], &events[events_count], &due);
        events_count += (what & WATCH_EVENT) != 0;
        if ((what & WATCH_LATER) != 0) {
            record->dues[record->count++] = due;
        } else if ((what & WATCH_AT_ONCE) != 0) {
            at_once[at_once_count++] = due;
        }
    }
    for (uint32_t i = 0; i < at_once_count; i++) {
        if (!tocsin__watch_rearm(&epoll->watches, &at_once[i])) {
            record->dues[record->count++] = at_once[i];
        }
    }
    return events_count;
}

static uint64_t time_left(struct tocsin_epoll *epoll, uint64_t begin_ns, uint64_t delay_ns)
{
    uint64_t gone_ns;

    if (delay_ns == 0 || delay_ns == TOCSIN_NEVER_NS) {
        return delay_ns;
    }
    gone_ns = epoll->nt->now_ns() - begin_ns;
    return gone_ns < delay_ns ? delay_ns - gone_ns : 0;
}

static int wait_with(struct tocsin_epoll *epoll, struct record *record,
                     struct tocsin_epoll_event *events, uint32_t events_max, uint64_t delay_ns,
                     bool *out_kicked)
{
    uint64_t begin_ns = delay_ns != 0 ? epoll->nt->now_ns() : 0;

    for (;;) {
        struct nt_entry entries[BATCH_MAX];
        uint64_t left_ns = time_left(epoll, begin_ns, delay_ns);
        uint64_t step_ns = left_ns;
        uint32_t room;
        uint32_t count = 0;
        int32_t status;

        record_rearm(epoll, record);
        room = DUES_MAX - record->count; /* H2 */
        if (room == 0) {
            return -ENOMEM;
        }
        if (record->count > 0 && step_ns > REARM_AGAIN_NS) {
            step_ns = REARM_AGAIN_NS;
        }
        status = epoll->nt->port_remove(epoll->port, entries, events_max < room ? events_max : room,
                                        step_ns, &count);
        if (nt_failed(status)) {
            return tocsin__win_errno(status);
        }
        if (status == 0) {
            int events_count = walk(epoll, record, entries, count, events, out_kicked);

            if (events_count > 0 || *out_kicked) {
                return events_count;
            }
        } else if (step_ns == left_ns) {
            return 0;
        }
    }
}

static int wait_for(struct tocsin_epoll *epoll, struct tocsin_epoll_event *events, int events_max,
                    uint64_t delay_ns, bool *out_kicked)
{
    struct record *record;
    int r;

    if (events_max <= 0) {
        return -EINVAL;
    }
    record = record_take(epoll);
    if (record == NULL) {
        return -ENOMEM;
    }
    /* WAITER-3 relaxed, acq_rel at the end: close finds none under way. */
    atomic_fetch_add_explicit(&epoll->waits, 1, memory_order_relaxed);
    r = wait_with(epoll, record, events,
                  events_max < BATCH_MAX ? (uint32_t)events_max : (uint32_t)BATCH_MAX, delay_ns,
                  out_kicked);
    record_give_back(record);
    atomic_fetch_sub_explicit(&epoll->waits, 1, memory_order_acq_rel);
    return r;
}

int tocsin_epoll_wait(struct tocsin_epoll *epoll, struct tocsin_epoll_event *events, int events_max,
                      uint64_t delay_ns)
{
    uint64_t begin_ns = epoll->nt->now_ns();
    bool kicked;
    int r;

    do { /* a stranger's post with our kick's key is no reason to come back */
        kicked = false;
        r = wait_for(epoll, events, events_max, time_left(epoll, begin_ns, delay_ns), &kicked);
    } while (r == 0 && kicked);
    return r;
}

int tocsin__epoll_step(struct tocsin_epoll *epoll, struct tocsin_epoll_event *events,
                       int events_max, uint64_t delay_ns)
{
    bool kicked = false;

    return wait_for(epoll, events, events_max, delay_ns, &kicked);
}

bool tocsin__epoll_kick(struct tocsin_epoll *epoll)
{
    return !nt_failed(epoll->nt->port_post(epoll->port, 0, 0, 0, 0));
}

void *tocsin__epoll_port(struct tocsin_epoll *epoll)
{
    return epoll->port;
}

/* ---- Create and close ---- */

int tocsin__epoll_open(const struct nt *nt, struct tocsin_epoll **out_epoll)
{
    struct tocsin_epoll *epoll = calloc(1, sizeof(*epoll));
    int32_t status;
    int r;

    if (epoll == NULL) {
        return -ENOMEM;
    }
    epoll->nt = nt;
    r = tocsin__mutex_init(&epoll->lock);
    if (r < 0) {
        goto err_lock;
    }
    status = nt->port_create(&epoll->port);
    if (nt_failed(status)) {
        r = tocsin__win_errno(status);
        goto err_port;
    }
    tocsin__watches_init(&epoll->watches, nt, epoll->port);
    *out_epoll = epoll;
    return 0;

err_port:
    tocsin__mutex_deinit(&epoll->lock);
err_lock:
    free(epoll);
    return r;
}

int tocsin_epoll_create(struct tocsin_epoll **out_epoll)
{
    const struct nt *nt = tocsin__nt_open();
    int r = tocsin__epoll_open(nt, out_epoll);

    if (r < 0) {
        tocsin__nt_close(nt);
        return r;
    }
    (*out_epoll)->owns_table = true;
    return 0;
}

/* Kill all, and take in the packets that are under way. */
static void end_watches(struct tocsin_epoll *epoll)
{
    for (uint32_t i = 0; i < epoll->buckets_count; i++) {
        struct watch *watch = watch_at(epoll, epoll->buckets[i]);

        while (watch != NULL) {
            struct watch *next = watch_at(epoll, watch->map_next);

            tocsin__watch_kill(&epoll->watches, watch);
            watch = next;
        }
    }
    while (!tocsin__watches_drain(&epoll->watches)) {
        struct tocsin_epoll_event event;
        struct watch_due due;
        struct nt_entry entry;
        uint32_t count = 0;

        if (epoll->nt->port_remove(epoll->port, &entry, 1, TOCSIN_NEVER_NS, &count) == 0) {
            tocsin__watch_arrived(&epoll->watches, &entry, &event, &due);
        }
    }
}

void tocsin_epoll_close(struct tocsin_epoll *epoll)
{
    struct record *record;

    if (epoll == NULL) {
        return;
    }
    /* WAITER-3 acquire: what the last wait did is done. */
    TOCSIN_ASSERT(atomic_load_explicit(&epoll->waits, memory_order_acquire) == 0,
                  "an epoll was closed while a thread waited on it");
    end_watches(epoll);
    tocsin__watches_deinit(&epoll->watches);
    epoll->nt->close(epoll->port);
    /* WAITER-2 relaxed: nobody else is here. */
    record = atomic_load_explicit(&epoll->records, memory_order_relaxed);
    while (record != NULL) {
        struct record *next = record->next;

        free(record);
        record = next;
    }
    free(epoll->buckets);
    tocsin__mutex_deinit(&epoll->lock);
    if (epoll->owns_table) {
        tocsin__nt_close(epoll->nt);
    }
    free(epoll);
}
