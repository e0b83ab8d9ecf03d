/*
 * Events: a counter as eventfd(2) has it.
 */
#include <errno.h>
#include <string.h>

#include "backends/sim/object.h"

enum {
    COUNT_SIZE = sizeof(uint64_t),
};

#define COUNT_MAX (UINT64_MAX - 1)

uint32_t tocsin__sim_counter_events(const struct sim_object *object)
{
    return (object->count > 0 ? TOCSIN_IN : 0u) | (object->count < COUNT_MAX ? TOCSIN_OUT : 0u);
}

int tocsin_sim_event(struct tocsin_sim *sim, uint64_t count, bool semaphore, intptr_t *out_number)
{
    struct sim_object *object;
    int r;

    if (count > COUNT_MAX) {
        return -EINVAL;
    }
    tocsin__sim_lock(sim);
    r = tocsin__sim_may_act_locked(sim);
    r = r < 0 ? r : tocsin__sim_object_create_locked(sim, SIM_COUNTER, &object);
    if (r == 0) {
        object->count = count;
        object->semaphore = semaphore;
        *out_number = object->number;
        tocsin__sim_note_locked(sim, "new event", (uint64_t)object->number, count);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin__sim_counter_read_locked(struct tocsin_sim *sim, struct sim_object *object, void *data,
                                    size_t size)
{
    uint64_t taken = object->semaphore ? 1 : object->count;

    if (size < COUNT_SIZE) {
        return -EINVAL;
    }
    if (object->count == 0) {
        return -EAGAIN;
    }
    object->count -= taken;
    memcpy(data, &taken, COUNT_SIZE);
    tocsin__sim_edge_locked(sim, object);
    return COUNT_SIZE;
}

int tocsin__sim_counter_write_locked(struct tocsin_sim *sim, struct sim_object *object,
                                     const void *data, size_t size)
{
    uint64_t added;

    if (size != COUNT_SIZE) {
        return -EINVAL;
    }
    memcpy(&added, data, COUNT_SIZE);
    if (added > COUNT_MAX) {
        return -EINVAL;
    }
    if (added > COUNT_MAX - object->count) {
        return -EAGAIN;
    }
    object->count += added;
    tocsin__sim_edge_locked(sim, object);
    return COUNT_SIZE;
}
