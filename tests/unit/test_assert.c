/*
 * Assertions: what they print, and that they end the program.
 */
#include "runtime/assert.h"

#include <string.h>

#include "tests/unit/unit.h"

static void fail_here(void *arg)
{
    (void)arg;
    TOCSIN_ASSERT(1 + 1 == 3, "arithmetic");
}

static void reach_here(void *arg)
{
    (void)arg;
    TOCSIN_UNREACHABLE("nobody comes here");
}

static void fail_at_line(void *arg)
{
    (void)arg;
    tocsin__assert_failed("a/file.c", 42, "said so");
}

static void failed_assertion_prints_and_aborts(void **state)
{
    (void)state;
    unit_expect_abort(fail_here, NULL, "arithmetic\n");
    unit_expect_abort(fail_here, NULL, __FILE__);
    unit_expect_abort(reach_here, NULL, "nobody comes here\n");
}

static void message_is_one_line_with_its_place(void **state)
{
    (void)state;
    unit_expect_abort(fail_at_line, NULL, "tocsin: a/file.c:42: said so\n");
}

static void true_assertion_evaluates_once_and_is_silent(void **state)
{
    int count = 0;

    (void)state;
    TOCSIN_ASSERT(++count > 0, "it holds");
    assert_int_equal(count, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(failed_assertion_prints_and_aborts),
    cmocka_unit_test(message_is_one_line_with_its_place),
    cmocka_unit_test(true_assertion_evaluates_once_and_is_silent),
};

UNIT_MAIN(tests)
