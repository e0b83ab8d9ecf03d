/*
 * The shared part of the tests of the uring backend's wait step: see uring_step.h.
 */
#include "tests/unit/uring_step.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "backends/uring/polls.h"

#define LONG_NS (UINT64_C(10000) * STEP_MS) /* a sleep that something has to end */

/* ---- What the backend asks of others --------------------------------------------------------- */

unsigned step_futex_waits;
atomic_uint step_futex_wakes;
unsigned step_limited_waits;
uint64_t step_limited_ns;
unsigned step_kick_polls;
int step_kick_fd;
support_body_fn *step_before_block;
void *step_before_block_arg;
bool step_polls_no;
int step_ring_open_result;
int step_eventfd_errno;
int step_timerfd_errno;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
int __real_tocsin__ring_wait(struct ring *ring, const struct __kernel_timespec *timeout);
int __wrap_tocsin__ring_wait(struct ring *ring, const struct __kernel_timespec *timeout);
int __real_tocsin__ring_open(struct ring *ring, struct ring_setup *setup);
int __wrap_tocsin__ring_open(struct ring *ring, struct ring_setup *setup);
bool __real_tocsin__polls_add(struct uring *uring, int fd, uint32_t events, uint64_t user_data);
bool __wrap_tocsin__polls_add(struct uring *uring, int fd, uint32_t events, uint64_t user_data);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);

static void call_before_block(void)
{
    support_body_fn *fn = step_before_block;

    step_before_block = NULL;
    if (fn != NULL) {
        fn(step_before_block_arg);
    }
}

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET) {
        step_futex_waits++;
        call_before_block();
    } else if (number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAKE) {
        atomic_fetch_add_explicit(&step_futex_wakes, 1, memory_order_relaxed);
        /* Before anybody is woken: who is about to sleep must see it. */
        UNIT_CHECK(atomic_load_explicit((_Atomic(uint32_t) *)a, memory_order_relaxed) == 1);
    } else if (number == SYS_io_uring_enter) {
        call_before_block();
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

int __wrap_tocsin__ring_wait(struct ring *ring, const struct __kernel_timespec *timeout)
{
    step_limited_waits++;
    step_limited_ns = (uint64_t)timeout->tv_sec * 1000 * STEP_MS + (uint64_t)timeout->tv_nsec;
    return __real_tocsin__ring_wait(ring, timeout);
}

int __wrap_tocsin__ring_open(struct ring *ring, struct ring_setup *setup)
{
    if (step_ring_open_result != 0) {
        setup->failed = "io_uring_setup";
        return step_ring_open_result;
    }
    return __real_tocsin__ring_open(ring, setup);
}

bool __wrap_tocsin__polls_add(struct uring *uring, int fd, uint32_t events, uint64_t user_data)
{
    step_kick_polls += user_data == step_data_kick;
    return !step_polls_no && __real_tocsin__polls_add(uring, fd, events, user_data);
}

int __wrap_eventfd(unsigned count, int flags)
{
    int fd;

    if (step_eventfd_errno != 0) {
        errno = step_eventfd_errno;
        return -1;
    }
    fd = __real_eventfd(count, flags);
    if (step_kick_fd < 0) {
        step_kick_fd = fd;
    }
    return fd;
}

int __wrap_timerfd_create(int clock, int flags)
{
    if (step_timerfd_errno != 0) {
        errno = step_timerfd_errno;
        return -1;
    }
    return __real_timerfd_create(clock, flags);
}

unsigned step_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* ---- The backend ----------------------------------------------------------------------------- */

int step_open_pool(struct step *step)
{
    struct unit_uring *uring = &step->uring;
    struct tocsin_pool_options options = {.allocator = &uring->memory.allocator};

    unit_memory_init(&uring->memory);
    uring->backend = (struct tocsin_backend){.ops = step_ops, .arg = &uring->options};
    return tocsin_pool_open(&uring->pool, &uring->backend, &options);
}

void step_start_with(struct step *step, uint32_t entries, uint32_t cq_entries)
{
    struct unit_uring *uring = &step->uring;

    memset(step, 0, sizeof(*step));
    uring->options.entries = entries;
    uring->options.cq_entries = cq_entries;
    step_ring_open_result = 0;
    step_eventfd_errno = 0;
    step_kick_fd = -1;
    step_timerfd_errno = 0;
    if (step_open_pool(step) < 0) {
        unit_skip("io_uring is refused here");
    }
    uring->driver = tocsin_pool_driver(uring->pool);
    step->state = uring->pool->driver.backend_state;
    uring->host = step_ops->uring(step->state);
    uring->uring = tocsin__uring_host_peek(uring->host);
    step->list.events = step->room;
    step->list.capacity = STEP_EVENTS;
    unit_op_init(&step->op);
    assert_int_equal(pipe(step->fds), 0);
    unit_enters_no = 0;
    unit_chains_split = 0;
    step_kick_polls = 0;
    step_polls_no = false;
    step_before_block = NULL;
}

void step_start(struct step *step)
{
    step_start_with(step, 0, 0);
}

void step_end(struct step *step)
{
    tocsin_uring_drop(&step->op.op);
    unit_uring_end(&step->uring);
    assert_int_equal(unit_load(&step->op.releases), 1);
    close(step->fds[0]);
    close(step->fds[1]);
}

uint64_t step_now(const struct step *step)
{
    return step_ops->now(step->state);
}

void step_forget_calls(void)
{
    unit_enters = 0;
    step_futex_waits = 0;
    atomic_store_explicit(&step_futex_wakes, 0, memory_order_relaxed);
    step_limited_waits = 0;
}

uint64_t step_prepare(struct step *step)
{
    return step_ops->prepare(step->state, TOCSIN_NEVER_NS);
}

int step_wait_until(struct step *step, uint64_t deadline_ns)
{
    step->list.count = 0;
    return step_ops->wait(step->state, deadline_ns, &step->list);
}

void step_look(struct step *step)
{
    step->list.count = 0;
    assert_int_equal(step_ops->look(step->state, &step->list), 0);
}

void step_kick(void *arg)
{
    struct step *step = arg;

    step_ops->kick(step->state);
}

void step_check_ends(struct step *step)
{
    uint64_t deadline_ns = step_now(step) + LONG_NS;

    assert_int_equal(step_wait_until(step, deadline_ns), 0);
    assert_true(step_now(step) < deadline_ns);
    assert_int_equal(step->list.count, 0);
}

void step_check_lasts(struct step *step)
{
    uint64_t deadline_ns = step_now(step) + 2 * STEP_MS;

    assert_true(step_prepare(step) == TOCSIN_NEVER_NS);
    assert_int_equal(step_wait_until(step, deadline_ns), 0);
    assert_true(step_now(step) >= deadline_ns);
    assert_int_equal(step->list.count, 0);
}

void step_submit_read(void *arg)
{
    struct step *step = arg;
    struct io_uring_sqe sqe = unit_sqe_read(step->fds[0], &step->byte, 1);

    UNIT_CHECK(unit_submit(&step->uring, &step->op, &sqe) == 0);
}

void step_submit_nop(void *arg)
{
    struct step *step = arg;
    struct io_uring_sqe sqe = unit_sqe_nop();

    UNIT_CHECK(unit_submit(&step->uring, &step->op, &sqe) == 0);
}

void step_in_turn(struct step *step, support_body_fn *fn)
{
    unit_uring_in_turn(&step->uring, fn, step);
}

void step_attach(struct step *step)
{
    step->watch = (struct tocsin_backend_watch){.id = 1, .number = step->fds[0]};
    assert_int_equal(step_ops->attach(step->state, &step->watch), 0);
}

struct io_uring_sqe *step_put_entry(struct step *step, uint64_t user_data)
{
    struct io_uring_sqe *sqe = tocsin__uring_next(step->uring.uring);

    assert_non_null(sqe);
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = user_data;
    return sqe;
}

void step_flush(struct step *step)
{
    tocsin__uring_flush(step->uring.uring);
}

bool step_parks_on_the_futex(struct step *step)
{
    assert_true(step_prepare(step) > 0);
    step_forget_calls();
    step_kick(step);
    step_check_ends(step);
    assert_int_equal(unit_enters + step_futex_waits, 1);
    assert_int_equal(unit_load(&step_futex_wakes), step_futex_waits);
    return step_futex_waits == 1;
}
