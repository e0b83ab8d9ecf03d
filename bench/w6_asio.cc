/*
 * W6, asio: bytes handed on along bench->n pairs of sockets, bench->active at once.
 *
 *   chain        async_wait() on every pair, anew after each event; read(2) and write(2)
 *   register     a stream_descriptor for each, and a wait
 *   unregister   release() of all, and the waits told so
 */
#include "asio_common.h"

#include <vector>

namespace {

using asio::posix::stream_descriptor;

struct pairs {
    asio::io_context context{1};
    std::vector<stream_descriptor> all;
    bench_chain chain;

    explicit pairs(struct bench *bench)
    {
        bench_chain_open(&chain, bench);
        all.reserve(bench->n);
        for (uint64_t i = 0; i < bench->n; i++) {
            all.emplace_back(context);
        }
    }

    void wait(uint64_t i)
    {
        all[i].async_wait(stream_descriptor::wait_read, [this, i](const asio::error_code &error) {
            if (error) {
                return;
            }
            if (bench_chain_step(&chain, i)) {
                context.stop();
            } else {
                wait(i);
            }
        });
    }

    void start_all()
    {
        for (uint64_t i = 0; i < chain.n; i++) {
            all[i].assign(chain.read_fds[i]);
            wait(i);
        }
    }

    void stop_all()
    {
        for (auto &descriptor : all) {
            descriptor.release();
        }
        context.restart();
        context.poll();
    }
};

void start_all(void *arg)
{
    static_cast<pairs *>(arg)->start_all();
}

void stop_all(void *arg)
{
    static_cast<pairs *>(arg)->stop_all();
}

void run_chain(struct bench *bench)
{
    pairs own(bench);

    own.start_all();
    bench_begin(bench);
    bench_chain_start(&own.chain, bench);
    own.context.run();
    bench_end(bench);
    own.stop_all();
    bench_chain_close(&own.chain);
}

void registers(struct bench *bench, bool time_add)
{
    pairs own(bench);

    bench_registers(bench, time_add, start_all, stop_all, &own);
    bench_chain_close(&own.chain);
}

void run_register(struct bench *bench)
{
    registers(bench, true);
}

void run_unregister(struct bench *bench)
{
    registers(bench, false);
}

const struct bench_case cases[] = {
    {"chain", run_chain}, {"register", run_register}, {"unregister", run_unregister}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
