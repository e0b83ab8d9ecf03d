/*
 * W1, GLib: g_idle_add() of 1,000 functions, then turns of the main context until all have run.
 *
 *   post   each is a source of its own, which is made and destroyed
 */
#include "common.h"

#include "main_loop.h"

static gboolean count_post(gpointer arg)
{
    ++*(uint64_t *)arg;
    return G_SOURCE_REMOVE;
}

static void run_post(struct bench *bench)
{
    uint64_t done = 0;

    bench_begin(bench);
    for (uint64_t posted = 0; posted < bench->count; posted += BENCH_BATCH) {
        for (size_t i = 0; i < BENCH_BATCH; i++) {
            g_idle_add(count_post, &done);
        }
        while (done < posted + BENCH_BATCH) {
            g_main_context_iteration(NULL, FALSE);
        }
    }
    bench_end(bench);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_glib_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
