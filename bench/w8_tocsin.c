/*
 * W8, Tocsin: a timer whose callback arms it again, 1.3 ms away.
 *
 *   sleep   --slack-ns= is the pool's option timer_slack_ns
 */
#include "pool.h"

static struct bench_sleeps sleeps;

static void sleep_again(struct tocsin_timer *timer)
{
    bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
    tocsin_timer_arm(timer, sleeps.deadline_ns);
}

static void fire(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)missed;
    (void)arg;
    if (!bench_sleeps_note(&sleeps)) {
        sleep_again(timer);
    }
}

static void run_sleep(struct bench *bench)
{
    struct tocsin_pool *pool = bench_pool_open(bench);
    struct tocsin_timer timer;

    bench_sleeps_init(&sleeps, bench);
    bench_check(tocsin_timer_init(&timer, tocsin_pool_driver(pool), fire, NULL), "timer_init");
    bench_begin(bench);
    sleep_again(&timer);
    bench_check(tocsin_pool_run(pool), "tocsin_pool_run");
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    tocsin_timer_deinit(&timer);
    bench_pool_finish(pool);
}

static const struct bench_case cases[] = {{"sleep", run_sleep}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_TOCSIN, cases, sizeof(cases) / sizeof(cases[0]));
}
