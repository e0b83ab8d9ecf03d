/*
 * The time, and what is to happen at which.
 *
 * What is due at one time happens in an order that the seed decides.
 */
#include <errno.h>

#include "backends/sim/world.h"

void tocsin__sim_unpend_locked(struct tocsin_sim *sim, struct sim_pending *pending)
{
    struct sim_pending **link = &sim->pending;

    if (!pending->armed) {
        return;
    }
    while (*link != pending) {
        link = &(*link)->next;
    }
    *link = pending->next;
    pending->armed = false;
}

void tocsin__sim_pend_locked(struct tocsin_sim *sim, struct sim_pending *pending,
                             uint64_t deadline_ns, sim_fire_fn *fire)
{
    tocsin__sim_unpend_locked(sim, pending);
    pending->deadline_ns = deadline_ns;
    pending->fire = fire;
    pending->armed = true;
    pending->next = sim->pending;
    sim->pending = pending;
}

uint64_t tocsin__sim_next_ns_locked(const struct tocsin_sim *sim)
{
    uint64_t next_ns = TOCSIN_NEVER_NS;

    for (const struct sim_pending *pending = sim->pending; pending != NULL;
         pending = pending->next) {
        next_ns = pending->deadline_ns < next_ns ? pending->deadline_ns : next_ns;
    }
    return next_ns;
}

/* One of those due at @deadline_ns, which there are. */
static struct sim_pending *draw_due_locked(struct tocsin_sim *sim, uint64_t deadline_ns)
{
    uint64_t count = 0;
    uint64_t drawn;

    for (struct sim_pending *pending = sim->pending; pending != NULL; pending = pending->next) {
        count += pending->deadline_ns == deadline_ns;
    }
    drawn = tocsin__sim_draw_locked(sim, count);
    for (struct sim_pending *pending = sim->pending;; pending = pending->next) {
        if (pending->deadline_ns == deadline_ns && drawn-- == 0) {
            return pending;
        }
    }
}

static void set_now_locked(struct tocsin_sim *sim, uint64_t now_ns)
{
    if (now_ns <= sim->now_ns) {
        return;
    }
    sim->now_ns = now_ns;
    for (struct sim_pool *pool = sim->pools; pool != NULL; pool = pool->next) {
        /* SIM-2 relaxed: a time, and nothing else. */
        atomic_store_explicit(&pool->now_ns, now_ns, memory_order_relaxed);
    }
}

void tocsin__sim_reach_locked(struct tocsin_sim *sim, uint64_t now_ns)
{
    uint64_t next_ns;

    while ((next_ns = tocsin__sim_next_ns_locked(sim)) <= now_ns && next_ns != TOCSIN_NEVER_NS) {
        struct sim_pending *pending = draw_due_locked(sim, next_ns);

        set_now_locked(sim, next_ns);
        tocsin__sim_unpend_locked(sim, pending);
        pending->fire(sim, pending);
    }
    set_now_locked(sim, now_ns);
}

/* How long it takes this actor to read the clock. */
static uint64_t draw_step_locked(struct tocsin_sim *sim)
{
    uint64_t step_ns = sim->options.clock_step_ns;

    if (tocsin__sim_happens_locked(sim, sim->options.faults.now_ppm)) {
        step_ns += 1 + tocsin__sim_draw_locked(sim, sim->options.faults.now_delay_max_ns);
        tocsin__sim_note_locked(sim, "held up", step_ns, 0);
    }
    return step_ns;
}

uint64_t tocsin_sim_now_ns(struct tocsin_sim *sim)
{
    uint64_t now_ns;

    tocsin__sim_lock(sim);
    if (tocsin__sim_self(sim) != NULL && sim->holds == 0) {
        uint64_t step_ns = draw_step_locked(sim);

        if (step_ns != 0) {
            tocsin__sim_reach_locked(sim, sim->now_ns + step_ns);
        }
    }
    now_ns = sim->now_ns;
    tocsin__sim_unlock(sim);
    return now_ns;
}

int tocsin_sim_pass(struct tocsin_sim *sim, uint64_t delay_ns)
{
    int r = 0;

    tocsin__sim_lock(sim);
    if (tocsin__sim_self(sim) == NULL) {
        r = -EPERM;
    } else if (sim->holds > 0) {
        r = -EBUSY;
    } else {
        tocsin__sim_note_locked(sim, "pass", delay_ns, 0);
        tocsin__sim_reach_locked(sim, sim->now_ns + delay_ns);
    }
    tocsin__sim_unlock(sim);
    return r;
}
