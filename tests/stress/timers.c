/*
 * Timers moved by two threads.
 *
 * The movers move all timers to and fro, in both directions and to never; then both wait for each
 * other, and each moves its half once more, to a deadline that has to be met: a move that was lost,
 * or that did not wake the pool, hangs.  T1: nothing fires before the earliest deadline of a round.
 */
#include "tests/stress/stress.h"

enum {
    TIMERS = 8,
    MOVERS = 2,
    MOVES = 20,
};

struct clock {
    struct tocsin_driver *driver;
    struct tocsin_timer timers[TIMERS];
    _Atomic(uint64_t) earliest_ns;      /* of this round */
    _Atomic(uint64_t) fired_ns[TIMERS]; /* when it last did */
    atomic_uint arrived;                /* movers, at the end of a part of a round */
    atomic_uint ready;                  /* timers are initialised, or given back */
    unsigned rounds;
};

struct mover {
    struct support_thread thread;
    struct support_random random;
    struct clock *clock;
    unsigned index;
};

static void note(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct clock *clock = arg;
    uint64_t now_ns = tocsin_driver_now_ns(clock->driver);

    (void)missed;
    STRESS_CHECK(now_ns >= atomic_load_explicit(&clock->earliest_ns, memory_order_acquire));
    atomic_store_explicit(&clock->fired_ns[timer - clock->timers], now_ns, memory_order_release);
}

/* Both come here, then both go on. */
static void meet(struct clock *clock, unsigned *part)
{
    stress_add(&clock->arrived);
    stress_await(&clock->arrived, MOVERS * ++*part);
}

static void move_all(struct mover *mover, uint64_t now_ns)
{
    for (unsigned i = 0; i < MOVES; i++) {
        struct tocsin_timer *timer =
            &mover->clock->timers[support_random_below(&mover->random, TIMERS)];
        uint32_t delay_ns = support_random_below(&mover->random, 2000000);

        tocsin_timer_move(timer, delay_ns % 16 == 0 ? TOCSIN_NEVER_NS : now_ns + delay_ns);
    }
}

static void move_timers(void *arg)
{
    struct mover *mover = arg;
    struct clock *clock = mover->clock;
    unsigned part = 0;

    for (unsigned round = 0; round < clock->rounds; round++) {
        uint64_t now_ns = tocsin_driver_now_ns(clock->driver);
        uint64_t final_ns;

        move_all(mover, now_ns);
        meet(clock, &part);
        final_ns =
            tocsin_driver_now_ns(clock->driver) + support_random_below(&mover->random, 300000);
        for (unsigned i = mover->index; i < TIMERS; i += MOVERS) {
            tocsin_timer_move(&clock->timers[i], final_ns);
        }
        for (unsigned i = mover->index; i < TIMERS; i += MOVERS) {
            while (atomic_load_explicit(&clock->fired_ns[i], memory_order_acquire) < final_ns) {
            }
        }
        meet(clock, &part);
        stress_progress();
    }
}

static void init_timers(void *arg, int status)
{
    struct clock *clock = arg;

    STRESS_CHECK(status == 0);
    for (unsigned i = 0; i < TIMERS; i++) {
        STRESS_CHECK(tocsin_timer_init(&clock->timers[i], clock->driver, note, clock) == 0);
    }
    stress_add(&clock->ready);
}

static void deinit_timers(void *arg, int status)
{
    struct clock *clock = arg;

    STRESS_CHECK(status == 0);
    for (unsigned i = 0; i < TIMERS; i++) {
        tocsin_timer_deinit(&clock->timers[i]);
    }
    stress_add(&clock->ready);
}

static void run(unsigned count, struct support_random *random)
{
    static struct clock clock;
    static struct mover movers[MOVERS];
    struct tocsin_pool_thread *thread;

    clock.rounds = count;
    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &clock.driver, "timers", NULL, NULL) == 0);
    atomic_store_explicit(&clock.earliest_ns, tocsin_driver_now_ns(clock.driver),
                          memory_order_release);
    STRESS_CHECK(tocsin_post(clock.driver, init_timers, &clock) == 0);
    stress_await(&clock.ready, 1);
    for (unsigned i = 0; i < MOVERS; i++) {
        movers[i].random.state = support_random_next(random);
        movers[i].clock = &clock;
        movers[i].index = i;
        support_thread_start(&movers[i].thread, i, move_timers, &movers[i]);
    }
    for (unsigned i = 0; i < MOVERS; i++) {
        support_thread_join(&movers[i].thread);
    }
    STRESS_CHECK(tocsin_post(clock.driver, deinit_timers, &clock) == 0);
    stress_await(&clock.ready, 2);
    tocsin_driver_unref(clock.driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 1000, run);
}
