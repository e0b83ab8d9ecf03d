/*
 * Handles and the objects behind them.
 *
 * A handle that is closed is the next that is given out: whoever uses a closed one meets a
 * stranger's object.
 */
#include <stdlib.h>

#include "tests/nt_model/kernel.h"

enum {
    HANDLES_FIRST = 64,
};

struct object *object_create(enum nt_type type)
{
    struct object *object = calloc(1, sizeof(*object));

    if (object == NULL) {
        abort();
    }
    object->type = type;
    object->refs = 1;
    list_init(&object->waits);
    list_init(&object->port.late);
    list_init(&object->port.removers);
    list_append(&kernel.objects, &object->all);
    kernel.objects_count++;
    return object;
}

void object_ref(struct object *object)
{
    object->refs++;
}

void object_unref(struct object *object)
{
    if (--object->refs > 0) {
        return;
    }
    if (object->type == NT_TYPE_PORT) {
        port_free(object);
    }
    timer_stop(object);
    list_remove(&object->all);
    kernel.objects_count--;
    free(object);
}

static void grow(void)
{
    uint32_t count = kernel.handles_count == 0 ? HANDLES_FIRST : kernel.handles_count * 2;
    struct handle *handles = realloc(kernel.handles, count * sizeof(*handles));

    if (handles == NULL) {
        abort();
    }
    for (uint32_t i = count; i-- > (kernel.handles_count == 0 ? 1 : kernel.handles_count);) {
        handles[i] = (struct handle){.next_free = kernel.free_handle};
        kernel.free_handle = i;
    }
    kernel.handles = handles;
    kernel.handles_count = count;
}

void *handle_open(struct object *object, uint32_t access)
{
    uint32_t index;

    if (kernel.free_handle == 0) {
        grow();
    }
    index = kernel.free_handle;
    kernel.free_handle = kernel.handles[index].next_free;
    kernel.handles[index] = (struct handle){.object = object, .access = access};
    kernel.open_handles++;
    object->handles++;
    return (void *)((uintptr_t)index * 4);
}

static struct handle *find(void *handle)
{
    uintptr_t index = (uintptr_t)handle / 4;

    if ((uintptr_t)handle % 4 != 0 || index == 0 || index >= kernel.handles_count ||
        kernel.handles[index].object == NULL) {
        return NULL;
    }
    return &kernel.handles[index];
}

struct object *handle_peek(void *handle)
{
    struct handle *found = find(handle);

    return found != NULL ? found->object : NULL;
}

int32_t handle_object(void *handle, uint32_t access, struct object **out_object)
{
    struct handle *found = find(handle);

    if (found == NULL) {
        return NT_INVALID_HANDLE;
    }
    if ((found->access & access) != access) {
        return NT_ACCESS_DENIED;
    }
    *out_object = found->object;
    return 0;
}

int32_t handle_close(void *handle)
{
    struct handle *found = find(handle);
    struct object *object;

    if (found == NULL) {
        return NT_INVALID_HANDLE;
    }
    object = found->object;
    *found = (struct handle){.next_free = kernel.free_handle};
    kernel.free_handle = (uint32_t)((uintptr_t)handle / 4);
    kernel.open_handles--;
    if (--object->handles == 0 && object->is_packet) {
        packet_abandoned(object);
    }
    if (object->handles == 0 && object->type == NT_TYPE_PORT) {
        port_abandoned(object);
    }
    object_unref(object);
    return 0;
}

int32_t model_close(void *handle)
{
    kernel_enter(NT_CALL_CLOSE);
    return kernel_leave(NT_CALL_CLOSE, handle_close(handle));
}

int32_t model_packet_close(void *packet)
{
    kernel_enter(NT_CALL_PACKET_CLOSE);
    return kernel_leave(NT_CALL_PACKET_CLOSE, handle_close(packet));
}

/*
 * Rights that @handle has not are given, or not: by the object's security, which is not modelled.
 */
static int32_t duplicate(void *handle, uint32_t access, void **out_handle)
{
    struct object *object;
    int32_t status = handle_object(handle, nt_model_random(2) == 0 ? access : 0, &object);

    if (nt_failed(status)) {
        return status;
    }
    object_ref(object);
    *out_handle = handle_open(object, access);
    return 0;
}

int32_t model_duplicate_to_wait(void *handle, void **out_handle)
{
    int32_t status = kernel_enter(NT_CALL_DUPLICATE_TO_WAIT);

    if (status == 0) {
        status = duplicate(handle, ACCESS_WAIT, out_handle);
    }
    return kernel_leave(NT_CALL_DUPLICATE_TO_WAIT, status);
}

int32_t nt_model_duplicate_mute(void *handle, void **out_handle)
{
    int32_t status;

    kernel_lock();
    status = duplicate(handle, ACCESS_OTHER, out_handle);
    kernel_unlock();
    return status;
}

int32_t nt_model_duplicate(void *handle, void **out_handle)
{
    int32_t status;

    kernel_lock();
    status = duplicate(handle, ACCESS_ALL, out_handle);
    kernel_unlock();
    return status;
}

int32_t model_compare(void *handle, void *other)
{
    struct object *first = NULL;
    struct object *second = NULL;
    int32_t status = kernel_enter(NT_CALL_COMPARE);

    if (status == 0) {
        status =
            kernel.options.without_compare ? NT_NOT_IMPLEMENTED : handle_object(handle, 0, &first);
    }
    if (status == 0) {
        status = handle_object(other, 0, &second);
    }
    if (status == 0 && first != second) {
        status = NT_NOT_SAME_OBJECT;
    }
    return kernel_leave(NT_CALL_COMPARE, status);
}

int32_t model_type(void *handle, enum nt_type *out_type)
{
    struct object *object = NULL;
    int32_t status = kernel_enter(NT_CALL_TYPE);

    if (status == 0) {
        status = handle_object(handle, 0, &object);
    }
    if (status == 0) {
        *out_type = object->type;
        if (object->type == NT_TYPE_EVENT_MANUAL || object->type == NT_TYPE_EVENT_AUTO) {
            /* NtQueryEvent asks for a right of its own. */
            if (nt_failed(handle_object(handle, ACCESS_OTHER, &object))) {
                *out_type = NT_TYPE_EVENT;
            }
        }
    }
    return kernel_leave(NT_CALL_TYPE, status);
}

uint32_t nt_model_handles(void)
{
    uint32_t count;

    kernel_lock();
    count = kernel.open_handles;
    kernel_unlock();
    return count;
}

uint32_t nt_model_objects(void)
{
    uint32_t count;

    kernel_lock();
    count = kernel.objects_count;
    kernel_unlock();
    return count;
}
