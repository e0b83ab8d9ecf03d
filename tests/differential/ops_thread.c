/*
 * Operations of a thread against the pool's own, and what any actor does to the pool as a whole.
 */
#include "differential.h"

#define FAR_NS UINT64_C(3600000000000)

static void stop(struct actor *actor)
{
    /* Whoever runs the pool runs it again. */
    CALL(tocsin_pool_stop)(actor->run->pool);
}

static void count_driver(struct actor *actor)
{
    struct tocsin_driver *driver = CALL(tocsin_driver_ref)(actor->run->driver);
    struct child *child = child_new(actor->run, CHILD_YIELDS, pick(actor, 0, 5), 11);
    int result;

    child_spawn(driver, child, "counted");
    say(actor, " %d", child_join(actor, child, &result));
    say(actor, " %d", result);
    child_unref(child);
    CALL(tocsin_driver_unref)(driver);
}

/* The pool is another thread's. */
static void not_mine(struct actor *actor)
{
    struct tocsin_pool *pool = actor->run->pool;

    say(actor, " run %d", CALL(tocsin_pool_run)(pool));
    say(actor, " turn %d", CALL(tocsin_pool_turn)(pool));
    say(actor, " close %d", CALL(tocsin_pool_close)(pool));
}

/* Inside a turn of it. */
static void busy(struct actor *actor)
{
    struct tocsin_pool *pool = actor->run->pool;

    say(actor, " run %d", CALL(tocsin_pool_run)(pool));
    say(actor, " turn %d", CALL(tocsin_pool_turn)(pool));
    say(actor, " close %d", CALL(tocsin_pool_close)(pool));
}

struct countdown {
    unsigned left;
    struct tocsin_waker kept;
};

static int count_down(struct tocsin_context *cx, void *arg)
{
    struct countdown *countdown = arg;

    CALL(tocsin_waker_drop)(&countdown->kept);
    if (countdown->left == 0) {
        return 17;
    }
    countdown->left--;
    countdown->kept = CALL(tocsin_waker_clone)(&cx->waker);
    CALL(tocsin_waker_wake_by_ref)(&countdown->kept);
    return TOCSIN_PENDING;
}

static void block(struct actor *actor)
{
    struct countdown countdown = {.left = pick(actor, 0, 10)};
    int result = 0;

    say(actor, " %d", CALL(tocsin_block_on)(count_down, &countdown, &result));
    say(actor, " %d, nothing %d", result, CALL(tocsin_block_on)(NULL, NULL, NULL));
}

/* ---- A timer on the pool, moved from here ---------------------------------------------------- */

struct moved {
    struct actor *actor;
    struct tocsin_timer timer;
    struct tally ready;
    struct tally fired;
    struct tally gone;
    uint64_t due_ns;
};

static void moved_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct moved *moved = arg;

    (void)timer;
    (void)missed;
    EXPECT(moved->actor, CALL(tocsin_driver_now_ns)(moved->actor->run->driver) >= moved->due_ns);
    tally_add(&moved->fired);
}

static void moved_begins(void *arg, int status)
{
    struct moved *moved = arg;
    struct tocsin_driver *driver = moved->actor->run->driver;

    (void)status;
    NEED(CALL(tocsin_timer_init)(&moved->timer, driver, moved_fires, moved) == 0);
    CALL(tocsin_timer_arm)(&moved->timer, CALL(tocsin_driver_now_ns)(driver) + FAR_NS);
    tally_add(&moved->ready);
}

static void moved_ends(void *arg, int status)
{
    struct moved *moved = arg;

    (void)status;
    CALL(tocsin_timer_deinit)(&moved->timer);
    tally_add(&moved->gone);
}

static void move_timer(struct actor *actor)
{
    struct moved moved = {.actor = actor};
    unsigned detours = pick(actor, 0, 4);
    uint64_t now_ns;

    tally_init(&moved.ready);
    tally_init(&moved.fired);
    tally_init(&moved.gone);
    NEED(CALL(tocsin_post)(actor->run->driver, moved_begins, &moved) == 0);
    tally_await(actor, &moved.ready, 1);
    now_ns = CALL(tocsin_driver_now_ns)(actor->run->driver);
    for (unsigned i = 0; i < detours; i++) {
        CALL(tocsin_timer_move)(&moved.timer, now_ns + FAR_NS / (1 + i));
    }
    moved.due_ns = now_ns + pick(actor, 1, 3) * UINT64_C(50000);
    CALL(tocsin_timer_move)(&moved.timer, moved.due_ns);
    tally_await(actor, &moved.fired, 1);
    NEED(CALL(tocsin_post)(actor->run->driver, moved_ends, &moved) == 0);
    tally_await(actor, &moved.gone, 1);
    say(actor, " fired %u", moved.fired.count);
    tally_deinit(&moved.ready);
    tally_deinit(&moved.fired);
    tally_deinit(&moved.gone);
}

static const struct op_kind ops_thread_kinds[] = {
    {"stop", stop, BY_TASK | BY_THREAD, 0, 8},
    {"count_driver", count_driver, BY_TASK | BY_THREAD, 0, 8},
    {"not_mine", not_mine, BY_THREAD, 0, 10},
    {"busy", busy, BY_TASK, 0, 6},
    {"block", block, BY_THREAD, 0, 15},
    {"move_timer", move_timer, BY_TASK | BY_THREAD, 0, 15},
};

OP_GROUP(ops_thread);
