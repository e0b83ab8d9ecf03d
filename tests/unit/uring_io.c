/*
 * What the tests of the typed operations share: see uring_io.h.
 */
#include "tests/unit/uring_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool uring_io_with = true;
bool uring_io_without = false;
struct unit_memory uring_io_memory;

static struct tocsin_backend_ops plain_ops;
static struct tocsin_backend plain;

struct tocsin_pool *uring_io_pool(void *const *state)
{
    const char *name = getenv("TOCSIN_BACKEND");
    const struct tocsin_backend *backend = tocsin_backend_find(name != NULL ? name : "epoll");
    struct tocsin_pool_options options = {.allocator = &uring_io_memory.allocator};
    struct tocsin_pool *pool = NULL;
    int r;

    unit_memory_init(&uring_io_memory);
    if (name != NULL && !uring_io_has_ring(state)) {
        unit_skip("that backend is a ring");
    }
    if (!uring_io_has_ring(state)) {
        plain_ops = *backend->ops;
        plain_ops.features &= ~(uint32_t)TOCSIN_BACKEND_URING;
        plain = (struct tocsin_backend){.ops = &plain_ops};
        backend = &plain;
    }
    r = tocsin_pool_open(&pool, backend, &options);
    if (name != NULL && (r == -EPERM || r == -ENOSYS)) {
        unit_skip("the backend is refused here");
    }
    assert_int_equal(r, 0);
    if (uring_io_has_ring(state) && tocsin_uring_probe(tocsin_pool_driver(pool), 0) < 0) {
        char reason[128];

        snprintf(reason, sizeof(reason), "%s", tocsin_uring_reason(tocsin_pool_driver(pool)));
        tocsin_pool_close(pool);
        unit_skip(reason);
    }
    return pool;
}

void uring_io_pool_close(struct tocsin_pool *pool)
{
    assert_int_equal(tocsin_pool_close(pool), 0);
    assert_int_equal(unit_load(&uring_io_memory.live), 0);
}

static struct uring_io_counted *counted_of(struct tocsin_uring_io *io)
{
    return (struct uring_io_counted *)(void *)io;
}

static void count_late(struct tocsin_uring_io *io, int32_t result)
{
    atomic_fetch_add_explicit(&counted_of(io)->lates, 1, memory_order_relaxed);
    atomic_store_explicit(&counted_of(io)->late_result, result, memory_order_relaxed);
}

static void count_release(struct tocsin_uring_io *io)
{
    atomic_fetch_add_explicit(&counted_of(io)->releases, 1, memory_order_relaxed);
}

static const struct tocsin_uring_io_ops counting_ops = {count_late, count_release};

void uring_io_init(struct uring_io_counted *counted)
{
    memset(counted, 0xa5, sizeof(*counted)); /* init may not count on zeroes */
    tocsin_uring_io_init(&counted->io, &counting_ops);
    atomic_init(&counted->lates, 0);
    atomic_init(&counted->releases, 0);
    atomic_init(&counted->late_result, URING_IO_NO_RESULT);
}

int32_t uring_io_late_result(const struct uring_io_counted *counted)
{
    return atomic_load_explicit(&counted->late_result, memory_order_relaxed);
}

static int poll_io(struct unit_task *task, struct tocsin_context *cx)
{
    int32_t result = URING_IO_NO_RESULT;
    int r = tocsin_uring_io_poll(task->arg, cx, &result);

    return r == 0 ? result : r;
}

int32_t uring_io_finish(struct tocsin_pool *pool, struct tocsin_uring_io *io)
{
    struct unit_task task = {.poll = poll_io, .arg = io};
    int result = URING_IO_NO_RESULT;

    unit_task_spawn(&task, tocsin_pool_driver(pool), "finish");
    assert_int_equal(tocsin_pool_run_until(pool, &task.task, &result), 0);
    tocsin_task_unref(&task.task);
    return result;
}

int uring_io_glance(struct tocsin_uring_io *io, int32_t *out_result)
{
    static struct unit_waker waker;
    struct tocsin_context cx = {.waker = unit_waker_of(&waker)};

    return tocsin_uring_io_poll(io, &cx, out_result);
}

void uring_io_turn(struct tocsin_pool *pool)
{
    for (unsigned i = 0; i < 8; i++) {
        assert_true(tocsin_pool_turn(pool) >= 0);
    }
}

void uring_io_drop_idle(struct uring_io_counted *counted)
{
    tocsin_uring_io_drop(&counted->io);
    assert_int_equal(unit_load(&counted->releases), 1);
    assert_int_equal(unit_load(&counted->lates), 0);
}

int uring_io_listen(struct sockaddr_in *addr)
{
    socklen_t size = sizeof(*addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)addr, size), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)addr, &size), 0);
    return fd;
}

unsigned uring_io_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}
