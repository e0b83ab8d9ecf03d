/*
 * Interest slots: the rules N1 to N4.
 */
#include "runtime/interest.h"

#include "tests/unit/unit.h"

#define NO_WAKER ((struct tocsin_waker){NULL, NULL})

static void err_and_hup_are_always_asked_for(void **state)
{
    (void)state;
    assert_int_equal(tocsin__interest_mask(TOCSIN_OUT), TOCSIN_OUT | TOCSIN_ERR | TOCSIN_HUP);
    assert_int_equal(tocsin__interest_mask(TOCSIN_PRI), TOCSIN_PRI | TOCSIN_ERR | TOCSIN_HUP);
}

static void rdhup_is_asked_for_with_in(void **state)
{
    (void)state;
    assert_int_equal(tocsin__interest_mask(TOCSIN_IN),
                     TOCSIN_IN | TOCSIN_RDHUP | TOCSIN_ERR | TOCSIN_HUP);
    assert_int_equal(tocsin__interest_mask(TOCSIN_OUT) & TOCSIN_RDHUP, 0);
}

static void arrived_events_are_remembered_until_cleared(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    tocsin__interest_arrive(&interest, TOCSIN_IN);
    tocsin__interest_arrive(&interest, TOCSIN_OUT);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_IN), TOCSIN_IN);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_IN), TOCSIN_IN); /* told, not gone */
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_OUT), TOCSIN_OUT);
    tocsin__interest_clear(&interest);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_EVENTS_ALL), 0);
}

static void a_poll_answers_what_it_asked_for(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    tocsin__interest_arrive(&interest, TOCSIN_OUT | TOCSIN_RDHUP);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_PRI), 0);
    assert_int_equal(interest.delivered, 0);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_IN), TOCSIN_RDHUP);
    tocsin__interest_arrive(&interest, TOCSIN_ERR | TOCSIN_HUP);
    assert_int_equal(tocsin__interest_take(&interest, TOCSIN_PRI), TOCSIN_ERR | TOCSIN_HUP);
}

static void clearing_forgets_what_was_told_only(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    tocsin__interest_arrive(&interest, TOCSIN_IN | TOCSIN_OUT | TOCSIN_HUP);
    tocsin__interest_take(&interest, TOCSIN_OUT); /* with HUP */
    tocsin__interest_clear(&interest);
    assert_int_equal(interest.observed, TOCSIN_IN);
    assert_int_equal(interest.delivered, 0);
    tocsin__interest_clear(&interest); /* nothing was told since */
    assert_int_equal(interest.observed, TOCSIN_IN);
}

static void an_event_told_and_come_again_is_cleared_as_one(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    tocsin__interest_arrive(&interest, TOCSIN_IN);
    tocsin__interest_take(&interest, TOCSIN_IN);
    tocsin__interest_arrive(&interest, TOCSIN_PRI);
    tocsin__interest_clear(&interest);
    assert_int_equal(interest.observed, TOCSIN_PRI);
}

static void who_waits_is_woken_by_what_was_wanted(void **state)
{
    struct tocsin__interest interest = {.observed = 0};
    struct unit_waker counts = {.refs = 0};
    struct tocsin_waker waker = unit_waker_of(&counts);
    struct tocsin_waker woken;

    (void)state;
    assert_null(tocsin__interest_wait(&interest, TOCSIN_IN, waker).ops);
    assert_null(tocsin__interest_arrive(&interest, TOCSIN_OUT).ops); /* remembered: N1 */
    assert_int_equal(interest.observed, TOCSIN_OUT);
    woken = tocsin__interest_arrive(&interest, TOCSIN_RDHUP);
    assert_true(tocsin_waker_will_wake(&woken, &waker));
    assert_int_equal(interest.wanted, 0);
    assert_null(interest.waker.ops);
    assert_null(tocsin__interest_arrive(&interest, TOCSIN_IN).ops); /* once */
}

static void a_new_waker_takes_the_older_ones_place(void **state)
{
    struct tocsin__interest interest = {.observed = 0};
    struct unit_waker counts[2] = {{.refs = 0}, {.refs = 0}};
    struct tocsin_waker wakers[2] = {unit_waker_of(&counts[0]), unit_waker_of(&counts[1])};
    struct tocsin_waker out;

    (void)state;
    tocsin__interest_wait(&interest, TOCSIN_IN, wakers[0]);
    out = tocsin__interest_wait(&interest, TOCSIN_OUT, wakers[1]);
    assert_true(tocsin_waker_will_wake(&out, &wakers[0]));
    assert_null(tocsin__interest_arrive(&interest, TOCSIN_IN).ops); /* no longer wanted */
    out = tocsin__interest_arrive(&interest, TOCSIN_OUT);
    assert_true(tocsin_waker_will_wake(&out, &wakers[1]));
}

/* D4: in this file wakers only move. */
static void no_waker_operation_is_called(void **state)
{
    struct tocsin__interest interest = {.observed = 0};
    struct unit_waker counts = {.refs = 0};

    (void)state;
    tocsin__interest_wait(&interest, TOCSIN_IN, unit_waker_of(&counts));
    tocsin__interest_wait(&interest, TOCSIN_IN, unit_waker_of(&counts));
    tocsin__interest_arrive(&interest, TOCSIN_IN);
    tocsin__interest_wait(&interest, TOCSIN_IN, NO_WAKER);
    tocsin__interest_clear(&interest);
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(unit_load(&counts.wakes), 0);
}

static void a_cleared_slot_is_drained_until_the_next_event(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    assert_false(interest.drained);
    tocsin__interest_arrive(&interest, TOCSIN_IN);
    tocsin__interest_take(&interest, TOCSIN_IN);
    assert_false(interest.drained);
    tocsin__interest_clear(&interest);
    assert_true(interest.drained);
    tocsin__interest_arrive(&interest, TOCSIN_IN);
    assert_false(interest.drained);
}

/* The first edge of a socket tells its reader OUT, too, which no reader ever asks for. */
static void an_event_of_the_other_direction_keeps_no_slot_from_draining(void **state)
{
    struct tocsin__interest interest = {.observed = 0};

    (void)state;
    tocsin__interest_arrive(&interest, TOCSIN_IN | TOCSIN_OUT);
    tocsin__interest_take(&interest, TOCSIN_IN);
    tocsin__interest_clear(&interest);
    assert_int_equal(interest.observed, TOCSIN_OUT);
    assert_true(interest.drained);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(err_and_hup_are_always_asked_for),
    cmocka_unit_test(rdhup_is_asked_for_with_in),
    cmocka_unit_test(arrived_events_are_remembered_until_cleared),
    cmocka_unit_test(a_poll_answers_what_it_asked_for),
    cmocka_unit_test(clearing_forgets_what_was_told_only),
    cmocka_unit_test(an_event_told_and_come_again_is_cleared_as_one),
    cmocka_unit_test(who_waits_is_woken_by_what_was_wanted),
    cmocka_unit_test(a_new_waker_takes_the_older_ones_place),
    cmocka_unit_test(no_waker_operation_is_called),
    cmocka_unit_test(a_cleared_slot_is_drained_until_the_next_event),
    cmocka_unit_test(an_event_of_the_other_direction_keeps_no_slot_from_draining),
};

UNIT_MAIN(tests)
