/*
 * Out of memory at each allocation of a submission: the ring's, and those of a table that grows.
 *
 * As oom.c.  What failed leaves the op as it was: the same one is submitted again.
 */
#include <errno.h>
#include <linux/io_uring.h>

#include <tocsin/uring.h>

#include "tests/fault/memory.h"

enum {
    SLOTS_FIRST = 64, /* of the table, before it grows */
};

static struct tocsin_uring_op op;
static struct tocsin_uring_op pending[SLOTS_FIRST];
static char bytes[SLOTS_FIRST];

static void init_op(struct fixture *fixture)
{
    (void)fixture;
    tocsin_uring_op_init(&op, NULL);
}

static void submit(struct fixture *fixture)
{
    struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .fd = -1};

    fixture->result = tocsin_uring_submit(fixture->driver, &op, &sqe);
}

static void use_submission(struct fixture *fixture)
{
    struct tocsin_context cx = {.driver = NULL};
    int32_t result = -9;

    FAULT_EXPECT(tocsin_pool_run(fixture->pool), 0);
    FAULT_EXPECT(tocsin_uring_poll(&op, &cx, &result, NULL), 0);
    FAULT_EXPECT(result, 0);
    tocsin_uring_drop(&op);
}

static void submit_64_reads(void *arg)
{
    struct fixture *fixture = arg;

    for (int i = 0; i < SLOTS_FIRST; i++) {
        struct io_uring_sqe sqe = {.opcode = IORING_OP_READ,
                                   .fd = fixture->fds[0],
                                   .off = UINT64_MAX,
                                   .addr = (uint64_t)(uintptr_t)&bytes[i],
                                   .len = 1};

        tocsin_uring_op_init(&pending[i], NULL);
        FAULT_EXPECT(tocsin_uring_submit(fixture->driver, &pending[i], &sqe), 0);
    }
}

/* All slots are taken. */
static void prepare_64_reads(struct fixture *fixture)
{
    init_op(fixture);
    FAULT_EXPECT(tocsin_pipe_pair(&fixture->fds[0], &fixture->fds[1]), 0);
    fault_in_turn(fixture->pool, NULL, submit_64_reads, fixture);
}

static void use_65_submissions(struct fixture *fixture)
{
    for (int i = 0; i < SLOTS_FIRST; i++) {
        tocsin_uring_drop(&pending[i]);
    }
    use_submission(fixture);
}

static void skip_without_ring(void)
{
    struct tocsin_pool *pool = fault_pool();
    int r = tocsin_uring_probe(tocsin_pool_driver(pool), IORING_OP_NOP);

    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    if (r < 0) {
        fault_skip("io_uring is refused here");
    }
}

static void first_submit_without_memory(void)
{
    skip_without_ring();
    memory_run_operation(&(struct operation){
        .prepare = init_op, .attempt = submit, .undo = use_submission, .in_turn = true});
}

static void first_remote_submit_without_memory(void)
{
    skip_without_ring();
    memory_run_operation(
        &(struct operation){.prepare = init_op, .attempt = submit, .undo = use_submission});
}

static void submit_beyond_the_table_without_memory(void)
{
    skip_without_ring();
    memory_run_operation(&(struct operation){.prepare = prepare_64_reads,
                                             .attempt = submit,
                                             .undo = use_65_submissions,
                                             .in_turn = true});
}

static void probe(struct fixture *fixture)
{
    int r = tocsin_uring_probe(fixture->driver, IORING_OP_NOP);

    fixture->result = r > 0 ? 0 : r;
}

static void probe_without_memory(void)
{
    skip_without_ring();
    memory_run_operation(&(struct operation){.attempt = probe});
}

static const struct fault_case cases[] = {
    {"first_submit_without_memory", first_submit_without_memory},
    {"first_remote_submit_without_memory", first_remote_submit_without_memory},
    {"submit_beyond_the_table_without_memory", submit_beyond_the_table_without_memory},
    {"probe_without_memory", probe_without_memory},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
