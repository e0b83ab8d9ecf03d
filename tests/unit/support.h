/*
 * What all test programs share, cmocka or not: threads on two cores, seeded numbers, scale.
 */
#ifndef TOCSIN_TESTS_UNIT_SUPPORT_H
#define TOCSIN_TESTS_UNIT_SUPPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Does this run under valgrind? */
bool support_on_valgrind(void);

/*
 * How often to do something: @count, divided by TOCSIN_TEST_SCALE where that is set, and by 50
 * under valgrind; at least 1.
 */
unsigned support_scaled(unsigned count);

typedef void support_body_fn(void *arg);

/* A thread pinned to a processor of its own, where there are two. */
struct support_thread {
    pthread_t thread;
    support_body_fn *fn;
    void *arg;
    unsigned processor;
};

/* Both abort if they fail. */
void support_thread_start(struct support_thread *thread, unsigned processor, support_body_fn *fn,
                          void *arg);
void support_thread_join(struct support_thread *thread);

/* Run @fn(@arg) on another thread, to its end. */
void support_elsewhere(support_body_fn *fn, void *arg);

/* Pin the calling thread to one of the processors it may use. */
void support_pin(unsigned processor);

/* Seeded numbers: xorshift. */
struct support_random {
    uint64_t state; /* never 0 */
};

uint64_t support_random_next(struct support_random *random);
uint32_t support_random_below(struct support_random *random, uint32_t bound);

#endif
