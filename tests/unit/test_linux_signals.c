/*
 * Signals as a wait.
 */
#include <tocsin/linux.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void block_signals(int how, const int *signals, size_t signals_count)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < signals_count; i++) {
        sigaddset(&set, signals[i]);
    }
    assert_int_equal(pthread_sigmask(how, &set, NULL), 0);
}

static void one_poll_takes_one_signal_with_its_sender(void **state)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2};
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_signal_info info = {.signal = 0};
    struct tocsin_signals *signals;

    (void)state;
    block_signals(SIG_BLOCK, numbers, 2);
    assert_int_equal(tocsin_signals_open(tocsin_pool_driver(pool), numbers, 2, &signals), 0);
    assert_int_equal(tocsin_signals_poll(signals, &cx, &info), TOCSIN_PENDING);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42}), 0);
    unit_fake_event(&fake, fake.attached_id, TOCSIN_IN);
    tocsin_pool_turn(pool);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_signals_poll(signals, &cx, &info), SIGUSR1);
    assert_int_equal(info.signal, SIGUSR1);
    assert_int_equal(info.code, SI_USER);
    assert_int_equal(info.pid, getpid());
    assert_int_equal(info.uid, getuid());
    assert_int_equal(tocsin_signals_poll(signals, &cx, &info), SIGUSR2);
    assert_int_equal(info.code, SI_QUEUE);
    assert_int_equal(info.value, 42);
    assert_int_equal(tocsin_signals_poll(signals, &cx, NULL), TOCSIN_PENDING);
    assert_int_equal(tocsin_signals_close(signals), 0);
    assert_int_equal(tocsin_signals_close(NULL), 0);
    block_signals(SIG_UNBLOCK, numbers, 2);
    close_pool(pool);
}

static void masks_and_handlers_stay_the_programs(void **state)
{
    static const int numbers[] = {SIGUSR1};
    struct tocsin_pool *pool = open_pool();
    struct tocsin_signals *signals;
    struct sigaction before;
    struct sigaction after;
    sigset_t mask_before;
    sigset_t mask_after;

    (void)state;
    sigaction(SIGUSR1, NULL, &before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    assert_int_equal(tocsin_signals_open(tocsin_pool_driver(pool), numbers, 1, &signals), 0);
    assert_int_equal(tocsin_signals_close(signals), 0);
    sigaction(SIGUSR1, NULL, &after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    assert_ptr_equal((void *)(uintptr_t)before.sa_handler, (void *)(uintptr_t)after.sa_handler);
    assert_int_equal(sigismember(&mask_before, SIGUSR1), sigismember(&mask_after, SIGUSR1));
    close_pool(pool);
}

static void no_signals_and_no_such_signal_are_refused(void **state)
{
    static const int nonsense[] = {SIGUSR1, 100000};
    struct tocsin_pool *pool = open_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_signals *signals = NULL;

    (void)state;
    assert_int_equal(tocsin_signals_open(driver, nonsense, 0, &signals), -EINVAL);
    assert_int_equal(tocsin_signals_open(driver, nonsense, 2, &signals), -EINVAL);
    fake.attach_result = -ENOSPC;
    assert_int_equal(tocsin_signals_open(driver, nonsense, 1, &signals), -ENOSPC);
    assert_null(signals);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_poll_takes_one_signal_with_its_sender),
    cmocka_unit_test(masks_and_handlers_stay_the_programs),
    cmocka_unit_test(no_signals_and_no_such_signal_are_refused),
};

UNIT_MAIN(tests)
