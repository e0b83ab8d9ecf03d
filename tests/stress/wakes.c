/*
 * Wakes from two threads against the pool's way into sleep.
 *
 * Each waker publishes a number and wakes; now and then it waits until a poll has seen that number,
 * so that the pool has had the time to fall asleep.  A lost wake hangs.  W1: a kick for each sleep
 * at most, which the backend counts.
 */
#include "tests/stress/stress.h"

enum {
    WAKERS = 2,
};

/* epoll with counts of waits and kicks before it. */
static const struct tocsin_backend_ops *inner;
static atomic_uint waits;
static atomic_uint kicks;

static int be_counting_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    stress_add(&waits);
    return inner->wait(state, deadline_ns, list);
}

static void be_counting_kick(void *state)
{
    stress_add(&kicks);
    inner->kick(state);
}

struct asker {
    struct support_thread thread;
    struct support_random random;
    struct tocsin_waker waker;
    unsigned count;
    atomic_uint asked;
    atomic_uint seen;
};

struct task {
    struct tocsin_task task;
    struct asker askers[WAKERS];
    unsigned count;
};

static int look(struct tocsin_task *base, struct tocsin_context *cx)
{
    struct task *task = (struct task *)(void *)base;
    unsigned ended = 0;

    (void)cx;
    for (unsigned i = 0; i < WAKERS; i++) {
        unsigned asked = stress_load(&task->askers[i].asked);

        atomic_store_explicit(&task->askers[i].seen, asked, memory_order_release);
        ended += asked == task->count;
    }
    return ended == WAKERS ? 0 : TOCSIN_PENDING;
}

static void ask(void *arg)
{
    struct asker *asker = arg;

    for (unsigned i = 1; i <= asker->count; i++) {
        atomic_store_explicit(&asker->asked, i, memory_order_release);
        tocsin_waker_wake_by_ref(&asker->waker);
        switch (support_random_below(&asker->random, 4)) {
        case 0:
            stress_await(&asker->seen, i);
            break;
        case 1:
            stress_dither(&asker->random);
            break;
        default:
            break;
        }
        stress_progress();
    }
    tocsin_waker_drop(&asker->waker);
}

static void run(unsigned count, struct support_random *random)
{
    static const struct tocsin_task_ops ops = {.poll = look};
    struct tocsin_backend_ops counting = *tocsin_backend_default()->ops;
    struct tocsin_backend backend = {.ops = &counting};
    struct tocsin_pool *pool = NULL;
    static struct task task;

    inner = tocsin_backend_default()->ops;
    counting.wait = be_counting_wait;
    counting.kick = be_counting_kick;
    STRESS_CHECK(tocsin_pool_open(&pool, &backend, NULL) == 0);
    task.count = count / WAKERS + 1;
    STRESS_CHECK(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &task.task, &ops, "asked") == 0);
    for (unsigned i = 0; i < WAKERS; i++) {
        struct asker *asker = &task.askers[i];

        asker->random.state = support_random_next(random);
        asker->waker = tocsin_task_waker(&task.task);
        asker->count = task.count;
        support_thread_start(&asker->thread, i, ask, asker);
    }
    STRESS_CHECK(tocsin_pool_run(pool) == 0);
    for (unsigned i = 0; i < WAKERS; i++) {
        support_thread_join(&task.askers[i].thread);
        STRESS_CHECK(stress_load(&task.askers[i].seen) == task.count);
    }
    STRESS_CHECK(stress_load(&kicks) <= stress_load(&waits));
    tocsin_task_unref(&task.task);
    STRESS_CHECK(tocsin_pool_close(pool) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 100000, run);
}
