/*
 * What the parts of the simulation share: one struct, one lock, one baton.
 *
 *   baton.c    who runs: the choice among those that can, the move of time when none can
 *   actor.c    threads that take part, and what the runtime asks of them (runtime/actor.h)
 *   clock.c    the time, and what is to happen at which
 *   chance.c   numbers from the seed, and the hash of all that was decided
 *   object.c   numbers, watches and edges; link.c sockets and pipes, flow.c what is under way in
 *              them; counter.c events
 *   backend.c  the slots of struct tocsin_backend_ops
 *   sim.c      the beginning and the end, holds
 *
 * Invariants
 *   B1  At most one actor is RUNNING, sim->current; the others wait for their `turn`.
 *   B2  sim->current is NULL only if none can run, and somebody holds the simulation, or others
 *       than actors share it.
 *   B3  Time moves only when none can run (pick_locked() in baton.c), and where an actor says that
 *       its own work took time (tocsin_sim_pass(), clock_step_ns, now_ppm); never while it is held.
 *   B4  Every choice is drawn from one row of numbers, and goes into the hash; no address, thread
 *       id or time of the world's does.
 *   B5  A kick is kept until the wait or look that takes it in.
 *
 * The lock is a leaf: nothing of the runtime's is called under it but an await's condition.
 */
#ifndef TOCSIN_BACKENDS_SIM_WORLD_H
#define TOCSIN_BACKENDS_SIM_WORLD_H

#include <stdatomic.h>

#include <tocsin/backend.h>
#include <tocsin/sim.h>

#include "backends/sim/backend.h"
#include "runtime/actor.h"
#include "runtime/os.h"

struct sim_object;
struct sim_pool;

/* ---- What is to happen ----------------------------------------------------------------------- */

struct sim_pending;
typedef void sim_fire_fn(struct tocsin_sim *sim, struct sim_pending *pending);

/* Something that happens at a time; embedded in what it happens to. */
struct sim_pending {
    struct sim_pending *next;
    uint64_t deadline_ns;
    sim_fire_fn *fire; /* with the lock held */
    bool armed;
};

/* ---- Actors ---------------------------------------------------------------------------------- */

enum sim_state {
    SIM_RUNNING,  /* has the baton */
    SIM_READY,    /* could have it */
    SIM_WAITING,  /* in the wait of `pool`, until deadline_ns */
    SIM_SLEEPING, /* until deadline_ns */
    SIM_PARKED,   /* in the runtime, until unparked */
    SIM_JOINING,  /* until `joined` has ended */
    SIM_AWAITING, /* until condition(condition_arg) */
    SIM_ENDED,    /* has left its function, or never came out of a fork */
};

enum {
    SIM_NAME_SIZE = 32,
    SIM_REPORT_SIZE = 2048,
    SIM_EVENTS_ROOM_FIRST = 16,
    SIM_PPM = 1000000,
};

/* An actor.  All but the thread's own fields are guarded by sim->lock. */
struct tocsin_sim_thread {
    struct tocsin_sim *sim;
    struct tocsin_sim_thread *next; /* in the order of their numbers */
    uint32_t number;
    enum sim_state state;
    uint64_t deadline_ns;
    struct sim_pool *pool;
    struct tocsin_sim_thread *joined;
    tocsin_sim_condition_fn *condition;
    void *condition_arg;
    bool unparked;
    bool is_ghost;            /* a forked child has its struct, but not its thread */
    struct tocsin__cond turn; /* sim->current is this one */
    struct tocsin__thread thread;
    tocsin_sim_thread_fn *fn; /* or: */
    void *(*main)(void *);
    void *arg;
    char name[SIM_NAME_SIZE];
};

/* ---- The simulation -------------------------------------------------------------------------- */

struct tocsin_sim {
    struct tocsin_sim_options options; /* constant */
    struct tocsin_backend backend;     /* constant */
    bool is_implied;                   /* constant: made for a pool; ends with the last one */

    struct tocsin__mutex lock; /* guards all that follows; leaf */
    const volatile unsigned char *fork_mark;
    uint64_t now_ns;
    uint64_t random_state;
    uint64_t hash;
    struct tocsin_sim_thread *actors; /* the first opened the simulation */
    struct tocsin_sim_thread *current;
    uint32_t actors_made;
    uint32_t pools_made;
    uint32_t pools_open;
    uint32_t holds;
    /* Implied, and threads that are no actors have pools of it: it waits for their kicks. */
    bool is_shared;
    bool dead; /* DEADLOCK_FAIL: waits return -EDEADLK from now on */
    struct sim_pool *pools;
    struct sim_pending *pending; /* not sorted */
    struct sim_object **objects; /* by number; NULL: free */
    size_t objects_room;
    uint64_t generations;
};

/* A pool's backend state. */
struct sim_pool {
    /* SIM-1: whose it is; NULL: closed. */
    _Atomic(struct tocsin_sim *) sim;
    /* SIM-2: the clock as it was last moved; for threads that are no actors, and after close. */
    _Atomic(uint64_t) now_ns;
    struct sim_pool *next;
    uint32_t number;
    bool kicked;
    struct sim_pending late_kick;
    struct sim_object **ready; /* those with an edge that was not reported; room for all attached */
    size_t ready_count;
    size_t ready_room;
    size_t attached;
};

/* sim.c: take and give back the lock; in a forked child the first makes the copy the child's. */
void tocsin__sim_lock(struct tocsin_sim *sim);
void tocsin__sim_unlock(struct tocsin_sim *sim);
/* May this thread act on @sim?  An actor of it or a holder.  0, or -EPERM. */
int tocsin__sim_may_act_locked(const struct tocsin_sim *sim);
/* @arg NULL: the calling actor's, or a new one. */
int tocsin__sim_of_open(void *arg, struct tocsin_sim **out_sim);
/* An implied simulation whose last pool has closed ends.  Not locked. */
void tocsin__sim_end_if_over(struct tocsin_sim *sim);

/* actor.c: the actor of @sim that this thread is, or NULL. */
struct tocsin_sim_thread *tocsin__sim_self(const struct tocsin_sim *sim);
int tocsin__sim_actor_create_locked(struct tocsin_sim *sim, const char *name,
                                    struct tocsin_sim_thread **out_actor);
void tocsin__sim_actor_destroy_locked(struct tocsin_sim_thread *actor);
/* This thread is @actor from now on; NULL: none any more. */
void tocsin__sim_actor_become(struct tocsin_sim_thread *actor);

/* baton.c: @self goes into @state, and comes back when it can run and was chosen. */
void tocsin__sim_give_way_locked(struct tocsin_sim_thread *self, enum sim_state state);
/* A new or ended actor: wait for the first turn; pass the baton on for good. */
void tocsin__sim_first_turn_locked(struct tocsin_sim_thread *self);
void tocsin__sim_last_turn_locked(struct tocsin_sim_thread *self);
/* Something has changed: if nobody runs, somebody may now. */
void tocsin__sim_dispatch_locked(struct tocsin_sim *sim);
size_t tocsin__sim_report_locked(struct tocsin_sim *sim, char *text, size_t size);

/* clock.c */
void tocsin__sim_pend_locked(struct tocsin_sim *sim, struct sim_pending *pending,
                             uint64_t deadline_ns, sim_fire_fn *fire);
void tocsin__sim_unpend_locked(struct tocsin_sim *sim, struct sim_pending *pending);
/* The earliest deadline of what is pending, or TOCSIN_NEVER_NS. */
uint64_t tocsin__sim_next_ns_locked(const struct tocsin_sim *sim);
/* Move the clock there, and let happen what is due. */
void tocsin__sim_reach_locked(struct tocsin_sim *sim, uint64_t now_ns);

/* chance.c */
uint64_t tocsin__sim_random_locked(struct tocsin_sim *sim);
/* Below @bound, which is not 0; with 1 nothing is drawn. */
uint64_t tocsin__sim_draw_locked(struct tocsin_sim *sim, uint64_t bound);
/* @low to @high, both included. */
uint64_t tocsin__sim_between_locked(struct tocsin_sim *sim, uint64_t low, uint64_t high);
/* True @ppm times in a million; with 0 nothing is drawn. */
bool tocsin__sim_happens_locked(struct tocsin_sim *sim, uint32_t ppm);
/* Into the hash, and to the trace: @what is a literal; no addresses. */
void tocsin__sim_note_locked(struct tocsin_sim *sim, const char *what, uint64_t a, uint64_t b);

#endif
