/*
 * The slots: struct tocsin_backend_ops over a simulation.
 *
 * wait, look, prepare and harvest are points, and so only for actors; attach and detach are called
 * under a lock of the runtime's and are none; kick, under another one, only notes the kick, and the
 * runtime has a point after it.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/sim/object.h"
#include "backends/sim/world.h"

static struct tocsin_sim *sim_of(struct sim_pool *pool)
{
    /* SIM-1 relaxed: set before the pool is known to anybody, and gone when nobody asks. */
    return atomic_load_explicit(&pool->sim, memory_order_relaxed);
}

static int be_sim_open(void *state, void *arg)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim;
    int r = tocsin__sim_of_open(arg, &sim);

    if (r < 0) {
        return r;
    }
    tocsin__sim_lock(sim);
    r = tocsin__sim_may_act_locked(sim);
    if (r == 0 && tocsin__sim_happens_locked(sim, sim->options.faults.open_ppm)) {
        r = tocsin__sim_draw_locked(sim, 2) == 0 ? -EMFILE : -ENOMEM;
        tocsin__sim_note_locked(sim, "open fails", (uint64_t)-r, 0);
    }
    if (r < 0) {
        tocsin__sim_unlock(sim);
        tocsin__sim_end_if_over(sim);
        return r;
    }
    pool->number = sim->pools_made++;
    pool->next = sim->pools;
    sim->pools = pool;
    sim->pools_open++;
    /* SIM-2 relaxed: a time, and nothing else. */
    atomic_init(&pool->now_ns, sim->now_ns);
    atomic_init(&pool->sim, sim);
    tocsin__sim_note_locked(sim, "open", pool->number, 0);
    tocsin__sim_unlock(sim);
    return 0;
}

static void be_sim_close(void *state, enum tocsin_backend_close how)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);
    struct sim_pool **link = &sim->pools;

    (void)how; /* a simulation is memory, and a forked child has its own copy */
    tocsin__sim_lock(sim);
    tocsin__sim_note_locked(sim, "close pool", pool->number, 0);
    tocsin__sim_unwatch_all_locked(sim, pool);
    tocsin__sim_unpend_locked(sim, &pool->late_kick);
    while (*link != pool) {
        link = &(*link)->next;
    }
    *link = pool->next;
    sim->pools_open--;
    free(pool->ready);
    pool->ready = NULL;
    /* SIM-1 relaxed: as sim_of(). */
    atomic_store_explicit(&pool->sim, NULL, memory_order_relaxed);
    tocsin__sim_unlock(sim);
    tocsin__sim_end_if_over(sim);
}

static uint64_t be_sim_now(void *state)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);

    if (sim != NULL && tocsin__sim_self(sim) != NULL &&
        (sim->options.clock_step_ns != 0 || sim->options.faults.now_ppm != 0)) {
        return tocsin_sim_now_ns(sim);
    }
    /* SIM-2 relaxed: a time, and nothing else. */
    return atomic_load_explicit(&pool->now_ns, memory_order_relaxed);
}

static void take_in_locked(struct sim_pool *pool, struct tocsin_backend_events *list)
{
    tocsin__sim_collect_locked(sim_of(pool), pool, list);
    pool->kicked = false;
}

static int be_sim_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);
    int r = 0;

    if (self == NULL) {
        return -EPERM;
    }
    tocsin__sim_lock(sim);
    tocsin__sim_note_locked(sim, "wait", pool->number, deadline_ns);
    if (tocsin__sim_happens_locked(sim, sim->options.faults.wait_ppm)) {
        tocsin__sim_note_locked(sim, "wait ends", pool->number, 0);
        tocsin__sim_give_way_locked(self, SIM_READY);
    } else {
        self->pool = pool;
        self->deadline_ns = deadline_ns;
        tocsin__sim_give_way_locked(self, SIM_WAITING);
        if (sim->dead && !pool->kicked && deadline_ns > sim->now_ns &&
            !tocsin__sim_pool_has_events_locked(pool)) {
            r = -EDEADLK;
        }
        take_in_locked(pool, list);
    }
    tocsin__sim_unlock(sim);
    return r;
}

static int be_sim_look(void *state, struct tocsin_backend_events *list)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);

    if (self == NULL) {
        return -EPERM;
    }
    tocsin__sim_lock(sim);
    tocsin__sim_note_locked(sim, "look", pool->number, 0);
    tocsin__sim_give_way_locked(self, SIM_READY);
    if (tocsin__sim_happens_locked(sim, sim->options.faults.look_ppm)) {
        tocsin__sim_note_locked(sim, "look fails", pool->number, 0);
    } else {
        take_in_locked(pool, list);
    }
    tocsin__sim_unlock(sim);
    return 0;
}

static void late_kick(struct tocsin_sim *sim, struct sim_pending *pending)
{
    struct sim_pool *pool =
        (struct sim_pool *)(void *)((char *)pending - offsetof(struct sim_pool, late_kick));

    tocsin__sim_note_locked(sim, "late kick", pool->number, 0);
    pool->kicked = true;
}

static void be_sim_kick(void *state)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);

    tocsin__sim_lock(sim);
    sim->is_shared = sim->is_shared || (sim->is_implied && tocsin__sim_self(sim) == NULL);
    tocsin__sim_note_locked(sim, "kick", pool->number, 0);
    if (tocsin__sim_happens_locked(sim, sim->options.faults.kick_ppm)) {
        if (!pool->late_kick.armed) {
            uint64_t delay_ns =
                1 + tocsin__sim_draw_locked(sim, sim->options.faults.kick_delay_max_ns);

            tocsin__sim_pend_locked(sim, &pool->late_kick, sim->now_ns + delay_ns, late_kick);
        }
    } else {
        pool->kicked = true;
    }
    tocsin__sim_dispatch_locked(sim);
    tocsin__sim_unlock(sim);
}

static int be_sim_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct sim_pool *pool = state;
    struct tocsin_sim *sim = sim_of(pool);
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_may_act_locked(sim);
    if (r == 0 && tocsin__sim_happens_locked(sim, sim->options.faults.attach_ppm)) {
        r = tocsin__sim_draw_locked(sim, 2) == 0 ? -ENOMEM : -ENOSPC;
    }
    r = r < 0 ? r : tocsin__sim_watch_locked(sim, pool, watch);
    tocsin__sim_note_locked(sim, "attach", (uint64_t)watch->number, (uint64_t)(int64_t)r);
    tocsin__sim_unlock(sim);
    return r;
}

static int be_sim_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct tocsin_sim *sim = sim_of(state);
    int r;

    tocsin__sim_lock(sim);
    r = tocsin__sim_unwatch_locked(sim, watch);
    if (r == 0 && tocsin__sim_happens_locked(sim, sim->options.faults.detach_ppm)) {
        r = tocsin__sim_draw_locked(sim, 2) == 0 ? -EBADF : -ENOENT; /* it is off all the same */
    }
    tocsin__sim_note_locked(sim, "detach", (uint64_t)watch->number, (uint64_t)(int64_t)r);
    tocsin__sim_unlock(sim);
    return r;
}

/* A point on the way into sleep, when the word does not say so yet. */
static uint64_t be_sim_prepare(void *state, uint64_t deadline_ns)
{
    (void)tocsin_sim_yield(sim_of(state));
    return deadline_ns;
}

/* A point after the inbox was drained. */
static void be_sim_harvest(void *state)
{
    (void)tocsin_sim_yield(sim_of(state));
}

const struct tocsin_backend_ops tocsin__backend_sim = {
    .name = "sim",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_EDGE | TOCSIN_BACKEND_ANY_THREAD_ATTACH |
                TOCSIN_BACKEND_EXACT_EVENTS | TOCSIN_BACKEND_FINE_DEADLINE |
                TOCSIN_BACKEND_FOREIGN_THREADS | TOCSIN_BACKEND_OWN_SOURCES,
    .state_size = sizeof(struct sim_pool),
    .open = be_sim_open,
    .close = be_sim_close,
    .now = be_sim_now,
    .wait = be_sim_wait,
    .look = be_sim_look,
    .kick = be_sim_kick,
    .attach = be_sim_attach,
    .detach = be_sim_detach,
    .prepare = be_sim_prepare,
    .harvest = be_sim_harvest,
};
