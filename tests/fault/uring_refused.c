/*
 * io_uring refused: by seccomp, as containers do, and its setup flags one by one, as old kernels
 * do.  U4: submit says so at once, the reason names the call and the error, the kernel is asked
 * once, and the pool works without.  Each case in a process of its own.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tocsin/backend.h>
#include <tocsin/uring.h>

#include "tests/conformance/deny.h"
#include "tests/fault/fault.h"

static void skip_without_filters(void)
{
    if (support_on_valgrind()) {
        fault_skip("under valgrind a filter would meet valgrind's own calls");
    }
}

static void refuse(const char *what)
{
    struct deny deny;

    skip_without_filters();
    FAULT_EXPECT(deny_parse(what, &deny), 0);
    if (deny_install(&deny) < 0) {
        fault_skip("no filters here");
    }
}

/* Does the kernel itself let this process have a ring? */
static bool kernel_has_rings(void)
{
    struct io_uring_params params = {0};
    long fd = syscall(SYS_io_uring_setup, 1, &params);

    if (fd >= 0) {
        close((int)fd);
    }
    return fd >= 0;
}

static const struct tocsin_backend *backend_with_token(void)
{
    const struct tocsin_backend *backend = tocsin_backend_find("epoll");

    FAULT_CHECK(backend != NULL);
#ifndef TOCSIN_HAVE_URING
    fault_skip("built without io_uring");
#endif
    return backend;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void count_post(void *arg, int status)
{
    FAULT_EXPECT(status, 0);
    ++*(int *)arg;
}

/* What is refused is said, @call and @error by name, and costs no descriptor. */
static void check_refused(const char *call, const char *error)
{
    struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP};
    const struct tocsin_backend *backend = backend_with_token();
    struct tocsin_pool *pool = NULL;
    struct tocsin_uring_op op;
    struct tocsin_driver *driver;
    unsigned descriptors;
    const char *reason;
    int calls = 0;

    FAULT_EXPECT(tocsin_pool_open(&pool, backend, NULL), 0);
    driver = tocsin_pool_driver(pool);
    descriptors = fault_descriptors();
    FAULT_CHECK(tocsin_uring_reason(driver) == NULL);
    tocsin_uring_op_init(&op, NULL);
    FAULT_EXPECT(tocsin_uring_submit(driver, &op, &sqe), -EOPNOTSUPP);
    reason = tocsin_uring_reason(driver);
    FAULT_CHECK(reason != NULL && strstr(reason, call) != NULL && strstr(reason, error) != NULL);
    FAULT_EXPECT(tocsin_uring_submit(driver, &op, &sqe), -EOPNOTSUPP);
    FAULT_EXPECT(tocsin_uring_probe(driver, IORING_OP_NOP), -EOPNOTSUPP);
    FAULT_EXPECT(tocsin_uring_cancel(&op), -EALREADY);
    tocsin_uring_drop(&op);
    FAULT_EXPECT(fault_descriptors(), descriptors);
    FAULT_EXPECT(tocsin_post(driver, count_post, &calls), 0);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(calls, 1);
    FAULT_CHECK(strcmp(tocsin_uring_reason(driver), reason) == 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static void submit_where_setup_is_refused(void)
{
    refuse("io_uring_setup=EPERM");
    check_refused("io_uring_setup", "EPERM");
}

static void submit_where_setup_is_unknown(void)
{
    refuse("io_uring_setup=ENOSYS");
    check_refused("io_uring_setup", "ENOSYS");
}

static void submit_where_register_is_refused(void)
{
    if (!kernel_has_rings()) {
        fault_skip("io_uring_setup is refused here already");
    }
    refuse("io_uring_register=EPERM");
    check_refused("io_uring_register", "EPERM");
}

static void submit_where_register_is_unknown(void)
{
    if (!kernel_has_rings()) {
        fault_skip("io_uring_setup is refused here already");
    }
    refuse("io_uring_register=ENOSYS");
    check_refused("io_uring_register", "ENOSYS");
}

/*
 * The first of two filters refuses; then one that kills: who asks again does not survive it.
 */
static void kernel_is_asked_once(void)
{
    struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP};
    struct tocsin_pool *pool = NULL;
    const struct deny kills = {SYS_io_uring_setup, DENY_KILLS};
    struct tocsin_uring_op op;

    refuse("io_uring_setup=EPERM");
    FAULT_EXPECT(tocsin_pool_open(&pool, backend_with_token(), NULL), 0);
    tocsin_uring_op_init(&op, NULL);
    FAULT_EXPECT(tocsin_uring_submit(tocsin_pool_driver(pool), &op, &sqe), -EOPNOTSUPP);
    FAULT_EXPECT(deny_install(&kills), 0);
    for (int i = 0; i < 10; i++) {
        FAULT_EXPECT(tocsin_uring_submit(tocsin_pool_driver(pool), &op, &sqe), -EOPNOTSUPP);
        FAULT_EXPECT(tocsin_uring_probe(tocsin_pool_driver(pool), IORING_OP_NOP), -EOPNOTSUPP);
    }
    tocsin_uring_drop(&op);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* What the kernel knows is asked of it when the ring is made. */
static void kernel_is_asked_once_for_what_it_knows(void)
{
    const struct deny kills = {SYS_io_uring_register, DENY_KILLS};
    struct tocsin_pool *pool = NULL;
    struct tocsin_driver *driver;

    skip_without_filters();
    FAULT_EXPECT(tocsin_pool_open(&pool, backend_with_token(), NULL), 0);
    driver = tocsin_pool_driver(pool);
    if (tocsin_uring_probe(driver, IORING_OP_NOP) < 0) {
        fault_skip("io_uring is refused here");
    }
    FAULT_EXPECT(tocsin_pool_turn(pool), 0); /* what enables the ring is such a call too */
    FAULT_EXPECT(deny_install(&kills), 0);
    for (unsigned opcode = 0; opcode <= 256; opcode++) {
        int known = tocsin_uring_probe(driver, opcode);

        FAULT_CHECK(known == 0 || known == 1);
    }
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* ---- No epoll inside ------------------------------------------------------------------------- */

struct meeting {
    struct tocsin_pool *pool;
    struct tocsin_timer timer;
    struct tocsin_watch watch;
    int fds[2];
    int fired;
    int seen;
};

static void write_at_the_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct meeting *meeting = arg;

    (void)timer;
    (void)missed;
    meeting->fired++;
    FAULT_EXPECT(write(meeting->fds[1], "a", 1), 1);
}

static void stop_at_the_event(struct tocsin_watch *watch, int events, void *arg)
{
    struct meeting *meeting = arg;
    char byte;

    FAULT_EXPECT(events, TOCSIN_IN);
    FAULT_EXPECT(read(meeting->fds[0], &byte, 1), 1);
    meeting->seen++;
    tocsin_watch_stop(watch);
}

/* A pool with a watch, a timer and a sleep; and @hosted, or not. */
static void meet(const struct tocsin_backend *backend, bool hosted)
{
    const struct tocsin_timer_options options = {.delay_ns = 1000 * 1000};
    struct meeting meeting = {.fired = 0};
    struct tocsin_driver *driver;

    FAULT_EXPECT(tocsin_pool_open(&meeting.pool, backend, NULL), 0);
    FAULT_CHECK(!hosted || tocsin_pool_poll_fd(meeting.pool) >= 0);
    driver = tocsin_pool_driver(meeting.pool);
    FAULT_EXPECT(tocsin_pipe_pair(&meeting.fds[0], &meeting.fds[1]), 0);
    FAULT_EXPECT(tocsin_timer_init(&meeting.timer, driver, write_at_the_timer, &meeting), 0);
    tocsin_timer_start(&meeting.timer, &options);
    FAULT_EXPECT(tocsin_watch_start(&meeting.watch, driver, meeting.fds[0], TOCSIN_IN,
                                    stop_at_the_event, &meeting),
                 0);
    FAULT_EXPECT(tocsin_pool_run(meeting.pool), 0);
    FAULT_EXPECT(meeting.fired, 1);
    FAULT_EXPECT(meeting.seen, 1);
    tocsin_timer_deinit(&meeting.timer);
    FAULT_EXPECT(tocsin_pool_close(meeting.pool), 0);
    close(meeting.fds[0]);
    close(meeting.fds[1]);
}

/* Where each call of epoll's would be the end. */
static void uring_needs_no_epoll(void)
{
    static const int calls[] = {SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
                                SYS_epoll_pwait2};
    const struct tocsin_backend *backend = tocsin_backend_find("uring");

    if (backend == NULL || !kernel_has_rings()) {
        fault_skip("there is no such backend here");
    }
    skip_without_filters();
    for (size_t i = 0; i < FAULT_COUNT(calls); i++) {
        FAULT_EXPECT(deny_install(&(struct deny){calls[i], DENY_KILLS}), 0);
    }
    meet(backend, false);
    meet(backend, true);
}

/* ---- Flags ----------------------------------------------------------------------------------- */

/* What either backend may ask for, by number: newer than the headers of some. */
static const uint32_t flags_asked_for[] = {
    1U << 6,  /* R_DISABLED */
    1U << 7,  /* SUBMIT_ALL */
    1U << 8,  /* COOP_TASKRUN */
    1U << 9,  /* TASKRUN_FLAG */
    1U << 12, /* SINGLE_ISSUER */
    1U << 13, /* DEFER_TASKRUN */
};

enum {
    SUBSETS = 1 << FAULT_COUNT(flags_asked_for),
};

static const struct tocsin_backend *inner;
static atomic_uint waits; /* that have begun */
static atomic_int waiting_thread;

static int wait_and_tell(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    atomic_store_explicit(&waiting_thread, gettid(), memory_order_relaxed);
    atomic_fetch_add_explicit(&waits, 1, memory_order_release);
    return inner->ops->wait(state, deadline_ns, list);
}

/* The letter that proc(5) has for the state of the thread. */
static char state_of(int thread)
{
    char text[512];
    const char *end;
    FILE *file;
    size_t length;

    snprintf(text, sizeof(text), "/proc/self/task/%d/stat", thread);
    file = fopen(text, "re");
    FAULT_CHECK(file != NULL);
    length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    end = strrchr(text, ')');
    FAULT_CHECK(end != NULL && end[1] == ' ');
    return end[2];
}

struct reading {
    struct tocsin_uring_op op;
    uint64_t value;
    int fd;
    int calls;
    int32_t result;
};

/* When the pool has gone to sleep and blocks there, and not before. */
static void signal_the_blocked(void *arg)
{
    struct reading *reading = arg;
    uint64_t one = 1;

    while (atomic_load_explicit(&waits, memory_order_acquire) == 0) {
        sched_yield();
    }
    while (state_of(atomic_load_explicit(&waiting_thread, memory_order_relaxed)) != 'S') {
        sched_yield();
    }
    FAULT_EXPECT(write(reading->fd, &one, sizeof(one)), sizeof(one));
}

static void completed(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct reading *reading = (struct reading *)op;

    FAULT_EXPECT(flags, 0);
    reading->calls++;
    reading->result = result;
}

/* One read that ends while the pool blocks; @sqe_flags may have the kernel's workers do it. */
static void check_wakes(struct tocsin_pool *pool, uint8_t sqe_flags)
{
    static const struct tocsin_uring_op_ops hooks = {completed, NULL, NULL};
    struct reading reading = {.fd = eventfd(0, EFD_CLOEXEC)};
    struct io_uring_sqe sqe = {.opcode = IORING_OP_READ,
                               .flags = sqe_flags,
                               .fd = reading.fd,
                               .addr = (uint64_t)(uintptr_t)&reading.value,
                               .len = sizeof(reading.value)};
    struct support_thread thread;

    atomic_store_explicit(&waits, 0, memory_order_relaxed);
    tocsin_uring_op_init(&reading.op, &hooks);
    FAULT_EXPECT(tocsin_uring_submit(tocsin_pool_driver(pool), &reading.op, &sqe), 0);
    support_thread_start(&thread, 1, signal_the_blocked, &reading);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    support_thread_join(&thread);
    FAULT_EXPECT(reading.calls, 1);
    FAULT_EXPECT(reading.result, sizeof(reading.value));
    tocsin_uring_drop(&reading.op);
    close(reading.fd);
}

/* A timeout of the kernel's ends the wait, which has none. */
static void check_timeout(struct tocsin_pool *pool)
{
    static const struct tocsin_uring_op_ops hooks = {completed, NULL, NULL};
    const struct __kernel_timespec delay = {.tv_nsec = 1000 * 1000};
    struct reading reading = {.fd = -1};
    struct io_uring_sqe sqe = {
        .opcode = IORING_OP_TIMEOUT, .fd = -1, .addr = (uint64_t)(uintptr_t)&delay, .len = 1};

    tocsin_uring_op_init(&reading.op, &hooks);
    FAULT_EXPECT(tocsin_uring_submit(tocsin_pool_driver(pool), &reading.op, &sqe), 0);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(reading.calls, 1);
    FAULT_EXPECT(reading.result, -ETIME);
    tocsin_uring_drop(&reading.op);
}

static void wake_for_each_subset(const char *name)
{
    struct tocsin_backend_ops ops;
    struct tocsin_uring_options options = {.entries = 8};
    const struct tocsin_backend backend = {&ops, &options};

    inner = tocsin_backend_find(name);
    if (inner == NULL) {
        fault_skip("there is no such backend in this build");
    }
    (void)backend_with_token();
    if (!kernel_has_rings()) {
        fault_skip("io_uring is refused here");
    }
    ops = *inner->ops;
    ops.wait = wait_and_tell;
    for (uint32_t subset = 0; subset < SUBSETS; subset++) {
        struct tocsin_pool *pool = NULL;

        options.setup_flags_no = 0;
        for (size_t i = 0; i < FAULT_COUNT(flags_asked_for); i++) {
            options.setup_flags_no |= (subset >> i & 1) != 0 ? flags_asked_for[i] : 0;
        }
        FAULT_EXPECT(tocsin_pool_open(&pool, &backend, NULL), 0);
        check_wakes(pool, 0);
        check_wakes(pool, IOSQE_ASYNC);
        check_timeout(pool);
        FAULT_EXPECT(tocsin_pool_close(pool), 0);
    }
}

static void completion_wakes_epoll_for_each_set_of_flags(void)
{
    wake_for_each_subset("epoll");
}

static void completion_wakes_uring_for_each_set_of_flags(void)
{
    wake_for_each_subset("uring");
}

static const struct fault_case cases[] = {
    {"submit_where_setup_is_refused", submit_where_setup_is_refused},
    {"submit_where_setup_is_unknown", submit_where_setup_is_unknown},
    {"submit_where_register_is_refused", submit_where_register_is_refused},
    {"submit_where_register_is_unknown", submit_where_register_is_unknown},
    {"kernel_is_asked_once", kernel_is_asked_once},
    {"kernel_is_asked_once_for_what_it_knows", kernel_is_asked_once_for_what_it_knows},
    {"uring_needs_no_epoll", uring_needs_no_epoll},
    {"completion_wakes_epoll_for_each_set_of_flags", completion_wakes_epoll_for_each_set_of_flags},
    {"completion_wakes_uring_for_each_set_of_flags", completion_wakes_uring_for_each_set_of_flags},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
