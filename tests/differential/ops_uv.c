/*
 * Operations on a pool that lives in a libuv loop of the program's own, beside the one under test.
 */
#include "differential.h"

#include <tocsin/uv.h>
#include <uv.h>

static void live_in_a_loop(struct actor *actor)
{
    struct tocsin_pool_options options = {.allocator = &actor->run->allocator};
    struct child *child =
        child_new(actor->run, pick(actor, 0, 2) == 0 ? CHILD_YIELDS : CHILD_SLEEPS,
                  1 + pick(actor, 1, 4), 21);
    struct tocsin_backend backend;
    struct tocsin_pool *pool;
    uv_loop_t loop;

    NEED(uv_loop_init(&loop) == 0);
    backend = CALL(tocsin_uv_backend)(&loop);
    NEED(CALL(tocsin_pool_open)(&pool, &backend, &options) == 0);
    child_spawn(CALL(tocsin_pool_driver)(pool), child, "in a loop");
    say(actor, " host %d", CALL(tocsin_uv_host)(pool));
    say(actor, " loop %d", uv_run(&loop, UV_RUN_DEFAULT));
    say(actor, " state %d", (int)CALL(tocsin_task_state)(&child->task));
    child_unref(child);
    say(actor, " close %d", CALL(tocsin_pool_close)(pool));
    uv_run(&loop, UV_RUN_DEFAULT);
    say(actor, " loop %d", uv_loop_close(&loop));
    say(actor, " not hosted %d", CALL(tocsin_uv_host)(actor->run->pool));
}

static const struct op_kind ops_uv_kinds[] = {
    {"live_in_a_loop", live_in_a_loop, BY_MAIN, 0, 8},
};

OP_GROUP(ops_uv);
