/*
 * All at once: three that wait, three that add and delete, one that changes, two that signal and
 * demand an answer, and a bystander with events of its own.
 *
 *     windows_epoll_stress [--seed N] [--count N]
 *
 * Over a kernel with delays, with packets that are late, with calls that fail, and over packets of
 * our own.  What must hold: each unit that was released is reported once, or is still there; nobody
 * is told of a watch by a wait that began after its delete had returned; events and data are never
 * those of two changes; no bystander misses a signal; every slot and every handle comes back.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/windows/epoll.h"
#include "backends/windows/packets.h"
#include "tests/nt_model/model.h"

#define IN TOCSIN_EPOLL_IN
#define NOT_WANTED (UINT64_C(1) << 40) /* in the data of a configuration without IN */
#define FLEETING (UINT64_C(1) << 41)   /* of watches that are added and deleted */

enum {
    WAITERS = 3,
    ADDERS = 3,
    SETTERS = 2,
    STABLE = 6, /* watches that stay; a third of them each level, edge and one-shot */
    FLEETING_MAX = 200000,
    BATCH = 8,
};

#define SECOND_NS UINT64_C(1000000000)

struct stable {
    void *semaphore;
    uint32_t trigger;
    atomic_uint released;
    atomic_uint reported;
};

static struct {
    const struct nt *nt;
    struct tocsin_epoll *epoll;
    unsigned count;
    struct stable stable[STABLE];
    atomic_uint clock; /* one more at each delete */
    atomic_uint next_id;
    atomic_uint died[FLEETING_MAX]; /* by id: when its delete had returned */
    atomic_bool stop;               /* those who do not wait */
    atomic_bool stop_waits;
    atomic_uint seen; /* fleeting events */
} all;

static void fail(int line, const char *what)
{
    printf("# line %d: %s\nnot ok\n0 passed, 1 failed\n", line, what);
    fflush(stdout);
    abort();
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail(__LINE__, #condition);                                                            \
        }                                                                                          \
    } while (0)

static unsigned load(const atomic_uint *value)
{
    return atomic_load_explicit(value, memory_order_acquire);
}

static unsigned add_one(atomic_uint *value)
{
    return atomic_fetch_add_explicit(value, 1, memory_order_acq_rel) + 1;
}

static bool has_stopped(const atomic_bool *stop)
{
    return atomic_load_explicit(stop, memory_order_acquire);
}

static int ctl(enum tocsin_epoll_op op, void *handle, uint32_t events, uint64_t data)
{
    struct tocsin_epoll_event event = {.events = events, .data = data};
    int r;

    do {
        r = tocsin_epoll_ctl(all.epoll, op, handle, &event);
    } while (r == -ENOMEM); /* a call that was made to fail; nothing has changed */
    return r;
}

static void report(const struct tocsin_epoll_event *event, unsigned began)
{
    uint64_t id = event->data & ~FLEETING;

    MUST(event->events == IN);
    MUST((event->data & NOT_WANTED) == 0);
    if ((event->data & FLEETING) != 0) {
        unsigned died = load(&all.died[id]);

        MUST(died == 0 || died > began);
        add_one(&all.seen);
        return;
    }
    MUST(id < STABLE);
    add_one(&all.stable[id].reported);
    if ((all.stable[id].trigger & TOCSIN_EPOLL_ONESHOT) != 0) {
        MUST(ctl(TOCSIN_EPOLL_CTL_MOD, all.stable[id].semaphore, all.stable[id].trigger, id) == 0);
    }
}

static void *waiter(void *arg)
{
    (void)arg;
    while (!has_stopped(&all.stop_waits)) {
        struct tocsin_epoll_event events[BATCH];
        unsigned began = load(&all.clock);
        int count =
            tocsin__epoll_step(all.epoll, events, 1 + (int)nt_model_random(BATCH), SECOND_NS);

        MUST(count >= 0);
        for (int i = 0; i < count; i++) {
            report(&events[i], began);
        }
    }
    return NULL;
}

static void *setter(void *arg)
{
    unsigned first = (unsigned)(uintptr_t)arg;

    for (unsigned i = 0; i < all.count; i++) {
        for (unsigned s = first; s < STABLE; s += SETTERS) {
            struct stable *stable = &all.stable[s];
            unsigned units = 1 + nt_model_random(2);

            for (unsigned u = 0; u < units; u++) {
                add_one(&stable->released);
            }
            MUST(all.nt->semaphore_release(stable->semaphore, (int32_t)units) == 0);
            while (load(&stable->reported) < load(&stable->released)) {
                sched_yield();
            }
        }
    }
    return NULL;
}

/* Another configuration, one without IN between: what is reported is never half of each. */
static void *changer(void *arg)
{
    (void)arg;
    while (!has_stopped(&all.stop)) {
        unsigned s = nt_model_random(STABLE);
        struct stable *stable = &all.stable[s];

        if (nt_model_random(3) == 0) {
            MUST(ctl(TOCSIN_EPOLL_CTL_MOD, stable->semaphore, 0, NOT_WANTED) == 0);
        }
        MUST(ctl(TOCSIN_EPOLL_CTL_MOD, stable->semaphore, stable->trigger, s) == 0);
    }
    return NULL;
}

static void *adder(void *arg)
{
    (void)arg;
    while (!has_stopped(&all.stop)) {
        unsigned id = add_one(&all.next_id);
        void *event;

        if (id >= FLEETING_MAX) {
            break;
        }
        while (nt_failed(all.nt->event_create(nt_model_random(2) == 0, false, &event))) {
        }
        MUST(ctl(TOCSIN_EPOLL_CTL_ADD, event, nt_model_random(2) == 0 ? IN : IN | TOCSIN_EPOLL_ET,
                 FLEETING | id) == 0);
        for (unsigned i = nt_model_random(3); i > 0; i--) {
            MUST(all.nt->event_set(event) == 0);
        }
        if (nt_model_random(2) == 0) {
            MUST(all.nt->event_reset(event) == 0);
        }
        if (nt_model_random(4) == 0) {
            MUST(ctl(TOCSIN_EPOLL_CTL_MOD, event, IN, FLEETING | id) == 0);
        }
        MUST(ctl(TOCSIN_EPOLL_CTL_DEL, event, 0, 0) == 0);
        atomic_store_explicit(&all.died[id], add_one(&all.clock), memory_order_release);
        MUST(all.nt->close(event) == 0);
    }
    return NULL;
}

/* Whoever waits on a handle that was closed and given out again takes what is not his. */
static void *bystander(void *arg)
{
    (void)arg;
    while (!has_stopped(&all.stop)) {
        void *event;

        while (nt_failed(all.nt->event_create(false, false, &event))) {
        }
        MUST(all.nt->event_set(event) == 0);
        sched_yield();
        MUST(all.nt->wait_one(event, 0) == 0);
        MUST(all.nt->close(event) == 0);
    }
    return NULL;
}

static void open_all(void)
{
    static const uint32_t triggers[] = {IN, IN | TOCSIN_EPOLL_ET, IN | TOCSIN_EPOLL_ONESHOT};

    MUST(tocsin__epoll_open(all.nt, &all.epoll) == 0);
    for (unsigned s = 0; s < STABLE; s++) {
        struct stable *stable = &all.stable[s];

        stable->trigger = triggers[s % 3];
        atomic_store_explicit(&stable->released, 0, memory_order_relaxed);
        atomic_store_explicit(&stable->reported, 0, memory_order_relaxed);
        while (nt_failed(all.nt->semaphore_create(0, 1000000, &stable->semaphore))) {
        }
        MUST(ctl(TOCSIN_EPOLL_CTL_ADD, stable->semaphore, stable->trigger, s) == 0);
    }
    for (unsigned i = 0; i < FLEETING_MAX; i++) {
        atomic_store_explicit(&all.died[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&all.clock, 0, memory_order_relaxed);
    atomic_store_explicit(&all.next_id, 0, memory_order_relaxed);
    atomic_store_explicit(&all.seen, 0, memory_order_relaxed);
    atomic_store_explicit(&all.stop, false, memory_order_relaxed);
    atomic_store_explicit(&all.stop_waits, false, memory_order_relaxed);
}

static void close_all(void)
{
    for (unsigned s = 0; s < STABLE; s++) {
        struct stable *stable = &all.stable[s];

        MUST(load(&stable->reported) == load(&stable->released));
        MUST(all.nt->wait_one(stable->semaphore, 0) == NT_TIMEOUT); /* nor too much */
        MUST(all.nt->close(stable->semaphore) == 0);
    }
    tocsin_epoll_close(all.epoll);
}

static void run_all(void)
{
    pthread_t waiters[WAITERS];
    pthread_t setters[SETTERS];
    pthread_t others[ADDERS + 2];

    for (int i = 0; i < WAITERS; i++) {
        MUST(pthread_create(&waiters[i], NULL, waiter, NULL) == 0);
    }
    for (int i = 0; i < ADDERS + 2; i++) {
        MUST(pthread_create(&others[i], NULL,
                            i < ADDERS    ? adder
                            : i == ADDERS ? changer
                                          : bystander,
                            NULL) == 0);
    }
    for (int i = 0; i < SETTERS; i++) {
        MUST(pthread_create(&setters[i], NULL, setter, (void *)(uintptr_t)i) == 0);
    }
    for (int i = 0; i < SETTERS; i++) {
        pthread_join(setters[i], NULL);
    }
    atomic_store_explicit(&all.stop, true, memory_order_release);
    for (int i = 0; i < ADDERS + 2; i++) {
        pthread_join(others[i], NULL);
    }
    atomic_store_explicit(&all.stop_waits, true, memory_order_release);
    for (int i = 0; i < WAITERS; i++) {
        while (!tocsin__epoll_kick(all.epoll)) {
        }
    }
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(waiters[i], NULL);
    }
}

static unsigned run(const char *name, const struct nt_model_options *options)
{
    nt_model_begin(options);
    if (!options->without_packets && nt_model_table()->packet_create == NULL) {
        printf("# %s: no such packets here\n", name);
        return 0;
    }
    all.nt = options->without_packets ? tocsin__packets_open(nt_model_table()) : nt_model_table();
    open_all();
    run_all();
    printf("# %s: %u added and deleted, %u of them seen\n", name, load(&all.next_id),
           load(&all.seen));
    close_all();
    if (options->without_packets) {
        tocsin__packets_close(all.nt);
    }
    MUST(nt_model_handles() == 0 && nt_model_objects() == 0);
    printf("ok %s\n", name);
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv)
{
    struct nt_model_options options = {.seed = 1, .delay_permille = 200};
    unsigned passed = 0;

    all.count = 60;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            options.seed = strtoull(argv[i + 1], NULL, 0);
        } else if (strcmp(argv[i], "--count") == 0) {
            all.count = (unsigned)strtoul(argv[i + 1], NULL, 0);
        }
    }
    printf("seed=%llu\n", (unsigned long long)options.seed);
    passed += run("native", &options);
    options.late_permille = 300;
    passed += run("late", &options);
    options.fail_permille = 50;
    passed += run("late-failing", &options);
    options.late_permille = 0;
    options.without_packets = true;
    passed += run("emulated-failing", &options);
    printf("%u passed, 0 failed\n", passed);
    return 0;
}
