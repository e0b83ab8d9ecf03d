/*
 * Waits on eventfds and their like: design section 7.
 *
 * A poll that is ready has consumed one signal; cancel tells of one that was consumed and not
 * reported; so what polls and cancels tell, and what is still in the descriptor, is what was
 * signalled.
 */
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "probe.h"

enum {
    DESCRIPTORS = TOCSIN_BACKEND_DESCRIPTORS,
    THREADS = TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_FOREIGN_THREADS,
};

/* A pool and a wait on a descriptor of it. */
struct waited {
    struct tocsin_pool *pool;
    struct tocsin_wait *wait;
    int fd;
    struct probe probe;
    struct tocsin_context cx; /* polls on behalf of the probe */
};

/* Takes @fd over. */
static void waited_open(struct conform *t, struct waited *waited, int fd)
{
    REQUIRE(t, fd >= 0);
    memset(waited, 0, sizeof(*waited));
    waited->pool = conform_pool(t);
    waited->fd = fd;
    waited->cx = probe_context(&waited->probe, waited->pool);
    REQUIRE(t, tocsin_wait_open(tocsin_pool_driver(waited->pool), fd, &waited->wait) == 0);
}

static void waited_close(struct conform *t, struct waited *waited)
{
    CHECK_EQ(t, tocsin_wait_close(waited->wait), 0);
    probe_turns(t, waited->pool);
    CHECK_EQ(t, probe_references(&waited->probe), 0);
    conform_pool_close(t, waited->pool);
    close(waited->fd);
}

static int waited_poll(struct waited *waited, uint64_t *out_value)
{
    return tocsin_wait_poll(waited->wait, &waited->cx, out_value);
}

static void signal_by(struct conform *t, int fd, uint64_t value)
{
    REQUIRE(t, write(fd, &value, sizeof(value)) == sizeof(value));
}

static void wait_consumes_what_was_signalled(struct conform *t)
{
    struct waited waited;
    uint64_t value = 0;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    CHECK_EQ(t, waited_poll(&waited, &value), TOCSIN_PENDING);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, probe_wakes(&waited.probe), 0);
    signal_by(t, waited.fd, 2);
    signal_by(t, waited.fd, 1);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, probe_wakes(&waited.probe), 1);
    CHECK_EQ(t, waited_poll(&waited, &value), 0);
    CHECK_EQ(t, value, 3);
    CHECK_EQ(t, waited_poll(&waited, &value), TOCSIN_PENDING);
    CHECK_EQ(t, value, 3);

    /* And again, with nowhere to put the value. */
    signal_by(t, waited.fd, 1);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, probe_wakes(&waited.probe), 2);
    CHECK_EQ(t, waited_poll(&waited, NULL), 0);
    waited_close(t, &waited);
}

static void wait_takes_what_was_there_before(struct conform *t)
{
    struct waited waited;
    uint64_t value = 0;
    int r;

    waited_open(t, &waited, eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC));
    r = waited_poll(&waited, &value);
    if (r == TOCSIN_PENDING) {
        probe_turns(t, waited.pool);
        r = waited_poll(&waited, &value);
    }
    CHECK_EQ(t, r, 0);
    CHECK_EQ(t, value, 7);
    waited_close(t, &waited);
}

static int wait_fn(struct tocsin_context *cx, void *arg)
{
    return tocsin_wait_poll(arg, cx, NULL);
}

static void each_poll_takes_one_of_a_semaphore(struct conform *t)
{
    struct waited waited;
    uint64_t left = 0;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    signal_by(t, waited.fd, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), 0);
    }
    CHECK_EQ(t, read(waited.fd, &left, sizeof(left)), -1);
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    signal_by(t, waited.fd, 1);
    CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), 0);
    waited_close(t, &waited);
}

static void wait_on_a_timerfd_counts_expirations(struct conform *t)
{
    const struct itimerspec every_ms = {{0, 1000 * 1000}, {0, 1000 * 1000}};
    struct waited waited;
    uint64_t total = 0;

    waited_open(t, &waited, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    REQUIRE(t, timerfd_settime(waited.fd, 0, &every_ms, NULL) == 0);
    while (total < 3) {
        uint64_t value = 0;
        int r;

        probe_kernel_says(t, waited.fd, POLLIN);
        probe_turns(t, waited.pool);
        r = waited_poll(&waited, &value);
        CHECK_EQ(t, r, 0);
        CHECK(t, value >= 1);
        total += value;
        if (r != 0) {
            break;
        }
    }
    waited_close(t, &waited);
}

static void blocking_descriptor_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_wait *wait = NULL;
    int fd = eventfd(1, EFD_CLOEXEC);

    REQUIRE(t, fd >= 0);
    CHECK_EQ(t, tocsin_wait_open(tocsin_pool_driver(pool), fd, &wait), -EINVAL);
    close(fd);
    CHECK_EQ(t, tocsin_wait_open(tocsin_pool_driver(pool), fd, &wait), -EBADF);
    CHECK(t, wait == NULL);
    CHECK_EQ(t, tocsin_wait_close(NULL), 0);
    conform_pool_close(t, pool);
}

static void what_is_not_eight_bytes_is_eio(struct conform *t)
{
    struct waited waited;
    int fds[2] = {-1, -1};

    REQUIRE(t, tocsin_pipe_pair(&fds[0], &fds[1]) == 0);
    waited_open(t, &waited, fds[0]);
    CHECK_EQ(t, write(fds[1], "abcdefgh", 8), 8);
    CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), 0);
    CHECK_EQ(t, write(fds[1], "abc", 3), 3);
    CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), -EIO);
    close(fds[1]);
    CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), -EIO);
    waited_close(t, &waited);
}

static void cancel_gives_a_pending_wait_up(struct conform *t)
{
    struct waited waited;
    uint64_t value = 0;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    CHECK_EQ(t, tocsin_wait_cancel(waited.wait, NULL), 0);
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_wait_cancel(waited.wait, &value), 0);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, probe_references(&waited.probe), 0);
    CHECK_EQ(t, probe_wakes(&waited.probe), 0);

    /* Nobody waits, so the signal stays, for the poll that follows. */
    signal_by(t, waited.fd, 5);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, probe_wakes(&waited.probe), 0);
    CHECK_EQ(t, probe_complete(t, waited.pool, wait_fn, waited.wait), 0);
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    waited_close(t, &waited);
}

static void signal_before_a_cancel_is_counted_once(struct conform *t)
{
    struct waited waited;
    uint64_t total = 0;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    for (uint64_t sent = 1; sent <= 10; sent++) {
        uint64_t value = 0;
        int r;

        CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
        signal_by(t, waited.fd, 1);
        if (sent % 2 == 0) {
            probe_turns(t, waited.pool);
        }
        r = tocsin_wait_cancel(waited.wait, &value);
        CHECK(t, r == 0 || r == 1);
        CHECK_EQ(t, value, r);
        total += value;
        /* What cancel did not tell, a poll must. */
        while (total < sent) {
            probe_kernel_says(t, waited.fd, POLLIN);
            value = 0;
            if (waited_poll(&waited, &value) == TOCSIN_PENDING) {
                probe_turns(t, waited.pool);
                REQUIRE(t, waited_poll(&waited, &value) == 0);
            }
            total += value;
        }
        CHECK_EQ(t, total, sent);
    }
    waited_close(t, &waited);
}

static void wait_survives_another_reader(struct conform *t)
{
    struct waited waited;
    uint64_t value = 0;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    signal_by(t, waited.fd, 1);
    /* Before the pool hears of it, and after. */
    CHECK_EQ(t, read(waited.fd, &value, sizeof(value)), sizeof(value));
    probe_turns(t, waited.pool);
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    signal_by(t, waited.fd, 1);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, read(waited.fd, &value, sizeof(value)), sizeof(value));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, waited.pool));

    signal_by(t, waited.fd, 4);
    probe_turns(t, waited.pool);
    CHECK_EQ(t, waited_poll(&waited, &value), 0);
    CHECK_EQ(t, value, 4);
    waited_close(t, &waited);
}

static void wait_outlives_its_pool(struct conform *t)
{
    struct waited waited;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    conform_pool_close(t, waited.pool);
    CHECK_EQ(t, tocsin_wait_close(waited.wait), 0);
    CHECK_EQ(t, probe_references(&waited.probe), 0);
    close(waited.fd);
}

static void cancel_after_the_pool_has_closed_is_safe(struct conform *t)
{
    struct waited waited;

    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    CHECK_EQ(t, waited_poll(&waited, NULL), TOCSIN_PENDING);
    probe_turns(t, waited.pool);
    conform_pool_close(t, waited.pool);
    CHECK_EQ(t, tocsin_wait_cancel(waited.wait, NULL), 0);
    CHECK_EQ(t, probe_references(&waited.probe), 0);
    CHECK_EQ(t, tocsin_wait_close(waited.wait), 0);
    close(waited.fd);
}

/* One thread signals; the pool's task polls, and now and then cancels, until it has counted all. */
struct counting {
    struct waited *waited;
    struct conform *t;
    uint64_t sent;
    uint64_t counted;
};

static void signal_many_times(struct conform *t, void *arg)
{
    struct counting *counting = arg;

    for (uint64_t i = 0; i < counting->sent; i++) {
        signal_by(t, counting->waited->fd, 1);
    }
}

static int count_signals(struct tocsin_context *cx, void *arg)
{
    struct counting *counting = arg;

    while (counting->counted < counting->sent) {
        uint64_t value = 0;
        int r = tocsin_wait_poll(counting->waited->wait, cx, &value);

        if (r == TOCSIN_PENDING) {
            if (conform_random(counting->t) % 4 != 0) {
                return TOCSIN_PENDING;
            }
            r = tocsin_wait_cancel(counting->waited->wait, &value);
            CHECK(counting->t, r == 0 || (r == 1 && value > 0));
        } else {
            REQUIRE(counting->t, r == 0 && value > 0);
        }
        counting->counted += value;
    }
    return 0;
}

static void signals_are_counted(struct conform *t, int flags)
{
    struct waited waited;
    struct counting counting = {.waited = &waited, .t = t};
    struct conform_thread *thread;
    uint64_t left;

    /* The most that a soak does is a million. */
    counting.sent = t->scale > 1 ? conform_times(t, 100 * 1000) : 20 * 1000;
    waited_open(t, &waited, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | flags));
    thread = conform_thread(t, signal_many_times, &counting);
    CHECK_EQ(t, probe_complete(t, waited.pool, count_signals, &counting), 0);
    conform_thread_join(t, thread);
    CHECK_EQ(t, counting.counted, counting.sent);
    CHECK_EQ(t, read(waited.fd, &left, sizeof(left)), -1);
    waited_close(t, &waited);
}

static void no_signal_is_lost_or_counted_twice(struct conform *t)
{
    signals_are_counted(t, 0);
}

static void no_count_of_a_semaphore_is_lost_or_doubled(struct conform *t)
{
    signals_are_counted(t, EFD_SEMAPHORE);
}

CONFORM_CASES(
    wait,
    CASE(wait_consumes_what_was_signalled, "7",
         "A signal ends a pending wait, which consumes it and tells its value.", DESCRIPTORS),
    CASE(wait_takes_what_was_there_before, "7", "A signal from before the open is taken.",
         DESCRIPTORS),
    CASE(each_poll_takes_one_of_a_semaphore, "7", "A poll takes one count of a semaphore.",
         DESCRIPTORS),
    CASE(wait_on_a_timerfd_counts_expirations, "7", "A wait on a timerfd tells its expirations.",
         DESCRIPTORS),
    CASE(blocking_descriptor_is_refused, "7", "A descriptor without O_NONBLOCK is -EINVAL.",
         DESCRIPTORS),
    CASE(what_is_not_eight_bytes_is_eio, "7", "What is not read eight bytes at a time is -EIO.",
         DESCRIPTORS),
    CASE(cancel_gives_a_pending_wait_up, "7", "A cancel drops the waker and keeps later signals.",
         DESCRIPTORS),
    CASE(signal_before_a_cancel_is_counted_once, "7",
         "A signal that races a cancel is told by one of cancel and poll.", DESCRIPTORS),
    CASE(wait_survives_another_reader, "7",
         "A signal that another reader took is no signal, and the next one is heard.", DESCRIPTORS),
    CASE(wait_outlives_its_pool, "4.6", "A wait that outlives its pool closes safely.",
         DESCRIPTORS),
    CASE(cancel_after_the_pool_has_closed_is_safe, "4.6", "A cancel after the pool's end is safe.",
         DESCRIPTORS),
    CASE(no_signal_is_lost_or_counted_twice, "7",
         "With a second thread signalling, polls and cancels count every signal once.", THREADS),
    CASE(no_count_of_a_semaphore_is_lost_or_doubled, "7",
         "The same with a semaphore, one count a poll.", THREADS));
