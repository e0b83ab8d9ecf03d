/*
 * Which events come, to whom, and trying an operation by them: design section 7.
 *
 * ERR and HUP are always of interest, RDHUP satisfies IN, what nobody asked for wakes nobody; and
 * the pattern that it is all for: try, at EAGAIN clear and pend, when woken try again.
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

static void other_events_wake_nobody(struct conform *t)
{
    struct pair pair = pair_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, probe_seen(t, pair.pool, pair.ready, WRITE, TOCSIN_OUT), TOCSIN_OUT);
    CHECK_EQ(t, probe_poll(pair.pool, pair.ready, READ, TOCSIN_IN | TOCSIN_PRI, &probe),
             TOCSIN_PENDING);
    probe_turns(t, pair.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    pair_close(t, &pair);
}

/* One end of a pipe is watched for PRI only, and the other is closed: @event comes anyway. */
static void pipe_end_is_told(struct conform *t, int watched, uint32_t event)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    struct probe probe = {0};
    struct conform_link link;

    conform_link_open_pipe(t, &link);
    REQUIRE(t, conform_link_watch(tocsin_pool_driver(pool), &link, watched, &ready) == 0);
    CHECK_EQ(t, probe_poll(pool, ready, READ, TOCSIN_PRI, &probe), TOCSIN_PENDING);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    conform_link_close_end(t, &link, 1 - watched);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_poll(pool, ready, READ, TOCSIN_PRI, &probe), event);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    conform_link_close(t, &link);
    conform_pool_close(t, pool);
}

static void hup_is_always_of_interest(struct conform *t)
{
    pipe_end_is_told(t, 0, TOCSIN_HUP);
}

static void err_is_always_of_interest(struct conform *t)
{
    pipe_end_is_told(t, 1, TOCSIN_ERR);
}

static void hup_that_nobody_waits_for_keeps_nobody_awake(struct conform *t)
{
    struct pair pair = pair_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, probe_poll(pair.pool, pair.ready, READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    conform_link_close_end(t, &pair.link, 1);
    CHECK(t, probe_sleeps(t, pair.pool));
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK(t, probe_sleeps(t, pair.pool));
    CHECK_EQ(t, probe_wakes(&probe), 1);
    pair_close(t, &pair);
}

/* A backend that knows RDHUP need not say IN as well: let it not. */
static void in_becomes_rdhup(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                             struct tocsin_backend_events *list, void *arg)
{
    (void)t;
    (void)deadline_ns;
    (void)arg;
    if (moment != CONFORM_AFTER_WAIT && moment != CONFORM_AFTER_LOOK) {
        return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if ((list->events[i].events & TOCSIN_IN) != 0) {
            list->events[i].events = TOCSIN_RDHUP;
        }
    }
}

static void rdhup_satisfies_in(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_fd_ready *ready = NULL;
    struct conform_source source;
    struct probe probe = {0};

    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(pool), &source, &ready) == 0);
    t->hook = in_becomes_rdhup;
    CHECK_EQ(t, probe_poll(pool, ready, READ, TOCSIN_IN, &probe), TOCSIN_PENDING);
    conform_source_signal(&source);
    probe_turns(t, pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_seen(t, pool, ready, READ, TOCSIN_IN), TOCSIN_RDHUP);
    /* And a slot that polls only after it came. */
    CHECK_EQ(t, probe_seen(t, pool, ready, WRITE, TOCSIN_IN), TOCSIN_RDHUP);
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    conform_pool_close(t, pool);
    conform_source_close(t, &source);
}

static void shutdown_of_the_peer_is_rdhup(struct conform *t)
{
    struct pair pair = pair_open(t);
    uint32_t seen;

    conform_link_shut(t, &pair.link, 1);
    seen = (uint32_t)probe_seen(t, pair.pool, pair.ready, READ, TOCSIN_RDHUP);
    CHECK_EQ(t, seen, TOCSIN_RDHUP);
    seen = (uint32_t)probe_seen(t, pair.pool, pair.ready, WRITE, TOCSIN_IN);
    CHECK(t, (seen & (TOCSIN_IN | TOCSIN_RDHUP)) != 0);
    CHECK_EQ(t, seen & (TOCSIN_HUP | TOCSIN_ERR | TOCSIN_OUT | TOCSIN_PRI), 0);
    pair_close(t, &pair);
}

enum {
    CROWD = 400, /* more than fits in any list of events */
    ROUNDS = 5,
};

/* Sources of one pool. */
struct crowd {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *readies[CROWD];
    struct probe probes[CROWD];
    struct conform_source sources[CROWD];
};

static void crowd_open(struct conform *t, struct crowd *crowd)
{
    crowd->pool = conform_pool(t);
    for (int i = 0; i < CROWD; i++) {
        conform_source_open(t, &crowd->sources[i]);
        REQUIRE(t, conform_source_watch(tocsin_pool_driver(crowd->pool), &crowd->sources[i],
                                        &crowd->readies[i]) == 0);
    }
}

static void crowd_close(struct conform *t, struct crowd *crowd)
{
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ(t, tocsin_fd_ready_close(crowd->readies[i]), 0);
        conform_source_close(t, &crowd->sources[i]);
    }
    conform_pool_close(t, crowd->pool);
}

static void crowd_signal(struct crowd *crowd, int i)
{
    conform_source_signal(&crowd->sources[i]);
}

static int crowd_poll(struct crowd *crowd, int i)
{
    return probe_poll(crowd->pool, crowd->readies[i], READ, TOCSIN_IN, &crowd->probes[i]);
}

/* Have the event that came told, if any, clear it, and wait for the next. */
static void crowd_wait_anew(struct conform *t, struct crowd *crowd, int i)
{
    (void)crowd_poll(crowd, i);
    tocsin_fd_ready_clear(crowd->readies[i], READ);
    REQUIRE(t, crowd_poll(crowd, i) == TOCSIN_PENDING);
}

static void each_of_many_ready_descriptors_is_heard(struct conform *t)
{
    static struct crowd crowd;

    crowd_open(t, &crowd);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < CROWD; i++) {
            /* In the first round they become ready before anybody polls them. */
            crowd_signal(&crowd, i);
            tocsin_fd_ready_clear(crowd.readies[i], READ);
            REQUIRE(t, crowd_poll(&crowd, i) == TOCSIN_PENDING);
        }
        for (int turn = 0; turn < CROWD; turn++) {
            REQUIRE(t, tocsin_pool_turn(crowd.pool) >= 0);
        }
        for (int i = 0; i < CROWD; i++) {
            REQUIRE(t, crowd_poll(&crowd, i) == TOCSIN_IN);
            REQUIRE(t, probe_wakes(&crowd.probes[i]) == round);
        }
    }
    crowd_close(t, &crowd);
}

/* All but one are signalled and polled anew before each turn. */
static void busy_descriptors_starve_no_other(struct conform *t)
{
    static struct crowd crowd;

    crowd_open(t, &crowd);
    for (int quiet = 0; quiet < CROWD; quiet += CROWD - 1) {
        unsigned wakes = probe_wakes(&crowd.probes[quiet]);

        crowd_wait_anew(t, &crowd, quiet);
        crowd_signal(&crowd, quiet);
        for (int turn = 0; turn < PROBE_TURNS; turn++) {
            for (int i = 0; i < CROWD; i++) {
                if (i != quiet) {
                    crowd_signal(&crowd, i);
                    crowd_wait_anew(t, &crowd, i);
                }
            }
            REQUIRE(t, tocsin_pool_turn(crowd.pool) >= 0);
        }
        CHECK_EQ(t, probe_wakes(&crowd.probes[quiet]), wakes + 1);
    }
    crowd_close(t, &crowd);
}

/* What the aborting child does: poll, by one of two functions, on a thread not the pool's. */
struct stray {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    bool tries;
};

static int stray_try(intptr_t fd, void *arg)
{
    (void)fd;
    (void)arg;
    return 0;
}

static void stray_poll(struct conform *t, void *arg)
{
    struct stray *stray = arg;
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, stray->pool);

    (void)t;
    if (stray->tries) {
        (void)tocsin_fd_ready_poll_io(stray->ready, READ, TOCSIN_IN, stray_try, NULL, &cx);
    } else {
        (void)tocsin_fd_ready_poll(stray->ready, READ, TOCSIN_IN, &cx);
    }
}

static void stray_main(struct conform *t, void *arg)
{
    struct stray *stray = arg;
    struct pair pair = pair_open(t);

    stray->pool = pair.pool;
    stray->ready = pair.ready;
    probe_turns(t, pair.pool);
    conform_thread_join(t, conform_thread(t, stray_poll, stray));
    pair_close(t, &pair);
}

static void poll_on_another_thread_aborts(struct conform *t)
{
    struct stray stray = {.tries = false};

    CHECK_ABORTS(t, stray_main, &stray);
    stray.tries = true;
    CHECK_ABORTS(t, stray_main, &stray);
}

/* An operation that answers from a list, and counts. */
struct operation {
    const int *answers;
    unsigned tries;
    intptr_t fd;
};

static int operate(intptr_t fd, void *arg)
{
    struct operation *operation = arg;

    operation->fd = fd;
    return operation->answers[operation->tries++];
}

static void poll_io_tries_before_it_waits(struct conform *t)
{
    static const int answers[] = {-EINTR, 7, -EIO};
    struct operation operation = {.answers = answers};
    struct pair pair = pair_open(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pair.pool);

    /* Nothing is ready, and the operation says 7 all the same. */
    CHECK_EQ(t, tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx), 7);
    CHECK_EQ(t, operation.tries, 2);
    CHECK_EQ(t, operation.fd, pair.link.ends[0]);
    CHECK_EQ(t, tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx),
             -EIO);
    CHECK_EQ(t, probe_references(&probe), 0);
    pair_close(t, &pair);
}

static void poll_io_tries_again_at_the_event(struct conform *t)
{
    static const int answers[] = {-EAGAIN, -EAGAIN, -EAGAIN, 7};
    struct operation operation = {.answers = answers};
    struct pair pair = pair_open(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pair.pool);
    int r = TOCSIN_PENDING;

    for (unsigned events = 0; events < 3; events++) {
        CHECK_EQ(t, tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx),
                 TOCSIN_PENDING);
        CHECK_EQ(t, operation.tries, events + 1);
        CHECK_EQ(t, probe_wakes(&probe), events);

        CHECK_EQ(t, conform_link_write(&pair.link, 1, "x", 1), 1);
        probe_turns(t, pair.pool);
        CHECK_EQ(t, probe_wakes(&probe), events + 1);
    }
    r = tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx);
    CHECK_EQ(t, r, 7);
    CHECK_EQ(t, probe_references(&probe), 0);
    pair_close(t, &pair);
}

static void poll_io_survives_readiness_that_was_not_true(struct conform *t)
{
    static const int answers[] = {-EAGAIN, 7};
    struct operation operation = {.answers = answers};
    struct pair pair = pair_open(t);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, pair.pool);
    char byte;

    CHECK_EQ(t, conform_link_write(&pair.link, 1, "x", 1), 1);
    CHECK_EQ(t, probe_seen(t, pair.pool, pair.ready, READ, TOCSIN_IN), TOCSIN_IN);
    CHECK_EQ(t, conform_link_read(&pair.link, 0, &byte, 1), 1);
    CHECK_EQ(t, tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx),
             TOCSIN_PENDING);
    CHECK_EQ(t, operation.tries, 1);
    CHECK(t, probe_sleeps(t, pair.pool));
    CHECK_EQ(t, probe_wakes(&probe), 0);

    CHECK_EQ(t, conform_link_write(&pair.link, 1, "x", 1), 1);
    probe_turns(t, pair.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, tocsin_fd_ready_poll_io(pair.ready, READ, TOCSIN_IN, operate, &operation, &cx), 7);
    pair_close(t, &pair);
}

CONFORM_CASES(
    events, CASE(other_events_wake_nobody, "7", "Events that nobody asked for wake nobody.", EXACT),
    CASE(hup_is_always_of_interest, "7", "HUP ends a poll that did not ask for it.", EXACT),
    CASE(err_is_always_of_interest, "7", "ERR ends a poll that did not ask for it.", EXACT),
    CASE(hup_that_nobody_waits_for_keeps_nobody_awake, "7",
         "An object whose HUP stays true wakes its poll once, and the pool sleeps.", EXACT),
    CASE(rdhup_satisfies_in, "7", "RDHUP alone ends a poll for IN.", CONFORM_SOURCES),
    CASE(shutdown_of_the_peer_is_rdhup, "7", "A peer that shut its writing down is told as RDHUP.",
         EXACT),
    CASE(each_of_many_ready_descriptors_is_heard, "7",
         "Of more ready descriptors than fit in a list each is heard.", CONFORM_SOURCES),
    CASE(busy_descriptors_starve_no_other, "F1",
         "More always ready descriptors than fit in a list keep no other from being heard.",
         CONFORM_SOURCES),
    CASE(poll_on_another_thread_aborts, "11",
         "Polling, with or without a try, on a thread that is not the pool's aborts.",
         CONFORM_LINKS | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(poll_io_tries_before_it_waits, "7",
         "poll_io tries first, tries again at EINTR, and passes other answers on.", CONFORM_LINKS),
    CASE(poll_io_tries_again_at_the_event, "7",
         "At EAGAIN poll_io pends without another try, and tries again at each event.",
         CONFORM_LINKS),
    CASE(poll_io_survives_readiness_that_was_not_true, "7",
         "Readiness that is gone by the time of the try costs one try, and no event is lost.",
         CONFORM_LINKS));
