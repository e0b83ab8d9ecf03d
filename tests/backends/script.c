/*
 * script: a backend without descriptors.  Its events and its time come from a table.
 *
 * Time is virtual: a wait that finds nothing moves the clock to the next thing that is to happen,
 * which is the wait's own deadline or a row of the script, and no wait ever takes real time for
 * that.  Only a wait with neither blocks, until some thread kicks or raises something.  So a wait
 * may be over before another thread has done anything: a test that needs the pool asleep while
 * others act asks for it at the wait itself (the conformance suite's CONFORM_BEFORE_WAIT), or gives
 * it no deadline.  Each reading of the clock takes CLOCK_STEP_NS, so that loops that spin until a
 * time end; a computation that is to take time says so with script_time_pass().
 *
 * Watches are one-shot and level-triggered: a watch reports when it is armed and something wanted
 * is true, and is then disarmed; unlike poll2, it attaches from any thread.
 *
 * Invariants
 *   S1  The clock never goes back, and a wait ends at its deadline or later by the clock.
 *   S2  A row of the script happens once, when the clock has reached it, rows of one time in the
 *       order in which they were written.
 *   S3  A kick ends the wait that is under way or else the next one.
 *   S4  A scan begins where the last one ended, so none starves behind a list's worth of busy ones.
 */
#include "script.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "backends.h"

#include "../conformance/face.h"

enum {
    SOURCES_MAX = 512,
    ROWS_MAX = 1024,
    CLOCK_STEP_NS = 50, /* what reading the clock takes; near enough to the real thing */
};

#define CLOCK_START_NS UINT64_C(1000000000)

struct script_state {
    bool kicked;        /* guarded by world.lock */
    uint32_t scan_next; /* guarded by world.lock; S4 */
};

struct source {
    uint32_t generation; /* of the number: how often it was created */
    uint32_t events;     /* what is true of it */
    uint32_t wanted;     /* what its watch is armed for; 0: disarmed */
    bool open;
    struct tocsin_backend_watch *watch; /* or NULL */
    struct script_state *state;         /* whose watch that is */
};

struct row {
    uint64_t deadline_ns;
    uint64_t order;
    intptr_t number;
    uint32_t generation;
    uint32_t events;
};

static struct {
    pthread_mutex_t lock; /* guards all that follows but the clock; leaf */
    pthread_cond_t changed;
    /* Nanoseconds; publishes nothing. */
    _Atomic(uint64_t) now_ns;
    struct source sources[SOURCES_MAX];
    struct row rows[ROWS_MAX]; /* not sorted */
    uint32_t rows_count;
    uint64_t rows_order;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .changed = PTHREAD_COND_INITIALIZER,
           .now_ns = CLOCK_START_NS};

static struct source *source_at(intptr_t number)
{
    if (number < 0 || number >= SOURCES_MAX || !world.sources[number].open) {
        return NULL;
    }
    return &world.sources[number];
}

/* ---- The script ------------------------------------------------------------------------------ */

uint64_t script_now_ns(void)
{
    return atomic_load_explicit(&world.now_ns, memory_order_relaxed);
}

/* The index of the row that happens next, or rows_count. */
static uint32_t next_row_locked(void)
{
    uint32_t next = 0;

    for (uint32_t i = 1; i < world.rows_count; i++) {
        const struct row *row = &world.rows[i];
        const struct row *best = &world.rows[next];

        if (row->deadline_ns < best->deadline_ns ||
            (row->deadline_ns == best->deadline_ns && row->order < best->order)) {
            next = i;
        }
    }
    return next;
}

/* S1, S2: the clock is @now_ns or later, and what was written up to there has happened. */
static void reach_locked(uint64_t now_ns)
{
    uint64_t old = script_now_ns();

    while (old < now_ns &&
           !atomic_compare_exchange_weak_explicit(&world.now_ns, &old, now_ns, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    now_ns = script_now_ns();
    for (;;) {
        uint32_t next = next_row_locked();
        struct row row;

        if (next == world.rows_count || world.rows[next].deadline_ns > now_ns) {
            return;
        }
        row = world.rows[next];
        world.rows[next] = world.rows[--world.rows_count];
        if (source_at(row.number) != NULL &&
            world.sources[row.number].generation == row.generation) {
            world.sources[row.number].events |= row.events;
            pthread_cond_broadcast(&world.changed);
        }
    }
}

intptr_t script_source_create(void)
{
    intptr_t number = 0;

    pthread_mutex_lock(&world.lock);
    while (number < SOURCES_MAX && world.sources[number].open) {
        number++;
    }
    if (number < SOURCES_MAX) {
        uint32_t generation = world.sources[number].generation + 1;

        memset(&world.sources[number], 0, sizeof(world.sources[number]));
        world.sources[number].generation = generation;
        world.sources[number].open = true;
    }
    pthread_mutex_unlock(&world.lock);
    return number < SOURCES_MAX ? number : -EMFILE;
}

void script_source_destroy(intptr_t number)
{
    pthread_mutex_lock(&world.lock);
    if (source_at(number) != NULL) {
        world.sources[number].open = false;
        world.sources[number].watch = NULL;
    }
    pthread_mutex_unlock(&world.lock);
}

void script_source_raise(intptr_t number, uint32_t events)
{
    pthread_mutex_lock(&world.lock);
    if (source_at(number) != NULL) {
        world.sources[number].events |= events;
        pthread_cond_broadcast(&world.changed);
    }
    pthread_mutex_unlock(&world.lock);
}

uint32_t script_source_lower(intptr_t number, uint32_t events)
{
    uint32_t were = 0;

    pthread_mutex_lock(&world.lock);
    if (source_at(number) != NULL) {
        were = world.sources[number].events & events;
        world.sources[number].events &= ~events;
    }
    pthread_mutex_unlock(&world.lock);
    return were;
}

int script_raise_at(uint64_t deadline_ns, intptr_t number, uint32_t events)
{
    int r = -ENOSPC;

    pthread_mutex_lock(&world.lock);
    if (source_at(number) == NULL) {
        r = -EBADF;
    } else if (world.rows_count < ROWS_MAX) {
        struct row *row = &world.rows[world.rows_count++];

        row->deadline_ns = deadline_ns;
        row->order = world.rows_order++;
        row->number = number;
        row->generation = world.sources[number].generation;
        row->events = events;
        /* A wait that blocks for want of anything to come has something now. */
        pthread_cond_broadcast(&world.changed);
        r = 0;
    }
    pthread_mutex_unlock(&world.lock);
    return r;
}

void script_time_pass(uint64_t delay_ns)
{
    pthread_mutex_lock(&world.lock);
    reach_locked(script_now_ns() + delay_ns);
    pthread_mutex_unlock(&world.lock);
}

/* ---- The backend ----------------------------------------------------------------------------- */

static int be_script_open(void *state, void *arg)
{
    (void)state;
    (void)arg;
    return 0;
}

static void be_script_close(void *state, enum tocsin_backend_close how)
{
    (void)how;
    pthread_mutex_lock(&world.lock);
    for (int i = 0; i < SOURCES_MAX; i++) {
        if (world.sources[i].state == state) {
            world.sources[i].watch = NULL;
        }
    }
    pthread_mutex_unlock(&world.lock);
}

static uint64_t be_script_now(void *state)
{
    (void)state;
    return atomic_fetch_add_explicit(&world.now_ns, CLOCK_STEP_NS, memory_order_relaxed) +
           CLOCK_STEP_NS;
}

/* Report what is armed and true, and disarm it.  True if there was something. */
static bool report_locked(struct script_state *script, struct tocsin_backend_events *list)
{
    for (uint32_t i = 0; i < SOURCES_MAX && list->count < list->capacity; i++) {
        struct source *source = &world.sources[script->scan_next];

        script->scan_next = (script->scan_next + 1) % SOURCES_MAX;
        if (source->open && source->watch != NULL && source->state == script &&
            (source->events & source->wanted) != 0) {
            tocsin_backend_report(list, source->watch->id, source->events & source->wanted);
            source->wanted = 0;
        }
    }
    return list->count > 0;
}

static int be_script_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct script_state *script = state;

    pthread_mutex_lock(&world.lock);
    for (;;) {
        uint64_t next_ns = deadline_ns;
        uint32_t row;

        reach_locked(0);
        if (report_locked(script, list) || script->kicked || script_now_ns() >= deadline_ns) {
            break;
        }
        row = next_row_locked();
        if (row < world.rows_count && world.rows[row].deadline_ns < next_ns) {
            next_ns = world.rows[row].deadline_ns;
        }
        if (next_ns == TOCSIN_NEVER_NS) {
            pthread_cond_wait(&world.changed, &world.lock);
        } else {
            reach_locked(next_ns);
        }
    }
    script->kicked = false;
    pthread_mutex_unlock(&world.lock);
    return 0;
}

static int be_script_look(void *state, struct tocsin_backend_events *list)
{
    struct script_state *script = state;

    pthread_mutex_lock(&world.lock);
    reach_locked(0);
    (void)report_locked(script, list);
    script->kicked = false;
    pthread_mutex_unlock(&world.lock);
    return 0;
}

static void be_script_kick(void *state)
{
    struct script_state *script = state;

    pthread_mutex_lock(&world.lock);
    script->kicked = true;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static int be_script_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct source *source;
    int r = 0;

    pthread_mutex_lock(&world.lock);
    source = source_at(watch->number);
    if (source == NULL) {
        r = -EBADF;
    } else if (source->watch != NULL) {
        r = -EEXIST;
    } else {
        source->watch = watch;
        source->state = state;
        source->wanted = 0;
        watch->data = (void *)(uintptr_t)source->generation;
    }
    pthread_mutex_unlock(&world.lock);
    return r;
}

static void be_script_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    struct source *source;

    (void)state;
    pthread_mutex_lock(&world.lock);
    source = source_at(watch->number);
    if (source != NULL && source->watch == watch) {
        source->wanted = events == 0 ? 0 : events | TOCSIN_ERR | TOCSIN_HUP;
    }
    pthread_mutex_unlock(&world.lock);
}

static int be_script_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct source *source;
    int r = 0;

    (void)state;
    pthread_mutex_lock(&world.lock);
    source = source_at(watch->number);
    if (source == NULL) {
        r = -EBADF;
    } else if ((uintptr_t)watch->data != source->generation) {
        r = -ENOENT;
    } else if (source->watch == watch) {
        source->watch = NULL;
    }
    pthread_mutex_unlock(&world.lock);
    return r;
}

static const struct tocsin_backend_ops script_ops = {
    .name = "script",
    .version = TOCSIN_BACKEND_VERSION,
    .features = TOCSIN_BACKEND_ANY_THREAD_ATTACH | TOCSIN_BACKEND_EXACT_EVENTS |
                TOCSIN_BACKEND_FINE_DEADLINE | TOCSIN_BACKEND_FOREIGN_THREADS |
                TOCSIN_BACKEND_OWN_SOURCES,
    .state_size = sizeof(struct script_state),
    .open = be_script_open,
    .close = be_script_close,
    .now = be_script_now,
    .wait = be_script_wait,
    .look = be_script_look,
    .kick = be_script_kick,
    .attach = be_script_attach,
    .arm = be_script_arm,
    .detach = be_script_detach,
};

const struct tocsin_backend *script_backend(void)
{
    static const struct tocsin_backend script = {.ops = &script_ops};

    return &script;
}

/* ---- The face -------------------------------------------------------------------------------- */

static void face_signal(intptr_t number)
{
    script_source_raise(number, TOCSIN_IN);
}

static bool face_take(intptr_t number)
{
    return script_source_lower(number, TOCSIN_IN) != 0;
}

const struct tocsin_conform_face *script_face(void)
{
    static const struct tocsin_conform_face face = {
        .source_create = script_source_create,
        .source_signal = face_signal,
        .source_take = face_take,
        .source_destroy = script_source_destroy,
        .time_pass = script_time_pass,
    };

    return &face;
}
