/*
 * W1, asio: asio::post() of 1,000 functions, and one poll() of the io_context.
 *
 *   post   an io_context with the hint that one thread runs it
 */
#include "asio_common.h"

static void run_post(struct bench *bench)
{
    asio::io_context context(1);
    uint64_t done = 0;

    bench_begin(bench);
    while (done < bench->count) {
        for (size_t i = 0; i < BENCH_BATCH; i++) {
            asio::post(context, [&done] { done++; });
        }
        context.restart();
        context.poll();
    }
    bench_end(bench);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
