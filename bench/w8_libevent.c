/*
 * W8, libevent: sleeps of 1.3 ms, one after the other.
 *
 *   sleep     a timer that its callback starts again
 *   precise   with EVENT_BASE_FLAG_PRECISE_TIMER
 */
#include "common.h"

#include <event2/event.h>
#include <event2/event_struct.h>

static const struct timeval delay = {0, BENCH_SLEEP_NS / 1000};

static struct bench_sleeps sleeps;
static struct event timer;

static void fire(evutil_socket_t fd, short events, void *arg)
{
    (void)fd;
    (void)events;
    (void)arg;
    if (!bench_sleeps_note(&sleeps)) {
        bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
        event_add(&timer, &delay);
    }
}

static void sleep_all(struct bench *bench, int flags)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    event_config_set_flag(config, flags);
    base = event_base_new_with_config(config);
    event_config_free(config);
    bench_sleeps_init(&sleeps, bench);
    event_assign(&timer, base, -1, 0, fire, NULL);
    bench_begin(bench);
    bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
    event_add(&timer, &delay);
    event_base_dispatch(base);
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    event_base_free(base);
}

static void run_sleep(struct bench *bench)
{
    sleep_all(bench, 0);
}

static void run_precise(struct bench *bench)
{
    sleep_all(bench, EVENT_BASE_FLAG_PRECISE_TIMER);
}

static const struct bench_case cases[] = {{"sleep", run_sleep}, {"precise", run_precise}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, event_get_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
