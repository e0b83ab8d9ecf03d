/*
 * One operation: its owner's cancel, drop and second submission on another thread, or its drop on
 * the pool's thread, against its completion and the pool's close.
 *
 * The op's word changes by read-modify-writes, each one step here.  That the pool comes when the
 * remote queue has something in it is what remote.pml shows; here the loop simply waits for that.
 *
 *   here       there
 *   word       OP-1, state_ in backends/ring/op.c, with the same bits; gone: the op was released
 *   box        the remote queue: SUBMIT is the op's item_, TELL its control_; shut: it has closed
 *   slot       the kernel, a queue or the stash has the op, under a slot; asked: and a request to
 *              cancel it, which finds it (U3 is the slot's generation, and not modelled)
 *   submitted  submission_arrived(), told: control_arrived(), finish: finish(), with store() and
 *              call_last() in it, give_back and release: the same, all in op.c
 *   loop       what is after ENDING is end() in backends/ring/host.c
 *   in_drop    tocsin_uring_drop() on the pool's thread has the queue arrive before it returns
 *   pool_refs  who holds the pool's memory: the open pool, the op, a call on another thread
 *
 * Properties
 *   Nobody touches the op after its release, or the pool's memory after its last reference.
 *   Each result is told once: to the complete hook, to a poll, or as late.
 *   After a drop on the pool's thread has begun, the complete hook is not called.
 *   With no help from a close: an op that was dropped is released, and one that was cancelled is
 *   not in flight.  After the close nothing is left.
 *
 * Spin cannot see a missing acquire or release: what those publish is simply there.
 *
 * Mutants: ORPHAN_BY_LOAD, NO_ORPHAN, GIVE_ALL, RELEASE_IN_CALL, CANCEL_BEFORE_SUBMIT,
 * DROP_BY_LOAD, LOOK_AFTER_DONE, SETTLE_FIRST, NO_REF_FOR_CALL, UNDO_FORGOTTEN.
 */
#define FLIGHT 1
#define DONE 2
#define DROPPED 4
#define CONTROL 8
#define WANT 16 /* a cancel */
#define REMOTE 32
#define ORPHAN 64
#define CALLING 128

mtype = { SUBMIT, TELL };
mtype = { OPEN, ENDING, SHUT };

byte word = FLIGHT;
bool gone;
chan box = [2] of { mtype };
bool shut;
mtype phase = OPEN;

bool slot, asked;
bool idle;      /* completes only if it is asked to */
byte pool_refs = 2;
byte results;   /* that were not told */
bool heard;     /* the owner was told of the first one */
bool here;      /* the pool's thread drops the op, and the owner only cancels it */
bool owner_out; /* the owner has made its last call */
bool drop_out;  /* a drop has begun here, or returned elsewhere */
bool in_drop;
bool cancelled; /* a cancel has returned 0 since the last submission */

bool early, end_it;

#define CHANGE(off, on) atomic { assert(!gone); old = word; word = (word & ~(off)) | (on) }

inline release()
{
    atomic {
        assert(!gone && (word & (FLIGHT | CALLING)) == 0);
        if
        :: (word & DONE) != 0 -> results-- /* late */
        :: else
        fi;
        gone = true;
        assert(pool_refs > 0);
        pool_refs-- }
}

/* ---- The pool's thread ---- */

inline give_back()
{
    if
#ifdef GIVE_ALL
    :: true -> release()
#else
    :: (old & CONTROL) == 0 || (old & ORPHAN) != 0 -> release()
#endif
    :: else /* who takes the message, or finds the queue closed, releases */
    fi
}

inline told()
{
    CHANGE(CONTROL, 0);
    if
#ifndef CANCEL_BEFORE_SUBMIT
    :: (old & REMOTE) != 0 /* the submission comes behind it, and will see */
#endif
    :: (old & (REMOTE | FLIGHT)) == FLIGHT && (old & (DROPPED | WANT)) != 0 ->
        assert(slot);
        asked = true
#ifdef RELEASE_IN_CALL
    :: (old & (FLIGHT | DROPPED)) == DROPPED -> release()
#else
    :: (old & (FLIGHT | DROPPED | CALLING)) == DROPPED -> release()
#endif
    :: else
    fi
}

inline drop_in_hook()
{
    CHANGE(0, DROPPED | WANT);
    drop_out = true;
    if
    :: (old & CONTROL) != 0 -> box ? TELL; told()
    :: else
    fi
}

inline finish()
{
    results++;
    atomic { assert(!gone); old = word }
    if
    :: (old & DROPPED) != 0 ->
        results--; /* late */
        CHANGE(FLIGHT, 0);
        give_back()
    :: (old & DROPPED) == 0 && polling ->
#ifdef LOOK_AFTER_DONE
        CHANGE(FLIGHT, DONE);
        atomic { assert(!gone); old = word }
#else
        CHANGE(FLIGHT, DONE);
#endif
        if
        :: (old & DROPPED) != 0 -> give_back()
        :: else -> heard = true /* the waker; the op may be gone */
        fi
    :: (old & DROPPED) == 0 && !polling ->
        CHANGE(FLIGHT, CALLING);
        results--; /* late, or */
        if
        :: (old & DROPPED) == 0 -> /* complete() */
            assert(!in_drop && !(here && drop_out));
            heard = true;
            if
            :: here && owner_out -> drop_in_hook()
            :: true
            fi
        :: else
        fi;
        CHANGE(CALLING, 0);
        if
        :: (old & (DROPPED | FLIGHT)) == DROPPED -> give_back()
        :: else
        fi
    fi
}

inline submitted()
{
    if
    :: phase == OPEN ->
        slot = true;
        CHANGE(REMOTE, 0);
        if
#ifndef CANCEL_BEFORE_SUBMIT
        :: (old & (DROPPED | WANT)) != 0 && (old & CONTROL) == 0 -> asked = true
#endif
        :: else /* or the message is still to come */
        fi
    :: else ->
        CHANGE(REMOTE, 0);
        finish()
    fi
}

active proctype loop()
{
    byte old;
    bool polling;

    if :: polling = true :: skip fi;
    if :: idle = true :: skip fi;
    if :: here = true :: skip fi;
    if :: early = true :: skip fi; /* the pool may close at any moment */
    if
    :: slot = true
    :: word = FLIGHT | REMOTE; box ! SUBMIT
    fi;
    run owner();
end_wait:
    do
    :: box ? SUBMIT -> submitted(); old = 0
    :: box ? TELL -> told(); old = 0
    :: in_drop && empty(box) ->
#ifdef SETTLE_FIRST
        CHANGE(0, DROPPED | WANT);
        if
        :: (old & FLIGHT) != 0 -> asked = true
        :: else -> release()
        fi;
        old = 0;
#endif
        in_drop = false
    :: !in_drop && slot && (asked || !idle) ->
        atomic { slot = false; asked = false }
        finish();
        old = 0
    :: !in_drop && here && owner_out && !drop_out ->
#ifdef SETTLE_FIRST
        old = 0;
        atomic { drop_out = true; in_drop = true }
#else
        CHANGE(0, DROPPED | WANT);
        atomic { drop_out = true; in_drop = (old & (REMOTE | CONTROL)) != 0 }
        if
        :: in_drop
        :: !in_drop && (old & FLIGHT) != 0 -> asked = true
        :: !in_drop && (old & FLIGHT) == 0 -> release()
        fi;
        old = 0
#endif
    :: !in_drop && phase == OPEN && (early || end_it) ->
        phase = ENDING;
        if
        :: slot -> asked = true
        :: else
        fi
    :: !in_drop && phase == ENDING && !slot -> atomic { phase = SHUT; shut = true }
    :: !in_drop && phase == SHUT && empty(box) && (!here || drop_out) -> break
    od;
    assert(pool_refs > 0);
    pool_refs--
}

/* ---- The owner, on another thread ---- */

inline send(message)
{
    atomic {
        assert(pool_refs > 0);
        pushed = !shut;
        if
        :: pushed -> assert(nfull(box)); box ! message
        :: else
        fi }
    if
    :: pushed -> assert(pool_refs > 0) /* tocsin__pool_wake() */
    :: else
    fi
}

#ifdef NO_REF_FOR_CALL
#define CALL_REFS 0
#else
#define CALL_REFS 1
#endif

inline call_begins()
{
    atomic { assert(pool_refs > 0); pool_refs = pool_refs + CALL_REFS }
}

inline call_ends()
{
    atomic { assert(pool_refs >= CALL_REFS); pool_refs = pool_refs - CALL_REFS }
}

inline cancel()
{
    atomic { assert(!gone); old = word }
    if
    :: (old & FLIGHT) != 0 ->
        call_begins();
        CHANGE(0, WANT | CONTROL);
        if
        :: (old & CONTROL) == 0 -> send(TELL)
        :: else -> pushed = true /* by who set it */
        fi;
        if
        :: !pushed ->
#ifndef UNDO_FORGOTTEN
            CHANGE(CONTROL, 0)
#endif
        :: else -> cancelled = true
        fi;
        call_ends()
    :: else /* -EALREADY */
    fi
}

inline submit_again()
{
    heard;
    if /* the poll that takes the result, if there is none of the hook */
    :: (word & DONE) != 0 -> CHANGE(DONE, 0); results--
    :: else
    fi;
    atomic { assert((word & (FLIGHT | DONE | DROPPED)) == 0); cancelled = false; idle = true }
    CHANGE(WANT, FLIGHT | REMOTE);
    send(SUBMIT);
    if
    :: !pushed -> CHANGE(FLIGHT | REMOTE, 0)
    :: else
    fi
}

inline drop()
{
    call_begins();
#ifdef DROP_BY_LOAD
    atomic { assert(!gone); old = word }
    atomic { assert(!gone); word = word | DROPPED | CONTROL }
#else
    CHANGE(0, DROPPED | CONTROL);
#endif
    if
    :: (old & CONTROL) != 0 /* the message that is on its way says it all */
    :: (old & CONTROL) == 0 && (old & (FLIGHT | CALLING)) == 0 -> release()
    :: (old & CONTROL) == 0 && (old & (FLIGHT | CALLING)) != 0 ->
        send(TELL);
        if
        :: !pushed ->
#if defined(ORPHAN_BY_LOAD)
            atomic { assert(!gone); old = word }
            if
            :: (old & (FLIGHT | CALLING)) != 0 -> word = word | ORPHAN
            :: else
            fi;
#elif defined(NO_ORPHAN)
            old = FLIGHT;
#else
            CHANGE(0, ORPHAN);
#endif
            if
            :: (old & (FLIGHT | CALLING)) == 0 -> release()
            :: else
            fi
        :: else
        fi
    fi;
    drop_out = true;
    call_ends()
}

proctype owner()
{
    byte old;
    bool pushed;

    if :: cancel() :: skip fi;
    if
    :: here
    :: !here ->
        if
        :: submit_again(); if :: cancel() :: skip fi
        :: skip
        fi;
        drop()
    fi;
    owner_out = true
}

active proctype quiet()
{
    timeout; /* nothing can move */
    assert(!drop_out || gone);
    assert(!cancelled || (word & FLIGHT) == 0);
    end_it = true;
    timeout;
    assert(gone && pool_refs == 0 && results == 0 && empty(box))
}
