/*
 * Signals as a wait, by signalfd: tocsin/linux.h, design sections 7 and 11.
 *
 * The program blocks the signals that it waits for; the library changes no mask and no handler.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tocsin/linux.h>

#include "probe.h"

enum {
    DESCRIPTORS = TOCSIN_BACKEND_DESCRIPTORS,
    THREADS = TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_FOREIGN_THREADS,
};

/* A pool that waits for signals. */
struct signalled {
    struct tocsin_pool *pool;
    struct tocsin_signals *signals;
    struct tocsin_signal_info info;
    struct probe probe;
    struct tocsin_context cx; /* polls on behalf of the probe */
};

static sigset_t block(struct conform *t, int first, int second)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, first);
    sigaddset(&set, second);
    REQUIRE(t, pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    return set;
}

/* Block the two signals and wait for them. */
static void signalled_open(struct conform *t, struct signalled *signalled, int first, int second)
{
    const int numbers[] = {first, second};

    (void)block(t, first, second);
    memset(signalled, 0, sizeof(*signalled));
    signalled->pool = conform_pool(t);
    signalled->cx = probe_context(&signalled->probe, signalled->pool);
    REQUIRE(t, tocsin_signals_open(tocsin_pool_driver(signalled->pool), numbers, 2,
                                   &signalled->signals) == 0);
}

static void signalled_close(struct conform *t, struct signalled *signalled)
{
    CHECK_EQ(t, tocsin_signals_close(signalled->signals), 0);
    probe_turns(t, signalled->pool);
    CHECK_EQ(t, probe_references(&signalled->probe), 0);
    conform_pool_close(t, signalled->pool);
}

static int signalled_poll(struct signalled *signalled)
{
    return tocsin_signals_poll(signalled->signals, &signalled->cx, &signalled->info);
}

static int signals_fn(struct tocsin_context *cx, void *arg)
{
    struct signalled *signalled = arg;

    return tocsin_signals_poll(signalled->signals, cx, &signalled->info);
}

static void signal_wakes_a_pending_poll(struct conform *t)
{
    struct signalled signalled;

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, signalled.pool));
    CHECK_EQ(t, probe_wakes(&signalled.probe), 0);
    CHECK_EQ(t, kill(getpid(), SIGUSR1), 0);
    probe_turns(t, signalled.pool);
    CHECK_EQ(t, probe_wakes(&signalled.probe), 1);
    CHECK_EQ(t, signalled_poll(&signalled), SIGUSR1);
    CHECK_EQ(t, signalled.info.signal, SIGUSR1);
    CHECK_EQ(t, signalled.info.code, SI_USER);
    CHECK_EQ(t, signalled.info.pid, getpid());
    CHECK_EQ(t, signalled.info.uid, getuid());
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);

    /* One that is meant for this thread alone; nobody asks for the details. */
    CHECK_EQ(t, raise(SIGUSR1), 0);
    CHECK_EQ(t, tocsin_signals_poll(signalled.signals, &signalled.cx, NULL), TOCSIN_PENDING);
    probe_turns(t, signalled.pool);
    CHECK_EQ(t, tocsin_signals_poll(signalled.signals, &signalled.cx, NULL), SIGUSR1);
    signalled_close(t, &signalled);
}

static void signal_pending_at_the_open_is_seen(struct conform *t)
{
    struct signalled signalled;

    (void)block(t, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, raise(SIGUSR2), 0);
    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, probe_complete(t, signalled.pool, signals_fn, &signalled), SIGUSR2);
    signalled_close(t, &signalled);
}

static void queued_signals_keep_value_and_order(struct conform *t)
{
    struct signalled signalled;

    signalled_open(t, &signalled, SIGRTMIN, SIGUSR1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = -7 + i}), 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, probe_complete(t, signalled.pool, signals_fn, &signalled), SIGRTMIN);
        CHECK_EQ(t, signalled.info.code, SI_QUEUE);
        CHECK_EQ(t, (int)signalled.info.value, -7 + i);
    }
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);
    signalled_close(t, &signalled);
}

static void two_signals_are_told_one_a_poll(struct conform *t)
{
    struct signalled signalled;
    int seen[2];

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);
    CHECK_EQ(t, raise(SIGUSR1), 0);
    CHECK_EQ(t, raise(SIGUSR2), 0);
    probe_turns(t, signalled.pool);
    CHECK_EQ(t, probe_wakes(&signalled.probe), 1);
    seen[0] = signalled_poll(&signalled);
    seen[1] = signalled_poll(&signalled);
    CHECK_EQ(t, seen[0] + seen[1], SIGUSR1 + SIGUSR2);
    CHECK(t, seen[0] == SIGUSR1 || seen[0] == SIGUSR2);
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);
    signalled_close(t, &signalled);
}

static void signal_of_another_process_names_it(struct conform *t)
{
    struct signalled signalled;
    pid_t pid;

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    pid = fork();
    REQUIRE(t, pid >= 0);
    if (pid == 0) {
        _exit(kill(getppid(), SIGUSR2));
    }
    CHECK_EQ(t, probe_complete(t, signalled.pool, signals_fn, &signalled), SIGUSR2);
    CHECK_EQ(t, signalled.info.pid, pid);
    REQUIRE(t, waitpid(pid, NULL, 0) == pid);
    signalled_close(t, &signalled);
}

static void kill_the_process(struct conform *t, void *arg)
{
    (void)arg;
    CHECK_EQ(t, kill(getpid(), SIGUSR1), 0);
}

static void signal_wakes_a_sleeping_pool(struct conform *t)
{
    struct signalled signalled;
    struct conform_thread *thread;

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    thread = conform_thread(t, kill_the_process, NULL);
    CHECK_EQ(t, probe_complete(t, signalled.pool, signals_fn, &signalled), SIGUSR1);
    conform_thread_join(t, thread);
    signalled_close(t, &signalled);
}

static void signals_stay_blocked_and_pending_after_the_close(struct conform *t)
{
    const struct timespec at_once = {0, 0};
    struct signalled signalled;
    sigset_t set;

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    set = block(t, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, signalled_poll(&signalled), TOCSIN_PENDING);
    CHECK_EQ(t, raise(SIGUSR1), 0);
    signalled_close(t, &signalled);
    CHECK_EQ(t, probe_wakes(&signalled.probe), 0);
    CHECK_EQ(t, sigtimedwait(&set, NULL, &at_once), SIGUSR1);
}

static void on_signal(int number)
{
    (void)number;
}

/* All of the process's handlers; a number that has none is told from the others by its failing. */
static void handlers_note(struct sigaction *handlers)
{
    for (int number = 1; number <= SIGRTMAX; number++) {
        memset(&handlers[number], 0, sizeof(handlers[number]));
        (void)sigaction(number, NULL, &handlers[number]);
    }
}

static void masks_and_handlers_stay_the_programs(struct conform *t)
{
    enum { NUMBERS = 65 };
    static struct sigaction before[NUMBERS];
    static struct sigaction after[NUMBERS];
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    struct signalled signalled;
    sigset_t mask_before;
    sigset_t mask_after;

    REQUIRE(t, SIGRTMAX < NUMBERS);
    REQUIRE(t, sigaction(SIGUSR1, &action, NULL) == 0);
    (void)block(t, SIGUSR1, SIGUSR2);
    REQUIRE(t, pthread_sigmask(SIG_BLOCK, NULL, &mask_before) == 0);
    handlers_note(before);

    signalled_open(t, &signalled, SIGUSR1, SIGUSR2);
    CHECK_EQ(t, raise(SIGUSR1), 0);
    CHECK_EQ(t, probe_complete(t, signalled.pool, signals_fn, &signalled), SIGUSR1);
    signalled_close(t, &signalled);

    REQUIRE(t, pthread_sigmask(SIG_BLOCK, NULL, &mask_after) == 0);
    handlers_note(after);
    for (int number = 1; number <= SIGRTMAX; number++) {
        CHECK_EQ(t, sigismember(&mask_after, number), sigismember(&mask_before, number));
        CHECK(t, after[number].sa_handler == before[number].sa_handler);
        CHECK_EQ(t, after[number].sa_flags, before[number].sa_flags);
    }
}

static void what_is_no_signal_is_refused(struct conform *t)
{
    static const int wrong[] = {0, -1, 1000};
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_signals *signals = NULL;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_EQ(t, tocsin_signals_open(driver, &wrong[i], 1, &signals), -EINVAL);
    }
    CHECK_EQ(t, tocsin_signals_open(driver, wrong, 0, &signals), -EINVAL);
    CHECK(t, signals == NULL);
    CHECK_EQ(t, tocsin_signals_close(NULL), 0);
    conform_pool_close(t, pool);
}

CONFORM_CASES(signals,
              CASE(signal_wakes_a_pending_poll, "7",
                   "A blocked signal ends a pending poll, with its sender.", DESCRIPTORS),
              CASE(signal_pending_at_the_open_is_seen, "7",
                   "A signal that was pending at the open is seen.", DESCRIPTORS),
              CASE(queued_signals_keep_value_and_order, "7",
                   "Queued signals are told one by one, in order, with their values.", DESCRIPTORS),
              CASE(two_signals_are_told_one_a_poll, "7",
                   "Two signals in one event are told by two polls.", DESCRIPTORS),
              CASE(signal_of_another_process_names_it, "7",
                   "A signal from another process names its sender.", DESCRIPTORS),
              CASE(signal_wakes_a_sleeping_pool, "7",
                   "A signal to the process wakes the pool that sleeps.", THREADS),
              CASE(signals_stay_blocked_and_pending_after_the_close, "7",
                   "A close takes no signal: it stays blocked and pending.", DESCRIPTORS),
              CASE(masks_and_handlers_stay_the_programs, "11", "No mask and no handler is changed.",
                   DESCRIPTORS),
              CASE(what_is_no_signal_is_refused, "7", "No signals, or what is none, is -EINVAL.",
                   DESCRIPTORS));
