/*
 * Operations that are cancelled, dropped, late, linked or misused, design 8: U1 and U3.
 *
 * A read of an empty pipe pends until somebody writes, cancels or drops.  What a turn left in the
 * kernel's queue as completed is not delivered before the next turn: so races become orders.
 */
#include <sys/socket.h>

#include "ring.h"

/* A pool, and a read of an empty pipe in flight on it. */
struct scene {
    struct tocsin_pool *pool;
    struct ring_op reading;
    char data[8];
    int fds[2];
};

static void scene_open(struct conform *t, struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    scene->pool = conform_pool(t);
    REQUIRE(t, pipe2(scene->fds, O_CLOEXEC) == 0);
    ring_op_init(t, &scene->reading, NULL);
    ring_submit_here(t, scene->pool, &scene->reading,
                     ring_read(scene->fds[0], scene->data, sizeof(scene->data)));
    CHECK_EQ(t, conform_read(&scene->reading.completions), 0);
}

/* Nothing is in flight any more, and the read completed @completions times. */
static void scene_close(struct conform *t, struct scene *scene, unsigned completions)
{
    CHECK_EQ(t, tocsin_pool_run(scene->pool), 0);
    CHECK_EQ(t, conform_read(&scene->reading.completions), completions);
    CHECK_EQ(t, conform_read(&scene->reading.releases), 1);
    CHECK_EQ(t, scene->reading.lates_after, 0);
    conform_pool_close(t, scene->pool);
    CHECK_EQ(t, close(scene->fds[0]), 0);
    CHECK_EQ(t, close(scene->fds[1]), 0);
}

/* ---- Cancel ---------------------------------------------------------------------------------- */

static void cancel_it(struct conform *t, void *arg)
{
    struct scene *scene = arg;

    CHECK_EQ(t, tocsin_uring_cancel(&scene->reading.op), 0);
    CHECK_EQ(t, tocsin_uring_cancel(&scene->reading.op), 0); /* also when it was asked before */
    CHECK_EQ(t, conform_read(&scene->reading.completions), 0);
}

static void cancelled_operation_completes(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    ring_in_turn(t, scene.pool, cancel_it, &scene);
    CHECK_EQ(t, tocsin_pool_run(scene.pool), 0);
    CHECK_EQ(t, scene.reading.results[0], -ECANCELED);
    CHECK_EQ(t, tocsin_uring_cancel(&scene.reading.op), -EALREADY);
    ring_drop(&scene.reading);
    CHECK_EQ(t, conform_read(&scene.reading.lates), 0);
    scene_close(t, &scene, 1);
}

static void cancel_it_in_a_sleep(struct conform *t, void *arg)
{
    unsigned kicks = conform_read(&t->counts.kicks);

    cancel_it(t, arg);
    CHECK_EQ(t, conform_read(&t->counts.kicks) - kicks, 1);
}

static void cancel_from_another_thread_wakes_the_pool(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_at_sleep(t, cancel_it_in_a_sleep, &scene);
    CHECK_EQ(t, tocsin_pool_run(scene.pool), 0);
    CHECK_EQ(t, scene.reading.results[0], -ECANCELED);
    CHECK_EQ(t, tocsin_uring_cancel(&scene.reading.op), -EALREADY);
    ring_drop(&scene.reading);
    scene_close(t, &scene, 1);
}

/* The kernel has completed it before the cancel was asked, and nobody was told: it stands. */
static void result_before_a_cancel_stands(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    char data[8];
    int fds[2];

    REQUIRE(t, pipe2(fds, O_CLOEXEC) == 0);
    CHECK_EQ(t, write(fds[1], "first", 5), 5);
    ring_op_init(t, &op, NULL);
    ring_submit_here(t, pool, &op, ring_read(fds[0], data, sizeof(data)));
    CHECK_EQ(t, conform_read(&op.completions), 0);
    CHECK_EQ(t, tocsin_uring_cancel(&op.op), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 1);
    CHECK_EQ(t, op.results[0], 5);
    CHECK_EQ(t, tocsin_uring_cancel(&op.op), -EALREADY);
    ring_drop(&op);
    conform_pool_close(t, pool);
    CHECK_EQ(t, close(fds[0]), 0);
    CHECK_EQ(t, close(fds[1]), 0);
}

struct reuse {
    struct scene *scene;
    struct ring_op quick;
    unsigned left;
};

/* The cancel is queued behind the operation, which completes before it is looked for. */
static void submit_and_cancel(struct conform *t, void *arg)
{
    struct reuse *reuse = arg;

    ring_submit(reuse->scene->pool, &reuse->quick, ring_nop());
    CHECK_EQ(t, tocsin_uring_cancel(&reuse->quick.op), 0);
}

/* U3: in the hook the slot of the old operation is free, and goes to the new one. */
static void submit_again(struct ring_op *op, int32_t result, uint32_t flags)
{
    struct reuse *reuse = op->arg;

    (void)flags;
    CHECK(op->t, result == 0 || result == -ECANCELED);
    if (reuse->left-- == 0) {
        return;
    }
    ring_submit(reuse->scene->pool, op, ring_nop());
    CHECK_EQ(op->t, tocsin_uring_cancel(&op->op), 0);
}

static void cancel_hits_no_later_operation(struct conform *t)
{
    struct scene scene;
    struct reuse reuse = {.scene = &scene, .left = conform_times(t, 500)};
    unsigned times = reuse.left + 1;

    scene_open(t, &scene);
    ring_op_init(t, &reuse.quick, submit_again);
    reuse.quick.arg = &reuse;
    ring_in_turn(t, scene.pool, submit_and_cancel, &reuse);
    ring_run(t, scene.pool, &reuse.quick, times);
    CHECK_EQ(t, conform_read(&scene.reading.completions), 0);
    CHECK_EQ(t, write(scene.fds[1], "still", 5), 5);
    CHECK_EQ(t, tocsin_pool_run(scene.pool), 0);
    CHECK_EQ(t, scene.reading.results[0], 5);
    ring_drop(&reuse.quick);
    ring_drop(&scene.reading);
    scene_close(t, &scene, 1);
}

/* ---- Drop ------------------------------------------------------------------------------------ */

static void drop_it(struct conform *t, void *arg)
{
    struct ring_op *op = arg;

    tocsin_uring_drop(&op->op);
    CHECK_EQ(t, conform_read(&op->releases), 0); /* U1: it is the kernel's */
}

static void dropped_read_is_released_when_the_kernel_gave_it_up(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    ring_in_turn(t, scene.pool, drop_it, &scene.reading);
    scene_close(t, &scene, 0);
    CHECK_EQ(t, conform_read(&scene.reading.lates), 1);
    CHECK_EQ(t, scene.reading.late, -ECANCELED);
}

static void read_dropped_elsewhere_is_released_on_the_pools_thread(struct conform *t)
{
    struct scene scene;

    scene_open(t, &scene);
    conform_at_sleep(t, drop_it, &scene.reading);
    scene_close(t, &scene, 0);
    CHECK_EQ(t, scene.reading.thread, conform_thread_id());
    CHECK_EQ(t, scene.reading.late, -ECANCELED);
}

static void submit_and_drop(struct conform *t, void *arg)
{
    struct ring_pair *pair = arg;

    ring_submit_pair(t, arg);
    drop_it(t, pair->op);
}

/* Before the kernel has seen it; from the pool's thread, and from elsewhere. */
static void operation_is_dropped_before_it_is_flushed(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;
    struct ring_pair pair = {pool, &op, ring_nop()};

    ring_op_init(t, &op, NULL);
    ring_in_turn(t, pool, submit_and_drop, &pair);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 0);
    CHECK_EQ(t, conform_read(&op.releases), 1);
    ring_op_init(t, &op, NULL);
    submit_and_drop(t, &pair);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&op.completions), 0);
    CHECK_EQ(t, conform_read(&op.releases), 1);
    CHECK_EQ(t, op.lates_after, 0);
    conform_pool_close(t, pool);
}

static void drop_of_what_is_not_in_flight_releases_at_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct ring_op op;

    ring_op_init(t, &op, NULL);
    ring_drop(&op); /* never submitted */
    ring_op_init(t, &op, NULL);
    ring_submit(pool, &op, ring_nop());
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    conform_pool_close(t, pool);
    ring_drop(&op); /* after its pool */
    CHECK_EQ(t, conform_read(&op.lates), 0);
}

struct two {
    struct scene *scene;
    struct ring_op first;
    unsigned runs;
};

static void drop_both(struct ring_op *op, int32_t result, uint32_t flags)
{
    struct two *two = op->arg;

    (void)flags;
    CHECK_EQ(op->t, result, 0);
    two->runs++;
    drop_it(op->t, &two->scene->reading);
    tocsin_uring_drop(&op->op);
    CHECK_EQ(op->t, conform_read(&op->releases), 0); /* after the hook that this is called in */
}

static void operations_are_dropped_inside_a_hook(struct conform *t)
{
    struct scene scene;
    struct two two = {.scene = &scene};

    scene_open(t, &scene);
    ring_op_init(t, &two.first, drop_both);
    two.first.arg = &two;
    ring_submit(scene.pool, &two.first, ring_nop());
    scene_close(t, &scene, 0);
    CHECK_EQ(t, two.runs, 1);
    CHECK_EQ(t, conform_read(&two.first.releases), 1);
    CHECK_EQ(t, conform_read(&two.first.lates), 0);
}

static void cancel_the_read(struct ring_op *op, int32_t result, uint32_t flags)
{
    struct two *two = op->arg;
    struct ring_op *reading = &two->scene->reading;
    bool ended = conform_read(&reading->completions) == 1;

    CHECK_EQ(op->t, result, 0);
    CHECK_EQ(op->t, flags, 0);
    CHECK_EQ(op->t, tocsin_uring_cancel(&op->op), -EALREADY); /* its last completion has come */
    CHECK_EQ(op->t, tocsin_uring_cancel(&reading->op), ended ? -EALREADY : 0);
    if (++two->runs < 5) {
        ring_submit(two->scene->pool, op, ring_nop());
    }
}

static void hooks_cancel_and_submit_again(struct conform *t)
{
    struct scene scene;
    struct two two = {.scene = &scene};

    scene_open(t, &scene);
    ring_op_init(t, &two.first, cancel_the_read);
    two.first.arg = &two;
    ring_submit(scene.pool, &two.first, ring_nop());
    CHECK_EQ(t, tocsin_pool_run(scene.pool), 0);
    CHECK_EQ(t, scene.reading.results[0], -ECANCELED);
    CHECK_EQ(t, conform_read(&two.first.completions), 5);
    ring_drop(&two.first);
    ring_drop(&scene.reading);
    scene_close(t, &scene, 1);
}

static void last_hook(struct ring_op *op, int32_t result, uint32_t flags)
{
    (void)result;
    (void)flags;
    conform_gate_open(op->arg);
}

struct racing {
    struct ring_op op;
    struct conform_gate gate;
};

static void drop_when_told(struct conform *t, void *arg)
{
    struct racing *racing = arg;

    (void)t;
    conform_gate_wait(&racing->gate);
    tocsin_uring_drop(&racing->op.op);
}

/* The drop on one thread meets the end of the hook on the other: one of the two releases. */
static void drop_races_with_the_last_completion(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);

    for (unsigned i = 0; i < conform_times(t, 200); i++) {
        struct racing racing = {.gate = {0}};
        struct conform_thread *thread;

        ring_op_init(t, &racing.op, last_hook);
        racing.op.arg = &racing.gate;
        ring_submit(pool, &racing.op, ring_nop());
        thread = conform_thread(t, drop_when_told, &racing);
        CHECK_EQ(t, tocsin_pool_run(pool), 0);
        conform_thread_join(t, thread);
        probe_turns(t, pool); /* the message of a drop that came just before the end */
        CHECK_EQ(t, conform_read(&racing.op.completions), 1);
        CHECK_EQ(t, conform_read(&racing.op.releases), 1);
        CHECK_EQ(t, conform_read(&racing.op.lates), 0);
    }
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    uring_op,
    CASE(cancelled_operation_completes, "8", "A cancel ends a read that pends, with -ECANCELED.",
         TOCSIN_BACKEND_URING),
    CASE(cancel_from_another_thread_wakes_the_pool, "8", "The same from elsewhere, by one kick.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(result_before_a_cancel_stands, "8", "A cancel that comes too late changes nothing.",
         TOCSIN_BACKEND_URING),
    CASE(cancel_hits_no_later_operation, "U3",
         "Cancels of operations that end meanwhile spare what takes their slots.",
         TOCSIN_BACKEND_URING),
    CASE(dropped_read_is_released_when_the_kernel_gave_it_up, "U1",
         "A drop in flight asks for a cancel; release comes with the last completion.",
         TOCSIN_BACKEND_URING),
    CASE(read_dropped_elsewhere_is_released_on_the_pools_thread, "U1",
         "The same from another thread.", TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(operation_is_dropped_before_it_is_flushed, "U1",
         "An operation that the kernel has not seen is dropped, here and elsewhere.",
         TOCSIN_BACKEND_URING),
    CASE(drop_of_what_is_not_in_flight_releases_at_once, "U1",
         "Before it returns: never submitted, completed, or after its pool.", TOCSIN_BACKEND_URING),
    CASE(operations_are_dropped_inside_a_hook, "U1",
         "A hook drops its own operation and another one.", TOCSIN_BACKEND_URING),
    CASE(hooks_cancel_and_submit_again, "8", "A hook cancels another and submits its own again.",
         TOCSIN_BACKEND_URING),
    CASE(drop_races_with_the_last_completion, "U1",
         "Another thread drops while the hook ends: it is released once.",
         TOCSIN_BACKEND_URING | TOCSIN_BACKEND_FOREIGN_THREADS));
