/*
 * Wakes from two threads of a task on a pool that lives in a uv_loop_t.
 *
 * Each waker publishes a number and wakes; now and then it waits until a poll has seen that number,
 * so that the loop has had the time to fall asleep.  A wake that is lost between two iterations of
 * the loop hangs.  An iteration of the loop without a poll of the task's is one for nothing: a
 * kick that merged, at most one for each poll.
 */
#include <stdio.h>
#include <uv.h>

#include <tocsin/uv.h>

#include "tests/stress/stress.h"

enum {
    WAKERS = 2,
};

struct waker {
    struct support_thread thread;
    struct support_random random;
    struct tocsin_waker waker;
    unsigned count;
    atomic_uint asked;
    atomic_uint seen;
};

struct task {
    struct tocsin_task task;
    struct waker wakers[WAKERS];
    unsigned polls;
};

static int look(struct tocsin_task *base, struct tocsin_context *cx)
{
    struct task *task = (struct task *)(void *)base;
    unsigned ended = 0;

    (void)cx;
    task->polls++;
    for (unsigned i = 0; i < WAKERS; i++) {
        unsigned asked = stress_load(&task->wakers[i].asked);

        atomic_store_explicit(&task->wakers[i].seen, asked, memory_order_release);
        ended += asked == task->wakers[i].count;
    }
    return ended == WAKERS ? 0 : TOCSIN_PENDING;
}

static void wake(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 1; i <= waker->count; i++) {
        atomic_store_explicit(&waker->asked, i, memory_order_release);
        tocsin_waker_wake_by_ref(&waker->waker);
        switch (support_random_below(&waker->random, 4)) {
        case 0:
            stress_await(&waker->seen, i);
            break;
        case 1:
            stress_dither(&waker->random);
            break;
        default:
            break;
        }
        stress_progress();
    }
    tocsin_waker_drop(&waker->waker);
}

static void count_iteration(uv_prepare_t *prepare)
{
    ++*(unsigned *)prepare->data;
}

static void run(unsigned count, struct support_random *random)
{
    static const struct tocsin_task_ops ops = {.poll = look};
    static struct task task;
    uv_loop_t loop;
    uv_prepare_t prepare;
    struct tocsin_backend backend = tocsin_uv_backend(&loop);
    struct tocsin_pool *pool = NULL;
    unsigned iterations = 0;

    STRESS_CHECK(uv_loop_init(&loop) == 0);
    uv_prepare_init(&loop, &prepare);
    prepare.data = &iterations;
    uv_prepare_start(&prepare, count_iteration);
    uv_unref((uv_handle_t *)&prepare);
    STRESS_CHECK(tocsin_pool_open(&pool, &backend, NULL) == 0);
    STRESS_CHECK(tocsin_uv_host(pool) == 0);
    STRESS_CHECK(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &task.task, &ops, "asked") == 0);
    for (unsigned i = 0; i < WAKERS; i++) {
        struct waker *waker = &task.wakers[i];

        waker->random.state = support_random_next(random);
        waker->waker = tocsin_task_waker(&task.task);
        waker->count = count / WAKERS + 1;
    }
    for (unsigned i = 0; i < WAKERS; i++) {
        support_thread_start(&task.wakers[i].thread, i, wake, &task.wakers[i]);
    }
    STRESS_CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    for (unsigned i = 0; i < WAKERS; i++) {
        support_thread_join(&task.wakers[i].thread);
        STRESS_CHECK(stress_load(&task.wakers[i].seen) == task.wakers[i].count);
    }
    STRESS_CHECK(iterations <= 2 * task.polls + 4);
    printf("%u wakes, %u polls, %u iterations of the loop\n", task.wakers[0].count * WAKERS,
           task.polls, iterations);
    tocsin_task_unref(&task.task);
    STRESS_CHECK(tocsin_pool_close(pool) == 0);
    uv_close((uv_handle_t *)&prepare, NULL);
    STRESS_CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    STRESS_CHECK(uv_loop_close(&loop) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 50000, run);
}
