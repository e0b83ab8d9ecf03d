/*
 * The explorer: runs small programs over the real runtime in every order of their steps, up to a
 * bound, and then in random ones.  See README.md.
 *
 *   explorer [--short] [--preemptions N] [--delays N] [--random RUNS] [--seed S]
 *            [--limit EXECUTIONS] [--list] [SCENARIO ...]
 *   explorer --replay SCHEDULE SCENARIO
 *
 * SCENARIO may be a shell pattern.  The bound is three preemptions for two threads and two for
 * three; --short: one less; --preemptions: so many for all.  A seed of 0 is one by the clock.
 */
#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/engine.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "atomics.c keeps values as such");

struct options {
    int preemptions; /* -1: by the number of threads */
    unsigned delays;
    uint64_t random;
    uint64_t seed;
    uint64_t limit;
    const char *replay;
    bool list;
    bool is_short;
    char **patterns;
    int patterns_count;
};

static const struct model_scenario *const tables[] = {
    model_scenes_litmus, model_scenes_wake,  model_scenes_pool,
    model_scenes_spawn,  model_scenes_task,  model_scenes_join,
    model_scenes_timer,  model_scenes_ready, model_scenes_close,
};

static unsigned passed;
static unsigned failed;
static uint64_t executions;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The failed run once more, told step by step. */
static void explain(const struct model_scenario *scenario, const struct model_verdict *verdict)
{
    struct model_verdict again;

    model_tracing = true;
    model_search_replay(scenario, verdict->schedule, &again);
    model_tracing = false;
    model_trace_print();
    printf("    %s\n    schedule: --replay '%s' %s\n", verdict->message, verdict->schedule,
           scenario->name);
    if (!again.failed || strcmp(again.message, verdict->message) != 0) {
        printf("    (replayed, it %s)\n", again.failed ? again.message : "does not fail");
    }
}

static unsigned threads_of(const struct model_scenario *scenario)
{
    unsigned count = 0;

    while (count < MODEL_THREADS_MAX && scenario->threads[count] != NULL) {
        count++;
    }
    return count;
}

/* What was to be found was, and the schedule shows it again. */
static bool is_found(const struct model_scenario *scenario, const struct model_verdict *verdict)
{
    struct model_verdict again;

    if (!verdict->failed || strstr(verdict->message, scenario->finds) == NULL) {
        return false;
    }
    model_search_replay(scenario, verdict->schedule, &again);
    return again.failed && strcmp(again.message, verdict->message) == 0;
}

/* @verdict, in one line and more if it is not what it should be. */
static void report(const struct model_scenario *scenario, const struct model_verdict *verdict,
                   const char *how, double since)
{
    bool good = scenario->finds != NULL ? is_found(scenario, verdict)
                                        : !verdict->failed && !verdict->gave_up;

    printf("%-4s %-46s %9" PRIu64 " executions, %s, %.1f s\n", good ? "ok" : "FAIL", scenario->name,
           verdict->executions, how, seconds() - since);
    executions += verdict->executions;
    passed += good;
    failed += !good;
    if (good) {
        return;
    }
    if (verdict->failed) {
        explain(scenario, verdict);
    } else {
        printf("    %s\n", verdict->gave_up ? "the limit was reached" : "found nothing wrong");
    }
}

static void explore(const struct model_scenario *scenario, const struct options *options)
{
    unsigned preemptions = threads_of(scenario) > 2 ? 2 : 3;
    struct model_verdict verdict;
    struct model_bound bound;
    double since = seconds();
    char how[64];

    if (options->preemptions >= 0) {
        preemptions = (unsigned)options->preemptions;
    }
    preemptions -= options->is_short && preemptions > 0;
    preemptions -= scenario->fewer < preemptions ? scenario->fewer : preemptions;
    bound = (struct model_bound){.of = {preemptions, options->delays}};
    model_search(scenario, bound, options->limit, &verdict);
    snprintf(how, sizeof(how), "%u preemptions, %u delays", preemptions, options->delays);
    report(scenario, &verdict, how, since);
    if (options->random > 0 && !verdict.failed && scenario->finds == NULL) {
        since = seconds();
        model_search_randomly(scenario, options->seed, options->random, &verdict);
        snprintf(how, sizeof(how), "random, seed=%" PRIu64, options->seed);
        report(scenario, &verdict, how, since);
    }
}

static void replay(const struct model_scenario *scenario, const char *schedule)
{
    struct model_verdict verdict;

    model_tracing = true;
    model_search_replay(scenario, schedule, &verdict);
    model_tracing = false;
    model_trace_print();
    printf("    %s\n", verdict.failed ? verdict.message : "nothing went wrong");
    passed += !verdict.failed;
    failed += verdict.failed;
}

static bool is_wanted(const struct model_scenario *scenario, const struct options *options)
{
    for (int i = 0; i < options->patterns_count; i++) {
        if (fnmatch(options->patterns[i], scenario->name, 0) == 0) {
            return true;
        }
    }
    return options->patterns_count == 0;
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: explorer [--short] [--preemptions N] [--delays N] [--random RUNS]\n"
                    "                [--seed S] [--limit EXECUTIONS] [--list] [SCENARIO ...]\n"
                    "       explorer --replay SCHEDULE SCENARIO\n");
    exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
    int i;

    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *name = argv[i] + 2;

        if (strcmp(name, "list") == 0) {
            options->list = true;
            continue;
        }
        if (strcmp(name, "short") == 0) {
            options->is_short = true;
            continue;
        }
        if (++i == argc) {
            usage();
        }
        if (strcmp(name, "preemptions") == 0) {
            options->preemptions = (int)strtol(argv[i], NULL, 10);
        } else if (strcmp(name, "delays") == 0) {
            options->delays = (unsigned)strtoul(argv[i], NULL, 10);
        } else if (strcmp(name, "random") == 0) {
            options->random = strtoull(argv[i], NULL, 10);
        } else if (strcmp(name, "seed") == 0) {
            options->seed = strtoull(argv[i], NULL, 10);
        } else if (strcmp(name, "limit") == 0) {
            options->limit = strtoull(argv[i], NULL, 10);
        } else if (strcmp(name, "replay") == 0) {
            options->replay = argv[i];
        } else {
            usage();
        }
    }
    if (options->seed == 0) {
        options->seed = (uint64_t)time(NULL);
    }
    options->patterns = argv + i;
    options->patterns_count = argc - i;
}

int main(int argc, char **argv)
{
    struct options options = {.preemptions = -1, .delays = 1, .seed = 1, .limit = UINT64_MAX};
    double since = seconds();
    unsigned wanted = 0;

    parse(argc, argv, &options);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct model_scenario *scenario = tables[i]; scenario->name != NULL;
             scenario++) {
            if (!is_wanted(scenario, &options)) {
                continue;
            }
            wanted++;
            if (options.list) {
                printf("%-46s %u threads  %s\n", scenario->name, threads_of(scenario),
                       scenario->rules);
            } else if (options.replay != NULL) {
                replay(scenario, options.replay);
            } else {
                explore(scenario, &options);
            }
        }
    }
    if (wanted == 0) {
        fprintf(stderr, "no such scenario; --list names them\n");
        return 2;
    }
    if (!options.list) {
        printf("%" PRIu64 " executions in all, %.1f s\n", executions, seconds() - since);
        printf("%u passed, %u failed\n", passed, failed);
    }
    return failed != 0;
}
