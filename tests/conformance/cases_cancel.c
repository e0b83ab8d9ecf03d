/*
 * Cancel, from anywhere, at any moment.
 */
#include <errno.h>

#include "conform.h"

static void cancelled_while_queued_is_never_polled(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), 0);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, -ECANCELED);
    CHECK_EQ(t, conform_read(&task.polls), 0);
    CHECK_EQ(t, tocsin_task_state(&task.task), TOCSIN_TASK_CANCELLED);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void cancelled_while_waiting_is_not_polled_again(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    CHECK_EQ(t, tocsin_pool_turn(pool), 1);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), 0);
    conform_wake(&task);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, -ECANCELED);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_cancels_itself(struct conform_task *task, struct tocsin_context *cx)
{
    CHECK_EQ(task->t, tocsin_task_cancel(&task->task), 0);
    tocsin_waker_wake_by_ref(&cx->waker);
    CHECK_EQ(task->t, conform_read(&task->drops), 0);
    return task->arg != NULL ? *(int *)task->arg : TOCSIN_PENDING;
}

static void task_may_cancel_itself(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_cancels_itself, NULL);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, -ECANCELED);
    CHECK_EQ(t, conform_read(&task.polls), 1);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void result_of_a_poll_under_way_stands(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    int wanted = 9;
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_cancels_itself, &wanted);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &task.task, &result), 0);
    CHECK_EQ(t, result, 9);
    CHECK_EQ(t, tocsin_task_state(&task.task), TOCSIN_TASK_ENDED);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), -EALREADY);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static void cancel_after_the_end_says_so(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), -EALREADY);
    conform_pool_close(t, pool);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), -EALREADY);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
}

static void cancel_twice_is_cancel(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), 0);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), 0);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, tocsin_task_cancel(&task.task), -EALREADY);
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_cancels_the_other(struct conform_task *task, struct tocsin_context *cx)
{
    struct conform_task *other = task->arg;

    (void)cx;
    CHECK_EQ(task->t, tocsin_task_cancel(&other->task), 0);
    CHECK_EQ(task->t, conform_read(&other->polls), 0);
    return 0;
}

static void task_may_cancel_one_that_is_queued_behind_it(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};
    struct conform_task other = {0};

    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_cancels_the_other, &other);
    conform_spawn_ref(t, tocsin_pool_driver(pool), &other, conform_poll_ready, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&other.polls), 0);
    tocsin_task_unref(&other.task);
    CHECK_GONE(t, &task);
    CHECK_GONE(t, &other);
    conform_pool_close(t, pool);
}

/* ---- From other threads ---------------------------------------------------------------------- */

static void cancel_elsewhere(struct conform *t, void *arg)
{
    CHECK_EQ(t, tocsin_task_cancel(&((struct conform_task *)arg)->task), 0);
}

static void cancel_of_a_sleeping_pools_task_kicks_once(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task task = {0};

    conform_spawn_ref(t, tocsin_pool_driver(pool), &task, conform_poll_never, NULL);
    conform_at_sleep(t, cancel_elsewhere, &task);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, conform_read(&t->counts.kicks), 1);
    CHECK_EQ(t, conform_read(&task.drops), 1);
    CHECK_EQ(t, task.drop_thread, conform_thread_id());
    tocsin_task_unref(&task.task);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

static int poll_is_cancelled_under_way(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    conform_elsewhere(task->t, cancel_elsewhere, task);
    CHECK_EQ(task->t, conform_read(&task->drops), 0);
    return task->arg != NULL ? *(int *)task->arg : TOCSIN_PENDING;
}

static void cancel_of_a_poll_under_way_lets_it_end(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct conform_task pends = {0};
    struct conform_task ends = {0};
    int wanted = 9;
    int result = 0;

    conform_spawn_ref(t, tocsin_pool_driver(pool), &pends, poll_is_cancelled_under_way, NULL);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &pends.task, &result), 0);
    CHECK_EQ(t, result, -ECANCELED);
    CHECK_EQ(t, conform_read(&pends.polls), 1);

    conform_spawn_ref(t, tocsin_pool_driver(pool), &ends, poll_is_cancelled_under_way, &wanted);
    CHECK_EQ(t, tocsin_pool_run_until(pool, &ends.task, &result), 0);
    CHECK_EQ(t, result, 9);
    tocsin_task_unref(&pends.task);
    tocsin_task_unref(&ends.task);
    conform_pool_close(t, pool);
    CHECK_GONE(t, &pends);
    CHECK_GONE(t, &ends);
}

/* A row of tasks that end while another thread cancels each; round @turn is on for both. */
struct duel {
    unsigned rounds;
    struct conform_task *task; /* of the round */
    atomic_uint turn;          /* the round that both may fight */
    atomic_uint fought;        /* the round that the canceller has fought */
    int verdict;               /* what cancel said */
    unsigned polls_after;      /* polls when cancel had returned 0 */
};

static void cancel_each(struct conform *t, void *arg)
{
    struct duel *duel = arg;

    for (unsigned i = 1; i <= duel->rounds; i++) {
        conform_await(&duel->turn, i);
        duel->verdict = tocsin_task_cancel(&duel->task->task);
        CHECK(t, duel->verdict == 0 || duel->verdict == -EALREADY);
        conform_set(&duel->fought, i);
    }
}

/* The task ends in its second poll, about when the other thread cancels it. */
static int poll_duels(struct conform_task *task, struct tocsin_context *cx)
{
    struct duel *duel = task->arg;

    if (conform_read(&task->polls) == 1) {
        conform_set(&duel->turn, conform_read(&duel->turn) + 1);
        return tocsin_task_yield(cx);
    }
    return 6;
}

static void cancel_against_end(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct duel duel = {.rounds = conform_times(t, 10000)};
    struct conform_thread *thread = conform_thread(t, cancel_each, &duel);
    unsigned cancelled = 0;
    unsigned ended = 0;

    for (unsigned i = 1; i <= duel.rounds; i++) {
        struct conform_task task = {0};
        int result = 0;

        duel.task = &task;
        conform_spawn_ref(t, tocsin_pool_driver(pool), &task, poll_duels, &duel);
        REQUIRE(t, tocsin_pool_run_until(pool, &task.task, &result) == 0);
        conform_await(&duel.fought, i);
        if (result == -ECANCELED) {
            cancelled++;
            REQUIRE(t, duel.verdict == 0);
        } else {
            ended++;
            REQUIRE(t, result == 6);
        }
        tocsin_task_unref(&task.task);
        REQUIRE(t, CHECK_EQ(t, conform_read(&task.drops), 1));
        /* The pool's own reference may still be on its way through the inbox. */
        if (conform_read(&task.releases) == 0) {
            REQUIRE(t, tocsin_pool_turn(pool) == 0);
        }
        REQUIRE(t, CHECK_EQ(t, conform_read(&task.releases), 1));
    }
    conform_thread_join(t, thread);
    CHECK_EQ(t, cancelled + ended, duel.rounds);
    conform_pool_close(t, pool);
}

struct referee {
    struct conform_task task;
    atomic_uint cancelled; /* cancel has returned */
    atomic_uint started;   /* the canceller is there */
};

static int poll_starts_before_cancel_only(struct conform_task *task, struct tocsin_context *cx)
{
    struct referee *referee = (struct referee *)task;

    /* No poll starts after cancel returned; the pool's thread may be one step into it already. */
    if (conform_read(&referee->cancelled) != 0 && conform_count(&task->flag) > 1) {
        CHECK(task->t, false && "polled twice after it was cancelled");
    }
    return tocsin_task_yield(cx);
}

static void cancel_the_yielder(struct conform *t, void *arg)
{
    struct referee *referee = arg;

    conform_await(&referee->task.polls, 10);
    CHECK_EQ(t, tocsin_task_cancel(&referee->task.task), 0);
    conform_set(&referee->cancelled, 1);
}

static void cancel_ends_a_task_that_never_rests(struct conform *t)
{
    for (unsigned round = 0; round < conform_times(t, 50); round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct referee referee = {0};
        struct conform_thread *thread;
        int result = 0;

        conform_spawn_ref(t, tocsin_pool_driver(pool), &referee.task,
                          poll_starts_before_cancel_only, NULL);
        thread = conform_thread(t, cancel_the_yielder, &referee);
        CHECK_EQ(t, tocsin_pool_run_until(pool, &referee.task.task, &result), 0);
        CHECK_EQ(t, result, -ECANCELED);
        conform_thread_join(t, thread);
        tocsin_task_unref(&referee.task.task);
        conform_pool_close(t, pool);
        CHECK_GONE(t, &referee.task);
    }
}

CONFORM_CASES(
    cancel,
    CASE(cancelled_while_queued_is_never_polled, "5", "A queued task that is cancelled ends so.",
         0),
    CASE(cancelled_while_waiting_is_not_polled_again, "5",
         "A waiting task that is cancelled ends so.", 0),
    CASE(task_may_cancel_itself, "5", "A cancel in the task's own poll takes effect after it.", 0),
    CASE(result_of_a_poll_under_way_stands, "5",
         "A poll that was under way when cancel came, and says ready, gives the result.", 0),
    CASE(cancel_after_the_end_says_so, "5", "Cancelling an ended task is -EALREADY.", 0),
    CASE(cancel_twice_is_cancel, "5", "A second cancel before the end is 0 as well.", 0),
    CASE(task_may_cancel_one_that_is_queued_behind_it, "5",
         "A task cancels the one that would be polled next.", 0),
    CASE(cancel_of_a_sleeping_pools_task_kicks_once, "5",
         "A cancel from another thread ends the sleep; drop is called on the pool's thread.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(cancel_of_a_poll_under_way_lets_it_end, "5",
         "A cancel from another thread during the poll.", TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(cancel_against_end, "5", "A task ends while another thread cancels it; 10,000 times.",
         TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(cancel_ends_a_task_that_never_rests, "5",
         "A task that always wakes itself is cancelled from another thread.",
         TOCSIN_BACKEND_FOREIGN_THREADS));
