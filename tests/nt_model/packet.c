/*
 * Wait completion packets.
 *
 * A packet that is armed has a wait on its target as a thread would; when that is satisfied the
 * packet is queued, at once or, by chance, late: then it is in use, and nobody can remove it yet.
 */
#include "tests/nt_model/kernel.h"

static int32_t find(void *handle, struct object **out_object)
{
    int32_t status = handle_object(handle, ACCESS_OTHER, out_object);

    if (status == 0 && !(*out_object)->is_packet) {
        status = NT_OBJECT_TYPE_MISMATCH;
    }
    return status;
}

int32_t model_packet_create(void **out_packet)
{
    int32_t status = kernel_enter(NT_CALL_PACKET_CREATE);

    if (status == 0) {
        struct object *object = object_create(NT_TYPE_OTHER);

        object->is_packet = true;
        *out_packet = handle_open(object, ACCESS_ALL);
    }
    return kernel_leave(NT_CALL_PACKET_CREATE, status);
}

static void deliver(struct object *object)
{
    struct object *port = object->packet.port;

    if (port->handles == 0) {
        object->packet.state = PACKET_IDLE;
        object->packet.port = NULL;
        object_unref(port);
        return;
    }
    object->packet.state = PACKET_QUEUED;
    port_queue(port, &object->packet.entry, object);
}

/* The target's wait is satisfied; the packet has no block any more. */
void packet_signaled(struct object *object)
{
    struct packet *packet = &object->packet;
    struct object *target = packet->target;

    packet->target = NULL;
    if (kernel_chance(kernel.options.late_permille)) {
        packet->state = PACKET_LATE;
        list_append(&packet->port->port.late, &packet->late);
        port_wake(packet->port);
    } else {
        deliver(object);
        object_unref(object); /* the queue has its own reference */
    }
    object_unref(target);
}

void packets_flush(struct object *port)
{
    object_ref(port);
    while (!list_is_empty(&port->port.late)) {
        struct packet *packet =
            (struct packet *)((char *)port->port.late.next - offsetof(struct packet, late));
        struct object *object = (struct object *)((char *)packet - offsetof(struct object, packet));

        list_remove(&packet->late);
        deliver(object);
        object_unref(object);
    }
    object_unref(port);
}

static int32_t check_target(void *handle, struct object **out_target)
{
    int32_t status = handle_object(handle, ACCESS_WAIT, out_target);

    if (status != 0) {
        return status;
    }
    switch ((*out_target)->type) {
    case NT_TYPE_MUTANT:
    case NT_TYPE_PORT:
    case NT_TYPE_OTHER:
        return NT_INVALID_PARAMETER_3;
    case NT_TYPE_EVENT_MANUAL:
    case NT_TYPE_EVENT_AUTO:
    case NT_TYPE_EVENT:
    case NT_TYPE_SEMAPHORE:
    case NT_TYPE_TIMER:
    case NT_TYPE_PROCESS:
    case NT_TYPE_THREAD:
    case NT_TYPE_JOB:
        break;
    }
    return 0;
}

static int32_t associate(struct object *object, void *port_handle, void *target_handle,
                         const struct nt_entry *entry, bool *out_already_signaled)
{
    struct packet *packet = &object->packet;
    struct object *port;
    struct object *target;
    int32_t status;

    if (packet->state != PACKET_IDLE) {
        return NT_INVALID_PARAMETER_1; /* before the target is looked at */
    }
    status = handle_object(port_handle, ACCESS_OTHER, &port);
    if (status == 0 && port->type != NT_TYPE_PORT) {
        status = NT_OBJECT_TYPE_MISMATCH;
    }
    if (status == 0) {
        status = check_target(target_handle, &target);
    }
    if (status != 0) {
        return status;
    }
    packet->entry = *entry;
    packet->port = port;
    packet->target = target;
    object_ref(port);
    object_ref(target);
    object_ref(object);
    *out_already_signaled = object_is_signaled(target);
    if (*out_already_signaled) {
        object_satisfy(target);
        packet_signaled(object);
        return 0;
    }
    packet->state = PACKET_ARMED;
    packet->block = (struct block){.packet = object};
    block_link(&packet->block, target);
    return 0;
}

int32_t model_packet_associate(void *packet, void *port, void *target, uintptr_t key, uintptr_t apc,
                               int32_t io_status, uintptr_t information, bool *out_already_signaled)
{
    struct nt_entry entry = {
        .key = key,
        .apc = apc,
        .io = {.status = (uintptr_t)(uint32_t)io_status, .information = information}};
    bool already = false;
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_PACKET_ASSOCIATE);

    if (status == 0) {
        status = find(packet, &object);
    }
    if (status == 0) {
        status = associate(object, port, target, &entry, &already);
    }
    if (status == 0 && out_already_signaled != NULL) {
        *out_already_signaled = already;
    }
    return kernel_leave(NT_CALL_PACKET_ASSOCIATE, status);
}

/* Armed no more, and nothing consumed. */
static void disarm(struct object *object)
{
    struct packet *packet = &object->packet;
    struct object *port = packet->port;
    struct object *target = packet->target;

    packet->state = PACKET_IDLE;
    packet->port = packet->target = NULL;
    block_unlink(&packet->block);
    object_unref(target);
    object_unref(port);
    object_unref(object);
}

static void withdraw(struct object *object)
{
    struct packet *packet = &object->packet;
    struct object *port = packet->port;

    packet->state = PACKET_IDLE;
    packet->port = NULL;
    port_withdraw(port, object);
    object_unref(port);
}

static int32_t cancel(struct object *object, bool remove_signaled)
{
    switch (object->packet.state) {
    case PACKET_IDLE:
        return NT_CANCELLED;
    case PACKET_ARMED:
        disarm(object);
        return 0;
    case PACKET_LATE:
        return NT_PENDING;
    case PACKET_QUEUED:
        break;
    }
    if (!remove_signaled) {
        return NT_PENDING;
    }
    withdraw(object);
    return 0;
}

int32_t model_packet_cancel(void *packet, bool remove_signaled)
{
    struct object *object;
    int32_t status = kernel_enter(NT_CALL_PACKET_CANCEL);

    if (status == 0) {
        status = find(packet, &object);
    }
    if (status == 0) {
        object_ref(object);
        status = cancel(object, remove_signaled);
        object_unref(object);
    }
    return kernel_leave(NT_CALL_PACKET_CANCEL, status);
}

/*
 * Closed while it is in use: undocumented.  So the seed decides whether that takes it back, and
 * nobody can rest on either.
 */
void packet_abandoned(struct object *object)
{
    if (nt_model_random(2) == 0) {
        return;
    }
    if (object->packet.state == PACKET_ARMED) {
        disarm(object);
    } else if (object->packet.state == PACKET_QUEUED) {
        withdraw(object);
    }
}
