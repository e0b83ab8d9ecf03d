/*
 * Completion ports: a queue, and threads that block on it.
 *
 * Windows wakes the thread that blocked last, Wine the one that blocked first: here the seed says
 * which.
 */
#include <sched.h>
#include <stdlib.h>

#include "tests/nt_model/kernel.h"

enum {
    QUEUE_FIRST = 64,
};

static int32_t find(void *handle, struct object **out_object)
{
    int32_t status = handle_object(handle, ACCESS_OTHER, out_object);

    if (status == 0 && (*out_object)->type != NT_TYPE_PORT) {
        status = NT_OBJECT_TYPE_MISMATCH;
    }
    return status;
}

static struct queued *at(const struct port *port, uint32_t index)
{
    return &port->queue[(port->first + index) % port->capacity];
}

static void grow(struct port *port)
{
    uint32_t capacity = port->capacity == 0 ? QUEUE_FIRST : port->capacity * 2;
    struct queued *queue = calloc(capacity, sizeof(*queue));

    if (queue == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < port->count; i++) {
        queue[i] = *at(port, i);
    }
    free(port->queue);
    port->queue = queue;
    port->first = 0;
    port->capacity = capacity;
}

void port_wake(struct object *object)
{
    struct port *port = &object->port;
    struct link *link = &port->removers;

    if (port->removers_count == 0) {
        return;
    }
    for (uint32_t i = nt_model_random(port->removers_count) + 1; i > 0; i--) {
        link = link->next;
    }
    sleeper_wake(&((struct remover *)link)->sleeper);
}

void port_queue(struct object *object, const struct nt_entry *entry, struct object *packet)
{
    struct port *port = &object->port;

    if (port->count == port->capacity) {
        grow(port);
    }
    *at(port, port->count++) = (struct queued){.entry = *entry, .packet = packet};
    if (packet != NULL) {
        object_ref(packet);
    }
    port_wake(object);
}

bool port_withdraw(struct object *object, struct object *packet)
{
    struct port *port = &object->port;

    for (uint32_t i = 0; i < port->count; i++) {
        if (at(port, i)->packet != packet) {
            continue;
        }
        for (uint32_t j = i + 1; j < port->count; j++) {
            *at(port, j - 1) = *at(port, j);
        }
        port->count--;
        object_unref(packet);
        return true;
    }
    return false;
}

/* Take up to @entries_max; what is a packet is free again. */
static uint32_t take(struct object *object, struct nt_entry *entries, uint32_t entries_max)
{
    struct port *port = &object->port;
    uint32_t count = 0;

    while (count < entries_max && port->count > 0) {
        struct queued *queued = at(port, 0);
        struct object *packet = queued->packet;

        entries[count++] = queued->entry;
        port->first = (port->first + 1) % port->capacity;
        port->count--;
        if (packet != NULL) {
            packet->packet.state = PACKET_IDLE;
            packet->packet.port = NULL;
            object_unref(object);
            object_unref(packet);
        }
    }
    if (port->count > 0) {
        port_wake(object);
    }
    return count;
}

void port_free(struct object *object)
{
    free(object->port.queue);
}

/* Its last handle is closed: nobody can remove what is queued. */
void port_abandoned(struct object *object)
{
    struct nt_entry entry;

    if (object->port.removers_count != 0) {
        abort(); /* what becomes of those who block is not modelled: Windows and Wine differ */
    }
    packets_flush(object);
    while (object->port.count > 0) {
        take(object, &entry, 1);
    }
}

/* What is late may come now, later than whoever cancels meanwhile. */
static void receive_late(struct object *object, bool may_stay)
{
    if (list_is_empty(&object->port.late) || (may_stay && nt_model_random(2) == 0)) {
        return;
    }
    kernel_unlock();
    sched_yield();
    kernel_lock();
    packets_flush(object);
}

static bool await_entry(struct object *object, uint64_t deadline_ns)
{
    struct port *port = &object->port;
    struct remover remover;

    sleeper_init(&remover.sleeper);
    list_append(&port->removers, &remover.link);
    port->removers_count++;
    while (port->count == 0) {
        if (!sleeper_sleep(&remover.sleeper, deadline_ns)) {
            break;
        }
        if (port->count == 0) {
            receive_late(object, false);
        }
    }
    port->removers_count--;
    list_remove(&remover.link);
    sleeper_deinit(&remover.sleeper);
    if (port->count == 0) {
        packets_flush(object);
    }
    return port->count > 0;
}

int32_t model_port_create(void **out_port)
{
    int32_t status = kernel_enter(NT_CALL_PORT_CREATE);

    if (status == 0) {
        *out_port = handle_open(object_create(NT_TYPE_PORT), ACCESS_ALL);
    }
    return kernel_leave(NT_CALL_PORT_CREATE, status);
}

int32_t model_port_post(void *port, uintptr_t key, uintptr_t apc, int32_t status_posted,
                        uintptr_t information)
{
    struct nt_entry entry = {
        .key = key,
        .apc = apc,
        .io = {.status = (uintptr_t)(uint32_t)status_posted, .information = information}};
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_PORT_POST);

    if (status == 0) {
        status = find(port, &object);
    }
    if (status == 0) {
        port_queue(object, &entry, NULL);
    }
    return kernel_leave(NT_CALL_PORT_POST, status);
}

int32_t model_port_remove(void *port, struct nt_entry *entries, uint32_t entries_max,
                          uint64_t delay_ns, uint32_t *out_count)
{
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_PORT_REMOVE);

    if (status == 0) {
        status = find(port, &object);
    }
    if (status == 0 && entries_max == 0) {
        status = NT_INVALID_PARAMETER;
    }
    if (status != 0) {
        return kernel_leave(NT_CALL_PORT_REMOVE, status);
    }
    object_ref(object);
    receive_late(object, delay_ns == 0 || object->port.count > 0);
    if (object->port.count > 0 ||
        (delay_ns != 0 && await_entry(object, kernel_deadline(delay_ns)))) {
        *out_count = take(object, entries, entries_max);
    } else {
        status = NT_TIMEOUT;
    }
    object_unref(object);
    return kernel_leave(NT_CALL_PORT_REMOVE, status);
}
