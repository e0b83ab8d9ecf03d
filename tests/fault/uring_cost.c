/*
 * What a submission costs, on both backends that have a ring: on the pool's thread, and from
 * another thread to a pool that runs, it takes no lock, makes no system call and asks for no
 * memory; and a completion asks for none.
 *
 * As cost.c.
 */
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tocsin/uring.h>

#include "runtime/os.h"
#include "tests/fault/memory.h"

enum {
    OPS = 32, /* at once: fewer than the queue has room for */
    ROUNDS = 100,
};

static atomic_uint locks; /* taken so far */

void __real_tocsin__mutex_lock(struct tocsin__mutex *mutex);
void __wrap_tocsin__mutex_lock(struct tocsin__mutex *mutex);

void __wrap_tocsin__mutex_lock(struct tocsin__mutex *mutex)
{
    atomic_fetch_add_explicit(&locks, 1, memory_order_relaxed);
    __real_tocsin__mutex_lock(mutex);
}

static unsigned locks_taken(void)
{
    return atomic_load_explicit(&locks, memory_order_relaxed);
}

static int allocations(void)
{
    return atomic_load_explicit(&memory_calls, memory_order_relaxed);
}

/* ---- A pool with a ring ---------------------------------------------------------------------- */

static struct tocsin_pool *pool;
static struct tocsin_uring_op ops[OPS];
static unsigned completed;
static unsigned until; /* so many are to complete */

static void submit_all(void)
{
    const struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .fd = -1};

    for (int i = 0; i < OPS; i++) {
        FAULT_EXPECT(tocsin_uring_submit(tocsin_pool_driver(pool), &ops[i], &sqe), 0);
    }
}

/* The last of all submits them again, and must not pay for it. */
static void complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    unsigned before = locks_taken();

    (void)op;
    FAULT_EXPECT(result, 0);
    FAULT_EXPECT(flags, 0);
    if (++completed % OPS == 0 && completed < until) {
        submit_all();
        FAULT_EXPECT(locks_taken(), before);
    }
}

static void submit_in_turn(void *arg)
{
    (void)arg;
    submit_all();
}

/* Open one on the backend @name, and have it make all that it makes once. */
static void open_pool(const char *name)
{
    static const struct tocsin_uring_op_ops hooks = {.complete = complete};
    const struct tocsin_backend *backend = tocsin_backend_find(name);

    if (backend == NULL || tocsin_pool_open(&pool, backend, NULL) < 0) {
        fault_skip("there is no such backend here");
    }
    if (tocsin_uring_probe(tocsin_pool_driver(pool), IORING_OP_NOP) < 0) {
        fault_skip("io_uring is refused here");
    }
    for (int i = 0; i < OPS; i++) {
        tocsin_uring_op_init(&ops[i], &hooks);
    }
    until = OPS;
    fault_in_turn(pool, NULL, submit_in_turn, NULL);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(completed, OPS);
    FAULT_CHECK(allocations() > 0 && locks_taken() > 0); /* they are counted */
}

static void close_pool(void)
{
    for (int i = 0; i < OPS; i++) {
        tocsin_uring_drop(&ops[i]);
    }
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_EXPECT(atomic_load_explicit(&memory_live, memory_order_relaxed), 0);
}

/* ---- On the pool's thread -------------------------------------------------------------------- */

static int allocations_before;

static void note_allocations(void *arg)
{
    (void)arg;
    allocations_before = allocations();
}

static void submit_here(const char *name)
{
    open_pool(name);
    completed = 0;
    until = ROUNDS * OPS;
    fault_in_turn(pool, note_allocations, submit_in_turn, NULL);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(completed, ROUNDS * OPS);
    FAULT_EXPECT(allocations(), allocations_before);
    close_pool();
}

static void submissions_on_epoll_take_no_lock_and_no_memory(void)
{
    submit_here("epoll");
}

static void submissions_on_uring_take_no_lock_and_no_memory(void)
{
    submit_here("uring");
}

static void submit_without_calls(void *arg)
{
    (void)arg;
    fault_forbid_calls();
    submit_all();
    syscall(SYS_exit_group, 0);
}

static void submit_here_without_calls(const char *name)
{
    fault_calls_can_be_forbidden();
    open_pool(name);
    fault_in_turn(pool, NULL, submit_without_calls, NULL);
    fault_failed(__FILE__, __LINE__, "that the process ended in that turn");
}

static void submissions_on_epoll_make_no_system_call(void)
{
    submit_here_without_calls("epoll");
}

static void submissions_on_uring_make_no_system_call(void)
{
    submit_here_without_calls("uring");
}

/* ---- On another ------------------------------------------------------------------------------ */

static atomic_bool is_held;
static atomic_bool is_submitted;
static unsigned locks_held; /* taken while the pool was held */

/* In a turn: the pool is awake until the other thread has submitted. */
static void hold(void *arg)
{
    unsigned before = locks_taken();

    (void)arg;
    atomic_store_explicit(&is_held, true, memory_order_release);
    while (!atomic_load_explicit(&is_submitted, memory_order_acquire)) {
        sched_yield();
    }
    locks_held = locks_taken() - before;
}

static void submit_when_held(void)
{
    while (!atomic_load_explicit(&is_held, memory_order_acquire)) {
        sched_yield();
    }
}

static void submit_elsewhere(void *arg)
{
    (void)arg;
    submit_when_held();
    submit_all();
    atomic_store_explicit(&is_submitted, true, memory_order_release);
}

static void submit_elsewhere_without_calls(void *arg)
{
    (void)arg;
    submit_when_held();
    fault_forbid_calls();
    submit_all();
    atomic_store_explicit(&is_submitted, true, memory_order_release);
    syscall(SYS_exit, 0);
}

static void check_held(const char *name, struct support_thread *thread, support_body_fn *fn)
{
    open_pool(name);
    completed = 0;
    support_thread_start(thread, 1, fn, NULL);
    fault_in_turn(pool, note_allocations, hold, NULL);
    FAULT_EXPECT(locks_held, 0);
    FAULT_EXPECT(allocations(), allocations_before);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(completed, OPS);
}

static void submit_remotely(const char *name)
{
    struct support_thread thread;

    check_held(name, &thread, submit_elsewhere);
    support_thread_join(&thread);
    close_pool();
}

static void remote_submissions_on_epoll_take_no_lock_and_no_memory(void)
{
    submit_remotely("epoll");
}

static void remote_submissions_on_uring_take_no_lock_and_no_memory(void)
{
    submit_remotely("uring");
}

static void submit_remotely_without_calls(const char *name)
{
    struct support_thread thread;

    fault_calls_can_be_forbidden();
    check_held(name, &thread, submit_elsewhere_without_calls);
    _exit(0); /* the thread is not libc's to join any more */
}

static void remote_submissions_on_epoll_make_no_system_call(void)
{
    submit_remotely_without_calls("epoll");
}

static void remote_submissions_on_uring_make_no_system_call(void)
{
    submit_remotely_without_calls("uring");
}

static const struct fault_case cases[] = {
    {"submissions_on_epoll_take_no_lock_and_no_memory",
     submissions_on_epoll_take_no_lock_and_no_memory},
    {"submissions_on_uring_take_no_lock_and_no_memory",
     submissions_on_uring_take_no_lock_and_no_memory},
    {"submissions_on_epoll_make_no_system_call", submissions_on_epoll_make_no_system_call},
    {"submissions_on_uring_make_no_system_call", submissions_on_uring_make_no_system_call},
    {"remote_submissions_on_epoll_take_no_lock_and_no_memory",
     remote_submissions_on_epoll_take_no_lock_and_no_memory},
    {"remote_submissions_on_uring_take_no_lock_and_no_memory",
     remote_submissions_on_uring_take_no_lock_and_no_memory},
    {"remote_submissions_on_epoll_make_no_system_call",
     remote_submissions_on_epoll_make_no_system_call},
    {"remote_submissions_on_uring_make_no_system_call",
     remote_submissions_on_uring_make_no_system_call},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
