/*
 * W3, GLib: two main contexts, each with a source; the other thread sets it ready.
 *
 *   trip   on two threads
 */
#include "common.h"

#include "main_loop.h"

struct side {
    GSource source; /* the first member, as GLib wants it */
    GMainContext *context;
    struct side *peer;
    uint64_t left;
    struct bench_gate *gate;
};

static gboolean dispatch(GSource *source, GSourceFunc fn, gpointer arg)
{
    struct side *side = (struct side *)(void *)source;

    (void)fn;
    (void)arg;
    g_source_set_ready_time(source, -1);
    g_source_set_ready_time(&side->peer->source, 0);
    side->left--;
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_functions = {.dispatch = dispatch};

static struct side *open_side(struct bench_gate *gate, uint64_t count)
{
    GSource *source = g_source_new(&source_functions, sizeof(struct side));
    struct side *side = (struct side *)(void *)source;

    side->context = g_main_context_new();
    side->left = count;
    side->gate = gate;
    g_source_attach(source, side->context);
    return side;
}

/* The peer's last wake must still find the source. */
static void run_side(struct side *side)
{
    bench_gate_wait(side->gate);
    while (side->left > 0) {
        g_main_context_iteration(side->context, TRUE);
    }
    bench_gate_wait(side->gate);
}

static void close_side(struct side *side)
{
    GMainContext *context = side->context;

    g_source_destroy(&side->source);
    g_source_unref(&side->source);
    g_main_context_unref(context);
}

static void *run_second(void *arg)
{
    run_side(arg);
    return NULL;
}

static void run_trip(struct bench *bench)
{
    struct bench_gate gate;
    struct side *first = open_side(&gate, bench->count);
    struct side *second = open_side(&gate, bench->count);
    pthread_t thread;

    first->peer = second;
    second->peer = first;
    bench_gate_init(&gate);
    thread = bench_thread(bench, run_second, second);
    bench_begin(bench);
    g_source_set_ready_time(&first->source, 0);
    run_side(first);
    bench_end(bench);
    pthread_join(thread, NULL);
    close_side(first);
    close_side(second);
}

static const struct bench_case cases[] = {{"trip", run_trip}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, bench_glib_version(), cases, sizeof(cases) / sizeof(cases[0]));
}
