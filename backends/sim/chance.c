/*
 * Numbers from the seed, and the hash of what was decided (B4).
 *
 * One row of numbers serves everything, so a program that takes one step more has another future
 * from there on.  What cannot happen (a rate of 0, a choice among one) draws nothing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "backends/sim/world.h"

/* splitmix64's last step: every bit of @z in every bit of the result. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t tocsin__sim_random_locked(struct tocsin_sim *sim)
{
    sim->random_state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(sim->random_state);
}

uint64_t tocsin__sim_draw_locked(struct tocsin_sim *sim, uint64_t bound)
{
    /* The remainder's bias is of no account here. */
    return bound > 1 ? tocsin__sim_random_locked(sim) % bound : 0;
}

uint64_t tocsin__sim_between_locked(struct tocsin_sim *sim, uint64_t low, uint64_t high)
{
    return low < high ? low + tocsin__sim_draw_locked(sim, high - low + 1) : low;
}

bool tocsin__sim_happens_locked(struct tocsin_sim *sim, uint32_t ppm)
{
    return ppm != 0 && tocsin__sim_draw_locked(sim, SIM_PPM) < ppm;
}

void tocsin__sim_note_locked(struct tocsin_sim *sim, const char *what, uint64_t a, uint64_t b)
{
    struct tocsin_sim_thread *self = tocsin__sim_self(sim);
    uint64_t actor = self != NULL ? self->number : UINT32_MAX;
    uint64_t hash = sim->hash;

    for (const char *c = what; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    }
    hash = mix(hash ^ sim->now_ns);
    hash = mix(hash ^ actor);
    hash = mix(hash ^ a);
    sim->hash = mix(hash ^ b);
    if (sim->options.trace != NULL) {
        char line[160];

        (void)snprintf(line, sizeof(line), "%" PRIu64 ".%09" PRIu64 " %s %s %" PRId64 " %" PRId64,
                       sim->now_ns / UINT64_C(1000000000), sim->now_ns % UINT64_C(1000000000),
                       self != NULL ? self->name : "(no actor)", what, (int64_t)a, (int64_t)b);
        sim->options.trace(sim->options.trace_arg, line);
    }
}
