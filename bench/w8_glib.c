/*
 * W8, GLib: sleeps of 1.3 ms, one after the other.
 *
 *   sleep   a source with a ready time, which is in microseconds; the wait is in milliseconds
 */
#include "common.h"

#include "main_loop.h"

static struct bench_sleeps sleeps;

static void sleep_again(GSource *source)
{
    bench_sleeps_ask(&sleeps, BENCH_SLEEP_NS);
    g_source_set_ready_time(source, (gint64)((sleeps.deadline_ns + 999) / 1000));
}

static gboolean dispatch(GSource *source, GSourceFunc fn, gpointer arg)
{
    (void)fn;
    (void)arg;
    g_source_set_ready_time(source, -1);
    if (!bench_sleeps_note(&sleeps)) {
        sleep_again(source);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_functions = {.dispatch = dispatch};

static void run_sleep(struct bench *bench)
{
    GMainContext *context = g_main_context_new();
    GSource *source = g_source_new(&source_functions, sizeof(GSource));

    bench_sleeps_init(&sleeps, bench);
    g_source_attach(source, context);
    bench_begin(bench);
    sleep_again(source);
    while (sleeps.done < sleeps.count) {
        g_main_context_iteration(context, TRUE);
    }
    bench_end(bench);
    bench_sleeps_report(&sleeps, bench);
    g_source_destroy(source);
    g_source_unref(source);
    g_main_context_unref(context);
}

static const struct bench_case cases[] = {{"sleep", run_sleep}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_glib_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
