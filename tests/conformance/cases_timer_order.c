/*
 * Timers: the order in which they fire (T4), and what callbacks do to others (T2).
 */
#include <stdlib.h>
#include <string.h>

#include "conform.h"

#define MS_NS UINT64_C(1000000)

enum {
    TIMERS = 200,
};

struct entry {
    struct tocsin_timer timer;
    struct crowd *crowd;
    uint64_t deadline_ns; /* 0: unarmed */
    unsigned armed;       /* the place of its last arming among all armings */
    bool fired;
};

struct crowd {
    struct conform *t;
    struct tocsin_pool *pool;
    struct entry entries[TIMERS];
    unsigned armings;
    unsigned fired;
    struct entry *last;
};

static void entry_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct entry *entry = arg;
    struct crowd *crowd = entry->crowd;
    struct entry *last = crowd->last;

    (void)timer;
    (void)missed;
    CHECK(crowd->t, entry->deadline_ns != 0 && !entry->fired);
    if (last != NULL) {
        CHECK(crowd->t,
              last->deadline_ns < entry->deadline_ns ||
                  (last->deadline_ns == entry->deadline_ns && last->armed < entry->armed));
    }
    entry->fired = true;
    crowd->fired++;
    crowd->last = entry;
}

static void crowd_init(struct conform *t, struct crowd *crowd)
{
    memset(crowd, 0, sizeof(*crowd));
    crowd->t = t;
    crowd->pool = conform_pool(t);
    for (int i = 0; i < TIMERS; i++) {
        crowd->entries[i].crowd = crowd;
        REQUIRE(t, tocsin_timer_init(&crowd->entries[i].timer, tocsin_pool_driver(crowd->pool),
                                     entry_fires, &crowd->entries[i]) == 0);
    }
}

static void crowd_end(struct conform *t, struct crowd *crowd)
{
    for (int i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&crowd->entries[i].timer);
    }
    conform_pool_close(t, crowd->pool);
}

static void entry_arm(struct entry *entry, uint64_t deadline_ns)
{
    entry->deadline_ns = deadline_ns;
    entry->armed = entry->crowd->armings++;
    tocsin_timer_arm(&entry->timer, deadline_ns);
}

/* All are due at once, with many ties; armed, moved and disarmed in a random order. */
static void due_timers_fire_in_order(struct conform *t)
{
    static struct crowd crowd;
    uint64_t base_ns;
    unsigned armed = 0;

    crowd_init(t, &crowd);
    base_ns = tocsin_pool_now_ns(crowd.pool);
    for (int i = 0; i < 5 * TIMERS; i++) {
        struct entry *entry = &crowd.entries[conform_random(t) % TIMERS];

        if (conform_random(t) % 4 == 0) {
            CHECK_EQ(t, tocsin_timer_disarm(&entry->timer), entry->deadline_ns != 0);
            entry->deadline_ns = 0;
        } else {
            entry_arm(entry, base_ns + conform_random(t) % 20);
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        armed += crowd.entries[i].deadline_ns != 0;
    }
    conform_burn(t, tocsin_pool_driver(crowd.pool), 1000);
    CHECK_EQ(t, tocsin_pool_run(crowd.pool), 0);
    CHECK_EQ(t, crowd.fired, armed);
    crowd_end(t, &crowd);
}

static void timers_fire_in_order_over_time(struct conform *t)
{
    static struct crowd crowd;
    uint64_t base_ns;

    crowd_init(t, &crowd);
    base_ns = tocsin_pool_now_ns(crowd.pool) + MS_NS;
    for (int i = 0; i < TIMERS; i++) {
        entry_arm(&crowd.entries[i], base_ns + conform_random(t) % (4 * MS_NS));
    }
    CHECK_EQ(t, tocsin_pool_run(crowd.pool), 0);
    CHECK_EQ(t, crowd.fired, TIMERS);
    crowd_end(t, &crowd);
}

static void ties_fire_in_arming_order(struct conform *t)
{
    static struct crowd crowd;
    uint64_t deadline_ns;

    crowd_init(t, &crowd);
    deadline_ns = tocsin_pool_now_ns(crowd.pool) + MS_NS;
    for (int i = TIMERS - 1; i >= 0; i--) {
        entry_arm(&crowd.entries[i], deadline_ns);
    }
    /* Arming anew, for the same time, goes behind. */
    entry_arm(&crowd.entries[TIMERS - 1], deadline_ns);
    CHECK_EQ(t, tocsin_pool_run(crowd.pool), 0);
    CHECK_EQ(t, crowd.fired, TIMERS);
    CHECK(t, crowd.last == &crowd.entries[TIMERS - 1]);
    crowd_end(t, &crowd);
}

/* ---- Inside callbacks ------------------------------------------------------------------------ */

struct acting {
    struct conform *t;
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    struct acting *other;
    unsigned fired;
};

static void acting_init(struct conform *t, struct tocsin_pool *pool, struct acting *acting,
                        tocsin_timer_fn *fn)
{
    memset(acting, 0, sizeof(*acting));
    acting->t = t;
    acting->pool = pool;
    REQUIRE(t, tocsin_timer_init(&acting->timer, tocsin_pool_driver(pool), fn, acting) == 0);
}

static void disarms_the_other(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct acting *acting = arg;

    (void)timer;
    (void)missed;
    acting->fired++;
    CHECK(acting->t, tocsin_timer_disarm(&acting->other->timer));
}

static void disarm_in_a_callback_stops_what_is_due(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct acting one;
    struct acting two;

    acting_init(t, pool, &one, disarms_the_other);
    acting_init(t, pool, &two, disarms_the_other);
    one.other = &two;
    two.other = &one;
    tocsin_timer_arm(&one.timer, 1);
    tocsin_timer_arm(&two.timer, 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, one.fired, 1);
    CHECK_EQ(t, two.fired, 0);
    tocsin_timer_deinit(&one.timer);
    tocsin_timer_deinit(&two.timer);
    conform_pool_close(t, pool);
}

static void moves_the_other(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct acting *acting = arg;

    (void)timer;
    (void)missed;
    acting->fired++;
    if (acting->other != NULL) {
        tocsin_timer_arm(&acting->other->timer, tocsin_pool_now_ns(acting->pool) + MS_NS);
        CHECK_EQ(acting->t, acting->other->fired, 0);
    }
}

static void move_in_a_callback_puts_off_what_is_due(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct acting one;
    struct acting two;

    acting_init(t, pool, &one, moves_the_other);
    acting_init(t, pool, &two, moves_the_other);
    one.other = &two;
    tocsin_timer_arm(&one.timer, 1);
    tocsin_timer_arm(&two.timer, 1);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, one.fired, 1);
    CHECK_EQ(t, two.fired, 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, two.fired, 1);
    tocsin_timer_deinit(&one.timer);
    tocsin_timer_deinit(&two.timer);
    conform_pool_close(t, pool);
}

static void rearms_for_the_past(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct acting *acting = arg;

    (void)missed;
    if (++acting->fired < 3) {
        tocsin_timer_arm(timer, 1);
    }
}

static void rearm_for_the_past_fires_on_the_next_turn(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct acting acting;

    acting_init(t, pool, &acting, rearms_for_the_past);
    tocsin_timer_arm(&acting.timer, 1);
    for (unsigned turn = 1; turn <= 3; turn++) {
        CHECK_EQ(t, tocsin_pool_turn(pool), turn < 3);
        CHECK_EQ(t, acting.fired, turn);
    }
    tocsin_timer_deinit(&acting.timer);
    conform_pool_close(t, pool);
}

static void frees_itself(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct acting *acting = arg;
    struct tocsin_pool *pool = acting->pool;

    (void)missed;
    tocsin_timer_deinit(timer);
    memset(acting, 0x5a, sizeof(*acting));
    free(acting);
    tocsin_pool_stop(pool);
}

static void timer_may_be_freed_in_its_callback(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    for (unsigned periodic = 0; periodic < 2; periodic++) {
        struct tocsin_timer_options options = {.delay_ns = 1, .period_ns = periodic};
        struct acting *acting = malloc(sizeof(*acting));

        REQUIRE(t, acting != NULL);
        acting_init(t, pool, acting, frees_itself);
        tocsin_timer_start(&acting->timer, &options);
        CHECK_EQ(t, tocsin_pool_run(pool), 1);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
    }
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    timer_order,
    CASE(due_timers_fire_in_order, "T4",
         "Two hundred timers armed, moved and disarmed at random fire in order, ties by arming.",
         0),
    CASE(timers_fire_in_order_over_time, "T4", "Two hundred over four milliseconds.", 0),
    CASE(ties_fire_in_arming_order, "T4", "One deadline for all: the order of the last arming.", 0),
    CASE(disarm_in_a_callback_stops_what_is_due, "T2",
         "A due timer that an earlier one's callback disarms does not fire.", 0),
    CASE(move_in_a_callback_puts_off_what_is_due, "T2",
         "A due timer that an earlier one's callback moves fires then.", 0),
    CASE(rearm_for_the_past_fires_on_the_next_turn, "T2",
         "A timer armed for the past in its callback fires once a turn.", 0),
    CASE(timer_may_be_freed_in_its_callback, "6", "A callback may deinit and free its timer.", 0));
