/*
 * W4, GLib: a queue of one's own with a mutex, and a source that the other thread sets ready.
 *
 *   post   when the queue was empty
 */
#include "common.h"

#include "main_loop.h"

struct own {
    GSource source; /* the first member, as GLib wants it */
    struct bench_pusher pusher;
};

static gboolean dispatch(GSource *source, GSourceFunc fn, gpointer arg)
{
    struct own *own = (struct own *)(void *)source;

    (void)fn;
    (void)arg;
    g_source_set_ready_time(source, -1);
    bench_queue_run(&own->pusher.queue);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_functions = {.dispatch = dispatch};

static void wake(void *arg)
{
    g_source_set_ready_time(arg, 0);
}

static void run_post(struct bench *bench)
{
    GMainContext *context = g_main_context_new();
    GSource *source = g_source_new(&source_functions, sizeof(struct own));
    struct own *own = (struct own *)(void *)source;
    pthread_t thread;

    g_source_attach(source, context);
    bench_begin(bench);
    thread = bench_pusher_start(bench, &own->pusher, wake, source);
    while (own->pusher.done < bench->count) {
        g_main_context_iteration(context, TRUE);
    }
    bench_end(bench);
    pthread_join(thread, NULL);
    g_source_destroy(source);
    g_source_unref(source);
    g_main_context_unref(context);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_glib_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
