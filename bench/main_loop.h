/*
 * What the benchmarks of GLib share.
 */
#ifndef BENCH_MAIN_LOOP_H
#define BENCH_MAIN_LOOP_H

#include <glib.h>
#include <stdio.h>

static inline const char *bench_glib_version(void)
{
    static char version[32];

    snprintf(version, sizeof(version), "%u.%u.%u", glib_major_version, glib_minor_version,
             glib_micro_version);
    return version;
}

#endif
