/*
 * Actors: threads that run one at a time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/sim/world.h"

static void actor_park(void *actor, struct tocsin__mutex *lock);
static void actor_unpark(void *actor);
static void actor_point(void *actor);
static int actor_thread_start(void *actor, struct tocsin__thread *thread, void *(*main)(void *),
                              void *arg);
static void actor_thread_join(void *actor, struct tocsin__thread *thread);

static const struct tocsin__actor_ops actor_ops = {
    .park = actor_park,
    .unpark = actor_unpark,
    .point = actor_point,
    .thread_start = actor_thread_start,
    .thread_join = actor_thread_join,
};

static struct tocsin_sim_thread *this_actor(void)
{
    return tocsin__actor.ops == &actor_ops ? tocsin__actor.self : NULL;
}

struct tocsin_sim_thread *tocsin__sim_self(const struct tocsin_sim *sim)
{
    struct tocsin_sim_thread *self = this_actor();

    return self != NULL && self->sim == sim ? self : NULL;
}

struct tocsin_sim *tocsin_sim_current(void)
{
    struct tocsin_sim_thread *self = this_actor();

    return self != NULL ? self->sim : NULL;
}

void tocsin__sim_actor_become(struct tocsin_sim_thread *actor)
{
    tocsin__actor =
        actor != NULL ? (struct tocsin__actor){&actor_ops, actor} : (struct tocsin__actor){0};
}

int tocsin__sim_actor_create_locked(struct tocsin_sim *sim, const char *name,
                                    struct tocsin_sim_thread **out_actor)
{
    struct tocsin_sim_thread **link = &sim->actors;
    struct tocsin_sim_thread *actor = calloc(1, sizeof(*actor));
    int r;

    if (actor == NULL) {
        return -ENOMEM;
    }
    r = tocsin__cond_init(&actor->turn);
    if (r < 0) {
        free(actor);
        return r;
    }
    actor->sim = sim;
    actor->state = SIM_READY;
    actor->number = sim->actors_made++;
    (void)snprintf(actor->name, sizeof(actor->name), "%s", name != NULL ? name : "actor");
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = actor;
    *out_actor = actor;
    return 0;
}

void tocsin__sim_actor_destroy_locked(struct tocsin_sim_thread *actor)
{
    struct tocsin_sim_thread **link = &actor->sim->actors;

    while (*link != actor) {
        link = &(*link)->next;
    }
    *link = actor->next;
    tocsin__cond_deinit(&actor->turn);
    free(actor);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *actor_main(void *arg)
{
    struct tocsin_sim_thread *self = arg;
    struct tocsin_sim *sim = self->sim;
    void *result = NULL;

    tocsin__sim_lock(sim);
    tocsin__sim_actor_become(self);
    tocsin__sim_first_turn_locked(self);
    tocsin__sim_unlock(sim);
    if (self->main != NULL) {
        result = self->main(self->arg);
    } else {
        self->fn(self->arg);
    }
    tocsin__sim_lock(sim);
    tocsin__sim_last_turn_locked(self);
    tocsin__sim_actor_become(NULL);
    tocsin__sim_unlock(sim);
    return result;
}

/* Start @actor's thread; it is the seed that says when it begins. */
static int start_locked(struct tocsin_sim_thread *self, struct tocsin_sim_thread *actor)
{
    int r = tocsin__thread_start(&actor->thread, actor_main, actor);

    if (r < 0) {
        tocsin__sim_actor_destroy_locked(actor);
        return r;
    }
    tocsin__sim_note_locked(actor->sim, "start", actor->number, 0);
    tocsin__sim_give_way_locked(self, SIM_READY);
    return 0;
}

int tocsin_sim_thread_start(struct tocsin_sim *sim, struct tocsin_sim_thread **out_thread,
                            const char *name, tocsin_sim_thread_fn *fn, void *arg)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);
    struct tocsin_sim_thread *actor;
    int r;

    if (self == NULL) {
        return -EPERM;
    }
    tocsin__sim_lock(sim);
    r = tocsin__sim_actor_create_locked(sim, name, &actor);
    if (r == 0) {
        actor->fn = fn;
        actor->arg = arg;
        r = start_locked(self, actor);
    }
    tocsin__sim_unlock(sim);
    if (r == 0) {
        *out_thread = actor;
    }
    return r;
}

static void join(struct tocsin_sim_thread *self, struct tocsin_sim_thread *actor)
{
    struct tocsin_sim *sim = self->sim;

    tocsin__sim_lock(sim);
    tocsin__sim_note_locked(sim, "join", actor->number, 0);
    self->joined = actor;
    tocsin__sim_give_way_locked(self, SIM_JOINING);
    tocsin__sim_unlock(sim);
    if (!actor->is_ghost) {
        tocsin__thread_join(&actor->thread); /* it has ended but for a few instructions */
    }
    tocsin__sim_lock(sim);
    tocsin__sim_actor_destroy_locked(actor);
    tocsin__sim_unlock(sim);
}

int tocsin_sim_thread_join(struct tocsin_sim_thread *thread)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(thread->sim);

    if (self == NULL) {
        return -EPERM;
    }
    if (self == thread) {
        return -EDEADLK;
    }
    join(self, thread);
    return 0;
}

/* ---- What the runtime asks for --------------------------------------------------------------- */

static void actor_park(void *arg, struct tocsin__mutex *lock)
{
    struct tocsin_sim_thread *self = arg;
    struct tocsin_sim *sim = self->sim;

    tocsin__sim_lock(sim);
    self->unparked = false;
    tocsin__mutex_unlock(lock); /* an unpark waits for the simulation's lock */
    tocsin__sim_note_locked(sim, "park", 0, 0);
    tocsin__sim_give_way_locked(self, SIM_PARKED);
    tocsin__sim_unlock(sim);
    tocsin__mutex_lock(lock);
}

static void actor_unpark(void *arg)
{
    struct tocsin_sim_thread *actor = arg;

    tocsin__sim_lock(actor->sim);
    actor->unparked = true;
    tocsin__sim_note_locked(actor->sim, "unpark", actor->number, 0);
    tocsin__sim_dispatch_locked(actor->sim);
    tocsin__sim_unlock(actor->sim);
}

static void actor_point(void *arg)
{
    struct tocsin_sim_thread *self = arg;

    if (!self->sim->options.quiet_kicks) {
        (void)tocsin_sim_yield(self->sim);
    }
}

static int actor_thread_start(void *arg, struct tocsin__thread *thread, void *(*main)(void *),
                              void *main_arg)
{
    struct tocsin_sim_thread *self = arg;
    struct tocsin_sim_thread *actor;
    int r;

    tocsin__sim_lock(self->sim);
    r = tocsin__sim_actor_create_locked(self->sim, "pool thread", &actor);
    if (r == 0) {
        thread->actor = actor; /* before it runs, for it may be the next */
        actor->main = main;
        actor->arg = main_arg;
        r = start_locked(self, actor);
    }
    tocsin__sim_unlock(self->sim);
    return r;
}

static void actor_thread_join(void *arg, struct tocsin__thread *thread)
{
    struct tocsin_sim_thread *self = arg;
    struct tocsin_sim *sim = self->sim;

    join(self, thread->actor);
    tocsin__sim_end_if_over(sim);
}

/* ---- Points ---------------------------------------------------------------------------------- */

static int give_way(struct tocsin_sim *sim, enum sim_state state)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);

    if (self == NULL) {
        return -EPERM;
    }
    tocsin__sim_lock(sim);
    tocsin__sim_give_way_locked(self, state);
    tocsin__sim_unlock(sim);
    return 0;
}

int tocsin_sim_yield(struct tocsin_sim *sim)
{
    return give_way(sim, SIM_READY);
}

int tocsin_sim_sleep(struct tocsin_sim *sim, uint64_t delay_ns)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);

    if (self == NULL) {
        return -EPERM;
    }
    tocsin__sim_lock(sim);
    self->deadline_ns =
        delay_ns < TOCSIN_NEVER_NS - sim->now_ns ? sim->now_ns + delay_ns : TOCSIN_NEVER_NS;
    tocsin__sim_note_locked(sim, "sleep", self->deadline_ns, 0);
    tocsin__sim_unlock(sim);
    return give_way(sim, SIM_SLEEPING);
}

int tocsin_sim_await(struct tocsin_sim *sim, tocsin_sim_condition_fn *fn, void *arg)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);

    if (self == NULL) {
        return -EPERM;
    }
    self->condition = fn;
    self->condition_arg = arg;
    return give_way(sim, SIM_AWAITING);
}
