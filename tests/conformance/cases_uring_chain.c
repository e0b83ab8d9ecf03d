/*
 * Linked operations, design 8: what is submitted as one chain reaches the kernel as one.
 *
 * A chain whose first member fails shows it: the kernel cancels those that it knows to follow, and
 * would run the others.
 */
#include "ring.h"

enum {
    CHAIN_MAX = 8, /* as long as the queue */
    CHAINS = 100,
};

struct chain {
    struct tocsin_pool *pool;
    struct ring_op ops[CHAIN_MAX + 1];
    struct io_uring_sqe sqes[CHAIN_MAX + 1];
    unsigned count;
    int result; /* of the submission */
};

/* @count no-operations, each linked to the next by @link. */
static void chain_init(struct conform *t, struct chain *chain, struct tocsin_pool *pool,
                       unsigned count, uint8_t link)
{
    chain->pool = pool;
    chain->count = count;
    for (unsigned i = 0; i < count; i++) {
        ring_op_init(t, &chain->ops[i], NULL);
        chain->sqes[i] = ring_nop();
        chain->sqes[i].flags = i + 1 < count ? link : 0;
    }
}

static void chain_submit(struct conform *t, void *arg)
{
    struct chain *chain = arg;
    struct tocsin_uring_op *ops[CHAIN_MAX + 1];
    const struct io_uring_sqe *sqes[CHAIN_MAX + 1];

    (void)t;
    for (unsigned i = 0; i < chain->count; i++) {
        ops[i] = &chain->ops[i].op;
        sqes[i] = &chain->sqes[i];
    }
    chain->result =
        tocsin_uring_submit_all(tocsin_pool_driver(chain->pool), ops, sqes, chain->count);
}

/* Each completed once, the first with @first and the others with @others. */
static void chain_check(struct conform *t, struct chain *chain, int32_t first, int32_t others)
{
    CHECK_EQ(t, chain->result, 0);
    for (unsigned i = 0; i < chain->count; i++) {
        CHECK_EQ(t, conform_read(&chain->ops[i].completions), 1);
        CHECK_EQ(t, chain->ops[i].results[0], i == 0 ? first : others);
        ring_drop(&chain->ops[i]);
    }
}

/* The read is first in no queue: it would pend before the write. */
static void linked_operations_run_in_order(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct chain chain;
    char data[8] = "";
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    for (unsigned i = 0; i < 2; i++) {
        chain_init(t, &chain, pool, 2, IOSQE_IO_LINK);
        chain.sqes[0] = ring_write(fds[1], "chained", 7);
        chain.sqes[0].flags = IOSQE_IO_LINK;
        chain.sqes[1] = ring_read(fds[0], data, 7);
        if (i == 0) {
            ring_in_turn(t, pool, chain_submit, &chain);
        } else {
            chain_submit(t, &chain);
        }
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        chain_check(t, &chain, 7, 7);
        CHECK_EQ(t, strcmp(data, "chained"), 0);
        memset(data, 0, sizeof(data));
    }
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

static void failed_link_cancels_what_follows(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct chain chain;

    chain_init(t, &chain, pool, 3, IOSQE_IO_LINK);
    chain.sqes[0].opcode = IORING_OP_FSYNC;
    chain.sqes[0].fd = -1;
    ring_in_turn(t, pool, chain_submit, &chain);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    chain_check(t, &chain, -EBADF, -ECANCELED);
    chain_init(t, &chain, pool, 3, IOSQE_IO_HARDLINK);
    chain.sqes[0].opcode = IORING_OP_FSYNC;
    chain.sqes[0].fd = -1;
    ring_in_turn(t, pool, chain_submit, &chain);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    chain_check(t, &chain, -EBADF, 0);
    conform_pool_close(t, pool);
}

struct chains {
    struct chain *chains;
    struct tocsin_pool *pool;
};

static void submit_chains(struct conform *t, void *arg)
{
    struct chains *chains = arg;

    for (unsigned i = 0; i < CHAINS; i++) {
        struct chain *chain = &chains->chains[i];

        chain_init(t, chain, chains->pool, 1 + (unsigned)(conform_random(t) % CHAIN_MAX),
                   IOSQE_IO_LINK);
        chain->sqes[0].opcode = IORING_OP_FSYNC;
        chain->sqes[0].fd = -1;
        chain_submit(t, chain);
    }
}

/* Chains of any length over a queue of 8, submitted at once; from the pool's thread, and not. */
static void full_queue_splits_no_chain(struct conform *t)
{
    struct tocsin_uring_options ring = {.entries = CHAIN_MAX};
    struct chains chains = {.pool = ring_pool(t, &ring)};

    chains.chains = calloc(CHAINS, sizeof(*chains.chains));
    REQUIRE(t, chains.chains != NULL);
    for (unsigned round = 0; round < conform_times(t, 4); round++) {
        if (round % 2 == 0) {
            ring_in_turn(t, chains.pool, submit_chains, &chains);
        } else {
            submit_chains(t, &chains);
        }
        CHECK_EQ(t, tocsin_pool_run(chains.pool), 0);
        for (unsigned i = 0; i < CHAINS; i++) {
            chain_check(t, &chains.chains[i], -EBADF, -ECANCELED);
        }
    }
    conform_pool_close(t, chains.pool);
    free(chains.chains);
}

/* All or none: those that were named are as before. */
static void refused_chain_submits_nothing(struct conform *t)
{
    struct tocsin_uring_options ring = {.entries = CHAIN_MAX};
    struct tocsin_pool *pool = ring_pool(t, &ring);
    struct chain chain;
    struct chain busy;

    for (unsigned i = 0; i < 2; i++) {
        conform_thread_fn *submit = chain_submit;

        chain_init(t, &chain, pool, CHAIN_MAX + 1, IOSQE_IO_LINK);
        ring_in_turn(t, pool, submit, &chain);
        CHECK_EQ(t, chain.result, -E2BIG);
        chain_submit(t, &chain);
        CHECK_EQ(t, chain.result, -E2BIG);
        chain.count = CHAIN_MAX; /* the last one is linked to what was left out */
        chain_submit(t, &chain);
        CHECK_EQ(t, chain.result, -EINVAL);
    }
    chain_init(t, &busy, pool, 3, IOSQE_IO_LINK);
    ring_submit(pool, &busy.ops[2], ring_nop());
    chain_submit(t, &busy);
    CHECK_EQ(t, busy.result, -EBUSY);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&busy.ops[0].completions), 0);
    CHECK_EQ(t, conform_read(&busy.ops[2].completions), 1);
    chain_submit(t, &busy);
    CHECK_EQ(t, busy.result, 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&busy.ops[0].completions), 1);
    CHECK_EQ(t, conform_read(&busy.ops[1].completions), 1);
    CHECK_EQ(t, conform_read(&busy.ops[2].completions), 2);
    for (unsigned i = 0; i < 3; i++) {
        ring_drop(&busy.ops[i]);
    }
    conform_pool_close(t, pool);
}

static void cancel_second(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_uring_cancel(&((struct chain *)arg)->ops[1].op), 0);
}

/*
 * The kernel does not find a member whose turn has not come.  This one would pend then, too, so
 * that it has to be asked again.
 */
static void member_of_a_chain_is_cancelled(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct chain chain;
    char byte;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    chain_init(t, &chain, pool, 2, IOSQE_IO_LINK);
    chain.sqes[0] = ring_read(fds[0], &byte, 1);
    chain.sqes[0].flags = IOSQE_IO_LINK;
    chain.sqes[1] = ring_read(fds[0], &byte, 1);
    ring_in_turn(t, pool, chain_submit, &chain);
    ring_in_turn(t, pool, cancel_second, &chain);
    CHECK_EQ(t, conform_read(&chain.ops[0].completions), 0);
    CHECK_EQ(t, write(fds[1], "!", 1), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    chain_check(t, &chain, 1, -ECANCELED);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

struct stale {
    struct chain old; /* its second member is what the cancel is meant for */
    struct chain next;
};

static void submit_next(struct ring_op *op, int32_t result, uint32_t flags)
{
    struct stale *stale = op->arg;

    (void)flags;
    CHECK_EQ(op->t, result, 0);
    chain_submit(op->t, &stale->next);
}

/* U3: the cancel is on its way, finds nothing, and must not be tried on who came after. */
static void late_cancel_spares_the_next_chain(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct stale stale;
    char byte;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    chain_init(t, &stale.old, pool, 3, IOSQE_IO_LINK);
    stale.old.ops[2].then = submit_next; /* the slots of all three are free by then */
    stale.old.ops[2].arg = &stale;
    chain_init(t, &stale.next, pool, 2, IOSQE_IO_LINK);
    stale.next.sqes[0] = ring_read(fds[0], &byte, 1);
    stale.next.sqes[0].flags = IOSQE_IO_LINK;
    stale.next.sqes[1] = ring_read(fds[0], &byte, 1);
    ring_in_turn(t, pool, chain_submit, &stale.old); /* all have completed, and none was told */
    CHECK_EQ(t, tocsin_uring_cancel(&stale.old.ops[1].op), 0);
    probe_turns(t, pool);
    chain_check(t, &stale.old, 0, 0);
    CHECK_EQ(t, write(fds[1], "!", 1), 1);
    ring_run(t, pool, &stale.next.ops[0], 1);
    for (int i = 0; i < 4; i++) {
        probe_turns(t, pool);
    }
    CHECK_EQ(t, conform_read(&stale.next.ops[1].completions), 0);
    CHECK_EQ(t, write(fds[1], "!", 1), 1);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    chain_check(t, &stale.next, 1, 1);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

/* The first one pends: nothing but the close ends it. */
static void closing_ends_a_chain_that_pends(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct chain chain;
    char byte;
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    chain_init(t, &chain, pool, CHAIN_MAX, IOSQE_IO_LINK);
    chain.sqes[0] = ring_read(fds[0], &byte, 1);
    chain.sqes[0].flags = IOSQE_IO_LINK;
    ring_in_turn(t, pool, chain_submit, &chain);
    tocsin_uring_drop(&chain.ops[CHAIN_MAX - 1].op);
    conform_pool_close(t, pool);
    CHECK_EQ(t, conform_read(&chain.ops[CHAIN_MAX - 1].completions), 0);
    CHECK_EQ(t, conform_read(&chain.ops[CHAIN_MAX - 1].releases), 1);
    chain.count = CHAIN_MAX - 1;
    chain_check(t, &chain, -ECANCELED, -ECANCELED);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

CONFORM_CASES(uring_chain,
              CASE(linked_operations_run_in_order, "8",
                   "A read that is linked to its write finds the data.", TOCSIN_BACKEND_URING),
              CASE(failed_link_cancels_what_follows, "8", "A soft link does; a hard one does not.",
                   TOCSIN_BACKEND_URING),
              CASE(full_queue_splits_no_chain, "8",
                   "Chains of all lengths over a queue of 8, from here and from elsewhere.",
                   TOCSIN_BACKEND_URING),
              CASE(refused_chain_submits_nothing, "8",
                   "Too long, linked to nothing, or with a member in flight: all or none.",
                   TOCSIN_BACKEND_URING),
              CASE(member_of_a_chain_is_cancelled, "8",
                   "One that the kernel does not find, its turn not having come.",
                   TOCSIN_BACKEND_URING),
              CASE(late_cancel_spares_the_next_chain, "U3",
                   "A cancel that finds nothing is not tried on what has the slot by then.",
                   TOCSIN_BACKEND_URING),
              CASE(closing_ends_a_chain_that_pends, "4.6",
                   "Each member is told, the dropped one released.", TOCSIN_BACKEND_URING));
