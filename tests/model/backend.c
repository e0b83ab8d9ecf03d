/*
 * The pool's backend within the explorer: sources that scenarios report events of, a clock that
 * moves when nothing else can, and a kick.
 *
 * It is as weak as the contract (tocsin/backend.h) allows: a kick orders nothing, a wait may end
 * for no reason, and an event that was there when its watch was detached is reported all the same.
 *
 * W1 is checked for every scenario: there were no more kicks than sleeps.
 */
#include <errno.h>
#include <string.h>

#include "tests/model/engine.h"

enum {
    WATCHES_MAX = 16,
    NUMBERS_MAX = 8,
};

struct watch {
    uint64_t id;
    intptr_t number;
    uint32_t pending; /* events that were not reported yet */
    uint32_t armed;   /* without EDGE: what may be reported, once */
    bool detached;
};

static struct {
    struct tocsin_backend_ops ops;
    struct tocsin_backend backend;
    struct model_hooks hooks;
    bool open;
    bool kicked;
    bool hosted;
    unsigned kicks;
    unsigned sleeps;
    uint64_t host_ns;
    struct watch watches[WATCHES_MAX];
    size_t watches_count;
    uint32_t happened[NUMBERS_MAX]; /* events of each number: what is there at an attach */
} kernel;

static bool is_edge(void)
{
    return (kernel.ops.features & TOCSIN_BACKEND_EDGE) != 0;
}

static uint32_t reportable(const struct watch *watch)
{
    if (is_edge()) {
        return watch->pending;
    }
    return watch->armed == 0 || watch->detached
               ? 0
               : watch->pending & (watch->armed | TOCSIN_ERR | TOCSIN_HUP);
}

static bool has_something(const void *object)
{
    (void)object;
    for (size_t i = 0; i < kernel.watches_count; i++) {
        if (reportable(&kernel.watches[i]) != 0) {
            return true;
        }
    }
    return kernel.kicked;
}

static void collect(struct tocsin_backend_events *list)
{
    kernel.kicked = false;
    for (size_t i = 0; i < kernel.watches_count; i++) {
        struct watch *watch = &kernel.watches[i];
        uint32_t events = reportable(watch);

        if (events != 0) {
            tocsin_backend_report(list, watch->id, events);
            watch->pending &= ~events;
            watch->armed = 0;
            model_trace(NULL, "reports %#x of %td", events, watch->number);
        }
    }
}

static int be_model_open(void *state, void *arg)
{
    (void)state;
    (void)arg;
    kernel.open = true;
    return 0;
}

static void be_model_close(void *state, enum tocsin_backend_close how)
{
    (void)state;
    (void)how;
    model_trace(NULL, "close");
    kernel.open = false;
}

static uint64_t be_model_now(void *state)
{
    (void)state;
    return model_now_ns();
}

static void sleep_until(uint64_t deadline_ns)
{
    enum model_end end;

    kernel.sleeps++;
    model_point(NULL, true);
    model_trace(NULL, "waits until %llu", (unsigned long long)deadline_ns);
    end = model_block(has_something, NULL, deadline_ns, true, "a kick or an event");
    model_trace(NULL, "%s",
                end == MODEL_READY     ? "the wait ends"
                : end == MODEL_TIMEOUT ? "the wait ends at its deadline"
                                       : "the wait ends for no reason");
}

static int be_model_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    (void)state;
    sleep_until(deadline_ns);
    collect(list);
    return 0;
}

void model_wait(uint64_t deadline_ns)
{
    sleep_until(deadline_ns);
    kernel.kicked = false;
}

static int be_model_look(void *state, struct tocsin_backend_events *list)
{
    (void)state;
    model_point(NULL, true);
    model_trace(NULL, "look");
    collect(list);
    return 0;
}

void model_kick(void)
{
    model_point(NULL, true);
    model_trace(NULL, "kick");
    kernel.kicked = true;
    kernel.kicks++;
}

static void be_model_kick(void *state)
{
    (void)state;
    model_kick();
    if (!kernel.open) {
        model_error("a kick after the backend was closed");
    }
}

static struct watch *find(uint64_t id)
{
    for (size_t i = 0; i < kernel.watches_count; i++) {
        if (kernel.watches[i].id == id) {
            return &kernel.watches[i];
        }
    }
    model_error("a watch that was never attached");
}

static int be_model_attach(void *state, struct tocsin_backend_watch *watch)
{
    (void)state;
    model_point(NULL, true);
    if (kernel.watches_count == WATCHES_MAX) {
        model_error("too many watches");
    }
    kernel.watches[kernel.watches_count++] = (struct watch){
        .id = watch->id,
        .number = watch->number,
        .pending = kernel.happened[watch->number],
    };
    model_trace(NULL, "attach %td", watch->number);
    return 0;
}

static void be_model_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    (void)state;
    model_point(NULL, true);
    find(watch->id)->armed = events;
}

static int be_model_detach(void *state, struct tocsin_backend_watch *watch)
{
    (void)state;
    model_point(NULL, true);
    model_trace(NULL, "detach %td", watch->number);
    if (!kernel.open || find(watch->id)->detached) {
        model_error("what is detached is not attached");
    }
    find(watch->id)->detached = true;
    return 0;
}

static intptr_t be_model_poll_handle(void *state)
{
    (void)state;
    kernel.hosted = true;
    return 0;
}

static void be_model_host(void *state, uint64_t deadline_ns)
{
    (void)state;
    kernel.host_ns = deadline_ns;
}

static uint64_t be_model_prepare(void *state, uint64_t deadline_ns)
{
    (void)state;
    return kernel.hooks.prepare(kernel.hooks.arg, deadline_ns);
}

static void be_model_harvest(void *state)
{
    (void)state;
    kernel.hooks.harvest(kernel.hooks.arg);
}

void model_event(intptr_t number, uint32_t events)
{
    model_point(NULL, true);
    model_trace(NULL, "event %#x of %td", events, number);
    kernel.happened[number] |= events;
    for (size_t i = 0; i < kernel.watches_count; i++) {
        if (kernel.watches[i].number == number && !kernel.watches[i].detached) {
            kernel.watches[i].pending |= events;
        }
    }
}

void model_await_readable(void)
{
    model_point(NULL, true);
    model_block(has_something, NULL, kernel.host_ns, true, "the pool's descriptor");
    model_trace(NULL, "the descriptor is readable");
}

void model_backend_reset(void)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.host_ns = TOCSIN_NEVER_NS;
}

void model_backend_check(void)
{
    /* A hosted pool kicks itself, too, where work remains. */
    if (!kernel.hosted && kernel.kicks > kernel.sleeps) {
        model_error("W1: %u kicks for %u sleeps", kernel.kicks, kernel.sleeps);
    }
}

const struct tocsin_backend *tocsin_backend_default(void)
{
    return &kernel.backend;
}

static void *alloc_watched(void *context, size_t size)
{
    (void)context;
    return model_alloc(size);
}

static void free_watched(void *context, void *pointer)
{
    (void)context;
    model_free(pointer);
}

struct tocsin_pool *model_pool_open_hooked(uint32_t features, const struct model_hooks *hooks)
{
    static const struct tocsin_allocator allocator = {alloc_watched, free_watched, NULL};
    struct tocsin_pool_options options = {.allocator = &allocator};
    struct tocsin_pool *pool;
    int r;

    kernel.ops = (struct tocsin_backend_ops){
        .name = "model",
        .version = TOCSIN_BACKEND_VERSION,
        .features = features | TOCSIN_BACKEND_OWN_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS |
                    TOCSIN_BACKEND_POLL_HANDLE,
        .state_size = 1,
        .open = be_model_open,
        .close = be_model_close,
        .now = be_model_now,
        .wait = be_model_wait,
        .look = be_model_look,
        .kick = be_model_kick,
        .attach = be_model_attach,
        .arm = (features & TOCSIN_BACKEND_EDGE) != 0 ? NULL : be_model_arm,
        .detach = be_model_detach,
        .poll_handle = be_model_poll_handle,
        .host = be_model_host,
    };
    if (hooks != NULL) {
        kernel.hooks = *hooks;
        kernel.ops.prepare = be_model_prepare;
        kernel.ops.harvest = be_model_harvest;
    }
    kernel.backend.ops = &kernel.ops;
    r = tocsin_pool_open(&pool, &kernel.backend, &options);
    if (r < 0) {
        model_error("the pool does not open: %d", r);
    }
    return pool;
}

struct tocsin_pool *model_pool_open(uint32_t features)
{
    return model_pool_open_hooked(features, NULL);
}
