/*
 * Objects of the simulation: what has a number, can be watched, and has edges.
 */
#ifndef TOCSIN_BACKENDS_SIM_OBJECT_H
#define TOCSIN_BACKENDS_SIM_OBJECT_H

#include "backends/sim/world.h"

struct sim_flow;

enum sim_kind {
    SIM_STREAM,     /* a socket */
    SIM_PIPE_READ,  /* a pipe's ends */
    SIM_PIPE_WRITE, /* ... */
    SIM_COUNTER,    /* an event */
};

/* Guarded by sim->lock. */
struct sim_object {
    enum sim_kind kind;
    intptr_t number;
    uint64_t generation; /* of the number */
    /* Who watches it. */
    struct tocsin_backend_watch *watch; /* or NULL */
    struct sim_pool *pool;
    bool is_ready;      /* an edge was not reported: it is in pool->ready ... */
    size_t ready_index; /* ... there */
    /* Sockets and pipes. */
    struct sim_object *peer; /* NULL: closed */
    struct sim_flow *in;     /* NULL: none */
    struct sim_flow *out;    /* NULL: none */
    bool receive_shut;       /* reads end once what has arrived is taken */
    bool send_shut;          /* writes are -EPIPE */
    bool no_space;           /* a write found the flow full */
    int error;               /* to be told by the next read or write */
    bool has_urgent;
    unsigned char urgent;
    /* Events. */
    uint64_t count;
    bool semaphore;
};

/* The object with this number, or NULL. */
struct sim_object *tocsin__sim_object_locked(const struct tocsin_sim *sim, intptr_t number);
int tocsin__sim_object_create_locked(struct tocsin_sim *sim, enum sim_kind kind,
                                     struct sim_object **out_object);
/* Take it out of the table and from its watch, and free it. */
void tocsin__sim_object_destroy_locked(struct tocsin_sim *sim, struct sim_object *object);
void tocsin__sim_objects_free(struct tocsin_sim *sim);

/* Something has become true of @object: whoever watches it is to hear of it. */
void tocsin__sim_edge_locked(struct tocsin_sim *sim, struct sim_object *object);

/* What is true of it. */
uint32_t tocsin__sim_events_locked(const struct sim_object *object);

/* Watches: the backend's attach and detach. */
int tocsin__sim_watch_locked(struct tocsin_sim *sim, struct sim_pool *pool,
                             struct tocsin_backend_watch *watch);
int tocsin__sim_unwatch_locked(struct tocsin_sim *sim, const struct tocsin_backend_watch *watch);
void tocsin__sim_unwatch_all_locked(struct tocsin_sim *sim, const struct sim_pool *pool);

/* Is there anything to report?  Forgets edges that mean nothing any more. */
bool tocsin__sim_pool_has_events_locked(struct sim_pool *pool);
/* Report, in drawn order, as far as there is room. */
void tocsin__sim_collect_locked(struct tocsin_sim *sim, struct sim_pool *pool,
                                struct tocsin_backend_events *list);

/* counter.c */
uint32_t tocsin__sim_counter_events(const struct sim_object *object);
int tocsin__sim_counter_read_locked(struct tocsin_sim *sim, struct sim_object *object, void *data,
                                    size_t size);
int tocsin__sim_counter_write_locked(struct tocsin_sim *sim, struct sim_object *object,
                                     const void *data, size_t size);

/* link.c */
uint32_t tocsin__sim_link_events(const struct sim_object *object);
int tocsin__sim_link_read_locked(struct tocsin_sim *sim, struct sim_object *object, void *data,
                                 size_t size);
int tocsin__sim_link_write_locked(struct tocsin_sim *sim, struct sim_object *object,
                                  const void *data, size_t size);
void tocsin__sim_link_close_locked(struct tocsin_sim *sim, struct sim_object *object);
/* The memory of both directions, without a word to the peer. */
void tocsin__sim_link_forget_locked(struct tocsin_sim *sim, struct sim_object *object);

/* An operation on an object: the lock, the right, the point, the object. */
int tocsin__sim_operate_locked(struct tocsin_sim *sim, intptr_t number,
                               struct sim_object **out_object);

#endif
