/*
 * Watches: readiness with a callback, design section 7.
 *
 * A callback runs on the pool's thread after the walk, never once its watch was stopped, and a
 * watch may be stopped, started anew or freed inside any callback.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

enum {
    SEERS_COUNT = 2,
};

/* A watch of a source, and what its callback is to do and has seen. */
struct seer {
    struct tocsin_watch watch;
    struct conform_source source;
    struct conform *t;
    struct tocsin_pool *pool;
    struct seer *other;
    void (*act)(struct seer *seer); /* inside the callback; may be NULL */
    unsigned calls;
    int events; /* of the last call */
};

static void seer_call(struct tocsin_watch *watch, int events, void *arg)
{
    struct seer *seer = arg;

    CHECK(seer->t, watch == &seer->watch);
    seer->calls++;
    seer->events = events;
    if (events > 0) {
        CHECK(seer->t, conform_source_take(&seer->source));
    }
    if (seer->act != NULL) {
        seer->act(seer);
    }
}

static int seer_start(struct seer *seer)
{
    return conform_source_watch_start(&seer->watch, tocsin_pool_driver(seer->pool), &seer->source,
                                      TOCSIN_IN, seer_call, seer);
}

static void seer_open(struct conform *t, struct tocsin_pool *pool, struct seer *seer,
                      void (*act)(struct seer *seer))
{
    memset(seer, 0, sizeof(*seer));
    seer->t = t;
    seer->pool = pool;
    seer->act = act;
    conform_source_open(t, &seer->source);
    REQUIRE(t, seer_start(seer) == 0);
}

static void act_stop(struct seer *seer)
{
    CHECK_EQ(seer->t, tocsin_watch_stop(&seer->watch), 0);
}

static void act_stop_other(struct seer *seer)
{
    CHECK_EQ(seer->t, tocsin_watch_stop(&seer->other->watch), 0);
}

static void act_restart(struct seer *seer)
{
    CHECK_EQ(seer->t, tocsin_watch_stop(&seer->watch), 0);
    CHECK_EQ(seer->t, seer_start(seer), 0);
}

static void watch_calls_back_for_each_edge(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 0);
    for (unsigned i = 1; i <= 3; i++) {
        conform_source_signal(&seer.source);
        probe_turns(t, pool);
        CHECK_EQ(t, seer.calls, i);
        CHECK_EQ(t, seer.events, TOCSIN_IN);
    }
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void watch_events_merge_between_calls(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    for (int i = 0; i < 5; i++) {
        conform_source_signal(&seer.source);
    }
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 1);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void stopped_watch_is_not_called(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    conform_source_signal(&seer.source);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void watch_stops_inside_its_callback(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, act_stop);
    conform_source_signal(&seer.source);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, seer.calls, 1);
    conform_source_signal(&seer.source);
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 1);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

/* Stops the watch and frees it: nothing may look at it afterwards. */
static void act_free(struct seer *seer)
{
    CHECK_EQ(seer->t, tocsin_watch_stop(&seer->watch), 0);
    conform_source_close(seer->t, &seer->source);
    memset(seer, 0xa5, sizeof(*seer));
    free(seer);
}

static void watch_is_freed_inside_its_callback(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer *seer = malloc(sizeof(*seer));

    REQUIRE(t, seer != NULL);
    seer_open(t, pool, seer, act_free);
    conform_source_signal(&seer->source);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
}

static void queued_callback_of_a_stopped_watch_is_not_run(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seers[SEERS_COUNT];

    for (int i = 0; i < SEERS_COUNT; i++) {
        seer_open(t, pool, &seers[i], act_stop_other);
        seers[i].other = &seers[1 - i];
    }
    probe_turns(t, pool);
    /* Both are ready in the same batch; whichever is called first stops the other. */
    conform_source_signal(&seers[0].source);
    conform_source_signal(&seers[1].source);
    probe_turns(t, pool);
    CHECK_EQ(t, seers[0].calls + seers[1].calls, 1);

    for (int i = 0; i < SEERS_COUNT; i++) {
        CHECK_EQ(t, tocsin_watch_stop(&seers[i].watch), 0);
    }
    conform_pool_close(t, pool);
    for (int i = 0; i < SEERS_COUNT; i++) {
        conform_source_close(t, &seers[i].source);
    }
}

static void act_restart_other(struct seer *seer)
{
    CHECK_EQ(seer->t, tocsin_watch_stop(&seer->other->watch), 0);
    CHECK(seer->t, conform_source_take(&seer->other->source));
    seer->other->act = NULL;
    CHECK_EQ(seer->t, seer_start(seer->other), 0);
}

static void restarted_watch_is_not_called_for_the_old_event(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seers[SEERS_COUNT];

    for (int i = 0; i < SEERS_COUNT; i++) {
        seer_open(t, pool, &seers[i], act_restart_other);
        seers[i].other = &seers[1 - i];
    }
    probe_turns(t, pool);
    /* The second one's call is queued when it is stopped, drained and started anew. */
    conform_source_signal(&seers[0].source);
    conform_source_signal(&seers[1].source);
    probe_turns(t, pool);
    CHECK_EQ(t, seers[0].calls + seers[1].calls, 1);

    for (int i = 0; i < SEERS_COUNT; i++) {
        seers[i].act = NULL;
        seers[i].calls = 0;
        conform_source_signal(&seers[i].source);
        probe_turns(t, pool);
        CHECK_EQ(t, seers[i].calls, 1);
        CHECK_EQ(t, tocsin_watch_stop(&seers[i].watch), 0);
    }
    conform_pool_close(t, pool);
    for (int i = 0; i < SEERS_COUNT; i++) {
        conform_source_close(t, &seers[i].source);
    }
}

static void watch_restarts_inside_its_callback(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, act_restart);
    for (unsigned i = 1; i <= 3; i++) {
        conform_source_signal(&seer.source);
        probe_turns(t, pool);
        CHECK_EQ(t, seer.calls, i);
    }
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void background_watch_keeps_no_run_going(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    tocsin_watch_set_background(&seer.watch, true);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);

    tocsin_watch_set_background(&seer.watch, false);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    tocsin_watch_set_background(&seer.watch, true);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);

    /* In the background it is served all the same. */
    conform_source_signal(&seer.source);
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 1);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    CHECK_EQ(t, tocsin_pool_turn(pool), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void started_watch_is_busy(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    CHECK_EQ(t, seer_start(&seer), -EBUSY);
    conform_source_signal(&seer.source);
    probe_turns(t, pool);
    CHECK_EQ(t, seer.calls, 1);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void watch_of_no_or_unknown_events_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct seer seer = {.t = t};
    int fds[2];

    conform_stream_pair(t, fds);
    CHECK_EQ(t, tocsin_watch_start(&seer.watch, driver, fds[0], 0, seer_call, &seer), -EINVAL);
    CHECK_EQ(t, tocsin_watch_start(&seer.watch, driver, fds[0], 1u << 6, seer_call, &seer),
             -EINVAL);
    CHECK_EQ(t, tocsin_watch_start(&seer.watch, driver, -1, TOCSIN_IN, seer_call, &seer), -EBADF);
    /* None of that left it started. */
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
    close(fds[0]);
    close(fds[1]);
}

static void failed_attach_of_a_watch_is_told(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer = {.t = t, .pool = pool, .act = act_stop};
    int r;

    conform_source_open(t, &seer.source);
    t->fail_attach = -ENOSPC;
    r = seer_start(&seer);
    if (r == 0) {
        /* It was put off to the pool's first turn. */
        CHECK_EQ(t, t->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH, 0);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, seer.calls, 1);
        r = seer.events;
    }
    CHECK_EQ(t, r, -ENOSPC);

    t->fail_attach = 0;
    seer.calls = 0;
    REQUIRE(t, seer_start(&seer) == 0);
    conform_source_signal(&seer.source);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, seer.calls, 1);
    conform_pool_close(t, pool);
    conform_source_close(t, &seer.source);
}

static void closing_the_pool_stops_its_watches(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, NULL);
    probe_turns(t, pool);
    conform_source_signal(&seer.source);
    conform_pool_close(t, pool);
    CHECK_EQ(t, seer.calls, 0);
    CHECK_EQ(t, tocsin_watch_stop(&seer.watch), 0);
    conform_source_close(t, &seer.source);
}

static void queued_watch_ends_with_its_pool(struct conform *t)
{
    const struct tocsin_pool_options options = {.budget_polls = 1};
    struct tocsin_pool *pool = NULL;
    struct seer seers[SEERS_COUNT];

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    for (int i = 0; i < SEERS_COUNT; i++) {
        seer_open(t, pool, &seers[i], NULL);
        conform_source_signal(&seers[i].source);
    }
    /* Turn until one of them is called: the budget keeps the other one in the queue. */
    while (seers[0].calls + seers[1].calls == 0) {
        REQUIRE(t, tocsin_pool_turn(pool) == 1);
    }
    CHECK_EQ(t, seers[0].calls + seers[1].calls, 1);
    conform_pool_close(t, pool);
    CHECK_EQ(t, seers[0].calls + seers[1].calls, 1);
    for (int i = 0; i < SEERS_COUNT; i++) {
        CHECK_EQ(t, tocsin_watch_stop(&seers[i].watch), 0);
        conform_source_close(t, &seers[i].source);
    }
}

static void watch_is_told_of_the_end(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct seer seer;

    seer_open(t, pool, &seer, act_stop);
    conform_source_signal(&seer.source);
    close((int)seer.source.peer);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, seer.calls, 1);
    CHECK_EQ(t, seer.events, TOCSIN_IN | TOCSIN_HUP | TOCSIN_RDHUP);
    conform_pool_close(t, pool);
    close((int)seer.source.number);
}

CONFORM_CASES(
    watch,
    CASE(watch_calls_back_for_each_edge, "7", "The callback runs once for each edge.",
         CONFORM_SOURCES),
    CASE(watch_events_merge_between_calls, "7", "Events that come before the call make one call.",
         CONFORM_SOURCES),
    CASE(stopped_watch_is_not_called, "7", "After a stop the callback runs no more.",
         CONFORM_SOURCES),
    CASE(watch_stops_inside_its_callback, "7", "A callback may stop its own watch.",
         CONFORM_SOURCES),
    CASE(watch_is_freed_inside_its_callback, "7", "A callback may stop and free its own watch.",
         CONFORM_SOURCES),
    CASE(queued_callback_of_a_stopped_watch_is_not_run, "7",
         "A callback that stops another watch whose call is queued keeps it from running.",
         CONFORM_SOURCES),
    CASE(restarted_watch_is_not_called_for_the_old_event, "7",
         "A watch stopped with its call queued and started anew gets new events only.",
         CONFORM_SOURCES),
    CASE(watch_restarts_inside_its_callback, "7", "A callback may start its own watch anew.",
         CONFORM_SOURCES),
    CASE(background_watch_keeps_no_run_going, "4.6",
         "A background watch is served and keeps no run from returning.", CONFORM_SOURCES),
    CASE(started_watch_is_busy, "7", "Starting a started watch says -EBUSY and leaves it be.",
         CONFORM_SOURCES),
    CASE(watch_of_no_or_unknown_events_is_refused, "7",
         "A watch of no events, unknown ones or a bad number is not started.",
         TOCSIN_BACKEND_DESCRIPTORS),
    CASE(failed_attach_of_a_watch_is_told, "7",
         "A failing attach is told by the start, or by the first call where it is put off.",
         CONFORM_SOURCES),
    CASE(closing_the_pool_stops_its_watches, "4.6", "A watch ends with its pool, uncalled.",
         CONFORM_SOURCES),
    CASE(queued_watch_ends_with_its_pool, "4.6",
         "A watch whose call is queued when its pool closes is not called.", CONFORM_SOURCES),
    CASE(watch_is_told_of_the_end, "7", "Data and the end of the peer reach the callback.",
         TOCSIN_BACKEND_DESCRIPTORS));
