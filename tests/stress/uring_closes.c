/*
 * Submissions, cancels and drops of two threads while the pool closes.
 *
 * What was submitted completes once, or is told of late once, however the close comes in between;
 * what was not is as before.  Each op is released once, the last perhaps after the pool is gone;
 * and its memory is given back by whoever is last.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/stress/uring.h"

enum {
    THREADS = 2,
    OPS_MAX = 20, /* of a thread, until the pool has closed */
};

struct counted {
    struct tocsin_uring_op op; /* first: the address of both */
    atomic_uint completes;
    atomic_uint lates;
    atomic_uint releases;
};

struct submitter {
    struct support_thread thread;
    struct tocsin_driver *driver;
    struct support_random random;
    struct __kernel_timespec hour;
    atomic_uint *submitted;
};

static void complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    STRESS_CHECK((result == 0 || result == -ECANCELED) && flags == 0);
    stress_add(&((struct counted *)(void *)op)->completes);
}

static void late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    STRESS_CHECK((result == 0 || result == -ECANCELED) && flags == 0);
    stress_add(&((struct counted *)(void *)op)->lates);
}

static void release(struct tocsin_uring_op *op)
{
    stress_add(&((struct counted *)(void *)op)->releases);
}

static const struct tocsin_uring_op_ops ops = {
    .complete = complete, .late = late, .release = release};

/* Returns: false: the pool has closed. */
static bool submit_one(struct submitter *submitter, struct counted *counted)
{
    bool is_pending = support_random_below(&submitter->random, 2) == 0;
    struct io_uring_sqe sqe;
    int r;

    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_nop(&sqe);
    if (is_pending) {
        io_uring_prep_timeout(&sqe, &submitter->hour, 0, 0);
    }
    tocsin_uring_op_init(&counted->op, &ops);
    r = tocsin_uring_submit(submitter->driver, &counted->op, &sqe);
    STRESS_CHECK(r == 0 || r == -ESHUTDOWN);
    stress_add(submitter->submitted);
    return r == 0;
}

static void submit_until_closed(void *arg)
{
    struct submitter *submitter = arg;
    struct counted all[OPS_MAX] = {{.completes = 0}};
    bool is_open = true;
    unsigned count = 0;

    while (is_open && count < OPS_MAX) {
        is_open = submit_one(submitter, &all[count]);
        count += is_open;
        stress_dither(&submitter->random);
        if (is_open && support_random_below(&submitter->random, 2) == 0) {
            int r = tocsin_uring_cancel(&all[count - 1].op);

            STRESS_CHECK(r == 0 || r == -EALREADY);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        tocsin_uring_drop(&all[i].op);
        stress_dither(&submitter->random);
    }
    for (unsigned i = 0; i < count; i++) {
        stress_await(&all[i].releases, 1);
        STRESS_CHECK(stress_load(&all[i].completes) + stress_load(&all[i].lates) == 1);
    }
}

static void race_once(struct support_random *random)
{
    struct submitter submitters[THREADS];
    struct tocsin_pool *pool = stress_pool();
    atomic_uint submitted = 0;
    unsigned after = support_random_below(random, THREADS * OPS_MAX);

    STRESS_CHECK(tocsin_uring_probe(tocsin_pool_driver(pool), IORING_OP_NOP) == 1);
    for (unsigned i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){.driver = tocsin_driver_ref(tocsin_pool_driver(pool)),
                                           .random.state = support_random_next(random) | 1,
                                           .hour.tv_sec = 3600,
                                           .submitted = &submitted};
        support_thread_start(&submitters[i].thread, i, submit_until_closed, &submitters[i]);
    }
    while (stress_load(&submitted) < after) {
        STRESS_CHECK(tocsin_pool_turn(pool) >= 0);
    }
    stress_dither(random);
    STRESS_CHECK(tocsin_pool_close(pool) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        support_thread_join(&submitters[i].thread);
        tocsin_driver_unref(submitters[i].driver);
    }
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    unsigned before = stress_descriptors();

    for (unsigned i = 0; i < count; i++) {
        race_once(random);
    }
    STRESS_CHECK(stress_descriptors() == before);
}

int main(int argc, char **argv)
{
    return stress_uring_main(argc, argv, 500, run);
}
