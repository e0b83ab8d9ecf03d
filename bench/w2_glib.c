/*
 * W2, GLib: bench->active idle sources, beside a timer of 1 ms.
 *
 *   idle   of the default priority, so that timers have their turn
 */
#include "common.h"

#include "main_loop.h"

static uint64_t left;
static bool fired;

static gboolean fire(gpointer arg)
{
    (void)arg;
    fired = left > 0;
    return G_SOURCE_REMOVE;
}

static gboolean again(gpointer arg)
{
    (void)arg;
    if (left == 0) {
        return G_SOURCE_REMOVE;
    }
    left--;
    return G_SOURCE_CONTINUE;
}

static void run_idle(struct bench *bench)
{
    left = bench->count;
    fired = false;
    for (uint64_t i = 0; i < bench->active; i++) {
        g_idle_add_full(G_PRIORITY_DEFAULT, again, NULL, NULL);
    }
    bench_begin(bench);
    g_timeout_add(1, fire, NULL);
    while (left > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    bench_end(bench);
    bench_extra(bench, "fair", fired);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static const struct bench_case cases[] = {{"idle", run_idle}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_glib_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
