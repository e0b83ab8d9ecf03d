/*
 * Fairness, F1: a task that always wakes itself, and what else wants its turn.
 *
 * Delays are counted in polls of the task that never rests, so they do not depend on the machine.
 * Where a case is about the count alone the time limit is out of reach, and the other way round.
 */
#include "conform.h"

enum {
    BUDGET = 256,
    CLOCK_POLLS = 16,
};

#define HOUR_NS UINT64_C(3600000000000)

/* A task that never rests, and what it does on the way. */
struct busy {
    struct conform_task task;
    struct tocsin_pool *pool;
    unsigned act_at; /* the poll in which it acts */
    void (*act)(struct busy *busy);
    void *act_arg;
    atomic_uint done; /* set by what was delayed: this task's polls by then */
    unsigned delay_max;
    uint64_t poll_ns; /* what each poll takes */
};

static int poll_is_busy(struct conform_task *task, struct tocsin_context *cx)
{
    struct busy *busy = (struct busy *)task;
    unsigned polls = conform_read(&task->polls);

    if (busy->poll_ns != 0) {
        conform_burn(task->t, cx->driver, busy->poll_ns);
    }
    if (polls == busy->act_at) {
        busy->act(busy);
    }
    if (conform_read(&busy->done) != 0) {
        return 0;
    }
    if (polls > busy->act_at + 4 * busy->delay_max) {
        CHECK(task->t, false && "it was starved");
        return 0;
    }
    return tocsin_task_yield(cx);
}

static void note_done(struct busy *busy)
{
    conform_set(&busy->done, conform_read(&busy->task.polls));
}

static struct tocsin_pool_options count_only(unsigned budget)
{
    return (struct tocsin_pool_options){.budget_polls = budget, .budget_ns = HOUR_NS};
}

static void run_busy(struct conform *t, struct busy *busy)
{
    if (busy->act_at == 0) {
        busy->act_at = 1000;
    }
    if (busy->delay_max == 0) {
        busy->delay_max = BUDGET;
    }
    conform_spawn(t, tocsin_pool_driver(busy->pool), &busy->task, poll_is_busy, NULL);
    CHECK_EQ(t, tocsin_pool_run(busy->pool), 0);
    CHECK(t, conform_read(&busy->done) != 0);
    if (!CHECK(t, conform_read(&busy->done) <= busy->act_at + busy->delay_max)) {
        conform_note(t, "it was delayed by %u polls, not %u",
                     conform_read(&busy->done) - busy->act_at, busy->delay_max);
    }
    CHECK_GONE(t, &busy->task);
}

static struct tocsin_pool *open_with(struct conform *t, struct tocsin_pool_options options)
{
    struct tocsin_pool *pool = NULL;

    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    return pool;
}

/* ---- F1: what must not be starved ------------------------------------------------------------ */

static void timer_notes_done(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    note_done(arg);
}

/* The timer is due from now on. */
static void act_arms_timer(struct busy *busy)
{
    tocsin_timer_arm(busy->act_arg, tocsin_pool_now_ns(busy->pool));
}

static void busy_task_delays_timer(struct conform *t, unsigned budget)
{
    struct busy busy = {.pool = open_with(t, count_only(budget)), .act = act_arms_timer};
    struct tocsin_timer timer;

    busy.delay_max = budget;
    busy.act_arg = &timer;
    REQUIRE(t,
            tocsin_timer_init(&timer, tocsin_pool_driver(busy.pool), timer_notes_done, &busy) == 0);
    run_busy(t, &busy);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, busy.pool);
}

static void busy_task_delays_no_timer_beyond_the_budget(struct conform *t)
{
    busy_task_delays_timer(t, BUDGET);
}

static void budget_is_an_option(struct conform *t)
{
    busy_task_delays_timer(t, 1);
    busy_task_delays_timer(t, 20);
    busy_task_delays_timer(t, 1000);
}

struct watcher {
    struct conform_task task;
    struct busy *busy;
    struct tocsin_fd_ready *ready;
};

static int poll_watches(struct conform_task *task, struct tocsin_context *cx)
{
    struct watcher *watcher = (struct watcher *)task;
    int r = tocsin_fd_ready_poll(watcher->ready, TOCSIN_SLOT_READ, TOCSIN_IN, cx);

    if (r == TOCSIN_PENDING) {
        return r;
    }
    CHECK(task->t, r > 0 && (r & TOCSIN_IN) != 0);
    note_done(watcher->busy);
    return 0;
}

static void act_signals_source(struct busy *busy)
{
    conform_source_signal(busy->act_arg);
}

static void busy_task_delays_no_source_beyond_the_budget(struct conform *t)
{
    struct busy busy = {.pool = open_with(t, count_only(BUDGET)), .act = act_signals_source};
    struct watcher watcher = {.busy = &busy};
    struct conform_source source;

    conform_source_open(t, &source);
    REQUIRE(t, conform_source_watch(tocsin_pool_driver(busy.pool), &source, &watcher.ready) == 0);
    busy.act_arg = &source;
    conform_spawn(t, tocsin_pool_driver(busy.pool), &watcher.task, poll_watches, NULL);
    run_busy(t, &busy);
    CHECK_EQ(t, tocsin_fd_ready_close(watcher.ready), 0);
    conform_source_close(t, &source);
    CHECK_GONE(t, &watcher.task);
    conform_pool_close(t, busy.pool);
}

struct late {
    struct conform_task task;
    struct busy *busy;
};

static int poll_is_late(struct conform_task *task, struct tocsin_context *cx)
{
    struct late *late = (struct late *)task;

    (void)cx;
    if (conform_read(&task->flag) == 0) {
        return TOCSIN_PENDING;
    }
    note_done(late->busy);
    return 0;
}

static void finish_elsewhere(struct conform *t, void *arg)
{
    (void)t;
    conform_finish(arg);
}

static void act_wakes_elsewhere(struct busy *busy)
{
    conform_elsewhere(busy->task.t, finish_elsewhere, busy->act_arg);
}

static void busy_task_delays_remote(struct conform *t, struct tocsin_pool_options options,
                                    uint64_t poll_ns, unsigned delay_max)
{
    struct busy busy = {.pool = open_with(t, options), .act = act_wakes_elsewhere};
    struct late late = {.busy = &busy};

    busy.act_arg = &late.task;
    busy.poll_ns = poll_ns;
    busy.delay_max = delay_max;
    conform_spawn_ref(t, tocsin_pool_driver(busy.pool), &late.task, poll_is_late, NULL);
    run_busy(t, &busy);
    tocsin_task_unref(&late.task.task);
    conform_pool_close(t, busy.pool);
    CHECK_GONE(t, &late.task);
}

static void busy_task_delays_no_remote_wake_beyond_the_budget(struct conform *t)
{
    busy_task_delays_remote(t, count_only(0), 0, BUDGET);
    busy_task_delays_remote(t, count_only(30), 0, 30);
}

static void slow_polls_end_the_batch_by_the_clock(struct conform *t)
{
    struct tocsin_pool_options options = {0};

    /* 250 us and 16 polls; then what the options say. */
    busy_task_delays_remote(t, options, 50000, 250000 / 50000 + CLOCK_POLLS + 1);
    options.clock_polls = 4;
    options.budget_ns = 100000;
    busy_task_delays_remote(t, options, 50000, 100000 / 50000 + 4 + 1);
}

/* A post that posts itself again, until the timer has fired. */
struct chain {
    struct conform *t;
    struct tocsin_driver *driver;
    struct tocsin_timer timer;
    unsigned calls;
    unsigned fired_at;
};

static void chain_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct chain *chain = arg;

    (void)timer;
    (void)missed;
    chain->fired_at = chain->calls;
}

static void chain_posts_again(void *arg, int status)
{
    struct chain *chain = arg;

    CHECK_EQ(chain->t, status, 0);
    chain->calls++;
    if (chain->calls == 1000) {
        tocsin_timer_arm(&chain->timer, tocsin_driver_now_ns(chain->driver));
    }
    if (chain->fired_at == 0 && chain->calls < 1000 + 4 * BUDGET) {
        CHECK_EQ(chain->t, tocsin_post(chain->driver, chain_posts_again, chain), 0);
    }
}

static void posts_count_as_polls(struct conform *t)
{
    struct tocsin_pool *pool = open_with(t, count_only(BUDGET));
    struct chain chain = {.t = t, .driver = tocsin_pool_driver(pool)};

    REQUIRE(t, tocsin_timer_init(&chain.timer, chain.driver, chain_fires, &chain) == 0);
    CHECK_EQ(t, tocsin_post(chain.driver, chain_posts_again, &chain), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, chain.fired_at >= 1000 && chain.fired_at <= 1000 + BUDGET);
    tocsin_timer_deinit(&chain.timer);
    conform_pool_close(t, pool);
}

/* Armed for the past in its own callback, for ever; the task must get its turns all the same. */
static void rearm_for_the_past(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct conform_task *task = arg;

    (void)missed;
    CHECK(task->t, conform_count(&task->flag) < 200);
    if (conform_read(&task->drops) == 0) {
        tocsin_timer_arm(timer, 1);
    }
}

static int poll_fifty_times(struct conform_task *task, struct tocsin_context *cx)
{
    return conform_read(&task->polls) == 50 ? 0 : tocsin_task_yield(cx);
}

static void timer_that_is_always_due_starves_nobody(struct conform *t)
{
    struct tocsin_pool *pool = open_with(t, count_only(1));
    struct conform_task task = {0};
    struct tocsin_timer timer;

    REQUIRE(t, tocsin_timer_init(&timer, tocsin_pool_driver(pool), rearm_for_the_past, &task) == 0);
    tocsin_timer_arm(&timer, 1);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_fifty_times, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, conform_read(&task.flag) > 1);
    tocsin_timer_deinit(&timer);
    conform_pool_close(t, pool);
}

/* What slow timers' callbacks do. */
struct slow {
    struct conform *t;
    struct tocsin_pool *pool;
    struct tocsin_timer timers[3];
    unsigned fired;
};

static void fire_slowly(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct slow *slow = arg;

    (void)missed;
    CHECK(slow->t, timer == &slow->timers[slow->fired]); /* T4 holds across turns */
    slow->fired++;
    conform_burn(slow->t, tocsin_pool_driver(slow->pool), 1000);
}

static void slow_timers_are_left_due_by_the_clock(struct conform *t)
{
    const struct tocsin_pool_options options = {.budget_ns = 1, .clock_polls = 1};
    struct slow slow = {.t = t, .pool = open_with(t, options)};

    for (unsigned i = 0; i < 3; i++) {
        REQUIRE(t, tocsin_timer_init(&slow.timers[i], tocsin_pool_driver(slow.pool), fire_slowly,
                                     &slow) == 0);
        tocsin_timer_arm(&slow.timers[i], 1);
    }
    for (unsigned i = 1; i <= 2; i++) {
        CHECK_EQ(t, tocsin_pool_turn(slow.pool), 1);
        CHECK_EQ(t, slow.fired, i);
        CHECK_EQ(t, tocsin_pool_next_deadline(slow.pool), 0); /* what is left is work */
    }
    CHECK_EQ(t, tocsin_timer_deadline_ns(&slow.timers[2]), 1);
    conform_pool_close(t, slow.pool);
    CHECK_EQ(t, slow.fired, 2);
    CHECK(t, tocsin_timer_deadline_ns(&slow.timers[2]) == TOCSIN_NEVER_NS);
    for (unsigned i = 0; i < 3; i++) {
        tocsin_timer_deinit(&slow.timers[i]);
    }
}

CONFORM_CASES(fair,
              CASE(busy_task_delays_no_timer_beyond_the_budget, "F1",
                   "A due timer waits for 256 polls of a task that never rests, at most.", 0),
              CASE(budget_is_an_option, "F1", "The same with a budget of 1, 20 and 1000.", 0),
              CASE(busy_task_delays_no_source_beyond_the_budget, "F1",
                   "A source that is ready waits for 256 polls at most.", CONFORM_SOURCES),
              CASE(busy_task_delays_no_remote_wake_beyond_the_budget, "F1",
                   "A wake from another thread waits for 256 polls at most, or the budget.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(slow_polls_end_the_batch_by_the_clock, "F1",
                   "Beyond 250 us a remote wake waits for 16 polls at most; both are options.",
                   TOCSIN_BACKEND_FOREIGN_THREADS),
              CASE(posts_count_as_polls, "F1",
                   "A post that posts itself delays a timer by the budget.", 0),
              CASE(timer_that_is_always_due_starves_nobody, "F1",
                   "A timer that arms itself for the past fires once a turn.", 0),
              CASE(slow_timers_are_left_due_by_the_clock, "F1",
                   "Slow callbacks end a turn's timers too; a close disarms what is left.", 0));
