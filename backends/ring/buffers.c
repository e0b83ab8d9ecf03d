/*
 * Provided buffers, registered buffers and files: see tocsin/uring_buffers.h.
 *
 * A group of provided buffers is one piece of memory: the ring that the kernel takes entries from
 * and this file adds them to, then the buffers.  The kernel reads the tail; its own head is its own
 * business, for the ring has a place for each buffer and so is never full.
 *
 * Invariants
 *   P1  Each buffer is in the ring, named by a completion that nobody has taken, or taken.
 *   P2  Only the pool's thread adds to the ring.
 */
#include <tocsin/uring_buffers.h>

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/ring/uring.h"
#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    BUFFERS_MAX = 32768, /* the kernel's own limit */
};

struct tocsin_uring_buffers {
    struct tocsin_pool *pool;  /* referenced */
    struct io_uring_buf *ring; /* page aligned, in the memory behind this struct */
    unsigned char *data;
    bool *taken; /* one for each buffer */
    uint32_t count;
    uint32_t size;
    uint16_t group;
    uint16_t tail; /* how many were ever added, modulo 2^16 */
};

/* ---- Whose thread, and which ring ------------------------------------------------------------ */

/* Is this the pool's thread, or has the pool none yet? */
static bool is_mine(const struct tocsin_pool *pool)
{
    /* OWNER-1 relaxed: a thread's own id is seen by itself; any other value is not its own. */
    uintptr_t owner = atomic_load_explicit(&pool->owner, memory_order_relaxed);

    return tocsin__is_here(pool) || owner == 0 || owner == tocsin__thread_id();
}

/* The ring of @driver's pool, for this thread to register with. */
static int find_ring(struct tocsin_driver *driver, struct uring **out_uring)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct uring *uring;
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if ((driver->ops->features & TOCSIN_BACKEND_URING) == 0) {
        return -EOPNOTSUPP;
    }
    if (!is_mine(pool)) {
        return -EPERM;
    }
    uring = tocsin__uring_host_get(driver->ops->uring(driver->backend_state), pool, &r);
    if (uring == NULL) {
        return r;
    }
    *out_uring = uring;
    return 0;
}

/*
 * io_uring_register(2), by number: liburing's functions for files raise the process's limit of open
 * ones by themselves.
 */
static int call(const struct uring *uring, unsigned what, const void *arg, unsigned count)
{
    long r = syscall(SYS_io_uring_register, uring->ring.uring.ring_fd, what, arg, count);

    return r < 0 ? -errno : (int)r;
}

/* ---- Provided buffers ------------------------------------------------------------------------ */

static size_t rounded_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

/* The struct, what it says is taken, the ring and the buffers, in one piece; all else is zero. */
static struct tocsin_uring_buffers *alloc_buffers(struct tocsin_pool *pool, uint32_t count,
                                                  uint32_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t head = sizeof(struct tocsin_uring_buffers) + count * sizeof(bool);
    size_t ring = rounded_up(count * sizeof(struct io_uring_buf), page);
    struct tocsin_uring_buffers *buffers;
    uintptr_t start;

    if (size > (SIZE_MAX - head - ring - 2 * page) / count) {
        return NULL;
    }
    buffers = tocsin__alloc(pool, head + page + ring + (size_t)count * size);
    if (buffers == NULL) {
        return NULL;
    }
    memset(buffers, 0, head);
    start = (uintptr_t)buffers + head;
    start = rounded_up(start, page);
    buffers->taken = (bool *)(buffers + 1);
    buffers->ring = (struct io_uring_buf *)start;
    buffers->data = (unsigned char *)start + ring;
    buffers->count = count;
    buffers->size = size;
    memset(buffers->ring, 0, ring);
    return buffers;
}

/* Fill in the next entry; the kernel sees it when the tail is stored. */
static void add(struct tocsin_uring_buffers *buffers, uint32_t index)
{
    struct io_uring_buf *entry = &buffers->ring[buffers->tail++ & (buffers->count - 1)];

    /* Field by field: the tail is in the first one's resv. */
    entry->addr = (uint64_t)(uintptr_t)(buffers->data + (size_t)index * buffers->size);
    entry->len = buffers->size;
    entry->bid = (uint16_t)index;
}

static void publish(struct tocsin_uring_buffers *buffers)
{
    _Atomic(uint16_t) *tail = (_Atomic(uint16_t) *)&buffers->ring[0].resv;

    /* RING-3 release: pairs with the kernel's acquire of the same index. */
    atomic_store_explicit(tail, buffers->tail, memory_order_release);
}

/* What the kernel says to a call that it does not know, or a filter to one that it does. */
static int unsupported(int error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EPERM || error == -EACCES ? -EOPNOTSUPP
                                                                                       : error;
}

int tocsin_uring_buffers_open(struct tocsin_driver *driver, uint16_t group, uint32_t count,
                              uint32_t size, struct tocsin_uring_buffers **out_buffers)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct io_uring_buf_reg registration = {.ring_entries = count, .bgid = group};
    struct tocsin_uring_buffers *buffers;
    struct uring *uring = NULL;
    int r = find_ring(driver, &uring);

    if (r < 0) {
        return r;
    }
    if (count == 0 || count > BUFFERS_MAX || (count & (count - 1)) != 0 || size == 0) {
        return -EINVAL;
    }
    buffers = alloc_buffers(pool, count, size);
    if (buffers == NULL) {
        return -ENOMEM;
    }
    registration.ring_addr = (uint64_t)(uintptr_t)buffers->ring;
    r = call(uring, IORING_REGISTER_PBUF_RING, &registration, 1);
    if (r < 0) {
        tocsin__free(pool, buffers);
        return unsupported(r);
    }
    for (uint32_t i = 0; i < count; i++) {
        add(buffers, i);
    }
    publish(buffers);
    tocsin__pool_ref(pool);
    buffers->pool = pool;
    buffers->group = group;
    *out_buffers = buffers;
    return 0;
}

int tocsin_uring_buffers_close(struct tocsin_uring_buffers *buffers)
{
    struct io_uring_buf_reg registration = {0};
    struct tocsin_pool *pool;
    struct uring *uring = NULL;

    if (buffers == NULL) {
        return 0;
    }
    pool = buffers->pool;
    if (!tocsin__is_forked(pool)) {
        if (!is_mine(pool)) {
            return -EPERM;
        }
        uring = tocsin__uring_host_peek(pool->driver.ops->uring(pool->driver.backend_state));
    }
    if (uring != NULL) {
        registration.bgid = buffers->group;
        call(uring, IORING_UNREGISTER_PBUF_RING, &registration, 1);
    }
    tocsin__free(pool, buffers);
    tocsin__pool_unref(pool);
    return 0;
}

void *tocsin_uring_buffers_take(struct tocsin_uring_buffers *buffers, uint32_t flags)
{
    uint32_t index = flags >> IORING_CQE_BUFFER_SHIFT;

    if ((flags & IORING_CQE_F_BUFFER) == 0) {
        return NULL;
    }
    tocsin__assert_thread(buffers->pool);
    TOCSIN_ASSERT(index < buffers->count && !buffers->taken[index],
                  "P1: a buffer of another group, or one that was taken already");
    buffers->taken[index] = true;
    return buffers->data + (size_t)index * buffers->size;
}

void tocsin_uring_buffers_put(struct tocsin_uring_buffers *buffers, void *buffer)
{
    size_t offset = (size_t)((uintptr_t)buffer - (uintptr_t)buffers->data);
    size_t index = offset / buffers->size;

    if (tocsin__is_forked(buffers->pool)) {
        return; /* the ring's memory is the parent's */
    }
    tocsin__assert_thread(buffers->pool);
    TOCSIN_ASSERT((uintptr_t)buffer >= (uintptr_t)buffers->data && index < buffers->count &&
                      offset % buffers->size == 0 && buffers->taken[index],
                  "P1: put back what was not taken");
    buffers->taken[index] = false;
    add(buffers, (uint32_t)index);
    publish(buffers);
}

/* ---- Registered buffers and files ------------------------------------------------------------ */

static int find_and_call(struct tocsin_driver *driver, unsigned what, const void *arg,
                         unsigned count)
{
    struct uring *uring = NULL;
    int r = find_ring(driver, &uring);

    return r < 0 ? r : call(uring, what, arg, count);
}

/* An update answers how many it made; all is 0. */
static int made(int r, unsigned count)
{
    return r >= 0 && (unsigned)r == count ? 0 : r;
}

int tocsin_uring_register_buffers(struct tocsin_driver *driver, const struct iovec *iovecs,
                                  unsigned count)
{
    return find_and_call(driver, IORING_REGISTER_BUFFERS, iovecs, count);
}

int tocsin_uring_update_buffers(struct tocsin_driver *driver, unsigned first,
                                const struct iovec *iovecs, unsigned count)
{
    struct io_uring_rsrc_update2 update = {
        .offset = first,
        .data = (uint64_t)(uintptr_t)iovecs,
        .nr = count,
    };

    return made(find_and_call(driver, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)),
                count);
}

int tocsin_uring_unregister_buffers(struct tocsin_driver *driver)
{
    return find_and_call(driver, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

int tocsin_uring_register_files(struct tocsin_driver *driver, const int *fds, unsigned count)
{
    return find_and_call(driver, IORING_REGISTER_FILES, fds, count);
}

int tocsin_uring_update_files(struct tocsin_driver *driver, unsigned first, const int *fds,
                              unsigned count)
{
    struct io_uring_files_update update = {
        .offset = first,
        .fds = (uint64_t)(uintptr_t)fds,
    };

    return made(find_and_call(driver, IORING_REGISTER_FILES_UPDATE, &update, count), count);
}

int tocsin_uring_unregister_files(struct tocsin_driver *driver)
{
    return find_and_call(driver, IORING_UNREGISTER_FILES, NULL, 0);
}
