/*
 * The remote queue's packed word together with the pool's word: two threads publish items, two
 * each, to a pool that otherwise sleeps for ever, and that gets its ring from the first of them.
 *
 * Each read-modify-write of one atomic is one step here, and so is each plain load or store of what
 * another thread may touch; everything in between can be interleaved.
 *
 *   here        there
 *   intent      bit 0 of REMOTE-1, the word in backends/ring/remote.c
 *   count       the rest of that word; one step changes or reads both
 *   noted       processed of struct remote
 *   box         how many items are in the queue's inbox, whose links wake.pml has
 *   made        RING-2: there is a ring, and so a queue to look at
 *   word        bits ASLEEP and WOKEN of the pool's word; kicked: the eventfd
 *   publish     submit_remotely() in backends/ring/op.c: tocsin__uring_host_get(),
 *               tocsin__remote_push(), tocsin__pool_wake()
 *   take        tocsin__remote_take(), with disarm() in it, of tocsin__uring_harvest()
 *   arm         tocsin__remote_arm(), of tocsin__uring_host_prepare()
 *   loop        the rest: tocsin__turn_begin() and tocsin__turn_sleep()
 *
 * Properties
 *   No published item is slept over: when nothing can move any more, the queue is empty (Q2).
 *   Each item is taken once (Q1).
 *   W1: a sleep gets at most one kick, and only a pool that is asleep is kicked.
 *   Only who finds INTENT wakes, and between take and arm there is none to find: a busy pool is not
 *   written to but for the count.
 *
 * Spin runs one step after the other: what a weakly ordered machine does out of order (W6) has to
 * be written out, as LOAD_FOR_ADD does.
 *
 * Mutants: NO_RECHECK, LOAD_FOR_ADD, NOTE_AFTER_TAKE, ADD_BEFORE_PUSH, ARM_BY_STORE, FIRST_UNARMED,
 * KICK_BY_INTENT, NO_DISARM.
 */
#ifndef ITEMS
#define ITEMS 2 /* of each thread */
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 1 /* waits that end for no reason: EINTR, or somebody else's event */
#endif

#define RUNNING 0
#define ASLEEP 1
#define WOKEN 2

byte word = RUNNING;
bool kicked;
byte kicks; /* won since the pool last fell asleep */

#ifdef FIRST_UNARMED
bool intent;
#else
bool intent = true;
#endif
byte count;
byte noted; /* the loop's */
bool made;
byte box;
byte taken;
bool busy; /* between a take and the arm that follows */

inline post()
{
    atomic { was = word; word = word | WOKEN;
        if
        :: was == ASLEEP -> kicks++; assert(kicks == 1) /* W1 */
        :: else -> was = RUNNING
        fi }
    if
    :: was != RUNNING -> kicked = true
    :: else
    fi;
    was = 0
}

proctype publisher()
{
    byte n, was;
    bool told;

    do
    :: n < ITEMS ->
        n++;
        made = true;
#if defined(LOAD_FOR_ADD)
        told = intent; /* W6: a load may be satisfied before the push is visible */
        box++;
        count++;
#elif defined(ADD_BEFORE_PUSH)
        atomic { told = intent; count++ }
        box++;
#else
        box++;
        atomic { told = intent; count++; assert(!told || !busy) }
#endif
        if
#ifdef KICK_BY_INTENT
        :: told ->
            atomic { kicks++; assert(kicks == 1) }
            word = word | WOKEN;
            kicked = true
#else
        :: told -> post()
#endif
        :: else /* the pool looks by itself */
        fi;
        told = false
    :: else -> break
    od
}

inline disarm()
{
    atomic { seen = count; armed = intent } /* the load */
    if
#ifdef NO_DISARM
    :: armed -> busy = true
#else
    :: armed -> atomic { seen = count; intent = false; busy = true }
#endif
    :: else
    fi;
    noted = seen;
    atomic { seen = 0; armed = false }
}

inline take()
{
#ifndef NOTE_AFTER_TAKE
    disarm();
#endif
    if
    :: box > 0 -> atomic { taken = taken + box; box = 0 }
    :: else
    fi;
#ifdef NOTE_AFTER_TAKE
    disarm()
#endif
}

inline arm()
{
#ifdef ARM_BY_STORE
    seen = count;
    atomic { count = seen; intent = true; busy = false }
#else
    atomic { seen = count; intent = true; busy = false }
#endif
    if
#ifndef NO_RECHECK
    :: seen != noted -> atomic { intent = false; busy = true; slept = false }
#endif
    :: else -> slept = true
    fi;
    seen = 0
}

active proctype loop()
{
    byte seen, interrupts;
    bool armed, slept;

    do
    ::
        atomic { assert(word != ASLEEP); word = RUNNING } /* W5 */
        if
        :: made -> take()
        :: else
        fi;
        if
        :: kicked = false /* a look: takes a kick that came late */
        :: skip
        fi;
        if
        :: made -> arm()
        :: else -> slept = true
        fi;
        if
        :: slept ->
            atomic {
                assert((word & ASLEEP) == 0); /* W5 */
                slept = word == RUNNING;
                if
                :: slept -> word = ASLEEP; kicks = 0
                :: else
                fi }
        :: else
        fi;
        if
        :: slept ->
end_wait:   if
            :: atomic { kicked -> kicked = false }
            :: atomic { interrupts < INTERRUPTS -> interrupts++ }
            fi;
            word = word | WOKEN
        :: else
        fi;
        slept = false
    od
}

active proctype quiet()
{
    timeout; /* nothing can move */
    assert(box == 0 && taken == 2 * ITEMS)
}

init
{
    atomic { run publisher(); run publisher() }
}
