/*
 * What the runtime wants of an operating system (runtime/os.h), within the explorer.
 *
 * A lock orders what its holders do, as an acquire and a release of it; taking one is a step.  The
 * memory of a lock is a part of the runtime's objects, so it is checked as theirs is.
 */
#include "runtime/os.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "tests/model/engine.h"

enum {
    LOCKS_MAX = 64, /* locks and conditions of one run */
};

struct lock {
    const void *address;
    bool held;
    unsigned owner;
    unsigned waiters; /* of a condition */
    unsigned wakes;   /* and how many of them were told */
    struct model_view view;
};

static struct lock locks[LOCKS_MAX];
static size_t locks_count;
static struct model_view gate_view; /* of all gates: they are few, and not what is tested */

void model_os_reset(void)
{
    locks_count = 0;
    memset(gate_view.clock, 0, sizeof(gate_view.clock));
    gate_view.count = 0;
}

static void init(const void *address)
{
    struct lock *lock = &locks[locks_count];

    if (locks_count++ == LOCKS_MAX) {
        model_error("too many locks in one run");
    }
    lock->address = address;
    lock->held = false;
    lock->waiters = 0;
    lock->wakes = 0;
    memset(lock->view.clock, 0, sizeof(lock->view.clock));
    lock->view.count = 0;
}

static struct lock *find(const void *address, const void *pc)
{
    model_atomic_touch(address, sizeof(pthread_mutex_t), pc);
    for (size_t i = locks_count; i-- > 0;) {
        if (locks[i].address == address) {
            return &locks[i];
        }
    }
    model_error("a lock that was not initialised");
}

static void deinit(const void *address, const void *pc)
{
    struct lock *lock = find(address, pc);

    if (lock->held || lock->waiters > 0) {
        model_error("a lock is destroyed in use");
    }
    lock->address = NULL;
}

static bool is_free(const void *object)
{
    return !((const struct lock *)object)->held;
}

static void lock_it(struct lock *lock, const void *pc)
{
    if (lock->held && lock->owner == model_self()) {
        model_error("a lock is taken twice");
    }
    model_block(is_free, lock, TOCSIN_NEVER_NS, false, "a lock");
    lock->held = true;
    lock->owner = model_self();
    model_view_join(model_view(), &lock->view);
    model_trace(pc, "lock");
}

static void unlock_it(struct lock *lock, const void *pc)
{
    if (!lock->held || lock->owner != model_self()) {
        model_error("a lock is given back that is not held");
    }
    model_view_join(&lock->view, model_view_publish());
    lock->held = false;
    model_trace(pc, "unlock");
}

int tocsin__mutex_init(struct tocsin__mutex *mutex)
{
    init(mutex);
    return 0;
}

void tocsin__mutex_deinit(struct tocsin__mutex *mutex)
{
    deinit(mutex, __builtin_return_address(0));
}

void tocsin__mutex_lock(struct tocsin__mutex *mutex)
{
    model_point(mutex, true);
    lock_it(find(mutex, __builtin_return_address(0)), __builtin_return_address(0));
}

void tocsin__mutex_unlock(struct tocsin__mutex *mutex)
{
    unlock_it(find(mutex, __builtin_return_address(0)), __builtin_return_address(0));
}

int tocsin__cond_init(struct tocsin__cond *cond)
{
    init(cond);
    return 0;
}

void tocsin__cond_deinit(struct tocsin__cond *cond)
{
    deinit(cond, __builtin_return_address(0));
}

static bool was_told(const void *object)
{
    return ((const struct lock *)object)->wakes > 0;
}

void tocsin__cond_wait(struct tocsin__cond *cond, struct tocsin__mutex *mutex)
{
    const void *pc = __builtin_return_address(0);
    struct lock *told = find(cond, pc);
    struct lock *lock = find(mutex, pc);

    unlock_it(lock, pc);
    told->waiters++;
    if (model_block(was_told, told, TOCSIN_NEVER_NS, true, "a condition") == MODEL_READY) {
        told->wakes--;
    }
    told->waiters--;
    model_trace(pc, "woken");
    lock_it(lock, pc);
}

void tocsin__cond_signal(struct tocsin__cond *cond)
{
    struct lock *told = find(cond, __builtin_return_address(0));

    if (told->waiters > told->wakes) {
        told->wakes++;
    }
    model_trace(__builtin_return_address(0), "signal");
}

/* ---- Gates: of scenarios, in the place of a lock and a condition ----------------------------- */

static bool is_open(const void *object)
{
    return ((const struct model_gate *)object)->open;
}

void model_gate_open(struct model_gate *gate)
{
    model_point(NULL, true);
    gate->open = true;
    model_view_join(&gate_view, model_view_publish());
    model_trace(__builtin_return_address(0), "gate opens");
}

void model_gate_await(struct model_gate *gate)
{
    model_block(is_open, gate, TOCSIN_NEVER_NS, false, "a gate");
    model_view_join(model_view(), &gate_view);
    model_trace(__builtin_return_address(0), "gate passed");
}

uintptr_t tocsin__thread_id(void)
{
    return model_self() + 1;
}

int tocsin__thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg)
{
    (void)thread;
    (void)main;
    (void)arg;
    return -ENOSYS; /* a scenario's threads are there from its start */
}

void tocsin__thread_join(struct tocsin__thread *thread)
{
    (void)thread;
    model_error("no thread was started");
}

unsigned tocsin__processors(void)
{
    return 1;
}

int tocsin__fork_mark(const volatile unsigned char **out_mark)
{
    static const volatile unsigned char mark = 1; /* nothing forks here */

    *out_mark = &mark;
    return 0;
}

int tocsin__timer_slack_set(uint64_t slack_ns, uint64_t *out_old)
{
    (void)slack_ns;
    (void)out_old;
    return -ENOSYS;
}

int tocsin__fd_is_nonblocking(intptr_t fd)
{
    (void)fd;
    return 1;
}

/* An assertion of the runtime's. */
_Noreturn void tocsin__assert_failed(const char *file, int line, const char *message)
{
    model_failed(file, line, message);
}
