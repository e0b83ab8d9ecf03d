/*
 * The run queue: first in, first out (F2).
 */
#include "runtime/queue.h"

#include "tests/unit/unit.h"

enum {
    ITEMS = 16,
};

static void an_empty_queue_gives_nothing(void **state)
{
    struct tocsin__queue queue = {NULL, NULL};

    (void)state;
    assert_null(tocsin__queue_pop(&queue));
    assert_null(tocsin__queue_pop(&queue));
}

static void items_come_out_as_they_went_in(void **state)
{
    struct tocsin__queue queue = {NULL, NULL};
    struct tocsin_item_ items[ITEMS];

    (void)state;
    for (unsigned i = 0; i < ITEMS; i++) {
        tocsin__queue_push(&queue, &items[i]);
    }
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_ptr_equal(tocsin__queue_pop(&queue), &items[i]);
    }
    assert_null(tocsin__queue_pop(&queue));
}

/* The tail of an emptied queue points at what is not in it any more. */
static void an_emptied_queue_starts_anew(void **state)
{
    struct tocsin__queue queue = {NULL, NULL};
    struct tocsin_item_ a = {.next_ = &a};
    struct tocsin_item_ b = {.next_ = &a};

    (void)state;
    tocsin__queue_push(&queue, &a);
    assert_ptr_equal(tocsin__queue_pop(&queue), &a);
    tocsin__queue_push(&queue, &b);
    assert_ptr_equal(queue.head, &b);
    assert_null(b.next_);
    assert_ptr_equal(tocsin__queue_pop(&queue), &b);
    assert_null(tocsin__queue_pop(&queue));
}

/* As a task that wakes itself in its poll does. */
static void an_item_can_go_in_again_when_it_is_out(void **state)
{
    struct tocsin__queue queue = {NULL, NULL};
    struct tocsin_item_ items[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        tocsin__queue_push(&queue, &items[i]);
    }
    for (unsigned i = 0; i < 300; i++) {
        struct tocsin_item_ *item = tocsin__queue_pop(&queue);

        assert_ptr_equal(item, &items[i % 3]);
        tocsin__queue_push(&queue, item);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_empty_queue_gives_nothing),
    cmocka_unit_test(items_come_out_as_they_went_in),
    cmocka_unit_test(an_emptied_queue_starts_anew),
    cmocka_unit_test(an_item_can_go_in_again_when_it_is_out),
};

UNIT_MAIN(tests)
