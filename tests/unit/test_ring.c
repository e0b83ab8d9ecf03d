/*
 * One ring by itself: setup that is refused, flag by flag and call by call; the two queues.
 */
#include "backends/ring/ring.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

enum {
    DEFER_TASKRUN = 1 << 13,
    SINGLE_ISSUER = 1 << 12,
    TASKRUN_FLAG = 1 << 9,
    COOP_TASKRUN = 1 << 8,
    SUBMIT_ALL = 1 << 7,
    R_DISABLED = 1 << 6,
    ALL_FLAGS =
        DEFER_TASKRUN | SINGLE_ISSUER | TASKRUN_FLAG | COOP_TASKRUN | SUBMIT_ALL | R_DISABLED,
    TOKEN_FLAGS = ALL_FLAGS & ~DEFER_TASKRUN,
};

/* What the kernel is made to be like. */
static uint32_t flags_unknown; /* EINVAL for each of these */
static uint32_t features_hidden;
static int setup_errno;
static int register_errno;
static int madvise_errno;
static unsigned setups;

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __real_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __real_io_uring_ring_dontfork(struct io_uring *ring);
int __wrap_io_uring_ring_dontfork(struct io_uring *ring);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    int r;

    setups++;
    if (setup_errno != 0) {
        return setup_errno;
    }
    if ((params->flags & flags_unknown) != 0) {
        return -EINVAL;
    }
    r = __real_io_uring_queue_init_params(entries, ring, params);
    params->features &= ~features_hidden;
    return r;
}

int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count)
{
    return register_errno != 0 ? register_errno
                               : __real_io_uring_register_probe(ring, probe, count);
}

int __wrap_io_uring_ring_dontfork(struct io_uring *ring)
{
    return madvise_errno != 0 ? madvise_errno : __real_io_uring_ring_dontfork(ring);
}

static struct ring_setup setup_of(uint32_t flags)
{
    return (struct ring_setup){.entries = 8, .cq_entries = 16, .flags = flags};
}

static void start(void)
{
    struct ring_setup setup = setup_of(0);
    struct ring ring = {.tail = 0};

    flags_unknown = 0;
    features_hidden = 0;
    setup_errno = 0;
    register_errno = 0;
    madvise_errno = 0;
    if (tocsin__ring_open(&ring, &setup) < 0) {
        unit_skip("io_uring is refused here");
    }
    tocsin__ring_close(&ring);
    setups = 0;
}

static unsigned descriptors(void)
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

static void put_nop(struct ring *ring, uint64_t user_data)
{
    struct io_uring_sqe *sqe = tocsin__ring_next(ring);

    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->user_data = user_data;
}

/* Three no-operations, in the ring's order. */
static void check_works(struct ring *ring)
{
    assert_int_equal(tocsin__ring_enable(ring), 0);
    for (uint64_t i = 0; i < 3; i++) {
        put_nop(ring, 100 + i);
    }
    assert_int_equal(tocsin__ring_enter(ring, 1, NULL), 3);
    while (tocsin__ring_completions(ring) < 3) {
        assert_true(tocsin__ring_enter(ring, 1, NULL) >= 0);
    }
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(tocsin__ring_first(ring)->user_data, 100 + i);
        assert_int_equal(tocsin__ring_first(ring)->res, 0);
        tocsin__ring_take(ring);
    }
    assert_int_equal(tocsin__ring_completions(ring), 0);
}

/* ---- Setup -----------------------------------------------------------------------------------
 */

/* @unknown is refused, and no more than what needs it is done without. */
static void check_refused(uint32_t wanted, uint32_t unknown, uint32_t granted)
{
    struct ring_setup setup = setup_of(wanted);
    struct ring ring = {.tail = 0};

    flags_unknown = unknown;
    assert_int_equal(tocsin__ring_open(&ring, &setup), 0);
    assert_int_equal(ring.flags & ALL_FLAGS, granted);
    check_works(&ring);
    tocsin__ring_close(&ring);
}

/* Kernels, the newest first: each knows what those before it knew. */
static void older_kernels_are_asked_for_less(void **state)
{
    static const uint32_t flags[] = {DEFER_TASKRUN, SINGLE_ISSUER, TASKRUN_FLAG | COOP_TASKRUN,
                                     SUBMIT_ALL, R_DISABLED};
    uint32_t unknown = 0;

    (void)state;
    start();
    for (unsigned i = 0; i < UNIT_COUNT(flags); i++) {
        unknown |= flags[i];
        setups = 0;
        check_refused(ALL_FLAGS, unknown, ALL_FLAGS & ~unknown);
        assert_int_equal(setups, i + 2); /* one attempt more for each */
        check_refused(TOKEN_FLAGS, unknown, TOKEN_FLAGS & ~unknown);
    }
}

/* What no kernel is like, but a filter or another system may be: the ring works all the same. */
static void each_flag_may_be_refused_by_itself(void **state)
{
    (void)state;
    start();
    for (uint32_t bit = R_DISABLED; bit <= DEFER_TASKRUN; bit <<= 1) {
        struct ring_setup setup = setup_of(TOKEN_FLAGS);
        struct ring ring = {.tail = 0};

        if ((bit & ALL_FLAGS) == 0) {
            continue;
        }
        flags_unknown = bit;
        assert_int_equal(tocsin__ring_open(&ring, &setup), 0);
        assert_int_equal(ring.flags & bit, 0);
        check_works(&ring);
        tocsin__ring_close(&ring);
    }
}

static void what_is_not_about_flags_is_not_asked_twice(void **state)
{
    static const int errors[] = {-EPERM, -ENOSYS, -ENOMEM, -EMFILE};
    struct ring ring = {.tail = 0};

    (void)state;
    start();
    for (unsigned i = 0; i < UNIT_COUNT(errors); i++) {
        struct ring_setup setup = setup_of(TOKEN_FLAGS);

        setups = 0;
        setup_errno = errors[i];
        assert_int_equal(tocsin__ring_open(&ring, &setup), errors[i]);
        assert_string_equal(setup.failed, "io_uring_setup");
        assert_int_equal(setups, 1);
    }
}

/* The end of the road: with no flags left EINVAL is the answer. */
static void a_kernel_that_refuses_everything_ends_the_asking(void **state)
{
    struct ring_setup setup = setup_of(ALL_FLAGS);
    struct ring ring = {.tail = 0};

    (void)state;
    start();
    setup_errno = -EINVAL;
    assert_int_equal(tocsin__ring_open(&ring, &setup), -EINVAL);
    assert_string_equal(setup.failed, "io_uring_setup");
    assert_true(setups <= 7);
}

static void what_fails_after_setup_leaves_nothing_open(void **state)
{
    struct ring_setup setup = setup_of(TOKEN_FLAGS);
    struct ring ring = {.tail = 0};
    unsigned before;

    (void)state;
    start();
    before = descriptors();
    register_errno = -EPERM;
    assert_int_equal(tocsin__ring_open(&ring, &setup), -EPERM);
    assert_string_equal(setup.failed, "io_uring_register");
    register_errno = 0;
    madvise_errno = -EINVAL;
    assert_int_equal(tocsin__ring_open(&ring, &setup), -EINVAL);
    assert_string_equal(setup.failed, "madvise");
    madvise_errno = 0;
    setup.features = IORING_FEAT_NODROP;
    features_hidden = IORING_FEAT_NODROP;
    assert_int_equal(tocsin__ring_open(&ring, &setup), -ENOSYS);
    assert_string_equal(setup.failed, "a kernel that is too old");
    assert_int_equal(descriptors(), before);
}

static void the_probe_answers_by_opcode(void **state)
{
    struct ring_setup setup = setup_of(TOKEN_FLAGS);
    struct ring ring = {.tail = 0};

    (void)state;
    start();
    assert_int_equal(tocsin__ring_open(&ring, &setup), 0);
    assert_true(ring_knows(&ring, IORING_OP_NOP));
    assert_true(ring_knows(&ring, IORING_OP_READ));
    assert_false(ring_knows(&ring, 255));
    assert_false(ring_knows(&ring, 256)); /* no opcode, and no bit of the table either */
    assert_false(ring_knows(&ring, UINT32_MAX));
    tocsin__ring_close(&ring);
}

/* ---- Queues ----------------------------------------------------------------------------------
 */

static void open_ring(struct ring *ring, uint32_t flags)
{
    struct ring_setup setup = setup_of(flags);

    *ring = (struct ring){.tail = 0};
    assert_int_equal(tocsin__ring_open(ring, &setup), 0);
}

/* G2 */
static void entries_count_at_once_and_are_the_kernels_after_enter(void **state)
{
    struct ring ring;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    assert_int_equal(tocsin__ring_enable(&ring), 0);
    for (unsigned round = 0; round < 100; round++) { /* far beyond the end of the array */
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(tocsin__ring_room(&ring), 8 - i);
            assert_int_equal(tocsin__ring_unsubmitted(&ring), i);
            put_nop(&ring, round * 8 + i);
        }
        assert_int_equal(tocsin__ring_room(&ring), 0);
        assert_int_equal(tocsin__ring_completions(&ring), 0);
        assert_int_equal(tocsin__ring_enter(&ring, 0, NULL), 8);
        assert_int_equal(tocsin__ring_unsubmitted(&ring), 0);
        assert_int_equal(tocsin__ring_completions(&ring), 8);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(tocsin__ring_first(&ring)->user_data, round * 8 + i);
            tocsin__ring_take(&ring);
        }
    }
    tocsin__ring_close(&ring);
}

/* G3: sixteen fit, the rest waits in the kernel until it is entered. */
static void what_overflows_comes_with_the_next_enters(void **state)
{
    struct ring ring;
    unsigned taken = 0;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    assert_int_equal(tocsin__ring_enable(&ring), 0);
    for (unsigned i = 0; i < 40; i++) {
        put_nop(&ring, i);
        assert_int_equal(tocsin__ring_enter(&ring, 0, NULL), 1);
    }
    assert_int_equal(tocsin__ring_completions(&ring), 16);
    assert_true(tocsin__ring_wants_enter(&ring));
    while (taken < 40) {
        while (tocsin__ring_completions(&ring) > 0) {
            assert_int_equal(tocsin__ring_first(&ring)->user_data, taken);
            tocsin__ring_take(&ring);
            taken++;
        }
        assert_int_equal(tocsin__ring_wants_enter(&ring), taken < 40);
        assert_true(tocsin__ring_enter(&ring, 0, NULL) >= 0);
    }
    assert_false(tocsin__ring_wants_enter(&ring));
    tocsin__ring_close(&ring);
}

static void a_ring_that_is_not_enabled_takes_nothing(void **state)
{
    struct ring ring;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    if ((ring.flags & R_DISABLED) == 0) {
        tocsin__ring_close(&ring);
        unit_skip("no IORING_SETUP_R_DISABLED here");
    }
    put_nop(&ring, 1);
    assert_int_equal(tocsin__ring_enter(&ring, 0, NULL), -EBADFD);
    assert_int_equal(tocsin__ring_unsubmitted(&ring), 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tocsin__ring_enable(&ring), 0);
    }
    assert_int_equal(tocsin__ring_enter(&ring, 0, NULL), 1);
    tocsin__ring_close(&ring);
}

static void enable_elsewhere(void *arg)
{
    struct ring *ring = arg;

    UNIT_CHECK(tocsin__ring_enable(ring) == 0);
    put_nop(ring, 1);
    UNIT_CHECK(tocsin__ring_enter(ring, 1, NULL) == 1);
}

/* Made here, and from the enable on another thread's. */
static void a_ring_is_for_the_thread_that_enables_it(void **state)
{
    struct ring ring;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    if ((ring.flags & (R_DISABLED | SINGLE_ISSUER)) != (R_DISABLED | SINGLE_ISSUER)) {
        tocsin__ring_close(&ring);
        unit_skip("no IORING_SETUP_SINGLE_ISSUER here");
    }
    support_elsewhere(enable_elsewhere, &ring);
    assert_int_equal(tocsin__ring_completions(&ring), 1);
    put_nop(&ring, 2);
    assert_int_equal(tocsin__ring_enter(&ring, 0, NULL), -EEXIST);
    tocsin__ring_close(&ring);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void a_wait_ends_at_its_timeout_and_not_before(void **state)
{
    static const uint64_t delays_ns[] = {0, 1000, 300000, 3000000};
    struct ring ring;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    assert_int_equal(tocsin__ring_enable(&ring), 0);
    for (unsigned i = 0; i < UNIT_COUNT(delays_ns); i++) {
        struct __kernel_timespec timeout = {.tv_nsec = (long long)delays_ns[i]};
        uint64_t begun_ns = now_ns();

        assert_int_equal(tocsin__ring_enter(&ring, 1, &timeout), -ETIME);
        assert_true(now_ns() - begun_ns >= delays_ns[i]);
    }
    tocsin__ring_close(&ring);
}

/* A completion that is there already ends it; and entries go in by the same call. */
static void a_wait_ends_with_a_completion(void **state)
{
    struct __kernel_timespec hour = {.tv_sec = 3600};
    struct ring ring;

    (void)state;
    start();
    open_ring(&ring, TOKEN_FLAGS);
    assert_int_equal(tocsin__ring_enable(&ring), 0);
    put_nop(&ring, 7);
    assert_int_equal(tocsin__ring_enter(&ring, 1, &hour), 1);
    assert_int_equal(tocsin__ring_completions(&ring), 1);
    assert_int_equal(tocsin__ring_enter(&ring, 1, &hour), 0);
    assert_int_equal(tocsin__ring_first(&ring)->user_data, 7);
    tocsin__ring_close(&ring);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(older_kernels_are_asked_for_less),
    cmocka_unit_test(each_flag_may_be_refused_by_itself),
    cmocka_unit_test(what_is_not_about_flags_is_not_asked_twice),
    cmocka_unit_test(a_kernel_that_refuses_everything_ends_the_asking),
    cmocka_unit_test(what_fails_after_setup_leaves_nothing_open),
    cmocka_unit_test(the_probe_answers_by_opcode),
    cmocka_unit_test(entries_count_at_once_and_are_the_kernels_after_enter),
    cmocka_unit_test(what_overflows_comes_with_the_next_enters),
    cmocka_unit_test(a_ring_that_is_not_enabled_takes_nothing),
    cmocka_unit_test(a_ring_is_for_the_thread_that_enables_it),
    cmocka_unit_test(a_wait_ends_at_its_timeout_and_not_before),
    cmocka_unit_test(a_wait_ends_with_a_completion),
};

UNIT_MAIN(tests)
