/*
 * Cancel from another thread against a task that runs, wakes itself and ends.
 *
 * 0 from the first cancel: the result is -ECANCELED, or that of the poll that was under way, and of
 * all polls at most that one may still be seen after the cancel has returned.  -EALREADY: the task
 * had its own result.  drop and release come once each, release last.
 */
#include <errno.h>

#include "tests/stress/stress.h"

enum {
    RESULT = 7,
    YIELDS_MAX = 4,
};

struct task {
    struct tocsin_task task;
    unsigned yields; /* polls that yield before the one that ends; YIELDS_MAX: none ends */
    unsigned polls;
    unsigned late_polls; /* that began after the cancel had returned */
    atomic_uint polled;
    atomic_bool cancelled;
    atomic_uint drops;
    atomic_uint releases;
};

static int poll_task(struct tocsin_task *base, struct tocsin_context *cx)
{
    struct task *task = (struct task *)(void *)base;

    task->late_polls += atomic_load_explicit(&task->cancelled, memory_order_acquire);
    stress_add(&task->polled);
    if (task->yields == YIELDS_MAX || task->polls++ < task->yields) {
        return tocsin_task_yield(cx);
    }
    return RESULT;
}

static void drop_task(struct tocsin_task *base)
{
    struct task *task = (struct task *)(void *)base;

    STRESS_CHECK(stress_load(&task->releases) == 0);
    stress_add(&task->drops);
}

static void release_task(struct tocsin_task *base)
{
    struct task *task = (struct task *)(void *)base;

    STRESS_CHECK(stress_load(&task->drops) == 1);
    stress_add(&task->releases);
}

static const struct tocsin_task_ops ops = {poll_task, drop_task, release_task};

/* One task of which this thread cancels what another thread's pool runs. */
static void race_once(struct tocsin_driver *driver, struct support_random *random)
{
    struct task task = {.yields = support_random_below(random, YIELDS_MAX + 1)};
    int result = 0;
    int r;

    STRESS_CHECK(tocsin_task_spawn_ref(driver, &task.task, &ops, "cancelled") == 0);
    if (support_random_below(random, 3) > 0) {
        stress_await(&task.polled, 1);
    }
    stress_dither(random);
    r = tocsin_task_cancel(&task.task);
    atomic_store_explicit(&task.cancelled, true, memory_order_release);
    STRESS_CHECK(r == 0 || r == -EALREADY);
    STRESS_CHECK(tocsin_task_join(&task.task, &result) == 0);
    STRESS_CHECK(result == RESULT || (r == 0 && result == -ECANCELED));
    STRESS_CHECK(task.late_polls <= 1);
    STRESS_CHECK(tocsin_task_state(&task.task) ==
                 (result == RESULT ? TOCSIN_TASK_ENDED : TOCSIN_TASK_CANCELLED));
    STRESS_CHECK(tocsin_task_cancel(&task.task) == -EALREADY);
    STRESS_CHECK(stress_load(&task.drops) == 1);
    tocsin_task_unref(&task.task);
    stress_await(&task.releases, 1);
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &driver, "cancels", NULL, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        race_once(driver, random);
    }
    tocsin_driver_unref(driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 10000, run);
}
