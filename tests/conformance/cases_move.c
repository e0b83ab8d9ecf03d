/*
 * Timers, T3: what it costs to move one from another thread, and that no move is lost.
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

/* ---- T3 -------------------------------------------------------------------------------------- */

struct move {
    struct fired *fired;
    uint64_t deadline_ns;
};

static void move_elsewhere(struct conform *t, void *arg)
{
    struct move *move = arg;

    (void)t;
    tocsin_timer_move(&move->fired->timer, move->deadline_ns);
}

struct later {
    struct tocsin_timer *first; /* what the pool sleeps for */
    struct tocsin_timer *moved;
    uint64_t deadline_ns;
};

static void move_later_then_end(struct conform *t, void *arg)
{
    struct later *later = arg;

    tocsin_timer_move(later->moved, later->deadline_ns);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    tocsin_timer_move(later->first, later->deadline_ns + 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    tocsin_timer_move(later->first, 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
}

static void later_deadline_never_kicks(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_timer_options background = {.delay_ns = 9 * HOUR_NS, .background = true};
    struct later later;
    struct fired first;
    struct fired moved;

    fired_init(t, pool, &first);
    fired_init(t, pool, &moved);
    /* From nine hours to five: earlier than it was, and later than the pool sleeps. */
    tocsin_timer_start(&moved.timer, &background);
    tocsin_timer_arm(&first.timer, tocsin_pool_now_ns(pool) + HOUR_NS);
    later = (struct later){&first.timer, &moved.timer, tocsin_pool_now_ns(pool) + 5 * HOUR_NS};
    conform_at_sleep(t, move_later_then_end, &later);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK(t, t->hook == NULL);
    CHECK_EQ(t, first.count, 1);
    CHECK_EQ(t, moved.count, 0);
    CHECK_EQ(t, tocsin_timer_deadline_ns(&moved.timer), later.deadline_ns);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_timer_deinit(&first.timer);
    tocsin_timer_deinit(&moved.timer);
    conform_pool_close(t, pool);
}

static void earlier_deadline_kicks_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct move move;
    struct fired moved;

    fired_init(t, pool, &moved);
    move = (struct move){&moved, tocsin_pool_now_ns(pool) + MS_NS};
    tocsin_timer_arm(&moved.timer, tocsin_pool_now_ns(pool) + HOUR_NS);
    moved.deadline_ns = move.deadline_ns;
    conform_at_sleep(t, move_elsewhere, &move);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, moved.count, 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    tocsin_timer_deinit(&moved.timer);
    conform_pool_close(t, pool);
}

enum {
    MOVERS = 3,
};

struct movers {
    struct move moves[MOVERS];
    atomic_uint ready;
    struct conform_gate start;
};

struct mover {
    struct movers *all;
    struct move *move;
};

static void move_at_start(struct conform *t, void *arg)
{
    struct mover *mover = arg;

    conform_count(&mover->all->ready);
    conform_gate_wait(&mover->all->start);
    move_elsewhere(t, mover->move);
}

static void race_moves(struct conform *t, void *arg)
{
    struct movers *all = arg;
    struct mover movers[MOVERS];
    struct conform_thread *threads[MOVERS];

    for (int i = 0; i < MOVERS; i++) {
        movers[i] = (struct mover){all, &all->moves[i]};
        threads[i] = conform_thread(t, move_at_start, &movers[i]);
    }
    conform_await(&all->ready, MOVERS);
    conform_gate_open(&all->start);
    for (int i = 0; i < MOVERS; i++) {
        conform_thread_join(t, threads[i]);
    }
}

static void movers_that_race_kick_once(struct conform *t)
{
    for (unsigned round = 0; round < conform_times(t, 10); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        unsigned kicks = conform_read(&t->counts.kicks);
        struct movers all = {0};
        struct fired fired[MOVERS];

        for (int i = 0; i < MOVERS; i++) {
            fired_init(t, pool, &fired[i]);
            tocsin_timer_arm(&fired[i].timer, tocsin_pool_now_ns(pool) + HOUR_NS);
            fired[i].deadline_ns = tocsin_pool_now_ns(pool) + MS_NS;
            all.moves[i] = (struct move){&fired[i], fired[i].deadline_ns};
        }
        conform_at_sleep(t, race_moves, &all);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
        for (int i = 0; i < MOVERS; i++) {
            CHECK_EQ(t, fired[i].count, 1);
            tocsin_timer_deinit(&fired[i].timer);
        }
        conform_pool_close(t, pool);
    }
}

static int poll_has_it_moved_elsewhere(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_elsewhere(task->t, move_elsewhere, task->arg);
    return 0;
}

static void move_while_running_is_seen_and_never_kicks(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct move move;
    struct fired moved;

    fired_init(t, pool, &moved);
    move = (struct move){&moved, 1};
    tocsin_timer_arm(&moved.timer, tocsin_pool_now_ns(pool) + HOUR_NS);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_has_it_moved_elsewhere, &move);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, moved.count, 1);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 0);
    CHECK_EQ(t, conform_read(&t->counts.waits), 0);
    tocsin_timer_deinit(&moved.timer);
    conform_pool_close(t, pool);
}

/*
 * A mover and the pool race; a move that is lost leaves both waiting, and the watchdog ends the
 * case.
 */
struct chase {
    struct tocsin_timer timer;
    struct tocsin_driver *driver;
    unsigned rounds;
    atomic_uint fired;
};

static void chase_fires(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct chase *chase = arg;

    (void)timer;
    (void)missed;
    if (conform_count(&chase->fired) == chase->rounds) {
        tocsin_driver_unref(chase->driver);
    }
}

static void chase_timer(struct conform *t, void *arg)
{
    struct chase *chase = arg;

    (void)t;
    for (unsigned i = 1; i <= chase->rounds; i++) {
        tocsin_timer_move(&chase->timer, 1);
        conform_await(&chase->fired, i);
    }
}

static void no_move_is_lost(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct chase chase = {.driver = tocsin_driver_ref(tocsin_pool_driver(pool))};
    struct conform_thread *thread;

    chase.rounds = conform_times(t, 3000);
    REQUIRE(t, tocsin_timer_init(&chase.timer, chase.driver, chase_fires, &chase) == 0);
    thread = conform_thread(t, chase_timer, &chase);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_thread_join(t, thread);
    tocsin_timer_deinit(&chase.timer);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    move,
    CASE(later_deadline_never_kicks, "T3",
         "Another thread moves timers to later than the pool sleeps: no kick, and it is seen.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(earlier_deadline_kicks_once, "T3", "To earlier than the pool sleeps: one kick.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(movers_that_race_kick_once, "T3", "Three threads move three timers to earlier: one kick.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(move_while_running_is_seen_and_never_kicks, "T3",
         "A move while the pool runs makes no kick.", TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(no_move_is_lost, "T3", "Another thread moves a timer at any moment of the pool's sleeps.",
         TOCSIN_BACKEND_FOREIGN_THREADS));
