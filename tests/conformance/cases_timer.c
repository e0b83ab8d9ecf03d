/*
 * Timers, T1: never early, and no turn too many.
 *
 * A deadline is compared with the pool's clock only; how late a timer fires is the machine's affair
 * and no case's.
 */
#include <string.h>

#include "conform.h"

#define HOUR_NS UINT64_C(3600000000000)
#define MS_NS UINT64_C(1000000)

struct fired {
    struct conform *t;
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    uint64_t deadline_ns;
    unsigned count;
};

static void note_fired(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct fired *fired = arg;

    CHECK(fired->t, timer == &fired->timer);
    CHECK_EQ(fired->t, missed, 0);
    CHECK(fired->t, tocsin_pool_now_ns(fired->pool) >= fired->deadline_ns);
    fired->count++;
}

static void fired_init(struct conform *t, struct tocsin_pool *pool, struct fired *fired)
{
    memset(fired, 0, sizeof(*fired));
    fired->t = t;
    fired->pool = pool;
    REQUIRE(t, tocsin_timer_init(&fired->timer, tocsin_pool_driver(pool), note_fired, fired) == 0);
}

static void fired_arm(struct fired *fired, uint64_t deadline_ns)
{
    fired->deadline_ns = deadline_ns;
    tocsin_timer_arm(&fired->timer, deadline_ns);
    CHECK_EQ(fired->t, tocsin_timer_deadline_ns(&fired->timer), deadline_ns);
}

/* ---- T1 -------------------------------------------------------------------------------------- */

static void timer_is_never_early(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    for (unsigned i = 0; i < conform_times(t, 60); i++) {
        struct fired fired;

        fired_init(t, pool, &fired);
        fired_arm(&fired, tocsin_pool_now_ns(pool) + conform_random(t) % (2 * MS_NS));
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, fired.count, 1);
        CHECK_EQ(t, tocsin_timer_deadline_ns(&fired.timer), TOCSIN_NEVER_NS);
        tocsin_timer_deinit(&fired.timer);
    }
    conform_pool_close(t, pool);
}

/* Truncating the timeout would make more turns, each a bit too early. */
static void timer_takes_one_wait(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    for (unsigned i = 0; i < 20; i++) {
        unsigned waits = conform_read(&t->counts.waits);
        struct fired fired;

        fired_init(t, pool, &fired);
        fired_arm(&fired, tocsin_pool_now_ns(pool) + MS_NS + conform_random(t) % MS_NS);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK(t, conform_read(&t->counts.waits) - waits <= 1);
        CHECK_EQ(t, fired.count, 1);
        tocsin_timer_deinit(&fired.timer);
    }
    conform_pool_close(t, pool);
}

static void timer_of_the_past_fires_on_the_next_turn(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct fired fired;

    fired_init(t, pool, &fired);
    fired_arm(&fired, 1);
    CHECK_EQ(t, fired.count, 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, fired.count, 1);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_timer_deinit(&fired.timer);
    conform_pool_close(t, pool);
}

/*
 * The turn is old when the timer is started; a delay that counts from the turn would be too short.
 */
static int poll_starts_late(struct conform_task *task, struct tocsin_context *cx)
{
    const struct tocsin_timer_options options = {.delay_ns = MS_NS};
    struct fired *fired = task->arg;

    conform_burn(task->t, cx->driver, 3 * MS_NS);
    fired->deadline_ns = tocsin_driver_now_ns(cx->driver) + MS_NS;
    tocsin_timer_start(&fired->timer, &options);
    CHECK(task->t, tocsin_timer_deadline_ns(&fired->timer) >= fired->deadline_ns);
    return 0;
}

static void delay_counts_from_the_clock(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct fired fired;

    fired_init(t, pool, &fired);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_starts_late, &fired);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, fired.count, 1);
    tocsin_timer_deinit(&fired.timer);
    conform_pool_close(t, pool);
}

static void hook_checks_deadline(struct conform *t, enum conform_moment moment,
                                 uint64_t deadline_ns, struct tocsin_backend_events *list,
                                 void *arg)
{
    struct fired *early = arg;

    (void)list;
    if (moment == CONFORM_BEFORE_WAIT && early->count == 0) {
        CHECK_EQ(t, deadline_ns, early->deadline_ns);
    }
}

/*
 * Where the machine takes so long that the timer is due before the pool sleeps, try a longer one.
 */
static void wait_is_given_the_earliest_deadline(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct fired early;
    struct fired late;

    fired_init(t, pool, &early);
    fired_init(t, pool, &late);
    t->hook = hook_checks_deadline;
    t->hook_arg = &early;
    for (uint64_t delay_ns = MS_NS; conform_read(&t->counts.waits) == 0; delay_ns *= 2) {
        struct tocsin_timer_options background = {.delay_ns = HOUR_NS, .background = true};

        early.count = 0;
        tocsin_timer_start(&late.timer, &background);
        fired_arm(&early, tocsin_pool_now_ns(pool) + delay_ns);
        fired_arm(&late, tocsin_pool_now_ns(pool) + 2 * HOUR_NS);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, early.count, 1);
    }
    CHECK_EQ(t, conform_read(&t->counts.waits), 1);
    CHECK(t, tocsin_timer_disarm(&late.timer));
    CHECK(t, !tocsin_timer_disarm(&late.timer));
    CHECK_EQ(t, late.count, 0);
    tocsin_timer_deinit(&early.timer);
    tocsin_timer_deinit(&late.timer);
    conform_pool_close(t, pool);
}

CONFORM_CASES(timer,
              CASE(timer_is_never_early, "T1",
                   "Timers of 0 to 2 ms fire at their deadlines or later.", 0),
              CASE(timer_takes_one_wait, "T1", "One wait is enough for a timer.", 0),
              CASE(timer_of_the_past_fires_on_the_next_turn, "T1",
                   "A deadline that has passed fires without a wait, and not inside the call.", 0),
              CASE(delay_counts_from_the_clock, "T1",
                   "A relative start reads the clock, not the turn's time.", 0),
              CASE(wait_is_given_the_earliest_deadline, "T1",
                   "The backend waits for the first of the timers.", 0));
