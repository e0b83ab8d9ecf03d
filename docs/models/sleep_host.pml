/*
 * A hosted pool: another loop watches one descriptor and calls a turn when it is readable.
 *
 * Between turns the word is Sleeping(next deadline), or a kick was left in the descriptor because
 * work remains.  Between turns the host's own thread wakes and arms as a remote one does; another
 * thread wakes whenever it likes.  A turn runs at most one poll, so that work may remain.
 *
 *   here        there
 *   word        the pool's word: ASLEEP, WOKEN, above them the deadline
 *   kicked      the eventfd has an edge that no look has taken
 *   ticked      the same of the timerfd; hosted is what it is set to: be_epoll_host() in
 *               backends/epoll/epoll.c
 *   box, flag   one task's item in the inbox, INBOX in its state (wake.pml has the inbox itself)
 *   turn        tocsin_pool_turn() in runtime/run.c, park: park_hosted() there
 *
 * Properties
 *   When the host's thread waits and nothing else moves, nothing is left: no item in the inbox,
 *   nothing queued, no timer due.
 *   W1: each sleep gets at most one kick.  W5: no impossible transition.
 *   Turns come to rest: the descriptor does not stay readable for nothing.
 *
 * The host is one that watches for the level; Spin sees nothing of weak orders (W6).
 *
 * Mutants: NO_KICK_FOR_WORK, NO_KICK_FOR_WOKEN, NO_KICK_FOR_DUE, LOCAL_BETWEEN_TURNS,
 * LOOK_AFTER_PARK, HOST_BEFORE_BATCH, NO_WAITED, KICK_EACH_TURN.
 */
#define ASLEEP 1
#define WOKEN 2
#define UNTIL(w) ((w) >> 2)

#define END 3 /* the clock stops here */
#define NEVER 7
#ifndef WAKES
#define WAKES 2 /* of each thread */
#endif

byte word;
bool kicked, ticked, set;
byte hosted = NEVER;
byte now;

bool box, flag;
byte queued;
byte due = NEVER;
byte kicks; /* won since the pool last fell asleep */
byte turns; /* since something happened that asks for one */

inline post(old)
{
    atomic {
        old = word;
        word = word | WOKEN;
        if
        :: (old & (ASLEEP | WOKEN)) == ASLEEP -> kicks++; assert(kicks == 1) /* W1 */
        :: else -> old = 0
        fi }
    if
    :: old != 0 -> atomic { kicked = true; turns = 0 }
    :: else
    fi
}

inline wake(old)
{
    atomic { old = flag; flag = true }
    if
    :: old == 0 -> box = true; post(old)
    :: else
    fi
}

active proctype remote()
{
    byte n, old;

    for (n : 1 .. WAKES) {
        wake(old)
    }
}

/* What the host's thread does with the pool between two turns. */
inline between_turns()
{
    if
    :: wakes > 0 ->
        wakes--;
#ifdef LOCAL_BETWEEN_TURNS
        queued++
#else
        wake(old)
#endif
    :: arms > 0 ->
        arms--;
        select(due : 1 .. 2);
        atomic { /* tocsin__wake_for_timer() in one step: timer.pml has its loop */
            old = word;
            if
            :: (word & ASLEEP) == 0 -> word = WOKEN; old = 0
            :: (word & (ASLEEP | WOKEN)) == ASLEEP && due < UNTIL(word) ->
                word = word | WOKEN;
                kicks++;
                assert(kicks == 1)
            :: else -> old = 0
            fi }
        if
        :: old != 0 -> atomic { kicked = true; turns = 0 }
        :: else
        fi
    :: true
    fi
}

inline look()
{
    atomic { kicked = false; ticked = false }
}

inline host()
{
    atomic {
        if
        :: hosted != due -> hosted = due; ticked = false; set = due != NEVER
        :: else /* still set, or it has fired */
        fi }
}

inline park()
{
#ifndef HOST_BEFORE_BATCH
    host();
#endif
    if
#ifndef NO_KICK_FOR_WORK
    :: queued > 0 -> kicked = true
#endif
#ifndef NO_KICK_FOR_DUE
    :: queued == 0 && due <= seen -> kicked = true
#endif
    :: else ->
        atomic { /* try_sleep */
            assert((word & ASLEEP) == 0);
            old = word;
            if
            :: word == 0 -> word = ASLEEP | (due << 2); kicks = 0
            :: else
            fi }
        if
#ifndef NO_KICK_FOR_WOKEN
        :: old != 0 -> kicked = true
#endif
        :: else
        fi
    fi;
#ifdef KICK_EACH_TURN
    kicked = true;
#endif
#ifdef LOOK_AFTER_PARK
    look()
#endif
}

inline turn()
{
    assert(turns < 6); /* at rest by then */
    turns++;
#ifndef NO_WAITED
    if /* enter */
    :: (word & ASLEEP) != 0 -> word = word | WOKEN
    :: else
    fi;
#endif
    look();
    atomic { assert((word & (ASLEEP | WOKEN)) != ASLEEP); word = 0 } /* begin_turn */
    if
    :: atomic { box -> box = false }
        flag = false;
        queued++
    :: else
    fi;
    seen = now;
    if
    :: due <= seen && arms > 0 -> arms--; turns = 0 /* the callback arms for the same deadline */
    :: due <= seen -> due = NEVER
    :: else
    fi;
#ifdef HOST_BEFORE_BATCH
    host();
#endif
    if
    :: queued > 0 -> /* one poll */
        if
        :: wakes > 0 -> wakes--; turns = 0 /* it wakes itself: still queued */
        :: arms > 0 -> queued--; arms--; turns = 0; due = 2
        :: true -> queued--
        fi
    :: else
    fi;
    park();
    seen = 0;
    old = 0
}

active proctype host_thread()
{
    byte wakes = WAKES, arms = 2, seen, old;

    turn();
end_wait:
    do
    :: kicked || ticked -> turn()
    :: wakes > 0 || arms > 0 -> between_turns(); old = 0
    od
}

active proctype clock()
{
    do
    :: now < END -> atomic { now++; turns = 0 }
    :: else -> break
    od
}

active proctype timerfd()
{
end:
    do
    :: atomic { set && now >= hosted -> set = false; ticked = true }
    od
}

active proctype quiet()
{
    timeout;
    assert(!box && queued == 0 && due == NEVER)
}
