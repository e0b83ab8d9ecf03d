/*
 * A pool on a thread of its own, and a whole program on a pool.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/actor.h"
#include "runtime/assert.h"
#include "runtime/pool.h"

struct tocsin_pool_thread {
    struct tocsin__thread thread;
    char name[16]; /* as much as the kernel keeps */
    struct tocsin_backend backend;
    bool has_backend;
    struct tocsin_pool_options options;
    uintptr_t id; /* of the thread; set before opened */
    int result;   /* of the run; published by the join */

    struct tocsin__mutex lock;
    struct tocsin__parking parking;
    bool opened;                  /* guarded by lock: the three below are set */
    int open_result;              /* guarded by lock */
    struct tocsin_driver *driver; /* guarded by lock */
};

static void tell_opened(struct tocsin_pool_thread *thread, int result, struct tocsin_driver *driver)
{
    tocsin__mutex_lock(&thread->lock);
    thread->opened = true;
    thread->open_result = result;
    thread->driver = driver;
    thread->id = tocsin__thread_id();
    tocsin__parking_signal(&thread->parking);
    tocsin__mutex_unlock(&thread->lock);
}

static void *thread_main(void *arg)
{
    struct tocsin_pool_thread *thread = arg;
    struct tocsin_pool *pool;
    int r;

    tocsin__is_pool_thread = true;
    tocsin__thread_set_name(thread->name);
    r = tocsin_pool_open(&pool, thread->has_backend ? &thread->backend : NULL, &thread->options);
    if (r < 0) {
        tell_opened(thread, r, NULL);
        return NULL;
    }
    tell_opened(thread, 0, tocsin_driver_ref(tocsin_pool_driver(pool)));
    thread->result = tocsin_pool_run(pool);
    r = tocsin_pool_close(pool);
    TOCSIN_ASSERT(r == 0, "a pool's own thread may close it");
    return NULL;
}

static void destroy(struct tocsin_pool_thread *thread)
{
    tocsin__parking_deinit(&thread->parking);
    tocsin__mutex_deinit(&thread->lock);
    free(thread);
}

static int create(struct tocsin_pool_thread **out_thread)
{
    struct tocsin_pool_thread *thread = calloc(1, sizeof(*thread));
    int r;

    if (thread == NULL) {
        return -ENOMEM;
    }
    r = tocsin__mutex_init(&thread->lock);
    if (r < 0) {
        goto err_lock;
    }
    r = tocsin__parking_init(&thread->parking);
    if (r < 0) {
        goto err_parking;
    }
    *out_thread = thread;
    return 0;

err_parking:
    tocsin__mutex_deinit(&thread->lock);
err_lock:
    free(thread);
    return r;
}

int tocsin_pool_spawn_thread(struct tocsin_pool_thread **out_thread,
                             struct tocsin_driver **out_driver, const char *name,
                             const struct tocsin_backend *backend,
                             const struct tocsin_pool_options *options)
{
    struct tocsin_pool_thread *thread;
    int r = create(&thread);

    if (r < 0) {
        return r;
    }
    if (backend != NULL) {
        thread->backend = *backend;
        thread->has_backend = true;
    }
    if (options != NULL) {
        thread->options = *options;
    }
    snprintf(thread->name, sizeof(thread->name), "%s", name != NULL ? name : "tocsin");
    r = tocsin__actor_thread_start(&thread->thread, thread_main, thread);
    if (r < 0) {
        destroy(thread);
        return r;
    }
    tocsin__mutex_lock(&thread->lock);
    while (!thread->opened) {
        tocsin__parking_wait(&thread->parking, &thread->lock);
    }
    r = thread->open_result;
    tocsin__mutex_unlock(&thread->lock);
    if (r < 0) {
        tocsin__actor_thread_join(&thread->thread);
        destroy(thread);
        return r;
    }
    *out_thread = thread;
    *out_driver = thread->driver;
    return 0;
}

int tocsin_pool_thread_join(struct tocsin_pool_thread *thread)
{
    int result;

    if (thread->id == tocsin__thread_id()) {
        return -EDEADLK;
    }
    tocsin__actor_thread_join(&thread->thread);
    result = thread->result;
    destroy(thread);
    return result;
}

struct main_task {
    struct tocsin_task task;
    tocsin_main_fn *fn;
    void *arg;
};

static int poll_main(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct main_task *main_task = TOCSIN__CONTAINER(task, struct main_task, task);

    return main_task->fn(cx, main_task->arg);
}

static void release_main(struct tocsin_task *task)
{
    free(TOCSIN__CONTAINER(task, struct main_task, task));
}

static const struct tocsin_task_ops main_task_ops = {.poll = poll_main, .release = release_main};

int tocsin_run_with(tocsin_main_fn *fn, void *arg, int *out_result)
{
    struct main_task *main_task;
    struct tocsin_pool *pool;
    int closed;
    int r;

    if (fn == NULL) {
        return -EINVAL;
    }
    main_task = malloc(sizeof(*main_task)); /* its wakers may outlive this call */
    if (main_task == NULL) {
        return -ENOMEM;
    }
    main_task->fn = fn;
    main_task->arg = arg;
    r = tocsin_pool_open(&pool, NULL, NULL);
    if (r < 0) {
        free(main_task);
        return r;
    }
    r = tocsin_task_spawn_ref(tocsin_pool_driver(pool), &main_task->task, &main_task_ops, "main");
    if (r < 0) {
        free(main_task);
    } else {
        r = tocsin_pool_run_until(pool, &main_task->task, out_result);
        tocsin_task_unref(&main_task->task);
    }
    closed = tocsin_pool_close(pool);
    TOCSIN_ASSERT(closed == 0, "the pool that this thread ran is its to close");
    return r;
}
