/*
 * Threads and locks on Windows: slim locks, condition variables, CreateThread().
 */
#include "runtime/os.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <windows.h>

#include "runtime/assert.h"

static_assert(sizeof(SRWLOCK) == sizeof(((struct tocsin__mutex *)0)->lock), "a lock is a pointer");
static_assert(sizeof(CONDITION_VARIABLE) == sizeof(((struct tocsin__cond *)0)->cond),
              "a condition is a pointer");

static SRWLOCK *lock_of(struct tocsin__mutex *mutex)
{
    return (SRWLOCK *)(void *)&mutex->lock;
}

static CONDITION_VARIABLE *cond_of(struct tocsin__cond *cond)
{
    return (CONDITION_VARIABLE *)(void *)&cond->cond;
}

int tocsin__mutex_init(struct tocsin__mutex *mutex)
{
    InitializeSRWLock(lock_of(mutex));
    return 0;
}

void tocsin__mutex_deinit(struct tocsin__mutex *mutex)
{
    (void)mutex;
}

void tocsin__mutex_lock(struct tocsin__mutex *mutex)
{
    AcquireSRWLockExclusive(lock_of(mutex));
}

void tocsin__mutex_unlock(struct tocsin__mutex *mutex)
{
    ReleaseSRWLockExclusive(lock_of(mutex));
}

int tocsin__cond_init(struct tocsin__cond *cond)
{
    InitializeConditionVariable(cond_of(cond));
    return 0;
}

void tocsin__cond_deinit(struct tocsin__cond *cond)
{
    (void)cond;
}

void tocsin__cond_wait(struct tocsin__cond *cond, struct tocsin__mutex *mutex)
{
    SleepConditionVariableSRW(cond_of(cond), lock_of(mutex), INFINITE, 0);
}

void tocsin__cond_signal(struct tocsin__cond *cond)
{
    WakeConditionVariable(cond_of(cond));
}

void tocsin__cond_broadcast(struct tocsin__cond *cond)
{
    WakeAllConditionVariable(cond_of(cond));
}

struct start {
    void *(*main)(void *);
    void *arg;
};

static DWORD WINAPI thread_main(void *arg)
{
    struct start start = *(struct start *)arg;

    free(arg);
    start.main(start.arg);
    return 0;
}

int tocsin__thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg)
{
    struct start *start = malloc(sizeof(*start));

    if (start == NULL) {
        return -ENOMEM;
    }
    *start = (struct start){.main = main, .arg = arg};
    thread->actor = NULL;
    thread->thread = CreateThread(NULL, 0, thread_main, start, 0, NULL);
    if (thread->thread == NULL) {
        free(start);
        return -EAGAIN;
    }
    return 0;
}

void tocsin__thread_set_name(const char *name)
{
    (void)name; /* SetThreadDescription() is Windows 10's, and nobody needs it */
}

void tocsin__thread_join(struct tocsin__thread *thread)
{
    DWORD result = WaitForSingleObject(thread->thread, INFINITE);

    TOCSIN_ASSERT(result == WAIT_OBJECT_0, "a thread was joined twice");
    CloseHandle(thread->thread);
}

uintptr_t tocsin__thread_id(void)
{
    /* THREAD-1: the id that the next thread gets; nothing is published by it. */
    static _Atomic(uintptr_t) next = 1;
    static _Thread_local uintptr_t own;

    if (own == 0) {
        /* THREAD-1 relaxed: only that no two threads get the same. */
        own = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
    }
    return own;
}
