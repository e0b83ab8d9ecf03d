/*
 * The one-right word: see watch.h.
 */
#include "backends/windows/watch.h"

#include <assert.h>
#include <stdlib.h>

#include "backends/windows/win_errno.h"
#include "runtime/assert.h"

#define WORD_IDLE UINT64_C(0)
#define WORD_ARMED UINT64_C(1)
#define WORD_HELD UINT64_C(2)
#define WORD_RIGHT UINT64_C(3)
#define WORD_DEAD (UINT64_C(1) << 2)
#define WORD_DIRTY (UINT64_C(1) << 3)
#define WORD_FINAL (UINT64_C(1) << 4)
#define WORD_REF (UINT64_C(1) << 8)
#define WORD_REFS (UINT64_C(0xFFFF) << 8)
#define WORD_TICKET (UINT64_C(1) << 24)
#define WORD_TICKETS (UINT64_C(0xFF) << 24)
#define WORD_GENERATION (UINT64_C(1) << 32)

/* In the mailbox: the holder has not taken it. */
#define MAIL_FRESH 4U
#define MAIL_INDEX 3U

static uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t ticket_of(uint64_t word)
{
    return (uint32_t)((word & WORD_TICKETS) >> 24);
}

static uint64_t next_ticket(uint64_t word)
{
    return (word & ~WORD_TICKETS) | ((word + WORD_TICKET) & WORD_TICKETS);
}

static uint64_t with_right(uint64_t word, uint64_t right)
{
    return (word & ~WORD_RIGHT) | right;
}

/* WATCH-1 acquire: what was done before the word was as it is. */
static uint64_t load(struct watch *watch)
{
    return atomic_load_explicit(&watch->word, memory_order_acquire);
}

/* WATCH-1 acq_rel: every step.  False: *@word is what it is by now. */
static bool swap(struct watch *watch, uint64_t *word, uint64_t desired)
{
    return atomic_compare_exchange_weak_explicit(&watch->word, word, desired, memory_order_acq_rel,
                                                 memory_order_acquire);
}

/* ---- Slots ---- */

static uint32_t chunk_of(uint32_t index)
{
    uint32_t chunk = 0;

    for (index = index / WATCH_CHUNK_FIRST + 1; index > 1; index >>= 1) {
        chunk++;
    }
    return chunk;
}

static uint32_t chunk_begin(uint32_t chunk)
{
    return WATCH_CHUNK_FIRST * ((UINT32_C(1) << chunk) - 1);
}

struct watch *tocsin__watch_at(struct watch_table *table, uintptr_t index)
{
    struct watch *watches;
    uint32_t chunk;

    if (index >= chunk_begin(WATCH_CHUNKS_MAX)) {
        return NULL;
    }
    chunk = chunk_of((uint32_t)index);
    /* WATCH-3 acquire: pairs with the release in grow(). */
    watches = atomic_load_explicit(&table->chunks[chunk], memory_order_acquire);
    return watches != NULL ? &watches[(uint32_t)index - chunk_begin(chunk)] : NULL;
}

static int grow(struct watch_table *table)
{
    uint32_t chunk = chunk_of(table->count);
    uint32_t count = (uint32_t)WATCH_CHUNK_FIRST << chunk;
    struct watch *watches;

    if (chunk >= WATCH_CHUNKS_MAX) {
        return -ENOMEM;
    }
    watches = calloc(count, sizeof(*watches));
    if (watches == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = count; i-- > 0;) {
        watches[i].index = table->count + i;
        watches[i].free_next = table->free;
        table->free = watches[i].index + 1;
        /* WATCH-1 relaxed: the chunk is not published yet.  A free slot is final and dead. */
        atomic_store_explicit(&watches[i].word, WORD_GENERATION | WORD_DEAD | WORD_FINAL,
                              memory_order_relaxed);
    }
    table->free_count += count;
    table->count += count;
    /* WATCH-3 release: a chunk that is complete. */
    atomic_store_explicit(&table->chunks[chunk], watches, memory_order_release);
    return 0;
}

bool tocsin__watches_drain(struct watch_table *table)
{
    /* WATCH-4 acquire: whole stacks are taken, so nothing is compared with what was. */
    uint32_t next = atomic_exchange_explicit(&table->recycled, 0, memory_order_acquire);

    while (next != 0) {
        struct watch *watch = tocsin__watch_at(table, next - 1);

        next = watch->free_next;
        watch->free_next = table->free;
        table->free = watch->index + 1;
        table->free_count++;
    }
    return table->free_count == table->count;
}

/* FINAL, and nobody refers to it: the slot may be used again. */
static void recycle(struct watch_table *table, struct watch *watch)
{
    /* WATCH-4 relaxed: only compared. */
    unsigned first = atomic_load_explicit(&table->recycled, memory_order_relaxed);

    do {
        watch->free_next = first;
        /* WATCH-4 release: pairs with the acquire in tocsin__watches_drain(). */
    } while (!atomic_compare_exchange_weak_explicit(&table->recycled, &first, watch->index + 1,
                                                    memory_order_release, memory_order_relaxed));
}

/* ---- The configuration ---- */

/* The holder: take the newest.  True if there is a newer one than before. */
static bool take_config(struct watch *watch)
{
    /* WATCH-2 relaxed: WATCH-1 orders it, a change makes the word dirty after it has published. */
    if ((atomic_load_explicit(&watch->mailbox, memory_order_relaxed) & MAIL_FRESH) == 0) {
        return false;
    }
    /* WATCH-2 acq_rel: takes the newest, and gives back the one that was read. */
    watch->front =
        atomic_exchange_explicit(&watch->mailbox, watch->front, memory_order_acq_rel) & MAIL_INDEX;
    watch->is_disabled = false;
    return true;
}

static void publish_config(struct watch *watch, const struct watch_config *config)
{
    watch->configs[watch->back] = *config;
    /* WATCH-2 acq_rel: gives the newest, and takes one that nobody reads. */
    watch->back =
        atomic_exchange_explicit(&watch->mailbox, watch->back | MAIL_FRESH, memory_order_acq_rel) &
        MAIL_INDEX;
}

static bool is_wanted(const struct watch *watch)
{
    return !watch->is_disabled && (watch->configs[watch->front].events & TOCSIN_EPOLL_IN) != 0;
}

/* ---- The end ---- */

/* The holder of a dead watch: it has ended.  The packet is at home. */
static void finish(struct watch_table *table, struct watch *watch)
{
    uint64_t word = load(watch);
    uint64_t ended;

    table->nt->close(watch->target); /* X3 */
    watch->target = NULL;
    watch->is_latched = false;
    do {
        ended = with_right(word, WORD_IDLE) | WORD_FINAL;
    } while (!swap(watch, &word, ended));
    if ((ended & WORD_REFS) == 0) {
        recycle(table, watch);
    }
}

static void unref(struct watch_table *table, struct watch *watch)
{
    uint64_t word = load(watch);

    while (!swap(watch, &word, word - WORD_REF)) {
    }
    if ((word & WORD_FINAL) != 0 && ((word - WORD_REF) & WORD_REFS) == 0) {
        recycle(table, watch);
    }
}

/*
 * Try to get the right back from the kernel; the caller has a reference and gives it up.  True: it
 * is held by the caller now.  False: whoever finds the packet has it, or somebody has it already.
 */
static bool cancel(struct watch_table *table, struct watch *watch)
{
    uint64_t word;

    if (table->nt->packet_cancel(watch->packet, false) != 0) {
        unref(table, watch);
        return false;
    }
    word = load(watch);
    do {
        TOCSIN_ASSERT((word & WORD_RIGHT) == WORD_ARMED, "a packet was armed by nobody");
    } while (!swap(watch, &word, with_right(word, WORD_HELD) - WORD_REF));
    return true;
}

/* ---- Arming, and rest ---- */

enum arm_result {
    ARMED,      /* the right has gone */
    NOT_ARMED,  /* still held: no memory */
    NOT_ALLOWED /* still held: it is dead or dirty */
};

/* A packet of our own making, for a signal that was consumed earlier. */
static int32_t post_latched(struct watch_table *table, struct watch *watch, uint32_t generation)
{
    return table->nt->port_post(table->port, (uintptr_t)watch->index + 1, generation, 0, 0);
}

static int32_t associate(struct watch_table *table, struct watch *watch, uint32_t generation)
{
    bool already;

    return table->nt->packet_associate(watch->packet, table->port, watch->target,
                                       (uintptr_t)watch->index + 1, generation, 0, 0, &already);
}

/* Armed in the word, and not in the kernel: the right comes back. */
static void take_back(struct watch *watch)
{
    uint64_t word = load(watch);

    while (!swap(watch, &word, with_right(word, WORD_HELD) - WORD_REF)) {
    }
}

/*
 * Armed, and a reference is held.  Who deletes or changes it while the kernel did not know of it
 * yet could cancel nothing, and left that to us.  True: the right is ours again.
 */
static bool look_again(struct watch_table *table, struct watch *watch)
{
    uint64_t word = load(watch);

    for (;;) {
        if ((word & WORD_RIGHT) == WORD_ARMED && (word & (WORD_DEAD | WORD_DIRTY)) != 0) {
            return cancel(table, watch);
        }
        if (swap(watch, &word, word - WORD_REF)) {
            break;
        }
    }
    if ((word & WORD_FINAL) != 0 && ((word - WORD_REF) & WORD_REFS) == 0) {
        recycle(table, watch);
    }
    return false;
}

static enum arm_result arm(struct watch_table *table, struct watch *watch)
{
    bool latched = watch->is_latched;
    uint64_t word = load(watch);
    uint32_t generation = generation_of(word);
    int32_t status;

    watch->is_latched = false;
    do {
        if ((word & (WORD_DEAD | WORD_DIRTY)) != 0) {
            watch->is_latched = latched;
            return NOT_ALLOWED;
        }
    } while (!swap(watch, &word, with_right(word, WORD_ARMED) + WORD_REF));
    nt_pass(table->nt, NT_POINT_ARMING);

    status = latched ? post_latched(table, watch, generation) : associate(table, watch, generation);
    if (status != 0) {
        take_back(watch);
        watch->is_latched = latched;
        return NOT_ARMED;
    }
    return look_again(table, watch) ? NOT_ALLOWED : ARMED;
}

/*
 * The holder gives up the right: arms the watch if it is wanted and @arms, or else lets it rest.
 * Whatever was asked of it meanwhile is done first.  False: there is no memory, and the caller
 * still holds it.
 */
static bool try_settle(struct watch_table *table, struct watch *watch, bool arms)
{
    uint64_t word = load(watch);

    for (;;) {
        if ((word & WORD_DEAD) != 0) {
            finish(table, watch);
            return true;
        }
        if ((word & WORD_DIRTY) != 0) {
            if (swap(watch, &word, word & ~WORD_DIRTY)) {
                arms = take_config(watch) || arms;
            }
            continue;
        }
        if (arms && is_wanted(watch)) {
            enum arm_result result = arm(table, watch);

            if (result != NOT_ALLOWED) {
                return result == ARMED;
            }
            word = load(watch);
            continue;
        }
        if (swap(watch, &word, with_right(word, WORD_IDLE))) {
            return true;
        }
    }
}

/* The same; without memory it rests, and false says that it has to be tried again. */
static bool settle(struct watch_table *table, struct watch *watch, bool arms)
{
    bool settled = try_settle(table, watch, arms);

    /* Somebody may change it between the two, and that may lack memory again. */
    for (bool rests = settled; !rests;) {
        rests = try_settle(table, watch, false);
    }
    return settled;
}

/* ---- What the table's user does ---- */

static int check_type(const struct nt *nt, void *handle, enum nt_type *out_type)
{
    int32_t status = nt->type(handle, out_type);

    if (nt_failed(status)) {
        return tocsin__win_errno(status);
    }
    return *out_type == NT_TYPE_MUTANT || *out_type == NT_TYPE_PORT || *out_type == NT_TYPE_OTHER
               ? -EPERM
               : 0;
}

/* A free slot with a packet. */
static int take_slot(struct watch_table *table, struct watch **out_watch)
{
    struct watch *watch;
    int32_t status;
    int r;

    tocsin__watches_drain(table);
    if (table->free == 0) {
        r = grow(table);
        if (r < 0) {
            return r;
        }
    }
    watch = tocsin__watch_at(table, table->free - 1);
    TOCSIN_ASSERT(watch != NULL, "a free slot is a slot");
    if (watch->packet == NULL) {
        status = table->nt->packet_create(&watch->packet);
        if (nt_failed(status)) {
            return tocsin__win_errno(status);
        }
    }
    table->free = watch->free_next;
    table->free_count--;
    *out_watch = watch;
    return 0;
}

static void return_slot(struct watch_table *table, struct watch *watch)
{
    watch->free_next = table->free;
    table->free = watch->index + 1;
    table->free_count++;
}

int tocsin__watch_start(struct watch_table *table, void *handle, const struct watch_config *config,
                        struct watch **out_watch)
{
    enum nt_type type = NT_TYPE_OTHER;
    struct watch *watch = NULL;
    int32_t status;
    int r = check_type(table->nt, handle, &type);

    if (r == 0) {
        r = take_slot(table, &watch);
    }
    if (r < 0) {
        return r;
    }
    TOCSIN_ASSERT(watch != NULL, "a slot was taken");
    status = table->nt->duplicate_to_wait(handle, &watch->target);
    if (nt_failed(status)) {
        return_slot(table, watch);
        return tocsin__win_errno(status);
    }
    watch->type = type;
    watch->handle = handle;
    watch->is_latched = watch->is_disabled = false;
    watch->configs[0] = *config;
    watch->front = 0;
    watch->back = 2;
    /* WATCH-2 relaxed: WATCH-1 publishes it. */
    atomic_store_explicit(&watch->mailbox, 1, memory_order_relaxed);
    /*
     * WATCH-1 release: alive and held, in a new generation.  A plain store will do: nobody else
     * changes the word of a free slot.
     */
    atomic_store_explicit(&watch->word, ((load(watch) >> 32 << 32) + WORD_GENERATION) | WORD_HELD,
                          memory_order_release);
    if (!settle(table, watch, true)) {
        tocsin__watch_kill(table, watch);
        return -ENOMEM;
    }
    *out_watch = watch;
    return 0;
}

void tocsin__watch_kill(struct watch_table *table, struct watch *watch)
{
    uint64_t word = load(watch);
    uint64_t killed;

    do {
        killed = word | WORD_DEAD;
        if ((word & WORD_RIGHT) == WORD_IDLE) {
            killed = with_right(killed, WORD_HELD);
        } else if ((word & WORD_RIGHT) == WORD_ARMED) {
            killed += WORD_REF;
        }
    } while (!swap(watch, &word, killed));
    nt_pass(table->nt, NT_POINT_KILLED);

    if ((word & WORD_RIGHT) == WORD_IDLE) {
        finish(table, watch);
    } else if ((word & WORD_RIGHT) == WORD_ARMED && cancel(table, watch)) {
        finish(table, watch);
    }
}

/* Say that it has changed.  True: the right is the caller's now. */
static bool notify(struct watch_table *table, struct watch *watch, bool wanted)
{
    uint64_t word = load(watch);
    uint64_t changed;

    do {
        changed = word | WORD_DIRTY;
        if ((word & WORD_RIGHT) == WORD_IDLE) {
            changed = with_right(changed, WORD_HELD);
        } else if ((word & WORD_RIGHT) == WORD_ARMED && !wanted) {
            changed += WORD_REF;
        }
    } while (!swap(watch, &word, changed));
    if ((word & WORD_RIGHT) == WORD_ARMED && !wanted) {
        return cancel(table, watch);
    }
    return (word & WORD_RIGHT) == WORD_IDLE;
}

int tocsin__watch_change(struct watch_table *table, struct watch *watch,
                         const struct watch_config *config)
{
    struct watch_config old;
    bool was_disabled;

    publish_config(watch, config);
    nt_pass(table->nt, NT_POINT_PUBLISHED);
    if (!notify(table, watch, (config->events & TOCSIN_EPOLL_IN) != 0)) {
        return 0;
    }
    old = watch->configs[watch->front];
    was_disabled = watch->is_disabled;
    if (try_settle(table, watch, true)) {
        return 0;
    }
    watch->configs[watch->front] = old;
    watch->is_disabled = was_disabled;
    settle(table, watch, false);
    return -ENOMEM;
}

/* ---- What those who wait do ---- */

/* The packet's watch, whose right has come home; or NULL. */
static struct watch *take_home(struct watch_table *table, const struct nt_entry *entry)
{
    struct watch *watch = entry->key != 0 ? tocsin__watch_at(table, entry->key - 1) : NULL;
    uint64_t word;

    if (watch == NULL) {
        return NULL;
    }
    word = load(watch);
    do {
        if (generation_of(word) != entry->apc || (word & WORD_RIGHT) != WORD_ARMED) {
            return NULL; /* X5: not ours, or of somebody who was here before */
        }
    } while (!swap(watch, &word, with_right(word, WORD_HELD) & ~WORD_DIRTY));
    if ((word & WORD_DEAD) != 0) {
        finish(table, watch);
        return NULL;
    }
    take_config(watch);
    return watch;
}

/* Has the wait taken a signal that will not be there for the next one? */
static bool consumes(enum nt_type type)
{
    switch (type) {
    case NT_TYPE_EVENT_AUTO:
    case NT_TYPE_EVENT: /* it may */
    case NT_TYPE_TIMER:
    case NT_TYPE_SEMAPHORE:
        return true;
    case NT_TYPE_EVENT_MANUAL:
    case NT_TYPE_PROCESS:
    case NT_TYPE_THREAD:
    case NT_TYPE_JOB:
    case NT_TYPE_MUTANT:
    case NT_TYPE_PORT:
    case NT_TYPE_OTHER:
        break;
    }
    return false;
}

/* When a watch that was told is to be armed again. */
static uint32_t after(enum nt_type type, uint32_t events)
{
    if ((events & TOCSIN_EPOLL_ONESHOT) != 0) {
        return 0;
    }
    if ((events & TOCSIN_EPOLL_ET) == 0) {
        return WATCH_LATER;
    }
    switch (type) {
    case NT_TYPE_EVENT_AUTO:
    case NT_TYPE_SEMAPHORE:
        return WATCH_AT_ONCE;
    case NT_TYPE_PROCESS:
    case NT_TYPE_THREAD:
    case NT_TYPE_JOB:
        return 0; /* it has ended, once */
    case NT_TYPE_EVENT_MANUAL:
    case NT_TYPE_EVENT:
    case NT_TYPE_TIMER:
    case NT_TYPE_MUTANT:
    case NT_TYPE_PORT:
    case NT_TYPE_OTHER:
        break;
    }
    return WATCH_LATER;
}

/*
 * A packet says that its target was signalled when it was queued.  Where a look costs nothing but
 * the call, look again: what was reset meanwhile is not ready, as Linux sees it.
 */
static bool is_still_signaled(struct watch_table *table, const struct watch *watch)
{
    return watch->type != NT_TYPE_EVENT_MANUAL ||
           table->nt->wait_one(watch->target, 0) != NT_TIMEOUT;
}

static void note_due(struct watch_due *due, const struct watch *watch, uint64_t word)
{
    *due = (struct watch_due){
        .index = watch->index, .generation = generation_of(word), .ticket = ticket_of(word)};
}

uint32_t tocsin__watch_arrived(struct watch_table *table, const struct nt_entry *entry,
                               struct tocsin_epoll_event *event, struct watch_due *due)
{
    struct watch *watch = take_home(table, entry);
    struct watch_config config;
    uint32_t result;
    uint64_t word;

    if (watch == NULL) {
        return 0;
    }
    nt_pass(table->nt, NT_POINT_HELD);
    word = load(watch);
    if (!is_wanted(watch) || !is_still_signaled(table, watch)) {
        watch->is_latched = consumes(watch->type); /* X4 */
        note_due(due, watch, word);
        return settle(table, watch, true) ? 0 : WATCH_LATER;
    }
    config = watch->configs[watch->front];
    watch->is_disabled = (config.events & TOCSIN_EPOLL_ONESHOT) != 0;
    result = WATCH_EVENT | after(watch->type, config.events);
    do {
        if ((word & WORD_DEAD) != 0) {
            finish(table, watch);
            return 0;
        }
    } while (!swap(watch, &word, next_ticket(word))); /* X2: taken */
    *event = (struct tocsin_epoll_event){.events = TOCSIN_EPOLL_IN, .data = config.data};
    note_due(due, watch, next_ticket(word));
    nt_pass(table->nt, NT_POINT_TAKEN);
    return settle(table, watch, false) ? result : result | WATCH_LATER;
}

bool tocsin__watch_rearm(struct watch_table *table, const struct watch_due *due)
{
    struct watch *watch = tocsin__watch_at(table, due->index);
    uint64_t word = load(watch);

    do {
        if (generation_of(word) != due->generation || ticket_of(word) != due->ticket ||
            (word & WORD_RIGHT) != WORD_IDLE || (word & (WORD_DEAD | WORD_FINAL)) != 0) {
            return true; /* deleted, or somebody has armed it since */
        }
    } while (!swap(watch, &word, with_right(word, WORD_HELD)));
    return settle(table, watch, true);
}

/* ---- The table ---- */

void tocsin__watches_init(struct watch_table *table, const struct nt *nt, void *port)
{
    *table = (struct watch_table){.nt = nt, .port = port};
}

void tocsin__watches_deinit(struct watch_table *table)
{
    TOCSIN_ASSERT(table->free_count == table->count, "a watch is left");
    for (uint32_t chunk = 0; chunk < WATCH_CHUNKS_MAX; chunk++) {
        /* WATCH-3 relaxed: nobody else is here. */
        struct watch *watches = atomic_load_explicit(&table->chunks[chunk], memory_order_relaxed);

        if (watches == NULL) {
            break;
        }
        for (uint32_t i = 0; i < (uint32_t)WATCH_CHUNK_FIRST << chunk; i++) {
            if (watches[i].packet != NULL) {
                table->nt->packet_close(watches[i].packet);
            }
        }
        free(watches);
    }
}
