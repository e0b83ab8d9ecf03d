/*
 * Children: small tasks that actors spawn, cancel, wake and join.
 */
#include "differential.h"

static struct child *child_of(struct tocsin_task *task)
{
    return (struct child *)(void *)task;
}

static int sleep_poll(struct child *child, struct tocsin_context *cx)
{
    if (!child->timer_used) {
        NEED(CALL(tocsin_timer_init)(&child->timer, cx->driver, NULL, NULL) == 0);
        child->timer_used = true;
        CALL(tocsin_timer_arm)
        (&child->timer, CALL(tocsin_driver_now_ns)(cx->driver) + child->times * UINT64_C(50000));
    }
    return CALL(tocsin_timer_poll)(&child->timer, cx, 0);
}

static int child_step(struct child *child, struct tocsin_context *cx, unsigned polls)
{
    switch (child->does) {
    case CHILD_YIELDS:
        return polls <= child->times ? CALL(tocsin_task_yield)(cx) : 0;
    case CHILD_WAITS:
        return atomic_load_explicit(&child->flag, memory_order_acquire) != 0 ? 0 : TOCSIN_PENDING;
    case CHILD_SLEEPS:
        return sleep_poll(child, cx);
    case CHILD_CANCELS_ITSELF:
        CALL(tocsin_task_cancel)(CALL(tocsin_task_current)());
        return TOCSIN_PENDING;
    case CHILD_READY_CANCELLED:
        CALL(tocsin_task_cancel)(CALL(tocsin_task_current)());
        return 0;
    case CHILD_DOES:
        break;
    }
    abort(); /* no child does that */
}

static int child_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct child *child = child_of(task);
    unsigned polls = atomic_fetch_add_explicit(&child->polls, 1, memory_order_relaxed) + 1;

    expect(child->run, NULL, CALL(tocsin_task_current)() == task, "a child is the current task",
           TOCSIN_HERE);
    if (polls == 1) {
        tally_add(&child->polled);
    }
    if (child_step(child, cx, polls) == TOCSIN_PENDING) {
        return TOCSIN_PENDING;
    }
    if (child->order != NULL) {
        order_mark(child->order, child->mark);
    }
    return child->result;
}

static void child_drop(struct tocsin_task *task)
{
    struct child *child = child_of(task);

    if (child->timer_used) {
        CALL(tocsin_timer_deinit)(&child->timer);
    }
    atomic_fetch_add_explicit(&child->run->dropped, 1, memory_order_relaxed);
}

static void child_release(struct tocsin_task *task)
{
    struct child *child = child_of(task);
    struct run *run = child->run;

    tally_deinit(&child->polled);
    free(child);
    atomic_fetch_add_explicit(&run->released, 1, memory_order_release);
}

const struct tocsin_task_ops child_ops = {
    .poll = child_poll,
    .drop = child_drop,
    .release = child_release,
};

struct child *child_new(struct run *run, enum child_does does, unsigned times, int result)
{
    struct child *child = calloc(1, sizeof(*child));

    NEED(child != NULL);
    child->run = run;
    child->does = does;
    child->times = times;
    child->result = result;
    tally_init(&child->polled);
    return child;
}

void child_spawn(struct tocsin_driver *driver, struct child *child, const char *name)
{
    atomic_fetch_add_explicit(&child->run->spawned, 1, memory_order_relaxed);
    NEED(CALL(tocsin_task_spawn_ref_at)(driver, &child->task, &child_ops, name, TOCSIN_HERE) == 0);
}

void child_unref(struct child *child)
{
    CALL(tocsin_task_unref)(&child->task);
}

void child_finish(struct child *child)
{
    struct tocsin_waker waker = CALL(tocsin_task_waker)(&child->task);

    atomic_store_explicit(&child->flag, 1, memory_order_release);
    CALL(tocsin_waker_wake)(&waker);
}

int child_join(struct actor *actor, struct child *child, int *out_result)
{
    struct tocsin_join join;
    int r;

    *out_result = 0;
    if (actor->by == BY_THREAD) {
        return CALL(tocsin_task_join)(&child->task, out_result);
    }
    if (actor->by == BY_MAIN) {
        do {
            r = CALL(tocsin_pool_run_until)(actor->run->pool, &child->task, out_result);
        } while (r == 1);
        return r;
    }
    CALL(tocsin_join_init)(&join, &child->task);
    do {
        r = CALL(tocsin_join_poll)(&join, actor->cx, out_result);
    } while (again(actor, r));
    CALL(tocsin_join_deinit)(&join);
    return r;
}
