/*
 * What the scenarios with a pool share: tasks that are counted, and the ordinary ends.
 */
#ifndef TOCSIN_TESTS_MODEL_KIT_H
#define TOCSIN_TESTS_MODEL_KIT_H

#include <tocsin/task.h>

#include "tests/model/model.h"

/* What was done to a task; part of the scene, for the task itself is freed by its release. */
struct kit_log {
    unsigned polls;
    unsigned drops;
    unsigned releases;
    bool polling;
};

typedef int kit_poll_fn(void *arg, struct tocsin_context *cx);

/* On the heap of the run, until its release. */
struct kit_task {
    struct tocsin_task task;
    struct kit_log *log;
    kit_poll_fn *fn;
    void *arg;
};

/*
 * Spawn a task that polls @fn(@arg).  K2 is checked: drop once, then release once, never two polls
 * at a time.  @keep: with a reference for the caller.  Returns: it; NULL if the pool has closed.
 */
struct kit_task *kit_spawn(struct tocsin_driver *driver, struct kit_log *log, kit_poll_fn *fn,
                           void *arg, bool keep);

/* Its end has come as it should. */
void kit_check_ended(const struct kit_log *log);

/* Run @pool until nothing keeps it alive, and close it. */
void kit_run_and_close(struct tocsin_pool *pool);

/* Just close it. */
void kit_close(struct tocsin_pool *pool);

/* EDGE and ANY_THREAD_ATTACH, as epoll has. */
#define KIT_FEATURES (TOCSIN_BACKEND_EDGE | TOCSIN_BACKEND_ANY_THREAD_ATTACH)

#endif
