/*
 * The cases' threads and child processes.
 *
 * Threads are pinned in turn to the processors that the process may use, the case's own to the
 * first, so that races are run by processors and not by the scheduler's time slices.  On a backend
 * that orders threads itself they are its own, and what blocks asks it to (tocsin_conform_face).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "face.h"
#include "runner.h"

struct conform_thread {
    struct conform *t;
    conform_thread_fn *fn;
    void *arg;
    pthread_t thread;
    void *own; /* the backend's, in place of thread */
    unsigned number;
};

/* Guards every gate; leaf lock. */
static pthread_mutex_t gates_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gates_changed = PTHREAD_COND_INITIALIZER;

#ifdef __linux__
/* The processors as they were before the first pinning. */
static cpu_set_t processors;

static void pin(unsigned number)
{
    int count = CPU_COUNT(&processors);
    int skip = count == 0 ? 0 : (int)(number % (unsigned)count);
    cpu_set_t one;

    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &processors) && skip-- == 0) {
            CPU_SET(cpu, &one);
            /* Not being allowed to costs the race its sharpness, not its meaning. */
            (void)sched_setaffinity(0, sizeof(one), &one);
            return;
        }
    }
}

static void pin_self(void)
{
    CPU_ZERO(&processors);
    (void)sched_getaffinity(0, sizeof(processors), &processors);
    pin(0);
}

unsigned conform_processors(void)
{
    cpu_set_t mine;

    CPU_ZERO(&mine);
    (void)sched_getaffinity(0, sizeof(mine), &mine);
    return (unsigned)CPU_COUNT(&mine);
}
#else
static void pin(unsigned number)
{
    (void)number;
}

static void pin_self(void)
{
}

unsigned conform_processors(void)
{
    return (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}
#endif

static void *thread_main(void *arg)
{
    struct conform_thread *thread = arg;

    pin(thread->number);
    thread->fn(thread->t, thread->arg);
    return NULL;
}

static void own_main(void *arg)
{
    struct conform_thread *thread = arg;

    thread->fn(thread->t, thread->arg);
}

static bool orders_threads(void)
{
    return conform_face != NULL && conform_face->thread_start != NULL;
}

struct conform_thread *conform_thread(struct conform *t, conform_thread_fn *fn, void *arg)
{
    struct conform_thread *thread = calloc(1, sizeof(*thread));

    REQUIRE(t, thread != NULL);
    if (t->threads_made == 0 && !orders_threads()) {
        pin_self();
    }
    thread->t = t;
    thread->fn = fn;
    thread->arg = arg;
    thread->number = ++t->threads_made;
    t->threads_live++;
    if (orders_threads()) {
        thread->own = conform_face->thread_start(own_main, thread);
        REQUIRE(t, thread->own != NULL);
        return thread;
    }
    REQUIRE(t, pthread_create(&thread->thread, NULL, thread_main, thread) == 0);
    return thread;
}

void conform_thread_join(struct conform *t, struct conform_thread *thread)
{
    if (thread->own != NULL) {
        conform_face->thread_join(thread->own);
    } else {
        REQUIRE(t, pthread_join(thread->thread, NULL) == 0);
    }
    t->threads_live--;
    free(thread);
}

void conform_elsewhere(struct conform *t, conform_thread_fn *fn, void *arg)
{
    conform_thread_join(t, conform_thread(t, fn, arg));
}

static void hook_at_sleep(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                          struct tocsin_backend_events *list, void *arg)
{
    (void)deadline_ns;
    (void)list;
    (void)arg;
    if (moment == CONFORM_BEFORE_WAIT) {
        t->hook = NULL;
        conform_elsewhere(t, t->at_sleep, t->at_sleep_arg);
    }
}

void conform_at_sleep(struct conform *t, conform_thread_fn *fn, void *arg)
{
    t->at_sleep = fn;
    t->at_sleep_arg = arg;
    t->hook = hook_at_sleep;
}

void conform_point(void)
{
    if (orders_threads()) {
        conform_face->point();
    }
}

uintptr_t conform_thread_id(void)
{
    static _Thread_local char place;

    return (uintptr_t)&place;
}

void conform_gate_open(struct conform_gate *gate)
{
    pthread_mutex_lock(&gates_lock);
    conform_set(&gate->open, 1);
    pthread_cond_broadcast(&gates_changed);
    pthread_mutex_unlock(&gates_lock);
}

static bool gate_is_open(void *arg)
{
    return conform_read(&((struct conform_gate *)arg)->open) != 0;
}

void conform_gate_wait(struct conform_gate *gate)
{
    if (orders_threads()) {
        conform_face->await(gate_is_open, gate);
        return;
    }
    pthread_mutex_lock(&gates_lock);
    while (conform_read(&gate->open) == 0) {
        pthread_cond_wait(&gates_changed, &gates_lock);
    }
    pthread_mutex_unlock(&gates_lock);
}

atomic_uint conform_waiting;

enum {
    AWAIT_SPINS = 2000,          /* so that two processors race while they are free */
    AWAIT_WAIT_NS = 1000 * 1000, /* a change that was not told of is seen after so long */
};

void conform_counter_changed(const atomic_uint *counter)
{
    syscall(SYS_futex, counter, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

struct awaited {
    const atomic_uint *counter;
    unsigned value;
};

static bool is_reached(void *arg)
{
    const struct awaited *awaited = arg;

    return conform_read(awaited->counter) >= awaited->value;
}

/*
 * Where other work keeps the processors busy, spinning would cost a time slice for each hand-over:
 * so it blocks after a while.  The one who changes the counter may miss that: the wait is short.
 */
void conform_await(const atomic_uint *counter, unsigned value)
{
    const struct timespec timeout = {.tv_nsec = AWAIT_WAIT_NS};
    struct awaited awaited = {counter, value};
    unsigned spins = 0;
    unsigned seen;

    if (orders_threads()) {
        conform_face->await(is_reached, &awaited);
        return;
    }
    while ((seen = conform_read(counter)) < value) {
        if (++spins < AWAIT_SPINS) {
            continue;
        }
        atomic_fetch_add_explicit(&conform_waiting, 1, memory_order_relaxed);
        syscall(SYS_futex, counter, FUTEX_WAIT_PRIVATE, seen, &timeout, NULL, 0);
        atomic_fetch_sub_explicit(&conform_waiting, 1, memory_order_relaxed);
    }
}

/* ---- Processes ------------------------------------------------------------------------------- */

static pid_t fork_for(struct conform *t, conform_thread_fn *fn, void *arg, bool quiet)
{
    pid_t pid = fork();

    REQUIRE(t, pid >= 0);
    if (pid == 0) {
        conform_set(&t->failures, 0);
        if (quiet) {
            const struct rlimit none = {0, 0};
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

            (void)dup2(null, STDERR_FILENO);
            (void)setrlimit(RLIMIT_CORE, &none);
            /* A sanitizer's handler would turn the abort into an exit. */
            (void)signal(SIGABRT, SIG_DFL);
        }
        fn(t, arg);
        _exit(conform_read(&t->failures) == 0 ? 0 : CONFORM_EXIT_FAILED);
    }
    return pid;
}

static int wait_for(struct conform *t, pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) != pid) {
        REQUIRE(t, errno == EINTR);
    }
    return status;
}

int conform_in_child(struct conform *t, conform_thread_fn *fn, void *arg)
{
    int status = wait_for(t, fork_for(t, fn, arg, false));

    CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return status;
}

void conform_aborts(struct conform *t, conform_thread_fn *fn, void *arg, const char *place)
{
    int status = wait_for(t, fork_for(t, fn, arg, true));

    conform_check(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "it aborts", place);
}
