/*
 * The sleep protocol: where the loop is, and until when it sleeps, in one 64-bit word.
 *
 *   bit 0         ASLEEP
 *   bit 1         WOKEN
 *   bits 2 to 63  the sleep's deadline >> 2 (all ones: never); 0 while awake
 *
 *   Running 0 | RunAgain WOKEN | Sleeping(d) ASLEEP, d | Waking ASLEEP, WOKEN
 *
 * Each side changes the word by one read-modify-write, so one of the two always sees the other: a
 * waker finds the loop asleep and kicks it, or leaves WOKEN behind and the way into sleep fails.
 *
 * Invariants
 *   W1  Of the wakers that meet one sleep, exactly one is told to kick.
 *   W2  What a waker published before its wake is seen after the begin_turn that clears its WOKEN.
 *   W3  Only the loop's thread calls try_sleep, waited and begin_turn.
 *   W5  An impossible transition aborts.
 *   W6  No step writes one location and then relies on reading another.
 *
 * Deadlines lose their two lowest bits: a timer that is up to 3 ns earlier than the sleep's
 * deadline does not end the sleep, which is less than any clock resolves.
 */
#ifndef TOCSIN_RUNTIME_WAKE_H
#define TOCSIN_RUNTIME_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tocsin__wake {
    /*
     * WAKE-1 in docs/CONCURRENCY.md: what was published before tocsin__wake_post() or
     * tocsin__wake_for_timer() is seen after the tocsin__wake_begin_turn() that follows.
     */
    _Atomic(uint64_t) word;
};

void tocsin__wake_init(struct tocsin__wake *wake);

/*
 * Wake.  Thread: any.  Returns: true if the caller must kick.
 */
bool tocsin__wake_post(struct tocsin__wake *wake);

/*
 * Wake for the sake of a timer due at @deadline_ns: a loop that sleeps no longer than that is left
 * asleep.  Thread: any other than the loop's.  Returns: true if the caller must kick.
 */
bool tocsin__wake_for_timer(struct tocsin__wake *wake, uint64_t deadline_ns);

/*
 * Go to sleep until @deadline_ns.  Thread: the loop's, Running or RunAgain.  Returns: false if a
 * wake came since begin_turn: take another turn.
 */
bool tocsin__wake_try_sleep(struct tocsin__wake *wake, uint64_t deadline_ns);

/* The wait step returned: no kick is needed any more.  Thread: the loop's, asleep. */
void tocsin__wake_waited(struct tocsin__wake *wake);

/* A turn begins: Running.  Drain what wakers publish only after this.  Thread: the loop's. */
void tocsin__wake_begin_turn(struct tocsin__wake *wake);

/* For the loop's own decisions, a glance: has somebody called for another turn? */
bool tocsin__wake_is_woken(const struct tocsin__wake *wake);

/* Was the loop left asleep (a hosted pool, between turns)?  Thread: the loop's. */
bool tocsin__wake_is_asleep(const struct tocsin__wake *wake);

#endif
