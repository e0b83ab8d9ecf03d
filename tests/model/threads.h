/*
 * The threads of a run, as search.c sees them.
 */
#ifndef TOCSIN_TESTS_MODEL_THREADS_H
#define TOCSIN_TESTS_MODEL_THREADS_H

#include <stdbool.h>

enum {
    MODEL_EARLY = 1 << 7, /* of an option: the thread's wait ends before what it waits for */
};

/* Has this run shown that an object is shared which no earlier run had? */
extern bool model_learned;
void model_learning_reset(void);

/* Count every object as shared: for a schedule of another process, which had learned others. */
void model_learning_skip(void);

#endif
