/*
 * What goes wrong around an epoll of handles: kernel calls that fail, waiters that are held up,
 * slots and handles that are used again at once; and what an event costs.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/support.h"
#include "tests/windows/rules.h"

#define IN TOCSIN_EPOLL_IN

enum {
    HANDLES_MANY = 10000,
    EVENTS_MANY = 1000000,
    EVENTS_BATCH = 50,
};

/* ---- Allocations are counted ---- */

static atomic_uint allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static void count_one(void)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

void *__wrap_malloc(size_t size)
{
    count_one();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    count_one();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    count_one();
    return __real_realloc(memory, size);
}

/* ---- Calls that fail ---- */

/* What arms a watch in this world. */
static enum nt_model_call arming(const struct rules *t)
{
    return t->is_emulated ? NT_CALL_DUPLICATE_TO_WAIT : NT_CALL_PACKET_ASSOCIATE;
}

static void a_watch_that_could_not_be_armed_is_tried_again(struct rules *t)
{
    void *event = rules_event(t, true, true);
    void *edge = rules_event(t, false, true);

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    for (int i = 0; i < 3; i++) {
        nt_model_fail(arming(t), 1, NT_INSUFFICIENT_RESOURCES);
        REQUIRE(t, rules_gets(t, 1));
    }
    REQUIRE(t, rules_del(t, event) == 0);
    REQUIRE(t, rules_add(t, edge, IN | TOCSIN_EPOLL_ET, 2) == 0);
    for (int i = 0; i < 3; i++) {
        nt_model_fail(arming(t), 1, NT_INSUFFICIENT_RESOURCES);
        REQUIRE(t, rules_gets(t, 2));
        REQUIRE(t, t->nt->event_set(edge) == 0);
    }
    REQUIRE(t, rules_gets(t, 2));
    REQUIRE(t, rules_close(t, event) && rules_close(t, edge));
}

static void an_add_that_fails_leaves_nothing(struct rules *t)
{
    static const enum nt_model_call calls[] = {NT_CALL_PACKET_CREATE, NT_CALL_DUPLICATE_TO_WAIT,
                                               NT_CALL_PACKET_ASSOCIATE, NT_CALL_TYPE};
    void *event = rules_event(t, true, true);
    uint32_t handles;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (t->is_emulated && (i == 0 || i == 2)) {
            continue; /* calls that are ours there */
        }
        rules_reopen(t);
        handles = nt_model_handles();
        nt_model_fail(calls[i], 1, NT_INSUFFICIENT_RESOURCES);
        REQUIRE(t, rules_add(t, event, IN, 1) == -ENOMEM);
        /* At most the slot's packet stays, for the next that needs one. */
        REQUIRE(t, nt_model_handles() - handles <= (t->is_emulated ? 0U : 1U));
        REQUIRE(t, rules_none(t));
        REQUIRE(t, rules_mod(t, event, IN, 1) == -ENOENT);
        REQUIRE(t, rules_add(t, event, IN, 2) == 0);
        REQUIRE(t, rules_gets(t, 2));
    }
    REQUIRE(t, rules_close(t, event));
}

static void a_change_that_fails_changes_nothing(struct rules *t)
{
    void *event = rules_event(t, true, true);

    REQUIRE(t, rules_add(t, event, IN | TOCSIN_EPOLL_ONESHOT, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    nt_model_fail(arming(t), 1, NT_INSUFFICIENT_RESOURCES);
    REQUIRE(t, rules_mod(t, event, IN, 2) == -ENOMEM);
    REQUIRE(t, rules_none(t)); /* a one-shot that was told, as before */
    REQUIRE(t, rules_mod(t, event, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    nt_model_fail(arming(t), 1, NT_INSUFFICIENT_RESOURCES);
    REQUIRE(t, rules_mod(t, event, IN | TOCSIN_EPOLL_ONESHOT, 4) == -ENOMEM);
    REQUIRE(t, rules_gets(t, 3) && rules_gets(t, 3));
    REQUIRE(t, rules_close(t, event));
}

static void a_latched_signal_survives_a_full_port(struct rules *t)
{
    void *semaphore = rules_semaphore(t, 0);
    struct tocsin_epoll_event event;

    REQUIRE(t, rules_add(t, semaphore, IN, 1) == 0);
    REQUIRE(t, t->nt->semaphore_release(semaphore, 1) == 0);
    REQUIRE(t, rules_mod(t, semaphore, 0, 2) == 0);
    REQUIRE(t, tocsin_epoll_wait(t->epoll, &event, 1, 1000000) == 0); /* late ones come, too */
    REQUIRE(t, t->nt->wait_one(semaphore, 0) == NT_TIMEOUT);          /* it is latched */
    nt_model_fail(NT_CALL_PORT_POST, 1, NT_NO_MEMORY);
    REQUIRE(t, rules_mod(t, semaphore, IN, 3) == -ENOMEM);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_mod(t, semaphore, IN, 4) == 0);
    REQUIRE(t, rules_gets(t, 4));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, semaphore));
}

/* ---- Slots and handles that are used again ---- */

static void every_slot_comes_back_at_once(struct rules *t)
{
    void *event = rules_event(t, true, true);

    for (int i = 0; i < 1000; i++) {
        REQUIRE(t, rules_add(t, event, IN, 1) == 0);
        if (i % 3 == 0) {
            REQUIRE(t, rules_gets(t, 1));
        }
        REQUIRE(t, rules_del(t, event) == 0);
        REQUIRE(t, rules_none(t));
    }
    /* A few more where packets are late: their slots come back with them. */
    REQUIRE(t, nt_model_calls(NT_CALL_PACKET_CREATE) <= 20);
    REQUIRE(t, rules_close(t, event));
}

struct held_up {
    struct rules *t;
    void *event;
    void *other;
    int call;
    enum nt_model_moment moment;
    bool done;
};

/* While the waiter is held up: delete its watch, and let others use slot and handle. */
static void meanwhile(int call, enum nt_model_moment moment, void *arg)
{
    struct held_up *held_up = arg;
    struct rules *t = held_up->t;

    if (held_up->done || call != held_up->call || moment != held_up->moment) {
        return;
    }
    held_up->done = true;
    for (int i = 0; i < 5; i++) {
        REQUIRE(t, rules_del(t, held_up->event) == 0);
        REQUIRE(t, rules_close(t, held_up->event));
        held_up->event = rules_event(t, false, false);
        REQUIRE(t, rules_add(t, held_up->event, IN, 2) == 0);
    }
}

static void a_waiter_that_is_held_up_meets_no_stranger(struct rules *t)
{
    static const struct {
        int call;
        enum nt_model_moment moment;
    } places[] = {
        {NT_CALL_PORT_REMOVE, NT_MOMENT_AFTER},
        {NT_CALL_POINTS + NT_POINT_HELD, NT_MOMENT_BEFORE},
        {NT_CALL_POINTS + NT_POINT_ARMING, NT_MOMENT_BEFORE},
        {NT_CALL_PACKET_ASSOCIATE, NT_MOMENT_BEFORE},
        {NT_CALL_PACKET_ASSOCIATE, NT_MOMENT_AFTER},
    };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct held_up held_up = {.t = t, .call = places[i].call, .moment = places[i].moment};

        if (t->is_emulated && places[i].call == NT_CALL_PACKET_ASSOCIATE) {
            continue;
        }
        held_up.event = rules_event(t, true, true);
        REQUIRE(t, rules_add(t, held_up.event, IN, 1) == 0);
        REQUIRE(t, i < 2 || rules_gets(t, 1)); /* to be armed again by the next wait */
        nt_model_hook(meanwhile, &held_up);
        REQUIRE(t, rules_none(t));
        nt_model_hook(NULL, NULL);
        REQUIRE(t, held_up.done && !t->has_failed);
        REQUIRE(t, t->nt->event_set(held_up.event) == 0);
        REQUIRE(t, rules_gets(t, 2));
        REQUIRE(t, rules_del(t, held_up.event) == 0 && rules_close(t, held_up.event));
    }
}

/* ---- Several waiters ---- */

struct waiter {
    struct tocsin_epoll *epoll;
    pthread_t thread;
    struct tocsin_epoll_event event;
    int count;
    atomic_uint *told;
};

static void *wait_once(void *arg)
{
    struct waiter *waiter = arg;

    waiter->count = tocsin_epoll_wait(waiter->epoll, &waiter->event, 1, RULES_SOON_NS);
    atomic_fetch_add_explicit(waiter->told, 1, memory_order_acq_rel);
    return NULL;
}

static void one_signal_is_told_to_one_waiter(struct rules *t)
{
    void *event = rules_event(t, true, false);
    struct waiter waiters[3];
    atomic_uint told = 0;

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    for (int i = 0; i < 3; i++) {
        waiters[i] = (struct waiter){.epoll = t->epoll, .told = &told};
        REQUIRE(t, pthread_create(&waiters[i].thread, NULL, wait_once, &waiters[i]) == 0);
    }
    nt_model_await_blocked(3);
    for (unsigned i = 1; i <= 3; i++) {
        /* Level-triggered and set: one is told, for he does not wait again. */
        REQUIRE(t, i == 1 ? t->nt->event_set(event) == 0 : rules_mod(t, event, IN, i) == 0);
        while (atomic_load_explicit(&told, memory_order_acquire) < i) {
            sched_yield();
        }
        nt_model_await_blocked(3 - i);
        REQUIRE(t, atomic_load_explicit(&told, memory_order_acquire) == i);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(waiters[i].thread, NULL);
        REQUIRE(t, waiters[i].count == 1);
    }
    REQUIRE(t, rules_close(t, event));
}

static void who_does_not_wait_again_is_no_rival(struct rules *t)
{
    void *event = rules_event(t, true, true);
    atomic_uint told = 0;
    struct waiter waiter = {.epoll = t->epoll, .told = &told};

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    REQUIRE(t, pthread_create(&waiter.thread, NULL, wait_once, &waiter) == 0);
    pthread_join(waiter.thread, NULL);
    REQUIRE(t, waiter.count == 1);
    REQUIRE(t, rules_none(t)); /* it is his, until he waits again */
    REQUIRE(t, rules_mod(t, event, IN, 2) == 0);
    REQUIRE(t, rules_gets(t, 2)); /* a change gives it to all */
    REQUIRE(t, rules_close(t, event));
}

/* ---- Many ---- */

static void ten_thousand_handles_in_one_wait_set(struct rules *t)
{
    static void *events[HANDLES_MANY];
    uint64_t sum = 0;
    int left = HANDLES_MANY;

    for (int i = 0; i < HANDLES_MANY; i++) {
        events[i] = rules_event(t, false, false);
        REQUIRE(t, rules_add(t, events[i], IN, (uint64_t)i) == 0);
    }
    REQUIRE(t, rules_none(t));
    for (int i = HANDLES_MANY; i-- > 0;) {
        REQUIRE(t, t->nt->event_set(events[i]) == 0);
    }
    while (left > 0) {
        struct tocsin_epoll_event got[64];
        int count = tocsin_epoll_wait(t->epoll, got, 64, RULES_SOON_NS);

        REQUIRE(t, count > 0);
        for (int i = 0; i < count; i++) {
            sum += got[i].data;
        }
        left -= count;
    }
    REQUIRE(t, sum == (uint64_t)HANDLES_MANY * (HANDLES_MANY - 1) / 2);
    REQUIRE(t, rules_none(t));
    for (int i = 0; i < HANDLES_MANY; i++) {
        REQUIRE(t, rules_close(t, events[i]));
    }
}

static void an_event_allocates_nothing(struct rules *t)
{
    unsigned many = support_scaled(EVENTS_MANY);
    void *semaphore = rules_semaphore(t, EVENTS_MANY);
    void *event = rules_event(t, true, true);
    struct tocsin_epoll_event got[EVENTS_BATCH];
    unsigned before;

    REQUIRE(t, rules_add(t, semaphore, IN | TOCSIN_EPOLL_ET, 1) == 0);
    REQUIRE(t, rules_add(t, event, IN, 2) == 0);
    REQUIRE(t, tocsin_epoll_wait(t->epoll, got, 1, RULES_SOON_NS) == 1); /* has its record now */
    before = atomic_load_explicit(&allocations, memory_order_relaxed);
    for (unsigned events = 0; events < many;) {
        int count = tocsin_epoll_wait(t->epoll, got, EVENTS_BATCH, RULES_SOON_NS);

        REQUIRE(t, count > 0);
        events += (unsigned)count;
    }
    REQUIRE(t, atomic_load_explicit(&allocations, memory_order_relaxed) == before);
    REQUIRE(t, rules_close(t, semaphore) && rules_close(t, event));
}

/* ---- Which packets ---- */

static bool works(struct rules *t)
{
    struct tocsin_epoll *of_rule = t->epoll;
    struct tocsin_eventfd *eventfd = NULL;
    bool right = tocsin_epoll_create(&t->epoll) == 0 &&
                 tocsin_eventfd_create(1, TOCSIN_EFD_NONBLOCK, &eventfd) == 0 &&
                 rules_add(t, tocsin_eventfd_handle(eventfd), IN, 5) == 0 && rules_gets(t, 5);

    tocsin_epoll_close(t->epoll);
    tocsin_eventfd_close(eventfd);
    t->epoll = of_rule;
    return right;
}

static void the_environment_chooses_our_own_packets(struct rules *t)
{
    REQUIRE(t, works(t));
    REQUIRE(t, nt_model_calls(NT_CALL_PACKET_CREATE) == 1);
    REQUIRE(t, setenv("TOCSIN_WINDOWS_PACKETS", "emulated", 1) == 0);
    REQUIRE(t, works(t));
    REQUIRE(t, unsetenv("TOCSIN_WINDOWS_PACKETS") == 0);
    REQUIRE(t, nt_model_calls(NT_CALL_PACKET_CREATE) == 1);
}

const struct rules_row rules_rows[] = {
    RULE(a_watch_that_could_not_be_armed_is_tried_again),
    RULE(an_add_that_fails_leaves_nothing),
    RULE(a_change_that_fails_changes_nothing),
    RULE_NATIVE(a_latched_signal_survives_a_full_port),
    RULE(every_slot_comes_back_at_once),
    RULE(a_waiter_that_is_held_up_meets_no_stranger),
    RULE_NATIVE(one_signal_is_told_to_one_waiter),
    RULE(who_does_not_wait_again_is_no_rival),
    RULE_NATIVE(ten_thousand_handles_in_one_wait_set),
    RULE_NATIVE(an_event_allocates_nothing),
    RULE_NATIVE(the_environment_chooses_our_own_packets),
    {0},
};
