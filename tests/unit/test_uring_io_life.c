/*
 * The life of typed operations, with a ring and without: cancel, drop, the pool's end, threads,
 * fork, and what a start leaves that fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/uring_io.h"

/* ---- Life ----------------------------------------------------------------------------------- */

/* One pending operation of every kind that can be. */
struct pending {
    struct tocsin_pool *pool;
    struct uring_io_counted ios[8];
    unsigned count;
    struct sockaddr_in addr;
    int listener;
    int sockets[2];
    int pipes[2];
    char buffer[64];
};

static void pending_start(struct pending *pending, struct tocsin_pool *pool)
{
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted *io = pending->ios;
    char *fill = calloc(1, 1 << 16);

    pending->pool = pool;
    pending->listener = uring_io_listen(&pending->addr);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pending->sockets), 0);
    assert_int_equal(pipe2(pending->pipes, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(pending->pipes[1], fill, 1 << 16) > 0) {
    }
    free(fill);
    for (unsigned i = 0; i < UNIT_COUNT(pending->ios); i++) {
        uring_io_init(&io[i]);
    }
    memset(pending->buffer, '.', sizeof(pending->buffer));
    UNIT_CHECK(tocsin_uring_io_read(driver, &(io++)->io, pending->sockets[0], pending->buffer, 8,
                                    -1) == 0);
    UNIT_CHECK(
        tocsin_uring_io_recv(driver, &(io++)->io, pending->sockets[1], pending->buffer, 8, 0) == 0);
    UNIT_CHECK(tocsin_uring_io_write(driver, &(io++)->io, pending->pipes[1], "full", 4, -1) == 0);
    UNIT_CHECK(tocsin_uring_io_accept(driver, &(io++)->io, pending->listener, NULL, NULL, 0) == 0);
    UNIT_CHECK(tocsin_uring_io_timeout(driver, &(io++)->io, TOCSIN_NEVER_NS) == 0);
    UNIT_CHECK(tocsin_uring_io_poll_fd(driver, &(io++)->io, pending->sockets[0], TOCSIN_IN) == 0);
    pending->count = (unsigned)(io - pending->ios);
}

static void pending_close(struct pending *pending)
{
    for (unsigned i = 0; i < sizeof(pending->buffer); i++) {
        assert_int_equal(pending->buffer[i], '.'); /* nobody has written there */
    }
    close(pending->listener);
    close(pending->sockets[0]);
    close(pending->sockets[1]);
    close(pending->pipes[0]);
    close(pending->pipes[1]);
}

static void a_cancel_gives_the_result_that_says_so(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct pending pending;

    pending_start(&pending, pool);
    uring_io_turn(pool);
    for (unsigned i = 0; i < pending.count; i++) {
        assert_int_equal(uring_io_glance(&pending.ios[i].io, NULL), TOCSIN_PENDING);
        assert_int_equal(tocsin_uring_io_cancel(&pending.ios[i].io), 0);
        assert_int_equal(tocsin_uring_io_cancel(&pending.ios[i].io), 0);
        assert_int_equal(uring_io_finish(pool, &pending.ios[i].io), -ECANCELED);
        assert_int_equal(tocsin_uring_io_cancel(&pending.ios[i].io), -EALREADY);
        uring_io_drop_idle(&pending.ios[i]);
    }
    assert_int_equal(tocsin_pool_run(pool), 0); /* nothing keeps it going any more */
    pending_close(&pending);
    uring_io_pool_close(pool);
}

static void a_drop_releases_once_and_tells_late(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct pending pending;

    pending_start(&pending, pool);
    uring_io_turn(pool);
    for (unsigned i = 0; i < pending.count; i++) {
        tocsin_uring_io_drop(&pending.ios[i].io);
    }
    assert_int_equal(tocsin_pool_run(pool), 0);
    for (unsigned i = 0; i < pending.count; i++) {
        assert_int_equal(unit_load(&pending.ios[i].releases), 1);
        assert_int_equal(unit_load(&pending.ios[i].lates), 1);
        assert_int_equal(uring_io_late_result(&pending.ios[i]), -ECANCELED);
    }
    pending_close(&pending);
    uring_io_pool_close(pool);
}

static void the_end_of_the_pool_ends_what_is_pending(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct pending pending;

    pending_start(&pending, pool);
    uring_io_turn(pool);
    assert_int_equal(tocsin_pool_close(pool), 0);
    for (unsigned i = 0; i < pending.count; i++) {
        int32_t result = URING_IO_NO_RESULT;

        if (i % 2 == 0) {
            assert_int_equal(uring_io_glance(&pending.ios[i].io, &result), 0);
            assert_int_equal(result, -ECANCELED);
            uring_io_drop_idle(&pending.ios[i]);
        } else {
            tocsin_uring_io_drop(&pending.ios[i].io);
            assert_int_equal(unit_load(&pending.ios[i].releases), 1);
            assert_int_equal(uring_io_late_result(&pending.ios[i]), -ECANCELED);
        }
    }
    pending_close(&pending);
    assert_int_equal(unit_load(&uring_io_memory.live), 0);
}

static void a_descriptor_that_nobody_took_is_told_late(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct sockaddr_in addr;
    struct uring_io_counted io;
    int listener = uring_io_listen(&addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    uring_io_init(&io);
    assert_int_equal(
        tocsin_uring_io_accept(tocsin_pool_driver(pool), &io.io, listener, NULL, NULL, 0), 0);
    assert_int_equal(connect(fd, (void *)&addr, sizeof(addr)), 0);
    assert_int_equal(tocsin_pool_run(pool), 0); /* until it has completed */
    tocsin_uring_io_drop(&io.io);
    assert_int_equal(unit_load(&io.releases), 1);
    assert_int_equal(unit_load(&io.lates), 1);
    assert_true(uring_io_late_result(&io) >= 0);
    assert_int_equal(close(uring_io_late_result(&io)), 0);
    close(fd);
    close(listener);
    uring_io_pool_close(pool);
}

static void one_operation_is_one_at_a_time(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct uring_io_counted io;
    int32_t result = URING_IO_NO_RESULT;

    uring_io_init(&io);
    assert_int_equal(uring_io_glance(&io.io, &result), -EINVAL);
    assert_int_equal(tocsin_uring_io_cancel(&io.io), -EALREADY);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tocsin_uring_io_timeout(driver, &io.io, 1), 0);
        assert_int_equal(tocsin_uring_io_timeout(driver, &io.io, 1), -EBUSY);
        assert_int_equal(tocsin_pool_run(pool), 0);
        assert_int_equal(tocsin_uring_io_timeout(driver, &io.io, 1), -EBUSY);
        assert_int_equal(uring_io_glance(&io.io, &result), 0);
        assert_int_equal(result, 0);
        assert_int_equal(uring_io_glance(&io.io, &result), -EINVAL);
    }
    uring_io_drop_idle(&io);
    uring_io_init(&io);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
    uring_io_init(&io);
    tocsin_uring_io_init(&io.io, NULL); /* without hooks */
    tocsin_uring_io_drop(&io.io);
}

static void a_start_without_memory_leaves_nothing(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    unsigned before = uring_io_descriptors();
    struct uring_io_counted io;
    char byte;
    int fds[2];
    int r;

    for (unsigned n = 1;; n++) {
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        uring_io_init(&io);
        atomic_store_explicit(&uring_io_memory.fail_at, n, memory_order_relaxed);
        r = tocsin_uring_io_read(driver, &io.io, fds[0], &byte, 1, -1);
        atomic_store_explicit(&uring_io_memory.fail_at, 0, memory_order_relaxed);
        if (r == 0) {
            assert_int_equal(tocsin_uring_io_cancel(&io.io), 0);
            assert_int_equal(uring_io_finish(pool, &io.io), -ECANCELED);
        } else {
            assert_int_equal(r, -ENOMEM);
        }
        close(fds[0]);
        close(fds[1]);
        assert_int_equal(uring_io_descriptors(), before);
        uring_io_drop_idle(&io);
        if (r == 0) {
            assert_true(n > 1); /* some allocation did fail */
            break;
        }
    }
    uring_io_pool_close(pool);
}

static void a_start_without_descriptors_says_so(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct rlimit limit;
    struct rlimit none;
    struct uring_io_counted io;
    char byte;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    uring_io_init(&io);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(tocsin_uring_io_read(tocsin_pool_driver(pool), &io.io, fds[0], &byte, 1, -1),
                     -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(fds[0]);
    close(fds[1]);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

/* ---- Threads -------------------------------------------------------------------------------- */

enum {
    REMOTE_ROUNDS = 2000,
};

struct remote {
    struct tocsin_driver *driver;
    struct uring_io_counted ios[REMOTE_ROUNDS];
    unsigned count;
    int fds[2];
    char byte;
};

/* Starts, cancels and drops, as other threads may, while the pool runs. */
static void start_and_give_up(void *arg)
{
    struct remote *remote = arg;

    for (unsigned i = 0; i < remote->count; i++) {
        struct tocsin_uring_io *io = &remote->ios[i].io;
        int r;

        uring_io_init(&remote->ios[i]);
        if (i % 4 < 2) {
            r = tocsin_uring_io_read(remote->driver, io, remote->fds[0], &remote->byte, 1, -1);
        } else {
            r = tocsin_uring_io_timeout(remote->driver, io, 1);
        }
        UNIT_CHECK(r == 0);
        if (i % 2 == 0) {
            r = tocsin_uring_io_cancel(io);
            UNIT_CHECK(r == 0 || r == -EALREADY);
        }
        tocsin_uring_io_drop(io);
    }
    tocsin_driver_unref(remote->driver);
}

static void any_thread_starts_cancels_and_drops(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct remote *remote = malloc(sizeof(*remote));
    unsigned before = uring_io_descriptors();
    struct support_thread thread;

    assert_int_equal(pipe2(remote->fds, O_CLOEXEC), 0);
    remote->count = support_scaled(REMOTE_ROUNDS);
    remote->driver = tocsin_driver_ref(tocsin_pool_driver(pool));
    support_thread_start(&thread, 1, start_and_give_up, remote);
    assert_int_equal(tocsin_pool_run(pool), 0);
    support_thread_join(&thread);
    close(remote->fds[0]);
    close(remote->fds[1]);
    uring_io_pool_close(pool);
    for (unsigned i = 0; i < remote->count; i++) {
        int32_t result = uring_io_late_result(&remote->ios[i]);

        assert_int_equal(unit_load(&remote->ios[i].releases), 1);
        assert_int_equal(unit_load(&remote->ios[i].lates), 1);
        assert_true(result == -ECANCELED || (i % 4 >= 2 && result == 0));
    }
    assert_true(uring_io_descriptors() <= before);
    free(remote);
}

static void cancel(void *arg)
{
    UNIT_CHECK(tocsin_uring_io_cancel(arg) == 0);
}

struct again {
    struct unit_task task;
    struct uring_io_counted counted;
    unsigned starts;
};

/*
 * Each time: start, have another thread cancel, and start again as soon as the result is there: in
 * the same turn without a ring, when that cancel has not arrived yet.
 */
static int start_again(struct unit_task *task, struct tocsin_context *cx)
{
    struct again *again = (struct again *)(void *)task;
    struct tocsin_uring_io *io = &again->counted.io;
    int32_t result = URING_IO_NO_RESULT;
    int r;

    if (again->starts > 0) {
        r = tocsin_uring_io_poll(io, cx, &result);
        if (r == TOCSIN_PENDING) {
            return r;
        }
        UNIT_CHECK(r == 0 && result == -ECANCELED);
    }
    if (again->starts++ == 10) {
        return 0;
    }
    UNIT_CHECK(tocsin_uring_io_timeout(cx->driver, io, TOCSIN_NEVER_NS) == 0);
    support_elsewhere(cancel, io);
    return tocsin_uring_io_poll(io, cx, &result);
}

static void a_cancel_from_elsewhere_does_not_hold_up_the_next(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct again again = {.task = {.poll = start_again}};
    int result = URING_IO_NO_RESULT;

    uring_io_init(&again.counted);
    unit_task_spawn(&again.task, tocsin_pool_driver(pool), "again");
    assert_int_equal(tocsin_pool_run_until(pool, &again.task.task, &result), 0);
    assert_int_equal(result, 0);
    tocsin_task_unref(&again.task.task);
    assert_int_equal(tocsin_pool_run(pool), 0);
    uring_io_drop_idle(&again.counted);
    uring_io_pool_close(pool);
}

static void use_after_fork(void *arg)
{
    struct uring_io_counted *io = arg;
    int32_t result;

    UNIT_CHECK(uring_io_glance(&io->io, &result) == -EOWNERDEAD);
    UNIT_CHECK(tocsin_uring_io_cancel(&io->io) == -EOWNERDEAD);
    tocsin_uring_io_drop(&io->io);
    UNIT_CHECK(unit_load(&io->releases) == 0);
}

static void start_after_fork(void *arg)
{
    struct uring_io_counted io;

    uring_io_init(&io);
    UNIT_CHECK(tocsin_uring_io_timeout(tocsin_pool_driver(arg), &io.io, 1) == -EOWNERDEAD);
    tocsin_uring_io_drop(&io.io);
    UNIT_CHECK(unit_load(&io.releases) == 1);
}

static void a_forked_child_has_none(void **state)
{
    struct tocsin_pool *pool = uring_io_pool(state);
    struct uring_io_counted io;

    uring_io_init(&io);
    assert_int_equal(tocsin_uring_io_timeout(tocsin_pool_driver(pool), &io.io, TOCSIN_NEVER_NS), 0);
    uring_io_turn(pool);
    unit_expect_return(use_after_fork, &io);
    unit_expect_return(start_after_fork, pool);
    assert_int_equal(tocsin_uring_io_cancel(&io.io), 0);
    assert_int_equal(uring_io_finish(pool, &io.io), -ECANCELED);
    uring_io_drop_idle(&io);
    uring_io_pool_close(pool);
}

static const struct CMUnitTest tests[] = {
    URING_IO_BOTH(a_cancel_gives_the_result_that_says_so),
    URING_IO_BOTH(a_drop_releases_once_and_tells_late),
    URING_IO_BOTH(the_end_of_the_pool_ends_what_is_pending),
    URING_IO_BOTH(a_descriptor_that_nobody_took_is_told_late),
    URING_IO_BOTH(one_operation_is_one_at_a_time),
    URING_IO_WITHOUT(a_start_without_memory_leaves_nothing),
    URING_IO_WITHOUT(a_start_without_descriptors_says_so),
    URING_IO_BOTH(any_thread_starts_cancels_and_drops),
    URING_IO_BOTH(a_cancel_from_elsewhere_does_not_hold_up_the_next),
    URING_IO_BOTH(a_forked_child_has_none),
};

UNIT_MAIN(tests)
