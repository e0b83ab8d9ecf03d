/*
 * What the stress programs share: a seed, a count, and a watchdog.
 *
 *     PROGRAM [--seed N] [--count N]
 *
 * Two cores race for something, so many times, in an order that the seed decides as far as it can.
 * The programs block on what they wait for, or spin on it; a hang is what the watchdog says after a
 * minute without progress.  The last line is `N passed, N failed`.
 */
#ifndef TOCSIN_TESTS_STRESS_STRESS_H
#define TOCSIN_TESTS_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tocsin/tocsin.h>

#include "tests/unit/support.h"

/* Read the arguments, run @body(@count), end.  Returns what main() returns. */
typedef void stress_body_fn(unsigned count, struct support_random *random);
int stress_main(int argc, char **argv, unsigned count, stress_body_fn *body);

/* One more is done: the watchdog starts anew.  Thread: any. */
void stress_progress(void);

/* Check on any thread: prints and ends the program as failed. */
#define STRESS_CHECK(condition)                                                                    \
    ((condition) ? (void)0 : stress_failed(__FILE__, __LINE__, #condition))
_Noreturn void stress_failed(const char *file, int line, const char *condition);

/* Spend a while that differs each time, for the races to differ. */
void stress_dither(struct support_random *random);

/* Wait until *@counter is at least @value, without a system call. */
void stress_await(const atomic_uint *counter, unsigned value);

/* A pool with the defaults; the program ends as skipped where TOCSIN_BACKEND is refused. */
struct tocsin_pool *stress_pool(void);

static inline unsigned stress_load(const atomic_uint *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

static inline void stress_add(atomic_uint *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_acq_rel);
}

#endif
