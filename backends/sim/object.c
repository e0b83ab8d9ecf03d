/*
 * Numbers, watches and edges.
 *
 * A watch is edge-triggered: what happens to an object puts it among its pool's ready ones, once,
 * and the next wait or look reports what is true of it then: the oldest ones, as many as there is
 * room for, in drawn order.  Room among the ready ones is made when the watch is attached.  The
 * runtime's struct is looked at only between attach and detach.
 */
#include "backends/sim/object.h"

#include <errno.h>
#include <stdlib.h>

struct sim_object *tocsin__sim_object_locked(const struct tocsin_sim *sim, intptr_t number)
{
    return number >= 0 && (size_t)number < sim->objects_room ? sim->objects[number] : NULL;
}

/* The lowest free number. */
static int take_number_locked(struct tocsin_sim *sim, intptr_t *out_number)
{
    size_t room = sim->objects_room > 0 ? 2 * sim->objects_room : SIM_EVENTS_ROOM_FIRST;
    struct sim_object **objects;

    for (size_t i = 0; i < sim->objects_room; i++) {
        if (sim->objects[i] == NULL) {
            *out_number = (intptr_t)i;
            return 0;
        }
    }
    objects = realloc(sim->objects, room * sizeof(struct sim_object *));
    if (objects == NULL) {
        return -ENOMEM;
    }
    for (size_t i = sim->objects_room; i < room; i++) {
        objects[i] = NULL;
    }
    *out_number = (intptr_t)sim->objects_room;
    sim->objects = objects;
    sim->objects_room = room;
    return 0;
}

int tocsin__sim_object_create_locked(struct tocsin_sim *sim, enum sim_kind kind,
                                     struct sim_object **out_object)
{
    struct sim_object *object = calloc(1, sizeof(*object));
    int r;

    if (object == NULL) {
        return -ENOMEM;
    }
    r = take_number_locked(sim, &object->number);
    if (r < 0) {
        free(object);
        return r;
    }
    object->kind = kind;
    object->generation = ++sim->generations;
    sim->objects[object->number] = object;
    *out_object = object;
    return 0;
}

static void take_from_ready_locked(struct sim_object *object)
{
    struct sim_pool *pool = object->pool;

    if (!object->is_ready) {
        return;
    }
    pool->ready_count--;
    for (size_t i = object->ready_index; i < pool->ready_count; i++) {
        pool->ready[i] = pool->ready[i + 1]; /* the order is kept */
        pool->ready[i]->ready_index = i;
    }
    object->is_ready = false;
}

static void forget_watch_locked(struct sim_object *object)
{
    if (object->watch != NULL) {
        take_from_ready_locked(object);
        object->pool->attached--;
        object->watch = NULL;
        object->pool = NULL;
    }
}

void tocsin__sim_object_destroy_locked(struct tocsin_sim *sim, struct sim_object *object)
{
    forget_watch_locked(object);
    sim->objects[object->number] = NULL;
    free(object);
}

void tocsin__sim_objects_free(struct tocsin_sim *sim)
{
    for (size_t i = 0; i < sim->objects_room; i++) {
        if (sim->objects[i] != NULL) {
            tocsin__sim_link_forget_locked(sim, sim->objects[i]);
            tocsin__sim_object_destroy_locked(sim, sim->objects[i]);
        }
    }
    free(sim->objects);
}

uint32_t tocsin__sim_events_locked(const struct sim_object *object)
{
    return object->kind == SIM_COUNTER ? tocsin__sim_counter_events(object)
                                       : tocsin__sim_link_events(object);
}

void tocsin__sim_edge_locked(struct tocsin_sim *sim, struct sim_object *object)
{
    struct sim_pool *pool = object->pool;

    if (object->watch == NULL || object->is_ready) {
        return;
    }
    object->is_ready = true;
    object->ready_index = pool->ready_count;
    pool->ready[pool->ready_count++] = object;
    tocsin__sim_dispatch_locked(sim);
}

/* ---- Watches --------------------------------------------------------------------------------- */

static bool make_room_locked(struct sim_pool *pool)
{
    size_t room = pool->ready_room > 0 ? 2 * pool->ready_room : SIM_EVENTS_ROOM_FIRST;
    struct sim_object **ready;

    if (pool->attached < pool->ready_room) {
        return true;
    }
    ready = realloc(pool->ready, room * sizeof(struct sim_object *));
    if (ready == NULL) {
        return false;
    }
    pool->ready = ready;
    pool->ready_room = room;
    return true;
}

int tocsin__sim_watch_locked(struct tocsin_sim *sim, struct sim_pool *pool,
                             struct tocsin_backend_watch *watch)
{
    struct sim_object *object = tocsin__sim_object_locked(sim, watch->number);

    if (watch->source != TOCSIN_SOURCE_OWN) {
        return -EOPNOTSUPP;
    }
    if (object == NULL) {
        return -EBADF;
    }
    if (object->watch != NULL) {
        return -EEXIST;
    }
    if (!make_room_locked(pool)) {
        return -ENOMEM;
    }
    pool->attached++;
    object->watch = watch;
    object->pool = pool;
    watch->data = (void *)(uintptr_t)object->generation;
    if (tocsin__sim_events_locked(object) != 0) {
        tocsin__sim_edge_locked(sim, object);
    }
    return 0;
}

int tocsin__sim_unwatch_locked(struct tocsin_sim *sim, const struct tocsin_backend_watch *watch)
{
    struct sim_object *object = tocsin__sim_object_locked(sim, watch->number);

    if (object == NULL) {
        return -EBADF;
    }
    if ((void *)(uintptr_t)object->generation != watch->data) {
        return -ENOENT;
    }
    forget_watch_locked(object);
    return 0;
}

void tocsin__sim_unwatch_all_locked(struct tocsin_sim *sim, const struct sim_pool *pool)
{
    for (size_t i = 0; i < sim->objects_room; i++) {
        if (sim->objects[i] != NULL && sim->objects[i]->pool == pool) {
            forget_watch_locked(sim->objects[i]);
        }
    }
}

bool tocsin__sim_pool_has_events_locked(struct sim_pool *pool)
{
    while (pool->ready_count > 0) {
        struct sim_object *object = pool->ready[pool->ready_count - 1];

        if (tocsin__sim_events_locked(object) != 0) {
            return true;
        }
        take_from_ready_locked(object);
    }
    return false;
}

/* Put one of ready[@i] to ready[@end - 1], drawn, to ready[@i]. */
static struct sim_object *draw_ready_locked(struct tocsin_sim *sim, struct sim_pool *pool, size_t i,
                                            size_t end)
{
    size_t drawn = i + (size_t)tocsin__sim_draw_locked(sim, end - i);
    struct sim_object *object = pool->ready[drawn];

    pool->ready[drawn] = pool->ready[i];
    pool->ready[i] = object;
    return object;
}

/* Close the gaps that reporting left, in order. */
static void compact_ready_locked(struct sim_pool *pool)
{
    size_t kept = 0;

    for (size_t i = 0; i < pool->ready_count; i++) {
        if (pool->ready[i]->is_ready) {
            pool->ready[kept] = pool->ready[i];
            pool->ready[kept]->ready_index = kept;
            kept++;
        }
    }
    pool->ready_count = kept;
}

void tocsin__sim_collect_locked(struct tocsin_sim *sim, struct sim_pool *pool,
                                struct tocsin_backend_events *list)
{
    size_t room = list->capacity - list->count;
    /* Those that have waited longest, as many as there is room for: so none starves. */
    size_t end = pool->ready_count < room ? pool->ready_count : room;

    for (size_t i = 0; i < end; i++) {
        struct sim_object *object = draw_ready_locked(sim, pool, i, end);
        uint32_t events = tocsin__sim_events_locked(object);

        if (tocsin__sim_happens_locked(sim, sim->options.faults.event_ppm)) {
            tocsin__sim_note_locked(sim, "put off", pool->number, (uint64_t)object->number);
            continue;
        }
        object->is_ready = false;
        if (events != 0) {
            tocsin__sim_note_locked(sim, "event", (uint64_t)object->number, events);
            tocsin_backend_report(list, object->watch->id, events);
        }
    }
    compact_ready_locked(pool);
}

/* ---- Operations ------------------------------------------------------------------------------ */

int tocsin__sim_operate_locked(struct tocsin_sim *sim, intptr_t number,
                               struct sim_object **out_object)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);
    int r = tocsin__sim_may_act_locked(sim);

    if (r < 0) {
        return r;
    }
    if (self != NULL) {
        tocsin__sim_give_way_locked(self, SIM_READY);
    }
    *out_object = tocsin__sim_object_locked(sim, number);
    return *out_object != NULL ? 0 : -EBADF;
}

int tocsin_sim_object_read(struct tocsin_sim *sim, intptr_t number, void *data, size_t size)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_operate_locked(sim, number, &object);
    if (r == 0) {
        r = object->kind == SIM_COUNTER ? tocsin__sim_counter_read_locked(sim, object, data, size)
                                        : tocsin__sim_link_read_locked(sim, object, data, size);
        tocsin__sim_note_locked(sim, "read", (uint64_t)number, (uint64_t)(int64_t)r);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_object_write(struct tocsin_sim *sim, intptr_t number, const void *data, size_t size)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_operate_locked(sim, number, &object);
    if (r == 0) {
        r = object->kind == SIM_COUNTER ? tocsin__sim_counter_write_locked(sim, object, data, size)
                                        : tocsin__sim_link_write_locked(sim, object, data, size);
        tocsin__sim_note_locked(sim, "write", (uint64_t)number, (uint64_t)(int64_t)r);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_object_close(struct tocsin_sim *sim, intptr_t number)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_operate_locked(sim, number, &object);
    if (r == 0) {
        tocsin__sim_note_locked(sim, "close", (uint64_t)number, 0);
        tocsin__sim_link_close_locked(sim, object);
        tocsin__sim_object_destroy_locked(sim, object);
    }
    tocsin__sim_unlock(sim);
    return r;
}

int tocsin_sim_object_events(struct tocsin_sim *sim, intptr_t number)
{
    struct sim_object *object;
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_may_act_locked(sim);
    if (r == 0) {
        object = tocsin__sim_object_locked(sim, number);
        r = object != NULL ? (int)tocsin__sim_events_locked(object) : -EBADF;
    }
    tocsin__sim_unlock(sim);
    return r;
}
