/*
 * Wakers and references that other threads use and give up while the pool closes.
 *
 * Each round opens a pool, spawns tasks, hands two threads clones of their wakers and references to
 * them, and closes the pool in the middle of their wakes, drops, cancels, joins and posts.  Each
 * task is dropped and released once, whoever comes last, and the pool's memory goes with it.
 */
#include <errno.h>

#include "tests/stress/stress.h"

enum {
    TASKS = 6,
    USERS = 2,
};

struct task {
    struct tocsin_task task;
    atomic_uint drops;
    atomic_uint releases;
};

static int poll_task(struct tocsin_task *base, struct tocsin_context *cx)
{
    (void)base;
    (void)cx;
    return TOCSIN_PENDING;
}

static void drop_task(struct tocsin_task *base)
{
    stress_add(&((struct task *)(void *)base)->drops);
}

static void release_task(struct tocsin_task *base)
{
    struct task *task = (struct task *)(void *)base;

    STRESS_CHECK(stress_load(&task->drops) == 1);
    stress_add(&task->releases);
}

static const struct tocsin_task_ops ops = {poll_task, drop_task, release_task};

struct user {
    struct support_thread thread;
    struct support_random random;
    struct tocsin_driver *driver;          /* counted */
    struct tocsin_waker wakers[TASKS];     /* one of each task */
    struct tocsin_task *references[TASKS]; /* likewise */
    atomic_uint *started;
    unsigned posts;
    atomic_uint posts_called;
};

static void count_post(void *arg, int status)
{
    struct user *user = arg;

    STRESS_CHECK(status == 0 || status == -ECANCELED);
    stress_add(&user->posts_called);
}

static void use_waker(struct user *user, unsigned i)
{
    struct tocsin_waker clone = tocsin_waker_clone(&user->wakers[i]);

    tocsin_waker_wake_by_ref(&clone);
    stress_dither(&user->random);
    if (support_random_below(&user->random, 2) == 0) {
        tocsin_waker_wake(&user->wakers[i]);
        tocsin_waker_drop(&clone);
    } else {
        tocsin_waker_drop(&user->wakers[i]);
        tocsin_waker_wake(&clone);
    }
}

static void use_reference(struct user *user, unsigned i)
{
    struct tocsin_context cx = {.waker = tocsin_task_waker(user->references[i])};
    struct tocsin_join join;
    int result = 0;
    int r;

    tocsin_join_init(&join, user->references[i]);
    r = tocsin_join_poll(&join, &cx, &result);
    STRESS_CHECK(r == TOCSIN_PENDING || (r == 0 && result == -ECANCELED));
    if (support_random_below(&user->random, 2) == 0) {
        r = tocsin_task_cancel(user->references[i]);
        STRESS_CHECK(r == 0 || r == -EALREADY);
    }
    (void)tocsin_task_state(user->references[i]);
    tocsin_join_deinit(&join);
    tocsin_waker_drop(&cx.waker);
    tocsin_task_unref(user->references[i]);
}

static void use_all(void *arg)
{
    struct user *user = arg;

    stress_add(user->started);
    for (unsigned i = 0; i < TASKS; i++) {
        struct tocsin_task_info info;
        int r = tocsin_post(user->driver, count_post, user);

        STRESS_CHECK(r == 0 || r == -ESHUTDOWN);
        user->posts += r == 0;
        use_waker(user, i);
        r = tocsin_task_list(user->driver, &info, 1);
        STRESS_CHECK(r == -ESHUTDOWN || (r >= 0 && r <= TASKS));
        use_reference(user, i);
    }
    tocsin_driver_unref(user->driver);
}

static void race_once(struct support_random *random)
{
    struct tocsin_pool *pool = stress_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct task tasks[TASKS] = {{.drops = 0}};
    struct user users[USERS] = {{.posts = 0}};
    atomic_uint started = 0;

    for (unsigned i = 0; i < TASKS; i++) {
        STRESS_CHECK(tocsin_task_spawn_ref(driver, &tasks[i].task, &ops, "woken") == 0);
        for (unsigned j = 0; j < USERS; j++) {
            tocsin_task_ref(&tasks[i].task);
            users[j].references[i] = &tasks[i].task;
            users[j].wakers[i] = tocsin_task_waker(&tasks[i].task);
        }
    }
    for (unsigned j = 0; j < USERS; j++) {
        users[j].random.state = support_random_next(random);
        users[j].driver = tocsin_driver_ref(driver);
        users[j].started = &started;
        support_thread_start(&users[j].thread, j, use_all, &users[j]);
    }
    stress_await(&started, support_random_below(random, USERS + 1));
    for (unsigned turns = support_random_below(random, 6); turns > 0; turns--) {
        STRESS_CHECK(tocsin_pool_turn(pool) >= 0);
    }
    stress_dither(random);
    STRESS_CHECK(tocsin_pool_close(pool) == 0);
    for (unsigned j = 0; j < USERS; j++) {
        support_thread_join(&users[j].thread);
        STRESS_CHECK(stress_load(&users[j].posts_called) == users[j].posts);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        STRESS_CHECK(stress_load(&tasks[i].releases) == 0);
        tocsin_task_unref(&tasks[i].task);
        STRESS_CHECK(stress_load(&tasks[i].releases) == 1);
        STRESS_CHECK(stress_load(&tasks[i].drops) == 1);
    }
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    for (unsigned i = 0; i < count; i++) {
        race_once(random);
    }
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 1000, run);
}
