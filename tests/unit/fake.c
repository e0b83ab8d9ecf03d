/*
 * The fake backend of the unit tests: see unit.h.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct unit_fake *fake_of(void *state)
{
    return *(struct unit_fake **)state;
}

static int be_fake_open(void *state, void *arg)
{
    struct unit_fake *fake = arg;

    *(struct unit_fake **)state = fake;
    return fake->open_result;
}

static void be_fake_close(void *state, enum tocsin_backend_close how)
{
    (void)how;
    fake_of(state)->closes++;
}

static uint64_t be_fake_now(void *state)
{
    struct unit_fake *fake = fake_of(state);

    return atomic_fetch_add_explicit(&fake->now_ns, fake->tick_ns, memory_order_relaxed);
}

/* Report what was put there; true if that, or a kick, would end a wait. */
static bool collect(struct unit_fake *fake, struct tocsin_backend_events *list)
{
    unsigned kicks = atomic_load_explicit(&fake->kicks, memory_order_relaxed);
    bool found = fake->events_count > 0 || kicks != fake->kicks_seen;

    for (unsigned i = 0; i < fake->events_count; i++) {
        tocsin_backend_report(list, fake->events[i].id, fake->events[i].events);
    }
    fake->events_count = 0;
    fake->kicks_seen = kicks;
    return found;
}

static int be_fake_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct unit_fake *fake = fake_of(state);

    fake->waits++;
    fake->waited_ns = deadline_ns;
    if (fake->on_wait != NULL) {
        fake->on_wait(fake, list);
    }
    if (fake->wait_result < 0 || collect(fake, list)) {
        return fake->wait_result;
    }
    UNIT_CHECK(deadline_ns != TOCSIN_NEVER_NS); /* nothing would end this sleep */
    if (atomic_load_explicit(&fake->now_ns, memory_order_relaxed) < deadline_ns) {
        atomic_store_explicit(&fake->now_ns, deadline_ns, memory_order_relaxed);
    }
    return 0;
}

static int be_fake_look(void *state, struct tocsin_backend_events *list)
{
    struct unit_fake *fake = fake_of(state);

    fake->looks++;
    if (fake->on_look != NULL) {
        fake->on_look(fake, list);
    }
    collect(fake, list);
    return fake->wait_result;
}

static void be_fake_kick(void *state)
{
    atomic_fetch_add_explicit(&fake_of(state)->kicks, 1, memory_order_relaxed);
}

static int be_fake_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct unit_fake *fake = fake_of(state);

    fake->attaches++;
    fake->attached_id = watch->id;
    return fake->attach_result;
}

static void be_fake_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    struct unit_fake *fake = fake_of(state);

    (void)watch;
    fake->arms++;
    fake->armed = events;
}

static int be_fake_detach(void *state, struct tocsin_backend_watch *watch)
{
    struct unit_fake *fake = fake_of(state);

    (void)watch;
    fake->detaches++;
    return fake->detach_result;
}

static intptr_t be_fake_poll_handle(void *state)
{
    (void)state;
    return 1000; /* no descriptor, but nobody asks */
}

static void be_fake_host(void *state, uint64_t deadline_ns)
{
    struct unit_fake *fake = fake_of(state);

    fake->hosts++;
    fake->hosted_ns = deadline_ns;
}

void unit_fake_init(struct unit_fake *fake, uint32_t features)
{
    memset(fake, 0, sizeof(*fake));
    atomic_init(&fake->now_ns, UINT64_C(1000000000));
    atomic_init(&fake->kicks, 0);
    fake->ops = (struct tocsin_backend_ops){
        .name = "fake",
        .version = TOCSIN_BACKEND_VERSION,
        .features = features,
        .state_size = sizeof(struct unit_fake *),
        .open = be_fake_open,
        .close = be_fake_close,
        .now = be_fake_now,
        .wait = be_fake_wait,
        .look = be_fake_look,
        .kick = be_fake_kick,
        .attach = be_fake_attach,
        .arm = (features & TOCSIN_BACKEND_EDGE) != 0 ? NULL : be_fake_arm,
        .detach = be_fake_detach,
        .poll_handle = be_fake_poll_handle,
        .host = be_fake_host,
    };
    fake->backend = (struct tocsin_backend){.ops = &fake->ops, .arg = fake};
}

void unit_fake_event(struct unit_fake *fake, uint64_t id, uint32_t events)
{
    UNIT_CHECK(fake->events_count < UNIT_FAKE_EVENTS);
    fake->events[fake->events_count++] = (struct tocsin_backend_event){.id = id, .events = events};
}

int unit_number(int number)
{
    if (fcntl(number, F_GETFD) < 0) {
        UNIT_CHECK(dup2(STDERR_FILENO, number) == number);
    }
    return number;
}

struct tocsin_pool *unit_fake_pool(struct unit_fake *fake,
                                   const struct tocsin_pool_options *options)
{
    struct tocsin_pool *pool = NULL;

    UNIT_CHECK(tocsin_pool_open(&pool, &fake->backend, options) == 0);
    return pool;
}
