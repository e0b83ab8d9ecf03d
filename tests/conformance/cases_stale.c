/*
 * Deferred deletes, D3: events for what is gone.
 */
#include "item.h"

/* ---- D3 -------------------------------------------------------------------------------------- */

struct stale {
    uint64_t ids[4];
    unsigned reported;
};

static void hook_reports_stale(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                               struct tocsin_backend_events *list, void *arg)
{
    struct stale *stale = arg;

    (void)t;
    (void)deadline_ns;
    if (moment == CONFORM_AFTER_LOOK) {
        for (int i = 0; i < 4; i++) {
            tocsin_backend_report(list, stale->ids[i], TOCSIN_EVENTS_ALL);
        }
        stale->reported++;
    }
}

/* A new object in the old one's place does not hear the old one's events. */
static void stale_events_reach_nobody(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct stale stale = {{UINT64_MAX, UINT64_C(1) << 63, UINT64_C(0xffffffff)}, 0};
    struct item old;
    struct item new;

    item_open(t, pool, &old);
    stale.ids[3] = atomic_load_explicit(&t->attached_id, memory_order_relaxed);
    item_drop(t, &old);
    probe_turns(t, pool); /* its place is free */
    item_open(t, pool, &new);
    CHECK(t, stale.ids[3] != atomic_load_explicit(&t->attached_id, memory_order_relaxed));

    t->hook = hook_reports_stale;
    t->hook_arg = &stale;
    probe_turns(t, pool);
    t->hook = NULL;
    CHECK(t, stale.reported > 0);
    CHECK_EQ(t, probe_wakes(&new.probe), 0);
    CHECK_EQ(t, probe_wakes(&old.probe), 0);
    item_drop(t, &new);
    probe_turns(t, pool);
    item_check_unheard(t, &new);
    conform_source_close(t, &old.source);
    conform_source_close(t, &new.source);
    conform_pool_close(t, pool);
}

struct herd {
    struct tocsin_pool *pool;
    struct conform_source source;
    unsigned rounds;
};

static void open_signal_and_drop_elsewhere(struct conform *t, void *arg)
{
    struct herd *herd = arg;
    struct tocsin_driver *driver = tocsin_pool_driver(herd->pool);
    struct tocsin_fd_ready *ready;

    for (unsigned i = 0; i < herd->rounds; i++) {
        REQUIRE(t, conform_source_watch(driver, &herd->source, &ready) == 0);
        conform_source_signal(&herd->source);
        CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
        conform_source_take(&herd->source);
    }
    tocsin_driver_unref(driver);
}

static void drops_race_with_their_events(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct herd herds[2];
    struct conform_thread *threads[2];

    for (int i = 0; i < 2; i++) {
        herds[i] = (struct herd){.pool = pool, .rounds = conform_times(t, 1000)};
        tocsin_driver_ref(tocsin_pool_driver(pool));
        conform_source_open(t, &herds[i].source);
    }
    for (int i = 0; i < 2; i++) {
        threads[i] = conform_thread(t, open_signal_and_drop_elsewhere, &herds[i]);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    for (int i = 0; i < 2; i++) {
        conform_thread_join(t, threads[i]);
        conform_source_close(t, &herds[i].source);
    }
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    stale,
    CASE(stale_events_reach_nobody, "D3",
         "Events of an object that is gone, and of none, are dropped; a new one hears nothing.",
         CONFORM_SOURCES),
    CASE(drops_race_with_their_events, "D3",
         "Two threads open, signal and drop while the pool waits.",
         CONFORM_SOURCES | TOCSIN_BACKEND_FOREIGN_THREADS));
