/*
 * W2, asio: bench->active functions that post themselves again.
 *
 *   post   beside a timer of 100 us, so that there is a reactor, which is asked now and then
 *   bare   without one: nothing else is served, for there is nothing
 */
#include "asio_common.h"

#include <optional>

namespace {

asio::io_context *context;
uint64_t left;

struct again {
    void operator()() const
    {
        if (left > 0) {
            left--;
            asio::post(*context, again());
        }
    }
};

void yields(struct bench *bench, bool with_timer)
{
    asio::io_context own(1);
    std::optional<asio::steady_timer> timer; /* it brings the reactor with it */
    bool fired = false;

    context = &own;
    left = bench->count;
    for (uint64_t i = 0; i < bench->active; i++) {
        asio::post(own, again());
    }
    bench_begin(bench);
    if (with_timer) {
        timer.emplace(own, std::chrono::microseconds(100));
        timer->async_wait([&fired](const asio::error_code &) { fired = left > 0; });
    }
    own.run();
    bench_end(bench);
    bench_extra(bench, "fair", fired);
}

void run_post(struct bench *bench)
{
    yields(bench, true);
}

void run_bare(struct bench *bench)
{
    yields(bench, false);
}

const struct bench_case cases[] = {{"post", run_post}, {"bare", run_bare}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
