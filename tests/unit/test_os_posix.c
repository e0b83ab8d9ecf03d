/*
 * Threads, locks, the fork mark, timer slack.
 */
#include "runtime/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

struct counter {
    struct tocsin__mutex lock;
    unsigned count; /* guarded by lock */
    unsigned rounds;
};

static void count_under_the_lock(void *arg)
{
    struct counter *counter = arg;

    for (unsigned i = 0; i < counter->rounds; i++) {
        tocsin__mutex_lock(&counter->lock);
        counter->count++;
        tocsin__mutex_unlock(&counter->lock);
    }
}

static void a_lock_keeps_others_out(void **state)
{
    struct counter counter = {.rounds = support_scaled(20000)};
    struct support_thread threads[2];

    (void)state;
    assert_int_equal(tocsin__mutex_init(&counter.lock), 0);
    for (unsigned i = 0; i < 2; i++) {
        support_thread_start(&threads[i], i, count_under_the_lock, &counter);
    }
    for (unsigned i = 0; i < 2; i++) {
        support_thread_join(&threads[i]);
    }
    assert_int_equal(counter.count, 2 * counter.rounds);
    tocsin__mutex_deinit(&counter.lock);
}

struct turns {
    struct tocsin__mutex lock;
    struct tocsin__cond cond;
    unsigned turn; /* guarded by lock */
    unsigned rounds;
};

static void answer(void *arg)
{
    struct turns *turns = arg;

    for (unsigned i = 0; i < turns->rounds; i++) {
        tocsin__mutex_lock(&turns->lock);
        while (turns->turn % 2 == 0) {
            tocsin__cond_wait(&turns->cond, &turns->lock);
        }
        turns->turn++;
        tocsin__cond_signal(&turns->cond);
        tocsin__mutex_unlock(&turns->lock);
    }
}

static void a_condition_wakes_who_waits(void **state)
{
    struct turns turns = {.rounds = support_scaled(2000)};
    struct support_thread thread;

    (void)state;
    assert_int_equal(tocsin__mutex_init(&turns.lock), 0);
    assert_int_equal(tocsin__cond_init(&turns.cond), 0);
    support_thread_start(&thread, 1, answer, &turns);
    for (unsigned i = 0; i < turns.rounds; i++) {
        tocsin__mutex_lock(&turns.lock);
        while (turns.turn % 2 == 1) {
            tocsin__cond_wait(&turns.cond, &turns.lock);
        }
        turns.turn++;
        tocsin__cond_signal(&turns.cond);
        tocsin__mutex_unlock(&turns.lock);
    }
    support_thread_join(&thread);
    assert_int_equal(turns.turn, 2 * turns.rounds);
    tocsin__cond_deinit(&turns.cond);
    tocsin__mutex_deinit(&turns.lock);
}

enum {
    WAITERS = 3,
};

struct crowd {
    struct tocsin__mutex lock;
    struct tocsin__cond cond;
    struct tocsin__cond all_wait;
    unsigned waiting; /* guarded by lock, and so the next */
    bool over;
};

static void wait_in_the_crowd(void *arg)
{
    struct crowd *crowd = arg;

    tocsin__mutex_lock(&crowd->lock);
    if (++crowd->waiting == WAITERS) {
        tocsin__cond_signal(&crowd->all_wait);
    }
    while (!crowd->over) {
        tocsin__cond_wait(&crowd->cond, &crowd->lock);
    }
    tocsin__mutex_unlock(&crowd->lock);
}

static void a_broadcast_wakes_all_who_wait(void **state)
{
    struct crowd crowd = {.lock = TOCSIN__MUTEX_INITIALIZER};
    struct support_thread threads[WAITERS];

    (void)state;
    assert_int_equal(tocsin__cond_init(&crowd.cond), 0);
    assert_int_equal(tocsin__cond_init(&crowd.all_wait), 0);
    for (unsigned i = 0; i < WAITERS; i++) {
        support_thread_start(&threads[i], i, wait_in_the_crowd, &crowd);
    }
    tocsin__mutex_lock(&crowd.lock);
    while (crowd.waiting < WAITERS) {
        tocsin__cond_wait(&crowd.all_wait, &crowd.lock);
    }
    crowd.over = true;
    tocsin__cond_broadcast(&crowd.cond);
    tocsin__mutex_unlock(&crowd.lock);
    for (unsigned i = 0; i < WAITERS; i++) {
        support_thread_join(&threads[i]); /* or one of them waits for ever */
    }
    tocsin__cond_deinit(&crowd.all_wait);
    tocsin__cond_deinit(&crowd.cond);
}

/* What a thread that was started says of itself. */
struct told {
    uintptr_t id;
    char name[32];
};

static void *tell(void *arg)
{
    struct told *told = arg;

    told->id = tocsin__thread_id();
    tocsin__thread_set_name("any name of any length");
    pthread_getname_np(pthread_self(), told->name, sizeof(told->name));
    return NULL;
}

static void threads_differ_and_are_joined(void **state)
{
    struct tocsin__thread thread;
    struct told told = {.id = 0};
    uintptr_t first;

    (void)state;
    assert_int_equal(tocsin__thread_start(&thread, tell, &told), 0);
    tocsin__thread_join(&thread);
    assert_int_not_equal(told.id, 0);
    assert_int_not_equal(told.id, tocsin__thread_id());
    assert_int_equal(tocsin__thread_id(), tocsin__thread_id());
    assert_string_equal(told.name, "any name of any");
    first = told.id;
    assert_int_equal(tocsin__thread_start(&thread, tell, &told), 0);
    tocsin__thread_join(&thread);
    assert_int_not_equal(told.id, first); /* though its pthread_t is the same */
}

static void count_processors(void *arg)
{
    *(unsigned *)arg = tocsin__processors(); /* this thread is pinned to one */
}

static void only_processors_that_may_be_used_count(void **state)
{
    unsigned pinned = 0;

    (void)state;
    assert_in_range(tocsin__processors(), 1, sysconf(_SC_NPROCESSORS_CONF));
    support_elsewhere(count_processors, &pinned);
    assert_int_equal(pinned, 1);
}

static void check_mark_in_child(void *arg)
{
    const volatile unsigned char *parents = arg;
    const volatile unsigned char *own;
    const volatile unsigned char *again;
    int status;
    pid_t pid;

    UNIT_CHECK(*parents == 0);
    UNIT_CHECK(tocsin__fork_mark(&own) == 0);
    UNIT_CHECK(*own == 1);
    UNIT_CHECK(own != parents);
    UNIT_CHECK(tocsin__fork_mark(&again) == 0 && again == own);
    pid = fork();
    if (pid == 0) {
        _exit(*own == 0 && *parents == 0 ? 0 : 1);
    }
    UNIT_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    UNIT_CHECK(*own == 1);
}

static void the_fork_mark_reads_0_in_children(void **state)
{
    const volatile unsigned char *mark;
    const volatile unsigned char *again;

    (void)state;
    assert_int_equal(tocsin__fork_mark(&mark), 0);
    assert_int_equal(*mark, 1);
    assert_int_equal(tocsin__fork_mark(&again), 0);
    assert_ptr_equal(again, mark); /* one for all pools */
    unit_expect_return(check_mark_in_child, (void *)(uintptr_t)mark);
    assert_int_equal(*mark, 1);
}

static void timer_slack_is_set_and_told(void **state)
{
    uint64_t before_ns = 0;
    uint64_t old_ns = 0;

    (void)state;
    if (tocsin__timer_slack_set(1000, &before_ns) == -ENOSYS || support_on_valgrind()) {
        unit_skip("no timer slack here");
    }
    assert_int_equal(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 1000);
    assert_int_equal(tocsin__timer_slack_set(before_ns, &old_ns), 0);
    assert_int_equal(old_ns, 1000);
    assert_int_equal(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), before_ns);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_lock_keeps_others_out),
    cmocka_unit_test(a_condition_wakes_who_waits),
    cmocka_unit_test(a_broadcast_wakes_all_who_wait),
    cmocka_unit_test(threads_differ_and_are_joined),
    cmocka_unit_test(only_processors_that_may_be_used_count),
    cmocka_unit_test(the_fork_mark_reads_0_in_children),
    cmocka_unit_test(timer_slack_is_set_and_told),
};

UNIT_MAIN(tests)
