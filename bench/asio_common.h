/*
 * What the benchmarks of asio share.  It is the standalone one, headers only.
 */
#ifndef BENCH_ASIO_COMMON_H
#define BENCH_ASIO_COMMON_H

#include <asio.hpp>

#include "common.h"

static inline const char *bench_asio_version()
{
    static char version[32];

    snprintf(version, sizeof(version), "%d.%d.%d", ASIO_VERSION / 100000, ASIO_VERSION / 100 % 1000,
             ASIO_VERSION % 100);
    return version;
}

#endif
