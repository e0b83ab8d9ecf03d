/*
 * The shared part of the stress programs: see stress.h.
 */
#include "tests/stress/stress.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    WATCHDOG_S = 60,
    SPINS_BEFORE_YIELD = 1000, /* on one processor who is waited for has to run */
    SKIPPED = 77,
};

static atomic_uint progress;
static unsigned progress_seen;

static void watch(int signal)
{
    static const char verdict[] = "watchdog: nothing happens any more\n0 passed, 1 failed\n";
    unsigned now = atomic_load_explicit(&progress, memory_order_relaxed);

    (void)signal;
    if (now == progress_seen) {
        (void)!write(STDOUT_FILENO, verdict, sizeof(verdict) - 1);
        abort(); /* a core, or a stack in a debugger, says where */
    }
    progress_seen = now;
    alarm(WATCHDOG_S);
}

void stress_progress(void)
{
    atomic_fetch_add_explicit(&progress, 1, memory_order_relaxed);
}

_Noreturn void stress_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    printf("0 passed, 1 failed\n");
    fflush(stdout);
    abort();
}

void stress_dither(struct support_random *random)
{
    static atomic_uint sink; /* so that the compiler leaves the loop in */

    for (unsigned left = support_random_below(random, 256); left > 0; left--) {
        atomic_load_explicit(&sink, memory_order_relaxed);
    }
}

void stress_await(const atomic_uint *counter, unsigned value)
{
    unsigned spins = 0;

    while ((int)(stress_load(counter) - value) < 0) {
        if (++spins % SPINS_BEFORE_YIELD == 0) {
            sched_yield();
        }
    }
}

struct tocsin_pool *stress_pool(void)
{
    struct tocsin_pool *pool = NULL;
    const char *backend = getenv("TOCSIN_BACKEND");
    int r = tocsin_pool_open(&pool, NULL, NULL);

    if (backend != NULL && (r == -EPERM || r == -ENOSYS)) {
        printf("skipped: no pool on %s here: %s\n", backend, strerror(-r));
        exit(SKIPPED);
    }
    STRESS_CHECK(r == 0);
    return pool;
}

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 0);

    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return number;
}

int stress_main(int argc, char **argv, unsigned count, stress_body_fn *body)
{
    struct sigaction action = {.sa_handler = watch};
    struct support_random random = {.state = 0};

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            random.state = number_of(argv[i + 1]);
        } else if (i + 1 < argc && strcmp(argv[i], "--count") == 0) {
            count = (unsigned)number_of(argv[i + 1]);
        } else {
            fprintf(stderr, "usage: %s [--seed N] [--count N]\n", argv[0]);
            return 2;
        }
    }
    while (random.state == 0) {
        STRESS_CHECK(getrandom(&random.state, sizeof(random.state), 0) == sizeof(random.state));
    }
    count = support_scaled(count);
    printf("seed=%#llx count=%u\n", (unsigned long long)random.state, count);
    fflush(stdout);
    tocsin_pool_close(stress_pool()); /* skips where there is none to be had */
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    alarm(WATCHDOG_S);
    body(count, &random);
    printf("1 passed, 0 failed\n");
    return 0;
}
