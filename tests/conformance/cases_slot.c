/*
 * vpoll slots: readiness that a program makes up, in a pool, with no descriptor.
 *
 *   V1  Each ctl that leaves an event true is an edge, whatever it changed; ctls before the pool
 *       looks are one, and what was set and taken back before that is not seen.
 *   V2  No backend is asked: a ctl on the pool's thread makes no kick, one from elsewhere one kick
 *       if the pool sleeps.
 *   V3  An object over a slot is as any other: it is told what is true at its opening, hears
 *       nothing after its close, and either may be closed first.
 */
#include "probe.h"

enum {
    THREADS = TOCSIN_BACKEND_FOREIGN_THREADS,
};

/* A slot with one object over it. */
struct lamp {
    struct conform *t;
    struct tocsin_pool *pool;
    struct tocsin_vpoll_slot *slot;
    struct tocsin_fd_ready *ready;
    struct probe probe;
};

static void lamp_open(struct conform *t, struct tocsin_pool *pool, struct lamp *lamp,
                      uint32_t events)
{
    struct tocsin_driver *driver = tocsin_pool_driver(pool);

    *lamp = (struct lamp){.t = t, .pool = pool};
    REQUIRE(t, tocsin_vpoll_slot_open(driver, events, &lamp->slot) == 0);
    REQUIRE(t, tocsin_vpoll_slot_ready_open(driver, lamp->slot, &lamp->ready) == 0);
}

static void lamp_close(struct lamp *lamp)
{
    CHECK_EQ(lamp->t, tocsin_fd_ready_close(lamp->ready), 0);
    CHECK_EQ(lamp->t, tocsin_vpoll_slot_close(lamp->slot), 0);
}

static void close_and_unref(struct conform *t, void *arg)
{
    struct lamp *lamp = arg;

    (void)t;
    lamp_close(lamp);
    tocsin_driver_unref(tocsin_pool_driver(lamp->pool));
}

static void ctl(struct lamp *lamp, enum tocsin_vpoll_op op, uint32_t events)
{
    CHECK_EQ(lamp->t, tocsin_vpoll_slot_ctl(lamp->slot, op, events), 0);
}

/* What the read slot hears of what was done since the last call; 0: nothing. */
static int heard(struct lamp *lamp)
{
    int seen;

    tocsin_fd_ready_clear(lamp->ready, TOCSIN_SLOT_READ);
    seen = probe_poll(lamp->pool, lamp->ready, TOCSIN_SLOT_READ, TOCSIN_EVENTS_ALL, &lamp->probe);
    if (seen == TOCSIN_PENDING) {
        probe_turns(lamp->t, lamp->pool);
        seen =
            probe_poll(lamp->pool, lamp->ready, TOCSIN_SLOT_READ, TOCSIN_EVENTS_ALL, &lamp->probe);
    }
    return seen == TOCSIN_PENDING ? 0 : seen;
}

/* ---- V1 -------------------------------------------------------------------------------------- */

static void slot_is_heard_for_each_ctl(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    CHECK_EQ(t, heard(&lamp), 0);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN | TOCSIN_VPOLL_PRI);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN | TOCSIN_PRI);
    CHECK_EQ(t, heard(&lamp), 0);
    ctl(&lamp, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_PRI);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN);
    ctl(&lamp, TOCSIN_VPOLL_ADD, 0);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN);
    ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, heard(&lamp), TOCSIN_OUT);
    ctl(&lamp, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, heard(&lamp), 0);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

static void ctls_before_the_turn_are_one_edge(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe probe = {0};
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    CHECK_EQ(t, probe_poll(pool, lamp.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    for (int i = 0; i < 10; i++) {
        ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
        ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN | TOCSIN_VPOLL_HUP);
    }
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN | TOCSIN_HUP);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

static void what_was_taken_back_is_not_seen(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN | TOCSIN_VPOLL_HUP);
    ctl(&lamp, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_IN | TOCSIN_VPOLL_HUP);
    CHECK_EQ(t, heard(&lamp), 0);
    ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN);
    ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, heard(&lamp), TOCSIN_OUT);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

static void slot_tells_each_mask_exactly(struct conform *t)
{
    static const uint32_t pairs[][2] = {
        {TOCSIN_VPOLL_IN, TOCSIN_IN},   {TOCSIN_VPOLL_OUT, TOCSIN_OUT},
        {TOCSIN_VPOLL_ERR, TOCSIN_ERR}, {TOCSIN_VPOLL_HUP, TOCSIN_HUP},
        {TOCSIN_VPOLL_PRI, TOCSIN_PRI}, {TOCSIN_VPOLL_RDHUP, TOCSIN_RDHUP},
    };
    struct tocsin_pool *pool = conform_pool(t);
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    for (uint32_t mask = 1; mask < 1u << 6; mask++) {
        uint32_t events = 0;
        uint32_t wanted = 0;

        for (uint32_t i = 0; i < 6; i++) {
            events |= (mask >> i & 1) != 0 ? pairs[i][0] : 0;
            wanted |= (mask >> i & 1) != 0 ? pairs[i][1] : 0;
        }
        ctl(&lamp, TOCSIN_VPOLL_SET, events);
        CHECK_EQ(t, tocsin_vpoll_slot_events(lamp.slot), events);
        CHECK_EQ(t, heard(&lamp), wanted);
    }
    /* A pool's six events are all that it knows. */
    ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_RDNORM | TOCSIN_VPOLL_WRBAND | TOCSIN_VPOLL_MSG);
    CHECK_EQ(t, heard(&lamp), 0);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

/* ---- V2 -------------------------------------------------------------------------------------- */

static int poll_lamp(struct tocsin_context *cx, void *arg)
{
    struct lamp *lamp = arg;

    return tocsin_fd_ready_poll(lamp->ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);
}

static int light_it(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    ctl(task->arg, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    return 0;
}

static void ctl_on_the_pools_thread_asks_nobody(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task lighter = {0};
    struct probe_task waits;
    unsigned allocations;
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    probe_spawn(t, pool, &waits, poll_lamp, &lamp);
    conform_spawn(t, tocsin_pool_driver(pool), &lighter, light_it, &lamp);
    allocations = conform_read(&t->allocations);
    CHECK_EQ(t, probe_finish(t, pool, &waits), TOCSIN_IN);
    CHECK_EQ(t, conform_read(&t->allocations), allocations);
    CHECK_EQ(t, conform_read(&t->counts.attaches), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    CHECK_GONE(t, &lighter);
    lamp_close(&lamp);
    CHECK_EQ(t, conform_read(&t->counts.detaches), 0);
    conform_pool_close(t, pool);
}

static void light_from_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    ctl(arg, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    ctl(arg, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_PRI);
}

static void ctl_elsewhere_wakes_a_sleeping_pool_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe_task waits;
    struct lamp lamp;
    unsigned kicks;

    lamp_open(t, pool, &lamp, 0);
    probe_spawn(t, pool, &waits, poll_lamp, &lamp);
    kicks = conform_read(&t->counts.kicks);
    conform_at_sleep(t, light_from_elsewhere, &lamp);
    CHECK_EQ(t, probe_finish(t, pool, &waits), TOCSIN_IN);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

struct storm {
    struct lamp lamp;
    unsigned rounds;
    atomic_uint lit; /* by the other thread; the pool's takes them */
    unsigned taken;
};

static int take_all(struct tocsin_context *cx, void *arg)
{
    struct storm *storm = arg;
    int r;

    for (;;) {
        storm->taken += atomic_exchange_explicit(&storm->lit, 0, memory_order_acq_rel);
        if (storm->taken == storm->rounds) {
            return 0;
        }
        tocsin_fd_ready_clear(storm->lamp.ready, TOCSIN_SLOT_READ);
        r = tocsin_fd_ready_poll(storm->lamp.ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);
        if (r < 0) {
            return r;
        }
    }
}

static void light_many_times(struct conform *t, void *arg)
{
    struct storm *storm = arg;

    (void)t;
    for (unsigned i = 0; i < storm->rounds; i++) {
        atomic_fetch_add_explicit(&storm->lit, 1, memory_order_acq_rel);
        ctl(&storm->lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    }
}

static void no_ctl_from_another_thread_is_lost(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct storm storm = {.rounds = conform_times(t, 2000)};
    struct conform_thread *thread;
    struct probe_task takes;

    lamp_open(t, pool, &storm.lamp, 0);
    probe_spawn(t, pool, &takes, take_all, &storm);
    thread = conform_thread(t, light_many_times, &storm);
    CHECK_EQ(t, probe_finish(t, pool, &takes), 0);
    conform_thread_join(t, thread);
    CHECK_EQ(t, storm.taken, storm.rounds);
    lamp_close(&storm.lamp);
    conform_pool_close(t, pool);
}

/* ---- V3 -------------------------------------------------------------------------------------- */

static void object_is_told_what_is_true_already(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct lamp lamp;

    lamp_open(t, pool, &lamp, TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, heard(&lamp), TOCSIN_OUT);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

static void objects_over_one_slot_all_hear(struct conform *t)
{
    enum { POOLS = 2, OBJECTS = 2 };
    struct tocsin_pool *pools[POOLS];
    struct lamp lamps[POOLS][OBJECTS];
    struct tocsin_vpoll_slot *slot;

    for (int i = 0; i < POOLS; i++) {
        pools[i] = conform_pool(t);
    }
    REQUIRE(t, tocsin_vpoll_slot_open(tocsin_pool_driver(pools[0]), 0, &slot) == 0);
    for (int i = 0; i < POOLS * OBJECTS; i++) {
        struct lamp *lamp = &lamps[i / OBJECTS][i % OBJECTS];

        *lamp = (struct lamp){.t = t, .pool = pools[i / OBJECTS], .slot = slot};
        REQUIRE(t, tocsin_vpoll_slot_ready_open(tocsin_pool_driver(lamp->pool), slot,
                                                &lamp->ready) == 0);
    }
    ctl(&lamps[0][0], TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN);
    for (int i = 0; i < POOLS * OBJECTS; i++) {
        struct lamp *lamp = &lamps[i / OBJECTS][i % OBJECTS];

        CHECK_EQ(t, heard(lamp), TOCSIN_IN);
    }
    /* The slot outlives the pool that gave its memory. */
    for (int i = 0; i < OBJECTS; i++) {
        CHECK_EQ(t, tocsin_fd_ready_close(lamps[0][i].ready), 0);
    }
    conform_pool_close(t, pools[0]);
    ctl(&lamps[1][0], TOCSIN_VPOLL_SET, TOCSIN_VPOLL_PRI);
    for (int i = 0; i < OBJECTS; i++) {
        CHECK_EQ(t, heard(&lamps[1][i]), TOCSIN_PRI);
        CHECK_EQ(t, tocsin_fd_ready_close(lamps[1][i].ready), 0);
    }
    CHECK_EQ(t, tocsin_vpoll_slot_close(slot), 0);
    conform_pool_close(t, pools[1]);
}

static void closed_object_hears_nothing_of_its_slot(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct probe probe = {0};
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    CHECK_EQ(t, probe_poll(pool, lamp.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN); /* under way */
    CHECK_EQ(t, tocsin_fd_ready_close(lamp.ready), 0);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, tocsin_vpoll_slot_close(lamp.slot), 0);

    /* And the slot first, with a signal under way. */
    lamp_open(t, pool, &lamp, 0);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    CHECK_EQ(t, tocsin_vpoll_slot_close(lamp.slot), 0);
    probe_turns(t, pool);
    CHECK_EQ(t, tocsin_fd_ready_close(lamp.ready), 0);
    conform_pool_close(t, pool);
}

static void close_both(struct conform *t, void *arg)
{
    (void)t;
    lamp_close(arg);
}

static int lights_and_has_it_closed(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    ctl(task->arg, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN);
    conform_elsewhere(task->t, close_both, task->arg);
    return 0;
}

static void object_over_a_slot_is_closed_elsewhere_while_signalled(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    conform_spawn(t, tocsin_pool_driver(pool), &task, lights_and_has_it_closed, &lamp);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_GONE(t, &task);

    lamp_open(t, pool, &lamp, TOCSIN_VPOLL_IN);
    tocsin_driver_ref(tocsin_pool_driver(pool));
    conform_at_sleep(t, close_and_unref, &lamp);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void slot_outlives_its_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    struct tocsin_vpoll_slot *other = NULL;
    struct lamp lamp;

    lamp_open(t, pool, &lamp, TOCSIN_VPOLL_IN); /* the signal is never taken */
    conform_pool_close(t, pool);
    ctl(&lamp, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, tocsin_vpoll_slot_events(lamp.slot), TOCSIN_VPOLL_IN | TOCSIN_VPOLL_OUT);
    CHECK_EQ(t, tocsin_vpoll_slot_open(driver, 0, &other), -ESHUTDOWN);
    lamp_close(&lamp);
    tocsin_driver_unref(driver);
}

static void forked_child_has_no_slots(struct conform *t, void *arg)
{
    struct lamp *lamp = arg;
    struct tocsin_vpoll_slot *other = NULL;
    struct tocsin_fd_ready *ready = NULL;
    struct tocsin_driver *driver = tocsin_pool_driver(lamp->pool);

    CHECK_EQ(t, tocsin_vpoll_slot_ctl(lamp->slot, TOCSIN_VPOLL_ADD, 0), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_vpoll_slot_events(lamp->slot), 0);
    CHECK_EQ(t, tocsin_vpoll_slot_open(driver, 0, &other), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_vpoll_slot_ready_open(driver, lamp->slot, &ready), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_vpoll_slot_close(lamp->slot), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_fd_ready_close(lamp->ready), -EOWNERDEAD);
}

static void slot_in_a_forked_child_is_dead(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct lamp lamp;

    lamp_open(t, pool, &lamp, TOCSIN_VPOLL_IN);
    CHECK_EQ(t, conform_in_child(t, forked_child_has_no_slots, &lamp), 0);
    CHECK_EQ(t, heard(&lamp), TOCSIN_IN);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
}

/* ---- Watches, errors ------------------------------------------------------------------------- */

struct seen {
    struct conform *t;
    struct tocsin_vpoll_slot *slot;
    struct tocsin_watch watch;
    unsigned calls;
    int events;
};

static void see(struct tocsin_watch *watch, int events, void *arg)
{
    struct seen *seen = arg;

    seen->events = events;
    if (++seen->calls == 2) {
        /* Its own slot, inside the callback: called again; and stopped: not called again. */
        CHECK_EQ(seen->t, tocsin_vpoll_slot_ctl(seen->slot, TOCSIN_VPOLL_ADD, 0), 0);
    } else if (seen->calls == 3) {
        CHECK_EQ(seen->t, tocsin_vpoll_slot_ctl(seen->slot, TOCSIN_VPOLL_ADD, 0), 0);
        CHECK_EQ(seen->t, tocsin_watch_stop(watch), 0);
    }
}

static void watch_over_a_slot_calls_back(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct seen seen = {.t = t};

    REQUIRE(t, tocsin_vpoll_slot_open(driver, 0, &seen.slot) == 0);
    CHECK_EQ(t, tocsin_vpoll_slot_watch_start(&seen.watch, driver, seen.slot, 0, see, &seen),
             -EINVAL);
    CHECK_EQ(t,
             tocsin_vpoll_slot_watch_start(&seen.watch, driver, seen.slot, TOCSIN_IN, NULL, &seen),
             -EINVAL);
    REQUIRE(t, tocsin_vpoll_slot_watch_start(&seen.watch, driver, seen.slot, TOCSIN_IN, see,
                                             &seen) == 0);
    CHECK_EQ(t,
             tocsin_vpoll_slot_watch_start(&seen.watch, driver, seen.slot, TOCSIN_IN, see, &seen),
             -EBUSY);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(seen.slot, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_OUT), 0);
    probe_turns(t, pool);
    CHECK_EQ(t, seen.calls, 0);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(seen.slot, TOCSIN_VPOLL_ADD, TOCSIN_VPOLL_IN), 0);
    probe_turns(t, pool);
    CHECK_EQ(t, seen.calls, 1);
    CHECK_EQ(t, seen.events, TOCSIN_IN);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(seen.slot, TOCSIN_VPOLL_DEL, TOCSIN_VPOLL_OUT), 0);
    /* The watch alone keeps the run going, until it stops itself. */
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, seen.calls, 3);
    CHECK_EQ(t, tocsin_vpoll_slot_close(seen.slot), 0);
    conform_pool_close(t, pool);
}

static int open_and_close(struct conform *t, void *arg)
{
    struct tocsin_driver *driver = tocsin_pool_driver(arg);
    struct tocsin_vpoll_slot *slot = NULL;
    struct tocsin_fd_ready *ready = NULL;
    int r = tocsin_vpoll_slot_open(driver, TOCSIN_VPOLL_IN, &slot);

    if (r == 0) {
        r = tocsin_vpoll_slot_ready_open(driver, slot, &ready);
    }
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    probe_turns(t, arg);
    CHECK_EQ(t, tocsin_vpoll_slot_close(slot), 0);
    return r;
}

static void slot_without_memory_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    CHECK_EQ(t, open_and_close(t, pool), 0); /* the pool's tables are there from now on */
    conform_each_alloc_fails(t, open_and_close, pool);
    conform_pool_close(t, pool);
}

static void unknown_events_of_a_slot_are_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_vpoll_slot *slot = NULL;
    struct lamp lamp;

    CHECK_EQ(t, tocsin_vpoll_slot_open(tocsin_pool_driver(pool), 0x800, &slot), -EINVAL);
    CHECK_EQ(t, tocsin_vpoll_slot_open(tocsin_pool_driver(pool), 0x20, &slot), -EINVAL);
    lamp_open(t, pool, &lamp, 0);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(lamp.slot, (enum tocsin_vpoll_op)4, 1), -EINVAL);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(lamp.slot, (enum tocsin_vpoll_op)0, 1), -EINVAL);
    CHECK_EQ(t, tocsin_vpoll_slot_ctl(lamp.slot, TOCSIN_VPOLL_ADD, 1u << 31), -EINVAL);
    CHECK_EQ(t, tocsin_vpoll_slot_events(lamp.slot), 0);
    lamp_close(&lamp);
    CHECK_EQ(t, tocsin_vpoll_slot_close(NULL), 0);
    conform_pool_close(t, pool);
}

static void slots_and_descriptors_wake_beside_each_other(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;
    struct probe probe = {0};
    struct lamp lamp;

    lamp_open(t, pool, &lamp, 0);
    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    CHECK_EQ(t, probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, probe_poll(pool, lamp.ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    ctl(&lamp, TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    conform_source_signal(&source);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 2);
    CHECK(t, conform_source_take(&source));
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    lamp_close(&lamp);
    conform_pool_close(t, pool);
    conform_source_close(t, &source);
}

CONFORM_CASES(
    slot,
    CASE(slot_is_heard_for_each_ctl, "V1", "Each ctl that leaves an event true is an edge.", 0),
    CASE(ctls_before_the_turn_are_one_edge, "V1", "Ctls before the pool looks are one.", 0),
    CASE(what_was_taken_back_is_not_seen, "V1",
         "What was set and taken back before the pool looks is not seen.", 0),
    CASE(slot_tells_each_mask_exactly, "V1", "All masks of the pool's six events.", 0),
    CASE(ctl_on_the_pools_thread_asks_nobody, "V2",
         "A ctl in a turn: no kick, no wait, no allocation, and no backend knows.", 0),
    CASE(ctl_elsewhere_wakes_a_sleeping_pool_once, "V2",
         "Two ctls on another thread in one sleep: one kick.", THREADS),
    CASE(no_ctl_from_another_thread_is_lost, "V2", "A storm of ctls, and all are taken.", THREADS),
    CASE(object_is_told_what_is_true_already, "V3", "An open is told what is true.", 0),
    CASE(objects_over_one_slot_all_hear, "V3", "Four objects in two pools over one slot.", 0),
    CASE(closed_object_hears_nothing_of_its_slot, "V3",
         "A close of either with a signal under way: nobody is woken.", 0),
    CASE(object_over_a_slot_is_closed_elsewhere_while_signalled, "V3",
         "A close on another thread with a signal under way.", THREADS),
    CASE(slot_outlives_its_pool, "V3", "A slot of a closed pool: safe, and nobody hears.", 0),
    CASE(slot_in_a_forked_child_is_dead, "4.6", "In a child a slot says -EOWNERDEAD.", 0),
    CASE(watch_over_a_slot_calls_back, "V3", "A watch over a slot, that stops itself.", 0),
    CASE(slot_without_memory_is_refused, "V3", "Each allocation fails in turn: -ENOMEM.", 0),
    CASE(unknown_events_of_a_slot_are_refused, "V3", "Unknown events and ops: -EINVAL.", 0),
    CASE(slots_and_descriptors_wake_beside_each_other, "V3", "A slot beside another source.",
         CONFORM_SOURCES));
