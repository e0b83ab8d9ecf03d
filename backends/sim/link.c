/*
 * Sockets and pipes: two ends, and a flow in each direction that there is.
 *
 * The events are those of AF_UNIX sockets and of pipes, for each end:
 *
 *   receive_shut   the peer shut its sending side, or this end its receiving one: IN, RDHUP
 *   send_shut      the other way about: OUT, and writes are EPIPE
 *   both           HUP
 *   error          ERR, until a read or a write has told it
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/sim/flow.h"

/* ---- Making ---------------------------------------------------------------------------------- */

static void flow_join(struct sim_flow *flow, struct sim_object *writer, struct sim_object *reader)
{
    flow->writer = writer;
    flow->reader = reader;
    writer->out = flow;
    reader->in = flow;
    writer->peer = reader;
    reader->peer = writer;
}

/* Two objects of @kinds, and the flows between them: [0] to [1] if @both, and [1] to [0]. */
static int create_pair_locked(struct tocsin_sim *sim, const enum sim_kind kinds[2], bool both,
                              const struct tocsin_sim_link_options *options, intptr_t out[2])
{
    struct sim_object *objects[2] = {NULL, NULL};
    struct sim_flow *back = tocsin__sim_flow_create(options);
    struct sim_flow *forth = both ? tocsin__sim_flow_create(options) : NULL;
    int r = back == NULL || (both && forth == NULL) ? -ENOMEM : 0;

    for (int i = 0; i < 2 && r == 0; i++) {
        r = tocsin__sim_object_create_locked(sim, kinds[i], &objects[i]);
    }
    if (r < 0) {
        if (objects[0] != NULL) {
            tocsin__sim_object_destroy_locked(sim, objects[0]);
        }
        free(back);
        free(forth);
        return r;
    }
    flow_join(back, objects[1], objects[0]);
    if (both) {
        flow_join(forth, objects[0], objects[1]);
    }
    out[0] = objects[0]->number;
    out[1] = objects[1]->number;
    return 0;
}

static int create_pair(struct tocsin_sim *sim, const enum sim_kind kinds[2], bool both,
                       const struct tocsin_sim_link_options *options, intptr_t out_numbers[2])
{
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_may_act_locked(sim);
    r = r < 0 ? r : create_pair_locked(sim, kinds, both, options, out_numbers);
    if (r == 0) {
        tocsin__sim_note_locked(sim, both ? "new stream" : "new pipe", (uint64_t)out_numbers[0],
                                (uint64_t)out_numbers[1]);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_stream_pair(struct tocsin_sim *sim, const struct tocsin_sim_link_options *options,
                           intptr_t out_numbers[2])
{
    static const enum sim_kind kinds[2] = {SIM_STREAM, SIM_STREAM};

    return create_pair(sim, kinds, true, options, out_numbers);
}

int tocsin_sim_pipe(struct tocsin_sim *sim, const struct tocsin_sim_link_options *options,
                    intptr_t out_numbers[2])
{
    static const enum sim_kind kinds[2] = {SIM_PIPE_READ, SIM_PIPE_WRITE};

    return create_pair(sim, kinds, false, options, out_numbers);
}

/* ---- Resets ---------------------------------------------------------------------------------- */

/* The connection of @object is over; its peer, if there is one, is told so. */
static void reset_locked(struct tocsin_sim *sim, struct sim_object *object)
{
    struct sim_object *ends[2] = {object, object->peer};

    tocsin__sim_flow_drop_locked(sim, object->in);
    tocsin__sim_flow_drop_locked(sim, object->out);
    for (int i = 0; i < 2; i++) {
        if (ends[i] != NULL) {
            ends[i]->receive_shut = true;
            ends[i]->send_shut = true;
            ends[i]->has_urgent = false;
            ends[i]->error = ends[i] == object ? 0 : -ECONNRESET;
            tocsin__sim_edge_locked(sim, ends[i]);
        }
    }
    tocsin__sim_note_locked(sim, "reset", (uint64_t)object->number, 0);
}

int tocsin_sim_object_reset(struct tocsin_sim *sim, intptr_t number)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_operate_locked(sim, number, &object);
    if (r == 0 && object->kind != SIM_STREAM) {
        r = -EBADF;
    }
    if (r == 0) {
        reset_locked(sim, object);
    }
    tocsin__sim_unlock(sim);
    return r;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static uint32_t when(bool is_so, uint32_t event)
{
    return is_so ? event : 0;
}

uint32_t tocsin__sim_link_events(const struct sim_object *object)
{
    bool can_read = object->in != NULL && object->in->arrived > 0;
    bool can_write = object->out != NULL && sim_flow_room(object->out) > 0;

    switch (object->kind) {
    case SIM_STREAM:
        return when(can_read || object->receive_shut, TOCSIN_IN) |
               when(can_write || object->send_shut, TOCSIN_OUT) |
               when(object->receive_shut, TOCSIN_RDHUP) |
               when(object->receive_shut && object->send_shut, TOCSIN_HUP) |
               when(object->error != 0, TOCSIN_ERR) | when(object->has_urgent, TOCSIN_PRI);
    case SIM_PIPE_READ:
        return when(can_read, TOCSIN_IN) | when(object->receive_shut, TOCSIN_HUP);
    case SIM_PIPE_WRITE:
        return when(can_write || object->send_shut, TOCSIN_OUT) |
               when(object->send_shut, TOCSIN_ERR);
    case SIM_COUNTER:
        break;
    }
    return 0;
}

static int take_error(struct sim_object *object)
{
    int error = object->error;

    object->error = 0;
    return error;
}

int tocsin__sim_link_read_locked(struct tocsin_sim *sim, struct sim_object *object, void *data,
                                 size_t size)
{
    struct sim_flow *flow = object->in;

    if (flow == NULL) {
        return -EBADF;
    }
    if (flow->arrived == 0) {
        int error = take_error(object);

        return error != 0 ? error : object->receive_shut ? 0 : -EAGAIN;
    }
    size = size < flow->arrived ? size : flow->arrived;
    if (size == 0) {
        return 0;
    }
    size = tocsin__sim_flow_part_locked(sim, flow, size);
    tocsin__sim_flow_take(flow, data, size);
    if (flow->writer != NULL && flow->writer->no_space) {
        flow->writer->no_space = false;
        tocsin__sim_edge_locked(sim, flow->writer);
    }
    return (int)size;
}

int tocsin__sim_link_write_locked(struct tocsin_sim *sim, struct sim_object *object,
                                  const void *data, size_t size)
{
    struct sim_flow *flow = object->out;
    size_t room;

    if (flow == NULL) {
        return -EBADF;
    }
    if (object->error != 0) {
        return take_error(object);
    }
    if (object->send_shut) {
        return -EPIPE;
    }
    if (object->kind == SIM_STREAM && tocsin__sim_happens_locked(sim, flow->options.reset_ppm)) {
        reset_locked(sim, object);
        return -ECONNRESET;
    }
    if (size == 0 || flow->reader == NULL) {
        return size < INT_MAX ? (int)size : INT_MAX; /* closed, which is not known here yet */
    }
    room = sim_flow_room(flow);
    object->no_space = room < size;
    if (room == 0) {
        return -EAGAIN;
    }
    size = tocsin__sim_flow_part_locked(sim, flow, size < room ? size : room);
    tocsin__sim_flow_send_locked(sim, flow, data, size);
    return (int)size;
}

/* The number means a socket that could still send or receive: 0, or -EBADF. */
static int operate_stream_locked(struct tocsin_sim *sim, intptr_t number,
                                 struct sim_object **out_object)
{
    int r = tocsin__sim_operate_locked(sim, number, out_object);

    return r == 0 && (*out_object)->kind != SIM_STREAM ? -EBADF : r;
}

int tocsin_sim_object_write_urgent(struct tocsin_sim *sim, intptr_t number, unsigned char byte)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = operate_stream_locked(sim, number, &object);
    if (r == 0 && (object->send_shut || object->peer == NULL)) {
        r = -EPIPE;
    }
    if (r == 0) {
        object->peer->has_urgent = true;
        object->peer->urgent = byte;
        tocsin__sim_note_locked(sim, "urgent", (uint64_t)number, byte);
        tocsin__sim_edge_locked(sim, object->peer);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_object_read_urgent(struct tocsin_sim *sim, intptr_t number, unsigned char *out_byte)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = operate_stream_locked(sim, number, &object);
    if (r == 0 && !object->has_urgent) {
        r = -EAGAIN;
    }
    if (r == 0) {
        *out_byte = object->urgent;
        object->has_urgent = false;
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_object_shutdown(struct tocsin_sim *sim, intptr_t number, enum tocsin_shutdown how)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = operate_stream_locked(sim, number, &object);
    if (r == 0) {
        tocsin__sim_note_locked(sim, "shutdown", (uint64_t)number, (uint64_t)how);
        if (how != TOCSIN_SHUTDOWN_READ && !object->send_shut) {
            object->send_shut = true;
            tocsin__sim_flow_end_locked(sim, object->out, SIM_FLOW_SHUT);
        }
        if (how != TOCSIN_SHUTDOWN_WRITE && !object->receive_shut) {
            object->receive_shut = true;
            if (object->peer != NULL) {
                object->peer->send_shut = true;
                tocsin__sim_edge_locked(sim, object->peer);
            }
        }
        tocsin__sim_edge_locked(sim, object);
    }
    tocsin__sim_unlock(sim);
    return r;
}

/* ---- The end --------------------------------------------------------------------------------- */

void tocsin__sim_link_forget_locked(struct tocsin_sim *sim, struct sim_object *object)
{
    if (object->peer != NULL) {
        object->peer->peer = NULL;
    }
    if (object->in != NULL) {
        object->in->reader = NULL;
        tocsin__sim_flow_free_if_over(sim, object->in);
    }
    if (object->out != NULL) {
        object->out->writer = NULL;
        tocsin__sim_flow_free_if_over(sim, object->out);
    }
}

void tocsin__sim_link_close_locked(struct tocsin_sim *sim, struct sim_object *object)
{
    bool is_unread = object->in != NULL && object->in->arrived + object->in->under_way > 0;

    switch (object->kind) {
    case SIM_STREAM:
        if (is_unread) {
            reset_locked(sim, object);
        } else {
            tocsin__sim_flow_end_locked(sim, object->out, SIM_FLOW_CLOSED);
        }
        break;
    case SIM_PIPE_WRITE:
        tocsin__sim_flow_end_locked(sim, object->out, SIM_FLOW_CLOSED);
        break;
    case SIM_PIPE_READ:
        if (object->peer != NULL) {
            object->peer->send_shut = true;
            tocsin__sim_edge_locked(sim, object->peer);
        }
        break;
    case SIM_COUNTER:
        break;
    }
    tocsin__sim_link_forget_locked(sim, object);
}
