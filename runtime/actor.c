/*
 * Blocking, starting and joining threads: by the operating system, or by a simulation for its
 * actors.
 */
#include "runtime/actor.h"

_Thread_local struct tocsin__actor tocsin__actor;
_Thread_local bool tocsin__is_pool_thread;

int tocsin__parking_init(struct tocsin__parking *parking)
{
    parking->actor = (struct tocsin__actor){NULL, NULL};
    return tocsin__cond_init(&parking->cond);
}

void tocsin__parking_deinit(struct tocsin__parking *parking)
{
    tocsin__cond_deinit(&parking->cond);
}

void tocsin__parking_wait(struct tocsin__parking *parking, struct tocsin__mutex *lock)
{
    if (tocsin__actor.ops == NULL) {
        tocsin__cond_wait(&parking->cond, lock);
        return;
    }
    parking->actor = tocsin__actor;
    tocsin__actor.ops->park(tocsin__actor.self, lock);
    parking->actor = (struct tocsin__actor){NULL, NULL};
}

void tocsin__parking_signal(struct tocsin__parking *parking)
{
    if (parking->actor.ops != NULL) {
        parking->actor.ops->unpark(parking->actor.self);
    } else {
        tocsin__cond_signal(&parking->cond);
    }
}

int tocsin__actor_thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg)
{
    if (tocsin__actor.ops != NULL) {
        return tocsin__actor.ops->thread_start(tocsin__actor.self, thread, main, arg);
    }
    thread->actor = NULL;
    return tocsin__thread_start(thread, main, arg);
}

void tocsin__actor_thread_join(struct tocsin__thread *thread)
{
    if (thread->actor != NULL && tocsin__actor.ops != NULL) {
        tocsin__actor.ops->thread_join(tocsin__actor.self, thread);
    } else {
        tocsin__thread_join(thread);
    }
}
