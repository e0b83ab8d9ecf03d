/*
 * The remote queue's word: sequence, intent, wrap; and that an item is never slept over.
 */
#include "backends/ring/remote.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>

#include "tests/unit/unit.h"

#define INTENT UINT64_C(1)
#define ONE_ITEM UINT64_C(2)

/* Pushes count but link nothing: only the word is left to publish by. */
static atomic_bool push_links_nothing;

bool __real_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item);
bool __wrap_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item);

bool __wrap_tocsin__inbox_push(struct tocsin__inbox *inbox, struct tocsin_item_ *item)
{
    return atomic_load_explicit(&push_links_nothing, memory_order_relaxed) ||
           __real_tocsin__inbox_push(inbox, item);
}

/* Pushed by somebody else right before, or right after, the stack is emptied by a take. */
static struct remote *pushed_to;
static struct tocsin_item_ *pushed_before;
static struct tocsin_item_ *pushed_after;

struct tocsin_item_ *__real_tocsin__inbox_take(struct tocsin__inbox *inbox);
struct tocsin_item_ *__wrap_tocsin__inbox_take(struct tocsin__inbox *inbox);

struct tocsin_item_ *__wrap_tocsin__inbox_take(struct tocsin__inbox *inbox)
{
    struct tocsin_item_ *chain;

    if (pushed_before != NULL) {
        UNIT_CHECK(tocsin__remote_push(pushed_to, pushed_before) == 0);
        pushed_before = NULL;
    }
    chain = __real_tocsin__inbox_take(inbox);
    if (pushed_after != NULL) {
        UNIT_CHECK(tocsin__remote_push(pushed_to, pushed_after) == 0);
        pushed_after = NULL;
    }
    return chain;
}

static uint64_t word_of(struct remote *remote)
{
    return atomic_load_explicit(&remote->word, memory_order_relaxed);
}

static unsigned length(const struct tocsin_item_ *item)
{
    unsigned count = 0;

    for (; item != NULL; item = item->next_) {
        count++;
    }
    return count;
}

static void the_first_push_to_a_new_queue_wakes(void **state)
{
    struct tocsin_item_ items[2];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    assert_int_equal(tocsin__remote_push(&remote, &items[0]), 1);
    assert_int_equal(tocsin__remote_push(&remote, &items[1]),
                     1); /* merging wakes is the pool's word's */
    assert_int_equal(length(tocsin__remote_take(&remote)), 2);
}

static void a_push_to_a_running_pool_only_counts(void **state)
{
    struct tocsin_item_ items[3];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    assert_null(tocsin__remote_take(&remote));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tocsin__remote_push(&remote, &items[i]), 0);
        assert_int_equal(word_of(&remote), (i + 1) * ONE_ITEM);
    }
    assert_int_equal(remote.processed, 0);
}

static void the_sequence_and_the_intent_are_apart(void **state)
{
    struct tocsin_item_ items[2];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_take(&remote);
    tocsin__remote_push(&remote, &items[0]);
    tocsin__remote_take(&remote);
    assert_int_equal(word_of(&remote), ONE_ITEM);
    assert_true(tocsin__remote_arm(&remote));
    assert_int_equal(word_of(&remote), ONE_ITEM | INTENT);
    assert_true(tocsin__remote_arm(&remote)); /* twice is as good as once */
    assert_int_equal(word_of(&remote), ONE_ITEM | INTENT);
    assert_int_equal(tocsin__remote_push(&remote, &items[1]), 1);
    assert_int_equal(word_of(&remote), 2 * ONE_ITEM | INTENT);
    assert_ptr_equal(tocsin__remote_take(&remote), &items[1]);
    assert_int_equal(word_of(&remote), 2 * ONE_ITEM);
    assert_int_equal(remote.processed, 2 * ONE_ITEM);
}

static void what_came_since_the_take_forbids_sleep(void **state)
{
    struct tocsin_item_ items[2];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_take(&remote);
    tocsin__remote_push(&remote, &items[0]);
    assert_false(tocsin__remote_arm(&remote));
    assert_int_equal(word_of(&remote), ONE_ITEM); /* disarmed: the next push need not wake */
    assert_int_equal(tocsin__remote_push(&remote, &items[1]), 0);
    assert_false(tocsin__remote_arm(&remote));
    assert_int_equal(length(tocsin__remote_take(&remote)), 2);
    assert_true(tocsin__remote_arm(&remote));
}

/* And one that was published while it was armed, so that its publisher wakes. */
static void what_came_while_armed_forbids_sleep_again(void **state)
{
    struct tocsin_item_ item;
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_take(&remote);
    assert_true(tocsin__remote_arm(&remote));
    assert_int_equal(tocsin__remote_push(&remote, &item), 1);
    assert_false(tocsin__remote_arm(&remote));
    assert_int_equal(word_of(&remote) & INTENT, 0);
    assert_ptr_equal(tocsin__remote_take(&remote), &item);
}

/* Whether the take got it or not: the sequence was read before, so that none is passed over. */
static void what_comes_during_a_take_forbids_sleep(void **state)
{
    struct tocsin_item_ items[2];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_take(&remote);
    pushed_to = &remote;
    pushed_before = &items[0];
    assert_ptr_equal(tocsin__remote_take(&remote), &items[0]);
    assert_false(tocsin__remote_arm(&remote)); /* a turn for nothing, to be sure */
    assert_null(tocsin__remote_take(&remote));
    assert_true(tocsin__remote_arm(&remote));
    pushed_after = &items[1];
    assert_null(tocsin__remote_take(&remote));
    assert_false(tocsin__remote_arm(&remote));
    assert_ptr_equal(tocsin__remote_take(&remote), &items[1]);
    assert_true(tocsin__remote_arm(&remote));
}

static void taking_nothing_changes_no_sequence(void **state)
{
    struct tocsin_item_ item;
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_push(&remote, &item);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(length(tocsin__remote_take(&remote)), i == 0);
        assert_int_equal(word_of(&remote), ONE_ITEM);
        assert_int_equal(remote.processed, ONE_ITEM);
    }
    assert_true(tocsin__remote_arm(&remote));
    assert_null(tocsin__remote_take(&remote));
    assert_int_equal(word_of(&remote), ONE_ITEM);
}

/* Modulo 2^63: neither the intent nor the comparison minds. */
static void the_sequence_wraps(void **state)
{
    struct tocsin_item_ items[4];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    atomic_store_explicit(&remote.word, (UINT64_MAX - INTENT) - 3 * ONE_ITEM, memory_order_relaxed);
    assert_null(tocsin__remote_take(&remote));
    assert_true(tocsin__remote_arm(&remote));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tocsin__remote_push(&remote, &items[i]), 1);
    }
    assert_int_equal(word_of(&remote), UINT64_MAX);
    assert_int_equal(length(tocsin__remote_take(&remote)), 3);
    assert_true(tocsin__remote_arm(&remote));
    assert_int_equal(tocsin__remote_push(&remote, &items[3]), 1);
    assert_int_equal(word_of(&remote), INTENT); /* the carry went nowhere */
    assert_false(tocsin__remote_arm(&remote));
    assert_ptr_equal(tocsin__remote_take(&remote), &items[3]);
    assert_int_equal(remote.processed, 0);
    assert_true(tocsin__remote_arm(&remote));
}

static void a_closed_queue_takes_and_counts_nothing(void **state)
{
    struct tocsin_item_ items[2];
    struct remote remote;

    (void)state;
    tocsin__remote_init(&remote);
    tocsin__remote_push(&remote, &items[0]);
    assert_ptr_equal(tocsin__remote_close(&remote), &items[0]);
    assert_int_equal(word_of(&remote), ONE_ITEM);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tocsin__remote_push(&remote, &items[1]), -ESHUTDOWN);
        assert_int_equal(word_of(&remote), ONE_ITEM);
    }
    assert_null(tocsin__remote_take(&remote));
}

/* ---- Two cores ---------------------------------------------------------------------------------
 */

enum {
    PUSHERS = 2,
};

struct race {
    struct remote remote;
    sem_t wake; /* stands for the pool's word and the backend's kick */
    struct tocsin_item_ *items[PUSHERS];
    atomic_uint answered; /* items that were taken */
    unsigned rounds;
    bool in_turns; /* a pusher waits for each answer: each of its pushes meets a way into sleep */
};

struct pusher {
    struct race *race;
    unsigned index;
};

static void push_all(void *arg)
{
    const struct pusher *pusher = arg;
    struct race *race = pusher->race;

    for (unsigned i = 0; i < race->rounds; i++) {
        int r = tocsin__remote_push(&race->remote, &race->items[pusher->index][i]);

        UNIT_CHECK(r >= 0);
        if (r > 0) {
            sem_post(&race->wake);
        }
        while (race->in_turns && unit_load(&race->answered) <= i) {
            sched_yield();
        }
    }
}

/* Sleep whenever the word allows it.  Returns when @total have come. */
static void take_all(struct race *race, unsigned total)
{
    struct support_random random = {.state = 1};
    unsigned taken = 0;

    while (taken < total) {
        taken += length(tocsin__remote_take(&race->remote));
        atomic_store_explicit(&race->answered, taken, memory_order_relaxed);
        for (unsigned i = support_random_below(&random, 256); i > 0; i--) {
            unit_load(&race->answered); /* a turn's work: the answer comes now, or in the sleep */
        }
        if (taken < total && tocsin__remote_arm(&race->remote)) {
            while (sem_wait(&race->wake) != 0) {
            }
        }
    }
}

static void run_race(unsigned pushers_count, unsigned rounds)
{
    static struct race race;
    struct support_thread threads[PUSHERS];
    struct pusher pushers[PUSHERS];

    race.rounds = support_scaled(rounds);
    race.in_turns = pushers_count == 1;
    tocsin__remote_init(&race.remote);
    atomic_store_explicit(&race.answered, 0, memory_order_relaxed);
    sem_init(&race.wake, 0, 0);
    support_pin(0);
    for (unsigned i = 0; i < pushers_count; i++) {
        race.items[i] = test_calloc(race.rounds, sizeof(struct tocsin_item_));
        pushers[i] = (struct pusher){.race = &race, .index = i};
        support_thread_start(&threads[i], 1 - i, push_all, &pushers[i]);
    }
    take_all(&race, pushers_count * race.rounds);
    for (unsigned i = 0; i < pushers_count; i++) {
        support_thread_join(&threads[i]);
        test_free(race.items[i]);
    }
    sem_destroy(&race.wake);
}

/* Q2.  One that were slept over would hang here. */
static void what_comes_between_take_and_sleep_is_never_lost(void **state)
{
    (void)state;
    run_race(1, 30000);
}

static void of_two_publishers_nothing_is_lost(void **state)
{
    (void)state;
    run_race(PUSHERS, 50000);
}

/* Nothing but the word orders what two threads do to plain: for the race detector. */
struct handover {
    struct remote remote;
    struct tocsin_item_ item;
    unsigned plain;
    unsigned answer;
};

static void publish(void *arg)
{
    struct handover *handover = arg;

    handover->plain = 1;
    UNIT_CHECK(tocsin__remote_push(&handover->remote, &handover->item) >= 0);
}

/* @by_arm: it is the way into sleep that sees the item, else the next take. */
static void check_published(bool by_arm)
{
    unsigned rounds = support_scaled(50);

    atomic_store_explicit(&push_links_nothing, true, memory_order_relaxed);
    for (unsigned i = 0; i < rounds; i++) {
        struct handover handover = {.plain = 0};
        struct support_thread thread;

        tocsin__remote_init(&handover.remote);
        tocsin__remote_take(&handover.remote);
        support_thread_start(&thread, 1, publish, &handover);
        while (by_arm ? tocsin__remote_arm(&handover.remote) : handover.remote.processed == 0) {
            if (!by_arm) {
                tocsin__remote_take(&handover.remote);
            }
        }
        assert_int_equal(handover.plain, 1);
        support_thread_join(&thread);
    }
    atomic_store_explicit(&push_links_nothing, false, memory_order_relaxed);
}

static void an_item_that_a_take_counts_is_published(void **state)
{
    (void)state;
    check_published(false);
}

static void an_item_that_forbids_sleep_is_published(void **state)
{
    (void)state;
    check_published(true);
}

static void publish_until_told_to_wake(void *arg)
{
    struct handover *handover = arg;

    while (tocsin__remote_push(&handover->remote, &handover->item) == 0) {
    }
    UNIT_CHECK(handover->answer == 1);
}

/* Back from the pool to the publisher: what it did before it armed is seen by who must wake it. */
static void who_must_wake_sees_what_the_pool_did(void **state)
{
    unsigned rounds = support_scaled(50);

    (void)state;
    atomic_store_explicit(&push_links_nothing, true, memory_order_relaxed);
    for (unsigned i = 0; i < rounds; i++) {
        struct handover handover = {.answer = 0};
        struct support_thread thread;

        tocsin__remote_init(&handover.remote);
        tocsin__remote_take(&handover.remote);
        support_thread_start(&thread, 1, publish_until_told_to_wake, &handover);
        handover.answer = 1;
        while (!tocsin__remote_arm(&handover.remote)) {
            tocsin__remote_take(&handover.remote);
        }
        support_thread_join(&thread);
    }
    atomic_store_explicit(&push_links_nothing, false, memory_order_relaxed);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_push_to_a_new_queue_wakes),
    cmocka_unit_test(a_push_to_a_running_pool_only_counts),
    cmocka_unit_test(the_sequence_and_the_intent_are_apart),
    cmocka_unit_test(what_came_since_the_take_forbids_sleep),
    cmocka_unit_test(what_came_while_armed_forbids_sleep_again),
    cmocka_unit_test(what_comes_during_a_take_forbids_sleep),
    cmocka_unit_test(taking_nothing_changes_no_sequence),
    cmocka_unit_test(the_sequence_wraps),
    cmocka_unit_test(a_closed_queue_takes_and_counts_nothing),
    cmocka_unit_test(what_comes_between_take_and_sleep_is_never_lost),
    cmocka_unit_test(of_two_publishers_nothing_is_lost),
    cmocka_unit_test(an_item_that_a_take_counts_is_published),
    cmocka_unit_test(an_item_that_forbids_sleep_is_published),
    cmocka_unit_test(who_must_wake_sees_what_the_pool_did),
};

UNIT_MAIN(tests)
