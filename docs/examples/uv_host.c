/*
 * A pool inside a program that lives on libuv.
 *
 *     uv_host [POSTS]
 *
 * The pool is opened over tocsin_uv_backend(loop) and hosted by that loop: from then on uv_run() is
 * all there is to call.  Beside the pool the loop runs a timer of the program's; a thread posts
 * POSTS callbacks to the pool; a task of the pool sleeps a few times.  When nothing keeps the pool
 * or the loop going any more, the program says what it has counted, and ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tocsin/tocsin.h>
#include <tocsin/uv.h>
#include <uv.h>

#define MS UINT64_C(1000000)
#define SLEEP_NS (20 * MS)

enum {
    SLEEPS = 5,
};

struct program {
    uv_loop_t loop;
    uv_timer_t ticker;
    uv_prepare_t prepare;
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct tocsin_task task;
    struct tocsin_timer timer;
    uint64_t wake_ns;    /* when the task's sleep ends */
    unsigned sleeps;     /* of the task */
    unsigned posts;      /* that have arrived from the thread */
    unsigned posts_max;  /* that it sends */
    unsigned ticks;      /* of the loop's own timer */
    unsigned iterations; /* of the loop */
};

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
static void send_posts(void *arg)
{
    struct program *program = arg;

    for (unsigned i = 0; i < program->posts_max; i++) {
        if (tocsin_post(program->driver, arrive, program) < 0) {
            break;
        }
    }
    tocsin_driver_unref(program->driver);
}

static void tick(uv_timer_t *ticker)
{
    struct program *program = ticker->data;

    program->ticks++;
}

static void count_iteration(uv_prepare_t *prepare)
{
    struct program *program = prepare->data;

    program->iterations++;
}

/* A timer and a counter of the program's own, neither of which keeps the loop going. */
static int start_own_handles(struct program *program)
{
    int r = uv_loop_init(&program->loop);

    if (r < 0) {
        return r;
    }
    uv_timer_init(&program->loop, &program->ticker);
    program->ticker.data = program;
    uv_timer_start(&program->ticker, tick, 1, 1);
    uv_unref((uv_handle_t *)&program->ticker);
    uv_prepare_init(&program->loop, &program->prepare);
    program->prepare.data = program;
    uv_prepare_start(&program->prepare, count_iteration);
    uv_unref((uv_handle_t *)&program->prepare);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct tocsin_task_ops ops = {.poll = sleep_a_few_times};
    static struct program program;
    struct tocsin_backend backend = tocsin_uv_backend(&program.loop);
    uv_thread_t thread;

    program.posts_max = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10;
    if (start_own_handles(&program) < 0 || tocsin_pool_open(&program.pool, &backend, NULL) < 0 ||
        tocsin_uv_host(program.pool) < 0) {
        fprintf(stderr, "uv_host: no pool\n");
        return 1;
    }
    program.driver = tocsin_driver_ref(tocsin_pool_driver(program.pool)); /* the thread's */
    if (tocsin_timer_init(&program.timer, program.driver, NULL, NULL) < 0 ||
        tocsin_task_spawn(program.driver, &program.task, &ops, "sleeper") < 0 ||
        uv_thread_create(&thread, send_posts, &program) < 0) {
        fprintf(stderr, "uv_host: out of memory\n");
        return 1;
    }

    uv_run(&program.loop, UV_RUN_DEFAULT);

    uv_thread_join(&thread);
    tocsin_timer_deinit(&program.timer);
    tocsin_pool_close(program.pool);
    uv_close((uv_handle_t *)&program.ticker, NULL);
    uv_close((uv_handle_t *)&program.prepare, NULL);
    uv_run(&program.loop, UV_RUN_DEFAULT); /* the pool's handles go as the program's do */
    if (uv_loop_close(&program.loop) != 0) {
        fprintf(stderr, "uv_host: the loop has handles left\n");
        return 1;
    }
    printf("%u sleeps, %u posts, %s, %u iterations\n", program.sleeps, program.posts,
           program.ticks > 0 ? "the host ticked" : "the host did not tick", program.iterations);
    return 0;
}
