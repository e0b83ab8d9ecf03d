/*
 * What the cases about drops share: a source, its readiness object, and a probe that waits for it.
 */
#ifndef TOCSIN_CONFORM_ITEM_H
#define TOCSIN_CONFORM_ITEM_H

#include "probe.h"

/* A source, its readiness object, and who waits for it. */
struct item {
    struct tocsin_pool *pool;
    struct conform_source source;
    struct tocsin_fd_ready *ready;
    struct probe probe;
};

/* Open it, and poll it until it is attached and armed wherever that is put off. */
static inline void item_open(struct conform *t, struct tocsin_pool *pool, struct item *item)
{
    *item = (struct item){.pool = pool};
    conform_source_open(t, &item->source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &item->source, &item->ready) == 0);
    CHECK_EQ(t, probe_poll(pool, item->ready, TOCSIN_SLOT_READ, TOCSIN_IN, &item->probe),
             TOCSIN_PENDING);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&item->probe), 0);
    CHECK_EQ(t, probe_references(&item->probe), 1);
}

static inline void item_drop(struct conform *t, void *arg)
{
    struct item *item = arg;
    struct tocsin_fd_ready *ready = item->ready;

    item->ready = NULL;
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
}

/* Drop it on another thread while the pool's is held up: what it held is left for the loop (D1). */
static inline void item_drop_elsewhere(struct conform *t, void *arg)
{
    item_drop(t, arg);
    CHECK_EQ(t, probe_references(&((struct item *)arg)->probe), 1);
}

/* The same in a sleep, which ends; and then nothing keeps the pool alive. */
static inline void item_drop_and_unref(struct conform *t, void *arg)
{
    unsigned kicks = conform_read(&t->counts.kicks);

    item_drop_elsewhere(t, arg);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    tocsin_driver_unref(tocsin_pool_driver(((struct item *)arg)->pool));
}

static inline void item_signal(struct conform *t, void *arg)
{
    (void)t;
    conform_source_signal(&((struct item *)arg)->source);
}

static inline void item_check_unheard(struct conform *t, struct item *item)
{
    CHECK(t, item->ready == NULL);
    CHECK_EQ(t, probe_wakes(&item->probe), 0);
    CHECK_EQ(t, probe_references(&item->probe), 0);
}

#endif
