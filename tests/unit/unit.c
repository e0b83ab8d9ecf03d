/*
 * The shared part of the unit tests: see unit.h.
 */
#include "tests/unit/unit.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WATCHDOG_S = 300,
    OUTPUT_MAX = 4096,
};

static unsigned skipped;

int unit_run(const char *name, const struct CMUnitTest *tests, size_t tests_count)
{
    unsigned failed;

    alarm(WATCHDOG_S); /* a hang is a failure */
    failed = (unsigned)_cmocka_run_group_tests(name, tests, tests_count, NULL, NULL);
    fflush(stderr);
    printf("%u passed, %u failed", (unsigned)tests_count - failed - skipped, failed);
    if (skipped > 0) {
        printf(", %u skipped", skipped);
    }
    printf("\n");
    return failed != 0;
}

void unit_skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    skipped++;
    skip();
}

_Noreturn void unit_check_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    abort();
}

/* Run in a child whose standard error comes to @output.  Returns: its wait status. */
static int run_in_child(support_body_fn *fn, void *arg, char *output)
{
    size_t length = 0;
    int status;
    int fds[2];
    pid_t pid;
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    fflush(stdout);
    fflush(stderr);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        fn(arg);
        _exit(0);
    }
    close(fds[1]);
    while (length < OUTPUT_MAX - 1 &&
           (n = read(fds[0], output + length, OUTPUT_MAX - 1 - length)) > 0) {
        length += (size_t)n;
    }
    output[length] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

void unit_expect_abort(support_body_fn *fn, void *arg, const char *message)
{
    char output[OUTPUT_MAX];
    int status = run_in_child(fn, arg, output);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
        fail_msg("status %x instead of an abort: %s", (unsigned)status, output);
    }
    if (strstr(output, message) == NULL) {
        fail_msg("\"%s\" was not said, but: %s", message, output);
    }
}

void unit_expect_return(support_body_fn *fn, void *arg)
{
    char output[OUTPUT_MAX];
    int status = run_in_child(fn, arg, output);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("status %x: %s", (unsigned)status, output);
    }
}

/* What stands before each block; keeps it as aligned as malloc(3) made it. */
struct block {
    _Alignas(max_align_t) size_t size;
};

static void *counting_alloc(void *context, size_t size)
{
    struct unit_memory *memory = context;
    unsigned left = atomic_load_explicit(&memory->fail_at, memory_order_relaxed);
    struct block *block;

    /* Single-threaded where it is used to fail: no race for the count. */
    if (left > 0) {
        atomic_store_explicit(&memory->fail_at, left - 1, memory_order_relaxed);
        if (left == 1) {
            return NULL;
        }
    }
    block = malloc(sizeof(*block) + size);
    UNIT_CHECK(block != NULL);
    block->size = size;
    memset(block + 1, 0xa5, size); /* nobody may count on zeroes */
    atomic_fetch_add_explicit(&memory->allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&memory->live, 1, memory_order_relaxed);
    return block + 1;
}

static void counting_free(void *context, void *pointer)
{
    struct unit_memory *memory = context;
    struct block *block = pointer;

    if (pointer == NULL) {
        return;
    }
    block--;
    memset(pointer, 0xdd, block->size);
    free(block);
    atomic_fetch_sub_explicit(&memory->live, 1, memory_order_relaxed);
}

void unit_memory_init(struct unit_memory *memory)
{
    memory->allocator = (struct tocsin_allocator){
        .alloc = counting_alloc, .free = counting_free, .context = memory};
    atomic_init(&memory->allocations, 0);
    atomic_init(&memory->live, 0);
    atomic_init(&memory->fail_at, 0);
}

static void waker_clone(void *data)
{
    struct unit_waker *counts = data;

    atomic_fetch_add_explicit(&counts->refs, 1, memory_order_relaxed);
}

static void waker_drop(void *data)
{
    struct unit_waker *counts = data;

    UNIT_CHECK(atomic_fetch_sub_explicit(&counts->refs, 1, memory_order_relaxed) > 0);
}

static void waker_wake_by_ref(void *data)
{
    struct unit_waker *counts = data;

    atomic_fetch_add_explicit(&counts->wakes, 1, memory_order_relaxed);
}

static void waker_wake(void *data)
{
    waker_wake_by_ref(data);
    waker_drop(data);
}

static const struct tocsin_waker_ops counting_waker_ops = {
    .clone = waker_clone,
    .wake = waker_wake,
    .wake_by_ref = waker_wake_by_ref,
    .drop = waker_drop,
};

struct tocsin_waker unit_waker_of(struct unit_waker *counts)
{
    return (struct tocsin_waker){.ops = &counting_waker_ops, .data = counts};
}

static int task_poll(struct tocsin_task *base, struct tocsin_context *cx)
{
    struct unit_task *task = (struct unit_task *)(void *)base;

    atomic_fetch_add_explicit(&task->polls, 1, memory_order_relaxed);
    return task->poll != NULL ? task->poll(task, cx) : task->result;
}

static void task_drop(struct tocsin_task *base)
{
    struct unit_task *task = (struct unit_task *)(void *)base;

    atomic_fetch_add_explicit(&task->drops, 1, memory_order_relaxed);
}

static void task_release(struct tocsin_task *base)
{
    struct unit_task *task = (struct unit_task *)(void *)base;

    atomic_fetch_add_explicit(&task->releases, 1, memory_order_relaxed);
}

const struct tocsin_task_ops unit_task_ops = {
    .poll = task_poll,
    .drop = task_drop,
    .release = task_release,
};

struct in_turn {
    support_body_fn *fn;
    void *arg;
};

static void call_in_turn(void *arg, int status)
{
    const struct in_turn *in_turn = arg;

    UNIT_CHECK(status == 0);
    in_turn->fn(in_turn->arg);
}

void unit_in_turn(struct tocsin_pool *pool, support_body_fn *fn, void *arg)
{
    struct in_turn in_turn = {fn, arg};

    UNIT_CHECK(tocsin_post(tocsin_pool_driver(pool), call_in_turn, &in_turn) == 0);
    UNIT_CHECK(tocsin_pool_turn(pool) >= 0);
}

void unit_task_spawn(struct unit_task *task, struct tocsin_driver *driver, const char *name)
{
    UNIT_CHECK(tocsin_task_spawn_ref(driver, &task->task, &unit_task_ops, name) == 0);
}
