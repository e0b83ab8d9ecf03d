/*
 * W5, asio: bench->n steady_timers.
 *
 *   rearm    expires_at() and async_wait() of a random one; the waits that this cancels are told so
 *            after each 1,000
 *   yield    a function that posts itself while they are armed
 *   expire   all are due within 100 ms
 */
#include "asio_common.h"

#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

struct timers {
    asio::io_context context{1};
    std::vector<asio::steady_timer> all;
    clock_type::time_point base;
    uint64_t random = 1;
    uint64_t fired = 0;
    uint64_t left = 0;

    explicit timers(uint64_t n)
    {
        all.reserve(n);
        for (uint64_t i = 0; i < n; i++) {
            all.emplace_back(context);
        }
        base = clock_type::now();
    }

    void arm(asio::steady_timer &timer, uint64_t delay_ns)
    {
        timer.expires_at(base + std::chrono::nanoseconds(delay_ns));
        timer.async_wait([this](const asio::error_code &error) { fired += error ? 0 : 1; });
    }

    void arm_far()
    {
        for (auto &timer : all) {
            arm(timer, bench_far_ns(&random, 0));
        }
    }

    void again()
    {
        if (left == 0) {
            context.stop();
            return;
        }
        left--;
        asio::post(context, [this] { again(); });
    }
};

void run_rearm(struct bench *bench)
{
    timers own(bench->n);

    own.arm_far();
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        auto &timer = own.all[bench_random(&own.random, bench->n)];

        own.arm(timer, bench_far_ns(&own.random, 0));
        if (i % BENCH_BATCH == 0) {
            own.context.poll();
        }
    }
    own.context.poll();
    bench_end(bench);
}

void run_yield(struct bench *bench)
{
    timers own(bench->n);

    own.arm_far();
    own.left = bench->count;
    asio::post(own.context, [&own] { own.again(); });
    bench_begin(bench);
    own.context.run();
    bench_end(bench);
}

void run_expire(struct bench *bench)
{
    timers own(bench->n);
    uint64_t base_ns = bench_arming_ns(bench->n);

    bench->count = bench->n;
    for (auto &timer : own.all) {
        own.arm(timer, bench_near_ns(&own.random, base_ns));
    }
    bench_begin(bench);
    own.context.run();
    bench_end(bench);
    bench_must(own.fired == bench->n, "not all have fired");
}

const struct bench_case cases[] = {
    {"rearm", run_rearm}, {"yield", run_yield}, {"expire", run_expire}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
