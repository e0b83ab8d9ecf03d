/*
 * The allocator that fails when told to, and operations tried with it: see memory.h.
 */
#include "tests/fault/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ALLOCATIONS_MAX = 40, /* of one operation; far more than any makes */
};

atomic_int memory_live;
atomic_int memory_fail_in;
atomic_bool memory_fail_all;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *pointer);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *pointer);

/* Does this allocation fail? */
static bool fails(void)
{
    int left = atomic_load_explicit(&memory_fail_in, memory_order_relaxed);

    if (atomic_load_explicit(&memory_fail_all, memory_order_relaxed)) {
        return true;
    }
    while (left > 0 &&
           !atomic_compare_exchange_weak_explicit(&memory_fail_in, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return left == 1;
}

static void *counted(void *pointer)
{
    if (pointer != NULL) {
        atomic_fetch_add_explicit(&memory_live, 1, memory_order_relaxed);
    }
    return pointer;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void __wrap_free(void *pointer)
{
    if (pointer != NULL) {
        atomic_fetch_sub_explicit(&memory_live, 1, memory_order_relaxed);
    }
    __real_free(pointer);
}

static void arm_nothing(struct fixture *fixture)
{
    (void)fixture;
}

static int armed_for;

static void arm(void *arg)
{
    (void)arg;
    atomic_store_explicit(&memory_fail_in, armed_for, memory_order_relaxed);
}

static const struct operation *current;

static void attempt_in_turn(void *arg)
{
    current->attempt(arg);
}

/* Try it with the @nth allocation failing.  Returns: whether it came to that. */
static bool attempt(const struct operation *operation, struct fixture *fixture, int nth)
{
    current = operation;
    armed_for = nth;
    fixture->result = 1;
    if (operation->in_turn) {
        fault_in_turn(fixture->pool, arm, attempt_in_turn, fixture);
    } else {
        arm(NULL);
        operation->attempt(fixture);
    }
    return atomic_exchange_explicit(&memory_fail_in, 0, memory_order_relaxed) == 0 && nth > 0;
}

static bool run_nth(const struct operation *operation, int nth)
{
    struct fixture *fixture = __real_calloc(1, sizeof(*fixture));
    unsigned descriptors = fault_descriptors();
    int live_before = atomic_load_explicit(&memory_live, memory_order_relaxed);
    bool failed;

    fixture->number = -1;
    if (!operation->no_pool) {
        fixture->pool = fault_pool();
        fixture->driver = tocsin_pool_driver(fixture->pool);
    }
    (operation->prepare != NULL ? operation->prepare : arm_nothing)(fixture);
    failed = attempt(operation, fixture, nth);
    if (failed) {
        unsigned open_before = fault_descriptors();

        FAULT_EXPECT(fixture->result, -ENOMEM);
        attempt(operation, fixture, 1); /* and again: it costs nothing more */
        FAULT_EXPECT(fixture->result, -ENOMEM);
        FAULT_EXPECT(fault_descriptors(), open_before);
        attempt(operation, fixture, 0);
    }
    FAULT_EXPECT(fixture->result, 0);
    (operation->undo != NULL ? operation->undo : arm_nothing)(fixture);
    if (!operation->no_pool) {
        FAULT_EXPECT(tocsin_pool_close(fixture->pool), 0);
    }
    for (int i = 0; i < 2; i++) {
        if (fixture->fds[i] > 0) {
            close(fixture->fds[i]);
        }
    }
    __real_free(fixture);
    FAULT_EXPECT(fault_descriptors(), descriptors);
    FAULT_EXPECT(atomic_load_explicit(&memory_live, memory_order_relaxed), live_before);
    return failed;
}

void memory_run_operation(const struct operation *operation)
{
    int nth = 1;

    while (run_nth(operation, nth)) {
        nth++;
        FAULT_CHECK(nth < ALLOCATIONS_MAX);
    }
    FAULT_CHECK(nth > 1); /* it has an allocation that can fail */
}
