/*
 * W8, asio: sleeps of 1.3 ms, one after the other.
 *
 *   sleep   a steady_timer that its handler starts again
 */
#include "asio_common.h"

namespace {

struct bench_sleeps sleeps;

void sleep_again(asio::steady_timer &timer)
{
    bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
    timer.expires_after(std::chrono::nanoseconds(BENCH_SLEEP_NS));
    timer.async_wait([&timer](const asio::error_code &) {
        if (!bench_sleeps_note(&sleeps)) {
            sleep_again(timer);
        }
    });
}

void run_sleep(struct bench *bench)
{
    asio::io_context context(1);
    asio::steady_timer timer(context);

    bench_sleeps_init(&sleeps, bench);
    bench_begin(bench);
    sleep_again(timer);
    context.run();
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
}

const struct bench_case cases[] = {{"sleep", run_sleep}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
