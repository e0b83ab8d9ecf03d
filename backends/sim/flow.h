/*
 * Flows: one direction of a socket or a pipe, with a latency.
 *
 * What is written is under way in pieces, each with the time at which it arrives, none before an
 * older one; the end of the flow comes behind them all.  A flow is freed when both its ends are
 * gone.  All is guarded by sim->lock.
 */
#ifndef TOCSIN_BACKENDS_SIM_FLOW_H
#define TOCSIN_BACKENDS_SIM_FLOW_H

#include "backends/sim/object.h"

enum {
    SIM_PIECES_MAX = 32, /* more are merged with the last: it is late for the first of its bytes */
};

enum sim_flow_end {
    SIM_FLOW_OPEN,
    SIM_FLOW_SHUT,   /* the writer will send no more */
    SIM_FLOW_CLOSED, /* and it will not read either */
};

struct sim_piece {
    size_t size;
    uint64_t arrival_ns;
};

struct sim_flow {
    struct sim_pending arrival; /* of the first piece, or of the end */
    struct tocsin_sim_link_options options;
    struct sim_object *reader; /* NULL: closed */
    struct sim_object *writer; /* NULL: closed */
    size_t head;               /* of the bytes, in the ring */
    size_t arrived;            /* bytes that can be read */
    size_t under_way;          /* bytes behind them */
    struct sim_piece pieces[SIM_PIECES_MAX];
    uint32_t first;
    uint32_t count;
    uint64_t last_ns; /* when the last piece arrives */
    enum sim_flow_end end;
    unsigned char ring[]; /* options.capacity_bytes */
};

/* @options NULL: defaults.  NULL: no memory. */
struct sim_flow *tocsin__sim_flow_create(const struct tocsin_sim_link_options *options);
/* One of its ends has gone. */
void tocsin__sim_flow_free_if_over(struct tocsin_sim *sim, struct sim_flow *flow);

/* How many bytes it takes. */
static inline size_t sim_flow_room(const struct sim_flow *flow)
{
    return flow->options.capacity_bytes - flow->arrived - flow->under_way;
}

/* How much of @size, which is not 0, an operation takes. */
size_t tocsin__sim_flow_part_locked(struct tocsin_sim *sim, const struct sim_flow *flow,
                                    size_t size);

/* Send @size bytes, for which there is room; take @size that have arrived. */
void tocsin__sim_flow_send_locked(struct tocsin_sim *sim, struct sim_flow *flow,
                                  const unsigned char *data, size_t size);
void tocsin__sim_flow_take(struct sim_flow *flow, unsigned char *data, size_t size);

/* The writer will send no more; once it has closed, that stays. */
void tocsin__sim_flow_end_locked(struct tocsin_sim *sim, struct sim_flow *flow,
                                 enum sim_flow_end end);

/* What has arrived and what is under way is lost. */
void tocsin__sim_flow_drop_locked(struct tocsin_sim *sim, struct sim_flow *flow);

#endif
