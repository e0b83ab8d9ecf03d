/*
 * Threads, locks and the fork mark, on POSIX with the Linux calls that have no POSIX name.
 */
#include "runtime/os.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runtime/assert.h"

int tocsin__mutex_init(struct tocsin__mutex *mutex)
{
    return -pthread_mutex_init(&mutex->mutex, NULL);
}

void tocsin__mutex_deinit(struct tocsin__mutex *mutex)
{
    pthread_mutex_destroy(&mutex->mutex);
}

void tocsin__mutex_lock(struct tocsin__mutex *mutex)
{
    int error = pthread_mutex_lock(&mutex->mutex);

    TOCSIN_ASSERT(error == 0, "a lock was taken twice or is not initialised");
}

void tocsin__mutex_unlock(struct tocsin__mutex *mutex)
{
    int error = pthread_mutex_unlock(&mutex->mutex);

    TOCSIN_ASSERT(error == 0, "a lock was given back that was not held");
}

int tocsin__cond_init(struct tocsin__cond *cond)
{
    return -pthread_cond_init(&cond->cond, NULL);
}

void tocsin__cond_deinit(struct tocsin__cond *cond)
{
    pthread_cond_destroy(&cond->cond);
}

void tocsin__cond_wait(struct tocsin__cond *cond, struct tocsin__mutex *mutex)
{
    pthread_cond_wait(&cond->cond, &mutex->mutex);
}

void tocsin__cond_signal(struct tocsin__cond *cond)
{
    pthread_cond_signal(&cond->cond);
}

void tocsin__cond_broadcast(struct tocsin__cond *cond)
{
    pthread_cond_broadcast(&cond->cond);
}

int tocsin__thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg)
{
    return -pthread_create(&thread->thread, NULL, main, arg);
}

void tocsin__thread_set_name(const char *name)
{
    char short_name[16]; /* pthread_setname_np(3) refuses longer ones */

    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(pthread_self(), short_name);
}

void tocsin__thread_join(struct tocsin__thread *thread)
{
    int error = pthread_join(thread->thread, NULL);

    TOCSIN_ASSERT(error == 0, "a thread was joined twice");
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

unsigned tocsin__processors(void)
{
    cpu_set_t set;
    int count;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

/*
 * FORK-1 in docs/CONCURRENCY.md: the mark of this process; its content is written before it is
 * published, and again only by the kernel, in children.
 */
static _Atomic(unsigned char *) fork_mark;

int tocsin__fork_mark(const volatile unsigned char **out_mark)
{
    /* FORK-1 acquire: pairs with the exchange below, on whichever thread won. */
    unsigned char *old = atomic_load_explicit(&fork_mark, memory_order_acquire);
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *page;

    if (old != NULL && *(volatile unsigned char *)old != 0) {
        *out_mark = old;
        return 0;
    }
    /* The first pool of this process, or a child whose page the kernel has wiped. */
    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    if (madvise(page, size, MADV_WIPEONFORK) != 0) {
        int error = errno;

        munmap(page, size);
        return -error;
    }
    *page = 1;
    /* FORK-1 release: publishes the 1; acquire: pairs with another thread's. */
    if (!atomic_compare_exchange_strong_explicit(&fork_mark, &old, page, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        munmap(page, size);
        page = old;
    }
    *out_mark = page;
    return 0;
}

int tocsin__timer_slack_set(uint64_t slack_ns, uint64_t *out_old)
{
    int old = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);

    if (old < 0 || prctl(PR_SET_TIMERSLACK, (unsigned long)slack_ns, 0, 0, 0) != 0) {
        return -errno;
    }
    *out_old = (uint64_t)old;
    return 0;
}
