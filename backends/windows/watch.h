/*
 * Watches: a handle each, a wait completion packet each, and one right.
 *
 * A watch is associated with the kernel again and again, by several threads, while others change
 * and delete it.  All of that goes through one word, which says who has the right to touch it:
 *
 *        idle -----> held -----> armed         idle   nobody: disabled, or told and not yet taken
 *          ^         |  ^          |           held   one thread, inside one call of ours
 *          '---------'  '----------'           armed  the kernel, or a packet that is under way
 *
 * Only the holder associates, reads the configuration, and gives up the target.  Whoever takes a
 * packet from the port finds the watch armed and takes the right home (arrived); so does a cancel
 * that succeeds.  A cancel that does not succeed leaves the right to him who finds the packet.
 * The rest of the word:
 *
 *   DEAD        deleted: whoever has the right, or gets it, ends the watch
 *   DIRTY       changed: whoever has the right, or gets it, looks at the configuration again
 *   FINAL       ended: who makes it so with no reference left, or drops the last one, recycles it
 *   references  threads that may call cancel without having the right
 *   ticket      changes when an event is taken: who was told of an older one re-arms no newer one
 *   generation  changes when it is recycled; it is in the packet, and compared on arrival
 *
 * Every step is a read-modify-write of this word, so of two threads one comes after the other and
 * sees what it did (W6).
 *
 * Invariants
 *   X1  Between two recyclings at most one packet is associated, armed or under way, and then the
 *       word says armed, whatever else it says.
 *   X2  An event is taken by a step that finds the watch alive.  A delete is a step too: no event
 *       is taken after it.
 *   X3  The target is our duplicate.  It is closed by the holder of a dead watch, once.
 *   X4  A signal that was consumed and not reported is latched, and reported when it is wanted.
 *   X5  Slots are never unmapped while the table is open, and keep their packets: a late packet or
 *       a foreign post meets a generation that is not its own, never memory that is not ours.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_WATCH_H
#define TOCSIN_BACKENDS_WINDOWS_WATCH_H

#include <stdatomic.h>

#include <tocsin/windows.h>

#include "backends/windows/nt.h"

enum {
    WATCH_CHUNK_FIRST = 64, /* the chunk k has 64 << k watches */
    WATCH_CHUNKS_MAX = 20,
};

struct watch_config {
    uint32_t events;
    uint64_t data;
};

struct watch {
    /* WATCH-1 in docs/CONCURRENCY.md: see above. */
    _Atomic(uint64_t) word;

    /*
     * WATCH-2: which of the three configurations is the newest, and whether the holder has it yet.
     * The holder reads configs[front]; whoever changes it (one at a time) writes configs[back].
     */
    atomic_uint mailbox;
    struct watch_config configs[3];
    unsigned front; /* the holder's */
    unsigned back;  /* guarded by the table's user */

    /* The holder's. */
    bool is_latched;  /* X4 */
    bool is_disabled; /* a one-shot that was reported */

    /* Constant from start to end. */
    void *packet; /* of the slot */
    void *target;
    enum nt_type type;
    uint32_t index;

    /* Guarded by the table's user. */
    void *handle;      /* the caller's: a name, never used */
    uint32_t map_next; /* index + 1 */
    uint32_t events;   /* as last asked for */
    bool is_mapped;    /* it is found by its handle */
    uint64_t name;     /* whose it is: the data that it was added with */

    uint32_t free_next; /* index + 1; while it is free */
};

struct watch_table {
    const struct nt *nt;
    void *port;
    _Atomic(struct watch *) chunks[WATCH_CHUNKS_MAX]; /* WATCH-3: written once each */
    atomic_uint recycled; /* WATCH-4: the first of a stack, index + 1; 0: empty */
    uint32_t free;        /* guarded by the table's user, and so the next */
    uint32_t count;       /* slots that exist */
    uint32_t free_count;
};

/* A watch whose event was taken, to be armed again. */
struct watch_due {
    uint32_t index;
    uint32_t generation;
    uint32_t ticket;
};

/* What came of an entry. */
enum {
    WATCH_EVENT = 1 << 0,   /* *@event is taken */
    WATCH_LATER = 1 << 1,   /* *@due is to be armed at the next wait */
    WATCH_AT_ONCE = 1 << 2, /* *@due is to be armed before this wait returns */
};

/* Thread of start, change, kill, drain: one at a time.  All others: any. */

void tocsin__watches_init(struct watch_table *table, const struct nt *nt, void *port);
/* Every slot is free. */
void tocsin__watches_deinit(struct watch_table *table);

/* The watch of slot @index; NULL: there is no such slot. */
struct watch *tocsin__watch_at(struct watch_table *table, uintptr_t index);

/*
 * Watch @handle.  Returns 0, -ENOMEM, -EACCES, -EPERM or -EBADF.
 */
int tocsin__watch_start(struct watch_table *table, void *handle, const struct watch_config *config,
                        struct watch **out_watch);

/* Change it: also what it was told already is looked at again.  -ENOMEM: as it was. */
int tocsin__watch_change(struct watch_table *table, struct watch *watch,
                         const struct watch_config *config);

/* X2: when this has returned, no event of it is taken any more. */
void tocsin__watch_kill(struct watch_table *table, struct watch *watch);

/* Take in what was recycled.  True: all slots are free. */
bool tocsin__watches_drain(struct watch_table *table);

/*
 * What came from the port, whatever it is.  Returns: WATCH_EVENT and so on, as it applies.
 */
uint32_t tocsin__watch_arrived(struct watch_table *table, const struct nt_entry *entry,
                               struct tocsin_epoll_event *event, struct watch_due *due);

/* Arm again what was told.  False: no memory, try it again; nothing has changed. */
bool tocsin__watch_rearm(struct watch_table *table, const struct watch_due *due);

#endif
