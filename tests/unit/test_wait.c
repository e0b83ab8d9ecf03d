/*
 * Waits, processes: one read for each signal, nothing consumed but by the poll that says so.
 */
#include <tocsin/process.h>
#include <tocsin/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/os.h"
#include "runtime/pool.h"
#include "tests/unit/unit.h"

static struct unit_fake fake;
static struct unit_memory memory;

static struct tocsin_pool *open_pool(void)
{
    struct tocsin_pool_options options = {.allocator = &memory.allocator};

    unit_memory_init(&memory);
    unit_fake_init(&fake, UNIT_FAKE_EDGE);
    return unit_fake_pool(&fake, &options);
}

static void close_pool(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&memory.live), 0);
}

static void event(struct tocsin_pool *pool, uint32_t events)
{
    unit_fake_event(&fake, fake.attached_id, events);
    tocsin_pool_turn(pool);
}

static void a_wait_reads_once_for_each_signal(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    int fd = eventfd(5, EFD_NONBLOCK);
    struct tocsin_wait *wait;
    uint64_t value = 0;

    (void)state;
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), fd, &wait), 0);
    assert_int_equal(tocsin_wait_poll(wait, &cx, &value), 0);
    assert_int_equal(value, 5);
    assert_int_equal(tocsin_wait_poll(wait, &cx, &value), TOCSIN_PENDING);
    assert_int_equal(value, 5);
    assert_int_equal(eventfd_write(fd, 2), 0);
    event(pool, TOCSIN_IN);
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_wait_poll(wait, &cx, NULL), 0);
    assert_int_equal(eventfd_read(fd, &value), -1); /* consumed */
    assert_int_equal(tocsin_wait_close(wait), 0);
    assert_int_equal(tocsin_wait_close(NULL), 0);
    close(fd);
    close_pool(pool);
}

static void a_cancelled_wait_leaves_the_signal_where_it_is(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    int fd = eventfd(0, EFD_NONBLOCK);
    struct tocsin_wait *wait;
    uint64_t value = 0;

    (void)state;
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), fd, &wait), 0);
    assert_int_equal(tocsin_wait_poll(wait, &cx, &value), TOCSIN_PENDING);
    assert_int_equal(eventfd_write(fd, 3), 0);
    event(pool, TOCSIN_IN);
    assert_int_equal(tocsin_wait_cancel(wait, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(unit_load(&counts.refs), 0);
    assert_int_equal(eventfd_read(fd, &value), 0);
    assert_int_equal(value, 3);
    assert_int_equal(tocsin_wait_close(wait), 0);
    close(fd);
    close_pool(pool);
}

static void a_wait_refuses_what_could_block_or_is_no_signal(void **state)
{
    struct tocsin_pool *pool = open_pool();
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    int blocking = eventfd(0, 0);
    struct tocsin_wait *wait = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), blocking, &wait), -EINVAL);
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), -1, &wait), -EBADF);
    assert_null(wait);
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), fds[0], &wait), 0);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(tocsin_wait_poll(wait, &cx, NULL), -EIO); /* not eight bytes */
    assert_int_equal(tocsin_wait_close(wait), 0);
    close(fds[0]);
    close(fds[1]);
    close(blocking);
    close_pool(pool);
}

static void a_wait_refused_by_the_backend_leaves_nothing(void **state)
{
    struct tocsin_pool *pool = open_pool();
    int fd = eventfd(0, EFD_NONBLOCK);
    struct tocsin_wait *wait = NULL;

    (void)state;
    fake.attach_result = -ENOSPC;
    assert_int_equal(tocsin_wait_open(tocsin_pool_driver(pool), fd, &wait), -ENOSPC);
    assert_null(wait);
    close(fd);
    close_pool(pool);
}

/* ---- Processes ---------------------------------------------------------------------------------
 */

/* valgrind 3.19 knows no pidfds; nor do kernels before 5.3. */
static void skip_without_pidfds(void)
{
    int fd;

    if (tocsin__process_open(getpid(), &fd) == -ENOSYS) {
        unit_skip("no pidfd_open here");
    }
    close(fd);
}

/* A child that ends when the returned descriptor is closed, with @code. */
static int start_child(pid_t *out_pid, int code)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    *out_pid = fork();
    assert_true(*out_pid >= 0);
    if (*out_pid == 0) {
        char byte;

        close(fds[1]);
        (void)!read(fds[0], &byte, 1);
        _exit(code);
    }
    close(fds[0]);
    return fds[1];
}

static void wait_for_end(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void a_child_is_reaped_once_and_the_answer_repeated(void **state)
{
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_process *process;
    struct tocsin_process_exit ended = {.code = 99};
    struct tocsin_pool *pool;
    pid_t pid;
    int fd;

    (void)state;
    skip_without_pidfds();
    pool = open_pool();
    fd = start_child(&pid, 7);
    assert_int_equal(tocsin_process_open(tocsin_pool_driver(pool), pid, &process), 0);
    assert_int_equal(tocsin_process_poll(process, &cx, &ended), TOCSIN_PENDING);
    event(pool, TOCSIN_IN); /* spurious: it lives */
    assert_int_equal(unit_load(&counts.wakes), 1);
    assert_int_equal(tocsin_process_poll(process, &cx, &ended), TOCSIN_PENDING);
    assert_int_equal(ended.code, 99);
    close(fd);
    wait_for_end(pid);
    event(pool, TOCSIN_IN);
    for (int i = 0; i < 2; i++) {
        ended = (struct tocsin_process_exit){.code = 99};
        assert_int_equal(tocsin_process_poll(process, &cx, &ended), 0);
        assert_int_equal(ended.status, 0);
        assert_int_equal(ended.code, 7);
        assert_int_equal(ended.signal, 0);
    }
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* no zombie is left */
    assert_int_equal(tocsin_process_kill(process, SIGTERM), -ESRCH);
    assert_int_equal(tocsin_process_close(process), 0);
    assert_int_equal(tocsin_process_close(NULL), 0);
    close_pool(pool);
}

static void a_process_refused_by_the_backend_leaves_nothing(void **state)
{
    struct tocsin_process *process = NULL;
    struct tocsin_pool *pool;

    (void)state;
    skip_without_pidfds();
    pool = open_pool();
    fake.attach_result = -ENOSPC;
    assert_int_equal(tocsin_process_open(tocsin_pool_driver(pool), getpid(), &process), -ENOSPC);
    assert_null(process);
    close_pool(pool);
}

static void a_child_that_somebody_reaped_has_no_status(void **state)
{
    struct unit_waker counts = {.refs = 0};
    struct tocsin_context cx = {.waker = unit_waker_of(&counts)};
    struct tocsin_process *process;
    struct tocsin_process_exit ended;
    struct tocsin_pool *pool;
    pid_t pid;
    int fd;

    (void)state;
    skip_without_pidfds();
    pool = open_pool();
    fd = start_child(&pid, 7);
    assert_int_equal(tocsin_process_open(tocsin_pool_driver(pool), pid, &process), 0);
    assert_int_equal(tocsin_process_kill(process, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fd);
    event(pool, TOCSIN_IN);
    assert_int_equal(tocsin_process_poll(process, &cx, &ended), 0);
    assert_int_equal(ended.status, -ECHILD);
    assert_int_equal(tocsin_process_close(process), 0);
    close_pool(pool);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_wait_reads_once_for_each_signal),
    cmocka_unit_test(a_cancelled_wait_leaves_the_signal_where_it_is),
    cmocka_unit_test(a_wait_refuses_what_could_block_or_is_no_signal),
    cmocka_unit_test(a_wait_refused_by_the_backend_leaves_nothing),
    cmocka_unit_test(a_child_is_reaped_once_and_the_answer_repeated),
    cmocka_unit_test(a_process_refused_by_the_backend_leaves_nothing),
    cmocka_unit_test(a_child_that_somebody_reaped_has_no_status),
};

UNIT_MAIN(tests)
