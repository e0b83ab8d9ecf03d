/*
 * A simulation's beginning and end, who may use it, and holds.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/sim/object.h"
#include "backends/sim/world.h"
#include "runtime/assert.h"

#define START_NS UINT64_C(1000000000)

/* How often this thread holds which simulation; one at a time. */
static _Thread_local struct tocsin_sim *held_sim;
static _Thread_local uint32_t held_count;

/*
 * This is a forked child: the copy is its own from now on, with the forking thread alone.  Other
 * threads of the parent may have held the lock.
 */
static void be_reborn(struct tocsin_sim *sim)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);

    (void)tocsin__fork_mark(&sim->fork_mark);
    (void)tocsin__mutex_init(&sim->lock);
    for (struct tocsin_sim_thread *actor = sim->actors; actor != NULL; actor = actor->next) {
        (void)tocsin__cond_init(&actor->turn);
        if (actor != self) {
            actor->state = SIM_ENDED;
            actor->is_ghost = true;
        }
    }
    sim->current = self;
    sim->holds = held_sim == sim ? held_count : 0;
}

void tocsin__sim_lock(struct tocsin_sim *sim)
{
    if (*sim->fork_mark == 0) {
        be_reborn(sim);
    }
    tocsin__mutex_lock(&sim->lock);
}

void tocsin__sim_unlock(struct tocsin_sim *sim)
{
    tocsin__mutex_unlock(&sim->lock);
}

int tocsin__sim_may_act_locked(const struct tocsin_sim *sim)
{
    return tocsin__sim_self(sim) != NULL || (held_sim == sim && held_count > 0) ? 0 : -EPERM;
}

static void set_options(struct tocsin_sim *sim, const struct tocsin_sim_options *options)
{
    struct tocsin_sim_options *own = &sim->options;

    if (options != NULL) {
        *own = *options;
    }
    own->start_ns = own->start_ns != 0 ? own->start_ns : START_NS;
    if (own->faults.kick_delay_max_ns == 0) {
        own->faults.kick_delay_max_ns = UINT64_C(1000000);
    }
    if (own->faults.now_delay_max_ns == 0) {
        own->faults.now_delay_max_ns = UINT64_C(1000000);
    }
    sim->now_ns = own->start_ns;
    sim->random_state = own->seed;
    sim->backend = (struct tocsin_backend){.ops = &tocsin__backend_sim, .arg = sim};
}

static void destroy(struct tocsin_sim *sim)
{
    tocsin__sim_objects_free(sim);
    tocsin__mutex_deinit(&sim->lock);
    free(sim);
}

int tocsin_sim_open(struct tocsin_sim **out_sim, const struct tocsin_sim_options *options)
{
    struct tocsin_sim_thread *actor;
    struct tocsin_sim *sim;
    int r;

    if (tocsin_sim_current() != NULL) {
        return -EBUSY;
    }
    sim = calloc(1, sizeof(*sim));
    if (sim == NULL) {
        return -ENOMEM;
    }
    set_options(sim, options);
    r = tocsin__fork_mark(&sim->fork_mark);
    r = r < 0 ? r : tocsin__mutex_init(&sim->lock);
    if (r < 0) {
        free(sim);
        return r;
    }
    r = tocsin__sim_actor_create_locked(sim, "main", &actor);
    if (r < 0) {
        destroy(sim);
        return r;
    }
    actor->state = SIM_RUNNING;
    sim->current = actor;
    tocsin__sim_actor_become(actor);
    tocsin__sim_note_locked(sim, "seed", sim->options.seed, 0);
    *out_sim = sim;
    return 0;
}

/* End it, if that may be; the lock is gone then. */
static int end_locked(struct tocsin_sim *sim)
{
    if (tocsin__sim_self(sim) == NULL || tocsin__sim_self(sim) != sim->actors) {
        return -EPERM;
    }
    if (sim->pools_open > 0 || sim->actors->next != NULL || sim->holds > 0) {
        return -EBUSY;
    }
    tocsin__sim_unlock(sim);
    tocsin__sim_actor_become(NULL);
    tocsin__sim_actor_destroy_locked(sim->actors);
    destroy(sim);
    return 0;
}

int tocsin_sim_close(struct tocsin_sim *sim)
{
    int r;

    if (sim == NULL) {
        return 0;
    }
    tocsin__sim_lock(sim);
    r = end_locked(sim);
    if (r < 0) {
        tocsin__sim_unlock(sim);
    }
    return r;
}

void tocsin__sim_end_if_over(struct tocsin_sim *sim)
{
    if (sim->is_implied) {
        (void)tocsin_sim_close(sim); /* -EBUSY, -EPERM: somebody's close or join comes yet */
    }
}

static int open_implied(struct tocsin_sim **out_sim)
{
    const char *seed = secure_getenv("TOCSIN_SIM_SEED");
    struct tocsin_sim_options options = {.seed = 1};
    int r;

    if (seed != NULL) {
        options.seed = strtoull(seed, NULL, 10);
    }
    r = tocsin_sim_open(out_sim, &options);
    if (r == 0) {
        (*out_sim)->is_implied = true;
        (*out_sim)->is_shared = tocsin__is_pool_thread;
    }
    return r;
}

int tocsin__sim_of_open(void *arg, struct tocsin_sim **out_sim)
{
    struct tocsin_sim *sim = arg != NULL ? arg : tocsin_sim_current();

    if (sim == NULL) {
        return open_implied(out_sim);
    }
    *out_sim = sim;
    return 0;
}

const struct tocsin_backend *tocsin_sim_backend(const struct tocsin_sim *sim)
{
    return &sim->backend;
}

uint64_t tocsin_sim_seed(const struct tocsin_sim *sim)
{
    return sim->options.seed;
}

uint64_t tocsin_sim_hash(struct tocsin_sim *sim)
{
    uint64_t hash;

    tocsin__sim_lock(sim);
    hash = sim->hash;
    tocsin__sim_unlock(sim);
    return hash;
}

uint64_t tocsin_sim_random(struct tocsin_sim *sim)
{
    uint64_t random;

    tocsin__sim_lock(sim);
    do {
        random = tocsin__sim_random_locked(sim);
    } while (random == 0);
    tocsin__sim_note_locked(sim, "random", random, 0);
    tocsin__sim_unlock(sim);
    return random;
}

/* ---- Holds ----------------------------------------------------------------------------------- */

void tocsin_sim_hold(struct tocsin_sim *sim)
{
    tocsin__sim_lock(sim);
    sim->holds++;
    tocsin__sim_unlock(sim);
    if (held_sim != sim) {
        held_sim = sim;
        held_count = 0;
    }
    held_count++;
}

void tocsin_sim_unhold(struct tocsin_sim *sim)
{
    if (held_sim == sim && held_count > 0) {
        held_count--;
    }
    tocsin__sim_lock(sim);
    TOCSIN_ASSERT(sim->holds > 0, "a simulation is given back that nobody holds");
    sim->holds--;
    tocsin__sim_dispatch_locked(sim);
    tocsin__sim_unlock(sim);
}
