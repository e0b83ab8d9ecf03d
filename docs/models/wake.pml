/*
 * The pool's word, the inbox and the kick: two threads wake two tasks of a pool that otherwise
 * sleeps for ever.
 *
 * Each read-modify-write of one atomic is one step here, and so is each plain load or store of what
 * another thread may touch; everything in between can be interleaved.  The deadline in the word is
 * left out: timer.pml has it.
 *
 *   here        there
 *   word        bits ASLEEP and WOKEN of the pool's word
 *   kicked      the eventfd: set by a kick, taken by the wait step or a look, never lost
 *   post        tocsin__wake_post() in runtime/wake.c; in the same file try_sleep:
 *               tocsin__wake_try_sleep(), waited: tocsin__wake_waited(), begin_turn:
 *               tocsin__wake_begin_turn()
 *   push        tocsin__inbox_push() in runtime/inbox.c; take_inbox: tocsin__inbox_take() there,
 *               and tocsin__inbox_drain() in runtime/turn.c
 *   flag[t]     INBOX in the task's state: whoever set it owns next[t] until the drain clears it
 *   wish[t]     what a thread published before it woke task t; a poll of t takes it
 *
 * Properties
 *   No lost wake: when nothing can move any more, no wish is left and the inbox is empty (W2, W4).
 *   W1: a sleep gets at most one kick, and only a pool that is asleep is kicked.
 *   W5: begin_turn never finds Sleeping, try_sleep never finds ASLEEP.
 *   The inbox loses no item and gives none twice.
 *
 * Spin runs one step after the other: what a weakly ordered machine does out of order (W6) has to
 * be written out, as STORE_IN_BEGIN and LOAD_BEFORE_WAKE do.  That the orders in the C code forbid
 * it is not shown here.
 *
 * Mutants: STORE_IN_BEGIN, DRAIN_BEFORE_BEGIN, LOAD_BEFORE_WAKE, SLEEP_WITHOUT_SWAP,
 * NEXT_AFTER_CLEAR, LOOK_AFTER_TRY_SLEEP, KICK_EACH.
 */
#define TASKS 2
#ifndef WAKES
#define WAKES 2 /* of each thread */
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 1 /* waits that end for no reason: EINTR, or somebody else's event */
#endif

#define RUNNING 0
#define ASLEEP 1
#define WOKEN 2

byte word = RUNNING;
bool kicked;
bool late; /* STORE_IN_BEGIN: the store of 0 is still in the processor's store buffer */

byte head; /* of the inbox; 0: empty, else a task */
byte next[TASKS + 1];
bool flag[TASKS + 1];

bool wish[TASKS + 1];
bool queued[TASKS + 1];
byte kicks; /* won since the pool last fell asleep */

/* Who reads or writes the word sees the loop's own store first, if it is the loop itself. */
#define SETTLE if :: late -> word = RUNNING; late = false :: else fi

inline push(task)
{
    do
    :: seen = head;
       next[task] = seen;
       if
       :: atomic { head == seen -> head = task; break }
       :: else
       fi
    od
}

inline post()
{
    atomic { was = word; word = word | WOKEN;
        if
#ifdef KICK_EACH
        :: (was & ASLEEP) != 0 ->
#else
        :: was == ASLEEP ->
#endif
            kicks++;
            assert(kicks == 1) /* W1 */
        :: else -> was = RUNNING
        fi }
    if
    :: was != RUNNING -> kicked = true
    :: else
    fi
}

proctype remote()
{
    byte n, t, seen, was, early;

    do
    :: n < WAKES ->
        n++;
        select(t : 1 .. TASKS);
        wish[t] = true;
        atomic { was = flag[t]; flag[t] = true }
        if
        :: was == 0 ->
#ifdef LOAD_BEFORE_WAKE
            early = word; /* W6: a load may be satisfied before the push is visible */
            push(t);
            if
            :: early == RUNNING || early == ASLEEP -> post()
            :: else
            fi
#else
            push(t);
            post()
#endif
        :: else /* whoever set it pushes and wakes */
        fi
    :: else -> break
    od
}

inline take_inbox()
{
    at = head;
    if
    :: at != 0 -> atomic { at = head; head = 0 }
    :: else
    fi;
    do
    :: at != 0 ->
#ifdef NEXT_AFTER_CLEAR
        flag[at] = false;
        after = next[at];
#else
        after = next[at];
        flag[at] = false;
#endif
        assert(!queued[at]);
        queued[at] = true;
        at = after
    :: else -> break
    od
}

inline begin_turn()
{
#ifdef STORE_IN_BEGIN
    late = true /* W6: a store may be delayed past the exchange that empties the inbox */
#else
    atomic { assert(word != ASLEEP); word = RUNNING } /* W5 */
#endif
}

active proctype loop()
{
    byte at, after, t, interrupts;
    bool slept;

    do
    ::
#ifdef DRAIN_BEFORE_BEGIN
        take_inbox();
        begin_turn();
#else
        begin_turn();
        take_inbox();
#endif
        for (t : 1 .. TASKS) {
            if
            :: queued[t] -> queued[t] = false; wish[t] = false
            :: else
            fi
        }
        if
        :: kicked = false /* a look: takes a kick that came late */
        :: skip
        fi;
#ifdef SLEEP_WITHOUT_SWAP
        slept = word == RUNNING;
        if
        :: slept -> atomic { word = ASLEEP; kicks = 0 }
        :: else
        fi;
#else
        atomic {
            SETTLE;
            assert((word & ASLEEP) == 0); /* W5 */
            slept = word == RUNNING;
            if
            :: slept -> word = ASLEEP; kicks = 0
            :: else
            fi }
#endif
        if
        :: slept ->
#ifdef LOOK_AFTER_TRY_SLEEP
            kicked = false;
#endif
end_wait:   if
            :: atomic { kicked -> kicked = false }
            :: atomic { interrupts < INTERRUPTS -> interrupts++ }
            fi;
            word = word | WOKEN
        :: else
        fi
    od
}

active proctype store_buffer()
{
end: do
    :: atomic { late -> word = RUNNING; late = false }
    od
}

active proctype quiet()
{
    byte t;

    timeout; /* nothing can move */
    assert(head == 0);
    for (t : 1 .. TASKS) {
        assert(!wish[t] && !queued[t])
    }
}

init
{
    atomic { run remote(); run remote() }
}
