/*
 * Fork, design 4.6, where there is a ring: the child's use is refused, the parent's goes on.
 *
 * The ring's memory is not the child's: whoever looks there does not survive it.
 */
#include <sys/wait.h>

#include "ring.h"

struct forked {
    struct tocsin_pool *pool;
    struct ring_op reading;
    struct ring_op idle;
    char data[8];
    int fds[2];
};

static void child_has_no_ring(struct conform *t, void *arg)
{
    struct forked *forked = arg;
    struct tocsin_driver *driver = tocsin_pool_driver(forked->pool);
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, forked->pool);
    const struct io_uring_sqe nop = ring_nop();
    unsigned kicks = conform_read(&t->counts.kicks);

    CHECK_EQ(t, tocsin_uring_submit(driver, &forked->idle.op, &nop), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_uring_probe(driver, IORING_OP_NOP), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_uring_cancel(&forked->reading.op), -EOWNERDEAD);
    CHECK_EQ(t, tocsin_uring_poll(&forked->reading.op, &cx, NULL, NULL), -EOWNERDEAD);
    tocsin_uring_drop(&forked->reading.op);
    tocsin_uring_drop(&forked->idle.op);
    CHECK_EQ(t, conform_read(&forked->idle.releases), 0);
    CHECK_EQ(t, conform_read(&forked->reading.lates), 0);
    CHECK_EQ(t, conform_read(&forked->reading.releases), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), kicks);
    CHECK_EQ(t, tocsin_pool_close(forked->pool), 0);
    CHECK_EQ(t, conform_read(&forked->reading.completions), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), kicks);
}

static void forked_child_leaves_the_ring_alone(struct conform *t)
{
    struct forked forked = {.pool = conform_pool(t)};

    REQUIRE(t, pipe2(forked.fds, O_CLOEXEC) == 0);
    ring_polled_init(t, &forked.reading);
    ring_polled_init(t, &forked.idle);
    ring_submit(forked.pool, &forked.idle, ring_nop());
    CHECK_EQ(t, ring_finish(t, forked.pool, &forked.idle), 0);
    ring_submit_here(t, forked.pool, &forked.reading,
                     ring_read(forked.fds[0], forked.data, sizeof(forked.data)));
    conform_in_child(t, child_has_no_ring, &forked);
    probe_turns(t, forked.pool);
    CHECK_EQ(t, conform_read(&forked.reading.lates), 0);
    CHECK_EQ(t, write(forked.fds[1], "parent", 6), 6);
    CHECK_EQ(t, ring_finish(t, forked.pool, &forked.reading), 6);
    ring_submit(forked.pool, &forked.idle, ring_nop());
    CHECK_EQ(t, ring_finish(t, forked.pool, &forked.idle), 0);
    ring_drop(&forked.reading);
    ring_drop(&forked.idle);
    conform_pool_close(t, forked.pool);
    CHECK_EQ(t, close(forked.fds[0]), 0);
    CHECK_EQ(t, close(forked.fds[1]), 0);
}

struct forking {
    struct tocsin_pool *pool;
    struct ring_op ops[2];
    struct tocsin_timer timer;
    pid_t pid;
};

static void fork_once(struct conform *t, struct forking *forking)
{
    if (forking->pid < 0) {
        forking->pid = fork();
        REQUIRE(t, forking->pid >= 0);
        if (forking->pid == 0) {
            conform_set(&t->failures, 0);
        }
    } else {
        CHECK(t, forking->pid > 0); /* the child hears of nothing */
    }
}

static void fork_in_hook(struct ring_op *op, int32_t result, uint32_t flags)
{
    CHECK_EQ(op->t, result, 0);
    CHECK_EQ(op->t, flags, 0);
    fork_once(op->t, op->arg);
}

static void fork_in_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct forking *forking = arg;

    (void)timer;
    (void)missed;
    fork_once(forking->ops[0].t, forking);
}

/* Two completions are there, and a timer that is due where @in_timer: the first callback forks. */
static void fork_inside(struct conform *t, bool in_timer)
{
    struct forking forking = {.pool = conform_pool(t), .pid = -1};
    int status = 0;
    int r;

    REQUIRE(t, tocsin_timer_init(&forking.timer, tocsin_pool_driver(forking.pool), fork_in_timer,
                                 &forking) == 0);
    for (int i = 0; i < 2; i++) {
        ring_op_init(t, &forking.ops[i], fork_in_hook);
        forking.ops[i].arg = &forking;
    }
    /* The turn that forks finds both completed. */
    ring_submit(forking.pool, &forking.ops[0], ring_nop());
    ring_submit_here(t, forking.pool, &forking.ops[1], ring_nop());
    if (in_timer) {
        tocsin_timer_arm(&forking.timer, 1);
    }
    r = tocsin_pool_run(forking.pool);
    if (forking.pid == 0) {
        CHECK_EQ(t, r, -EOWNERDEAD);
        _exit(conform_read(&t->failures) == 0 ? 0 : 1);
    }
    CHECK_EQ(t, r, 0);
    REQUIRE(t, waitpid(forking.pid, &status, 0) == forking.pid);
    CHECK_EQ(t, status, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(t, conform_read(&forking.ops[i].completions), 1);
        ring_drop(&forking.ops[i]);
    }
    tocsin_timer_deinit(&forking.timer);
    conform_pool_close(t, forking.pool);
}

static void fork_inside_a_complete_hook_ends_the_childs_run(struct conform *t)
{
    fork_inside(t, false);
}

static void fork_before_completions_are_told_ends_the_childs_run(struct conform *t)
{
    fork_inside(t, true);
}

CONFORM_CASES(uring_fork,
              CASE(forked_child_leaves_the_ring_alone, "4.6",
                   "The child's use is refused, and the parent's goes on.", TOCSIN_BACKEND_URING),
              CASE(fork_inside_a_complete_hook_ends_the_childs_run, "4.6",
                   "A child made in a hook hears of no other completion.", TOCSIN_BACKEND_URING),
              CASE(fork_before_completions_are_told_ends_the_childs_run, "4.6",
                   "A child made in a timer's callback touches no ring.", TOCSIN_BACKEND_URING));
