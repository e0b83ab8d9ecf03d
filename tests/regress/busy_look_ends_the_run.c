/*
 * A pool that polls before it sleeps, and what it then takes in was all that kept the run going.
 *
 * The run went to sleep without asking again whether anything keeps it alive, for ever.  Here it is
 * the kick that a spawn between hosted turns left in the ring.
 */
#include <stdio.h>
#include <unistd.h>

#include <tocsin/tocsin.h>

enum {
    WATCHDOG_S = 10,
    ROUNDS = 20,
};

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 0;
}

static const struct tocsin_task_ops ops = {.poll = poll_ready};

/* Spawns between turns, then a run.  0, or which call went wrong. */
static int go(const struct tocsin_backend *backend)
{
    struct tocsin_pool_options options = {.busy_poll_ns = 20000};
    struct tocsin_pool *pool;
    int wrong = 0;

    if (tocsin_pool_open(&pool, backend, &options) < 0) {
        return 0; /* refused here */
    }
    if (tocsin_pool_poll_fd(pool) < 0 || tocsin_pool_turn(pool) != 0) {
        wrong = 1;
    }
    for (int i = 0; i < ROUNDS && wrong == 0; i++) {
        struct tocsin_task task;

        if (tocsin_task_spawn(tocsin_pool_driver(pool), &task, &ops, "task") < 0 ||
            tocsin_pool_run(pool) != 0) {
            wrong = 2;
        }
    }
    return tocsin_pool_close(pool) < 0 ? 3 : wrong;
}

int main(void)
{
    int failed = 0;
    int passed = 0;

    for (size_t i = 0; tocsin_backend_at(i) != NULL; i++) {
        if ((tocsin_backend_at(i)->ops->features & TOCSIN_BACKEND_POLL_HANDLE) != 0) {
            int wrong;

            alarm(WATCHDOG_S); /* a hang is how it failed */
            wrong = go(tocsin_backend_at(i));
            if (wrong != 0) {
                printf("# %s: step %d\n", tocsin_backend_at(i)->ops->name, wrong);
            }
            failed += wrong != 0;
            passed += wrong == 0;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
