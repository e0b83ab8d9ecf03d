/*
 * One task: wakes, a cancel and a join from other threads against its run, its end and the pool's
 * close.
 *
 * The task's shared word (flags and references) changes by read-modify-writes, each one step here.
 * What only the pool's thread knows (queued, over, new) needs none.  That the pool comes when the
 * inbox has something in it is what wake.pml shows; here the loop simply waits for that.
 *
 *   here         there
 *   flags, refs  TASK-1, the task's word in runtime/task.c; refs 0 means the memory is gone
 *   queued ...   local_
 *   box          the inbox, in which this task's item is all; CLOSED from the pool's close on
 *   end_task     the same name in runtime/task.c, as send_to_inbox, leave_inbox and wake_here;
 *                run_task: tocsin__task_run(), arrived: tocsin__task_arrived()
 *   joiner       tocsin_join_poll() and tocsin_join_deinit() in runtime/join.c; joins_lock is the
 *                atomic around what it guards; in end_task: tocsin__joins_wake()
 *   loop         what follows its break is end_work() in runtime/pool.c
 *   pool_refs    who holds the pool's memory: the open pool, an ended task that HOLDS it
 *
 * Properties
 *   Nobody touches the task after its last reference, or the pool's memory after its last (K3).
 *   drop is called once, release once and after drop (K2); of an item's owners one pushes it (K1).
 *   No poll starts after a cancel has returned 0; -EALREADY means that the task had ended.
 *   In the end, with no help from a close: no wish of a waker is left to a live task, a cancelled
 *   task has ended, the joiner has come back.  After the close nothing is left.
 *
 * Spin cannot see a missing acquire or release: what those publish is simply there.
 *
 * Mutants: END_WITHOUT_RMW, END_GIVES_ALL, NO_REF_FOR_CALL, NO_QUEUE_REF, NO_HOLDS, CLOSED_FORGETS,
 * CLOSED_GIVES_ALL, CLEAR_AFTER_RUN, NEW_IS_WOKEN, CANCEL_WITHOUT_PUSH, JOIN_BY_LOAD.
 */
#ifndef WAKES
#define WAKES 1 /* of the waker */
#endif

#define INBOX 1
#define CANCEL 2
#define ENDED 4
#define JOINED 8
#define HOLDS 16

mtype = { EMPTY, ITEM, CLOSED };

byte flags;
byte refs = 4; /* the pool, and the three threads below */
byte pool_refs = 1;
mtype box = EMPTY;

bool queued, over, new;
bool listed, told; /* the join: in the task's list; woken */
bool wish;         /* published by the waker, taken by a poll */
bool cancelled;    /* a cancel has returned 0 */
byte dropped;
byte released;

bool early;  /* the pool may close at any moment */
bool end_it; /* or when nothing moves any more */

inline unref()
{
    atomic {
        assert(refs > 0);
        refs--;
        if
        :: refs == 0 ->
            assert(dropped == 1 && released == 0); /* K2 */
            released++;
            if
            :: (flags & HOLDS) != 0 -> pool_refs--
            :: else
            fi
        :: else
        fi }
}

inline leave_inbox()
{
    atomic { assert(refs > 0); left = (flags & ENDED) != 0; flags = flags & ~INBOX }
    if
    :: left -> unref()
    :: else
    fi
}

inline send_to_inbox(more)
{
    atomic { assert(refs > 0); old = flags; flags = flags | INBOX | more }
    if
    :: (old & (INBOX | ENDED)) == 0 ->
        atomic {
            assert(pool_refs > 0 && box != ITEM); /* K1, K3 */
            pushed = box != CLOSED;
            if
            :: pushed -> box = ITEM
            :: else
            fi }
        if
        :: pushed -> assert(pool_refs > 0) /* tocsin__pool_wake() */
        :: else ->
#if defined(CLOSED_GIVES_ALL)
            unref()
#elif !defined(CLOSED_FORGETS)
            leave_inbox()
#endif
        fi
    :: else
    fi
}

proctype waker()
{
    byte n, old;
    bool pushed, left;

    for (n : 1 .. WAKES) {
        wish = true;
        send_to_inbox(0)
    }
    unref()
}

proctype canceller()
{
    byte old;
    bool pushed, left, was_over;

    atomic { assert(refs > 0); was_over = (flags & ENDED) != 0 }
    if
    :: !was_over ->
#ifdef CANCEL_WITHOUT_PUSH
        atomic { old = flags; flags = flags | CANCEL }
#else
        send_to_inbox(CANCEL);
#endif
        was_over = (old & ENDED) != 0
    :: else
    fi;
    if
    :: was_over -> assert(over && dropped == 1) /* -EALREADY */
    :: else -> cancelled = true
    fi;
    unref()
}

proctype joiner(bool patient)
{
    byte old;

    atomic { assert(refs > 0); old = flags }
    if
    :: (old & ENDED) == 0 ->
        atomic { /* joins_lock */
            assert(refs > 0 && pool_refs > 0);
#ifndef JOIN_BY_LOAD
            old = flags;
#endif
            flags = flags | JOINED;
            listed = (old & ENDED) == 0 }
        if
        :: (old & ENDED) == 0 && patient -> told
        :: else /* hears it at once, or gives up */
        fi
    :: else
    fi;
    atomic { assert(refs > 0 && pool_refs > 0); listed = false }
    unref()
}

inline wake_here()
{
    if
#ifdef NEW_IS_WOKEN
    :: !queued && !over -> queued = true
#else
    :: !queued && !over && !new -> queued = true
#endif
    :: else
    fi
}

inline end_task()
{
    over = true;
    dropped++;
    atomic {
        assert(refs > 0);
        old = flags;
        alone = (old & ~CANCEL) == 0 && refs == 1 && !queued }
    if
    :: alone -> unref() /* nobody else can ask for it any more */
    :: else ->
        atomic {
            pool_refs++;
#ifndef NO_REF_FOR_CALL
            refs++;
#endif
#ifndef NO_QUEUE_REF
            if
            :: queued -> refs++
            :: else
            fi
#endif
        }
#ifdef END_WITHOUT_RMW
        old = flags;
        flags = old | ENDED | HOLDS;
#elif defined(NO_HOLDS)
        atomic { old = flags; flags = flags | ENDED; pool_refs-- }
#else
        atomic { old = flags; flags = flags | ENDED | HOLDS }
#endif
        if
        :: (old & JOINED) != 0 ->
            do /* joins_wake */
            :: atomic { listed -> assert(refs > 0); listed = false; told = true }
            :: atomic { !listed -> assert(refs > 0); break }
            od
        :: else
        fi;
        if
#ifdef END_GIVES_ALL
        :: true -> unref()
#else
        :: (old & INBOX) == 0 -> unref()
        :: else /* left to who clears INBOX */
#endif
        fi;
#ifndef NO_REF_FOR_CALL
        unref()
#endif
    fi
}

inline arrived()
{
    new = false;
#ifdef CLEAR_AFTER_RUN
    wake_here();
    run_task();
#endif
    leave_inbox();
#ifndef CLEAR_AFTER_RUN
    if
    :: !left -> wake_here()
    :: else
    fi
#endif
}

inline run_task()
{
    queued = false;
    if
    :: over -> unref() /* the queue's */
    :: else ->
        atomic {
            assert(refs > 0 && !new);
            old = flags;
            assert((old & CANCEL) != 0 || !cancelled) }
        if
        :: (old & CANCEL) != 0 -> end_task()
        :: else -> /* the poll */
            wish = false;
            if
            :: skip                        /* pending */
            :: end_task()                  /* ready */
            :: wakes > 0 -> wakes--; queued = true /* woke itself */
            :: wakes > 0 -> wakes--; queued = true; end_task()
            fi
        fi
    fi
}

active proctype loop()
{
    byte old, wakes = 1;
    bool alone, left, was_item;

    if /* spawned by another thread, or here */
    :: atomic { new = true; flags = INBOX; box = ITEM }
    :: queued = true
    fi;
    if
    :: early = true
    :: skip
    fi;
    if
    :: run joiner(true)
    :: run joiner(false)
    fi;
    atomic { run waker(); run canceller() }
end_wait:
    do
    :: atomic { box == ITEM -> box = EMPTY }
        arrived();
        old = 0
    :: queued ->
        run_task();
        old = 0
    :: wakes > 0 && refs > 3 && !over -> /* the poll of another task, with a waker */
        wakes--;
        wake_here()
    :: end_it -> break
    :: early -> break
    od;
    atomic { was_item = box == ITEM; box = CLOSED } /* close */
    if
    :: was_item -> arrived()
    :: else
    fi;
    if
    :: !over -> end_task()
    :: else
    fi;
    if
    :: queued -> queued = false; unref() /* the queue's */
    :: else
    fi;
    pool_refs--
}

active proctype quiet()
{
    timeout;
    assert(box != ITEM && !queued && (over || (!wish && !cancelled)));
    assert(!over || !listed);
    end_it = true;
    timeout;
    assert(refs == 0 && released == 1 && dropped == 1 && pool_refs == 0 && !listed)
}
