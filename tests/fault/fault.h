/*
 * What the fault programs share: named cases, each in a process of its own.
 *
 * A case runs in a forked child: what it breaks (limits, filters, the state of the allocator) ends
 * with it, and the leak checker sees each case by itself.  TAP on standard output, and
 * `N passed, N failed` at the end.
 */
#ifndef TOCSIN_TESTS_FAULT_FAULT_H
#define TOCSIN_TESTS_FAULT_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tocsin/tocsin.h>

#include "tests/unit/support.h"

#define FAULT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fault_case {
    const char *name;
    void (*run)(void);
};

/* Run @cases; returns what main() returns. */
int fault_main(const struct fault_case *cases, size_t cases_count);

/* Check on any thread: prints and ends the case as failed. */
#define FAULT_CHECK(condition)                                                                     \
    ((condition) ? (void)0 : fault_failed(__FILE__, __LINE__, #condition))
_Noreturn void fault_failed(const char *file, int line, const char *condition);

/* Check that @result, a call's, is @expected; prints both if not. */
#define FAULT_EXPECT(result, expected)                                                             \
    fault_expect(__FILE__, __LINE__, #result, (result), (expected))
void fault_expect(const char *file, int line, const char *what, long result, long expected);

/* End the case as skipped. */
_Noreturn void fault_skip(const char *reason);

/* How many descriptors this process has open. */
unsigned fault_descriptors(void);

/* Take all descriptors that there are, but for @spare. */
void fault_exhaust(int spare);

/* After that: how many are left; and one more. */
int fault_spare_descriptors(void);
void fault_release_descriptor(void);

/*
 * Call @fn with ever more descriptors to spare: -EMFILE, none kept, until it has its @needed.
 */
typedef int fault_attempt_fn(void *arg);
void fault_without_descriptors(fault_attempt_fn *fn, void *arg, int needed);

/* A pool with the defaults; ends the case if there is none. */
struct tocsin_pool *fault_pool(void);

/* Run @fn(@arg) inside a turn of @pool.  What that costs is allocated before @armed is called. */
void fault_in_turn(struct tocsin_pool *pool, support_body_fn *armed, support_body_fn *fn,
                   void *arg);

/*
 * See whether calls can be forbidden, and that they then are; skips the case where not.
 */
void fault_calls_can_be_forbidden(void);

/*
 * From here on any system call of this thread, but that of its end or of the process's, is the end
 * of the process.  libc's own way out of a thread has more calls: take SYS_exit.
 */
void fault_forbid_calls(void);

#endif
