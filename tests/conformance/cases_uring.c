/*
 * io_uring submissions, design 8: what is submitted completes, from wherever, however many.
 *
 * Outside a turn the case's own thread is another one to the pool, so that what it submits there
 * goes through the remote queue; ring_submit_here() and tasks submit on the pool's thread.
 */
#include <sys/eventfd.h>

#include "ring.h"

enum {
    MANY = 256,
};

static void one_operation_completes(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;

    ring_polled_init(t, &op);
    CHECK(t, tocsin_uring_reason(tocsin_pool_driver(pool)) == NULL);
    ring_submit(pool, &op, ring_nop());
    CHECK(t, tocsin_uring_reason(tocsin_pool_driver(pool)) == NULL);
    CHECK_EQ(t, ring_finish(t, pool, &op), 0);
    CHECK_EQ(t, op.flags[0], 0);
    ring_drop(&op);
    CHECK_EQ(t, conform_read(&op.lates), 0);
    conform_pool_close(t, pool);
}

static void complete_hook_runs_on_the_pools_thread(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;

    ring_op_init(t, &op, NULL);
    ring_submit(pool, &op, ring_nop());
    CHECK_EQ(t, conform_read(&op.completions), 0); /* never inside the call that started it */
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 1);
    CHECK_EQ(t, op.results[0], 0);
    CHECK_EQ(t, op.thread, conform_thread_id());
    ring_submit_here(t, pool, &op, ring_nop());
    CHECK_EQ(t, conform_read(&op.completions), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 2);
    ring_drop(&op);
    conform_pool_close(t, pool);
}

static void probe_knows_the_opcodes(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);

    CHECK_EQ(t, tocsin_uring_probe(driver, IORING_OP_NOP), 1);
    CHECK_EQ(t, tocsin_uring_probe(driver, IORING_OP_ASYNC_CANCEL), 1);
    CHECK_EQ(t, tocsin_uring_probe(driver, 255), 0);
    CHECK_EQ(t, tocsin_uring_probe(driver, 256), 0);
    CHECK_EQ(t, tocsin_uring_probe(driver, UINT32_MAX), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0); /* nothing is in flight for that */
    conform_pool_close(t, pool);
}

struct batch {
    struct tocsin_pool *pool;
    struct ring_op *ops;
    unsigned count;
};

static void submit_batch(struct conform *t, void *arg)
{
    struct batch *batch = arg;

    (void)t;
    for (unsigned i = 0; i < batch->count; i++) {
        ring_submit(batch->pool, &batch->ops[i], ring_nop());
    }
}

/* @count at once over a ring as @ring says, from the pool's thread or from another one. */
static void complete_many(struct conform *t, struct tocsin_uring_options *ring, unsigned count,
                          bool here)
{
    struct batch batch = {.count = count};

    batch.pool = ring_pool(t, ring);
    batch.ops = calloc(count, sizeof(*batch.ops));
    REQUIRE(t, batch.ops != NULL);
    for (unsigned i = 0; i < count; i++) {
        ring_op_init(t, &batch.ops[i], NULL);
    }
    if (here) {
        ring_in_turn(t, batch.pool, submit_batch, &batch);
    } else {
        submit_batch(t, &batch);
    }
    CHECK_EQ(t, tocsin_pool_run(batch.pool), 0);
    for (unsigned i = 0; i < count; i++) {
        CHECK_EQ(t, conform_read(&batch.ops[i].completions), 1);
        CHECK_EQ(t, batch.ops[i].results[0], 0);
        ring_drop(&batch.ops[i]);
    }
    free(batch.ops);
    conform_pool_close(t, batch.pool);
}

static void ten_operations_complete(struct conform *t)
{
    complete_many(t, NULL, 10, true);
    complete_many(t, NULL, 10, false);
}

static void eighty_operations_pass_a_queue_of_64(struct conform *t)
{
    struct tocsin_uring_options ring = {.entries = 64, .cq_entries = 128};

    complete_many(t, &ring, 80, true);
    complete_many(t, &ring, 80, false);
}

static void completions_beyond_the_queue_are_not_lost(struct conform *t)
{
    struct tocsin_uring_options ring = {.entries = 64, .cq_entries = 64};
    struct tocsin_uring_options tiny = {.entries = 8, .cq_entries = 8};

    complete_many(t, &ring, MANY, true);
    complete_many(t, &ring, MANY, false);
    complete_many(t, &tiny, conform_times(t, 10000), true);
    complete_many(t, &tiny, conform_times(t, 10000), false);
}

static void unusable_sizes_of_a_ring_are_refused(struct conform *t)
{
    struct tocsin_uring_options wrong[] = {{.entries = 1U << 20},
                                           {.entries = 64, .cq_entries = 32}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct tocsin_backend backend = {t->backend->ops, &wrong[i]};
        struct tocsin_pool_options options = conform_options(t);
        struct tocsin_pool *pool = NULL;

        CHECK_EQ(t, tocsin_pool_open(&pool, &backend, &options), -EINVAL);
        CHECK(t, pool == NULL);
    }
}

/* ---- From other threads ---------------------------------------------------------------------- */

static void submit_elsewhere(struct conform *t, void *arg)
{
    struct ring_pair *pair = arg;
    unsigned kicks = conform_read(&t->counts.kicks);

    ring_submit(pair->pool, pair->op, pair->sqe);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    tocsin_driver_unref(tocsin_pool_driver(pair->pool));
}

/* W1: and one kick brings it in; the first submission makes the ring, of a pool that sleeps. */
static void submission_wakes_a_sleeping_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    struct ring_pair pair = {pool, &op, ring_nop()};

    for (unsigned i = 0; i < conform_times(t, 100); i++) {
        ring_op_init(t, &op, NULL);
        tocsin_driver_ref(tocsin_pool_driver(pool));
        conform_at_sleep(t, submit_elsewhere, &pair);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&op.completions), 1);
        CHECK_EQ(t, op.thread, conform_thread_id());
        ring_drop(&op);
    }
    conform_pool_close(t, pool);
}

/* All while the pool sleeps, for the thread that sleeps waits for this one. */
static void submit_batch_elsewhere(struct conform *t, void *arg)
{
    struct batch *batch = arg;
    unsigned kicks = conform_read(&t->counts.kicks);

    submit_batch(t, batch);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
    tocsin_driver_unref(tocsin_pool_driver(batch->pool));
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
}

static void many_submissions_wake_a_sleeping_pool_once(struct conform *t)
{
    struct ring_op ops[8];
    struct batch batch = {conform_pool(t), ops, 8};

    for (unsigned i = 0; i < batch.count; i++) {
        ring_op_init(t, &ops[i], NULL);
    }
    for (unsigned round = 1; round <= 3; round++) {
        tocsin_driver_ref(tocsin_pool_driver(batch.pool));
        conform_at_sleep(t, submit_batch_elsewhere, &batch);
        CHECK_EQ(t, tocsin_pool_run(batch.pool), 0);
        for (unsigned i = 0; i < batch.count; i++) {
            CHECK_EQ(t, conform_read(&ops[i].completions), round);
        }
    }
    for (unsigned i = 0; i < batch.count; i++) {
        ring_drop(&ops[i]);
    }
    conform_pool_close(t, batch.pool);
}

enum {
    SUBMITTERS = 4,
    AT_ONCE = 16,
    ROUNDS = 100,
};

struct submitter {
    struct tocsin_pool *pool;
    struct ring_op ops[AT_ONCE];
};

static void submit_rounds(struct conform *t, void *arg)
{
    struct submitter *submitter = arg;

    for (unsigned round = 1; round <= conform_times(t, ROUNDS); round++) {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            ring_submit(submitter->pool, &submitter->ops[i], ring_nop());
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
            conform_await(&submitter->ops[i].completions, round);
        }
    }
    tocsin_driver_unref(tocsin_pool_driver(submitter->pool));
}

static void four_threads_submit_at_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct submitter *submitters = calloc(SUBMITTERS, sizeof(*submitters));
    struct conform_thread *threads[SUBMITTERS];

    REQUIRE(t, submitters != NULL);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i].pool = pool;
        for (unsigned j = 0; j < AT_ONCE; j++) {
            ring_op_init(t, &submitters[i].ops[j], NULL);
        }
        tocsin_driver_ref(tocsin_pool_driver(pool));
        threads[i] = conform_thread(t, submit_rounds, &submitters[i]);
    }
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        conform_thread_join(t, threads[i]);
        for (unsigned j = 0; j < AT_ONCE; j++) {
            CHECK_EQ(t, conform_read(&submitters[i].ops[j].completions), conform_times(t, ROUNDS));
            ring_drop(&submitters[i].ops[j]);
        }
    }
    free(submitters);
    conform_pool_close(t, pool);
}

static void open_elsewhere(struct conform *t, void *arg)
{
    struct batch *batch = arg;

    batch->pool = conform_pool(t);
    submit_batch(t, batch);
}

static void run_elsewhere(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_pool_run(((struct batch *)arg)->pool), 0);
    conform_pool_close(t, ((struct batch *)arg)->pool);
}

/* The ring is made by the first thread, and belongs to the second. */
static void ring_made_on_one_thread_serves_another(struct conform *t)
{
    struct ring_op ops[3];
    struct batch batch = {NULL, ops, 3};

    for (unsigned i = 0; i < 3; i++) {
        ring_op_init(t, &ops[i], NULL);
    }
    conform_elsewhere(t, open_elsewhere, &batch);
    conform_elsewhere(t, run_elsewhere, &batch);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(t, conform_read(&ops[i].completions), 1);
        CHECK_EQ(t, ops[i].results[0], 0);
        ring_drop(&ops[i]);
    }
}

/* ---- Data ------------------------------------------------------------------------------------ */

static void signal_eventfd(struct conform *t, void *arg)
{
    CHECK_EQ(t, eventfd_write(*(int *)arg, 7), 0);
}

static void read_of_an_eventfd_wakes_the_pool(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    uint64_t value = 0;
    struct ring_op op;
    int fd = eventfd(0, EFD_CLOEXEC);

    REQUIRE(t, fd >= 0);
    ring_op_init(t, &op, NULL);
    for (unsigned i = 1; i <= conform_times(t, 20); i++) {
        ring_submit_here(t, pool, &op, ring_read(fd, &value, sizeof(value)));
        conform_at_sleep(t, signal_eventfd, &fd);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        CHECK_EQ(t, conform_read(&op.completions), i);
        CHECK_EQ(t, op.results[0], sizeof(value));
        CHECK_EQ(t, value, 7);
    }
    ring_drop(&op);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fd), 0);
}

static void pipe_round_trip(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op reading;
    struct ring_op writing;
    char data[8] = "";
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    ring_polled_init(t, &reading);
    ring_polled_init(t, &writing);
    for (unsigned i = 0; i < 3; i++) {
        ring_submit(pool, &reading, ring_read(fds[0], data, sizeof(data)));
        probe_turns(t, pool); /* it pends */
        ring_submit(pool, &writing, ring_write(fds[1], "around", 7));
        CHECK_EQ(t, ring_finish(t, pool, &writing), 7);
        CHECK_EQ(t, ring_finish(t, pool, &reading), 7);
        CHECK_EQ(t, strcmp(data, "around"), 0);
        memset(data, 0, sizeof(data));
    }
    CHECK_EQ(t, close(fds[1]), 0);
    ring_submit(pool, &reading, ring_read(fds[0], data, sizeof(data)));
    CHECK_EQ(t, ring_finish(t, pool, &reading), 0);
    CHECK_EQ(t, close(fds[0]), 0);
    ring_submit(pool, &reading, ring_read(fds[0], data, sizeof(data)));
    CHECK_EQ(t, ring_finish(t, pool, &reading), -EBADF);
    ring_drop(&reading);
    ring_drop(&writing);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    uring,
    CASE(one_operation_completes, "8", "A submission, a waker, a result.", TOCSIN_BACKEND_URING),
    CASE(complete_hook_runs_on_the_pools_thread, "8",
         "It is called there once, and never inside the submission.", TOCSIN_BACKEND_URING),
    CASE(probe_knows_the_opcodes, "8", "The probe knows old operations, and not made-up ones.",
         TOCSIN_BACKEND_URING),
    CASE(ten_operations_complete, "8", "Ten at once, from here and from elsewhere.",
         TOCSIN_BACKEND_URING),
    CASE(eighty_operations_pass_a_queue_of_64, "8", "A full submission queue is no error.",
         TOCSIN_BACKEND_URING),
    CASE(completions_beyond_the_queue_are_not_lost, "U6",
         "256 over a completion queue of 64, and 10,000 over one of 8.", TOCSIN_BACKEND_URING),
    CASE(unusable_sizes_of_a_ring_are_refused, "8", "Then the pool does not open.",
         TOCSIN_BACKEND_URING),
    CASE(submission_wakes_a_sleeping_pool, "W1", "By one kick, also for the first submission.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(many_submissions_wake_a_sleeping_pool_once, "W1", "Eight of them, by one kick.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(four_threads_submit_at_once, "8", "Each operation of four threads completes once.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(ring_made_on_one_thread_serves_another, "8",
         "A pool is opened, and submitted to, on one thread, and runs on a second.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(read_of_an_eventfd_wakes_the_pool, "8", "A read pends until another thread signals.",
         TOCSIN_BACKEND_URING),
    CASE(pipe_round_trip, "8", "Reads and writes of a pipe, its end, and no pipe at all.",
         TOCSIN_BACKEND_URING));
