/*
 * The kernel lock, threads that block, time, chance: what every call of the model goes through.
 *
 * Nobody runs the timers but those who are in the kernel: who enters fires what is due, and who
 * blocks wakes up for the first of them.
 */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "tests/nt_model/kernel.h"

#define NS_PER_S UINT64_C(1000000000)

enum {
    DELAY_YIELDS_MAX = 8,
    DELAY_SPINS_MAX = 2000,
};

struct kernel kernel = {.lock = PTHREAD_MUTEX_INITIALIZER, .blocked = PTHREAD_COND_INITIALIZER};

/* ---- Lists ---- */

void list_init(struct link *list)
{
    list->next = list;
    list->prev = list;
}

bool list_is_empty(const struct link *list)
{
    return list->next == list || list->next == NULL;
}

void list_append(struct link *list, struct link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

void list_remove(struct link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* ---- Time and chance ---- */

uint64_t kernel_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kernel_deadline(uint64_t delay_ns)
{
    uint64_t now_ns = kernel_now_ns();

    return delay_ns > TOCSIN_NEVER_NS - now_ns ? TOCSIN_NEVER_NS : now_ns + delay_ns;
}

static _Thread_local nt_model_hook_fn *hook;
static _Thread_local void *hook_arg;

static uint32_t threads_seen; /* guarded by the lock; begins at 0 with the seed */
static uint32_t era;          /* guarded by the lock; one more with each begin */

/* What the seed decides for this thread: splitmix64 over the order in which threads came. */
static _Thread_local struct {
    uint32_t era;
    uint64_t state;
} own;

static uint64_t next_random(void)
{
    uint64_t z;

    own.state += UINT64_C(0x9E3779B97F4A7C15);
    z = own.state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint32_t nt_model_random(uint32_t limit)
{
    return (uint32_t)(next_random() % limit);
}

bool kernel_chance(uint32_t permille)
{
    return permille != 0 && nt_model_random(1000) < permille;
}

const void *kernel_thread(void)
{
    return &own;
}

static void delay(void)
{
    if (!kernel_chance(kernel.options.delay_permille)) {
        return;
    }
    if (nt_model_random(2) == 0) {
        for (uint32_t i = nt_model_random(DELAY_YIELDS_MAX); i > 0; i--) {
            sched_yield();
        }
        return;
    }
    for (volatile uint32_t i = nt_model_random(DELAY_SPINS_MAX); i > 0; i--) {
    }
}

/* ---- The lock ---- */

void kernel_lock(void)
{
    pthread_mutex_lock(&kernel.lock);
    if (own.era != era) {
        own.era = era;
        own.state = kernel.options.seed * 1000003 + threads_seen++;
    }
}

void kernel_unlock(void)
{
    pthread_mutex_unlock(&kernel.lock);
}

static bool may_fail(enum nt_model_call call)
{
    return call == NT_CALL_PORT_CREATE || call == NT_CALL_PORT_POST ||
           call == NT_CALL_PACKET_CREATE || call == NT_CALL_PACKET_ASSOCIATE ||
           call == NT_CALL_DUPLICATE_TO_WAIT || call == NT_CALL_EVENT_CREATE ||
           call == NT_CALL_SEMAPHORE_CREATE || call == NT_CALL_TIMER_CREATE;
}

static int32_t planned_failure(enum nt_model_call call)
{
    if (kernel.fail_nth[call] != 0 && --kernel.fail_nth[call] == 0) {
        return kernel.fail_status[call];
    }
    if (may_fail(call) && kernel_chance(kernel.options.fail_permille)) {
        return NT_INSUFFICIENT_RESOURCES;
    }
    return 0;
}

int32_t kernel_enter(enum nt_model_call call)
{
    if (hook != NULL) {
        hook((int)call, NT_MOMENT_BEFORE, hook_arg);
    }
    delay();
    kernel_lock();
    kernel.calls[call]++;
    timers_fire();
    return planned_failure(call);
}

void model_point(enum nt_point place)
{
    if (hook != NULL) {
        hook(NT_CALL_POINTS + (int)place, NT_MOMENT_BEFORE, hook_arg);
    }
    delay();
}

int32_t kernel_leave(enum nt_model_call call, int32_t status)
{
    kernel_unlock();
    delay();
    if (hook != NULL) {
        hook((int)call, NT_MOMENT_AFTER, hook_arg);
    }
    return status;
}

/* ---- Those who block ---- */

void sleeper_init(struct sleeper *sleeper)
{
    pthread_condattr_t attr;

    *sleeper = (struct sleeper){.index = -1};
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sleeper->cond, &attr);
    pthread_condattr_destroy(&attr);
}

void sleeper_deinit(struct sleeper *sleeper)
{
    pthread_cond_destroy(&sleeper->cond);
}

bool sleeper_sleep(struct sleeper *sleeper, uint64_t deadline_ns)
{
    bool in_time = true;

    list_append(&kernel.sleepers, &sleeper->link);
    kernel.sleepers_count++;
    pthread_cond_broadcast(&kernel.blocked);
    while (!sleeper->woken && in_time) {
        uint64_t timer_ns = timers_next();
        uint64_t until_ns = timer_ns < deadline_ns ? timer_ns : deadline_ns;

        if (until_ns == TOCSIN_NEVER_NS) {
            pthread_cond_wait(&sleeper->cond, &kernel.lock);
        } else {
            struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                     .tv_nsec = (long)(until_ns % NS_PER_S)};

            pthread_cond_timedwait(&sleeper->cond, &kernel.lock, &until);
        }
        timers_fire();
        in_time = kernel_now_ns() < deadline_ns;
    }
    kernel.sleepers_count--;
    list_remove(&sleeper->link);
    in_time = sleeper->woken;
    sleeper->woken = false;
    return in_time;
}

void sleeper_wake(struct sleeper *sleeper)
{
    sleeper->woken = true;
    pthread_cond_signal(&sleeper->cond);
}

void sleepers_wake_all(void)
{
    for (struct link *link = kernel.sleepers.next; link != &kernel.sleepers; link = link->next) {
        pthread_cond_signal(&((struct sleeper *)link)->cond);
    }
}

/* ---- What tests say ---- */

void nt_model_await_blocked(uint32_t count)
{
    kernel_lock();
    while (kernel.sleepers_count < count) {
        pthread_cond_wait(&kernel.blocked, &kernel.lock);
    }
    kernel_unlock();
}

void nt_model_hook(nt_model_hook_fn *fn, void *arg)
{
    hook = fn;
    hook_arg = arg;
}

uint64_t nt_model_calls(enum nt_model_call call)
{
    uint64_t calls;

    kernel_lock();
    calls = kernel.calls[call];
    kernel_unlock();
    return calls;
}

void nt_model_fail(enum nt_model_call call, uint32_t nth, int32_t status)
{
    kernel_lock();
    kernel.fail_nth[call] = nth;
    kernel.fail_status[call] = status;
    kernel_unlock();
}

void nt_model_begin(const struct nt_model_options *options)
{
    pthread_mutex_lock(&kernel.lock);
    if (kernel.open_handles != 0 || kernel.sleepers_count != 0) {
        abort(); /* somebody uses the kernel that was */
    }
    if (kernel.objects.next == NULL) {
        list_init(&kernel.objects);
        list_init(&kernel.sleepers);
    }
    kernel.options = options != NULL ? *options : (struct nt_model_options){.seed = 1};
    for (int i = 0; i < NT_CALL_COUNT; i++) {
        kernel.calls[i] = 0;
        kernel.fail_nth[i] = 0;
    }
    threads_seen = 0;
    era++;
    pthread_mutex_unlock(&kernel.lock);
}
