/*
 * A storm of signals: system calls of the pool's thread are interrupted thousands of times, by a
 * handler without SA_RESTART.  Nothing may be early, lost or counted twice, and no call may fail.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/fault.h"

/* The storm: who is interrupted, how often so far, and when it is enough. */
static pthread_t storm_target;
static pthread_t storm_thread;
static atomic_uint storm_handled;
static atomic_bool storm_over;

static void handle(int signal)
{
    (void)signal;
    atomic_fetch_add_explicit(&storm_handled, 1, memory_order_relaxed);
}

enum {
    LOOKS_MAX = 1 << 20, /* at storm_handled, before a signal counts as lost */
};

/*
 * The next signal goes out when the last has been handled: none merge, none pile up.  One that is
 * never handled is not the kernel's doing: ThreadSanitizer's runtime now and then keeps one back.
 */
static void *storm(void *arg)
{
    unsigned sent = 0;
    unsigned looks = 0;

    (void)arg;
    while (!atomic_load_explicit(&storm_over, memory_order_relaxed)) {
        unsigned handled = atomic_load_explicit(&storm_handled, memory_order_relaxed);

        if (handled == sent || ++looks == LOOKS_MAX) {
            FAULT_EXPECT(pthread_kill(storm_target, SIGUSR1), 0);
            sent = handled + 1;
            looks = 0;
        }
    }
    return NULL;
}

static void storm_begin(void)
{
    struct sigaction action = {.sa_handler = handle}; /* no SA_RESTART */

    sigemptyset(&action.sa_mask);
    FAULT_EXPECT(sigaction(SIGUSR1, &action, NULL), 0);
    storm_target = pthread_self();
    FAULT_EXPECT(pthread_create(&storm_thread, NULL, storm, NULL), 0);
}

static void storm_end(void)
{
    atomic_store_explicit(&storm_over, true, memory_order_relaxed);
    FAULT_EXPECT(pthread_join(storm_thread, NULL), 0);
}

/* Has it been stormy enough? */
static bool is_weathered(void)
{
    return atomic_load_explicit(&storm_handled, memory_order_relaxed) >= support_scaled(2500);
}

/* ---- Timers ------------------------------------------------------------------------------------
 */

enum {
    TIMERS = 40,
};

struct timed {
    struct tocsin_pool *pool;
    struct tocsin_timer timers[TIMERS];
    uint64_t deadlines_ns[TIMERS];
    unsigned fired;
};

static void check_not_early(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct timed *timed = arg;

    (void)missed;
    FAULT_CHECK(tocsin_pool_now_ns(timed->pool) >= timed->deadlines_ns[timer - timed->timers]);
    timed->fired++;
}

static void timers_are_neither_early_nor_lost(void)
{
    struct timed timed = {.pool = fault_pool()};

    for (unsigned i = 0; i < TIMERS; i++) {
        FAULT_EXPECT(tocsin_timer_init(&timed.timers[i], tocsin_pool_driver(timed.pool),
                                       check_not_early, &timed),
                     0);
    }
    storm_begin();
    do {
        uint64_t now_ns = tocsin_pool_now_ns(timed.pool);

        timed.fired = 0;
        for (unsigned i = 0; i < TIMERS; i++) {
            timed.deadlines_ns[i] = now_ns + (i * 7919 % TIMERS) * 250000;
            tocsin_timer_arm(&timed.timers[i], timed.deadlines_ns[i]);
        }
        FAULT_EXPECT(tocsin_pool_run(timed.pool), 0);
        FAULT_EXPECT(timed.fired, TIMERS);
    } while (!is_weathered());
    storm_end();
    for (unsigned i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&timed.timers[i]);
    }
    FAULT_EXPECT(tocsin_pool_close(timed.pool), 0);
}

/* ---- Wakes -------------------------------------------------------------------------------------
 */

/* Each wake is answered by a poll before the next is sent: a lost one hangs. */
struct answered {
    struct tocsin_task task;
    struct tocsin_waker waker;
    atomic_uint asked;
    atomic_uint answers;
    atomic_bool has_waker;
    atomic_bool over;
    bool is_cloned; /* the pool's thread */
};

static int answer(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct answered *answered = (struct answered *)(void *)task;

    if (!answered->is_cloned) {
        answered->is_cloned = true;
        answered->waker = tocsin_waker_clone(&cx->waker);
        atomic_store_explicit(&answered->has_waker, true, memory_order_release);
    }
    atomic_store_explicit(&answered->answers,
                          atomic_load_explicit(&answered->asked, memory_order_relaxed),
                          memory_order_relaxed);
    return atomic_load_explicit(&answered->over, memory_order_relaxed) ? 0 : TOCSIN_PENDING;
}

static void *ask(void *arg)
{
    struct answered *answered = arg;
    unsigned asked = 0;

    while (!atomic_load_explicit(&answered->has_waker, memory_order_acquire)) {
    }
    while (!is_weathered()) {
        atomic_store_explicit(&answered->asked, ++asked, memory_order_relaxed);
        tocsin_waker_wake_by_ref(&answered->waker);
        while (atomic_load_explicit(&answered->answers, memory_order_relaxed) != asked) {
        }
    }
    atomic_store_explicit(&answered->over, true, memory_order_relaxed);
    tocsin_waker_wake(&answered->waker);
    return NULL;
}

static void no_wake_is_lost(void)
{
    static const struct tocsin_task_ops ops = {.poll = answer};
    struct tocsin_pool *pool = fault_pool();
    struct answered answered = {.waker = {NULL, NULL}};
    pthread_t asker;

    FAULT_EXPECT(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &answered.task, &ops, "a"), 0);
    FAULT_EXPECT(pthread_create(&asker, NULL, ask, &answered), 0);
    storm_begin();
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(pthread_join(asker, NULL), 0);
    storm_end();
    tocsin_task_unref(&answered.task);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* ---- Input and output --------------------------------------------------------------------------
 */

enum {
    CHUNK = 4096,
};

/* Bytes 0, 1, 2 ... modulo 251 go from one task to another, until it was stormy enough. */
struct stream {
    struct tocsin_task writer;
    struct tocsin_task reader;
    struct tocsin_socket *out;
    struct tocsin_socket *in;
    size_t written;
    size_t read;
    bool ended;
};

static int write_stream(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct stream *stream = (struct stream *)(void *)task;
    unsigned char data[CHUNK];

    while (!is_weathered()) {
        int n;

        for (size_t i = 0; i < CHUNK; i++) {
            data[i] = (unsigned char)((stream->written + i) % 251);
        }
        n = tocsin_socket_write(stream->out, data, sizeof(data), cx);
        if (n == TOCSIN_PENDING) {
            return n;
        }
        FAULT_CHECK(n > 0);
        stream->written += (size_t)n;
    }
    FAULT_EXPECT(tocsin_socket_shutdown(stream->out, TOCSIN_SHUTDOWN_WRITE), 0);
    return 0;
}

static int read_stream(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct stream *stream =
        (struct stream *)(void *)((char *)task - offsetof(struct stream, reader));
    unsigned char data[CHUNK];

    for (;;) {
        int n = tocsin_socket_read(stream->in, data, sizeof(data), cx);

        if (n == TOCSIN_PENDING || n == 0) {
            stream->ended = n == 0;
            return n;
        }
        FAULT_CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            FAULT_EXPECT(data[i], (long)((stream->read + (size_t)i) % 251));
        }
        stream->read += (size_t)n;
    }
}

static void bytes_arrive_once_and_in_order(void)
{
    static const struct tocsin_task_ops writer_ops = {.poll = write_stream};
    static const struct tocsin_task_ops reader_ops = {.poll = read_stream};
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct stream stream = {.written = 0};
    int fds[2];

    FAULT_EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    FAULT_EXPECT(tocsin_socket_open(driver, fds[0], &stream.out), 0);
    FAULT_EXPECT(tocsin_socket_open(driver, fds[1], &stream.in), 0);
    FAULT_EXPECT(tocsin_task_spawn(driver, &stream.writer, &writer_ops, "writer"), 0);
    FAULT_EXPECT(tocsin_task_spawn(driver, &stream.reader, &reader_ops, "reader"), 0);
    storm_begin();
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    storm_end();
    FAULT_CHECK(stream.ended);
    FAULT_CHECK(stream.written > 0);
    FAULT_EXPECT((long)stream.read, (long)stream.written);
    FAULT_EXPECT(tocsin_socket_close(stream.out), 0);
    FAULT_EXPECT(tocsin_socket_close(stream.in), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* ---- Waits -------------------------------------------------------------------------------------
 */

struct waiter {
    struct tocsin_task task;
    struct tocsin_wait *wait;
    int fd;
    atomic_uint taken;
    atomic_bool over;
};

static int take_signals(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct waiter *waiter = (struct waiter *)(void *)task;
    uint64_t value;

    for (;;) {
        int r = tocsin_wait_poll(waiter->wait, cx, &value);

        if (r == TOCSIN_PENDING) {
            return r;
        }
        FAULT_EXPECT(r, 0);
        if (value > 1000000) {
            return 0; /* the last one */
        }
        atomic_fetch_add_explicit(&waiter->taken, (unsigned)value, memory_order_relaxed);
    }
}

static void *give_signals(void *arg)
{
    struct waiter *waiter = arg;
    unsigned given = 0;

    while (!is_weathered()) {
        FAULT_EXPECT(eventfd_write(waiter->fd, 1), 0);
        given++;
        while (atomic_load_explicit(&waiter->taken, memory_order_relaxed) != given) {
        }
    }
    FAULT_EXPECT(eventfd_write(waiter->fd, 10000000), 0);
    return NULL;
}

static void each_signal_of_an_eventfd_is_taken_once(void)
{
    static const struct tocsin_task_ops ops = {.poll = take_signals};
    struct tocsin_pool *pool = fault_pool();
    struct waiter waiter = {.fd = eventfd(0, EFD_NONBLOCK)};
    pthread_t giver;

    FAULT_EXPECT(tocsin_wait_open(tocsin_pool_driver(pool), waiter.fd, &waiter.wait), 0);
    FAULT_EXPECT(tocsin_task_spawn(tocsin_pool_driver(pool), &waiter.task, &ops, "waiter"), 0);
    FAULT_EXPECT(pthread_create(&giver, NULL, give_signals, &waiter), 0);
    storm_begin();
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(pthread_join(giver, NULL), 0);
    storm_end();
    FAULT_EXPECT(tocsin_wait_close(waiter.wait), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    close(waiter.fd);
}

/* ---- Threads that block ------------------------------------------------------------------------
 */

static int poll_and_end(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 12;
}

/* Not the join but the release says that the memory is free. */
static void free_task(struct tocsin_task *task)
{
    free(task);
}

static void a_join_that_is_interrupted_goes_on(void)
{
    static const struct tocsin_task_ops ops = {.poll = poll_and_end, .release = free_task};
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    FAULT_EXPECT(tocsin_pool_spawn_thread(&thread, &driver, "joined", NULL, NULL), 0);
    storm_begin();
    do {
        struct tocsin_task *task = malloc(sizeof(*task));
        int result = 0;

        FAULT_EXPECT(tocsin_task_spawn_ref(driver, task, &ops, "brief"), 0);
        FAULT_EXPECT(tocsin_task_join(task, &result), 0);
        FAULT_EXPECT(result, 12);
        tocsin_task_unref(task);
    } while (!is_weathered());
    storm_end();
    tocsin_driver_unref(driver);
    FAULT_EXPECT(tocsin_pool_thread_join(thread), 0);
}

/* ---- A host ------------------------------------------------------------------------------------
 */

static void count_period(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    *(uint64_t *)arg += 1 + missed;
}

static void a_hosted_pool_keeps_its_periods(void)
{
    struct tocsin_pool *pool = fault_pool();
    struct pollfd host = {.fd = tocsin_pool_poll_fd(pool), .events = POLLIN};
    struct tocsin_timer timer;
    uint64_t periods = 0;
    uint64_t start_ns = tocsin_pool_now_ns(pool);
    uint64_t elapsed_ns;

    FAULT_EXPECT(tocsin_timer_init(&timer, tocsin_pool_driver(pool), count_period, &periods), 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.deadline_ns = start_ns + 500000,
                                                              .period_ns = 500000});
    storm_begin();
    FAULT_EXPECT(tocsin_pool_turn(pool), 1);
    while (!is_weathered() || periods < 5) {
        if (poll(&host, 1, -1) == 1) {
            FAULT_EXPECT(tocsin_pool_turn(pool), 1);
        }
    }
    elapsed_ns = tocsin_pool_now_ns(pool) - start_ns;
    storm_end();
    FAULT_CHECK(periods <= elapsed_ns / 500000); /* never early */
    tocsin_timer_deinit(&timer);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static const struct fault_case cases[] = {
    {"timers_are_neither_early_nor_lost", timers_are_neither_early_nor_lost},
    {"no_wake_is_lost", no_wake_is_lost},
    {"bytes_arrive_once_and_in_order", bytes_arrive_once_and_in_order},
    {"each_signal_of_an_eventfd_is_taken_once", each_signal_of_an_eventfd_is_taken_once},
    {"a_join_that_is_interrupted_goes_on", a_join_that_is_interrupted_goes_on},
    {"a_hosted_pool_keeps_its_periods", a_hosted_pool_keeps_its_periods},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
