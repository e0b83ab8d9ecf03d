/*
 * Who runs.
 *
 * An actor that comes to a point goes into a state that says when it can go on, and the seed
 * chooses among all that can, itself included.  If none can, time moves to the earliest deadline,
 * of a wait, of a sleep, or of something pending; if there is none, that is a deadlock, unless
 * somebody holds the simulation, or others than actors share it: then nobody has the baton until a
 * kick, an unpark or the end of the hold.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "backends/sim/object.h"
#include "backends/sim/world.h"
#include "runtime/assert.h"

static bool can_run_locked(struct tocsin_sim_thread *actor)
{
    struct tocsin_sim *sim = actor->sim;

    switch (actor->state) {
    case SIM_RUNNING:
    case SIM_READY:
        return true;
    case SIM_WAITING:
        return actor->pool->kicked || sim->dead || actor->deadline_ns <= sim->now_ns ||
               tocsin__sim_pool_has_events_locked(actor->pool);
    case SIM_SLEEPING:
        return actor->deadline_ns <= sim->now_ns;
    case SIM_PARKED:
        return actor->unparked;
    case SIM_JOINING:
        return actor->joined->state == SIM_ENDED;
    case SIM_AWAITING:
        return actor->condition(actor->condition_arg);
    case SIM_ENDED:
        return false;
    }
    TOCSIN_UNREACHABLE("an actor in no state");
}

/* One of those that can run; NULL: none can. */
static struct tocsin_sim_thread *draw_actor_locked(struct tocsin_sim *sim)
{
    struct tocsin_sim_thread *chosen = NULL;
    uint64_t count = 0;

    /* Each is asked once: what a condition says may change under a holder's hands. */
    for (struct tocsin_sim_thread *actor = sim->actors; actor != NULL; actor = actor->next) {
        if (can_run_locked(actor) && tocsin__sim_draw_locked(sim, ++count) == 0) {
            chosen = actor;
        }
    }
    if (count > 1) {
        tocsin__sim_note_locked(sim, "choose", chosen->number, count);
    }
    return chosen;
}

/* When the next thing is to happen. */
static uint64_t next_ns_locked(const struct tocsin_sim *sim)
{
    uint64_t next_ns = tocsin__sim_next_ns_locked(sim);

    for (const struct tocsin_sim_thread *actor = sim->actors; actor != NULL; actor = actor->next) {
        if ((actor->state == SIM_WAITING || actor->state == SIM_SLEEPING) &&
            actor->deadline_ns < next_ns) {
            next_ns = actor->deadline_ns;
        }
    }
    return next_ns;
}

static void deadlock_locked(struct tocsin_sim *sim)
{
    char text[SIM_REPORT_SIZE];
    bool any_waits = false;

    tocsin__sim_note_locked(sim, "deadlock", 0, 0);
    for (const struct tocsin_sim_thread *actor = sim->actors; actor != NULL; actor = actor->next) {
        any_waits = any_waits || actor->state == SIM_WAITING;
    }
    if (sim->options.deadlock == TOCSIN_SIM_DEADLOCK_FAIL && any_waits) {
        sim->dead = true;
        return;
    }
    (void)tocsin__sim_report_locked(sim, text, sizeof(text));
    tocsin__assert_failed(__FILE__, __LINE__, text);
}

/* The one to run; NULL: none, for now (B2). */
static struct tocsin_sim_thread *pick_locked(struct tocsin_sim *sim)
{
    for (;;) {
        struct tocsin_sim_thread *chosen = draw_actor_locked(sim);
        uint64_t next_ns;

        if (chosen != NULL || sim->holds > 0) {
            return chosen;
        }
        next_ns = next_ns_locked(sim);
        if (next_ns == TOCSIN_NEVER_NS && sim->is_shared) {
            return NULL;
        }
        if (next_ns == TOCSIN_NEVER_NS) {
            deadlock_locked(sim);
        } else {
            tocsin__sim_note_locked(sim, "time", next_ns, 0);
            tocsin__sim_reach_locked(sim, next_ns);
        }
    }
}

static void pass_baton_locked(struct tocsin_sim *sim)
{
    sim->current = pick_locked(sim);
    if (sim->current != NULL) {
        tocsin__cond_signal(&sim->current->turn);
    }
}

void tocsin__sim_first_turn_locked(struct tocsin_sim_thread *self)
{
    while (self->sim->current != self) {
        tocsin__cond_wait(&self->turn, &self->sim->lock);
    }
    self->state = SIM_RUNNING;
}

void tocsin__sim_give_way_locked(struct tocsin_sim_thread *self, enum sim_state state)
{
    self->state = state;
    pass_baton_locked(self->sim);
    tocsin__sim_first_turn_locked(self);
}

void tocsin__sim_last_turn_locked(struct tocsin_sim_thread *self)
{
    self->state = SIM_ENDED;
    tocsin__sim_note_locked(self->sim, "end", self->number, 0);
    pass_baton_locked(self->sim);
}

void tocsin__sim_dispatch_locked(struct tocsin_sim *sim)
{
    if (sim->current == NULL) {
        pass_baton_locked(sim);
    }
}

/* ---- The report ------------------------------------------------------------------------------ */

struct report {
    char *text;
    size_t size;
    size_t length; /* of the whole, also what did not fit */
};

__attribute__((format(printf, 2, 3))) static void append(struct report *report, const char *format,
                                                         ...)
{
    size_t at = report->length < report->size ? report->length : report->size;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(report->text + at, report->size - at, format, args);
    va_end(args);
    report->length += length > 0 ? (size_t)length : 0;
}

static void append_state(struct report *report, const struct tocsin_sim_thread *actor)
{
    switch (actor->state) {
    case SIM_RUNNING:
        append(report, "runs");
        return;
    case SIM_READY:
        append(report, "can run");
        return;
    case SIM_WAITING:
        append(report, "runs pool %" PRIu32 ", which waits for a wake or one of %zu watches",
               actor->pool->number, actor->pool->attached);
        break;
    case SIM_SLEEPING:
        append(report, "sleeps");
        break;
    case SIM_PARKED:
        append(report, "blocks until another thread wakes it (a join, or tocsin_block_on())");
        return;
    case SIM_JOINING:
        append(report, "joins actor %" PRIu32, actor->joined->number);
        return;
    case SIM_AWAITING:
        append(report, "awaits a condition");
        return;
    case SIM_ENDED:
        append(report, "has ended");
        return;
    }
    if (actor->deadline_ns == TOCSIN_NEVER_NS) {
        append(report, ", without a deadline");
    } else {
        append(report, ", until %" PRIu64 " ns", actor->deadline_ns);
    }
}

size_t tocsin__sim_report_locked(struct tocsin_sim *sim, char *text, size_t size)
{
    struct report report = {.text = text, .size = size};

    append(&report, "simulation seed=%" PRIu64 " at %" PRIu64 " ns", sim->options.seed,
           sim->now_ns);
    if (sim->holds > 0) {
        append(&report, ", held %" PRIu32 " times", sim->holds);
    } else if (sim->current == NULL || sim->current->state != SIM_RUNNING) {
        append(&report, ": deadlock: nobody can run, and nothing is to come");
    }
    for (const struct tocsin_sim_thread *actor = sim->actors; actor != NULL; actor = actor->next) {
        append(&report, "\n  actor %" PRIu32 " \"%s\" ", actor->number, actor->name);
        append_state(&report, actor);
    }
    return report.length;
}

size_t tocsin_sim_report(struct tocsin_sim *sim, char *text, size_t size)
{
    size_t length;

    tocsin__sim_lock(sim);
    length = tocsin__sim_report_locked(sim, text, size);
    tocsin__sim_unlock(sim);
    return length;
}
