/*
 * Conformance cases: what they are made of.
 *
 * A case is one rule of docs/ARCHITECTURE.md, a function named for it, written once against the
 * public headers and run on every backend:
 *
 *   static void wake_during_poll_runs_again(struct conform *t)
 *   ...
 *   CONFORM_CASES(wake, CASE(wake_during_poll_runs_again, "W1", "A task ...", 0), ...)
 *
 * The runner forks a process for each case, from a process that has no threads: a crash, an abort
 * or a hang fails that case only, with its name.  When the case has returned, its pools' memory and
 * its descriptors must have been given back.  A backend that lacks a bit that the case needs skips
 * it.
 *
 * Threads.  A case begins on the only thread of its process.  Others come from conform_thread();
 * they may use CHECK, REQUIRE, the counters and the gates.  Nothing here sleeps: a case blocks on
 * what it waits for, and the runner's watchdog turns a wait in vain into a failure.
 */
#ifndef TOCSIN_CONFORM_H
#define TOCSIN_CONFORM_H

#include <stdatomic.h>
#include <tocsin/tocsin.h>

struct conform;
struct conform_thread;
struct tocsin_conform_face;

typedef void conform_case_fn(struct conform *t);
typedef void conform_thread_fn(struct conform *t, void *arg);

/* One row of a group's table. */
struct conform_case {
    const char *name;
    conform_case_fn *run;
    const char *rule;        /* "W1", "F2", or a section: "4.6" */
    const char *description; /* one sentence */
    uint32_t needs;          /* TOCSIN_BACKEND_*: all of these */
};

struct conform_group {
    const char *name;
    const struct conform_case *cases;
    size_t cases_count;
};

/* A row: the function's name is the case's. */
#define CASE(function, rule, description, needs)                                                   \
    {                                                                                              \
#function, function, rule, description, needs                                              \
    }

/*
 * The table at the end of cases_NAME.c; NAME stands in the list of tests/conformance/meson.build,
 * and nowhere else.
 */
#define CONFORM_CASES(name, ...)                                                                   \
    static const struct conform_case name##_cases[] = {__VA_ARGS__};                               \
    extern const struct conform_group conform_group_##name;                                        \
    const struct conform_group conform_group_##name = {                                            \
        #name, name##_cases, sizeof(name##_cases) / sizeof(name##_cases[0])}

/* Stand beside the backend's own bits: conform_source_open() and conform_link_open() work. */
enum {
    CONFORM_LINKS = 1 << 29,
    CONFORM_SOURCES = 1 << 30,
};

/* ---- Checks ---------------------------------------------------------------------------------- */

/*
 * Fail the case, with file, line and expression, when @condition is false; the case goes on.  True
 * if it held, so that a case can return.
 *
 * Thread: any.
 */
#define CHECK(t, condition) conform_check((t), (condition), #condition, TOCSIN_HERE)

/* The same for two integers; shows both. */
#define CHECK_EQ(t, got, wanted)                                                                   \
    conform_check_equal((t), (long long)(got), (long long)(wanted), #got " == " #wanted,           \
                        TOCSIN_HERE)

/* The same, and what does not hold ends the case here, from whatever thread. */
#define REQUIRE(t, condition) conform_require((t), (condition), #condition, TOCSIN_HERE)

bool conform_check(struct conform *t, bool held, const char *expression, const char *place);
bool conform_check_equal(struct conform *t, long long got, long long wanted, const char *expression,
                         const char *place);
void conform_require(struct conform *t, bool held, const char *expression, const char *place);

/* A line of diagnostics in the report, as printf(3). */
__attribute__((format(printf, 2, 3))) void conform_note(struct conform *t, const char *format, ...);

/* ---- Counters, shared with other threads ----------------------------------------------------- */

/* How many threads block in conform_await(); and the call that makes them look again. */
extern atomic_uint conform_waiting;
void conform_counter_changed(const atomic_uint *counter);

static inline unsigned conform_count(atomic_uint *counter)
{
    unsigned value = atomic_fetch_add_explicit(counter, 1, memory_order_acq_rel) + 1;

    if (atomic_load_explicit(&conform_waiting, memory_order_relaxed) != 0) {
        conform_counter_changed(counter);
    }
    return value;
}

static inline unsigned conform_read(const atomic_uint *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

static inline void conform_set(atomic_uint *counter, unsigned value)
{
    atomic_store_explicit(counter, value, memory_order_release);
    if (atomic_load_explicit(&conform_waiting, memory_order_relaxed) != 0) {
        conform_counter_changed(counter);
    }
}

/* ---- The case -------------------------------------------------------------------------------- */

/* What the counting backend saw the runtime do; all pools of the case together. */
struct conform_counts {
    atomic_uint waits;
    atomic_uint looks;
    atomic_uint kicks;
    atomic_uint attaches;
    atomic_uint detaches;
    atomic_uint arms;
    atomic_uint opens;
    atomic_uint closes;
};

/* When the counting backend calls a case's hook, always on the thread that runs the pool. */
enum conform_moment {
    CONFORM_BEFORE_WAIT, /* the pool sleeps already (try_sleep has succeeded); @list is empty */
    CONFORM_AFTER_WAIT,  /* the pool still sleeps; @list is what the backend found */
    CONFORM_BEFORE_LOOK,
    CONFORM_AFTER_LOOK,
    CONFORM_BEFORE_PREPARE, /* of backends with that slot; @list is empty */
    CONFORM_AFTER_PREPARE,  /* the same; the pool is awake yet */
};

typedef void conform_hook_fn(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                             struct tocsin_backend_events *list, void *arg);

/* What a case gets.  Fields are for cases to read, those under "faults" and "hook" to set. */
struct conform {
    const char *case_name;
    const char *backend_name;
    uint32_t features; /* of the backend, and CONFORM_* */

    /*
     * The backend under test, wrapped by the counting one: open pools over this one, or over a copy
     * with an arg for the backend's own open.
     */
    const struct tocsin_backend *backend;
    struct conform_counts counts;

    /* Hook: set it while no other thread runs a pool. */
    conform_hook_fn *hook;
    void *hook_arg;
    conform_thread_fn *at_sleep; /* conform_at_sleep()'s */
    void *at_sleep_arg;

    /* What the last attach was given to report with. */
    _Atomic(uint64_t) attached_id;

    /*
     * Faults: negative errno that the slot answers from now on, instead of doing its work; 0: none.
     */
    int fail_open;
    int fail_wait; /* wait and look */
    int fail_attach;

    /* So many waits end at once, for no reason, as an interrupted system call does. */
    unsigned empty_waits;

    /* The allocator of the case's pools. */
    struct tocsin_allocator allocator;
    atomic_uint allocations; /* made so far */
    atomic_int live;         /* allocated and not freed */
    atomic_uint fail_at;     /* the allocation, counted as @allocations, that fails; 0: none */
    atomic_uint fail_on;     /* 1: all that follow it fail too */

    unsigned scale; /* 1; more under `soak` */
    uint64_t random_state;
    atomic_uint failures;
    unsigned threads_made;
    unsigned threads_live;
    const struct tocsin_conform_face *face; /* or NULL */
};

/*
 * How often to repeat something that is done @times times in a normal run: more when soaking.
 */
unsigned conform_times(const struct conform *t, unsigned times);

/* Compute for @delay_ns, on the clock of @driver. */
void conform_burn(struct conform *t, struct tocsin_driver *driver, uint64_t delay_ns);

/* The next of a row of numbers that the seed decides.  Thread: the case's own. */
uint64_t conform_random(struct conform *t);

/* ---- Pools ----------------------------------------------------------------------------------- */

/*
 * Open a pool over the backend under test, with the counting allocator.  @options may be NULL; its
 * allocator is not looked at.
 *
 * Returns: as tocsin_pool_open().
 */
int conform_pool_open(struct conform *t, const struct tocsin_pool_options *options,
                      struct tocsin_pool **out_pool);

/* The same with the default options, and failing ends the case. */
struct tocsin_pool *conform_pool(struct conform *t);

/* Close it, and check that that worked. */
void conform_pool_close(struct conform *t, struct tocsin_pool *pool);

/* @options with the counting allocator, for tocsin_pool_spawn_thread(). */
struct tocsin_pool_options conform_options(struct conform *t);

/*
 * Let the @nth allocation from now on fail, and with @all those after it too; 0: none fails.
 */
void conform_fail_alloc(struct conform *t, unsigned nth, bool all);

/* True if the allocation that was to fail has been asked for. */
bool conform_alloc_failed(const struct conform *t);

/*
 * Run @fn(t, arg) with the first allocation failing, then the second, and so on, until one run asks
 * for fewer: each failing run must return -ENOMEM, and leave no more allocated than before; the
 * last run must return 0 or more.
 */
void conform_each_alloc_fails(struct conform *t, int (*fn)(struct conform *t, void *arg),
                              void *arg);

/* ---- Tasks ----------------------------------------------------------------------------------- */

struct conform_task;

typedef int conform_poll_fn(struct conform_task *task, struct tocsin_context *cx);

/* A task whose poll is @poll; counts what is done to it.  Zero it first. */
struct conform_task {
    struct tocsin_task task;
    struct conform *t;
    conform_poll_fn *poll;
    void (*dropped)(struct conform_task *task);  /* may be NULL; called in drop */
    void (*released)(struct conform_task *task); /* may be NULL; called in release */
    void *arg;
    atomic_uint polls;
    atomic_uint drops;
    atomic_uint releases;
    atomic_uint flag;          /* the case's */
    struct tocsin_waker waker; /* the case's, to drop as well */
    uintptr_t drop_thread;     /* conform_thread_id() there */
    uintptr_t poll_thread;     /* the same of the last poll */
};

extern const struct tocsin_task_ops conform_task_ops;

/* Spawn it under the case's name; failing ends the case. */
void conform_spawn(struct conform *t, struct tocsin_driver *driver, struct conform_task *task,
                   conform_poll_fn *poll, void *arg);

/* The same, and the case holds a reference from the start. */
void conform_spawn_ref(struct conform *t, struct tocsin_driver *driver, struct conform_task *task,
                       conform_poll_fn *poll, void *arg);

/* Check that it was dropped and released, once each. */
void conform_task_is_gone(struct conform *t, const struct conform_task *task, const char *place);
#define CHECK_GONE(t, task) conform_task_is_gone((t), (task), TOCSIN_HERE)

/* Polls to spawn with: ready with 0 at once; pending for ever without keeping a waker. */
int conform_poll_ready(struct conform_task *task, struct tocsin_context *cx);
int conform_poll_never(struct conform_task *task, struct tocsin_context *cx);

/* Pending, without keeping a waker, until task->flag is not 0: then ready with it. */
int conform_poll_flag(struct conform_task *task, struct tocsin_context *cx);

/* Wakes itself until task->flag is not 0: then ready with it. */
int conform_poll_yield(struct conform_task *task, struct tocsin_context *cx);

/* Wake it, through a waker made for this.  Thread: any that knows that a reference is held. */
void conform_wake(struct conform_task *task);

/* Set its flag, and wake it. */
void conform_finish(struct conform_task *task);

/* ---- Threads --------------------------------------------------------------------------------- */

/*
 * Start a thread.  The first call pins the case's own thread to one processor; threads are pinned
 * to the others in turn, so that two threads of a case really run at once where two processors are.
 *
 * Returns: the thread, for conform_thread_join(), which is a must.
 */
struct conform_thread *conform_thread(struct conform *t, conform_thread_fn *fn, void *arg);

void conform_thread_join(struct conform *t, struct conform_thread *thread);

/* Run @fn(t, arg) on a thread of its own, and go on when it has returned. */
void conform_elsewhere(struct conform *t, conform_thread_fn *fn, void *arg);

/*
 * The same when the pool next sleeps: the sleep has begun, and the backend does not wait yet.
 * Takes the hook, and gives it back before @fn is called.
 */
void conform_at_sleep(struct conform *t, conform_thread_fn *fn, void *arg);

/* In a loop that only another thread ends: on a backend that orders threads it may go on here. */
void conform_point(void);

/* How many processors the process may use; before any thread of the case was pinned. */
unsigned conform_processors(void);

/* Differs between threads that live at the same time; never 0. */
uintptr_t conform_thread_id(void);

/* A gate: closed at first (all zero); once open, whoever waits goes on. */
struct conform_gate {
    atomic_uint open;
};

void conform_gate_open(struct conform_gate *gate);
void conform_gate_wait(struct conform_gate *gate);

/* Block until @counter is at least @value; whoever counts need not know. */
void conform_await(const atomic_uint *counter, unsigned value);

/* ---- Processes ------------------------------------------------------------------------------- */

/*
 * Run @fn(t, arg) in a forked child; its failed checks fail the case.
 *
 * Thread:  the case's own, with no other alive.
 * Returns: as waitpid(2)'s status.
 */
int conform_in_child(struct conform *t, conform_thread_fn *fn, void *arg);

/* Check that @fn(t, arg) aborts, in a child.  Its message is not shown. */
void conform_aborts(struct conform *t, conform_thread_fn *fn, void *arg, const char *place);
#define CHECK_ABORTS(t, fn, arg) conform_aborts((t), (fn), (arg), TOCSIN_HERE)

/* ---- Things that become ready ---------------------------------------------------------------- */

/*
 * A source that a case makes readable at will: with DESCRIPTORS one end of an AF_UNIX stream pair,
 * else one of the backend's own.  Cases that use it need CONFORM_SOURCES.
 */
struct conform_source {
    enum tocsin_source kind;
    intptr_t number; /* the end that the pool watches */
    intptr_t peer;   /* descriptors: the other end */
};

void conform_source_open(struct conform *t, struct conform_source *source);
void conform_source_close(struct conform *t, struct conform_source *source);

/* Thread: any. */
void conform_source_signal(struct conform_source *source);

/* Take what made it readable, as reading until EAGAIN does; true if there was something. */
bool conform_source_take(struct conform_source *source);

/* tocsin_fd_ready_open() or tocsin_source_ready_open(), as it must be. */
int conform_source_watch(struct tocsin_driver *driver, struct conform_source *source,
                         struct tocsin_fd_ready **out_ready);

/* tocsin_watch_start() or tocsin_own_watch_start(). */
int conform_source_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver,
                               struct conform_source *source, uint32_t events, tocsin_watch_fn *fn,
                               void *arg);

/*
 * A connection or a pipe of non-blocking ends, as AF_UNIX stream sockets and pipes are: with
 * DESCRIPTORS they are those, else the backend's own.  Cases that use it need CONFORM_LINKS.
 */
struct conform_link {
    enum tocsin_source kind;
    intptr_t ends[2]; /* -1: closed */
};

void conform_link_open(struct conform *t, struct conform_link *link);

/* ends[0] reads what ends[1] writes. */
void conform_link_open_pipe(struct conform *t, struct conform_link *link);

/* Both ends, or what is open of them; one end. */
void conform_link_close(struct conform *t, struct conform_link *link);
void conform_link_close_end(struct conform *t, struct conform_link *link, int end);

/* Nothing more is written by @end of a connection. */
void conform_link_shut(struct conform *t, struct conform_link *link, int end);

/* How many bytes, or negative errno. */
int conform_link_read(struct conform_link *link, int end, void *data, size_t size);
int conform_link_write(struct conform_link *link, int end, const void *data, size_t size);

/* tocsin_fd_ready_open() or tocsin_source_ready_open(), as it must be. */
int conform_link_watch(struct tocsin_driver *driver, struct conform_link *link, int end,
                       struct tocsin_fd_ready **out_ready);

/*
 * Two connected non-blocking AF_UNIX stream sockets, both the caller's.  For cases with
 * DESCRIPTORS.
 */
void conform_stream_pair(struct conform *t, int fds[2]);

#endif
