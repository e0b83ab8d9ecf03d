/*
 * The allocator that fails when told to, and operations tried with it: see memory.h.
 */
#include "tests/fault/memory.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ALLOCATIONS_MAX = 40, /* of one operation; far more than any makes */
};

atomic_int memory_live;
atomic_int memory_calls;
atomic_int memory_fail_in;
atomic_bool memory_fail_all;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *pointer);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *pointer);

/* Counts an allocation that is asked for.  Returns: whether it fails. */
static bool fails(void)
{
    int left = atomic_load_explicit(&memory_fail_in, memory_order_relaxed);

    atomic_fetch_add_explicit(&memory_calls, 1, memory_order_relaxed);
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

struct elsewhere {
    support_body_fn *fn;
    void *arg;
    atomic_bool is_ready;
    atomic_bool may_go;
    atomic_bool is_done;
};

static void tell(atomic_bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_release);
}

static void await(const atomic_bool *flag)
{
    while (!atomic_load_explicit(flag, memory_order_acquire)) {
        sched_yield();
    }
}

static void wait_and_call(void *arg)
{
    struct elsewhere *elsewhere = arg;

    tell(&elsewhere->is_ready);
    await(&elsewhere->may_go);
    elsewhere->fn(elsewhere->arg);
    tell(&elsewhere->is_done);
}

int memory_elsewhere(support_body_fn *fn, void *arg)
{
    struct elsewhere elsewhere = {.fn = fn, .arg = arg};
    bool failed = atomic_load_explicit(&memory_fail_all, memory_order_relaxed);
    struct support_thread thread;
    int calls;

    atomic_store_explicit(&memory_fail_all, false, memory_order_relaxed);
    support_thread_start(&thread, 1, wait_and_call, &elsewhere);
    await(&elsewhere.is_ready);
    calls = atomic_load_explicit(&memory_calls, memory_order_relaxed);
    atomic_store_explicit(&memory_fail_all, true, memory_order_relaxed);
    tell(&elsewhere.may_go);
    await(&elsewhere.is_done);
    atomic_store_explicit(&memory_fail_all, failed, memory_order_relaxed);
    calls = atomic_load_explicit(&memory_calls, memory_order_relaxed) - calls;
    support_thread_join(&thread);
    return calls;
}
