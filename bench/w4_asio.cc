/*
 * W4, asio: a second thread calls asio::post().
 *
 *   post   the io_context has a timer armed, so it waits in its reactor
 */
#include "asio_common.h"

namespace {

struct posts {
    asio::io_context context{2};
    uint64_t count = 0;
    uint64_t done = 0;
};

void *post_all(void *arg)
{
    auto *own = static_cast<posts *>(arg);

    for (uint64_t i = 0; i < own->count; i++) {
        asio::post(own->context, [own] {
            if (++own->done == own->count) {
                own->context.stop();
            }
        });
    }
    return nullptr;
}

void run_post(struct bench *bench)
{
    posts own;
    asio::steady_timer timer(own.context);
    pthread_t thread;

    own.count = bench->count;
    timer.expires_after(std::chrono::hours(1));
    timer.async_wait([](const asio::error_code &) {});
    bench_begin(bench);
    thread = bench_thread(bench, post_all, &own);
    own.context.run();
    bench_end(bench);
    pthread_join(thread, nullptr);
}

const struct bench_case cases[] = {{"post", run_post}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
