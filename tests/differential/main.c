/*
 * tocsin-differential: the same random programs on every backend, and the results compared.
 */
#include "compare.h"

#include <dlfcn.h>
#include <getopt.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/backends/backends.h"

enum {
    PERCENT_MIN = 5,
    PROGRAMS_FOR_COVERAGE = 100, /* fewer say nothing of how often a function is called */
    FAILURES_SHOWN = 5,
    WATCHDOG_S = 20,
/* Sanitized code is slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    WATCHDOG_FACTOR = 5,
#else
    WATCHDOG_FACTOR = 1,
#endif
};

static const char usage[] =
    "usage: tocsin-differential [--backend NAME | --plugin FILE.so]... [--programs N] [--seed S]\n"
    "                           [--watchdog SECONDS] [--verbose]\n"
    "       tocsin-differential --print --seed S\n"
    "\n"
    "Draws N programs (default: 100) from the seeds S, S + 1, ... (default: 1; a word that is no\n"
    "number stands for one) and runs each on every backend (default: all that there are).  The\n"
    "first one named is what the others are compared with.  Ends with `N passed, N failed`.\n"
    "\n"
    "--print    show the program of seed S, and run nothing\n"
    "--verbose  show what each run said; for --programs 1\n";

#define NAME(function) #function,
static const char *const api_names[] = {API_FUNCTIONS(NAME)};
#undef NAME

/* Functions that programs need not call, and why. */
static const struct {
    const char *name;
    const char *reason;
} exceptions[] = {
    {"tocsin_backend_report", "called by backends, inside wait and look"},
    {"tocsin_backend_plugin", "what a plugin exports: --plugin calls it"},
};

struct arguments {
    struct session session;
    unsigned programs;
    uint64_t seed;
    bool print;
    bool verbose;
};

static void nothing(void *arg)
{
    (void)arg;
}

/* The address sanitizer has a remark on swapcontext(3), once: here, and not in each child. */
static void change_stacks_once(void)
{
    struct fiber *fiber = fiber_create(nothing, NULL);

    fiber_resume(fiber);
    fiber_destroy(fiber);
}

static uint64_t parse_seed(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (*end == '\0') {
        return number;
    }
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return hash >> 20;
}

/* A backend that opens; the others are refused by this machine. */
static void target_add(struct session *session, const char *name,
                       const struct tocsin_backend *backend)
{
    struct target *target = &session->targets[session->targets_count];
    struct tocsin_pool *pool;
    int r;

    NEED(session->targets_count < BACKENDS_MAX);
    r = tocsin_pool_open(&pool, backend, NULL);
    if (r < 0) {
        printf("# %s: not here: %s\n", name, strerror(-r));
        return;
    }
    target->name = name;
    target->backend = backend;
    target->features = backend->ops->features;
    if (tocsin_uring_probe(tocsin_pool_driver(pool), 0) < 0) {
        target->features &= ~(uint32_t)TOCSIN_BACKEND_URING;
    }
    tocsin_pool_close(pool);
    session->targets_count++;
}

static void target_load(struct session *session, const char *path)
{
    union {
        void *object;
        const struct tocsin_backend *(*function)(void);
    } symbol;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    symbol.object = library == NULL ? NULL : dlsym(library, "tocsin_backend_plugin");
    if (symbol.object == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    target_add(session, symbol.function()->ops->name, symbol.function());
}

static void target_find(struct session *session, const char *name)
{
    const struct tocsin_backend *backend = tocsin_backend_find(name);

    if (backend == NULL && strcmp(name, "poll2") == 0) {
        backend = poll2_backend();
    }
    if (backend == NULL) {
        fprintf(stderr, "no backend is called %s\n", name);
        exit(2);
    }
    target_add(session, name, backend);
}

static void targets_all(struct session *session)
{
    for (size_t i = 0; tocsin_backend_at(i) != NULL; i++) {
        target_add(session, tocsin_backend_at(i)->ops->name, tocsin_backend_at(i));
    }
    target_add(session, "poll2", poll2_backend());
}

static void parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"backend", required_argument, NULL, 'b'},  {"plugin", required_argument, NULL, 'l'},
        {"programs", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'},
        {"watchdog", required_argument, NULL, 'w'}, {"print", no_argument, NULL, 'p'},
        {"verbose", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
    };
    struct session *session = &arguments->session;
    bool named = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'b':
            target_find(session, optarg);
            named = true;
            break;
        case 'l':
            /* Beside all that there are, unless some are named. */
            if (!named) {
                targets_all(session);
                named = true;
            }
            target_load(session, optarg);
            break;
        case 'n':
            arguments->programs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            arguments->seed = parse_seed(optarg);
            break;
        case 'w':
            session->watchdog_s = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            arguments->print = true;
            break;
        case 'v':
            arguments->verbose = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (!named) {
        targets_all(session);
    }
}

/* ---- Coverage -------------------------------------------------------------------------------- */

struct coverage {
    unsigned called[API_COUNT]; /* in so many programs, on one backend at least */
    unsigned threads;
    unsigned programs;
    unsigned done[BACKENDS_MAX]; /* operations, and those that were not compared */
    unsigned not_here[BACKENDS_MAX];
};

static void coverage_add(struct coverage *coverage, const struct session *session,
                         const struct program *program)
{
    coverage->programs++;
    coverage->threads += program_has_thread(program);
    for (unsigned i = 0; i < session->targets_count; i++) {
        unsigned done;
        unsigned not_here;

        record_count(&session->records[i], &done, &not_here);
        coverage->done[i] += done;
        coverage->not_here[i] += not_here;
    }
    for (unsigned api = 0; api < API_COUNT; api++) {
        bool called = false;

        for (unsigned i = 0; i < session->targets_count; i++) {
            called = called || atomic_load_explicit(&session->records[i].called[api],
                                                    memory_order_relaxed) != 0;
        }
        coverage->called[api] += called;
    }
}

static const char *exception_for(const char *name, bool has_ring)
{
    if (!has_ring && strncmp(name, "tocsin_uring_", strlen("tocsin_uring_")) == 0) {
        return "no backend here has a ring";
    }
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
        if (strcmp(exceptions[i].name, name) == 0) {
            return exceptions[i].reason;
        }
    }
    return NULL;
}

static unsigned percent(unsigned part, unsigned whole)
{
    return whole == 0 ? 0 : part * 100 / whole;
}

/* Print the table.  Returns: how many functions are called too rarely. */
static unsigned coverage_print(const struct coverage *coverage, const struct session *session)
{
    bool counts = coverage->programs >= PROGRAMS_FOR_COVERAGE;
    bool has_ring = false;
    unsigned failures = 0;

    for (unsigned i = 0; i < session->targets_count; i++) {
        has_ring = has_ring || (session->targets[i].features & TOCSIN_BACKEND_URING) != 0;
    }
    printf("# programs that call each public function:\n");
    for (unsigned api = 0; api < API_COUNT; api++) {
        const char *reason = exception_for(api_names[api], has_ring);
        unsigned share = percent(coverage->called[api], coverage->programs);
        bool rare = share < PERCENT_MIN && reason == NULL;

        printf("#   %3u %% %s%s%s%s\n", share, api_names[api], reason == NULL ? "" : ": ",
               reason == NULL ? "" : reason, rare && counts ? "  TOO RARE" : "");
        failures += rare && counts;
    }
    printf("#   %3u %% with two threads%s\n", percent(coverage->threads, coverage->programs),
           counts && coverage->threads * 2 + 1 < coverage->programs ? "  TOO FEW" : "");
    failures += counts && coverage->threads * 2 + 1 < coverage->programs;
    for (unsigned i = 0; i < session->targets_count; i++) {
        printf("# %-6s %u operations, %u of them not possible there\n", session->targets[i].name,
               coverage->done[i], coverage->not_here[i]);
    }
    return failures;
}

/* ---- Programs -------------------------------------------------------------------------------- */

static void failure_show(struct session *session, struct program *program,
                         struct difference *difference)
{
    printf("not ok seed %" PRIu64 ": %s%s%s differ:\n# %s\n", program->seed,
           session->targets[difference->a].name, difference->a == difference->b ? "" : " and ",
           difference->a == difference->b ? "" : session->targets[difference->b].name,
           difference->text);
    fflush(stdout);
    session_shrink(session, program, difference);
    printf("# what is left of it and still fails:\n");
    program_print(program, stdout);
    printf("# %s\n", difference->text);
    for (unsigned i = 0; i < 2; i++) {
        unsigned which = i == 0 ? difference->a : difference->b;

        if (i == 0 || difference->a != difference->b) {
            printf("#   %s:\n", session->targets[which].name);
            record_print(&session->records[which], program, stdout);
        }
    }
    fflush(stdout);
}

static unsigned programs_run(struct arguments *arguments, struct coverage *coverage)
{
    struct session *session = &arguments->session;
    struct difference difference;
    struct program program;
    unsigned failures = 0;

    for (unsigned i = 0; i < arguments->programs; i++) {
        bool good;

        program_draw(&program, arguments->seed + i);
        good = session_run(session, &program, &difference);
        coverage_add(coverage, session, &program);
        for (unsigned k = 0; k < session->targets_count && arguments->verbose; k++) {
            printf("#   %s:\n", session->targets[k].name);
            record_print(&session->records[k], &program, stdout);
        }
        if (!good) {
            if (failures < FAILURES_SHOWN) {
                failure_show(session, &program, &difference);
            } else {
                printf("not ok seed %" PRIu64 "\n", program.seed);
            }
            failures++;
        }
    }
    return failures;
}

int main(int argc, char **argv)
{
    static struct arguments arguments = {.programs = 100, .seed = 1};
    static struct coverage coverage;
    struct session *session = &arguments.session;
    unsigned failures;
    unsigned rare;

    session->watchdog_s = WATCHDOG_S * WATCHDOG_FACTOR;
    parse(&arguments, argc, argv);
    if (arguments.print) {
        struct program program;

        program_draw(&program, arguments.seed);
        program_print(&program, stdout);
        return 0;
    }
    printf("# seed=%" PRIu64 " programs=%u on", arguments.seed, arguments.programs);
    for (unsigned i = 0; i < session->targets_count; i++) {
        printf(" %s", session->targets[i].name);
    }
    printf("\n");
    session->records = mmap(NULL, sizeof(struct record) * session->targets_count,
                            PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(session->records != MAP_FAILED);

    change_stacks_once();
    failures = programs_run(&arguments, &coverage);
    rare = coverage_print(&coverage, session);
    printf("%u passed, %u failed\n", arguments.programs - failures, failures + rare);
    return failures + rare != 0;
}
