/*
 * Events, semaphores, timers, mutants, jobs, threads: when they are signalled, and what a wait
 * takes.
 */
#include <pthread.h>
#include <stdlib.h>

#include "tests/nt_model/kernel.h"

bool object_is_signaled(const struct object *object)
{
    switch (object->type) {
    case NT_TYPE_SEMAPHORE:
        return object->count > 0;
    case NT_TYPE_MUTANT:
        return object->count == 0 || object->owner == kernel_thread();
    case NT_TYPE_EVENT_MANUAL:
    case NT_TYPE_EVENT_AUTO:
    case NT_TYPE_EVENT:
    case NT_TYPE_TIMER:
    case NT_TYPE_PROCESS:
    case NT_TYPE_THREAD:
    case NT_TYPE_JOB:
    case NT_TYPE_PORT:
    case NT_TYPE_OTHER:
        break;
    }
    return object->signaled;
}

void object_satisfy(struct object *object)
{
    if (object->type == NT_TYPE_SEMAPHORE) {
        object->count--;
    } else if (object->type == NT_TYPE_MUTANT) {
        object->count++;
        object->owner = kernel_thread();
    } else if ((object->type == NT_TYPE_EVENT_AUTO || object->type == NT_TYPE_TIMER) &&
               !object->manual) {
        object->signaled = false;
    }
}

void block_link(struct block *block, struct object *object)
{
    block->object = object;
    block->linked = true;
    object_ref(object);
    list_append(&object->waits, &block->link);
}

void block_unlink(struct block *block)
{
    if (block->linked) {
        block->linked = false;
        list_remove(&block->link);
        object_unref(block->object);
    }
}

void object_wake(struct object *object)
{
    object_ref(object);
    while (!list_is_empty(&object->waits) && object_is_signaled(object)) {
        bool oldest = nt_model_random(2) == 0;
        struct block *block = (struct block *)(oldest ? object->waits.next : object->waits.prev);
        struct sleeper *sleeper = block->sleeper;

        object_satisfy(object);
        if (sleeper == NULL) {
            struct object *packet = block->packet;

            block_unlink(block);
            packet_signaled(packet);
            continue;
        }
        sleeper->index = block->index;
        for (uint32_t i = 0; i < sleeper->blocks_count; i++) {
            block_unlink(&sleeper->blocks[i]);
        }
        sleeper_wake(sleeper);
    }
    object_unref(object);
}

/* ---- Timers ---- */

void timer_stop(struct object *object)
{
    kernel.timers_set -= object->due_ns != 0;
    object->due_ns = 0;
}

void timers_fire(void)
{
    uint64_t now_ns = 0;

    if (kernel.timers_set == 0) {
        return;
    }
    for (struct link *link = kernel.objects.next; link != &kernel.objects; link = link->next) {
        struct object *object = (struct object *)link;

        if (object->type != NT_TYPE_TIMER || object->due_ns == 0) {
            continue;
        }
        if (now_ns == 0) {
            now_ns = kernel_now_ns();
        }
        if (now_ns >= object->due_ns) {
            timer_stop(object);
            object->signaled = true;
            object_wake(object);
        }
    }
}

uint64_t timers_next(void)
{
    uint64_t next_ns = TOCSIN_NEVER_NS;

    if (kernel.timers_set == 0) {
        return next_ns;
    }
    for (struct link *link = kernel.objects.next; link != &kernel.objects; link = link->next) {
        struct object *object = (struct object *)link;

        if (object->type == NT_TYPE_TIMER && object->due_ns != 0 && object->due_ns < next_ns) {
            next_ns = object->due_ns;
        }
    }
    return next_ns;
}

/* ---- Calls ---- */

/* An object of @type with a handle, unless @status is a failure. */
static int32_t create(enum nt_model_call call, int32_t status, enum nt_type type,
                      struct object **out_object, void **out_handle)
{
    (void)call;
    if (status == 0) {
        *out_object = object_create(type);
        *out_handle = handle_open(*out_object, ACCESS_ALL);
    }
    return status;
}

static int32_t find(void *handle, enum nt_type type, enum nt_type or_type,
                    struct object **out_object)
{
    int32_t status = handle_object(handle, ACCESS_OTHER, out_object);

    if (status == 0 && (*out_object)->type != type && (*out_object)->type != or_type) {
        status = NT_OBJECT_TYPE_MISMATCH;
    }
    return status;
}

int32_t model_event_create(bool manual, bool signaled, void **out_event)
{
    struct object *object;
    int32_t status = create(NT_CALL_EVENT_CREATE, kernel_enter(NT_CALL_EVENT_CREATE),
                            manual ? NT_TYPE_EVENT_MANUAL : NT_TYPE_EVENT_AUTO, &object, out_event);

    if (status == 0) {
        object->manual = manual;
        object->signaled = signaled;
    }
    return kernel_leave(NT_CALL_EVENT_CREATE, status);
}

static int32_t event_change(enum nt_model_call call, void *event, bool signaled)
{
    struct object *object;
    int32_t status = kernel_enter(call);

    if (status == 0) {
        status = find(event, NT_TYPE_EVENT_MANUAL, NT_TYPE_EVENT_AUTO, &object);
    }
    if (status == 0) {
        object->signaled = signaled;
        object_wake(object);
    }
    return kernel_leave(call, status);
}

int32_t model_event_set(void *event)
{
    return event_change(NT_CALL_EVENT_SET, event, true);
}

int32_t model_event_reset(void *event)
{
    return event_change(NT_CALL_EVENT_RESET, event, false);
}

int32_t model_semaphore_create(int32_t count, int32_t count_max, void **out_semaphore)
{
    struct object *object;
    int32_t status = create(NT_CALL_SEMAPHORE_CREATE, kernel_enter(NT_CALL_SEMAPHORE_CREATE),
                            NT_TYPE_SEMAPHORE, &object, out_semaphore);

    if (status == 0) {
        object->count = count;
        object->count_max = count_max;
    }
    return kernel_leave(NT_CALL_SEMAPHORE_CREATE, status);
}

int32_t model_semaphore_release(void *semaphore, int32_t count)
{
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_SEMAPHORE_RELEASE);

    if (status == 0) {
        status = find(semaphore, NT_TYPE_SEMAPHORE, NT_TYPE_SEMAPHORE, &object);
    }
    if (status == 0 && count > object->count_max - object->count) {
        status = NT_SEMAPHORE_LIMIT_EXCEEDED;
    }
    if (status == 0) {
        object->count += count;
        object_wake(object);
    }
    return kernel_leave(NT_CALL_SEMAPHORE_RELEASE, status);
}

int32_t model_timer_create(bool manual, void **out_timer)
{
    struct object *object;
    int32_t status = create(NT_CALL_TIMER_CREATE, kernel_enter(NT_CALL_TIMER_CREATE), NT_TYPE_TIMER,
                            &object, out_timer);

    if (status == 0) {
        object->manual = manual;
    }
    return kernel_leave(NT_CALL_TIMER_CREATE, status);
}

int32_t model_timer_set(void *timer, uint64_t delay_ns)
{
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_TIMER_SET);

    if (status == 0) {
        status = find(timer, NT_TYPE_TIMER, NT_TYPE_TIMER, &object);
    }
    if (status == 0) {
        timer_stop(object);
        object->signaled = false;
        object->due_ns = kernel_deadline(delay_ns);
        kernel.timers_set++;
        timers_fire();
        sleepers_wake_all();
    }
    return kernel_leave(NT_CALL_TIMER_SET, status);
}

int32_t model_timer_cancel(void *timer)
{
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_TIMER_CANCEL);

    if (status == 0) {
        status = find(timer, NT_TYPE_TIMER, NT_TYPE_TIMER, &object);
    }
    if (status == 0) {
        timer_stop(object);
    }
    return kernel_leave(NT_CALL_TIMER_CANCEL, status);
}

/* ---- What only tests make ---- */

int32_t nt_model_mutant_create(bool owned, void **out_mutant)
{
    struct object *object;

    kernel_lock();
    create(NT_CALL_COUNT, 0, NT_TYPE_MUTANT, &object, out_mutant);
    if (owned) {
        object_satisfy(object);
    }
    kernel_unlock();
    return 0;
}

int32_t nt_model_job_create(void **out_job)
{
    struct object *object;

    kernel_lock();
    create(NT_CALL_COUNT, 0, NT_TYPE_JOB, &object, out_job);
    kernel_unlock();
    return 0;
}

struct task {
    struct object *object; /* referenced */
    void (*fn)(void *arg);
    void *arg;
};

static void *task_main(void *arg)
{
    struct task *task = arg;

    task->fn(task->arg);
    kernel_lock();
    task->object->signaled = true;
    object_wake(task->object);
    object_unref(task->object);
    free(task);
    kernel_unlock();
    return NULL;
}

int32_t nt_model_task_start(enum nt_type type, void (*fn)(void *arg), void *arg, void **out_task)
{
    struct task *task = malloc(sizeof(*task));
    pthread_t thread;

    if (task == NULL) {
        abort();
    }
    kernel_lock();
    create(NT_CALL_COUNT, 0, type, &task->object, out_task);
    object_ref(task->object);
    kernel_unlock();
    task->fn = fn;
    task->arg = arg;
    if (pthread_create(&thread, NULL, task_main, task) != 0) {
        abort();
    }
    pthread_detach(thread);
    return 0;
}

bool nt_model_is_signaled(void *handle)
{
    struct object *object;
    bool signaled;

    kernel_lock();
    object = handle_peek(handle);
    signaled = object != NULL && object_is_signaled(object);
    kernel_unlock();
    return signaled;
}
