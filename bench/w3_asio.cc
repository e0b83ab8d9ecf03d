/*
 * W3, asio: two io_contexts post to each other.
 *
 *   trip   each has a timer armed, so it waits in its reactor
 *   bare   without one: it waits on a condition
 */
#include "asio_common.h"

#include <optional>

namespace {

struct side {
    asio::io_context context;
    std::optional<asio::steady_timer> timer; /* it brings the reactor with it */
    side *peer = nullptr;
    uint64_t left = 0;

    side() : context(2)
    {
    }

    void step()
    {
        asio::post(peer->context, [to = peer] { to->step(); });
        if (--left == 0) {
            context.stop();
        }
    }
};

struct second {
    side *own;
    bench_gate *gate;
};

void run_side(side *own, bench_gate *gate)
{
    auto work = asio::make_work_guard(own->context);

    bench_gate_wait(gate);
    own->context.run();
    bench_gate_wait(gate);
}

void *run_second(void *arg)
{
    auto *what = static_cast<second *>(arg);

    run_side(what->own, what->gate);
    return nullptr;
}

void trips(struct bench *bench, bool reactor)
{
    bench_gate gate;
    side sides[2];
    second other = {&sides[1], &gate};
    pthread_t thread;

    bench_gate_init(&gate);
    for (size_t i = 0; i < 2; i++) {
        sides[i].peer = &sides[1 - i];
        sides[i].left = bench->count;
        if (reactor) {
            sides[i].timer.emplace(sides[i].context, std::chrono::hours(1));
            sides[i].timer->async_wait([](const asio::error_code &) {});
        }
    }
    thread = bench_thread(bench, run_second, &other);
    bench_begin(bench);
    asio::post(sides[0].context, [&sides] { sides[0].step(); });
    run_side(&sides[0], &gate);
    bench_end(bench);
    pthread_join(thread, nullptr);
}

void run_trip(struct bench *bench)
{
    trips(bench, true);
}

void run_bare(struct bench *bench)
{
    trips(bench, false);
}

const struct bench_case cases[] = {{"trip", run_trip}, {"bare", run_bare}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
