/*
 * What the parts of the program have of one another; cases see conform.h only.
 */
#ifndef TOCSIN_CONFORM_RUNNER_H
#define TOCSIN_CONFORM_RUNNER_H

#include "conform.h"
#include "deny.h"

struct in_use;

enum {
    CONFORM_EXIT_FAILED = 1, /* a check did not hold */
};

/* How one case ended. */
enum conform_outcome {
    CONFORM_PASSED,
    CONFORM_FAILED,
};

/* Whether io_uring is refused to this process, or by the filter that --deny asks for. */
struct conform_refusal {
    char reason[120]; /* which call, and what it answered; empty: it is not refused */
    bool is_total;    /* the backend does not open without it */
};

struct conform_settings {
    const struct tocsin_backend *backend;
    const struct tocsin_conform_face *face;
    uint64_t seed;
    unsigned scale;
    unsigned watchdog_s;
    bool in_process; /* no fork, no watchdog: for a debugger */
    bool ring;       /* every pool has a ring in use */
    struct deny deny;
    struct conform_refusal refusal;
};

/* What the backend has: its own bits, and the suite's. */
uint32_t conform_features(const struct conform_settings *settings);

/* Run one case, in a process of its own unless told otherwise. */
enum conform_outcome conform_run(const struct conform_settings *settings,
                                 const struct conform_case *row);

/* conform.c: of the process's one backend, or NULL. */
extern const struct tocsin_conform_face *conform_face;

/* sim_face.c: that of the simulation. */
const struct tocsin_conform_face *conform_sim_face(void);

/* conform.c: set t->allocator. */
void conform_memory_init(struct conform *t);

/* conform.c and in_use.c: what this thread allocates is not counted, and does not fail. */
extern _Thread_local bool conform_uncounted;

/*
 * counting.c: wrap @inner; *@out_wrapped and what it refers to live as long as @t.  With @ring its
 * pools have a ring in use.
 */
void conform_counting_init(struct conform *t, const struct tocsin_backend *inner, bool ring);

/*
 * in_use.c: put an operation in flight on the pool that runs on this thread; and before the inner
 * backend closes.
 */
struct in_use *conform_in_use_begin(struct conform *t);
void conform_in_use_end(struct in_use *in_use, enum tocsin_backend_close how);

/* refusal.c: set @settings->refusal. */
void conform_refusal_ask(struct conform_settings *settings);

/* skips.c: read the list of allowed skips, from @path or, if NULL, as it was built in. */
int conform_skips_load(const char *path);

/* Is @row allowed to be skipped on @backend for want of @bit?  Marks the entry as used. */
bool conform_skips_allow(const char *row, const char *backend, const char *bit);

/* Entries for @backend that no case has used; each is noted on stdout. */
unsigned conform_skips_unused(const char *backend);

/* The name of the lowest bit in @bits. */
const char *conform_bit_name(uint32_t bits);

#endif
