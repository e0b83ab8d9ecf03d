/*
 * What the scenarios with a pool share: see kit.h.
 */
#include "tests/model/kit.h"

#include <errno.h>

static struct kit_task *kit_of(struct tocsin_task *task)
{
    return (struct kit_task *)(void *)task; /* the first member */
}

static int kit_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct kit_task *kit = kit_of(task);
    struct kit_log *log = kit->log;
    int r;

    MODEL_CHECK(!log->polling);
    MODEL_CHECK(log->drops == 0);
    log->polling = true;
    log->polls++;
    r = kit->fn(kit->arg, cx);
    log->polling = false;
    return r;
}

static void kit_drop(struct tocsin_task *task)
{
    struct kit_log *log = kit_of(task)->log;

    MODEL_CHECK(!log->polling);
    MODEL_CHECK(log->drops++ == 0);
}

static void kit_release(struct tocsin_task *task)
{
    struct kit_log *log = kit_of(task)->log;

    MODEL_CHECK(log->drops == 1);
    MODEL_CHECK(log->releases++ == 0);
    model_free(kit_of(task));
}

static const struct tocsin_task_ops kit_ops = {
    .poll = kit_poll,
    .drop = kit_drop,
    .release = kit_release,
};

struct kit_task *kit_spawn(struct tocsin_driver *driver, struct kit_log *log, kit_poll_fn *fn,
                           void *arg, bool keep)
{
    struct kit_task *kit = model_alloc(sizeof(*kit));
    int r;

    kit->log = log;
    kit->fn = fn;
    kit->arg = arg;
    r = keep ? tocsin_task_spawn_ref(driver, &kit->task, &kit_ops, "kit")
             : tocsin_task_spawn(driver, &kit->task, &kit_ops, "kit");
    if (r < 0) {
        MODEL_CHECK(r == -ESHUTDOWN);
        model_free(kit);
        return NULL;
    }
    return kit;
}

void kit_check_ended(const struct kit_log *log)
{
    MODEL_CHECK(!log->polling);
    MODEL_CHECK(log->drops == 1);
    MODEL_CHECK(log->releases == 1);
}

void kit_run_and_close(struct tocsin_pool *pool)
{
    MODEL_CHECK(tocsin_pool_run(pool) == 0);
    kit_close(pool);
}

void kit_close(struct tocsin_pool *pool)
{
    MODEL_CHECK(tocsin_pool_close(pool) == 0);
}
