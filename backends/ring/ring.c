/*
 * The ring's setup and its two queues: see ring.h.
 */
#include "backends/ring/ring.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of some. */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

/* What a kernel may refuse, the newest first; what needs another one goes with it. */
static const uint32_t optional_flags[] = {
    IORING_SETUP_DEFER_TASKRUN,                            /* Linux 6.1 */
    IORING_SETUP_SINGLE_ISSUER,                            /* 6.0 */
    IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN, /* 5.19 */
    IORING_SETUP_SUBMIT_ALL,                               /* 5.18 */
    IORING_SETUP_R_DISABLED,                               /* 5.10 */
};

/*
 * The queues' heads and tails are shared with the kernel, which sees plain memory: liburing
 * declares them so, and they are read and written as C11 atomics.  The kernel's side pairs with
 * each: its acquire of the submission tail and release of the completion tail (io_uring.c, "SQ/CQ
 * memory ordering").
 */
static uint32_t load_acquire(const unsigned *shared)
{
    /* RING-1 acquire: pairs with the kernel's release of the same index. */
    return atomic_load_explicit((const _Atomic(uint32_t) *)shared, memory_order_acquire);
}

static void store_release(unsigned *shared, uint32_t value)
{
    /* RING-1 release: pairs with the kernel's acquire of the same index. */
    atomic_store_explicit((_Atomic(uint32_t) *)shared, value, memory_order_release);
}

/* Ask with everything, then with less and less. */
static int make(struct ring *ring, struct ring_setup *setup, struct io_uring_params *params)
{
    uint32_t flags = setup->flags;
    size_t next = 0;
    int r;

    while (true) {
        memset(params, 0, sizeof(*params));
        params->flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params->cq_entries = setup->cq_entries;
        r = io_uring_queue_init_params(setup->entries, &ring->uring, params);
        if (r != -EINVAL || next == sizeof(optional_flags) / sizeof(optional_flags[0])) {
            return r;
        }
        while (next < sizeof(optional_flags) / sizeof(optional_flags[0]) &&
               (flags & optional_flags[next]) == 0) {
            next++;
        }
        if (next < sizeof(optional_flags) / sizeof(optional_flags[0])) {
            flags &= ~optional_flags[next++];
        }
    }
}

static int probe(struct ring *ring)
{
    enum {
        SIZE = sizeof(struct io_uring_probe) + RING_OPCODES * sizeof(struct io_uring_probe_op),
    };
    _Alignas(struct io_uring_probe) unsigned char memory[SIZE] = {0};
    struct io_uring_probe *answer = (struct io_uring_probe *)(void *)memory;
    int r = io_uring_register_probe(&ring->uring, answer, RING_OPCODES);

    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < answer->ops_len; i++) {
        if ((answer->ops[i].flags & IO_URING_OP_SUPPORTED) != 0) {
            ring->opcodes[answer->ops[i].op / 8] |= (uint8_t)(1U << answer->ops[i].op % 8);
        }
    }
    return 0;
}

int tocsin__ring_open(struct ring *ring, struct ring_setup *setup)
{
    struct io_uring_params params;
    int r = make(ring, setup, &params);

    if (r < 0) {
        setup->failed = "io_uring_setup";
        return r;
    }
    ring->flags = params.flags;
    for (uint32_t i = 0; i < params.sq_entries; i++) {
        ring->uring.sq.array[i] = i; /* entries go in their order, so this never changes */
    }
    if ((params.features & setup->features) != setup->features) {
        setup->failed = "a kernel that is too old";
        r = -ENOSYS;
        goto err;
    }
    r = probe(ring);
    if (r < 0) {
        setup->failed = "io_uring_register";
        goto err;
    }
    r = io_uring_ring_dontfork(&ring->uring);
    if (r < 0) {
        setup->failed = "madvise";
        goto err;
    }
    return 0;

err:
    io_uring_queue_exit(&ring->uring);
    return r;
}

void tocsin__ring_close(struct ring *ring)
{
    io_uring_queue_exit(&ring->uring);
}

void tocsin__ring_close_forked(struct ring *ring)
{
    close(ring->uring.ring_fd);
}

int tocsin__ring_enable(struct ring *ring)
{
    if (ring->enabled) {
        return 0;
    }
    /* By number: liburing 2.3 declares io_uring_enable_rings() and does not export it. */
    if ((ring->flags & IORING_SETUP_R_DISABLED) != 0 &&
        syscall(SYS_io_uring_register, ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) <
            0) {
        return -errno;
    }
    ring->enabled = true;
    return 0;
}

uint32_t tocsin__ring_unsubmitted(const struct ring *ring)
{
    return ring->tail - load_acquire(ring->uring.sq.khead);
}

uint32_t tocsin__ring_room(const struct ring *ring)
{
    return *ring->uring.sq.kring_entries - tocsin__ring_unsubmitted(ring);
}

struct io_uring_sqe *tocsin__ring_next(struct ring *ring)
{
    return &ring->uring.sq.sqes[ring->tail++ & *ring->uring.sq.kring_mask];
}

const struct io_uring_sqe *tocsin__ring_take_back(struct ring *ring)
{
    if (tocsin__ring_unsubmitted(ring) == 0) {
        return NULL;
    }
    return &ring->uring.sq.sqes[--ring->tail & *ring->uring.sq.kring_mask];
}

/* io_uring_enter(2), by number: liburing 2.3 has no wrapper that takes the timeout and submits. */
static int enter(struct ring *ring, uint32_t count, unsigned wait, unsigned flags, void *arg,
                 size_t arg_size)
{
    long r = syscall(SYS_io_uring_enter, ring->uring.ring_fd, count, wait, flags, arg, arg_size);

    return r < 0 ? -errno : (int)r;
}

static int submit_and_wait(struct ring *ring, uint32_t count, unsigned wait,
                           const struct __kernel_timespec *timeout)
{
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)timeout};

    if (timeout == NULL) {
        return enter(ring, count, wait, IORING_ENTER_GETEVENTS, NULL, _NSIG / 8);
    }
    return enter(ring, count, wait, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
                 sizeof(arg));
}

int tocsin__ring_enter(struct ring *ring, unsigned wait, const struct __kernel_timespec *timeout)
{
    uint32_t count = tocsin__ring_unsubmitted(ring);

    store_release(ring->uring.sq.ktail, ring->tail);
    return submit_and_wait(ring, count, wait, timeout);
}

int tocsin__ring_wait(struct ring *ring, const struct __kernel_timespec *timeout)
{
    return submit_and_wait(ring, 0, 1, timeout);
}

bool tocsin__ring_wants_enter(const struct ring *ring)
{
    if ((ring->flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG)) ==
        IORING_SETUP_DEFER_TASKRUN) {
        return true; /* nothing tells */
    }
    return (load_acquire(ring->uring.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

bool tocsin__ring_overflows(const struct ring *ring)
{
    return (load_acquire(ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

uint32_t tocsin__ring_completions(const struct ring *ring)
{
    return load_acquire(ring->uring.cq.ktail) - *ring->uring.cq.khead;
}

const struct io_uring_cqe *tocsin__ring_first(const struct ring *ring)
{
    return &ring->uring.cq.cqes[*ring->uring.cq.khead & *ring->uring.cq.kring_mask];
}

void tocsin__ring_take(struct ring *ring)
{
    store_release(ring->uring.cq.khead, *ring->uring.cq.khead + 1);
}
