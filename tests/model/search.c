/*
 * The choices of a run, and which run is the next.
 *
 * Exhaustively: a run's choices are a path in a tree, of which the next run takes the next branch,
 * depth first.  An option that is not free costs one of the bound of its kind; a branch above the
 * bound is not taken.  The bound grows from nothing, so that what needs least goes wrong first.
 *
 * Which objects are shared is learned on the way (threads.c), and steps at others are no choices.
 * When a run has found one more, the tree has more choices than were seen, and begins anew.
 *
 * At random: probabilistic concurrency testing.  Each thread has a priority, the highest that can
 * go on does, and at a few steps of the run the one that is running falls below all others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/engine.h"
#include "tests/model/threads.h"
#include "tests/unit/support.h"

enum {
    CHOICES_MAX = 1 << 15,
    FALLS = 3, /* how often a priority falls in a random run */
};

struct choice {
    unsigned step;
    unsigned kind;
    unsigned count;
    unsigned free_count;
    unsigned chosen;
    unsigned used[MODEL_KINDS]; /* of the bound, before this one */
};

enum mode { MODE_PATH, MODE_RANDOM, MODE_REPLAY };

static struct {
    enum mode mode;
    struct choice choices[CHOICES_MAX];
    size_t depth;  /* choices made in this run */
    size_t prefix; /* of which so many are given */
    struct support_random random;
    unsigned priority[MODEL_THREADS];
    unsigned lowest;
    unsigned falls[FALLS];
} search;

static unsigned choose_randomly(const struct choice *choice, const uint8_t *threads)
{
    unsigned best = 0;

    if (choice->kind == MODEL_DELAY) {
        return support_random_below(&search.random, 4) != 0
                   ? 0
                   : support_random_below(&search.random, choice->count);
    }
    if (support_random_below(&search.random, 32) == 0) {
        return support_random_below(&search.random, choice->count); /* a wait ends early, perhaps */
    }
    for (unsigned i = 0; i < FALLS; i++) {
        if (search.falls[i] <= choice->step && search.falls[i] != 0) {
            search.falls[i] = 0;
            search.priority[model_self()] = --search.lowest;
        }
    }
    for (unsigned i = 1; i < choice->count; i++) {
        if ((threads[i] & MODEL_EARLY) == 0 &&
            search.priority[threads[i]] > search.priority[threads[best] & ~MODEL_EARLY]) {
            best = i;
        }
    }
    return best;
}

/* What the schedule that is replayed says of this choice. */
static unsigned choose_given(const struct choice *choice)
{
    for (size_t i = 0; i < search.prefix; i++) {
        const struct choice *given = &search.choices[CHOICES_MAX - 1 - i];

        if (given->step == choice->step && given->kind == choice->kind) {
            if (given->chosen >= choice->count) {
                model_error("the schedule is not one of this scenario: step %u", choice->step);
            }
            return given->chosen;
        }
    }
    return 0;
}

unsigned model_choose(enum model_kind kind, unsigned count, unsigned free_count,
                      const uint8_t *threads)
{
    struct choice *choice = &search.choices[search.depth];
    struct choice made = {
        .step = model_step(), .kind = kind, .count = count, .free_count = free_count};

    if (count == 1) {
        return 0;
    }
    if (search.depth + search.prefix + 1 >= CHOICES_MAX) {
        model_error("too many choices");
    }
    if (search.depth > 0) {
        const struct choice *before = choice - 1;

        memcpy(made.used, before->used, sizeof(made.used));
        made.used[before->kind] += before->chosen >= before->free_count;
    }
    switch (search.mode) {
    case MODE_PATH:
        if (search.depth < search.prefix) {
            if (choice->step != made.step || choice->count != count || choice->kind != kind) {
                model_error("the scenario does not do the same each time: step %u", made.step);
            }
            made.chosen = choice->chosen;
        }
        break;
    case MODE_RANDOM:
        made.chosen = choose_randomly(&made, threads);
        break;
    case MODE_REPLAY:
        made.chosen = choose_given(&made);
        break;
    }
    *choice = made;
    search.depth++;
    return made.chosen;
}

/* Make the prefix of the next run.  False: all within @bound were made. */
static bool next_path(const struct model_bound *bound)
{
    while (search.depth > 0) {
        struct choice *choice = &search.choices[search.depth - 1];
        unsigned next = choice->chosen + 1;

        if (next < choice->count &&
            (next < choice->free_count || choice->used[choice->kind] < bound->of[choice->kind])) {
            choice->chosen = next;
            search.prefix = search.depth;
            return true;
        }
        search.depth--;
    }
    return false;
}

static void write_schedule(char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < search.depth && length + 1 < size; i++) {
        const struct choice *choice = &search.choices[i];

        if (choice->chosen != 0) {
            int r =
                snprintf(text + length, size - length, "%s%c%u=%u", length > 0 ? " " : "",
                         choice->kind == MODEL_SCHEDULE ? 's' : 'd', choice->step, choice->chosen);

            length += r > 0 ? (size_t)r : 0;
        }
    }
}

/* Run once; note it if it went wrong. */
static bool try_once(const struct model_scenario *scenario, struct model_verdict *verdict)
{
    const char *message;

    search.depth = 0;
    message = model_run(scenario);
    verdict->executions++;
    if (message == NULL) {
        return true;
    }
    verdict->failed = true;
    snprintf(verdict->message, sizeof(verdict->message), "%s", message);
    write_schedule(verdict->schedule, sizeof(verdict->schedule));
    return false;
}

static bool search_within(const struct model_scenario *scenario, const struct model_bound *bound,
                          uint64_t executions_max, struct model_verdict *verdict)
{
    search.prefix = 0;
    verdict->executions = 0;
    do {
        if (verdict->executions == executions_max) {
            verdict->gave_up = true;
            return false;
        }
        model_learned = false;
        if (!try_once(scenario, verdict)) {
            return false;
        }
        if (model_learned) {
            search.depth = 0;
            search.prefix = 0;
            verdict->executions = 0;
        }
    } while (model_learned || next_path(bound));
    return true;
}

void model_search(const struct model_scenario *scenario, struct model_bound bound,
                  uint64_t executions_max, struct model_verdict *verdict)
{
    unsigned levels = 0;

    memset(verdict, 0, sizeof(*verdict));
    search.mode = MODE_PATH;
    model_learning_reset();
    for (unsigned kind = 0; kind < MODEL_KINDS; kind++) {
        levels = bound.of[kind] > levels ? bound.of[kind] : levels;
    }
    for (unsigned level = 0; level <= levels; level++) {
        struct model_bound within = bound;

        for (unsigned kind = 0; kind < MODEL_KINDS; kind++) {
            within.of[kind] = level < bound.of[kind] ? level : bound.of[kind];
        }
        if (!search_within(scenario, &within, executions_max, verdict)) {
            return;
        }
    }
}

/* The numbers of one random run, which can be drawn again. */
static void draw(uint64_t seed, unsigned steps)
{
    search.random.state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (unsigned i = 0; i < 4; i++) {
        support_random_next(&search.random);
    }
    search.lowest = 1000;
    for (unsigned i = 0; i < MODEL_THREADS; i++) {
        search.priority[i] = search.lowest + 1 + support_random_below(&search.random, 1000);
    }
    for (unsigned i = 0; i < FALLS; i++) {
        search.falls[i] = 1 + support_random_below(&search.random, steps);
    }
}

void model_search_randomly(const struct model_scenario *scenario, uint64_t seed, uint64_t runs,
                           struct model_verdict *verdict)
{
    unsigned steps = 100;

    memset(verdict, 0, sizeof(*verdict));
    search.mode = MODE_RANDOM;
    search.prefix = 0;
    model_learning_reset();
    for (uint64_t i = 0; i < runs; i++) {
        draw(seed + i, steps);
        if (!try_once(scenario, verdict)) {
            return;
        }
        steps = model_step() + 1;
    }
}

void model_search_replay(const struct model_scenario *scenario, const char *schedule,
                         struct model_verdict *verdict)
{
    const char *place = schedule;
    unsigned step;
    unsigned chosen;
    char kind;
    int length;

    memset(verdict, 0, sizeof(*verdict));
    search.mode = MODE_REPLAY;
    search.prefix = 0;
    model_learning_skip();
    while (sscanf(place, " %c%u=%u%n", &kind, &step, &chosen, &length) == 3 &&
           search.prefix < CHOICES_MAX / 2) {
        search.choices[CHOICES_MAX - 1 - search.prefix++] = (struct choice){
            .step = step,
            .kind = kind == 's' ? MODEL_SCHEDULE : MODEL_DELAY,
            .chosen = chosen,
        };
        place += length;
    }
    try_once(scenario, verdict);
}
