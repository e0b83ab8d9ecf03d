/*
 * The registry: what is built in, by name, by number, by the environment.
 */
#include <tocsin/backend.h>

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

static void backends_are_found_by_name_and_in_turn(void **state)
{
    const struct tocsin_backend *backend;
    size_t count = 0;

    (void)state;
    while ((backend = tocsin_backend_at(count)) != NULL) {
        assert_ptr_equal(tocsin_backend_find(backend->ops->name), backend);
        assert_int_equal(backend->ops->version, TOCSIN_BACKEND_VERSION);
        count++;
    }
    assert_true(count >= 1);
    assert_null(tocsin_backend_at(count + 1));
    assert_null(tocsin_backend_at(SIZE_MAX));
    assert_null(tocsin_backend_find("none"));
    assert_null(tocsin_backend_find(""));
}

static void the_environment_names_the_default(void **state)
{
    struct tocsin_pool *pool = NULL;

    (void)state;
    unsetenv("TOCSIN_BACKEND");
    assert_ptr_equal(tocsin_backend_default(), tocsin_backend_at(0));
    setenv("TOCSIN_BACKEND", "epoll", 1);
    assert_ptr_equal(tocsin_backend_default(), tocsin_backend_find("epoll"));
    setenv("TOCSIN_BACKEND", "none", 1);
    assert_null(tocsin_backend_default());
    assert_int_equal(tocsin_pool_open(&pool, NULL, NULL), -ENOENT);
    assert_null(pool);
    unsetenv("TOCSIN_BACKEND");
}

/* The slots that the features promise are there. */
static void each_backend_fills_the_slots_that_it_needs(void **state)
{
    const struct tocsin_backend *backend;

    (void)state;
    for (size_t i = 0; (backend = tocsin_backend_at(i)) != NULL; i++) {
        const struct tocsin_backend_ops *ops = backend->ops;

        assert_non_null(ops->open);
        assert_non_null(ops->close);
        assert_non_null(ops->now);
        assert_non_null(ops->wait);
        assert_non_null(ops->look);
        assert_non_null(ops->kick);
        assert_non_null(ops->attach);
        assert_non_null(ops->detach);
        assert_int_equal(ops->arm == NULL, (ops->features & TOCSIN_BACKEND_EDGE) != 0);
        assert_true((ops->features & TOCSIN_BACKEND_POLL_HANDLE) == 0 ||
                    (ops->poll_handle != NULL && ops->host != NULL));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(backends_are_found_by_name_and_in_turn),
    cmocka_unit_test(the_environment_names_the_default),
    cmocka_unit_test(each_backend_fills_the_slots_that_it_needs),
};

UNIT_MAIN(tests)
