/*
 * Sockets, pipes and events of the simulation: what they carry, when it arrives, and which events
 * they have.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sim.h"

enum {
    IN = TOCSIN_IN,
    OUT = TOCSIN_OUT,
    ERR = TOCSIN_ERR,
    HUP = TOCSIN_HUP,
    PRI = TOCSIN_PRI,
    RDHUP = TOCSIN_RDHUP,
    MEGABYTE = 1 << 20,
};

/* A simulation with a connection. */
struct pair {
    struct tocsin_sim *sim;
    intptr_t ends[2];
};

static struct pair pair_open(const struct tocsin_sim_link_options *options)
{
    struct pair pair = {.sim = unit_sim(1)};

    UNIT_CHECK(tocsin_sim_stream_pair(pair.sim, options, pair.ends) == 0);
    return pair;
}

static void pair_close(struct pair *pair)
{
    UNIT_CHECK(tocsin_sim_close(pair->sim) == 0); /* what is open goes with it */
}

static int read_one(struct pair *pair, int end)
{
    char byte = 0;
    int r = tocsin_sim_object_read(pair->sim, pair->ends[end], &byte, 1);

    return r == 1 ? byte : r;
}

static int write_text(struct pair *pair, int end, const char *text)
{
    return tocsin_sim_object_write(pair->sim, pair->ends[end], text, strlen(text));
}

static int events_of(struct pair *pair, int end)
{
    return tocsin_sim_object_events(pair->sim, pair->ends[end]);
}

static void bytes_arrive_in_order_both_ways(void **state)
{
    struct pair pair = pair_open(NULL);
    char text[8] = "";

    (void)state;
    assert_int_equal(events_of(&pair, 0), OUT);
    assert_int_equal(write_text(&pair, 0, "abc"), 3);
    assert_int_equal(write_text(&pair, 0, "de"), 2);
    assert_int_equal(write_text(&pair, 1, "x"), 1);
    assert_int_equal(events_of(&pair, 1), IN | OUT);
    assert_int_equal(tocsin_sim_object_read(pair.sim, pair.ends[1], text, sizeof(text)), 5);
    assert_string_equal(text, "abcde");
    assert_int_equal(read_one(&pair, 1), -EAGAIN);
    assert_int_equal(read_one(&pair, 0), 'x');
    assert_int_equal(tocsin_sim_object_read(pair.sim, pair.ends[0], text, 0), -EAGAIN);
    assert_int_equal(tocsin_sim_object_write(pair.sim, pair.ends[0], text, 0), 0);
    pair_close(&pair);
}

static void a_full_connection_takes_no_more(void **state)
{
    const struct tocsin_sim_link_options options = {.capacity_bytes = 4};
    struct pair pair = pair_open(&options);

    (void)state;
    assert_int_equal(write_text(&pair, 0, "abcdef"), 4);
    assert_int_equal(write_text(&pair, 0, "ef"), -EAGAIN);
    assert_int_equal(events_of(&pair, 0), 0);
    assert_int_equal(read_one(&pair, 1), 'a');
    assert_int_equal(events_of(&pair, 0), OUT);
    assert_int_equal(write_text(&pair, 0, "ef"), 1); /* round the end of the ring */
    for (const char *byte = "bcde"; *byte != '\0'; byte++) {
        assert_int_equal(read_one(&pair, 1), *byte);
    }
    assert_int_equal(read_one(&pair, 1), -EAGAIN);
    pair_close(&pair);
}

static void latency_is_between_its_bounds_and_keeps_order(void **state)
{
    const struct tocsin_sim_link_options options = {.latency_min_ns = 100, .latency_max_ns = 200};
    unsigned later = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct tocsin_sim *sim = unit_sim((uint64_t)i);
        struct pair pair = {.sim = sim};
        uint64_t begin_ns = tocsin_sim_now_ns(sim);

        assert_int_equal(tocsin_sim_stream_pair(sim, &options, pair.ends), 0);
        for (char byte = 'A'; byte < 'A' + 50; byte++) {
            assert_int_equal(tocsin_sim_object_write(sim, pair.ends[0], &byte, 1), 1);
        }
        assert_int_equal(tocsin_sim_pass(sim, 99), 0);
        assert_int_equal(read_one(&pair, 1), -EAGAIN);
        for (char byte = 'A'; byte < 'A' + 50; byte++) {
            int r;

            while ((r = read_one(&pair, 1)) == -EAGAIN) {
                assert_int_equal(tocsin_sim_sleep(sim, 1), 0);
            }
            assert_int_equal(r, byte);
        }
        assert_true(tocsin_sim_now_ns(sim) <= begin_ns + 200);
        later += tocsin_sim_now_ns(sim) > begin_ns + 150;
        pair_close(&pair);
    }
    assert_true(later > 0);
}

static void what_takes_for_ever_never_arrives(void **state)
{
    const struct tocsin_sim_link_options options = {.latency_min_ns = TOCSIN_NEVER_NS,
                                                    .latency_max_ns = TOCSIN_NEVER_NS};
    struct pair pair = pair_open(&options);

    (void)state;
    assert_int_equal(tocsin_sim_object_write(pair.sim, pair.ends[0], "A", 1), 1);
    assert_int_equal(tocsin_sim_sleep(pair.sim, UNIT_S), 0);
    assert_int_equal(read_one(&pair, 1), -EAGAIN);
    pair_close(&pair);
}

static void reads_and_writes_are_cut_by_the_seed(void **state)
{
    const struct tocsin_sim_link_options options = {.partial_ppm = 500000};
    struct pair pair = pair_open(&options);
    unsigned cut_writes = 0;
    unsigned cut_reads = 0;
    char bytes[10] = "0123456789";

    (void)state;
    for (int i = 0; i < 200; i++) {
        int wrote = tocsin_sim_object_write(pair.sim, pair.ends[0], bytes, sizeof(bytes));
        int left = wrote;

        assert_in_range(wrote, 1, 10);
        cut_writes += wrote < 10;
        while (left > 0) {
            int r = tocsin_sim_object_read(pair.sim, pair.ends[1], bytes, sizeof(bytes));

            assert_in_range(r, 1, left);
            cut_reads += r < left;
            left -= r;
        }
        memcpy(bytes, "0123456789", sizeof(bytes));
    }
    assert_in_range(cut_writes, 50, 150);
    assert_in_range(cut_reads, 50, 400);
    pair_close(&pair);
}

static void the_end_comes_behind_the_data(void **state)
{
    const struct tocsin_sim_link_options options = {.latency_min_ns = 10, .latency_max_ns = 10};
    struct pair pair = pair_open(&options);

    (void)state;
    assert_int_equal(write_text(&pair, 0, "a"), 1);
    assert_int_equal(tocsin_sim_object_shutdown(pair.sim, pair.ends[0], TOCSIN_SHUTDOWN_WRITE), 0);
    assert_int_equal(write_text(&pair, 0, "b"), -EPIPE);
    assert_int_equal(events_of(&pair, 1), OUT);
    assert_int_equal(tocsin_sim_pass(pair.sim, 10), 0);
    assert_int_equal(events_of(&pair, 1), IN | OUT | RDHUP);
    assert_int_equal(read_one(&pair, 1), 'a');
    assert_int_equal(read_one(&pair, 1), 0);
    assert_int_equal(write_text(&pair, 1, "c"), 1); /* the other way is open */
    assert_int_equal(tocsin_sim_pass(pair.sim, 10), 0);
    assert_int_equal(read_one(&pair, 0), 'c');
    assert_int_equal(tocsin_sim_object_shutdown(pair.sim, pair.ends[1], TOCSIN_SHUTDOWN_WRITE), 0);
    assert_int_equal(tocsin_sim_pass(pair.sim, 10), 0);
    assert_int_equal(events_of(&pair, 0), IN | OUT | RDHUP | HUP);
    assert_int_equal(events_of(&pair, 1), IN | OUT | RDHUP | HUP);
    pair_close(&pair);
}

static void shutting_the_reading_side_ends_the_peers_writes(void **state)
{
    struct pair pair = pair_open(NULL);

    (void)state;
    assert_int_equal(tocsin_sim_object_shutdown(pair.sim, pair.ends[0], TOCSIN_SHUTDOWN_READ), 0);
    assert_int_equal(events_of(&pair, 0), IN | OUT | RDHUP);
    assert_int_equal(read_one(&pair, 0), 0);
    assert_int_equal(write_text(&pair, 1, "x"), -EPIPE);
    assert_int_equal(write_text(&pair, 0, "x"), 1);
    pair_close(&pair);
}

static void a_closed_peer_hangs_up(void **state)
{
    struct pair pair = pair_open(NULL);

    (void)state;
    assert_int_equal(write_text(&pair, 0, "a"), 1);
    assert_int_equal(tocsin_sim_object_close(pair.sim, pair.ends[0]), 0);
    assert_int_equal(events_of(&pair, 1), IN | OUT | RDHUP | HUP);
    assert_int_equal(read_one(&pair, 1), 'a');
    assert_int_equal(read_one(&pair, 1), 0);
    assert_int_equal(write_text(&pair, 1, "x"), -EPIPE);
    assert_int_equal(events_of(&pair, 0), -EBADF);
    assert_int_equal(read_one(&pair, 0), -EBADF);
    pair_close(&pair);
}

static void closing_with_data_unread_resets(void **state)
{
    struct pair pair = pair_open(NULL);

    (void)state;
    assert_int_equal(write_text(&pair, 1, "unread"), 6);
    assert_int_equal(tocsin_sim_object_close(pair.sim, pair.ends[0]), 0);
    assert_int_equal(events_of(&pair, 1), IN | OUT | RDHUP | HUP | ERR);
    assert_int_equal(read_one(&pair, 1), -ECONNRESET);
    assert_int_equal(events_of(&pair, 1), IN | OUT | RDHUP | HUP);
    assert_int_equal(read_one(&pair, 1), 0);
    pair_close(&pair);
}

static void a_reset_loses_what_is_under_way_and_is_told_once(void **state)
{
    struct pair pair = pair_open(NULL);

    (void)state;
    assert_int_equal(write_text(&pair, 0, "lost"), 4);
    assert_int_equal(tocsin_sim_object_reset(pair.sim, pair.ends[0]), 0);
    assert_int_equal(write_text(&pair, 1, "x"), -ECONNRESET);
    assert_int_equal(write_text(&pair, 1, "x"), -EPIPE);
    assert_int_equal(read_one(&pair, 1), 0);
    assert_int_equal(read_one(&pair, 0), 0);
    assert_int_equal(write_text(&pair, 0, "x"), -EPIPE);
    pair_close(&pair);
}

static void connections_are_reset_by_the_seed(void **state)
{
    const struct tocsin_sim_link_options options = {.reset_ppm = 100000};
    unsigned resets = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct pair pair = {.sim = unit_sim(seed)};
        int r;

        assert_int_equal(tocsin_sim_stream_pair(pair.sim, &options, pair.ends), 0);
        r = write_text(&pair, 0, "x");
        assert_true(r == 1 || r == -ECONNRESET);
        if (r < 0) {
            resets++;
            assert_int_equal(read_one(&pair, 1), -ECONNRESET);
        }
        pair_close(&pair);
    }
    assert_in_range(resets, 2, 30);
}

static void an_urgent_byte_is_pri(void **state)
{
    struct pair pair = pair_open(NULL);
    unsigned char byte = 0;

    (void)state;
    assert_int_equal(tocsin_sim_object_read_urgent(pair.sim, pair.ends[1], &byte), -EAGAIN);
    assert_int_equal(tocsin_sim_object_write_urgent(pair.sim, pair.ends[0], '!'), 0);
    assert_int_equal(events_of(&pair, 1), OUT | PRI);
    assert_int_equal(read_one(&pair, 1), -EAGAIN);
    assert_int_equal(tocsin_sim_object_read_urgent(pair.sim, pair.ends[1], &byte), 0);
    assert_int_equal(byte, '!');
    assert_int_equal(events_of(&pair, 1), OUT);
    assert_int_equal(tocsin_sim_object_close(pair.sim, pair.ends[1]), 0);
    assert_int_equal(tocsin_sim_object_write_urgent(pair.sim, pair.ends[0], '!'), -EPIPE);
    pair_close(&pair);
}

static void a_pipe_is_one_way(void **state)
{
    const struct tocsin_sim_link_options options = {.capacity_bytes = 2};
    struct pair pipe = {.sim = unit_sim(1)};

    (void)state;
    assert_int_equal(tocsin_sim_pipe(pipe.sim, &options, pipe.ends), 0);
    assert_int_equal(events_of(&pipe, 0), 0);
    assert_int_equal(events_of(&pipe, 1), OUT);
    assert_int_equal(write_text(&pipe, 1, "ab"), 2);
    assert_int_equal(events_of(&pipe, 0), IN);
    assert_int_equal(events_of(&pipe, 1), 0);
    assert_int_equal(write_text(&pipe, 0, "x"), -EBADF);
    assert_int_equal(read_one(&pipe, 1), -EBADF);
    assert_int_equal(tocsin_sim_object_reset(pipe.sim, pipe.ends[0]), -EBADF);
    assert_int_equal(tocsin_sim_object_shutdown(pipe.sim, pipe.ends[1], TOCSIN_SHUTDOWN_WRITE),
                     -EBADF);
    assert_int_equal(tocsin_sim_object_close(pipe.sim, pipe.ends[1]), 0);
    assert_int_equal(events_of(&pipe, 0), IN | HUP);
    assert_int_equal(read_one(&pipe, 0), 'a');
    assert_int_equal(read_one(&pipe, 0), 'b');
    assert_int_equal(events_of(&pipe, 0), HUP);
    assert_int_equal(read_one(&pipe, 0), 0);
    pair_close(&pipe);
}

static void a_pipe_without_a_reader_is_broken(void **state)
{
    struct pair pipe = {.sim = unit_sim(1)};

    (void)state;
    assert_int_equal(tocsin_sim_pipe(pipe.sim, NULL, pipe.ends), 0);
    assert_int_equal(tocsin_sim_object_close(pipe.sim, pipe.ends[0]), 0);
    assert_int_equal(events_of(&pipe, 1), OUT | ERR);
    assert_int_equal(write_text(&pipe, 1, "x"), -EPIPE);
    pair_close(&pipe);
}

static void events_count_as_eventfds(void **state)
{
    struct pair events = {.sim = unit_sim(1)};
    const uint64_t most = UINT64_MAX - 1;
    const uint64_t over = UINT64_MAX;
    uint64_t count = 2;

    (void)state;
    assert_int_equal(tocsin_sim_event(events.sim, 0, false, &events.ends[0]), 0);
    assert_int_equal(tocsin_sim_event(events.sim, 2, true, &events.ends[1]), 0);
    assert_int_equal(tocsin_sim_event(events.sim, over, false, &(intptr_t){0}), -EINVAL);
    assert_int_equal(tocsin_sim_object_read(events.sim, events.ends[0], &count, 8), -EAGAIN);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &count, 8), 8);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &count, 8), 8);
    assert_int_equal(events_of(&events, 0), IN | OUT);
    assert_int_equal(tocsin_sim_object_read(events.sim, events.ends[0], &count, 7), -EINVAL);
    assert_int_equal(tocsin_sim_object_read(events.sim, events.ends[0], &count, 8), 8);
    assert_int_equal(count, 4);
    assert_int_equal(events_of(&events, 0), OUT);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &over, 8), -EINVAL);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &most, 7), -EINVAL);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &most, 8), 8);
    assert_int_equal(events_of(&events, 0), IN);
    assert_int_equal(tocsin_sim_object_write(events.sim, events.ends[0], &count, 8), -EAGAIN);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tocsin_sim_object_read(events.sim, events.ends[1], &count, 8), 8);
        assert_int_equal(count, 1);
    }
    assert_int_equal(tocsin_sim_object_read(events.sim, events.ends[1], &count, 8), -EAGAIN);
    pair_close(&events);
}

static void the_lowest_free_number_is_given_out(void **state)
{
    struct tocsin_sim *sim = unit_sim(1);
    intptr_t numbers[40];

    (void)state;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(tocsin_sim_event(sim, 0, false, &numbers[i]), 0);
        assert_int_equal(numbers[i], i);
    }
    assert_int_equal(tocsin_sim_object_close(sim, 17), 0);
    assert_int_equal(tocsin_sim_object_close(sim, 17), -EBADF);
    assert_int_equal(tocsin_sim_object_close(sim, -1), -EBADF);
    assert_int_equal(tocsin_sim_object_close(sim, 1000000), -EBADF);
    assert_int_equal(tocsin_sim_event(sim, 0, false, &numbers[17]), 0);
    assert_int_equal(numbers[17], 17);
    assert_int_equal(tocsin_sim_close(sim), 0);
}

/* ---- Watched --------------------------------------------------------------------------------- */

/* A watch is told of each edge, and of nothing else. */
static void edges_end_waits(void **state)
{
    const struct tocsin_sim_link_options options = {
        .capacity_bytes = 1, .latency_min_ns = UNIT_MS, .latency_max_ns = UNIT_MS};
    struct pair pair = pair_open(&options);
    struct tocsin_pool *pool = unit_sim_pool(pair.sim);
    struct tocsin_fd_ready *ready = unit_sim_watch(pool, pair.ends[0]);
    struct unit_waker counts = {0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};

    (void)state;
    unit_sim_run_for(pool, 1);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, IN, &cx), TOCSIN_PENDING);
    assert_int_equal(write_text(&pair, 1, "x"), 1);
    unit_sim_run_for(pool, UNIT_MS / 2);
    assert_int_equal(unit_load(&counts.wakes), 0);
    unit_sim_run_for(pool, UNIT_MS);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, IN, &cx), IN);
    assert_int_equal(read_one(&pair, 0), 'x');
    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, IN, &cx), TOCSIN_PENDING);
    unit_sim_run_for(pool, UNIT_S);
    assert_int_equal(unit_load(&counts.wakes), 1);
    /* A write that found no room is told when there is some. */
    assert_int_equal(write_text(&pair, 0, "ab"), 1);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, OUT, &cx), OUT);
    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_WRITE);
    assert_int_equal(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_WRITE, OUT, &cx), TOCSIN_PENDING);
    unit_sim_run_for(pool, UNIT_S);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(read_one(&pair, 1), 'a');
    unit_sim_run_for(pool, 1);
    assert_int_equal(unit_load(&counts.wakes), 2);
    assert_int_equal(tocsin_fd_ready_close(ready), 0);
    assert_int_equal(tocsin_pool_close(pool), 0);
    pair_close(&pair);
}

enum {
    CROWD = 6,
    ORDERS = 50, /* seeds */
};

/* What the trace says of one kind of step: the number that comes with it, in order. */
struct seen {
    const char *what;
    char order[CROWD + 1];
    size_t count;
};

static void note_order(void *arg, const char *line)
{
    struct seen *seen = arg;
    const char *found = strstr(line, seen->what);

    if (found != NULL && seen->count < CROWD) {
        seen->order[seen->count++] = found[strlen(seen->what)];
    }
}

/* Each of a crowd is watched, and all become readable at one time. */
static void order_of_a_crowd(uint64_t seed, uint64_t latency_ns, struct seen *seen)
{
    const struct tocsin_sim_options options = {
        .seed = seed, .trace = note_order, .trace_arg = seen};
    const struct tocsin_sim_link_options link = {.latency_min_ns = latency_ns,
                                                 .latency_max_ns = latency_ns};
    struct tocsin_fd_ready *readies[CROWD];
    struct tocsin_pool *pool;
    struct tocsin_sim *sim;
    intptr_t ends[CROWD][2];

    UNIT_CHECK(tocsin_sim_open(&sim, &options) == 0);
    pool = unit_sim_pool(sim);
    for (int i = 0; i < CROWD; i++) {
        UNIT_CHECK(tocsin_sim_pipe(sim, &link, ends[i]) == 0); /* 0, 2, 4 ... read */
        readies[i] = unit_sim_watch(pool, ends[i][0]);
        UNIT_CHECK(tocsin_sim_object_write(sim, ends[i][1], "x", 1) == 1);
    }
    unit_sim_run_for(pool, 10);
    for (int i = 0; i < CROWD; i++) {
        UNIT_CHECK(tocsin_fd_ready_close(readies[i]) == 0);
    }
    unit_sim_close(sim, pool);
    UNIT_CHECK(seen->count == CROWD);
}

static void the_seed_orders(const char *what, uint64_t latency_ns)
{
    struct seen first = {.what = what};
    unsigned others = 0;

    order_of_a_crowd(1, latency_ns, &first);
    for (uint64_t seed = 2; seed < 2 + ORDERS; seed++) {
        struct seen seen = {.what = what};
        struct seen again = {.what = what};

        order_of_a_crowd(seed, latency_ns, &seen);
        order_of_a_crowd(seed, latency_ns, &again);
        assert_string_equal(seen.order, again.order);
        others += strcmp(seen.order, first.order) != 0;
    }
    assert_true(others > ORDERS / 2);
}

static void events_of_a_batch_are_in_the_seeds_order(void **state)
{
    (void)state;
    the_seed_orders(" main event ", 0);
}

enum {
    BUSY = 300, /* more than fit in a pool's list of events */
};

/* Which of the busy ones were told of. */
struct told {
    bool seen[BUSY];
    unsigned count;
};

static void note_told(void *arg, const char *line)
{
    struct told *told = arg;
    const char *found = strstr(line, " main event ");

    if (found != NULL) {
        told->seen[strtol(found + strlen(" main event "), NULL, 10)] = true;
        told->count++;
    }
}

static void the_oldest_are_told_first(void **state)
{
    static struct tocsin_fd_ready *readies[BUSY];
    const uint64_t one = 1;

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct told told = {.count = 0};
        const struct tocsin_sim_options options = {
            .seed = seed, .trace = note_told, .trace_arg = &told};
        struct tocsin_pool *pool;
        struct tocsin_sim *sim;
        intptr_t number;

        assert_int_equal(tocsin_sim_open(&sim, &options), 0);
        pool = unit_sim_pool(sim);
        for (int i = 0; i < BUSY; i++) {
            assert_int_equal(tocsin_sim_event(sim, 1, false, &number), 0);
            readies[i] = unit_sim_watch(pool, number);
        }
        assert_int_equal(tocsin_pool_turn(pool), 0);
        assert_in_range(told.count, 1, BUSY - 1); /* there was no room for some */
        for (int i = 0; i < BUSY; i++) {
            assert_int_equal(tocsin_sim_object_write(sim, i, &one, sizeof(one)), 8);
        }
        assert_int_equal(tocsin_pool_turn(pool), 0);
        for (int i = 0; i < BUSY; i++) {
            assert_true(told.seen[i]);
            assert_int_equal(tocsin_fd_ready_close(readies[i]), 0);
        }
        unit_sim_close(sim, pool);
    }
}

static void what_is_due_at_one_time_is_in_the_seeds_order(void **state)
{
    (void)state;
    the_seed_orders(" arrive ", 5);
}

static void watches_know_their_number_from_a_later_one(void **state)
{
    struct pair pair = pair_open(NULL);
    struct tocsin_pool *pool = unit_sim_pool(pair.sim);
    struct tocsin_fd_ready *ready = unit_sim_watch(pool, pair.ends[0]);
    struct tocsin_fd_ready *other = NULL;
    intptr_t number;

    (void)state;
    assert_int_equal(
        tocsin_source_ready_open(tocsin_pool_driver(pool), TOCSIN_SOURCE_OWN, pair.ends[0], &other),
        -EEXIST);
    assert_int_equal(
        tocsin_source_ready_open(tocsin_pool_driver(pool), TOCSIN_SOURCE_OWN, 1000, &other),
        -EBADF);
    assert_int_equal(tocsin_fd_ready_open(tocsin_pool_driver(pool), 0, &other), -EOPNOTSUPP);
    assert_int_equal(tocsin_sim_object_close(pair.sim, pair.ends[0]), 0);
    assert_int_equal(tocsin_fd_ready_close(ready), -EBADF);
    ready = unit_sim_watch(pool, pair.ends[1]);
    assert_int_equal(tocsin_sim_object_close(pair.sim, pair.ends[1]), 0);
    assert_int_equal(tocsin_sim_event(pair.sim, 0, false, &number), 0);
    assert_int_equal(tocsin_sim_event(pair.sim, 0, false, &number), 0);
    assert_int_equal(number, pair.ends[1]);
    assert_int_equal(tocsin_fd_ready_close(ready), -ENOENT);
    assert_int_equal(tocsin_pool_close(pool), 0);
    pair_close(&pair);
}

/* ---- A megabyte, over a bad line ------------------------------------------------------------- */

struct transfer {
    struct tocsin_sim *sim;
    intptr_t number;
    struct tocsin_fd_ready *ready;
    uint32_t done;
};

static unsigned char byte_at(uint32_t place)
{
    return (unsigned char)(place * 31 + place / 255);
}

static int send_part(intptr_t number, void *arg)
{
    struct transfer *transfer = arg;
    unsigned char bytes[1000];
    uint32_t count = MEGABYTE - transfer->done;

    count = count < sizeof(bytes) ? count : sizeof(bytes);
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = byte_at(transfer->done + i);
    }
    return tocsin_sim_object_write(transfer->sim, number, bytes, count);
}

static int poll_send(struct unit_task *task, struct tocsin_context *cx)
{
    struct transfer *transfer = task->arg;

    while (transfer->done < MEGABYTE) {
        int r = tocsin_fd_ready_poll_io(transfer->ready, TOCSIN_SLOT_WRITE, OUT, send_part,
                                        transfer, cx);

        if (r < 0) {
            return r;
        }
        transfer->done += (uint32_t)r;
    }
    return tocsin_sim_object_shutdown(transfer->sim, transfer->number, TOCSIN_SHUTDOWN_WRITE);
}

static int receive_part(intptr_t number, void *arg)
{
    struct transfer *transfer = arg;
    unsigned char bytes[777];
    int r = tocsin_sim_object_read(transfer->sim, number, bytes, sizeof(bytes));

    for (int i = 0; i < r; i++) {
        UNIT_CHECK(bytes[i] == byte_at(transfer->done + (uint32_t)i));
    }
    return r;
}

static int poll_receive(struct unit_task *task, struct tocsin_context *cx)
{
    struct transfer *transfer = task->arg;
    int r;

    while ((r = tocsin_fd_ready_poll_io(transfer->ready, TOCSIN_SLOT_READ, IN, receive_part,
                                        transfer, cx)) > 0) {
        transfer->done += (uint32_t)r;
    }
    return r;
}

static void a_megabyte_arrives_whole_over_a_bad_line(void **state)
{
    const struct tocsin_sim_link_options options = {.capacity_bytes = 5000,
                                                    .partial_ppm = 300000,
                                                    .latency_min_ns = 0,
                                                    .latency_max_ns = UNIT_MS};
    struct pair pair = pair_open(&options);
    struct tocsin_pool *pool = unit_sim_pool(pair.sim);
    struct transfer transfers[2] = {{.sim = pair.sim, .number = pair.ends[0]},
                                    {.sim = pair.sim, .number = pair.ends[1]}};
    struct unit_task sender = {.poll = poll_send, .arg = &transfers[0]};
    struct unit_task receiver = {.poll = poll_receive, .arg = &transfers[1]};

    (void)state;
    for (int i = 0; i < 2; i++) {
        transfers[i].ready = unit_sim_watch(pool, pair.ends[i]);
    }
    unit_task_spawn(&sender, tocsin_pool_driver(pool), "sender");
    unit_task_spawn(&receiver, tocsin_pool_driver(pool), "receiver");
    assert_int_equal(tocsin_pool_run(pool), 0);
    assert_int_equal(transfers[0].done, MEGABYTE);
    assert_int_equal(transfers[1].done, MEGABYTE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tocsin_fd_ready_close(transfers[i].ready), 0);
    }
    tocsin_task_unref(&sender.task);
    tocsin_task_unref(&receiver.task);
    assert_int_equal(tocsin_pool_close(pool), 0);
    pair_close(&pair);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bytes_arrive_in_order_both_ways),
    cmocka_unit_test(a_full_connection_takes_no_more),
    cmocka_unit_test(latency_is_between_its_bounds_and_keeps_order),
    cmocka_unit_test(what_takes_for_ever_never_arrives),
    cmocka_unit_test(reads_and_writes_are_cut_by_the_seed),
    cmocka_unit_test(the_end_comes_behind_the_data),
    cmocka_unit_test(shutting_the_reading_side_ends_the_peers_writes),
    cmocka_unit_test(a_closed_peer_hangs_up),
    cmocka_unit_test(closing_with_data_unread_resets),
    cmocka_unit_test(a_reset_loses_what_is_under_way_and_is_told_once),
    cmocka_unit_test(connections_are_reset_by_the_seed),
    cmocka_unit_test(an_urgent_byte_is_pri),
    cmocka_unit_test(a_pipe_is_one_way),
    cmocka_unit_test(a_pipe_without_a_reader_is_broken),
    cmocka_unit_test(events_count_as_eventfds),
    cmocka_unit_test(the_lowest_free_number_is_given_out),
    cmocka_unit_test(edges_end_waits),
    cmocka_unit_test(events_of_a_batch_are_in_the_seeds_order),
    cmocka_unit_test(the_oldest_are_told_first),
    cmocka_unit_test(what_is_due_at_one_time_is_in_the_seeds_order),
    cmocka_unit_test(watches_know_their_number_from_a_later_one),
    cmocka_unit_test(a_megabyte_arrives_whole_over_a_bad_line),
};

UNIT_MAIN(tests)
