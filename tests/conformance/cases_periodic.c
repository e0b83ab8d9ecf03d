/*
 * Periodic timers; and which timers keep a run going.
 */
#include "conform.h"

#define HOUR_NS UINT64_C(3600000000000)
#define MS_NS UINT64_C(1000000)

/* ---- Periods --------------------------------------------------------------------------------- */

struct periodic {
    struct conform *t;
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    uint64_t first_ns;
    uint64_t period_ns;
    uint64_t periods; /* served or missed */
    uint64_t missed;
    unsigned calls;
    unsigned calls_max;
    uint64_t burn_ns; /* in the first call */
};

static void period_passes(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct periodic *periodic = arg;
    struct conform *t = periodic->t;
    uint64_t due_ns;

    periodic->calls++;
    periodic->missed += missed;
    periodic->periods += missed + 1;
    /* The last of the periods counted has come, and the next one's deadline is set. */
    due_ns = periodic->first_ns + (periodic->periods - 1) * periodic->period_ns;
    CHECK(t, tocsin_pool_now_ns(periodic->pool) >= due_ns);
    CHECK_EQ(t, tocsin_timer_deadline_ns(timer), due_ns + periodic->period_ns);
    if (periodic->calls == 1 && periodic->burn_ns != 0) {
        conform_burn(t, tocsin_pool_driver(periodic->pool), periodic->burn_ns);
    }
    if (periodic->calls == periodic->calls_max) {
        CHECK(t, tocsin_timer_disarm(timer));
    }
}

static void run_periodic(struct conform *t, struct periodic *periodic)
{
    struct tocsin_timer_options options = {.period_ns = periodic->period_ns};

    periodic->t = t;
    periodic->pool = conform_pool(t);
    REQUIRE(t, tocsin_timer_init(&periodic->timer, tocsin_pool_driver(periodic->pool),
                                 period_passes, periodic) == 0);
    periodic->first_ns = tocsin_pool_now_ns(periodic->pool) + periodic->period_ns;
    options.deadline_ns = periodic->first_ns;
    tocsin_timer_start(&periodic->timer, &options);
    CHECK_EQ(t, tocsin_pool_run(periodic->pool), 0);
    CHECK_EQ(t, periodic->calls, periodic->calls_max);
    tocsin_timer_deinit(&periodic->timer);
    conform_pool_close(t, periodic->pool);
}

static void periodic_timer_does_not_drift(struct conform *t)
{
    struct periodic periodic = {.period_ns = 300000, .calls_max = 30};

    run_periodic(t, &periodic);
}

static void periodic_timer_counts_what_it_missed(struct conform *t)
{
    struct periodic periodic = {.period_ns = MS_NS, .calls_max = 2, .burn_ns = 5 * MS_NS + 500000};

    /* After the first call five or six deadlines have passed; one call is for the last of them. */
    run_periodic(t, &periodic);
    CHECK(t, periodic.missed >= 4);
    CHECK_EQ(t, periodic.periods, periodic.missed + 2);
}

static void arm_of_a_periodic_timer_keeps_its_period(struct conform *t)
{
    struct periodic periodic = {.t = t, .period_ns = MS_NS, .calls_max = 3};
    struct tocsin_timer_options options = {.delay_ns = HOUR_NS, .period_ns = MS_NS};

    periodic.pool = conform_pool(t);
    REQUIRE(t, tocsin_timer_init(&periodic.timer, tocsin_pool_driver(periodic.pool), period_passes,
                                 &periodic) == 0);
    tocsin_timer_start(&periodic.timer, &options);
    periodic.first_ns = tocsin_pool_now_ns(periodic.pool) + MS_NS;
    tocsin_timer_arm(&periodic.timer, periodic.first_ns);
    CHECK_EQ(t, tocsin_pool_run(periodic.pool), 0);
    CHECK_EQ(t, periodic.calls, 3);
    tocsin_timer_deinit(&periodic.timer);
    conform_pool_close(t, periodic.pool);
}

/* ---- What keeps a run going ------------------------------------------------------------------ */

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    ++*(unsigned *)arg;
}

static void background_timer_keeps_no_run_going(struct conform *t)
{
    struct tocsin_timer_options options = {.delay_ns = HOUR_NS, .background = true};
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer timer;
    unsigned fired = 0;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    tocsin_timer_start(&timer, &options);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, tocsin_timer_deadline_ns(&timer) != TOCSIN_NEVER_NS);

    options.background = false;
    options.delay_ns = MS_NS;
    tocsin_timer_start(&timer, &options);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, fired, 1);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

static void close_disarms_timers(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer timer;
    unsigned fired = 0;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), note_fired, &fired) == 0);
    tocsin_timer_arm(&timer, 1);
    conform_pool_close(t, pool);
    CHECK_EQ(t, fired, 0);
    CHECK(t, !tocsin_timer_disarm(&timer));
    tocsin_timer_deinit(&timer);
}

CONFORM_CASES(periodic,
              CASE(periodic_timer_does_not_drift, "6", "The n-th deadline is start + n * period.",
                   0),
              CASE(periodic_timer_counts_what_it_missed, "6",
                   "A late call is told the periods that went by.", 0),
              CASE(arm_of_a_periodic_timer_keeps_its_period, "6",
                   "Arm moves a periodic timer as a whole.", 0),
              CASE(background_timer_keeps_no_run_going, "4.6",
                   "A run does not wait for background timers.", 0),
              CASE(close_disarms_timers, "4.6",
                   "Timers do not fire at the close, and deinit follows it.", 0));
