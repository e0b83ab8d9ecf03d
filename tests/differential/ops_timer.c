/*
 * Operations on timers.
 *
 * Deadlines are past, near or an hour away: what is near is waited for, what is far never comes.
 */
#include "differential.h"

#define FAR_NS UINT64_C(3600000000000)

enum {
    NEAR_NS = 100000,
    TIMERS_MAX = 8,
};

static uint64_t now_ns(struct actor *actor)
{
    return CALL(tocsin_driver_now_ns)(actor->run->driver);
}

/* The polling face: armed far, moved near, polled until it is due. */
static void poll_timer(struct actor *actor)
{
    struct tocsin_timer timer;
    uint64_t far_ns = now_ns(actor) + FAR_NS;
    uint64_t due_ns;
    int r;

    NEED(CALL(tocsin_timer_init)(&timer, actor->run->driver, NULL, NULL) == 0);
    say(actor, " unarmed %d", CALL(tocsin_timer_deadline_ns)(&timer) == TOCSIN_NEVER_NS);
    if (pick(actor, 0, 2) == 0) {
        r = CALL(tocsin_timer_poll)(&timer, actor->cx, far_ns);
        say(actor, " %s, %d", r == TOCSIN_PENDING ? "pending" : "ready",
            CALL(tocsin_timer_deadline_ns)(&timer) == far_ns);
    }
    due_ns = now_ns(actor) + pick(actor, 1, 3) * (uint64_t)NEAR_NS;
    CALL(tocsin_timer_arm)(&timer, due_ns);
    say(actor, " armed %d", CALL(tocsin_timer_deadline_ns)(&timer) == due_ns);
    do {
        r = CALL(tocsin_timer_poll)(&timer, actor->cx, 0);
    } while (again(actor, r));
    EXPECT(actor, now_ns(actor) >= due_ns);
    say(actor, " %d, armed %d", r, CALL(tocsin_timer_disarm)(&timer));
    CALL(tocsin_timer_deinit)(&timer);
}

static void sleep_for_a_moment(struct actor *actor)
{
    struct tocsin_timer timer;
    uint64_t due_ns = now_ns(actor) + pick(actor, 0, 10) * (uint64_t)NEAR_NS;
    int r;

    NEED(CALL(tocsin_timer_init)(&timer, actor->run->driver, NULL, NULL) == 0);
    do {
        r = CALL(tocsin_timer_poll)(&timer, actor->cx, due_ns);
    } while (again(actor, r));
    EXPECT(actor, now_ns(actor) >= due_ns);
    CALL(tocsin_timer_deinit)(&timer);
    say(actor, " %d", r);
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

struct marked {
    struct tocsin_timer timer;
    struct actor *actor;
    struct order *order;
    unsigned mark;
    uint64_t due_ns;
};

static void marked_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct marked *marked = arg;

    EXPECT(marked->actor, now_ns(marked->actor) >= marked->due_ns);
    EXPECT(marked->actor, missed == 0);
    EXPECT(marked->actor, timer == &marked->timer);
    order_mark(marked->order, marked->mark);
}

/* T4: by deadline, ties by arming; some are moved, some disarmed. */
static void fire_in_order(struct actor *actor)
{
    struct marked timers[TIMERS_MAX];
    unsigned count = 3 + pick(actor, 0, TIMERS_MAX - 2);
    unsigned alive = count;
    uint64_t base_ns = now_ns(actor) + 20000;
    uint32_t bits = actor->op->p[1];
    struct order order;

    order_init(&order);
    for (unsigned i = 0; i < count; i++) {
        struct marked *marked = &timers[i];
        struct tocsin_timer_options options = {.background = (bits >> i) % 8 == 7};

        marked->actor = actor;
        marked->order = &order;
        marked->mark = i;
        NEED(CALL(tocsin_timer_init)(&marked->timer, actor->run->driver, marked_fires, marked) ==
             0);
        marked->due_ns = base_ns + (bits >> (i * 3)) % 4 * UINT64_C(30000);
        options.deadline_ns = marked->due_ns;
        CALL(tocsin_timer_start)(&marked->timer, &options);
    }
    for (unsigned i = 0; i < count; i++) {
        struct marked *marked = &timers[i];

        if ((actor->op->p[2] >> i) % 4 == 1) {
            marked->due_ns = base_ns + (bits >> i) % 3 * UINT64_C(40000);
            CALL(tocsin_timer_arm)(&marked->timer, marked->due_ns);
        } else if ((actor->op->p[2] >> i) % 8 == 2) {
            EXPECT(actor, CALL(tocsin_timer_disarm)(&marked->timer));
            alive--;
        }
    }
    order_say(actor, &order, alive);
    for (unsigned i = 0; i < count; i++) {
        say(actor, " %d", CALL(tocsin_timer_disarm)(&timers[i].timer));
        CALL(tocsin_timer_deinit)(&timers[i].timer);
    }
    order_deinit(&order);
}

struct periodic {
    struct tally tally;
    uint64_t periods;
    uint64_t wanted;
};

static void periodic_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct periodic *periodic = arg;

    periodic->periods += 1 + missed;
    if (periodic->periods >= periodic->wanted) {
        CALL(tocsin_timer_disarm)(timer);
        tally_add(&periodic->tally);
    }
}

static void fire_periodically(struct actor *actor)
{
    struct tocsin_timer timer;
    struct periodic periodic = {.wanted = 2 + pick(actor, 0, 6)};
    struct tocsin_timer_options options = {.delay_ns = pick(actor, 1, 2) * UINT64_C(30000),
                                           .period_ns =
                                               20000 + pick(actor, 2, 3) * UINT64_C(30000)};
    uint64_t began_ns = now_ns(actor);
    uint64_t least_ns = options.delay_ns + (periodic.wanted - 1) * options.period_ns;

    tally_init(&periodic.tally);
    NEED(CALL(tocsin_timer_init)(&timer, actor->run->driver, periodic_fires, &periodic) == 0);
    CALL(tocsin_timer_start)(&timer, &options);
    tally_await(actor, &periodic.tally, 1);
    EXPECT(actor, now_ns(actor) - began_ns >= least_ns);
    say(actor, " armed %d", CALL(tocsin_timer_disarm)(&timer));
    say(actor, " enough %d", periodic.periods >= periodic.wanted);
    CALL(tocsin_timer_deinit)(&timer);
    tally_deinit(&periodic.tally);
}

/* A timer with a callback is not polled; NEVER disarms. */
static void misuse(struct actor *actor)
{
    struct periodic periodic = {.wanted = 1};
    struct tocsin_timer timer;

    NEED(CALL(tocsin_timer_init)(&timer, actor->run->driver, periodic_fires, &periodic) == 0);
    say(actor, " %d", CALL(tocsin_timer_poll)(&timer, actor->cx, now_ns(actor) + FAR_NS));
    CALL(tocsin_timer_arm)(&timer, now_ns(actor) + FAR_NS);
    CALL(tocsin_timer_arm)(&timer, TOCSIN_NEVER_NS);
    say(actor, " armed %d", CALL(tocsin_timer_disarm)(&timer));
    CALL(tocsin_timer_deinit)(&timer);
}

/* The clock does not go back. */
static void clocks(struct actor *actor)
{
    uint64_t a = CALL(tocsin_pool_now_ns)(actor->run->pool);
    uint64_t b = CALL(tocsin_driver_now_ns)(actor->run->driver);
    uint64_t c = CALL(tocsin_pool_now_ns)(actor->run->pool);

    EXPECT(actor, a > 0 && a <= b && b <= c);
}

static const struct op_kind ops_timer_kinds[] = {
    {"poll_timer", poll_timer, BY_TASK, 0, 12},
    {"sleep_for_a_moment", sleep_for_a_moment, BY_TASK, 0, 12},
    {"fire_in_order", fire_in_order, BY_TASK, 0, 20},
    {"fire_periodically", fire_periodically, BY_TASK, 0, 10},
    {"misuse_timer", misuse, BY_TASK, 0, 6},
    {"clocks", clocks, BY_MAIN | BY_TASK | BY_THREAD, 0, 6},
};

OP_GROUP(ops_timer);
