/*
 * What the unit tests share: the last line of each program, deaths that are expected, threads on
 * two cores, an allocator that counts and can fail, and a backend that is all script.
 *
 * A test program is one file per runtime file.  Its tests are named after the rule they check and
 * look where only the inside can be seen; what the public interface shows is the conformance
 * suite's.  cmocka's assertions are for the main thread; elsewhere it is UNIT_CHECK().
 */
#ifndef TOCSIN_TESTS_UNIT_UNIT_H
#define TOCSIN_TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tocsin/tocsin.h>

#include "tests/unit/support.h"

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Run @tests and end with the line `N passed, N failed`.  Returns: what main() returns.
 */
int unit_run(const char *name, const struct CMUnitTest *tests, size_t tests_count);

#define UNIT_MAIN(tests)                                                                           \
    int main(void)                                                                                 \
    {                                                                                              \
        return unit_run(__FILE__, tests, UNIT_COUNT(tests));                                       \
    }

/* Leave the current test as skipped, saying why. */
void unit_skip(const char *reason);

/* Check on any thread: prints and aborts. */
#define UNIT_CHECK(condition)                                                                      \
    ((condition) ? (void)0 : unit_check_failed(__FILE__, __LINE__, #condition))
_Noreturn void unit_check_failed(const char *file, int line, const char *condition);

/*
 * Run @fn(@arg) in a forked child: it must abort, having printed @message to standard error.
 */
void unit_expect_abort(support_body_fn *fn, void *arg, const char *message);

/* Run @fn(@arg) in a forked child: it must return.  Its own UNIT_CHECK() may fail it. */
void unit_expect_return(support_body_fn *fn, void *arg);

/* An allocator that counts, fails when told to, and overwrites what is freed. */
struct unit_memory {
    struct tocsin_allocator allocator;
    atomic_uint allocations; /* ever */
    atomic_uint live;        /* not freed */
    atomic_uint fail_at;     /* the n-th allocation from now fails; 0: none */
};

void unit_memory_init(struct unit_memory *memory);

/* What a counter stands at. */
static inline unsigned unit_load(const atomic_uint *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* A waker that counts. */
struct unit_waker {
    atomic_uint refs; /* clones that were made and not given back */
    atomic_uint wakes;
};

struct tocsin_waker unit_waker_of(struct unit_waker *counts);

/* A task that counts, and does as it is told. */
struct unit_task {
    struct tocsin_task task;
    int (*poll)(struct unit_task *task, struct tocsin_context *cx); /* NULL: returns result */
    int result;                                                     /* TOCSIN_PENDING: for ever */
    void *arg;
    struct tocsin_waker waker; /* for polls that keep one */
    atomic_uint polls;
    atomic_uint drops;
    atomic_uint releases;
};

extern const struct tocsin_task_ops unit_task_ops;

/* Run @fn(@arg) inside a turn of @pool, on this thread. */
void unit_in_turn(struct tocsin_pool *pool, support_body_fn *fn, void *arg);

/* Spawn on @driver, holding a reference: give it back with tocsin_task_unref(). */
void unit_task_spawn(struct unit_task *task, struct tocsin_driver *driver, const char *name);

/*
 * A backend without an operating system.  Time stands still until a wait moves it to its deadline;
 * events are what the test put there.  A wait that nothing would end fails the test.
 */
enum {
    UNIT_FAKE_EVENTS = 8,
};

struct unit_fake {
    struct tocsin_backend backend; /* to open pools with */
    struct tocsin_backend_ops ops; /* the test may change these before it opens */
    _Atomic(uint64_t) now_ns;
    uint64_t tick_ns; /* how far each look at the clock moves it */
    void (*on_wait)(struct unit_fake *fake, struct tocsin_backend_events *list);
    void (*on_look)(struct unit_fake *fake, struct tocsin_backend_events *list);
    void *arg; /* for the two above */
    struct tocsin_backend_event events[UNIT_FAKE_EVENTS];
    unsigned events_count; /* reported by the next wait or look */
    int open_result;
    int wait_result;
    int attach_result;
    int detach_result;
    uint64_t waited_ns; /* the deadlines that were last asked for */
    uint64_t hosted_ns;
    uint64_t attached_id;
    uint32_t armed;
    atomic_uint kicks;
    unsigned kicks_seen;
    unsigned waits;
    unsigned looks;
    unsigned hosts;
    unsigned attaches;
    unsigned detaches;
    unsigned arms;
    unsigned closes;
};

enum {
    UNIT_FAKE_EDGE = TOCSIN_BACKEND_EDGE | TOCSIN_BACKEND_ANY_THREAD_ATTACH |
                     TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                     TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_POLL_HANDLE,
    UNIT_FAKE_ARMED = TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_SOCKETS |
                      TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_POLL_HANDLE,
};

void unit_fake_init(struct unit_fake *fake, uint32_t features);

/* Let the next wait or look report @events of @id. */
void unit_fake_event(struct unit_fake *fake, uint64_t id, uint32_t events);

/* See to it that @number is a descriptor of some file: the pool looks.  Returns: @number. */
int unit_number(int number);

/* A pool over @fake; the test closes it. */
struct tocsin_pool *unit_fake_pool(struct unit_fake *fake,
                                   const struct tocsin_pool_options *options);

#endif
