/*
 * What only Linux has of a pool: the timer slack of its thread.
 */
#include <sys/prctl.h>

#include "conform.h"

static int poll_sees_the_slack(struct conform_task *task, struct tocsin_context *cx)
{
    (void)cx;
    CHECK_EQ(task->t, prctl(PR_GET_TIMERSLACK), 1);
    return 0;
}

static void timer_slack_is_the_runs(struct conform *t)
{
    struct tocsin_pool_options options = {.timer_slack_ns = 1};
    struct tocsin_pool *pool = NULL;
    struct conform_task task = {0};

    CHECK_EQ(t, prctl(PR_SET_TIMERSLACK, 70000), 0);
    REQUIRE(t, conform_pool_open(t, &options, &pool) == 0);
    conform_spawn(t, tocsin_pool_driver(pool), &task, poll_sees_the_slack, NULL);
    CHECK_EQ(t, tocsin_pool_run(pool), 0);
    CHECK_EQ(t, prctl(PR_GET_TIMERSLACK), 70000);
    CHECK_GONE(t, &task);
    conform_pool_close(t, pool);
}

CONFORM_CASES(linux_only, CASE(timer_slack_is_the_runs, "6",
                               "The option sets the thread's slack, and puts it back.", 0));
