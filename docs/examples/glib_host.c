/*
 * A pool inside GLib's main loop, as a GSource.
 *
 *     glib_host [POSTS]
 *
 * The source watches the pool's descriptor and knows its next deadline; when either is ready, GLib
 * dispatches the source, which takes one turn.  Nothing polls.  Beside the pool GLib runs a timeout
 * of its own; a thread posts POSTS callbacks to the pool; a task of the pool sleeps a few times.
 * When nothing keeps the pool alive any more, the program says what it has counted, and ends.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <tocsin/tocsin.h>

#define MS UINT64_C(1000000)
#define SLEEP_NS (20 * MS)

enum {
    SLEEPS = 5,
};

struct program {
    GMainLoop *loop;
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct tocsin_task task;
    struct tocsin_timer timer;
    uint64_t wake_ns;   /* when the task's sleep ends */
    unsigned sleeps;    /* of the task */
    unsigned posts;     /* that have arrived from the thread */
    unsigned posts_max; /* that it sends */
    unsigned ticks;     /* of GLib's timeout */
    unsigned turns;     /* of the pool */
};

/* ---- The pool as a GSource ------------------------------------------------------------------- */

struct pool_source {
    GSource source;
    struct program *program;
};

/* The descriptor is readable, or the time has come. */
static gboolean pool_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct program *program = ((struct pool_source *)source)->program;
    int r = tocsin_pool_turn(program->pool);
    uint64_t next_ns = tocsin_pool_next_deadline(program->pool);

    (void)callback;
    (void)data;
    program->turns++;
    if (r <= 0) {
        g_main_loop_quit(program->loop); /* 0: nothing keeps the pool alive; else it is broken */
        return G_SOURCE_REMOVE;
    }
    /* GLib's clock is the pool's, in microseconds: rounded up, so as not to come too early. */
    g_source_set_ready_time(
        source, next_ns == TOCSIN_NEVER_NS ? -1 : (gint64)(next_ns / 1000 + (next_ns % 1000 != 0)));
    return G_SOURCE_CONTINUE;
}

static int pool_source_attach(struct program *program)
{
    static GSourceFuncs funcs = {.dispatch = pool_dispatch};
    GSource *source;
    int fd = tocsin_pool_poll_fd(program->pool);

    if (fd < 0) {
        return fd;
    }
    source = g_source_new(&funcs, sizeof(struct pool_source));
    ((struct pool_source *)source)->program = program;
    g_source_add_unix_fd(source, fd, G_IO_IN);
    g_source_set_ready_time(source, 0); /* the first turn */
    g_source_attach(source, NULL);
    g_source_unref(source); /* the main context has it */
    return 0;
}

/* ---- What lives on it ------------------------------------------------------------------------ */

static int sleep_a_few_times(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct program *program =
        (struct program *)(void *)((char *)task - offsetof(struct program, task));

    while (program->sleeps < SLEEPS) {
        if (program->wake_ns == 0) {
            program->wake_ns = tocsin_driver_now_ns(cx->driver) + SLEEP_NS;
        }
        if (tocsin_timer_poll(&program->timer, cx, program->wake_ns) == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        program->wake_ns = 0;
        program->sleeps++;
    }
    return 0;
}

static void arrive(void *arg, int status)
{
    struct program *program = arg;

    if (status == 0) {
        program->posts++;
    }
}

/* On a thread of its own. */
static gpointer send_posts(gpointer data)
{
    struct program *program = data;

    for (unsigned i = 0; i < program->posts_max; i++) {
        if (tocsin_post(program->driver, arrive, program) < 0) {
            break;
        }
    }
    tocsin_driver_unref(program->driver);
    return NULL;
}

static gboolean tick(gpointer data)
{
    struct program *program = data;

    program->ticks++;
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    static const struct tocsin_task_ops ops = {.poll = sleep_a_few_times};
    static struct program program;
    GThread *thread;

    program.posts_max = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10;
    program.loop = g_main_loop_new(NULL, FALSE);
    if (tocsin_pool_open(&program.pool, NULL, NULL) < 0 || pool_source_attach(&program) < 0) {
        fprintf(stderr, "glib_host: no pool\n");
        return 1;
    }
    program.driver = tocsin_driver_ref(tocsin_pool_driver(program.pool)); /* the thread's */
    if (tocsin_timer_init(&program.timer, program.driver, NULL, NULL) < 0 ||
        tocsin_task_spawn(program.driver, &program.task, &ops, "sleeper") < 0) {
        fprintf(stderr, "glib_host: out of memory\n");
        return 1;
    }
    thread = g_thread_new("sender", send_posts, &program);
    g_timeout_add(1, tick, &program);

    g_main_loop_run(program.loop);

    g_thread_join(thread);
    tocsin_timer_deinit(&program.timer);
    tocsin_pool_close(program.pool);
    g_main_loop_unref(program.loop);
    printf("%u sleeps, %u posts, %s, %u turns\n", program.sleeps, program.posts,
           program.ticks > 0 ? "the host ticked" : "the host did not tick", program.turns);
    return 0;
}
