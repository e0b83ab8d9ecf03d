/*
 * A model of the NT kernel, as far as backends/windows/nt.h reaches: what tests say to it.
 *
 * It runs on Linux, inside the process, so that the Windows sources can be put under the sanitizers
 * and driven into corners.  All of it is one kernel per process, behind one lock; any thread may
 * call.  Its behaviour is that of tests/windows/wcp_facts.c and no more: what is not checked there
 * is not modelled, and where Windows leaves something open the seed decides.
 *
 * What a test can do to it:
 *   delays    at entry and exit of every call, and at the marked points of the sources
 *   lateness  a signalled packet takes a while to reach its port: the window in which a cancel
 *             says PENDING of a packet that nobody can remove yet
 *   failures  every so often, or the nth call of a kind, of those that may fail
 *   hooks     a function before and after each call and at each point, on the calling thread
 */
#ifndef TOCSIN_TESTS_NT_MODEL_MODEL_H
#define TOCSIN_TESTS_NT_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/windows/nt.h"

enum nt_model_call {
    NT_CALL_PORT_CREATE,
    NT_CALL_PORT_POST,
    NT_CALL_PORT_REMOVE,
    NT_CALL_PACKET_CREATE,
    NT_CALL_PACKET_ASSOCIATE,
    NT_CALL_PACKET_CANCEL,
    NT_CALL_PACKET_CLOSE,
    NT_CALL_CLOSE,
    NT_CALL_DUPLICATE_TO_WAIT,
    NT_CALL_COMPARE,
    NT_CALL_TYPE,
    NT_CALL_EVENT_CREATE,
    NT_CALL_EVENT_SET,
    NT_CALL_EVENT_RESET,
    NT_CALL_SEMAPHORE_CREATE,
    NT_CALL_SEMAPHORE_RELEASE,
    NT_CALL_TIMER_CREATE,
    NT_CALL_TIMER_SET,
    NT_CALL_TIMER_CANCEL,
    NT_CALL_WAIT_ONE,
    NT_CALL_WAIT_MANY,
    NT_CALL_COUNT,
    NT_CALL_POINTS = NT_CALL_COUNT, /* for hooks: + an enum nt_point */
};

struct nt_model_options {
    uint64_t seed;
    uint32_t delay_permille; /* of calls and points */
    uint32_t late_permille;  /* of signalled packets */
    uint32_t fail_permille; /* of calls that may fail: all those that create, and post, associate */
    bool without_packets;   /* as Windows 7 and Wine: the packet calls are NULL */
    bool without_compare;   /* as Windows before 10: NT_NOT_IMPLEMENTED */
};

/*
 * Start anew.  NULL: no delays, no failures.
 *
 * Thread: alone; every handle has been closed, which is asserted.
 */
void nt_model_begin(const struct nt_model_options *options);

/* The model's table; that of nt_model_begin()'s options. */
const struct nt *nt_model_table(void);

/* How many handles are open. */
uint32_t nt_model_handles(void);

/* How many objects are alive, with or without a handle. */
uint32_t nt_model_objects(void);

/* How often @call was made since the beginning. */
uint64_t nt_model_calls(enum nt_model_call call);

/* Let the @nth call of this kind from now on (1: the next) answer @status and do nothing. */
void nt_model_fail(enum nt_model_call call, uint32_t nth, int32_t status);

/* Block until @count threads are blocked in port_remove(), wait_one() or wait_many(). */
void nt_model_await_blocked(uint32_t count);

/* When a hook is called, on the thread that makes the call. */
enum nt_model_moment {
    NT_MOMENT_BEFORE,
    NT_MOMENT_AFTER, /* not of points */
};

/* @call: an enum nt_model_call, or NT_CALL_POINTS and the point. */
typedef void nt_model_hook_fn(int call, enum nt_model_moment moment, void *arg);

/* Of the calling thread's own calls; NULL: none. */
void nt_model_hook(nt_model_hook_fn *fn, void *arg);

/* ---- What only tests make. ---- */

/* A mutex; @owned: by the calling thread. */
int32_t nt_model_mutant_create(bool owned, void **out_mutant);

/* A job.  It is never signalled. */
int32_t nt_model_job_create(void **out_job);

/*
 * A thread, or a process as far as one can tell: runs @fn(@arg); its handle is signalled for good
 * once that has returned.  @type: NT_TYPE_THREAD or NT_TYPE_PROCESS.
 */
int32_t nt_model_task_start(enum nt_type type, void (*fn)(void *arg), void *arg, void **out_task);

/* A handle of the same object without the right to wait. */
int32_t nt_model_duplicate_mute(void *handle, void **out_handle);

/* A handle of the same object with every right. */
int32_t nt_model_duplicate(void *handle, void **out_handle);

/* Is an event, a thread or a process signalled?  Consumes nothing. */
bool nt_model_is_signaled(void *handle);

/* The next of the seed's numbers for this thread, below @limit. */
uint32_t nt_model_random(uint32_t limit);

#endif
