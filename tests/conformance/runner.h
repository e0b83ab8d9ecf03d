/*
 * What the parts of the program have of one another; cases see conform.h only.
 */
#ifndef TOCSIN_CONFORM_RUNNER_H
#define TOCSIN_CONFORM_RUNNER_H

#include "conform.h"

enum {
    CONFORM_EXIT_FAILED = 1, /* a check did not hold */
};

/* How one case ended. */
enum conform_outcome {
    CONFORM_PASSED,
    CONFORM_FAILED,
};

struct conform_settings {
    const struct tocsin_backend *backend;
    const struct tocsin_conform_face *face;
    uint64_t seed;
    unsigned scale;
    unsigned watchdog_s;
    bool in_process; /* no fork, no watchdog: for a debugger */
};

/* What the backend has: its own bits, and the suite's. */
uint32_t conform_features(const struct conform_settings *settings);

/* Run one case, in a process of its own unless told otherwise. */
enum conform_outcome conform_run(const struct conform_settings *settings,
                                 const struct conform_case *row);

/* conform.c: set t->allocator. */
void conform_memory_init(struct conform *t);

/* counting.c: wrap @inner; *@out_wrapped and what it refers to live as long as @t. */
void conform_counting_init(struct conform *t, const struct tocsin_backend *inner);

/* skips.c: read the list of allowed skips, from @path or, if NULL, as it was built in. */
int conform_skips_load(const char *path);

/* Is @row allowed to be skipped on @backend for want of @bit?  Marks the entry as used. */
bool conform_skips_allow(const char *row, const char *backend, const char *bit);

/* Entries for @backend that no case has used; each is noted on stdout. */
unsigned conform_skips_unused(const char *backend);

/* The name of the lowest bit in @bits. */
const char *conform_bit_name(uint32_t bits);

#endif
