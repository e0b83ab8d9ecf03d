/*
 * What wakes, cancels, timers and readiness cost: no memory; and on a pool that runs a wake takes
 * no lock and makes no system call (W1).
 *
 * malloc(3), calloc(3) and tocsin__mutex_lock() of the library are wrapped and counted.  For system
 * calls the waking threads put a filter on themselves that kills the process at any: that it does
 * is shown first.
 */
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/os.h"
#include "tests/fault/memory.h"

enum {
    TARGETS = 32,
    WAKERS = 2,
    ROUNDS = 100,
};

static atomic_uint locks; /* taken so far */

void __real_tocsin__mutex_lock(struct tocsin__mutex *mutex);
void __wrap_tocsin__mutex_lock(struct tocsin__mutex *mutex);

void __wrap_tocsin__mutex_lock(struct tocsin__mutex *mutex)
{
    atomic_fetch_add_explicit(&locks, 1, memory_order_relaxed);
    __real_tocsin__mutex_lock(mutex);
}

static unsigned locks_taken(void)
{
    return atomic_load_explicit(&locks, memory_order_relaxed);
}

static int allocations(void)
{
    return atomic_load_explicit(&memory_calls, memory_order_relaxed);
}

/* ---- A pool with tasks to wake and a timer to move ---------------------------------------------
 */

/* Ready at its second poll. */
struct target {
    struct tocsin_task task;
    struct tocsin_waker waker;
    unsigned polls;
};

struct scene {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    struct target targets[TARGETS];
    struct tocsin_timer timer;
    unsigned fired;
    /* The task that holds the pool in its poll until all wakers have finished. */
    struct tocsin_task holder;
    atomic_bool is_held;
    atomic_uint finished;
    unsigned locks_held; /* taken meanwhile */
};

static int poll_target(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct target *target = (struct target *)(void *)task;

    (void)cx;
    return ++target->polls < 2 ? TOCSIN_PENDING : 0;
}

static void no_release(struct tocsin_task *task)
{
    (void)task;
}

static const struct tocsin_task_ops target_ops = {.poll = poll_target, .release = no_release};

static void count_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct scene *scene = arg;

    (void)timer;
    (void)missed;
    scene->fired++;
}

static void spawn_targets(struct scene *scene)
{
    for (int i = 0; i < TARGETS; i++) {
        struct target *target = &scene->targets[i];

        target->polls = 0;
        FAULT_EXPECT(tocsin_task_spawn_ref(scene->driver, &target->task, &target_ops, "t"), 0);
        target->waker = tocsin_task_waker(&target->task);
    }
}

static void open_scene(struct scene *scene)
{
    *scene = (struct scene){.pool = fault_pool()};
    scene->driver = tocsin_pool_driver(scene->pool);
    spawn_targets(scene);
    FAULT_EXPECT(tocsin_timer_init(&scene->timer, scene->driver, count_timer, scene), 0);
    tocsin_timer_arm(&scene->timer, TOCSIN_NEVER_NS - 1);
    FAULT_EXPECT(tocsin_pool_turn(scene->pool), 1);
    FAULT_CHECK(allocations() > 0 && locks_taken() > 0); /* they are counted */
}

static void close_scene(struct scene *scene)
{
    for (int i = 0; i < TARGETS; i++) {
        tocsin_waker_drop(&scene->targets[i].waker);
        tocsin_task_unref(&scene->targets[i].task);
    }
    tocsin_timer_deinit(&scene->timer);
    FAULT_EXPECT(tocsin_pool_close(scene->pool), 0);
    FAULT_EXPECT(atomic_load_explicit(&memory_live, memory_order_relaxed), 0);
}

static void check_all_came(const struct scene *scene, unsigned polls)
{
    for (int i = 0; i < TARGETS; i++) {
        FAULT_EXPECT(scene->targets[i].polls, polls);
    }
    FAULT_EXPECT(scene->fired, 1);
}

/* ---- Memory ------------------------------------------------------------------------------------
 */

static void wake_all(void *arg)
{
    struct scene *scene = arg;

    for (int i = 0; i < TARGETS; i++) {
        struct tocsin_waker waker = tocsin_waker_clone(&scene->targets[i].waker);

        tocsin_waker_wake_by_ref(&waker);
        tocsin_waker_wake(&waker);
    }
    tocsin_timer_move(&scene->timer, 1);
}

static void cancel_all(void *arg)
{
    struct scene *scene = arg;

    for (int i = 0; i < TARGETS; i++) {
        FAULT_EXPECT(tocsin_task_cancel(&scene->targets[i].task), 0);
    }
    tocsin_timer_move(&scene->timer, 1);
}

static void check_remote(support_body_fn *fn, unsigned polls)
{
    struct scene scene;
    int before;

    open_scene(&scene);
    before = allocations();
    FAULT_EXPECT(memory_elsewhere(fn, &scene), 0);
    FAULT_EXPECT(tocsin_pool_run(scene.pool), 0);
    FAULT_EXPECT(allocations(), before);
    check_all_came(&scene, polls);
    close_scene(&scene);
}

static void remote_wakes_allocate_nothing(void)
{
    check_remote(wake_all, 2);
}

static void remote_cancels_allocate_nothing(void)
{
    check_remote(cancel_all, 1);
}

static void move_often(void *arg)
{
    struct scene *scene = arg;

    for (uint64_t i = 1; i <= ROUNDS; i++) {
        tocsin_timer_move(&scene->timer, TOCSIN_NEVER_NS - 1 - i);
    }
}

static void moves_allocate_nothing(void)
{
    struct scene scene;
    int before;

    open_scene(&scene);
    before = allocations();
    FAULT_EXPECT(memory_elsewhere(move_often, &scene), 0);
    FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1);
    FAULT_CHECK(tocsin_timer_deadline_ns(&scene.timer) == TOCSIN_NEVER_NS - 1 - ROUNDS);
    for (uint64_t i = 1; i <= ROUNDS; i++) { /* and on the pool's own thread */
        tocsin_timer_move(&scene.timer, i);
        FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1);
        FAULT_EXPECT(scene.fired, (long)i);
    }
    FAULT_EXPECT(allocations(), before);
    close_scene(&scene);
}

static void join_polls_allocate_nothing(void)
{
    struct tocsin_context cx;
    struct tocsin_join join;
    struct scene scene;
    int result = -9;
    int before;

    open_scene(&scene);
    cx = (struct tocsin_context){.waker = scene.targets[1].waker, .driver = scene.driver};
    tocsin_join_init(&join, &scene.targets[0].task);
    before = allocations();
    for (int i = 0; i < ROUNDS; i++) {
        cx.waker = scene.targets[1 + i % 2].waker; /* another than the one that is kept */
        FAULT_EXPECT(tocsin_join_poll(&join, &cx, &result), TOCSIN_PENDING);
    }
    tocsin_waker_wake_by_ref(&scene.targets[0].waker);
    FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1);
    FAULT_EXPECT(tocsin_join_poll(&join, &cx, &result), 0);
    FAULT_EXPECT(result, 0);
    FAULT_EXPECT(allocations(), before);
    tocsin_join_deinit(&join);
    close_scene(&scene);
}

static void events_allocate_nothing(void)
{
    struct tocsin_fd_ready *ready = NULL;
    struct tocsin_context cx;
    struct scene scene;
    char byte = 0;
    int fds[2];
    int before;

    open_scene(&scene);
    cx = (struct tocsin_context){.waker = scene.targets[0].waker, .driver = scene.driver};
    FAULT_EXPECT(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    FAULT_EXPECT(tocsin_fd_ready_open(scene.driver, fds[0], &ready), 0);
    FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1); /* some backends attach there */
    before = allocations();
    for (int i = 0; i < ROUNDS; i++) {
        cx.waker = scene.targets[i % 2].waker;
        FAULT_EXPECT(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_PENDING);
        FAULT_EXPECT(write(fds[1], "a", 1), 1);
        FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1);
        FAULT_EXPECT(tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx), TOCSIN_IN);
        FAULT_EXPECT(read(fds[0], &byte, 1), 1);
        tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    }
    FAULT_EXPECT(allocations(), before);
    FAULT_EXPECT(tocsin_fd_ready_close(ready), 0);
    close(fds[0]);
    close(fds[1]);
    close_scene(&scene);
}

struct seen {
    int fd;
    int calls;
};

static void see(struct tocsin_watch *watch, int events, void *arg)
{
    struct seen *seen = arg;
    char byte = 0;

    (void)watch;
    FAULT_EXPECT(events, TOCSIN_IN);
    FAULT_EXPECT(read(seen->fd, &byte, 1), 1);
    seen->calls++;
}

static void watch_callbacks_allocate_nothing(void)
{
    struct tocsin_watch watch = {.ready_ = NULL};
    struct seen seen = {.calls = 0};
    struct scene scene;
    int fds[2];
    int before;

    open_scene(&scene);
    FAULT_EXPECT(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    seen.fd = fds[0];
    FAULT_EXPECT(tocsin_watch_start(&watch, scene.driver, fds[0], TOCSIN_IN, see, &seen), 0);
    FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1); /* some backends attach there */
    before = allocations();
    for (int i = 0; i < ROUNDS; i++) {
        FAULT_EXPECT(write(fds[1], "a", 1), 1);
        FAULT_EXPECT(tocsin_pool_turn(scene.pool), 1);
        FAULT_EXPECT(seen.calls, i + 1);
    }
    FAULT_EXPECT(allocations(), before);
    FAULT_EXPECT(tocsin_watch_stop(&watch), 0);
    close(fds[0]);
    close(fds[1]);
    close_scene(&scene);
}

/* ---- A pool that runs --------------------------------------------------------------------------
 */

static int poll_holder(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct scene *scene = (struct scene *)(void *)((char *)task - offsetof(struct scene, holder));
    unsigned before = locks_taken();

    (void)cx;
    atomic_store_explicit(&scene->is_held, true, memory_order_release);
    while (atomic_load_explicit(&scene->finished, memory_order_acquire) < WAKERS) {
        sched_yield();
    }
    scene->locks_held = locks_taken() - before;
    return 0;
}

static const struct tocsin_task_ops holder_ops = {.poll = poll_holder, .release = no_release};

static void await_holder(struct scene *scene)
{
    while (!atomic_load_explicit(&scene->is_held, memory_order_acquire)) {
        sched_yield();
    }
}

static void wake_often(struct scene *scene)
{
    for (int i = 0; i < ROUNDS; i++) {
        wake_all(scene);
    }
    atomic_fetch_add_explicit(&scene->finished, 1, memory_order_release);
}

static void wake_when_held(void *arg)
{
    await_holder(arg);
    wake_often(arg);
}

static void wake_without_calls(void *arg)
{
    await_holder(arg);
    fault_forbid_calls();
    wake_often(arg);
    syscall(SYS_exit, 0); /* libc's own way out of a thread has more calls */
}

/* Run the pool, held awake, with @fn on two threads that wake it. */
static void run_held(struct scene *scene, struct support_thread *threads, support_body_fn *fn)
{
    FAULT_EXPECT(tocsin_task_spawn(scene->driver, &scene->holder, &holder_ops, "holder"), 0);
    for (unsigned i = 0; i < WAKERS; i++) {
        support_thread_start(&threads[i], i, fn, scene);
    }
    FAULT_EXPECT(tocsin_pool_run(scene->pool), 0);
    check_all_came(scene, 2);
}

static void wakes_of_a_running_pool_take_no_lock(void)
{
    struct support_thread threads[WAKERS];
    struct scene scene;
    int before;

    open_scene(&scene);
    before = allocations();
    run_held(&scene, threads, wake_when_held);
    FAULT_EXPECT(scene.locks_held, 0);
    FAULT_EXPECT(allocations(), before);
    for (unsigned i = 0; i < WAKERS; i++) {
        support_thread_join(&threads[i]);
    }
    close_scene(&scene);
}

static void wakes_of_a_running_pool_make_no_system_call(void)
{
    struct support_thread threads[WAKERS];
    struct scene scene;

    fault_calls_can_be_forbidden();
    open_scene(&scene);
    run_held(&scene, threads, wake_without_calls);
    _exit(0); /* the threads are not libc's to join any more */
}

static const struct fault_case cases[] = {
    {"remote_wakes_allocate_nothing", remote_wakes_allocate_nothing},
    {"remote_cancels_allocate_nothing", remote_cancels_allocate_nothing},
    {"moves_allocate_nothing", moves_allocate_nothing},
    {"join_polls_allocate_nothing", join_polls_allocate_nothing},
    {"events_allocate_nothing", events_allocate_nothing},
    {"watch_callbacks_allocate_nothing", watch_callbacks_allocate_nothing},
    {"wakes_of_a_running_pool_take_no_lock", wakes_of_a_running_pool_take_no_lock},
    {"wakes_of_a_running_pool_make_no_system_call", wakes_of_a_running_pool_make_no_system_call},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
