/*
 * Deferred deletes, D4: user code, which the walk over a batch must not meet.
 */
#include "item.h"

/* A waker that drops the other of two items when it is woken, if that is still there. */
struct rival {
    struct conform *t;
    struct item item;
    struct rival *other;
    atomic_int references;
    unsigned wakes;
};

static void rival_clone(void *data)
{
    atomic_fetch_add_explicit(&((struct rival *)data)->references, 1, memory_order_relaxed);
}

static void rival_drop(void *data)
{
    atomic_fetch_sub_explicit(&((struct rival *)data)->references, 1, memory_order_relaxed);
}

static void rival_wake_by_ref(void *data)
{
    struct rival *rival = data;

    rival->wakes++;
    if (rival->other->item.ready != NULL) {
        item_drop(rival->t, &rival->other->item);
    }
}

static void rival_wake(void *data)
{
    rival_wake_by_ref(data);
    rival_drop(data);
}

static void rivals_open(struct conform *t, struct tocsin_pool *pool, struct rival rivals[2])
{
    static const struct tocsin_waker_ops ops = {rival_clone, rival_wake, rival_wake_by_ref,
                                                rival_drop};

    for (int i = 0; i < 2; i++) {
        struct tocsin_context cx = {.waker = {&ops, &rivals[i]}};

        item_open(t, pool, &rivals[i].item);
        rivals[i].t = t;
        rivals[i].other = &rivals[1 - i];
        rivals[i].wakes = 0;
        atomic_init(&rivals[i].references, 0);
        CHECK_EQ(t, tocsin_fd_ready_poll(rivals[i].item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                 TOCSIN_PENDING);
        CHECK_EQ(t, probe_references(&rivals[i].item.probe), 0);
    }
    probe_turns(t, pool);
}

static void rivals_check(struct conform *t, struct tocsin_pool *pool, struct rival rivals[2])
{
    /* The waker of the one that was dropped was collected already, and may have been woken too. */
    CHECK(t, rivals[0].item.ready == NULL || rivals[1].item.ready == NULL);
    for (int i = 0; i < 2; i++) {
        if (rivals[i].item.ready != NULL) {
            CHECK_EQ(t, rivals[i].wakes, 1);
            item_drop(t, &rivals[i].item);
        }
        CHECK(t, rivals[i].wakes <= 1);
        probe_turns(t, pool);
        CHECK_EQ(t, atomic_load_explicit(&rivals[i].references, memory_order_relaxed), 0);
        conform_source_close(t, &rivals[i].item.source);
    }
    conform_pool_close(t, pool);
}

static void hook_wants_both(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                            struct tocsin_backend_events *list, void *arg)
{
    (void)deadline_ns;
    if (moment == CONFORM_BEFORE_WAIT) {
        item_signal(t, &((struct rival *)arg)[0].item);
        item_signal(t, &((struct rival *)arg)[1].item);
    } else if (list->count > 0) {
        CHECK_EQ(t, list->count, 2);
        tocsin_pool_stop(((struct rival *)arg)->item.pool);
        t->hook = NULL;
    }
}

static void drop_of_a_later_event_in_a_look(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct rival rivals[2];

    rivals_open(t, pool, rivals);
    item_signal(t, &rivals[0].item);
    item_signal(t, &rivals[1].item);
    t->hook = hook_wants_both;
    t->hook_arg = rivals;
    probe_turns(t, pool);
    CHECK(t, t->hook == NULL);
    rivals_check(t, pool, rivals);
}

static void drop_of_a_later_event_in_a_wait(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct rival rivals[2];

    rivals_open(t, pool, rivals);
    t->hook = hook_wants_both;
    t->hook_arg = rivals;
    tocsin_driver_ref(tocsin_pool_driver(pool));
    CHECK_EQ(t, tocsin_pool_run(pool), 1);
    tocsin_driver_unref(tocsin_pool_driver(pool));
    CHECK_EQ(t, conform_read(&t->counts.waits), 1);
    rivals_check(t, pool, rivals);
}

/*
 * A waker whose operations look at the other of two items: whatever the order in the batch, the
 * whole of it has been walked when user code runs.
 */
struct onlooker {
    struct conform *t;
    struct item item;
    struct onlooker *other;
    bool armed; /* look from now on */
    unsigned looks;
    uint64_t id;
    atomic_int references;
};

static void onlooker_looks(struct onlooker *onlooker)
{
    struct onlooker *other = onlooker->other;

    if (onlooker->armed) {
        onlooker->armed = false;
        onlooker->looks++;
        CHECK_EQ(onlooker->t,
                 probe_poll(other->item.pool, other->item.ready, TOCSIN_SLOT_WRITE, TOCSIN_IN,
                            &other->item.probe),
                 TOCSIN_IN);
    }
}

static void onlooker_clone(void *data)
{
    atomic_fetch_add_explicit(&((struct onlooker *)data)->references, 1, memory_order_relaxed);
}

static void onlooker_drop(void *data)
{
    onlooker_looks(data);
    atomic_fetch_sub_explicit(&((struct onlooker *)data)->references, 1, memory_order_relaxed);
}

static void onlooker_wake_by_ref(void *data)
{
    onlooker_looks(data);
}

static void onlookers_open(struct conform *t, struct tocsin_pool *pool, struct onlooker two[2])
{
    static const struct tocsin_waker_ops ops = {onlooker_clone, onlooker_drop, onlooker_wake_by_ref,
                                                onlooker_drop};

    for (int i = 0; i < 2; i++) {
        struct tocsin_context cx = {.waker = {&ops, &two[i]}};

        two[i] = (struct onlooker){.t = t, .other = &two[1 - i]};
        item_open(t, pool, &two[i].item);
        two[i].id = atomic_load_explicit(&t->attached_id, memory_order_relaxed);
        CHECK_EQ(t, tocsin_fd_ready_poll(two[i].item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                 TOCSIN_PENDING);
    }
    probe_turns(t, pool);
}

static void onlookers_close(struct conform *t, struct tocsin_pool *pool, struct onlooker two[2])
{
    for (int i = 0; i < 2; i++) {
        if (two[i].item.ready != NULL) {
            item_drop(t, &two[i].item);
        }
        probe_turns(t, pool);
        CHECK_EQ(t, atomic_load_explicit(&two[i].references, memory_order_relaxed), 0);
        conform_source_close(t, &two[i].item.source);
    }
    conform_pool_close(t, pool);
}

static void wakers_are_woken_after_the_walk(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct onlooker two[2];

    onlookers_open(t, pool, two);
    for (int i = 0; i < 2; i++) {
        two[i].armed = true;
        item_signal(t, &two[i].item);
    }
    probe_turns(t, pool);
    CHECK_EQ(t, two[0].looks, 1);
    CHECK_EQ(t, two[1].looks, 1);
    onlookers_close(t, pool, two);
}

/* Drops the first item on another thread when the batch holds both events, its own in front. */
static void hook_drops_the_first(struct conform *t, enum conform_moment moment,
                                 uint64_t deadline_ns, struct tocsin_backend_events *list,
                                 void *arg)
{
    struct onlooker *two = arg;
    struct tocsin_backend_event first;

    (void)deadline_ns;
    if (moment == CONFORM_AFTER_LOOK && list->count == 2) {
        if (list->events[0].id == two[1].id) {
            first = list->events[0];
            list->events[0] = list->events[1];
            list->events[1] = first;
        }
        t->hook = NULL;
        two[0].armed = true;
        conform_elsewhere(t, item_drop, &two[0].item);
        CHECK_EQ(t, two[0].looks, 0);
    }
}

static void waker_of_what_was_dropped_goes_after_the_walk(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct onlooker two[2];

    onlookers_open(t, pool, two);
    item_signal(t, &two[0].item);
    item_signal(t, &two[1].item);
    t->hook = hook_drops_the_first;
    t->hook_arg = two;
    probe_turns(t, pool);
    CHECK(t, t->hook == NULL);
    CHECK_EQ(t, two[0].looks, 1);
    onlookers_close(t, pool, two);
}

/* A waker all of whose operations call back: none is made with a lock held. */
struct caller {
    struct conform *t;
    struct tocsin_driver *driver;
    struct conform_source source;
    unsigned calls;
};

static void caller_calls(void *data)
{
    struct caller *caller = data;
    struct conform *t = caller->t;
    struct tocsin_fd_ready *ready;

    caller->calls++;
    CHECK(t, tocsin_task_list(caller->driver, NULL, 0) >= 0);
    REQUIRE(t, conform_source_watch(caller->driver, &caller->source, &ready) == 0);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
}

static void no_waker_operation_is_under_a_lock(struct conform *t)
{
    static const struct tocsin_waker_ops ops = {caller_calls, caller_calls, caller_calls,
                                                caller_calls};
    struct tocsin_pool *pool = conform_pool(t);
    struct caller caller = {.t = t, .driver = tocsin_pool_driver(pool)};
    struct tocsin_context cx = {.waker = {&ops, &caller}};
    struct item item;

    conform_source_open(t, &caller.source);
    item_open(t, pool, &item);
    /* Clone; drop, when the probe takes its place; clone again. */
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(t, tocsin_fd_ready_poll(item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                 TOCSIN_PENDING);
        if (i == 0) {
            CHECK_EQ(t, probe_poll(pool, item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &item.probe),
                     TOCSIN_PENDING);
        }
    }
    CHECK_EQ(t, caller.calls, 3);
    /* Wake. */
    probe_turns(t, pool);
    conform_source_signal(&item.source);
    probe_turns(t, pool);
    CHECK_EQ(t, caller.calls, 4);
    /* Clone, and drop by the close. */
    conform_source_take(&item.source);
    tocsin_fd_ready_clear(item.ready, TOCSIN_SLOT_READ);
    if (tocsin_fd_ready_poll(item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx) != TOCSIN_PENDING) {
        tocsin_fd_ready_clear(item.ready, TOCSIN_SLOT_READ);
        CHECK_EQ(t, tocsin_fd_ready_poll(item.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx),
                 TOCSIN_PENDING);
    }
    CHECK_EQ(t, caller.calls, 5);
    item_drop(t, &item);
    probe_turns(t, pool);
    CHECK_EQ(t, caller.calls, 6);
    conform_source_close(t, &item.source);
    conform_source_close(t, &caller.source);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    walk,
    CASE(drop_of_a_later_event_in_a_look, "D4",
         "Of two events in a look, the waker of one drops the other's object.", CONFORM_SOURCES),
    CASE(drop_of_a_later_event_in_a_wait, "D4",
         "Of two events in a wait, the waker of one drops the other's object.", CONFORM_SOURCES),
    CASE(wakers_are_woken_after_the_walk, "D4",
         "Whichever of two wakers is woken first sees the other's event.", CONFORM_SOURCES),
    CASE(waker_of_what_was_dropped_goes_after_the_walk, "D4",
         "The waker of an object that was dropped elsewhere is dropped after the walk.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(no_waker_operation_is_under_a_lock, "D4",
         "Clone, wake and drop of a slot's waker may open and close other objects.",
         CONFORM_SOURCES));
