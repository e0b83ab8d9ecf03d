/*
 * Four threads submit to one pool, cancel and drop, each its own operations.
 *
 * Each thread keeps a few going: no-operations, linked pairs, and timeouts of an hour that only a
 * cancel or a drop ends.  Each submission completes once or, dropped, is told of late once; each op
 * is released once; and the pool's run ends.
 */
#include <errno.h>

#include "tests/stress/uring.h"

enum {
    THREADS = 4,
    OPS = 6, /* of a thread */
};

struct counted {
    struct tocsin_uring_op op; /* first: the address of both */
    atomic_uint completes;
    atomic_uint lates;
    atomic_uint releases;
    atomic_int result;
};

struct submitter {
    struct support_thread thread;
    struct tocsin_driver *driver;
    struct support_random random;
    unsigned count;
    struct __kernel_timespec hour;
};

static void complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct counted *counted = (struct counted *)(void *)op;

    STRESS_CHECK(flags == 0);
    atomic_store_explicit(&counted->result, result, memory_order_relaxed);
    stress_add(&counted->completes);
}

static void late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct counted *counted = (struct counted *)(void *)op;

    STRESS_CHECK(flags == 0);
    STRESS_CHECK(result == 0 || result == -ECANCELED);
    stress_add(&counted->lates);
}

static void release(struct tocsin_uring_op *op)
{
    stress_add(&((struct counted *)(void *)op)->releases);
}

static const struct tocsin_uring_op_ops ops = {
    .complete = complete, .late = late, .release = release};

static void prepare(struct submitter *submitter, struct io_uring_sqe *sqe, bool is_pending)
{
    memset(sqe, 0, sizeof(*sqe));
    if (is_pending) {
        io_uring_prep_timeout(sqe, &submitter->hour, 0, 0);
    } else {
        io_uring_prep_nop(sqe);
    }
}

/* @counted, which is pending, is cancelled and given back, or dropped. */
static void end_pending(struct submitter *submitter, struct counted *counted)
{
    if (support_random_below(&submitter->random, 2) == 0) {
        STRESS_CHECK(tocsin_uring_cancel(&counted->op) == 0);
        STRESS_CHECK(tocsin_uring_cancel(&counted->op) == 0 ||
                     stress_load(&counted->completes) == 1);
        stress_await(&counted->completes, 1);
        STRESS_CHECK(atomic_load_explicit(&counted->result, memory_order_relaxed) == -ECANCELED);
    }
}

static void check_given_back(struct counted *counted, unsigned submissions)
{
    stress_await(&counted->releases, 1);
    STRESS_CHECK(stress_load(&counted->completes) + stress_load(&counted->lates) == submissions);
    STRESS_CHECK(stress_load(&counted->releases) == 1);
}

/* A batch: single ones, then a linked pair, then one that is pending; and what is done to each. */
static void submit_batch(struct submitter *submitter)
{
    struct counted all[OPS] = {{.completes = 0}};
    struct tocsin_uring_op *pointers[OPS];
    const struct io_uring_sqe *sqe_pointers[OPS];
    struct io_uring_sqe sqes[OPS];

    for (unsigned i = 0; i < OPS; i++) {
        tocsin_uring_op_init(&all[i].op, &ops);
        prepare(submitter, &sqes[i], i == OPS - 1);
        pointers[i] = &all[i].op;
        sqe_pointers[i] = &sqes[i];
    }
    sqes[OPS - 3].flags |= IOSQE_IO_LINK;
    STRESS_CHECK(tocsin_uring_submit_all(submitter->driver, pointers, sqe_pointers, OPS) == 0);
    stress_dither(&submitter->random);
    end_pending(submitter, &all[OPS - 1]);
    stress_await(&all[0].completes, 1);
    /* Again, for one whose hook may still run. */
    STRESS_CHECK(tocsin_uring_submit(submitter->driver, &all[0].op, &sqes[0]) == 0);
    for (unsigned i = 0; i < OPS; i++) {
        tocsin_uring_drop(&all[i].op);
    }
    for (unsigned i = 0; i < OPS; i++) {
        check_given_back(&all[i], i == 0 ? 2 : 1);
    }
    stress_progress();
}

static void submit_often(void *arg)
{
    struct submitter *submitter = arg;

    for (unsigned i = 0; i < submitter->count; i++) {
        submit_batch(submitter);
    }
}

static void run(unsigned count, struct support_random *random)
{
    static struct submitter submitters[THREADS];
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &driver, "remote", NULL, NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        submitters[i].driver = driver;
        submitters[i].random.state = support_random_next(random) | 1;
        submitters[i].count = count;
        submitters[i].hour.tv_sec = 3600;
        support_thread_start(&submitters[i].thread, i, submit_often, &submitters[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        support_thread_join(&submitters[i].thread);
    }
    tocsin_driver_unref(driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
}

int main(int argc, char **argv)
{
    return stress_uring_main(argc, argv, 2000, run);
}
