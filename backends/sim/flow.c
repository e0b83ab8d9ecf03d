/*
 * Flows of bytes: see flow.h.
 */
#include "backends/sim/flow.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAPACITY_DEFAULT = 65536,
};

struct sim_flow *tocsin__sim_flow_create(const struct tocsin_sim_link_options *options)
{
    size_t capacity = options != NULL && options->capacity_bytes != 0 ? options->capacity_bytes
                                                                      : CAPACITY_DEFAULT;
    struct sim_flow *flow;

    capacity = capacity < INT_MAX ? capacity : INT_MAX; /* a read or write returns an int */
    flow = calloc(1, sizeof(*flow) + capacity);
    if (flow != NULL) {
        if (options != NULL) {
            flow->options = *options;
        }
        flow->options.capacity_bytes = (uint32_t)capacity;
    }
    return flow;
}

void tocsin__sim_flow_free_if_over(struct tocsin_sim *sim, struct sim_flow *flow)
{
    if (flow->reader == NULL && flow->writer == NULL) {
        tocsin__sim_unpend_locked(sim, &flow->arrival);
        free(flow);
    }
}

static void arrive_end_locked(struct tocsin_sim *sim, struct sim_flow *flow)
{
    struct sim_object *reader = flow->reader;

    if (reader == NULL || flow->end == SIM_FLOW_OPEN) {
        return;
    }
    reader->receive_shut = true;
    reader->send_shut = reader->send_shut || flow->end == SIM_FLOW_CLOSED;
    tocsin__sim_edge_locked(sim, reader);
}

static void flow_arrive_locked(struct tocsin_sim *sim, struct sim_pending *pending)
{
    struct sim_flow *flow = (struct sim_flow *)(void *)pending;

    while (flow->count > 0 && flow->pieces[flow->first].arrival_ns <= sim->now_ns) {
        flow->arrived += flow->pieces[flow->first].size;
        flow->under_way -= flow->pieces[flow->first].size;
        flow->first = (flow->first + 1) % SIM_PIECES_MAX;
        flow->count--;
        if (flow->reader != NULL) {
            tocsin__sim_note_locked(sim, "arrive", (uint64_t)flow->reader->number, flow->arrived);
            tocsin__sim_edge_locked(sim, flow->reader);
        }
    }
    if (flow->count > 0) {
        tocsin__sim_pend_locked(sim, &flow->arrival, flow->pieces[flow->first].arrival_ns,
                                flow_arrive_locked);
    } else if (flow->end != SIM_FLOW_OPEN && flow->last_ns > sim->now_ns) {
        tocsin__sim_pend_locked(sim, &flow->arrival, flow->last_ns, flow_arrive_locked);
    } else {
        arrive_end_locked(sim, flow);
    }
}

_Static_assert(offsetof(struct sim_flow, arrival) == 0, "flow_arrive_locked() casts");

/* When what is sent now arrives: not before what was sent earlier. */
static uint64_t draw_arrival_locked(struct tocsin_sim *sim, struct sim_flow *flow)
{
    uint64_t latency_ns =
        tocsin__sim_between_locked(sim, flow->options.latency_min_ns, flow->options.latency_max_ns);

    uint64_t arrival_ns =
        latency_ns < TOCSIN_NEVER_NS - sim->now_ns ? sim->now_ns + latency_ns : TOCSIN_NEVER_NS;

    if (arrival_ns > flow->last_ns) {
        flow->last_ns = arrival_ns;
    }
    return flow->last_ns;
}

void tocsin__sim_flow_send_locked(struct tocsin_sim *sim, struct sim_flow *flow,
                                  const unsigned char *data, size_t size)
{
    size_t capacity = flow->options.capacity_bytes;
    size_t at = (flow->head + flow->arrived + flow->under_way) % capacity;
    size_t before_end = size < capacity - at ? size : capacity - at;
    uint64_t arrival_ns = draw_arrival_locked(sim, flow);
    struct sim_piece *piece;

    memcpy(&flow->ring[at], data, before_end);
    memcpy(flow->ring, &data[before_end], size - before_end);
    flow->under_way += size;
    if (flow->count == SIM_PIECES_MAX) {
        piece = &flow->pieces[(flow->first + flow->count - 1) % SIM_PIECES_MAX];
        piece->size += size;
        piece->arrival_ns = arrival_ns;
    } else {
        flow->pieces[(flow->first + flow->count++) % SIM_PIECES_MAX] =
            (struct sim_piece){.size = size, .arrival_ns = arrival_ns};
    }
    flow_arrive_locked(sim, &flow->arrival);
}

void tocsin__sim_flow_end_locked(struct tocsin_sim *sim, struct sim_flow *flow,
                                 enum sim_flow_end end)
{
    if (flow->end < end) {
        flow->end = end;
        (void)draw_arrival_locked(sim, flow);
        flow_arrive_locked(sim, &flow->arrival);
    }
}

size_t tocsin__sim_flow_part_locked(struct tocsin_sim *sim, const struct sim_flow *flow,
                                    size_t size)
{
    return size > 1 && tocsin__sim_happens_locked(sim, flow->options.partial_ppm)
               ? 1 + (size_t)tocsin__sim_draw_locked(sim, size - 1)
               : size;
}

void tocsin__sim_flow_take(struct sim_flow *flow, unsigned char *data, size_t size)
{
    size_t capacity = flow->options.capacity_bytes;
    size_t before_end = size < capacity - flow->head ? size : capacity - flow->head;

    memcpy(data, &flow->ring[flow->head], before_end);
    memcpy(&data[before_end], flow->ring, size - before_end);
    flow->head = (flow->head + size) % capacity;
    flow->arrived -= size;
}

void tocsin__sim_flow_drop_locked(struct tocsin_sim *sim, struct sim_flow *flow)
{
    tocsin__sim_unpend_locked(sim, &flow->arrival);
    flow->arrived = 0;
    flow->under_way = 0;
    flow->count = 0;
}
