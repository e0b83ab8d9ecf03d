/*
 * The one-right word of a watch: two threads that wait, one that changes, one that deletes and adds
 * again in the same slot, against a semaphore that is signalled.
 *
 *   here            there (backends/windows/watch.c)
 *   right ... gen   the word; each atomic block that changes it is one swap()
 *   packet          the kernel's packet; queued_gen: the generation in it
 *   units           of the semaphore
 *   associate       NtAssociateWaitCompletionPacket(); cancel: NtCancelWaitCompletionPacket(FALSE)
 *   newest, front   the mailbox, and the configuration that the holder reads: is it wanted?
 *   latched         is_latched; a packet of our own is a queued one without the kernel's
 *   settle, arm, look_again, take_back, finish, unref   the functions of these names
 *   waiter          tocsin__watch_arrived(), and tocsin__watch_rearm() of what it was told
 *   deleter         tocsin__watch_kill(), then tocsin__watch_start() once the slot is recycled
 *   changer         tocsin__watch_change()
 *
 * Properties
 *   X1: a packet is associated only when it is at home, and one thread holds the right.
 *   X2: no event is taken after the delete of that generation has returned.
 *   X3: the target is open when it is armed, and closed once.
 *   X4: what was signalled was taken, or is in the semaphore, or latched, or went with a delete.
 *   X5: a slot is recycled once, with no reference left.
 *   A watch that was told is armed again by who was told last.
 *   When nothing can move any more, a watch that is deleted is recycled; one that is wanted is
 *   armed in the kernel, with the newest configuration.
 *
 * Spin cannot see a missing acquire or release.
 *
 * Mutants: NO_LOOK_AGAIN, NO_REFERENCES, NO_GENERATION, TAKE_THE_DEAD, CHANGE_IS_NOT_SAID,
 * CANCEL_IS_BELIEVED, RELEASE_BY_STORE, NO_LATCH, NO_TICKET.
 */
#ifndef UNITS
#define UNITS 2
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#define GENERATIONS 3
#define NO_GEN 255

mtype = { IDLE, ARMED, HELD, HOME, WAITING, QUEUED };

mtype right = HELD;
bool dead, dirty, final;
byte refs, gen, ticket, told;

mtype packet = HOME;
bool foreign = true; /* a stranger's post is on the port, and may be found at any time */
bool own_queued; /* a packet of our own making is on the port */
byte queued_gen;
byte units, signaled, taken, lost;
bool newest = true, fresh, front = true, latched, target_open = true;
bool deleted[GENERATIONS];
bool recycled;
byte holders = 1;

inline hold()
{
    right = HELD;
    holders++;
    assert(holders == 1) /* X1 */
}

/* Give the right up: to the kernel, or to nobody. */
inline release(to)
{
    assert(holders == 1);
    holders--;
    right = to
}

inline recycle_if_last()
{
    if
#ifdef NO_REFERENCES
    :: final -> assert(!recycled || true); recycled = true
#else
    :: final && refs == 0 -> assert(!recycled); recycled = true /* X5 */
#endif
    :: else
    fi
}

inline unref()
{
    atomic { assert(refs > 0); refs--; recycle_if_last() }
}

inline finish()
{
    atomic {
        assert(target_open); /* X3 */
        target_open = false;
        if
        :: latched -> latched = false; lost++
        :: else
        fi }
    atomic { final = true; release(IDLE); recycle_if_last() }
}

/* The caller has a reference.  held: whether the right is the caller's now. */
inline cancel(held)
{
    atomic {
        held = false;
        if
        :: packet == WAITING -> packet = HOME; held = true
        :: else
        fi
#ifdef CANCEL_IS_BELIEVED
        if
        :: !held && right == ARMED -> held = true
        :: else
        fi
#endif
    }
    if
    :: held -> atomic { assert(right == ARMED); hold(); assert(refs > 0); refs-- }
    :: else -> unref()
    fi
}

inline associate()
{
    atomic {
        assert(packet == HOME && !own_queued && target_open); /* X1, X3 */
        queued_gen = gen;
        if
        :: units > 0 -> units--; packet = QUEUED
        :: else -> packet = WAITING
        fi }
}

/* held: the right is the caller's again. */
inline look_again(held)
{
    atomic {
        held = false;
        again = false;
        if
#ifndef NO_LOOK_AGAIN
        :: right == ARMED && (dead || dirty) -> again = true
#endif
        :: else -> assert(refs > 0); refs--; recycle_if_last()
        fi }
    if
    :: again -> cancel(held)
    :: else
    fi
}

inline arm(held)
{
    atomic {
        held = true;
        was_latched = latched;
        if
        :: dead || dirty
        :: else -> latched = false; release(ARMED); refs++; held = false
        fi }
    if
    :: held
    :: else ->
        if
        :: was_latched -> atomic { assert(packet == HOME); own_queued = true; queued_gen = gen }
        :: else -> associate()
        fi;
        look_again(held)
    fi
}

inline settle(arms)
{
    mine = true;
    do
    :: mine && dead -> finish(); mine = false
    :: mine && !dead && dirty ->
        atomic {
            dirty = false;
            if
            :: fresh -> front = newest; fresh = false; arms = true
            :: else
            fi }
    :: mine && !dead && !dirty && arms && front -> arm(mine)
    :: mine && !dead && !dirty && !(arms && front) ->
#ifdef RELEASE_BY_STORE
        release(IDLE); mine = false
#else
        atomic {
            if
            :: !dead && !dirty -> release(IDLE); mine = false
            :: else
            fi }
#endif
    :: !mine -> break
    od;
    arms = false
}

proctype waiter()
{
    bool mine, again, was_latched, arms, is_due, was_dead, found;
    byte g, due_gen, due_ticket;

end_wait:
    do
    :: atomic { packet == QUEUED || own_queued || foreign ->
            g = queued_gen;
            if
            :: foreign -> foreign = false; g = NO_GEN
            :: !foreign && own_queued -> own_queued = false
            :: else -> packet = HOME
            fi }
        atomic { /* take_home */
            found = false;
            if
#ifdef NO_GENERATION
            :: right == ARMED ->
#else
            :: right == ARMED && gen == g ->
#endif
                hold(); found = true; was_dead = dead; dirty = false
            :: else ->
                assert(g == NO_GEN) /* whoever finds a packet of ours gets the right */
            fi }
        if
        :: found && was_dead -> lost++; finish()
        :: found && !was_dead ->
            atomic {
                if
                :: fresh -> front = newest; fresh = false
                :: else
                fi }
            if
            :: !front ->
#ifdef NO_LATCH
                skip;
#else
                latched = true;
#endif
                arms = true;
                settle(arms)
            :: else ->
                atomic { /* X2: taken */
                    found = false;
                    if
#ifndef TAKE_THE_DEAD
                    :: dead
#endif
                    :: else ->
                        assert(!deleted[gen]);
                        ticket++;
                        told = _pid;
                        taken++;
                        found = true;
                        due_gen = gen;
                        due_ticket = ticket
                    fi }
                if
                :: found -> is_due = true; arms = false; settle(arms)
                :: else -> lost++; finish()
                fi
            fi
        :: else
        fi;
        found = false; was_dead = false; g = 0
    :: is_due -> /* its next wait */
        is_due = false;
        atomic { /* rearm */
            found = false;
            if
#ifdef NO_TICKET
            :: right == IDLE && !dead && !final ->
                hold(); found = true; assert(told == _pid) /* nobody else is told yet */
#else
            :: right == IDLE && !dead && !final && gen == due_gen && ticket == due_ticket ->
                hold(); found = true; assert(told == _pid)
#endif
            :: else
            fi }
        if
        :: found -> arms = true; settle(arms)
        :: else
        fi;
        found = false; due_gen = 0; due_ticket = 0
    od
}

/* One who deletes and adds, and changes in between: the table's lock makes one of them. */
proctype owner()
{
    bool mine, again, was_latched, arms, held;
    byte changes = CHANGES, opens = GENERATIONS - 1;
    mtype was;

    arms = true;
    settle(arms); /* the first start */
end_own:
    do
    :: changes > 0 -> changes = 0
    :: changes == 0 -> break
    :: changes > 0 ->
        changes--;
        atomic { newest = !newest; fresh = true }
        atomic { /* notify */
            was = right;
#ifndef CHANGE_IS_NOT_SAID
            dirty = true;
#endif
            if
            :: right == IDLE -> hold()
            :: right == ARMED && !newest -> refs++
            :: else
            fi }
        held = was == IDLE;
        if
        :: was == ARMED && !newest -> cancel(held)
        :: else
        fi;
        if
        :: held -> arms = true; settle(arms)
        :: else
        fi;
        held = false; was = IDLE
    :: opens > 0 && changes == 0 ->
        opens--;
        atomic { /* kill */
            was = right;
            dead = true;
            if
            :: right == IDLE -> hold()
            :: right == ARMED -> refs++
            :: else
            fi }
        held = was == IDLE;
        if
        :: was == ARMED -> cancel(held)
        :: else
        fi;
        if
        :: held -> finish()
        :: else
        fi;
        deleted[gen] = true; /* it has returned */
        held = false; was = IDLE;
        if
        :: opens > 0 ->
            atomic { recycled -> /* start, in the same slot */
                recycled = false;
                assert(refs == 0 && holders == 0 && packet == HOME);
                dead = false; dirty = false; final = false;
                gen++;
                ticket = 0;
                newest = true; fresh = false; front = true; latched = false;
                target_open = true;
                hold() }
            arms = true;
            settle(arms)
        :: else
        fi
    od
}

proctype signals()
{
    byte n;

    for (n : 1 .. UNITS) {
        atomic {
            signaled++;
            if
            :: packet == WAITING -> packet = QUEUED
            :: else -> units++
            fi }
    }
}

init
{
    atomic { run waiter(); run waiter(); run owner(); run signals() }
    timeout;
    assert(holders == 0 && packet != QUEUED && !own_queued);
    assert(signaled == taken + units + lost + latched); /* X4 */
    assert(!dead || recycled); /* X5 */
    assert(dead || (!fresh && front == newest));
    assert(dead || !front || (packet == WAITING && units == 0))
}
