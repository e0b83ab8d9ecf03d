/*
 * The explorer's inside: what its files share.
 *
 *   hooks.c    what the compiler calls for each access of the instrumented files
 *   memory.c   watched memory: races of plain accesses, uses after a free, leaks
 *   atomics.c  atomic accesses: what a load may see
 *   threads.c  the threads of a run: coroutines of one thread, which go on where the search says
 *   search.c   the choices of a run, and which run is the next
 *   trace.c    what a failed run did, step by step
 *   backend.c  the pool's backend; os.c: what the runtime wants of an operating system
 *   main.c     the program
 *
 * A run is determined by its choices: which thread goes on at a step, and which of the values that
 * it may see a load gets.  The first option of each choice is the ordinary one, and a run is named
 * by the others: "s12=1 d30=2" is, at step 12, the second of the threads that can go on, and at
 * step 30 the value two before the newest.
 *
 * One run at a time, in one thread of the operating system: nothing here is locked.
 */
#ifndef TOCSIN_TESTS_MODEL_ENGINE_H
#define TOCSIN_TESTS_MODEL_ENGINE_H

#include "tests/model/model.h"

enum {
    MODEL_THREADS = MODEL_THREADS_MAX + 1, /* 0 sets up and checks */
    MODEL_LOCATIONS_MAX = 2048,            /* atomic objects of one run */
    MODEL_STEPS_MAX = 20000,               /* a run with more does not end */
    MODEL_STACK_SIZE = 64 << 10,
    MODEL_ARENA_SIZE = 768 << 10, /* stacks included */
};

/* What a thread knows of the others, and what it may still see: see atomics.c. */
struct model_view {
    uint16_t clock[MODEL_THREADS];
    uint16_t count; /* of seen; those above are 0 */
    uint16_t seen[MODEL_LOCATIONS_MAX];
};

/* search.c */
enum model_kind {
    MODEL_SCHEDULE, /* which thread goes on: a preemption */
    MODEL_DELAY,    /* what a load sees: an older value */
    MODEL_KINDS,
};

/*
 * One of @count options; those below @free_count cost nothing, the others one of the bound.  At a
 * step there is at most one choice of each kind.  @threads: of a schedule, whom each option lets go
 * on (threads.h).
 */
unsigned model_choose(enum model_kind kind, unsigned count, unsigned free_count,
                      const uint8_t *threads);

struct model_bound {
    unsigned of[MODEL_KINDS];
};

struct model_verdict {
    bool failed;
    bool gave_up; /* the limit of executions was reached */
    uint64_t executions;
    char schedule[1024];
    char message[512];
};

/* All runs within @bound, or @executions_max of them. */
void model_search(const struct model_scenario *scenario, struct model_bound bound,
                  uint64_t executions_max, struct model_verdict *verdict);
/* @runs runs with random priorities. */
void model_search_randomly(const struct model_scenario *scenario, uint64_t seed, uint64_t runs,
                           struct model_verdict *verdict);
/* One run. */
void model_search_replay(const struct model_scenario *scenario, const char *schedule,
                         struct model_verdict *verdict);

/* threads.c */

/* Run @scenario once.  Returns: NULL, or what is wrong. */
const char *model_run(const struct model_scenario *scenario);

/* True while the threads run: there is more than one. */
bool model_is_concurrent(void);
unsigned model_self(void);
struct model_view *model_view(void);
unsigned model_step(void);

/*
 * A step at @object is next (NULL: something that is always shared): another thread may come before
 * it.
 */
void model_point(const void *object, bool writes);

enum model_end {
    MODEL_READY,     /* what was waited for */
    MODEL_TIMEOUT,   /* the clock has moved to the deadline */
    MODEL_NO_REASON, /* a wait that ends for nothing, as EINTR does */
};

typedef bool model_ready_fn(const void *object);

/* Block until @is_ready(@object), or @deadline_ns; where @for_nothing, it may also end so. */
enum model_end model_block(model_ready_fn *is_ready, const void *object, uint64_t deadline_ns,
                           bool for_nothing, const char *what);

_Noreturn void model_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* memory.c */
void model_memory_reset(void);
void *model_stack(unsigned thread);
void model_check_leaks(void);
void model_plain(const void *address, size_t size, bool writes, const void *pc);
/* An atomic access: conflicts with plain ones only.  False: this memory is not watched. */
bool model_atomic_touch(const void *address, size_t size, const void *pc);
/* The number of the atomic object at @address; 0: none yet. */
uint16_t *model_location_slot(const void *address);
/* Is it watched memory?  *@out_offset is then its place. */
bool model_offset(const void *address, size_t *out_offset);

/* atomics.c */
void model_atomics_reset(void);
uint64_t model_atomic_load(const void *address, size_t size, int order, const void *pc);
void model_atomic_store(void *address, size_t size, uint64_t value, int order, const void *pc);
/* What a read-modify-write makes of @old. */
typedef uint64_t model_change_fn(uint64_t old, uint64_t operand);
uint64_t model_atomic_change(void *address, size_t size, model_change_fn *change, uint64_t operand,
                             int order, const char *name, const void *pc);
/* True: it was *@expected and is @desired now; else *@expected is what was seen. */
bool model_atomic_compare(void *address, size_t size, uint64_t *expected, uint64_t desired,
                          int order, int failure_order, const void *pc);
/* A plain write at the atomic object @location: its past is void. */
void model_location_overwritten(uint16_t location);

void model_view_join(struct model_view *view, const struct model_view *other);
/* A copy of the thread's view, for who acquires it; the thread's clock goes on. */
struct model_view *model_view_publish(void);

/* backend.c */
void model_backend_reset(void);
void model_backend_check(void);

/* os.c */
void model_os_reset(void);

/* trace.c */
extern bool model_tracing;
void model_trace(const void *pc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void model_trace_reset(void);
void model_trace_print(void);

#endif
