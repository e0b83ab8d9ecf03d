/*
 * W7, asio: an echo server.
 *
 *   echo   async_read_some(), then async_write()
 */
#include "asio_common.h"

#include <deque>

namespace {

struct connection {
    asio::ip::tcp::socket socket;
    char bytes[4096];

    connection(asio::io_context &context, int fd) : socket(context, asio::ip::tcp::v4(), fd)
    {
    }

    void receive()
    {
        socket.async_read_some(asio::buffer(bytes),
                               [this](const asio::error_code &error, size_t size) {
                                   if (!error) {
                                       answer(size);
                                   } else {
                                       socket.close();
                                   }
                               });
    }

    void answer(size_t size)
    {
        asio::async_write(socket, asio::buffer(bytes, size),
                          [this](const asio::error_code &error, size_t) {
                              bench_must(!error, "async_write");
                              receive();
                          });
    }
};

void run_echo(struct bench *bench)
{
    asio::io_context context(1);
    std::deque<connection> connections;
    struct bench_echo echo;

    bench_echo_start(&echo, bench);
    for (uint64_t i = 0; i < bench->active; i++) {
        connections.emplace_back(context, echo.server_fds[i]);
        connections.back().receive();
    }
    context.run();
    bench_echo_end(&echo, bench);
}

const struct bench_case cases[] = {{"echo", run_echo}};

} /* namespace */

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_asio_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
