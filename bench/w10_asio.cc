/*
 * W10, asio: what bench->n things take, the caller's objects included, and making one.
 *
 *   task         posted functions that have not run yet
 *   timer        steady_timers that are waited for
 *   descriptor   stream_descriptors over eventfds that are waited for
 */
#include "asio_common.h"

#include <sys/eventfd.h>
#include <vector>

namespace {

using asio::posix::stream_descriptor;

void nothing(const asio::error_code &)
{
}

void run_task(struct bench *bench)
{
    asio::io_context context(1);
    struct bench_memory memory;
    uint64_t done = 0;

    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->n; i++) {
        asio::post(context, [&done] { done++; });
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
}

void run_timer(struct bench *bench)
{
    asio::io_context context(1);
    struct bench_memory memory;

    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);

    std::vector<asio::steady_timer> timers;

    timers.reserve(bench->n);
    for (uint64_t i = 0; i < bench->n; i++) {
        timers.emplace_back(context);
        timers.back().expires_after(std::chrono::milliseconds(10000 + i));
        timers.back().async_wait(nothing);
    }
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
}

void run_descriptor(struct bench *bench)
{
    asio::io_context context(1);
    std::vector<int> fds(bench->n);
    struct bench_memory memory;

    for (int &fd : fds) {
        fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    bench->count = bench->n;
    bench_memory_begin(&memory);
    bench_begin(bench);

    std::vector<stream_descriptor> descriptors;

    descriptors.reserve(bench->n);
    for (int fd : fds) {
        descriptors.emplace_back(context, fd);
        descriptors.back().async_wait(stream_descriptor::wait_read, nothing);
    }
    context.poll();
    bench_end(bench);
    bench_memory_end(&memory, bench, bench->n);
}

const struct bench_case cases[] = {
    {"task", run_task}, {"timer", run_timer}, {"descriptor", run_descriptor}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
