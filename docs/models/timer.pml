/*
 * A timer moved by two other threads, to earlier and to later times, while the pool sleeps until a
 * deadline.
 *
 * Each read-modify-write of one atomic is one step, as is each plain load or store.  Time is a
 * small number that goes on in waits and in turns; another deadline of the pool, OTHER, makes
 * sleeps end for reasons of their own.
 *
 *   here             there
 *   word             the pool's word: ASLEEP, WOKEN, and above them the deadline of the sleep
 *   move             move_ns_ of the timer: the deadline that somebody asks for; 0: none
 *   inbox            the timer's item is in the inbox; who finds move 0 owns the item, pushes it
 *   armed            the timer's deadline in the heap
 *   mover            tocsin_timer_move() in runtime/timer.c
 *   wake_for_timer   tocsin__wake_for_timer() in runtime/wake.c, a compare-and-swap loop
 *   take_inbox       tocsin__inbox_drain() in runtime/turn.c, and tocsin__timer_arrived()
 *
 * Properties
 *   While no move is under way, a pool that is blocked, with no kick to come, sleeps no longer than
 *   until the deadline asked for last.
 *   T1: the timer fires at its deadline or after it.  The last move counts, and is served at last.
 *   T3: a deadline that is not earlier than the sleep's does not kick; earlier ones kick once.
 *
 * Of two threads that move at once, the first owns the item; the second leaves its deadline in move
 * and may return before the item is pushed.  So the first reads move again after its push, by a
 * read-modify-write, and wakes for what it finds there.
 *
 * What Spin cannot see is that these must be read-modify-writes (W6): it runs one step after the
 * other.  LOAD_IN_TIMER writes out what a load would allow.
 *
 * Mutants: FETCH_OR_IN_TIMER, LOAD_IN_TIMER, NO_SECOND_LOOK, WAKE_FOR_TIMER_KICKS, DRAIN_BY_LOAD,
 * DEADLINE_BEFORE_DRAIN, FIRE_EARLY.
 */
#define EARLIER 1 /* what the threads ask for: this */
#define OTHER 2   /* another timer's deadline, once */
#define FIRST 3   /* what the timer starts with */
#define LATER 4   /* or this; the clock stops here */
#define NEVER 7
#ifndef MOVES
#define MOVES 2 /* of one thread; the other moves once */
#endif

#define ASLEEP 1
#define WOKEN 2

byte word;
bool kicked;
bool blocked; /* the loop is in the wait step */
byte now;

byte move;
bool inbox;
byte armed = FIRST;
byte other = OTHER;

byte last = FIRST; /* the deadline asked for last; NEVER: it has fired */
byte moving;       /* threads inside tocsin_timer_move() */
byte kicks;        /* since the pool last fell asleep */

#define UNTIL(w) ((w) >> 2)

inline kick(t)
{
    kicks++;
    assert(kicks == 1 && t < UNTIL(old)) /* T3 */
}

inline wake_for_timer(t)
{
#ifdef LOAD_IN_TIMER
    if
    :: (old & (ASLEEP | WOKEN)) == ASLEEP && t >= UNTIL(old) -> goto moved
    :: else
    fi;
#endif
    old = word;
    do
    :: atomic { /* compare and swap */
        word == old ->
            if
            :: (old & ASLEEP) == 0 -> word = WOKEN; old = 0
#ifdef WAKE_FOR_TIMER_KICKS
            :: (old & (ASLEEP | WOKEN)) == ASLEEP ->
#else
            :: (old & (ASLEEP | WOKEN)) == ASLEEP && t < UNTIL(old) ->
#endif
                word = old | WOKEN;
                kick(t)
            :: else ->
#ifdef FETCH_OR_IN_TIMER
                word = old | WOKEN; /* instead of the word for itself */
#endif
                old = 0
            fi;
            break
       }
    :: atomic { word != old -> old = word }
    od;
    if
    :: old != 0 -> kicked = true
    :: else
    fi
}

proctype mover(byte n)
{
    byte t, was, old;

    do
    :: n > 0 ->
        atomic {
            if
            :: t = EARLIER
            :: t = LATER
            fi;
            n--;
            moving++;
            was = move;
            move = t;
            last = t }
#ifdef LOAD_IN_TIMER
        old = word; /* W6: a load may be satisfied before the push is visible */
#endif
        if
        :: was == 0 ->
            atomic { assert(!inbox); inbox = true }
#ifndef NO_SECOND_LOOK
            atomic {
                if
                :: move != 0 && move < t -> t = move
                :: else
                fi }
#endif
        :: else
        fi;
        wake_for_timer(t);
moved:  atomic { moving--; t = 0; was = 0; old = 0 }
    :: else -> break
    od
}

inline take_inbox()
{
    atomic { got = inbox; inbox = false }
    if
    :: got ->
#ifdef DRAIN_BY_LOAD
        armed = move;
        move = 0
#else
        atomic { armed = move; move = 0 }
#endif
        assert(armed != 0)
    :: else
    fi
}

inline least_deadline()
{
    if
    :: armed < other -> until = armed
    :: else -> until = other
    fi
}

active proctype loop()
{
    byte until;
    bool got, slept;

    do
    ::
#ifdef DEADLINE_BEFORE_DRAIN
        least_deadline();
#endif
        atomic { assert((word & (ASLEEP | WOKEN)) != ASLEEP); word = 0 } /* begin_turn, W5 */
        take_inbox();
        if
#ifdef FIRE_EARLY
        :: armed <= now + 1 ->
#else
        :: armed <= now ->
#endif
            assert(now >= armed); /* T1 */
            atomic {
                armed = NEVER;
                if
                :: move == 0 -> last = NEVER
                :: else
                fi }
        :: else
        fi;
        if
        :: other <= now -> other = NEVER
        :: else
        fi;
#ifndef DEADLINE_BEFORE_DRAIN
        least_deadline();
#endif
        atomic { /* try_sleep */
            slept = word == 0;
            if
            :: slept -> word = ASLEEP | (until << 2); kicks = 0
            :: else
            fi }
        if
        :: slept ->
            blocked = true;
end_wait:   if
            :: atomic { kicked -> kicked = false; blocked = false }
            :: atomic { now >= until -> blocked = false }
            :: atomic { now < until && now < LATER -> now++; goto end_wait }
            fi;
            word = word | WOKEN /* waited */
        :: !slept && now < LATER -> now++ /* a long turn */
        :: else
        fi;
        atomic { slept = false; until = 0; got = false }
    od
}

/* What must be true at every moment: this wakes up when it is not. */
active proctype watch()
{
end:
    atomic {
        blocked && !kicked && moving == 0 && UNTIL(word) > last ->
        assert(false) /* sleeps past the deadline asked for */
    }
}

active proctype quiet()
{
    timeout; /* nothing can move, and the clock is past every deadline */
    assert(move == 0 && !inbox && armed == NEVER && last == NEVER)
}

init
{
    atomic { run mover(MOVES); run mover(1) }
}
