/*
 * The threads of a run: coroutines of one thread of the operating system.
 *
 * A thread runs until its next step at something shared, and there the search says who goes on.
 * Steps at what only one thread touches, or nobody writes, are none: they commute with all that the
 * others do.  Which objects are shared is learned: the address (which is the same in each run) is
 * noted with who touches it, and from then on it counts.
 *
 * A thread that blocks names what it waits for.  When nobody can go on, the clock moves to the
 * first deadline; when there is none, the run is stuck, which is how a lost wake shows.  Earlier,
 * a wait may end by its deadline, or for no reason, as a choice.
 */
#include "tests/model/threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "tests/model/engine.h"

enum {
    LOCALS_MAX = 256,
};

enum thread_state {
    THREAD_NONE,
    THREAD_RUNS,
    THREAD_BLOCKED,
    THREAD_ENDED,
};

struct thread {
    ucontext_t context;
    enum thread_state state;
    model_scene_fn *body;
    model_ready_fn *is_ready; /* while blocked, this and the four below */
    const void *object;
    const char *what;
    uint64_t deadline_ns;
    bool for_nothing;
    enum model_end end;
    char locals[LOCALS_MAX];
    struct model_view view;
};

struct option {
    unsigned thread;
    enum model_end end;
};

/* The section that instrument.h puts thread-local variables in; named by the linker. */
extern char __start_model_locals[];
extern char __stop_model_locals[];

bool model_learned;

static struct thread threads[MODEL_THREADS];
static unsigned self;
static unsigned step;
static bool concurrent;
static uint64_t now_ns;
static void *scene;
static ucontext_t bail; /* where an error goes */
static volatile bool bailed;
static char message[512];

/* Of each byte of watched memory: which threads touched it in some run, and did one write? */
static uint8_t touched_by[MODEL_ARENA_SIZE];
static bool written[MODEL_ARENA_SIZE];
static bool is_all_shared;

void model_learning_reset(void)
{
    memset(touched_by, 0, sizeof(touched_by));
    memset(written, 0, sizeof(written));
    is_all_shared = false;
}

void model_learning_skip(void)
{
    is_all_shared = true;
}

bool model_is_concurrent(void)
{
    return concurrent;
}

unsigned model_self(void)
{
    return self;
}

struct model_view *model_view(void)
{
    return &threads[self].view;
}

unsigned model_step(void)
{
    return step;
}

uint64_t model_now_ns(void)
{
    return now_ns;
}

void model_error(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    bailed = true;
    setcontext(&bail);
    __builtin_unreachable();
}

void model_failed(const char *file, int line, const char *what)
{
    const char *name = strrchr(file, '/');

    model_error("%s:%d: %s", name != NULL ? name + 1 : file, line, what);
}

static void switch_to(unsigned next)
{
    struct thread *before = &threads[self];
    size_t size = (size_t)(__stop_model_locals - __start_model_locals);

    if (next == self) {
        return;
    }
    memcpy(before->locals, __start_model_locals, size);
    memcpy(__start_model_locals, threads[next].locals, size);
    self = next;
    swapcontext(&before->context, &threads[next].context);
}

static bool can_go(const struct thread *thread)
{
    return thread->state == THREAD_RUNS ||
           (thread->state == THREAD_BLOCKED && thread->is_ready(thread->object));
}

/* Nobody can go on: the clock moves, or all have ended, or that is an error. */
static struct option first_deadline(void)
{
    struct option first = {0, MODEL_TIMEOUT};
    unsigned stuck = 0;

    for (unsigned i = 1; i < MODEL_THREADS; i++) {
        const struct thread *thread = &threads[i];

        if (thread->state != THREAD_BLOCKED) {
            continue;
        }
        stuck = i;
        if (thread->deadline_ns != TOCSIN_NEVER_NS &&
            (first.thread == 0 || thread->deadline_ns < threads[first.thread].deadline_ns)) {
            first.thread = i;
        }
    }
    if (first.thread == 0 && stuck != 0) {
        model_error("nothing can move: thread %u waits for %s", stuck, threads[stuck].what);
    }
    return first; /* thread 0: all have ended */
}

/* Who goes on: this thread, if it can, or another, or one whose wait ends early. */
static struct option pick(bool self_can)
{
    struct option options[2 * MODEL_THREADS];
    uint8_t who[2 * MODEL_THREADS];
    unsigned count = 0;
    unsigned free_count;
    unsigned chosen;

    if (self_can) {
        options[count++] = (struct option){self, MODEL_READY};
    }
    for (unsigned i = 1; i < MODEL_THREADS; i++) {
        if (can_go(&threads[i]) && !(i == self && self_can)) {
            options[count++] = (struct option){i, MODEL_READY};
        }
    }
    if (count == 0) {
        return first_deadline();
    }
    free_count = self_can ? 1 : count;
    for (unsigned i = 1; i < MODEL_THREADS; i++) {
        const struct thread *thread = &threads[i];

        if (thread->state == THREAD_BLOCKED && !can_go(thread)) {
            if (thread->deadline_ns != TOCSIN_NEVER_NS) {
                options[count++] = (struct option){i, MODEL_TIMEOUT};
            } else if (thread->for_nothing) {
                options[count++] = (struct option){i, MODEL_NO_REASON};
            }
        }
    }
    for (unsigned i = 0; i < count; i++) {
        who[i] = (uint8_t)(options[i].thread | (options[i].end != MODEL_READY ? MODEL_EARLY : 0));
    }
    chosen = model_choose(MODEL_SCHEDULE, count, free_count, who);
    return options[chosen];
}

static void go_on(bool self_can)
{
    struct option option = pick(self_can);
    struct thread *thread = &threads[option.thread];

    if (thread->state == THREAD_BLOCKED) {
        thread->state = THREAD_RUNS;
        thread->end = option.end;
        if (option.end == MODEL_TIMEOUT && thread->deadline_ns > now_ns) {
            now_ns = thread->deadline_ns;
        }
    }
    switch_to(option.thread);
}

static void count_step(void)
{
    if (++step > MODEL_STEPS_MAX) {
        model_error("the run does not come to an end");
    }
}

/* Note who touches @offset; is it shared by now? */
static bool learn(size_t offset, bool writes)
{
    bool was_shared = written[offset] && (touched_by[offset] & (touched_by[offset] - 1)) != 0;

    touched_by[offset] |= (uint8_t)(1U << self);
    written[offset] = written[offset] || writes;
    if (!was_shared && written[offset] && (touched_by[offset] & (touched_by[offset] - 1)) != 0) {
        model_learned = true;
        return true;
    }
    return was_shared;
}

void model_point(const void *object, bool writes)
{
    size_t offset;

    if (!concurrent) {
        return;
    }
    count_step();
    if (object == NULL || is_all_shared || !model_offset(object, &offset) ||
        learn(offset, writes)) {
        go_on(true);
    }
}

enum model_end model_block(model_ready_fn *is_ready, const void *object, uint64_t deadline_ns,
                           bool for_nothing, const char *what)
{
    struct thread *thread = &threads[self];

    if (is_ready(object)) {
        return MODEL_READY;
    }
    if (deadline_ns <= now_ns) {
        return MODEL_TIMEOUT;
    }
    if (!concurrent) {
        model_error("nothing can move: the only thread waits for %s", what);
    }
    count_step();
    thread->is_ready = is_ready;
    thread->object = object;
    thread->deadline_ns = deadline_ns;
    thread->for_nothing = for_nothing;
    thread->what = what;
    thread->state = THREAD_BLOCKED;
    go_on(false);
    return thread->end;
}

static void thread_main(void)
{
    threads[self].body(scene);
    threads[self].state = THREAD_ENDED;
    count_step();
    go_on(false);
    __builtin_unreachable();
}

static void start(unsigned i, model_scene_fn *body)
{
    struct thread *thread = &threads[i];

    thread->body = body;
    thread->state = THREAD_RUNS;
    memset(thread->locals, 0, sizeof(thread->locals));
    model_view_join(&thread->view, &threads[0].view);
    thread->view.clock[i] = 1;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = model_stack(i);
    thread->context.uc_stack.ss_size = MODEL_STACK_SIZE;
    thread->context.uc_link = NULL;
    makecontext(&thread->context, thread_main, 0);
}

static void reset(void)
{
    size_t size = (size_t)(__stop_model_locals - __start_model_locals);

    if (size > LOCALS_MAX) {
        model_error("the thread-local variables take %zu bytes", size);
    }
    memset(__start_model_locals, 0, size);
    self = 0;
    step = 0;
    concurrent = false;
    now_ns = MODEL_START_NS;
    for (unsigned i = 0; i < MODEL_THREADS; i++) {
        threads[i].state = THREAD_NONE;
        memset(threads[i].view.clock, 0, sizeof(threads[i].view.clock));
        threads[i].view.count = 0;
    }
    threads[0].view.clock[0] = 1;
    model_trace_reset();
    model_memory_reset();
    model_atomics_reset();
    model_os_reset();
    model_backend_reset();
}

const char *model_run(const struct model_scenario *scenario)
{
    bailed = false;
    getcontext(&bail);
    if (bailed) {
        concurrent = false;
        return message;
    }
    reset();
    scene = model_alloc(scenario->scene_size);
    memset(scene, 0, scenario->scene_size);
    if (scenario->set_up != NULL) {
        scenario->set_up(scene);
    }
    for (unsigned i = 0; i < MODEL_THREADS_MAX && scenario->threads[i] != NULL; i++) {
        start(i + 1, scenario->threads[i]);
    }
    concurrent = true;
    go_on(false);
    concurrent = false;
    for (unsigned i = 1; i < MODEL_THREADS; i++) {
        model_view_join(&threads[0].view, &threads[i].view);
    }
    if (scenario->check != NULL) {
        scenario->check(scene);
    }
    model_backend_check();
    model_free(scene);
    model_check_leaks();
    return NULL;
}
