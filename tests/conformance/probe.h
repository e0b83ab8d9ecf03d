/*
 * What the cases about readiness, sockets, pipes, waits and processes share.
 *
 * A probe is a waker that counts: how often it was woken, and how many references to it exist.
 * With it a case polls an object from its own code, between turns of its pool, and reads from top
 * to bottom: poll, make something happen, let the pool turn, look at the count.  Where something
 * has to be waited for, probe_complete() runs the pool until an operation is done.
 */
#ifndef TOCSIN_CONFORM_PROBE_H
#define TOCSIN_CONFORM_PROBE_H

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

enum {
    /* Turns after which whatever the kernel knew has reached the one that waits for it. */
    PROBE_TURNS = 4,
};

struct probe {
    atomic_uint wakes;
    atomic_int references;
};

static inline void probe_clone(void *data)
{
    atomic_fetch_add_explicit(&((struct probe *)data)->references, 1, memory_order_relaxed);
}

static inline void probe_drop(void *data)
{
    atomic_fetch_sub_explicit(&((struct probe *)data)->references, 1, memory_order_acq_rel);
}

static inline void probe_wake_by_ref(void *data)
{
    conform_count(&((struct probe *)data)->wakes);
}

static inline void probe_wake(void *data)
{
    probe_wake_by_ref(data);
    probe_drop(data);
}

static inline unsigned probe_wakes(const struct probe *probe)
{
    return conform_read(&probe->wakes);
}

static inline int probe_references(const struct probe *probe)
{
    return atomic_load_explicit(&probe->references, memory_order_acquire);
}

/* The context that polls @probe's waker into an object of @pool. */
static inline struct tocsin_context probe_context(struct probe *probe, struct tocsin_pool *pool)
{
    static const struct tocsin_waker_ops ops = {probe_clone, probe_wake, probe_wake_by_ref,
                                                probe_drop};

    return (struct tocsin_context){.waker = {&ops, probe}, .driver = tocsin_pool_driver(pool)};
}

/* Let the pool take what the kernel has for it.  Does not block. */
static inline void probe_turns(struct conform *t, struct tocsin_pool *pool)
{
    for (int i = 0; i < PROBE_TURNS; i++) {
        REQUIRE(t, tocsin_pool_turn(pool) >= 0);
    }
}

/* Poll @ready, on behalf of @probe. */
static inline int probe_poll(struct tocsin_pool *pool, struct tocsin_fd_ready *ready,
                             enum tocsin_slot slot, uint32_t events, struct probe *probe)
{
    struct tocsin_context cx = probe_context(probe, pool);

    return tocsin_fd_ready_poll(ready, slot, events, &cx);
}

/*
 * What @slot is told in the end of that which is there already: poll, and if it is pending (level-
 * triggered backends look when they are asked), turn and poll again.
 */
static inline int probe_seen(struct conform *t, struct tocsin_pool *pool,
                             struct tocsin_fd_ready *ready, enum tocsin_slot slot, uint32_t events)
{
    struct probe probe = {0};
    int seen = probe_poll(pool, ready, slot, events, &probe);

    if (seen == TOCSIN_PENDING) {
        probe_turns(t, pool);
        seen = probe_poll(pool, ready, slot, events, &probe);
    }
    /* The probe ends here, so the slot must not keep it. */
    REQUIRE(t, seen != TOCSIN_PENDING);
    REQUIRE(t, probe_references(&probe) == 0);
    return seen;
}

/* Block until poll(2) says all of @events of @fd: the kernel knows them, maybe not the pool. */
static inline void probe_kernel_says(struct conform *t, int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};

    do {
        REQUIRE(t, poll(&one, 1, -1) == 1);
    } while ((one.revents & events) != events);
}

static inline void probe_ignore(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
}

/* Run the pool for some milliseconds.  True: it slept through, nothing kept it busy. */
static inline bool probe_sleeps(struct conform *t, struct tocsin_pool *pool)
{
    enum { DELAY_NS = 10 * 1000 * 1000, WAITS_MAX = 5 };
    const struct tocsin_timer_options options = {.delay_ns = DELAY_NS};
    unsigned waits = conform_read(&t->counts.waits) + conform_read(&t->counts.looks);
    struct tocsin_timer timer;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), probe_ignore, NULL) == 0);
    tocsin_timer_start(&timer, &options);
    REQUIRE(t, tocsin_pool_run(pool) == 0);
    tocsin_timer_deinit(&timer);
    return conform_read(&t->counts.waits) + conform_read(&t->counts.looks) - waits <= WAITS_MAX;
}

/* A task that polls @fn(cx, @arg) until it is ready, and keeps what it returned. */
struct probe_task {
    struct conform_task task;
    tocsin_poll_fn *fn;
    void *fn_arg;
    int result;
};

static inline int probe_task_poll(struct conform_task *task, struct tocsin_context *cx)
{
    struct probe_task *self = (struct probe_task *)task;

    self->result = self->fn(cx, self->fn_arg);
    return self->result;
}

static inline void probe_spawn(struct conform *t, struct tocsin_pool *pool, struct probe_task *task,
                               tocsin_poll_fn *fn, void *arg)
{
    memset(task, 0, sizeof(*task));
    task->fn = fn;
    task->fn_arg = arg;
    task->result = TOCSIN_PENDING;
    conform_spawn_ref(t, tocsin_pool_driver(pool), &task->task, probe_task_poll, NULL);
}

/* Run the pool until @task, from probe_spawn(), has ended; what its function returned. */
static inline int probe_finish(struct conform *t, struct tocsin_pool *pool, struct probe_task *task)
{
    int result = 0;

    REQUIRE(t, tocsin_pool_run_until(pool, &task->task.task, &result) == 0);
    CHECK_EQ(t, result, task->result);
    tocsin_task_unref(&task->task.task);
    CHECK_GONE(t, &task->task);
    return result;
}

/* Run the pool until @fn(cx, @arg), polled by a task, is ready; what it returned. */
static inline int probe_complete(struct conform *t, struct tocsin_pool *pool, tocsin_poll_fn *fn,
                                 void *arg)
{
    struct probe_task task;

    probe_spawn(t, pool, &task, fn, arg);
    return probe_finish(t, pool, &task);
}

#endif
