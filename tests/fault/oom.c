/*
 * Out of memory at each allocation of each public operation.
 *
 * malloc(3) and calloc(3) of the library are wrapped.  An operation is tried with the first
 * allocation failing, then the second, and so on until it needs no more.  Each time it must answer
 * -ENOMEM and leave things so that it works when it is tried again; in the end nothing is left.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/memory.h"

/* ---- Pools -------------------------------------------------------------------------------------
 */

static void open_pool(struct fixture *fixture)
{
    fixture->result = tocsin_pool_open(&fixture->pool, NULL, NULL);
}

static void close_pool(struct fixture *fixture)
{
    FAULT_EXPECT(tocsin_pool_close(fixture->pool), 0);
}

static void pool_open_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.attempt = open_pool, .undo = close_pool, .no_pool = true});
}

static void spawn_thread(struct fixture *fixture)
{
    fixture->result =
        tocsin_pool_spawn_thread(&fixture->thread, &fixture->driver, "oom", NULL, NULL);
}

static void join_thread(struct fixture *fixture)
{
    tocsin_driver_unref(fixture->driver);
    FAULT_EXPECT(tocsin_pool_thread_join(fixture->thread), 0);
}

static void spawn_thread_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.attempt = spawn_thread, .undo = join_thread, .no_pool = true});
}

static int count_program(struct tocsin_context *cx, void *arg)
{
    struct fixture *fixture = arg;

    (void)cx;
    return ++fixture->calls;
}

static void run_with(struct fixture *fixture)
{
    int result = -9;

    fixture->result = tocsin_run_with(count_program, fixture, &result);
    FAULT_EXPECT(result, fixture->result == 0 ? 1 : -9); /* called once, when it worked */
}

static void run_with_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = run_with, .no_pool = true});
}

static int count_polls(struct tocsin_context *cx, void *arg)
{
    struct fixture *fixture = arg;

    tocsin_waker_wake_by_ref(&cx->waker);
    return ++fixture->calls < 3 ? TOCSIN_PENDING : 0;
}

static void block_on(struct fixture *fixture)
{
    int result = -9;

    fixture->result = tocsin_block_on(count_polls, fixture, &result);
    FAULT_EXPECT(fixture->calls, fixture->result == 0 ? 3 : 0);
}

static void block_on_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = block_on, .no_pool = true});
}

/* ---- Tasks and posts ---------------------------------------------------------------------------
 */

static int poll_pending(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return TOCSIN_PENDING;
}

static int poll_ready(struct tocsin_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 6;
}

static void no_release(struct tocsin_task *task)
{
    (void)task;
}

static const struct tocsin_task_ops pending_ops = {.poll = poll_pending, .release = no_release};
static const struct tocsin_task_ops ready_ops = {.poll = poll_ready, .release = no_release};

static void spawn(struct fixture *fixture)
{
    fixture->result =
        tocsin_task_spawn(fixture->driver, &fixture->tasks[PREPARED_MAX], &ready_ops, "late");
}

static void run_tasks(struct fixture *fixture)
{
    int result = 0;

    tocsin_task_ref(&fixture->tasks[PREPARED_MAX]);
    FAULT_EXPECT(tocsin_pool_run_until(fixture->pool, &fixture->tasks[PREPARED_MAX], &result), 0);
    FAULT_EXPECT(result, 6);
    tocsin_task_unref(&fixture->tasks[PREPARED_MAX]);
}

/* Runs in the turn that the tasks are spawned in. */
static void fill_own_rows(void *arg)
{
    struct fixture *fixture = arg;

    for (int i = 0; i < PREPARED_MAX; i++) {
        FAULT_EXPECT(tocsin_task_spawn(fixture->driver, &fixture->tasks[i], &pending_ops, "filler"),
                     0);
    }
}

static void fill_rows_in_turn(struct fixture *fixture)
{
    fault_in_turn(fixture->pool, NULL, fill_own_rows, fixture);
}

static void fill_rows_elsewhere(struct fixture *fixture)
{
    fill_own_rows(fixture); /* outside of a turn this thread counts as another */
}

/* A task spawned in a turn has ended before this could take a reference: it only runs. */
static void run_turn(struct fixture *fixture)
{
    FAULT_CHECK(tocsin_pool_turn(fixture->pool) >= 0);
}

static void spawn_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = spawn, .undo = run_turn, .in_turn = true});
    memory_run_operation(&(struct operation){
        .prepare = fill_rows_in_turn, .attempt = spawn, .undo = run_turn, .in_turn = true});
}

static void remote_spawn_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = spawn, .undo = run_tasks});
    memory_run_operation(
        &(struct operation){.prepare = fill_rows_elsewhere, .attempt = spawn, .undo = run_tasks});
}

static void count_post(void *arg, int status)
{
    struct fixture *fixture = arg;

    FAULT_EXPECT(status, 0);
    fixture->calls++;
}

static void post(struct fixture *fixture)
{
    fixture->result = tocsin_post(fixture->driver, count_post, fixture);
}

/* In a turn posts that have run leave their memory behind: go on until that is used up. */
static void post_often(struct fixture *fixture)
{
    int count = fixture->calls + 5;

    for (int i = 0; i < count && fixture->result >= 0; i++) {
        post(fixture);
    }
}

static void run_posts(struct fixture *fixture)
{
    FAULT_EXPECT(tocsin_pool_run(fixture->pool), 0);
    FAULT_CHECK(fixture->calls >= 1);
}

static void post_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = post, .undo = run_posts});
    memory_run_operation(
        &(struct operation){.attempt = post_often, .undo = run_posts, .in_turn = true});
}

static void *run_pool(void *arg)
{
    struct fixture *fixture = arg;

    FAULT_EXPECT(tocsin_pool_run(fixture->pool), 0);
    FAULT_EXPECT(tocsin_pool_close(fixture->pool), 0);
    return NULL;
}

static void task_join_without_memory(void)
{
    struct fixture fixture = {.pool = fault_pool()};
    struct tocsin_task *task = &fixture.tasks[0];
    pthread_t thread;
    int result = -9;

    FAULT_EXPECT(tocsin_task_spawn_ref(tocsin_pool_driver(fixture.pool), task, &ready_ops, "j"), 0);
    atomic_store_explicit(&memory_fail_in, 1, memory_order_relaxed);
    FAULT_EXPECT(tocsin_task_join(task, &result), -ENOMEM);
    FAULT_EXPECT(result, -9);
    FAULT_EXPECT(pthread_create(&thread, NULL, run_pool, &fixture), 0);
    FAULT_EXPECT(tocsin_task_join(task, &result), 0);
    FAULT_EXPECT(result, 6);
    FAULT_EXPECT(pthread_join(thread, NULL), 0);
    tocsin_task_unref(task);
    FAULT_EXPECT(atomic_load_explicit(&memory_live, memory_order_relaxed), 0);
}

/* ---- Timers ------------------------------------------------------------------------------------
 */

static void count_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct fixture *fixture = arg;

    (void)timer;
    (void)missed;
    fixture->calls++;
}

static void init_timer(struct fixture *fixture)
{
    fixture->result =
        tocsin_timer_init(&fixture->timers[PREPARED_MAX], fixture->driver, count_timer, fixture);
}

static void fire_timer(struct fixture *fixture)
{
    struct tocsin_timer *timer = &fixture->timers[PREPARED_MAX];

    tocsin_timer_arm(timer, 1);
    FAULT_CHECK(tocsin_pool_turn(fixture->pool) >= 0);
    FAULT_EXPECT(fixture->calls, 1);
    tocsin_timer_deinit(timer);
}

/* Of the heap's first 16 places all are taken, and what they hold must not suffer. */
static void arm_16_timers(struct fixture *fixture)
{
    for (int i = 0; i < 16; i++) {
        FAULT_EXPECT(tocsin_timer_init(&fixture->timers[i], fixture->driver, count_timer, fixture),
                     0);
        tocsin_timer_arm(&fixture->timers[i], TOCSIN_NEVER_NS - 100 - (uint64_t)i);
    }
}

static void fire_17_timers(struct fixture *fixture)
{
    fire_timer(fixture);
    for (int i = 0; i < 16; i++) {
        FAULT_CHECK(tocsin_timer_deadline_ns(&fixture->timers[i]) ==
                    TOCSIN_NEVER_NS - 100 - (uint64_t)i);
        tocsin_timer_deinit(&fixture->timers[i]);
    }
}

static void timer_init_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = init_timer, .undo = fire_timer});
    memory_run_operation(&(struct operation){
        .prepare = arm_16_timers, .attempt = init_timer, .undo = fire_17_timers});
}

/* ---- Readiness and what stands on it -----------------------------------------------------------
 */

static void make_pipe(struct fixture *fixture)
{
    FAULT_EXPECT(tocsin_pipe_pair(&fixture->fds[0], &fixture->fds[1]), 0);
}

static void make_pair(struct fixture *fixture)
{
    FAULT_EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fixture->fds), 0);
}

static void make_eventfd(struct fixture *fixture)
{
    fixture->fds[0] = eventfd(0, EFD_NONBLOCK);
    FAULT_CHECK(fixture->fds[0] > 0);
}

static void open_ready(struct fixture *fixture)
{
    fixture->result =
        tocsin_fd_ready_open(fixture->driver, fixture->fds[0], &fixture->readies[PREPARED_MAX]);
}

static int keep_nothing(struct tocsin_fd_ready *ready)
{
    struct tocsin_context cx = {.driver = NULL};

    return tocsin_fd_ready_poll(ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx);
}

/* The object works: a byte makes it ready. */
static void use_ready(struct fixture *fixture)
{
    struct tocsin_fd_ready *ready = fixture->readies[PREPARED_MAX];

    FAULT_EXPECT(keep_nothing(ready), TOCSIN_PENDING);
    FAULT_EXPECT(write(fixture->fds[1], "a", 1), 1);
    FAULT_CHECK(tocsin_pool_turn(fixture->pool) >= 0);
    FAULT_EXPECT(keep_nothing(ready), TOCSIN_IN);
    FAULT_EXPECT(tocsin_fd_ready_close(ready), 0);
}

/* 64 slots are taken, and the number of the next one is beyond the table. */
static void open_64_readies(struct fixture *fixture)
{
    int high;

    make_pipe(fixture);
    for (int i = 0; i < PREPARED_MAX; i++) {
        fixture->copies[i] = dup(fixture->fds[1]);
        FAULT_CHECK(fixture->copies[i] > 0);
        FAULT_EXPECT(
            tocsin_fd_ready_open(fixture->driver, fixture->copies[i], &fixture->readies[i]), 0);
    }
    high = dup2(fixture->fds[0], 600);
    FAULT_EXPECT(high, 600);
    close(fixture->fds[0]);
    fixture->fds[0] = high;
}

static void use_65_readies(struct fixture *fixture)
{
    use_ready(fixture);
    for (int i = 0; i < PREPARED_MAX; i++) {
        FAULT_EXPECT(tocsin_fd_ready_close(fixture->readies[i]), 0);
        close(fixture->copies[i]);
    }
}

static void fd_ready_open_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.prepare = make_pipe, .attempt = open_ready, .undo = use_ready});
    memory_run_operation(&(struct operation){
        .prepare = open_64_readies, .attempt = open_ready, .undo = use_65_readies});
    memory_run_operation(&(struct operation){.prepare = open_64_readies,
                                             .attempt = open_ready,
                                             .undo = use_65_readies,
                                             .in_turn = true});
}

static void count_watch(struct tocsin_watch *watch, int events, void *arg)
{
    struct fixture *fixture = arg;

    (void)watch;
    FAULT_EXPECT(events, TOCSIN_IN);
    fixture->calls++;
}

static void start_watch(struct fixture *fixture)
{
    fixture->result = tocsin_watch_start(&fixture->watch, fixture->driver, fixture->fds[0],
                                         TOCSIN_IN, count_watch, fixture);
}

static void use_watch(struct fixture *fixture)
{
    FAULT_EXPECT(write(fixture->fds[1], "a", 1), 1);
    FAULT_EXPECT(tocsin_pool_turn(fixture->pool), 1);
    FAULT_EXPECT(fixture->calls, 1);
    FAULT_EXPECT(tocsin_watch_stop(&fixture->watch), 0);
    FAULT_EXPECT(tocsin_pool_turn(fixture->pool), 0); /* it alone kept the pool alive */
}

static void watch_start_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.prepare = make_pipe, .attempt = start_watch, .undo = use_watch});
}

static void open_socket(struct fixture *fixture)
{
    fixture->result = tocsin_socket_open(fixture->driver, fixture->fds[0], &fixture->socket);
}

static void use_socket(struct fixture *fixture)
{
    struct tocsin_context cx = {.driver = NULL};

    FAULT_EXPECT(tocsin_socket_write(fixture->socket, "a", 1, &cx), 1);
    FAULT_EXPECT(tocsin_socket_close(fixture->socket), 0);
    fixture->fds[0] = 0;
}

static void socket_open_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.prepare = make_pair, .attempt = open_socket, .undo = use_socket});
}

static void open_pipe(struct fixture *fixture)
{
    fixture->result = tocsin_pipe_open(fixture->driver, fixture->fds[0], &fixture->pipe);
}

static void use_pipe(struct fixture *fixture)
{
    struct tocsin_context cx = {.driver = NULL};
    char byte = 0;

    FAULT_EXPECT(write(fixture->fds[1], "a", 1), 1);
    FAULT_EXPECT(tocsin_pipe_read(fixture->pipe, &byte, 1, &cx), 1);
    FAULT_EXPECT(tocsin_pipe_close(fixture->pipe), 0);
    fixture->fds[0] = 0;
}

static void pipe_open_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.prepare = make_pipe, .attempt = open_pipe, .undo = use_pipe});
}

static void open_wait(struct fixture *fixture)
{
    fixture->result = tocsin_wait_open(fixture->driver, fixture->fds[0], &fixture->wait);
}

static void use_wait(struct fixture *fixture)
{
    struct tocsin_context cx = {.driver = NULL};
    uint64_t value = 0;

    FAULT_EXPECT(eventfd_write(fixture->fds[0], 4), 0);
    FAULT_EXPECT(tocsin_wait_poll(fixture->wait, &cx, &value), 0);
    FAULT_EXPECT((long)value, 4);
    FAULT_EXPECT(tocsin_wait_close(fixture->wait), 0);
}

static void wait_open_without_memory(void)
{
    memory_run_operation(
        &(struct operation){.prepare = make_eventfd, .attempt = open_wait, .undo = use_wait});
}

static void open_process(struct fixture *fixture)
{
    fixture->result = tocsin_process_open(fixture->driver, getpid(), &fixture->process);
}

static void use_process(struct fixture *fixture)
{
    FAULT_EXPECT(tocsin_process_kill(fixture->process, 0), 0);
    FAULT_EXPECT(tocsin_process_close(fixture->process), 0);
}

static void process_open_without_memory(void)
{
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_process *process;

    if (tocsin_process_open(tocsin_pool_driver(pool), getpid(), &process) == -ENOSYS) {
        fault_skip("no pidfd_open here");
    }
    tocsin_process_close(process);
    tocsin_pool_close(pool);
    memory_run_operation(&(struct operation){.attempt = open_process, .undo = use_process});
}

static void open_signals(struct fixture *fixture)
{
    static const int signals[] = {SIGUSR1};

    fixture->result = tocsin_signals_open(fixture->driver, signals, 1, &fixture->signals);
}

static void use_signals(struct fixture *fixture)
{
    struct tocsin_context cx = {.driver = NULL};

    FAULT_EXPECT(tocsin_signals_poll(fixture->signals, &cx, NULL), TOCSIN_PENDING);
    FAULT_EXPECT(tocsin_signals_close(fixture->signals), 0);
}

static void signals_open_without_memory(void)
{
    memory_run_operation(&(struct operation){.attempt = open_signals, .undo = use_signals});
}

/* ---- What must not allocate --------------------------------------------------------------------
 */

struct worker {
    struct fixture *fixture;
    struct tocsin_waker waker;
    struct tocsin_timer *timer;
};

static void wake_and_move(void *arg)
{
    struct worker *worker = arg;

    tocsin_waker_wake_by_ref(&worker->waker);
    tocsin_timer_move(worker->timer, 1);
    FAULT_EXPECT(tocsin_task_cancel(&worker->fixture->tasks[0]), 0);
}

static void wakes_timers_and_events_allocate_nothing(void)
{
    struct fixture fixture = {.pool = fault_pool()};
    struct worker worker = {.fixture = &fixture, .timer = &fixture.timers[0]};
    struct tocsin_join join;
    int result = 0;
    int calls;

    fixture.driver = tocsin_pool_driver(fixture.pool);
    make_pipe(&fixture);
    open_ready(&fixture);
    FAULT_EXPECT(tocsin_task_spawn_ref(fixture.driver, &fixture.tasks[0], &pending_ops, "w"), 0);
    FAULT_EXPECT(tocsin_timer_init(worker.timer, fixture.driver, count_timer, &fixture), 0);
    worker.waker = tocsin_task_waker(&fixture.tasks[0]);
    FAULT_EXPECT(tocsin_pool_turn(fixture.pool), 1);

    calls = atomic_load_explicit(&memory_calls, memory_order_relaxed);
    FAULT_CHECK(calls > 0); /* they are counted */
    atomic_store_explicit(&memory_fail_all, true, memory_order_relaxed);
    tocsin_timer_arm(worker.timer, TOCSIN_NEVER_NS - 1);
    tocsin_join_init(&join, &fixture.tasks[0]);
    FAULT_EXPECT(tocsin_join_poll(&join, &(struct tocsin_context){.driver = NULL}, &result),
                 TOCSIN_PENDING);
    FAULT_EXPECT(memory_elsewhere(wake_and_move, &worker), 0);
    FAULT_EXPECT(tocsin_pool_run(fixture.pool), 0);
    FAULT_EXPECT(fixture.calls, 1);
    FAULT_EXPECT(tocsin_join_poll(&join, &(struct tocsin_context){.driver = NULL}, &result), 0);
    FAULT_EXPECT(result, -ECANCELED);
    use_ready(&fixture);
    FAULT_EXPECT(atomic_load_explicit(&memory_calls, memory_order_relaxed), calls);
    tocsin_join_deinit(&join);
    tocsin_waker_drop(&worker.waker);
    tocsin_task_unref(&fixture.tasks[0]);
    tocsin_timer_deinit(worker.timer);
    FAULT_EXPECT(tocsin_pool_close(fixture.pool), 0);
    FAULT_EXPECT(atomic_load_explicit(&memory_live, memory_order_relaxed), 0);
}

static const struct fault_case cases[] = {
    {"pool_open_without_memory", pool_open_without_memory},
    {"spawn_thread_without_memory", spawn_thread_without_memory},
    {"run_with_without_memory", run_with_without_memory},
    {"block_on_without_memory", block_on_without_memory},
    {"spawn_without_memory", spawn_without_memory},
    {"remote_spawn_without_memory", remote_spawn_without_memory},
    {"post_without_memory", post_without_memory},
    {"task_join_without_memory", task_join_without_memory},
    {"timer_init_without_memory", timer_init_without_memory},
    {"fd_ready_open_without_memory", fd_ready_open_without_memory},
    {"watch_start_without_memory", watch_start_without_memory},
    {"socket_open_without_memory", socket_open_without_memory},
    {"pipe_open_without_memory", pipe_open_without_memory},
    {"wait_open_without_memory", wait_open_without_memory},
    {"process_open_without_memory", process_open_without_memory},
    {"signals_open_without_memory", signals_open_without_memory},
    {"wakes_timers_and_events_allocate_nothing", wakes_timers_and_events_allocate_nothing},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
