/*
 * Threads that may not block by themselves: the actors of a simulation.
 *
 * Of the actors only one runs at a time, and who that is, the simulation decides.  So where the
 * runtime would block a thread, start one or join one, it asks here whether the thread is an actor.
 * For all others that is one look at a thread-local, on paths that are about to block anyway.
 */
#ifndef TOCSIN_RUNTIME_ACTOR_H
#define TOCSIN_RUNTIME_ACTOR_H

#include "runtime/os.h"

/* What a simulation does for its actors. */
struct tocsin__actor_ops {
    /* Give way until unpark(@actor).  @lock is held at the call and at the return, not between. */
    void (*park)(void *actor, struct tocsin__mutex *lock);
    /* Thread: any, with the lock that @actor parked with. */
    void (*unpark)(void *actor);
    /* A place where another actor may go on; no lock is held. */
    void (*point)(void *actor);
    /* The thread becomes an actor, too. */
    int (*thread_start)(void *actor, struct tocsin__thread *thread, void *(*main)(void *),
                        void *arg);
    void (*thread_join)(void *actor, struct tocsin__thread *thread);
};

/* Which actor this thread is; both NULL: none. */
struct tocsin__actor {
    const struct tocsin__actor_ops *ops;
    void *self;
};

extern _Thread_local struct tocsin__actor tocsin__actor;

/* The runtime started this thread for a pool, so that another thread has a driver of that pool. */
extern _Thread_local bool tocsin__is_pool_thread;

/* A place where one thread or actor waits; under a lock that its owner names. */
struct tocsin__parking {
    struct tocsin__cond cond;
    struct tocsin__actor actor; /* guarded by that lock: who is parked here, if an actor */
};

int tocsin__parking_init(struct tocsin__parking *parking);
void tocsin__parking_deinit(struct tocsin__parking *parking);

/* Wait for a signal, or for no reason: look again.  The caller holds @lock. */
void tocsin__parking_wait(struct tocsin__parking *parking, struct tocsin__mutex *lock);

/* Thread: any, with the lock held. */
void tocsin__parking_signal(struct tocsin__parking *parking);

/* As tocsin__thread_start() and _join(), for an actor by its simulation. */
int tocsin__actor_thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg);
void tocsin__actor_thread_join(struct tocsin__thread *thread);

/* A kick was given, and no lock is held. */
static inline void tocsin__actor_point(void)
{
    if (tocsin__actor.ops != NULL) {
        tocsin__actor.ops->point(tocsin__actor.self);
    }
}

#endif
