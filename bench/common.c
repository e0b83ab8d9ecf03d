/*
 * The command line, the processors, the clocks and the report of every benchmark program.
 *
 * A case is run once to warm up (unless --repeat=0: once, and cold, for counting system calls and
 * instructions), then @repeat times; each figure printed is the median of those.
 */
#include "common.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    REPEATS_MAX = 64,
};

static int processors[2] = {-1, -1}; /* the first two that the process may use */

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *bench_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    bench_must(memory != NULL, "calloc");
    return memory;
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * BENCH_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t bench_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

uint64_t bench_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;

    bench_must(file != NULL, "/proc/self/statm");
    bench_must(fscanf(file, "%*u %llu", &pages) == 1, "/proc/self/statm");
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void bench_begin(struct bench *bench)
{
    bench->start_cpu_ns = bench_cpu_ns();
    bench->start_ns = bench_now_ns();
}

void bench_end(struct bench *bench)
{
    bench->ns += bench_now_ns() - bench->start_ns;
    bench->cpu_ns += bench_cpu_ns() - bench->start_cpu_ns;
}

void bench_extra(struct bench *bench, const char *name, double value)
{
    for (size_t i = 0; i < BENCH_EXTRAS_MAX; i++) {
        if (bench->extra_names[i] == NULL || strcmp(bench->extra_names[i], name) == 0) {
            bench->extra_names[i] = name;
            bench->extras[i] = value;
            return;
        }
    }
    bench_must(false, "too many results");
}

static void pin(pthread_attr_t *attr, int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)processor, &set);
    if (attr == NULL) {
        bench_must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
    } else {
        bench_must(pthread_attr_setaffinity_np(attr, sizeof(set), &set) == 0, "setaffinity");
    }
}

static void find_processors(void)
{
    cpu_set_t set;
    size_t found = 0;

    bench_must(sched_getaffinity(0, sizeof(set), &set) == 0, "sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++) {
        if (CPU_ISSET((size_t)i, &set)) {
            processors[found++] = i;
        }
    }
}

pthread_t bench_thread(const struct bench *bench, void *(*fn)(void *arg), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pin(&attr, processors[bench->two_cores ? 1 : 0]);
    bench_must(pthread_create(&thread, &attr, fn, arg) == 0, "pthread_create");
    pthread_attr_destroy(&attr);
    return thread;
}

void bench_unpin(bool both)
{
    static _Thread_local cpu_set_t before;
    cpu_set_t set;

    if (!both) {
        bench_must(sched_setaffinity(0, sizeof(before), &before) == 0, "sched_setaffinity");
        return;
    }
    bench_must(sched_getaffinity(0, sizeof(before), &before) == 0, "sched_getaffinity");
    CPU_ZERO(&set);
    for (size_t i = 0; i < 2; i++) {
        if (processors[i] >= 0) {
            CPU_SET((size_t)processors[i], &set);
        }
    }
    bench_must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void report(const struct bench *runs, size_t count, const char *library, const char *name)
{
    double values[REPEATS_MAX];

    for (size_t i = 0; i < count; i++) {
        values[i] = (double)runs[i].ns / (double)runs[i].count;
    }
    printf("{\"library\": \"%s\", \"case\": \"%s\", \"ns\": %.4f", library, name,
           median_of(values, count));
    for (size_t i = 0; i < count; i++) {
        values[i] = (double)runs[i].cpu_ns / (double)runs[i].count;
    }
    printf(", \"cpu_ns\": %.4f", median_of(values, count));
    for (size_t extra = 0; extra < BENCH_EXTRAS_MAX && runs[0].extra_names[extra] != NULL;
         extra++) {
        for (size_t i = 0; i < count; i++) {
            values[i] = runs[i].extras[extra];
        }
        printf(", \"%s\": %.4f", runs[0].extra_names[extra], median_of(values, count));
    }
    printf("}\n");
    fflush(stdout);
}

static void measure(const struct bench_case *row, const struct bench *asked, size_t repeats,
                    const char *library)
{
    struct bench runs[REPEATS_MAX];
    struct bench run;

    if (repeats == 0) {
        repeats = 1;
    } else {
        run = *asked;
        row->run(&run);
    }
    for (size_t i = 0; i < repeats; i++) {
        runs[i] = *asked;
        row->run(&runs[i]);
    }
    report(runs, repeats, library, row->name);
}

/* Where the option @name's value begins in @argument; NULL: it is another. */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);

    return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

/* An option with a number.  Returns: whether @argument is one. */
static bool take_number(struct bench *bench, size_t *repeats, const char *argument)
{
    const struct {
        const char *name;
        uint64_t *number;
        uint64_t unit;
    } options[] = {
        {"--count=", &bench->count, 1},       {"--n=", &bench->n, 1},
        {"--active=", &bench->active, 1},     {"--busy-us=", &bench->busy_ns, 1000},
        {"--slack-ns=", &bench->slack_ns, 1},
    };
    const char *value = value_of(argument, "--repeat=");

    if (value != NULL) {
        *repeats = strtoul(value, NULL, 10);
        return *repeats <= REPEATS_MAX;
    }
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        value = value_of(argument, options[i].name);
        if (value != NULL) {
            *options[i].number = strtoull(value, NULL, 10) * options[i].unit;
            return true;
        }
    }
    return false;
}

int bench_main(int argc, char **argv, const char *library, const struct bench_case *cases,
               size_t cases_count)
{
    struct bench bench = {.count = 10000, .n = 100, .active = 1};
    const char *wanted = NULL;
    size_t repeats = 3;
    bool known = true;
    bool ran = false;

    for (int i = 1; i < argc && known; i++) {
        const char *value = value_of(argv[i], "--case=");

        if (value != NULL) {
            wanted = value;
        } else if ((value = value_of(argv[i], "--backend=")) != NULL) {
            bench.backend = value;
        } else if (strcmp(argv[i], "--two-cores") == 0) {
            bench.two_cores = true;
        } else if (strcmp(argv[i], "--traced") == 0) {
            bench.traced = true;
        } else {
            known = take_number(&bench, &repeats, argv[i]);
        }
    }
    find_processors();
    if (bench.two_cores && processors[1] < 0) {
        fprintf(stderr, "bench: there is one processor only\n");
        return 77;
    }
    pin(NULL, processors[0]);
    for (size_t i = 0; i < cases_count && known && bench.count > 0; i++) {
        if (wanted == NULL || strcmp(wanted, cases[i].name) == 0) {
            measure(&cases[i], &bench, repeats, library);
            ran = true;
        }
    }
    if (!ran) {
        fprintf(stderr, "usage: see bench/common.h; cases:");
        for (size_t i = 0; i < cases_count; i++) {
            fprintf(stderr, " %s", cases[i].name);
        }
        fprintf(stderr, "\n");
        return 2;
    }
    return 0;
}
