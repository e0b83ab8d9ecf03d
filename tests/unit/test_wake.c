/*
 * The sleep protocol: each of the four states against each of the five events, the bits of the
 * deadline, and the races on two cores.
 */
#include "runtime/wake.h"

#include <semaphore.h>

#include "tests/unit/unit.h"

#define ASLEEP UINT64_C(1)
#define WOKEN UINT64_C(2)
#define DEADLINE UINT64_C(4000) /* a multiple of 4: the two lowest bits are flags */

enum state {
    RUNNING,
    RUN_AGAIN,
    SLEEPING,
    WAKING,
    STATES,
};

static const uint64_t words[STATES] = {
    [RUNNING] = 0,
    [RUN_AGAIN] = WOKEN,
    [SLEEPING] = DEADLINE | ASLEEP,
    [WAKING] = DEADLINE | ASLEEP | WOKEN,
};

static void put(struct tocsin__wake *wake, uint64_t word)
{
    atomic_store_explicit(&wake->word, word, memory_order_relaxed);
}

static uint64_t word_of(struct tocsin__wake *wake)
{
    return atomic_load_explicit(&wake->word, memory_order_relaxed);
}

static void a_new_word_is_running(void **state)
{
    struct tocsin__wake wake;

    (void)state;
    put(&wake, UINT64_MAX);
    tocsin__wake_init(&wake);
    assert_int_equal(word_of(&wake), 0);
}

static void post_in_each_state(void **state)
{
    static const uint64_t after[STATES] = {
        [RUNNING] = WOKEN,
        [RUN_AGAIN] = WOKEN,
        [SLEEPING] = DEADLINE | ASLEEP | WOKEN,
        [WAKING] = DEADLINE | ASLEEP | WOKEN,
    };
    struct tocsin__wake wake;

    (void)state;
    for (unsigned i = 0; i < STATES; i++) {
        put(&wake, words[i]);
        assert_int_equal(tocsin__wake_post(&wake), i == SLEEPING); /* W1: the only one to kick */
        assert_int_equal(word_of(&wake), after[i]);
    }
}

/* @deadline_ns against each state: only an earlier one than the sleep's kicks. */
static void check_timer(uint64_t deadline_ns, bool kicks)
{
    struct tocsin__wake wake;

    for (unsigned i = 0; i < STATES; i++) {
        uint64_t after = words[i];

        if (i == RUNNING || (i == SLEEPING && kicks)) {
            after |= WOKEN;
        }
        put(&wake, words[i]);
        assert_int_equal(tocsin__wake_for_timer(&wake, deadline_ns), i == SLEEPING && kicks);
        assert_int_equal(word_of(&wake), after);
    }
}

static void wake_for_timer_in_each_state(void **state)
{
    (void)state;
    check_timer(DEADLINE - 4, true);
    check_timer(0, true);
    check_timer(DEADLINE, false);
    check_timer(DEADLINE + 4, false);
    check_timer(TOCSIN_NEVER_NS, false);
}

static void timer_a_few_nanoseconds_earlier_ends_no_sleep(void **state)
{
    (void)state;
    check_timer(DEADLINE + 3, false);
    check_timer(DEADLINE - 1, true); /* another quad: the sleep's own ends at DEADLINE */
}

static void try_sleep_here(void *arg)
{
    tocsin__wake_try_sleep(arg, DEADLINE);
}

static void waited_here(void *arg)
{
    tocsin__wake_waited(arg);
}

static void begin_turn_here(void *arg)
{
    tocsin__wake_begin_turn(arg);
}

static void try_sleep_in_each_state(void **state)
{
    struct tocsin__wake wake;

    (void)state;
    put(&wake, words[RUNNING]);
    assert_true(tocsin__wake_try_sleep(&wake, DEADLINE));
    assert_int_equal(word_of(&wake), words[SLEEPING]);

    put(&wake, words[RUN_AGAIN]);
    assert_false(tocsin__wake_try_sleep(&wake, DEADLINE));
    assert_int_equal(word_of(&wake), words[RUN_AGAIN]);

    put(&wake, words[SLEEPING]);
    unit_expect_abort(try_sleep_here, &wake, "W5: sleeping while asleep");
    put(&wake, words[WAKING]);
    unit_expect_abort(try_sleep_here, &wake, "W5: sleeping while asleep");
}

static void waited_in_each_state(void **state)
{
    struct tocsin__wake wake;

    (void)state;
    put(&wake, words[SLEEPING]);
    tocsin__wake_waited(&wake);
    assert_int_equal(word_of(&wake), words[WAKING]);
    tocsin__wake_waited(&wake);
    assert_int_equal(word_of(&wake), words[WAKING]);

    put(&wake, words[RUNNING]);
    unit_expect_abort(waited_here, &wake, "W5: the wait step returned to a loop that was awake");
    put(&wake, words[RUN_AGAIN]);
    unit_expect_abort(waited_here, &wake, "W5: the wait step returned to a loop that was awake");
}

static void begin_turn_in_each_state(void **state)
{
    static const enum state allowed[] = {RUNNING, RUN_AGAIN, WAKING};
    struct tocsin__wake wake;

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(allowed); i++) {
        put(&wake, words[allowed[i]]);
        tocsin__wake_begin_turn(&wake);
        assert_int_equal(word_of(&wake), words[RUNNING]);
    }
    put(&wake, words[SLEEPING]);
    unit_expect_abort(begin_turn_here, &wake, "W5: a turn began while asleep");
}

static void glances_tell_the_two_bits(void **state)
{
    struct tocsin__wake wake;

    (void)state;
    for (unsigned i = 0; i < STATES; i++) {
        put(&wake, words[i]);
        assert_int_equal(tocsin__wake_is_woken(&wake), i == RUN_AGAIN || i == WAKING);
        assert_int_equal(tocsin__wake_is_asleep(&wake), i == SLEEPING || i == WAKING);
    }
}

static void sleep_keeps_all_but_two_bits_of_its_deadline(void **state)
{
    static const uint64_t deadlines[] = {0, 1, 3, 4, UINT64_C(0x123456789abcdef), TOCSIN_NEVER_NS};
    struct tocsin__wake wake;

    (void)state;
    for (unsigned i = 0; i < UNIT_COUNT(deadlines); i++) {
        tocsin__wake_init(&wake);
        assert_true(tocsin__wake_try_sleep(&wake, deadlines[i]));
        assert_int_equal(word_of(&wake) >> 2, deadlines[i] >> 2);
        assert_int_equal(word_of(&wake) & (ASLEEP | WOKEN), ASLEEP);
    }
}

/* ---- Two cores ---------------------------------------------------------------------------------
 */

struct race {
    struct tocsin__wake wake;
    sem_t kick; /* stands for the backend's */
    atomic_uint published;
    atomic_uint kicks;
    unsigned rounds;
};

static void post_often(void *arg)
{
    struct race *race = arg;

    for (unsigned i = 0; i < race->rounds; i++) {
        atomic_fetch_add_explicit(&race->published, 1, memory_order_relaxed);
        if (tocsin__wake_post(&race->wake)) {
            atomic_fetch_add_explicit(&race->kicks, 1, memory_order_relaxed);
            sem_post(&race->kick);
        }
    }
}

/* Sleep whenever there is nothing, until @total were seen.  Returns: how often it slept. */
static unsigned sleep_until_seen(struct race *race, unsigned total)
{
    unsigned sleeps = 0;

    for (;;) {
        tocsin__wake_begin_turn(&race->wake);
        if (unit_load(&race->published) == total) {
            return sleeps;
        }
        if (tocsin__wake_try_sleep(&race->wake, TOCSIN_NEVER_NS)) {
            sleeps++;
            while (sem_wait(&race->kick) != 0) {
            }
            tocsin__wake_waited(&race->wake);
        }
    }
}

/* A lost wake, or a kick that nobody sends, hangs here. */
static void of_two_wakers_one_kicks_and_no_wake_is_lost(void **state)
{
    static struct race race;
    struct support_thread wakers[2];
    unsigned sleeps;
    int left;

    (void)state;
    tocsin__wake_init(&race.wake);
    sem_init(&race.kick, 0, 0);
    race.rounds = support_scaled(50000);
    for (unsigned i = 0; i < 2; i++) {
        support_thread_start(&wakers[i], i, post_often, &race);
    }
    sleeps = sleep_until_seen(&race, 2 * race.rounds);
    for (unsigned i = 0; i < 2; i++) {
        support_thread_join(&wakers[i]);
    }
    assert_int_equal(unit_load(&race.kicks), sleeps); /* W1 */
    assert_int_equal(sem_getvalue(&race.kick, &left), 0);
    assert_int_equal(left, 0);
    sem_destroy(&race.kick);
}

struct handover {
    struct tocsin__wake wake;
    unsigned plain; /* published by nothing but the word */
    atomic_bool done;
};

static void publish_late_timer(void *arg)
{
    struct handover *handover = arg;

    handover->plain = 1;
    UNIT_CHECK(!tocsin__wake_for_timer(&handover->wake, DEADLINE + 1000));
    atomic_store_explicit(&handover->done, true, memory_order_relaxed);
}

/*
 * W2: the swap of the word for itself.  Without that write nothing orders the two uses of plain,
 * which is what the race detector looks for; elsewhere the value has to be right.
 */
static void timer_that_changes_nothing_publishes_all_the_same(void **state)
{
    unsigned rounds = support_scaled(50);

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        struct handover handover = {.plain = 0};
        struct support_thread thread;

        tocsin__wake_init(&handover.wake);
        atomic_init(&handover.done, false);
        assert_true(tocsin__wake_try_sleep(&handover.wake, DEADLINE));
        support_thread_start(&thread, 1, publish_late_timer, &handover);
        while (!atomic_load_explicit(&handover.done, memory_order_relaxed)) {
        }
        tocsin__wake_waited(&handover.wake);
        tocsin__wake_begin_turn(&handover.wake);
        assert_int_equal(handover.plain, 1);
        support_thread_join(&thread);
    }
}

static void publish_to_a_running_loop(void *arg)
{
    struct handover *handover = arg;

    handover->plain = 1;
    UNIT_CHECK(!tocsin__wake_post(&handover->wake));
    atomic_store_explicit(&handover->done, true, memory_order_relaxed);
}

/*
 * W2 and W6: a post to a loop that runs, also to one that is woken already, and the turn that
 * begins.  Nothing but the two read-modify-writes of the word orders the two uses of plain: a post
 * that only looks, or a begin_turn that only stores, is what the race detector sees here.
 */
static void post_that_changes_nothing_publishes_all_the_same(void **state)
{
    unsigned rounds = support_scaled(50);

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        struct handover handover = {.plain = 0};
        struct support_thread thread;

        tocsin__wake_init(&handover.wake);
        atomic_init(&handover.done, false);
        if (i % 2 == 1) {
            assert_false(tocsin__wake_post(&handover.wake));
        }
        support_thread_start(&thread, 1, publish_to_a_running_loop, &handover);
        while (!atomic_load_explicit(&handover.done, memory_order_relaxed)) {
        }
        tocsin__wake_begin_turn(&handover.wake);
        assert_int_equal(handover.plain, 1);
        support_thread_join(&thread);
    }
}

/* A timer that was armed for @earliest, or 0 for none, and who sleeps for it. */
struct alarm_clock {
    struct tocsin__wake wake;
    sem_t kick;
    _Atomic(uint64_t) earliest;
    atomic_uint answered;
    unsigned rounds;
};

/* Asks for ever earlier deadlines, each once the one before was seen. */
static void move_earlier(void *arg)
{
    struct alarm_clock *clock = arg;

    for (unsigned i = 0; i < clock->rounds; i++) {
        uint64_t deadline_ns = (clock->rounds - i) * UINT64_C(8);

        atomic_store_explicit(&clock->earliest, deadline_ns, memory_order_relaxed);
        if (tocsin__wake_for_timer(&clock->wake, deadline_ns)) {
            sem_post(&clock->kick);
        }
        while (unit_load(&clock->answered) != i + 1) {
        }
    }
}

/* T3: one that is earlier than the sleep ends it, at whatever moment it comes. */
static void earlier_timer_never_sleeps_through(void **state)
{
    static struct alarm_clock clock;
    uint64_t known_ns = TOCSIN_NEVER_NS;
    struct support_thread mover;
    unsigned seen = 0;

    (void)state;
    tocsin__wake_init(&clock.wake);
    sem_init(&clock.kick, 0, 0);
    atomic_init(&clock.earliest, TOCSIN_NEVER_NS);
    clock.rounds = support_scaled(20000);
    support_thread_start(&mover, 1, move_earlier, &clock);
    while (seen < clock.rounds) {
        uint64_t earliest_ns;

        tocsin__wake_begin_turn(&clock.wake);
        earliest_ns = atomic_load_explicit(&clock.earliest, memory_order_relaxed);
        if (earliest_ns < known_ns) {
            known_ns = earliest_ns;
            atomic_store_explicit(&clock.answered, ++seen, memory_order_relaxed);
        } else if (tocsin__wake_try_sleep(&clock.wake, known_ns)) {
            while (sem_wait(&clock.kick) != 0) {
            }
            tocsin__wake_waited(&clock.wake);
        }
    }
    support_thread_join(&mover);
    sem_destroy(&clock.kick);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_new_word_is_running),
    cmocka_unit_test(post_in_each_state),
    cmocka_unit_test(wake_for_timer_in_each_state),
    cmocka_unit_test(timer_a_few_nanoseconds_earlier_ends_no_sleep),
    cmocka_unit_test(try_sleep_in_each_state),
    cmocka_unit_test(waited_in_each_state),
    cmocka_unit_test(begin_turn_in_each_state),
    cmocka_unit_test(glances_tell_the_two_bits),
    cmocka_unit_test(sleep_keeps_all_but_two_bits_of_its_deadline),
    cmocka_unit_test(of_two_wakers_one_kicks_and_no_wake_is_lost),
    cmocka_unit_test(timer_that_changes_nothing_publishes_all_the_same),
    cmocka_unit_test(post_that_changes_nothing_publishes_all_the_same),
    cmocka_unit_test(earlier_timer_never_sleeps_through),
};

UNIT_MAIN(tests)
