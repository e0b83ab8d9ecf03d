/*
 * The deferred delete: registrations closed on two threads while the loop walks batches of their
 * events.
 *
 * Two slots in a table that stays mapped.  A remote thread opens and closes one registration after
 * the other, the pool's thread does the same with one that has a callback.  Once an id was given to
 * the kernel, any batch may hold it, closed or not: a dup of the descriptor may live on, or the
 * event came before.  The pool closes in the end, or at any moment.
 *
 *   here           there
 *   live[s]        LIVE-1, the id while open; an id is slot + 2 * generation
 *   is[s]          what G1 in runtime/registrations.h says of a slot; lock: registrations.lock
 *   take, free     tocsin__registration_take_locked(), tocsin__ready_free()
 *   close, defer   tocsin_fd_ready_close(), defer() in runtime/ready.c
 *   walk_one       tocsin__ready_walk(): first tocsin__registration_find(), then deliver()
 *   free_list      tocsin__deferred_free()
 *   queued[s]      the callback is in the run queue; run_queue: tocsin__watch_run()
 *   woken          the pool's word (wake.pml)
 *   pool_refs      who holds the pool's memory: the open pool, each registration, the driver of
 *                  the remote thread while it opens, a close that defers
 *
 * Properties
 *   D1: the slot that the walk has found is not free, nor another's, when it delivers.
 *   D3: what is found is open; so no event reaches a registration after its close, nor the slot's
 *   next owner.
 *   A slot is freed once, only when closed, and never while its callback is queued.
 *   All that was deferred is freed, with no help from a close of the pool; nobody touches a pool
 *   that is gone.
 *
 * Spin cannot see a missing acquire or release, nor that wakers are dropped outside of the lock
 * (D4).
 *
 * Mutants: FREE_BY_CLOSER, FREE_DURING_WALK, NO_GENERATION, LIVE_UNTIL_FREE, FREE_QUEUED,
 * DEFER_WITHOUT_WAKE, NO_REF_FOR_WAKE, FREE_FAILED_OPEN, DEFER_BY_STORE.
 */
#define SLOTS 2
#ifndef OPENS
#define OPENS 2 /* of each thread */
#endif
#ifndef BATCHES
#define BATCHES 2 /* that are not empty */
#endif

#define IDS (SLOTS * (2 * OPENS + 1))

#define SLOT(id) ((id) % SLOTS)
#define GENERATION(id) ((id) / SLOTS)

mtype = { FREE, OPEN, SHUT };

mtype is[SLOTS] = FREE;
byte generation[SLOTS];
byte live[SLOTS];
bool callback[SLOTS], queued[SLOTS], closed_queued[SLOTS];
bool known[IDS]; /* ids that the kernel has seen */

byte deferred = SLOTS; /* the list's head; SLOTS: empty */
byte next[SLOTS];
bool lock, woken, pool_closed, early, end_it;
byte pool_refs = 1;

#define LOCK atomic { !lock -> assert(pool_refs > 0); lock = true }
#define UNLOCK atomic { assert(pool_refs > 0); lock = false }

/* A free slot, opened, or SLOTS.  The caller holds the lock. */
inline take(slot, with_callback)
{
    atomic {
        if
        :: pool_closed -> slot = SLOTS
        :: else ->
            if
            :: is[0] == FREE -> slot = 0
            :: is[0] != FREE && is[1] == FREE -> slot = 1
            :: else -> slot = SLOTS
            fi
        fi;
        if
        :: slot < SLOTS ->
            is[slot] = OPEN;
            generation[slot]++;
            callback[slot] = with_callback;
            closed_queued[slot] = false;
            live[slot] = slot + SLOTS * generation[slot];
            known[live[slot]] = true;
            pool_refs++
        :: else
        fi }
}

inline free(slot)
{
    LOCK;
    atomic {
        assert(is[slot] == SHUT && !queued[slot]);
        is[slot] = FREE;
#ifdef LIVE_UNTIL_FREE
        live[slot] = 0;
#endif
    }
    UNLOCK;
    pool_refs--
}

inline free_or_leave(slot)
{
    if
#ifndef FREE_QUEUED
    :: queued[slot] -> closed_queued[slot] = true
#endif
    :: else -> free(slot)
    fi
}

inline defer(slot)
{
#ifdef DEFER_BY_STORE
    next[slot] = deferred;
    deferred = slot;
#else
    do
    :: head = deferred;
        next[slot] = head;
        if
        :: atomic { deferred == head -> deferred = slot; break }
        :: else
        fi
    od;
    head = 0;
#endif
}

inline close(slot, here)
{
    LOCK;
    atomic {
        is[slot] = SHUT;
#ifndef LIVE_UNTIL_FREE
        live[slot] = 0;
#endif
        later = !pool_closed && !here }
#ifdef FREE_BY_CLOSER
    later = false;
#endif
    if
    :: later ->
#ifndef NO_REF_FOR_WAKE
        pool_refs++;
#endif
        defer(slot);
        UNLOCK;
#ifndef DEFER_WITHOUT_WAKE
        atomic { assert(pool_refs > 0); woken = true }
#endif
#ifndef NO_REF_FOR_WAKE
        pool_refs--
#endif
    :: else ->
        UNLOCK;
        free_or_leave(slot)
    fi
}

proctype remote()
{
    byte n, slot, head;
    bool later;

    for (n : 1 .. OPENS) {
        LOCK;
        take(slot, false);
#ifdef FREE_FAILED_OPEN
        if /* the kernel took it, but something else failed */
        :: slot < SLOTS -> live[slot] = 0; is[slot] = FREE; pool_refs--; slot = SLOTS
        :: true
        fi;
#endif
        UNLOCK;
        if
        :: n == OPENS -> pool_refs-- /* its driver, needed no more */
        :: else
        fi;
        if
        :: slot < SLOTS -> close(slot, false)
        :: else
        fi
    }
}

inline free_list()
{
    atomic { at = deferred; deferred = SLOTS }
    do
    :: at < SLOTS ->
        after = next[at];
        free_or_leave(at);
        at = after
    :: else -> break
    od
}

inline run_queue()
{
    for (at : 0 .. SLOTS - 1) {
        if
        :: queued[at] ->
            if
            :: own == at -> own = SLOTS; close(at, true) /* inside the callback */
            :: true
            fi;
            queued[at] = false;
            if
            :: closed_queued[at] -> free(at)
            :: else
            fi
        :: else
        fi
    }
    at = SLOTS
}

/* What the kernel reports: any id that it was ever given. */
inline walk_one()
{
    id = SLOTS;
    do
    :: id < IDS - 1 -> id++
    :: break
    od;
    atomic { /* find */
#ifdef NO_GENERATION
        found = known[id] && live[SLOT(id)] != 0;
#else
        found = known[id] && live[SLOT(id)] == id;
#endif
        assert(!found || is[SLOT(id)] == OPEN) } /* D3 */
#ifdef FREE_DURING_WALK
    free_list();
#endif
    if
    :: found ->
        atomic { /* deliver */
            assert(is[SLOT(id)] != FREE && generation[SLOT(id)] == GENERATION(id)); /* D1 */
            if
            :: callback[SLOT(id)] -> queued[SLOT(id)] = true
            :: else
            fi }
    :: else
    fi;
    found = false
}

active proctype loop()
{
    byte own = SLOTS, opens = OPENS, batches = BATCHES, at, after, head, id;
    bool later, found;

    if
    :: early = true
    :: true
    fi;
    atomic { pool_refs++; run remote() }
end_wait:
    do
    :: woken || batches > 0 || opens > 0 || own < SLOTS ->
        woken = false;
        free_list();
        if /* what some poll does */
        :: own == SLOTS && opens > 0 -> opens--; LOCK; take(own, true); UNLOCK
        :: own < SLOTS -> id = own; own = SLOTS; close(id, true)
        :: true
        fi;
        run_queue();
        if
        :: batches > 0 -> batches--; walk_one(); walk_one()
        :: else
        fi;
        id = 0
    :: end_it || early -> break
    od;
    run_queue();
    LOCK;
    pool_closed = true;
    UNLOCK;
    free_list();
    if
    :: own < SLOTS -> close(own, true) /* still safe */
    :: else
    fi;
    pool_refs--
}

active proctype quiet()
{
    timeout;
    assert(end_it || early || (deferred == SLOTS && is[0] == FREE && is[1] == FREE));
    end_it = true;
    timeout;
    assert(pool_refs == 0 && is[0] == FREE && is[1] == FREE && !queued[0] && !queued[1])
}
