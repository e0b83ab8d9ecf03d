/*
 * Waits of a thread: wait_one() and wait_many(), for any one of the handles.
 */
#include "tests/nt_model/kernel.h"

/* The first that is signalled already, by its index; or -1. */
static int32_t take_first(struct object *const *objects, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (object_is_signaled(objects[i])) {
            object_satisfy(objects[i]);
            return (int32_t)i;
        }
    }
    return -1;
}

static int32_t block_on(struct object *const *objects, uint32_t count, uint64_t deadline_ns)
{
    struct block blocks[NT_WAIT_MAX];
    struct sleeper sleeper;
    int32_t index;

    sleeper_init(&sleeper);
    sleeper.blocks = blocks;
    sleeper.blocks_count = count;
    for (uint32_t i = 0; i < count; i++) {
        blocks[i] = (struct block){.sleeper = &sleeper, .index = (int32_t)i};
        block_link(&blocks[i], objects[i]);
    }
    while (sleeper.index < 0 && sleeper_sleep(&sleeper, deadline_ns)) {
    }
    for (uint32_t i = 0; i < count; i++) {
        block_unlink(&blocks[i]);
    }
    index = sleeper.index;
    sleeper_deinit(&sleeper);
    return index < 0 ? NT_TIMEOUT : index;
}

static int32_t wait_for(void *const *handles, uint32_t count, uint64_t delay_ns)
{
    struct object *objects[NT_WAIT_MAX];
    int32_t status;

    if (count == 0 || count > NT_WAIT_MAX) {
        return NT_INVALID_PARAMETER;
    }
    for (uint32_t i = 0; i < count; i++) {
        status = handle_object(handles[i], ACCESS_WAIT, &objects[i]);
        if (nt_failed(status)) {
            return status;
        }
    }
    status = take_first(objects, count);
    if (status >= 0) {
        return status;
    }
    return delay_ns == 0 ? NT_TIMEOUT : block_on(objects, count, kernel_deadline(delay_ns));
}

int32_t model_wait_one(void *handle, uint64_t delay_ns)
{
    int32_t status = kernel_enter(NT_CALL_WAIT_ONE);

    if (status == 0) {
        status = wait_for(&handle, 1, delay_ns);
    }
    return kernel_leave(NT_CALL_WAIT_ONE, status);
}

int32_t model_wait_many(void *const *handles, uint32_t count, uint64_t delay_ns)
{
    int32_t status = kernel_enter(NT_CALL_WAIT_MANY);

    if (status == 0) {
        status = wait_for(handles, count, delay_ns);
    }
    return kernel_leave(NT_CALL_WAIT_MANY, status);
}
