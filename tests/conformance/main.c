/*
 * tocsin-conformance: puts a backend to the suite, and says what came of it in TAP.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../backends/backends.h"
#include "face.h"
#include "runner.h"
#include "tables.h"

enum {
    EXIT_SKIPPED = 77, /* as meson has it */
    WATCHDOG_S = 20,
    SOAK_SCALE = 10,
/* Sanitized code is slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    WATCHDOG_FACTOR = 5,
#else
    WATCHDOG_FACTOR = 1,
#endif
};

#define CONFORM_GROUP(name) extern const struct conform_group conform_group_##name;
CONFORM_GROUPS
#undef CONFORM_GROUP

#define CONFORM_GROUP(name) &conform_group_##name,
static const struct conform_group *const groups[] = {CONFORM_GROUPS};
#undef CONFORM_GROUP

enum {
    GROUPS_COUNT = sizeof(groups) / sizeof(groups[0]),
};

enum what {
    RUN,
    LIST,
    MARKDOWN,
    PRINT_SKIPS,
};

struct arguments {
    struct conform_settings settings;
    enum what what;
    const char *backend;
    const char *plugin;
    const char *glob;
    const char *skips;
    bool times;
};

static const char usage[] =
    "usage: tocsin-conformance [--backend NAME] [--plugin FILE.so] [--case GLOB] [--seed N]\n"
    "                          [--count-scale N | --soak] [--watchdog SECONDS] [--skips FILE]\n"
    "                          [--times] [--in-process] [--ring] [--deny CALL=ERROR]\n"
    "       tocsin-conformance --list | --markdown\n"
    "       tocsin-conformance --backend NAME --print-skips\n"
    "\n"
    "Runs the cases whose names match GLOB against the backend NAME (TOCSIN_BACKEND, or the\n"
    "platform's own), or against the one in FILE.so: a shared object that exports\n"
    "tocsin_backend_plugin() and, if it has sources or a clock of its own, tocsin_conform_face().\n"
    "The report is TAP; the status is 0 only if nothing failed.\n"
    "\n"
    "--seed N         of the random choices that cases make (default: 1)\n"
    "--count-scale N  repeat what is repeated N times as often; --soak is --count-scale 10\n"
    "--watchdog S     a case that takes longer has failed (default: 20, more with a sanitizer)\n"
    "--skips FILE     the skips that are allowed, lines of \"case backend BIT\": others fail.\n"
    "                 Built in for the project's own backends; a plugin's skips are allowed\n"
    "                 unless this is given\n"
    "--times          show how long each case took\n"
    "--in-process     run the cases in this process, for a debugger\n"
    "--ring           every pool has a ring in use: an operation of io_uring in flight\n"
    "--deny CALL=ERROR  a filter refuses io_uring_setup, io_uring_register or io_uring_enter\n"
    "--list           name, rule and description of each case\n"
    "--markdown       the same, as docs/CONFORMANCE.md has it\n"
    "--print-skips    what the backend would skip, as lines for --skips\n";

static unsigned number_or_die(const char *text, unsigned least)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value > 1000000 || value < least) {
        fprintf(stderr, "tocsin-conformance: not a number that will do: %s\n", text);
        exit(2);
    }
    return (unsigned)value;
}

static void deny_or_die(struct conform_settings *settings, const char *text)
{
    if (deny_parse(text, &settings->deny) < 0) {
        fprintf(stderr, "tocsin-conformance: not a call and an error that it knows: %s\n", text);
        exit(2);
    }
}

static const struct option long_options[] = {
    {"backend", required_argument, NULL, 'b'},
    {"plugin", required_argument, NULL, 'p'},
    {"case", required_argument, NULL, 'c'},
    {"list", no_argument, NULL, 'l'},
    {"seed", required_argument, NULL, 's'},
    {"count-scale", required_argument, NULL, 'n'},
    {"soak", no_argument, NULL, 'S'},
    {"watchdog", required_argument, NULL, 'w'},
    {"skips", required_argument, NULL, 'k'},
    {"times", no_argument, NULL, 't'},
    {"markdown", no_argument, NULL, 'm'},
    {"in-process", no_argument, NULL, 'i'},
    {"ring", no_argument, NULL, 'r'},
    {"deny", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {"print-skips", no_argument, NULL, 'P'},
    {NULL, 0, NULL, 0},
};

static struct arguments parse(int argc, char **argv)
{
    struct arguments arguments = {.glob = "*"};
    int option;

    arguments.settings.seed = 1;
    arguments.settings.scale = 1;
    arguments.settings.watchdog_s = WATCHDOG_S * WATCHDOG_FACTOR;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'b':
            arguments.backend = optarg;
            break;
        case 'p':
            arguments.plugin = optarg;
            break;
        case 'c':
            arguments.glob = optarg;
            break;
        case 'k':
            arguments.skips = optarg;
            break;
        case 'l':
            arguments.what = LIST;
            break;
        case 'm':
            arguments.what = MARKDOWN;
            break;
        case 'P':
            arguments.what = PRINT_SKIPS;
            break;
        case 't':
            arguments.times = true;
            break;
        case 'i':
            arguments.settings.in_process = true;
            break;
        case 's':
            arguments.settings.seed = number_or_die(optarg, 0);
            break;
        case 'n':
            arguments.settings.scale = number_or_die(optarg, 1);
            break;
        case 'S':
            arguments.settings.scale = SOAK_SCALE;
            break;
        case 'w':
            arguments.settings.watchdog_s = number_or_die(optarg, 1);
            break;
        case 'r':
            arguments.settings.ring = true;
            break;
        case 'd':
            deny_or_die(&arguments.settings, optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    return arguments;
}

/* dlsym(3) gives a data pointer; POSIX lets it be a function's. */
static bool plugin_symbol(void *handle, const char *name, void *out_function, size_t size)
{
    void *symbol = dlsym(handle, name);

    memcpy(out_function, &symbol, size);
    return symbol != NULL;
}

static void load_plugin(struct conform_settings *settings, const char *path)
{
    const struct tocsin_backend *(*backend)(void);
    const struct tocsin_conform_face *(*face)(void);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (handle == NULL) {
        fprintf(stderr, "tocsin-conformance: %s\n", dlerror());
        exit(2);
    }
    if (!plugin_symbol(handle, "tocsin_backend_plugin", &backend, sizeof(backend))) {
        fprintf(stderr, "tocsin-conformance: %s: no tocsin_backend_plugin()\n", path);
        exit(2);
    }
    settings->backend = backend();
    if (plugin_symbol(handle, "tocsin_conform_face", &face, sizeof(face))) {
        settings->face = face();
    }
}

static void choose_backend(struct arguments *arguments)
{
    struct conform_settings *settings = &arguments->settings;

    if (arguments->plugin != NULL) {
        load_plugin(settings, arguments->plugin);
        return;
    }
    if (arguments->backend == NULL) {
        settings->backend = tocsin_backend_default();
    } else {
        settings->backend = tocsin_backend_find(arguments->backend);
        if (settings->backend == NULL) {
            settings->backend = test_backend_find(arguments->backend, &settings->face);
        } else {
            if (strcmp(arguments->backend, "sim") == 0) {
                settings->face = conform_sim_face();
            }
            /* For what runs over the default backend. */
            setenv("TOCSIN_BACKEND", arguments->backend, 1);
        }
    }
    if (settings->backend == NULL) {
        fprintf(stderr, "tocsin-conformance: no backend %s\n",
                arguments->backend != NULL ? arguments->backend : "is built in");
        exit(2);
    }
}

/* The bits that @row needs and the backend has not. */
static uint32_t missing(const struct arguments *arguments, const struct conform_case *row)
{
    return row->needs & ~conform_features(&arguments->settings);
}

static void list_cases(const struct arguments *arguments)
{
    for (size_t g = 0; g < GROUPS_COUNT; g++) {
        for (size_t i = 0; i < groups[g]->cases_count; i++) {
            const struct conform_case *row = &groups[g]->cases[i];

            if (fnmatch(arguments->glob, row->name, 0) == 0) {
                printf("%s\t%s\t%s\n", row->name, row->rule, row->description);
            }
        }
    }
}

static void list_markdown(void)
{
    printf(
        "# Conformance\n\n"
        "<!-- Made by `tocsin-conformance --markdown`; do not edit. -->\n\n"
        "Every backend passes these cases: `tocsin-conformance --backend NAME`. A case whose bit\n"
        "a backend lacks is skipped, and the skips that are allowed stand in\n"
        "`tests/conformance/skips.txt`. Rules are those of ARCHITECTURE.md.\n");
    for (size_t g = 0; g < GROUPS_COUNT; g++) {
        printf("\n## %s\n\n| case | rule | what it shows | needs |\n| --- | --- | --- | --- |\n",
               groups[g]->name);
        for (size_t i = 0; i < groups[g]->cases_count; i++) {
            const struct conform_case *row = &groups[g]->cases[i];
            uint32_t needs = row->needs;

            printf("| `%s` | %s | %s |", row->name, row->rule, row->description);
            for (; needs != 0; needs &= needs - 1) {
                printf(" %s", conform_bit_name(needs));
            }
            printf(" |\n");
        }
    }
}

static void print_skips(const struct arguments *arguments)
{
    for (size_t g = 0; g < GROUPS_COUNT; g++) {
        for (size_t i = 0; i < groups[g]->cases_count; i++) {
            const struct conform_case *row = &groups[g]->cases[i];

            if (missing(arguments, row) != 0) {
                printf("%s %s %s\n", row->name, arguments->settings.backend->ops->name,
                       conform_bit_name(missing(arguments, row)));
            }
        }
    }
}

struct totals {
    unsigned number; /* of the last test point */
    unsigned passed;
    unsigned failed;
    unsigned skipped;
};

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void point(struct totals *totals, const char *name, const char *backend, bool passed)
{
    printf("%sok %u - %s@%s\n", passed ? "" : "not ", ++totals->number, name, backend);
    if (passed) {
        totals->passed++;
    } else {
        totals->failed++;
    }
}

static void run_row(const struct arguments *arguments, const struct conform_case *row,
                    bool skips_strict, struct totals *totals)
{
    const char *backend = arguments->settings.backend->ops->name;
    uint32_t lacks = missing(arguments, row);
    double start;

    if (lacks == TOCSIN_BACKEND_URING && arguments->settings.refusal.reason[0] != '\0') {
        printf("ok %u - %s@%s # SKIP %s\n", ++totals->number, row->name, backend,
               arguments->settings.refusal.reason);
        totals->skipped++;
        return;
    }
    if (lacks != 0) {
        const char *bit = conform_bit_name(lacks);

        if (!conform_skips_allow(row->name, backend, bit) && skips_strict) {
            printf("# %s %s %s: not in skips.txt\n", row->name, backend, bit);
            point(totals, row->name, backend, false);
        } else {
            printf("ok %u - %s@%s # SKIP no %s\n", ++totals->number, row->name, backend, bit);
            totals->skipped++;
        }
        return;
    }
    start = seconds_now();
    point(totals, row->name, backend, conform_run(&arguments->settings, row) == CONFORM_PASSED);
    if (arguments->times) {
        printf("# %.3f s\n", seconds_now() - start);
    }
    fflush(stdout);
}

static int run_all(const struct arguments *arguments)
{
    const char *backend = arguments->settings.backend->ops->name;
    bool skips_strict = arguments->plugin == NULL || arguments->skips != NULL;
    bool whole = strcmp(arguments->glob, "*") == 0 && skips_strict;
    struct totals totals = {0};
    unsigned count = whole ? 1 : 0;

    for (size_t g = 0; g < GROUPS_COUNT; g++) {
        for (size_t i = 0; i < groups[g]->cases_count; i++) {
            count += fnmatch(arguments->glob, groups[g]->cases[i].name, 0) == 0;
        }
    }
    if (count == 0) {
        fprintf(stderr, "tocsin-conformance: no case is called %s\n", arguments->glob);
        return 2;
    }
    printf("TAP version 13\n1..%u\n# seed=%" PRIu64 "\n", count, arguments->settings.seed);
    for (size_t g = 0; g < GROUPS_COUNT; g++) {
        for (size_t i = 0; i < groups[g]->cases_count; i++) {
            if (fnmatch(arguments->glob, groups[g]->cases[i].name, 0) == 0) {
                run_row(arguments, &groups[g]->cases[i], skips_strict, &totals);
            }
        }
    }
    if (whole) {
        point(&totals, "the_list_of_skips_is_true", backend, conform_skips_unused(backend) == 0);
    }
    printf("%u passed, %u failed, %u skipped\n", totals.passed, totals.failed, totals.skipped);
    return totals.failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments arguments = parse(argc, argv);
    int r;

    switch (arguments.what) {
    case LIST:
        list_cases(&arguments);
        return 0;
    case MARKDOWN:
        list_markdown();
        return 0;
    case RUN:
    case PRINT_SKIPS:
        break;
    }
    choose_backend(&arguments);
    if (arguments.what == PRINT_SKIPS) {
        print_skips(&arguments);
        return 0;
    }
    r = conform_skips_load(arguments.skips);
    if (r < 0) {
        fprintf(stderr, "tocsin-conformance: %s: %s\n",
                arguments.skips != NULL ? arguments.skips : "skips.txt", strerror(-r));
        return 2;
    }
    conform_refusal_ask(&arguments.settings);
    if (arguments.settings.refusal.is_total ||
        (arguments.settings.ring && arguments.settings.refusal.reason[0] != '\0')) {
        printf("1..0 # SKIP %s\n", arguments.settings.refusal.reason);
        return EXIT_SKIPPED;
    }
    return run_all(&arguments);
}
