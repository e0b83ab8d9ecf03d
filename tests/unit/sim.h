/*
 * What the tests of the simulation share: opening one, and a pool and a readiness object on it.
 */
#ifndef TOCSIN_TESTS_UNIT_SIM_H
#define TOCSIN_TESTS_UNIT_SIM_H

#include <tocsin/sim.h>

#include "tests/unit/unit.h"

#define UNIT_MS UINT64_C(1000000)
#define UNIT_S UINT64_C(1000000000)

static inline struct tocsin_sim *unit_sim(uint64_t seed)
{
    const struct tocsin_sim_options options = {.seed = seed};
    struct tocsin_sim *sim = NULL;

    UNIT_CHECK(tocsin_sim_open(&sim, &options) == 0);
    return sim;
}

static inline struct tocsin_pool *unit_sim_pool(struct tocsin_sim *sim)
{
    struct tocsin_pool *pool = NULL;

    UNIT_CHECK(tocsin_pool_open(&pool, tocsin_sim_backend(sim), NULL) == 0);
    return pool;
}

static inline void unit_sim_close(struct tocsin_sim *sim, struct tocsin_pool *pool)
{
    UNIT_CHECK(tocsin_pool_close(pool) == 0);
    UNIT_CHECK(tocsin_sim_close(sim) == 0);
}

static inline struct tocsin_fd_ready *unit_sim_watch(struct tocsin_pool *pool, intptr_t number)
{
    struct tocsin_fd_ready *ready = NULL;

    UNIT_CHECK(
        tocsin_source_ready_open(tocsin_pool_driver(pool), TOCSIN_SOURCE_OWN, number, &ready) == 0);
    return ready;
}

static inline void unit_sim_ignore(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
}

/* Run @pool for @delay_ns by its clock. */
static inline void unit_sim_run_for(struct tocsin_pool *pool, uint64_t delay_ns)
{
    const struct tocsin_timer_options options = {.delay_ns = delay_ns};
    struct tocsin_timer timer;

    UNIT_CHECK(tocsin_timer_init(&timer, tocsin_pool_driver(pool), unit_sim_ignore, NULL) == 0);
    tocsin_timer_start(&timer, &options);
    UNIT_CHECK(tocsin_pool_run(pool) == 0);
    tocsin_timer_deinit(&timer);
}

#endif
