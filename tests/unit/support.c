/*
 * The part of all test programs: see support.h.
 */
#include "tests/unit/support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

bool support_on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

unsigned support_scaled(unsigned count)
{
    const char *scale = getenv("TOCSIN_TEST_SCALE");
    unsigned long divisor = scale != NULL ? strtoul(scale, NULL, 10) : 1;

    divisor = divisor > 0 ? divisor : 1;
    divisor *= support_on_valgrind() ? 50 : 1;
    return count > divisor ? (unsigned)(count / divisor) : 1;
}

/* The processors of the process, as they were before anybody was pinned: threads inherit. */
static cpu_set_t allowed;

static void find_allowed(void)
{
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
}

void support_pin(unsigned processor)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    cpu_set_t one;
    unsigned count;

    pthread_once(&once, find_allowed);
    count = (unsigned)CPU_COUNT(&allowed);
    processor %= count > 0 ? count : 1;
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &allowed) && processor-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            sched_setaffinity(0, sizeof(one), &one); /* a hint: no test rests on it */
            return;
        }
    }
}

static void *thread_main(void *arg)
{
    struct support_thread *thread = arg;

    support_pin(thread->processor);
    thread->fn(thread->arg);
    return NULL;
}

void support_thread_start(struct support_thread *thread, unsigned processor, support_body_fn *fn,
                          void *arg)
{
    thread->fn = fn;
    thread->arg = arg;
    thread->processor = processor;
    if (pthread_create(&thread->thread, NULL, thread_main, thread) != 0) {
        abort();
    }
}

void support_thread_join(struct support_thread *thread)
{
    if (pthread_join(thread->thread, NULL) != 0) {
        abort();
    }
}

void support_elsewhere(support_body_fn *fn, void *arg)
{
    struct support_thread thread;

    support_thread_start(&thread, 1, fn, arg);
    support_thread_join(&thread);
}

uint64_t support_random_next(struct support_random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

uint32_t support_random_below(struct support_random *random, uint32_t bound)
{
    return (uint32_t)((support_random_next(random) >> 32) * bound >> 32);
}
