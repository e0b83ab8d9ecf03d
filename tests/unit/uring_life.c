/*
 * The shared part of the tests of an operation's life: see uring_life.h.
 */
#include "tests/unit/uring_life.h"

#include <string.h>
#include <unistd.h>

/* ---- Moments -----------------------------------------------------------------------------------
 */

static _Thread_local struct life_other *to_be_held; /* this thread, at the next moment; or NULL */
void (*life_on_remote_close)(void);

static void hold(void)
{
    struct life_other *other = to_be_held;

    if (other != NULL) {
        to_be_held = NULL;
        sem_post(&other->held);
        while (sem_wait(&other->go) != 0) {
        }
    }
}

int __real_tocsin__remote_push(struct remote *remote, struct tocsin_item_ *item);
int __wrap_tocsin__remote_push(struct remote *remote, struct tocsin_item_ *item);
struct tocsin_item_ *__real_tocsin__remote_close(struct remote *remote);
struct tocsin_item_ *__wrap_tocsin__remote_close(struct remote *remote);
struct uring *__real_tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                            int *out_error);
struct uring *__wrap_tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                            int *out_error);

/* The op's state has changed, and the message is not in the queue yet. */
int __wrap_tocsin__remote_push(struct remote *remote, struct tocsin_item_ *item)
{
    hold();
    return __real_tocsin__remote_push(remote, item);
}

struct tocsin_item_ *__wrap_tocsin__remote_close(struct remote *remote)
{
    if (life_on_remote_close != NULL) {
        life_on_remote_close();
    }
    return __real_tocsin__remote_close(remote);
}

/* There is a ring, and nobody has looked into it yet. */
struct uring *__wrap_tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                            int *out_error)
{
    struct uring *uring = __real_tocsin__uring_host_get(host, pool, out_error);

    hold();
    return uring;
}

void life_cancel_held(void *arg)
{
    struct life_other *other = arg;

    to_be_held = other;
    other->result = tocsin_uring_cancel(&other->op->op);
}

void life_drop_held(void *arg)
{
    struct life_other *other = arg;

    to_be_held = other;
    tocsin_uring_drop(&other->op->op);
}

void life_submit_held(void *arg)
{
    struct life_other *other = arg;

    to_be_held = other;
    other->result = unit_submit(other->uring, other->op, &other->sqe);
}

/* Returns when the other thread is held. */
void life_other_start(struct life_other *other, support_body_fn *fn)
{
    sem_init(&other->held, 0, 0);
    sem_init(&other->go, 0, 0);
    support_thread_start(&other->thread, 1, fn, other);
    while (sem_wait(&other->held) != 0) {
    }
}

void life_other_end(struct life_other *other)
{
    sem_post(&other->go);
    support_thread_join(&other->thread);
    sem_destroy(&other->held);
    sem_destroy(&other->go);
}

/* ---- Fixture ---------------------------------------------------------------------------------
 */

void life_start(struct life *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    life_on_remote_close = NULL;
    unit_uring_start(&fixture->uring);
    assert_int_equal(pipe(fixture->fds), 0);
    unit_op_init(&fixture->op);
    unit_op_init(&fixture->second);
    fixture->op.arg = fixture;
    fixture->second.arg = fixture;
    fixture->nop = unit_sqe_nop();
    fixture->read = unit_sqe_read(fixture->fds[0], &fixture->byte, 1);
}

void life_end(struct life *fixture)
{
    unit_uring_end(&fixture->uring);
    close(fixture->fds[0]);
    close(fixture->fds[1]);
}

void life_in_turn(struct life *fixture, support_body_fn *fn)
{
    unit_uring_in_turn(&fixture->uring, fn, fixture);
}

void life_run(struct life *fixture)
{
    assert_int_equal(tocsin_pool_run(fixture->uring.pool), 0);
}

void life_submit_read(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->read) == 0);
}

void life_submit_nop(void *arg)
{
    struct life *fixture = arg;

    UNIT_CHECK(unit_submit(&fixture->uring, &fixture->op, &fixture->nop) == 0);
    UNIT_CHECK(unit_load(&fixture->op.completes) == 0); /* never inside this call */
}

void life_cancel_op(void *arg)
{
    struct life *fixture = arg;

    fixture->result = tocsin_uring_cancel(&fixture->op.op);
}

void life_drop_op(void *arg)
{
    struct life *fixture = arg;

    tocsin_uring_drop(&fixture->op.op);
}

void life_check_counts(const struct unit_op *op, unsigned completes, unsigned lates,
                       unsigned releases)
{
    assert_int_equal(unit_load(&op->completes), completes);
    assert_int_equal(unit_load(&op->lates), lates);
    assert_int_equal(unit_load(&op->releases), releases);
}
