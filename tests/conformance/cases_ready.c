/*
 * Readiness and its interest slots: the polling face of design section 7.
 *
 * A slot is told of events until it is cleared; what came and was not told survives the clearing.
 * The cases poll between turns (probe.h), so they see each step alone.
 */

#include "probe.h"

enum {
    EXACT = CONFORM_LINKS | TOCSIN_BACKEND_EXACT_EVENTS,
};

static const enum tocsin_slot READ = TOCSIN_SLOT_READ;
static const enum tocsin_slot WRITE = TOCSIN_SLOT_WRITE;

/* A pool that watches one end of a stream pair. */
struct pair {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    struct conform_link link; /* the watched end, and the other */
};

static struct pair pair_open(struct conform *t)
{
    struct pair pair = {.pool = conform_pool(t)};

    conform_link_open(t, &pair.link);
    REQUIRE(t, conform_link_watch(tocsin_pool_driver(pair.pool), &pair.link, 0, &pair.ready) == 0);
    return pair;
}

static void pair_close(struct conform *t, struct pair *pair)
{
    CHECK_EQ(t, tocsin_fd_ready_close(pair->ready), 0);
    conform_pool_close(t, pair->pool);
    conform_link_close(t, &pair->link);
}

/* A pool that watches a source of any kind. */
struct watched {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    struct conform_source source;
};

static struct watched watched_open(struct conform *t)
{
    struct watched watched = {.pool = conform_pool(t)};

    conform_source_open(t, &watched.source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(watched.pool), &watched.source,
                                    &watched.ready) == 0);
    return watched;
}

static void watched_close(struct conform *t, struct watched *watched)
{
    CHECK_EQ(t, tocsin_fd_ready_close(watched->ready), 0);
    conform_pool_close(t, watched->pool);
    conform_source_close(t, &watched->source);
}

static int poll_in(struct watched *watched, enum tocsin_slot slot, struct probe *probe)
{
    return probe_poll(watched->pool, watched->ready, slot, TOCSIN_IN, probe);
}

static int seen_in(struct conform *t, struct watched *watched, enum tocsin_slot slot)
{
    return probe_seen(t, watched->pool, watched->ready, slot, TOCSIN_IN);
}

/* Write into @end until it takes no more. */
static void fill(struct conform *t, struct conform_link *link, int end)
{
    char bytes[4096] = {0};
    int r;

    while ((r = conform_link_write(link, end, bytes, sizeof(bytes))) > 0) {
    }
    REQUIRE(t, r == -EAGAIN);
}

static void drain(struct conform *t, struct conform_link *link, int end)
{
    char bytes[4096];
    int r;

    while ((r = conform_link_read(link, end, bytes, sizeof(bytes))) > 0) {
    }
    REQUIRE(t, r == -EAGAIN);
}

static void pending_poll_is_woken_by_its_event(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);

    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_references(&probe), 0);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_IN);
    watched_close(t, &watched);
}

static void what_is_there_at_open_is_seen(struct conform *t)
{
    struct watched watched = {.pool = conform_pool(t)};

    conform_source_open(t, &watched.source);
    conform_source_signal(&watched.source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(watched.pool), &watched.source,
                                    &watched.ready) == 0);
    CHECK_EQ(t, seen_in(t, &watched, READ), TOCSIN_IN);
    watched_close(t, &watched);
}

static void event_between_polls_is_kept(struct conform *t)
{
    struct watched watched = watched_open(t);

    probe_turns(t, watched.pool);
    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, seen_in(t, &watched, READ), TOCSIN_IN);
    watched_close(t, &watched);
}

static void events_are_told_until_cleared(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    conform_source_signal(&watched.source);
    CHECK_EQ(t, seen_in(t, &watched, READ), TOCSIN_IN);
    CHECK(t, conform_source_take(&watched.source));
    probe_turns(t, watched.pool);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_IN);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_IN);

    tocsin_fd_ready_clear(watched.ready, READ);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);

    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    watched_close(t, &watched);
}

static void a_waker_is_woken_once_for_many_events(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    for (int i = 0; i < 5; i++) {
        conform_source_signal(&watched.source);
        probe_turns(t, watched.pool);
    }
    CHECK_EQ(t, probe_wakes(&probe), 1);
    watched_close(t, &watched);
}

static void a_new_poll_replaces_the_waker(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe old = {0};
    struct probe probe = {0};

    CHECK_EQ(t, poll_in(&watched, READ, &old), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, probe_references(&old), 0);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, probe_references(&probe), 1);

    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&old), 0);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    watched_close(t, &watched);
}

static void closing_drops_the_waker(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe reader = {0};
    struct probe writer = {0};

    CHECK_EQ(t, poll_in(&watched, READ, &reader), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&watched, WRITE, &writer), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_fd_ready_close(watched.ready), 0);
    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&reader) + probe_wakes(&writer), 0);
    CHECK_EQ(t, probe_references(&reader) + probe_references(&writer), 0);

    conform_pool_close(t, watched.pool);
    conform_source_close(t, &watched.source);
}

static void one_event_wakes_both_slots(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe reader = {0};
    struct probe writer = {0};

    CHECK_EQ(t, poll_in(&watched, READ, &reader), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&watched, WRITE, &writer), TOCSIN_PENDING);
    conform_source_signal(&watched.source);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&reader), 1);
    CHECK_EQ(t, probe_wakes(&writer), 1);
    watched_close(t, &watched);
}

static void clear_of_one_slot_leaves_the_other(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    conform_source_signal(&watched.source);
    CHECK_EQ(t, seen_in(t, &watched, READ), TOCSIN_IN);
    CHECK_EQ(t, seen_in(t, &watched, WRITE), TOCSIN_IN);
    CHECK(t, conform_source_take(&watched.source));
    probe_turns(t, watched.pool);

    tocsin_fd_ready_clear(watched.ready, READ);
    CHECK_EQ(t, poll_in(&watched, READ, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&watched, WRITE, &probe), TOCSIN_IN);
    watched_close(t, &watched);
}

static void two_polls_have_wakers_of_their_own(struct conform *t)
{
    struct pair pair = pair_open(t);
    struct probe reader = {0};
    struct probe writer = {0};

    fill(t, &pair.link, 0);
    CHECK_EQ(t, probe_poll(pair.pool, pair.ready, READ, TOCSIN_IN, &reader), TOCSIN_PENDING);
    CHECK_EQ(t, probe_poll(pair.pool, pair.ready, WRITE, TOCSIN_OUT, &writer), TOCSIN_PENDING);
    probe_turns(t, pair.pool);
    CHECK_EQ(t, probe_wakes(&writer), 0);

    CHECK_EQ(t, conform_link_write(&pair.link, 1, "x", 1), 1);
    probe_turns(t, pair.pool);
    CHECK_EQ(t, probe_wakes(&reader), 1);
    CHECK_EQ(t, probe_wakes(&writer), 0);

    drain(t, &pair.link, 1);
    probe_turns(t, pair.pool);
    CHECK_EQ(t, probe_wakes(&reader), 1);
    CHECK_EQ(t, probe_wakes(&writer), 1);
    CHECK_EQ(t, probe_seen(t, pair.pool, pair.ready, WRITE, TOCSIN_OUT), TOCSIN_OUT);
    pair_close(t, &pair);
}

static void events_not_told_survive_clear(struct conform *t)
{
    struct pair pair = pair_open(t);

    CHECK_EQ(t, conform_link_write(&pair.link, 1, "x", 1), 1);
    /* OUT has come with it, on a backend that reports everything, and this slot was not told. */
    CHECK_EQ(t, probe_seen(t, pair.pool, pair.ready, READ, TOCSIN_IN), TOCSIN_IN);
    tocsin_fd_ready_clear(pair.ready, READ);
    CHECK_EQ(t, probe_seen(t, pair.pool, pair.ready, READ, TOCSIN_OUT), TOCSIN_OUT);
    pair_close(t, &pair);
}

static void poll_of_no_or_unknown_events_is_refused(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, probe_poll(watched.pool, watched.ready, READ, 0, &probe), -EINVAL);
    CHECK_EQ(t, probe_poll(watched.pool, watched.ready, READ, TOCSIN_IN | 1u << 6, &probe),
             -EINVAL);
    CHECK_EQ(t, probe_references(&probe), 0);
    watched_close(t, &watched);
}

CONFORM_CASES(
    ready,
    CASE(pending_poll_is_woken_by_its_event, "7",
         "A pending poll is woken once by the event it waits for, and then told of it.",
         CONFORM_SOURCES),
    CASE(what_is_there_at_open_is_seen, "7", "What was ready before the open is seen.",
         CONFORM_SOURCES),
    CASE(event_between_polls_is_kept, "7", "An event that comes while nobody polls is kept.",
         CONFORM_SOURCES),
    CASE(events_are_told_until_cleared, "7",
         "Polls are told of an event until the slot is cleared, then of the next one.",
         CONFORM_SOURCES),
    CASE(a_waker_is_woken_once_for_many_events, "7",
         "Events that come before the slot is polled again wake once.", CONFORM_SOURCES),
    CASE(a_new_poll_replaces_the_waker, "7",
         "A second poll of a slot takes the first one's place: that waker is dropped.",
         CONFORM_SOURCES),
    CASE(closing_drops_the_waker, "7", "A close with polls pending drops their wakers unwoken.",
         CONFORM_SOURCES),
    CASE(one_event_wakes_both_slots, "7", "An event that both slots wait for wakes both.",
         CONFORM_SOURCES),
    CASE(clear_of_one_slot_leaves_the_other, "7",
         "Clearing a slot leaves what the other one was told.", CONFORM_SOURCES),
    CASE(two_polls_have_wakers_of_their_own, "7",
         "Polls in the two slots are outstanding at once, each woken by its own events.", EXACT),
    CASE(events_not_told_survive_clear, "7",
         "Events that were seen and not told to the slot survive its clearing.", CONFORM_LINKS),
    CASE(poll_of_no_or_unknown_events_is_refused, "7",
         "A poll for no events, or for bits that do not exist, says -EINVAL.", CONFORM_SOURCES));
