/*
 * Checks, the counting allocator, pools, ready-made tasks and sources for the cases.
 *
 * Everything a case reports is written straight to the descriptor, one line a call, so that nothing
 * is lost when the case's process dies, and nothing is printed twice by a fork.
 */
#include "conform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "face.h"
#include "runner.h"

/* ---- Checks ---------------------------------------------------------------------------------- */

void conform_note(struct conform *t, const char *format, ...)
{
    char line[512];
    va_list args;
    int length;

    (void)t;
    line[0] = '#';
    line[1] = ' ';
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was started in the line above. */
    length = vsnprintf(line + 2, sizeof(line) - 3, format, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    length += 2;
    if (length > (int)sizeof(line) - 2) {
        length = (int)sizeof(line) - 2;
    }
    line[length++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)length) < 0) {
        conform_count(&t->failures);
    }
}

/* Count a failed check; a case that goes on failing is ended. */
static void count_failure(struct conform *t)
{
    enum { FAILURES_MAX = 20 };

    if (conform_count(&t->failures) > FAILURES_MAX) {
        conform_note(t, "%s: and so on", t->case_name);
        _exit(CONFORM_EXIT_FAILED);
    }
}

bool conform_check(struct conform *t, bool held, const char *expression, const char *place)
{
    if (!held) {
        count_failure(t);
        conform_note(t, "%s: %s: not so: %s", place, t->case_name, expression);
    }
    return held;
}

bool conform_check_equal(struct conform *t, long long got, long long wanted, const char *expression,
                         const char *place)
{
    if (got != wanted) {
        count_failure(t);
        conform_note(t, "%s: %s: not so: %s: %lld, not %lld", place, t->case_name, expression, got,
                     wanted);
        return false;
    }
    return true;
}

void conform_require(struct conform *t, bool held, const char *expression, const char *place)
{
    if (!conform_check(t, held, expression, place)) {
        _exit(CONFORM_EXIT_FAILED);
    }
}

unsigned conform_times(const struct conform *t, unsigned times)
{
    return times * t->scale;
}

uint64_t conform_random(struct conform *t)
{
    /* splitmix64: any seed will do, also 0. */
    uint64_t z = t->random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void conform_burn(struct conform *t, struct tocsin_driver *driver, uint64_t delay_ns)
{
    uint64_t end_ns = tocsin_driver_now_ns(driver) + delay_ns;

    if (t->face != NULL && t->face->time_pass != NULL) {
        t->face->time_pass(delay_ns);
        return;
    }
    while (tocsin_driver_now_ns(driver) < end_ns) {
    }
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void *counting_alloc(void *context, size_t size)
{
    struct conform *t = context;
    void *memory;

    if (!conform_uncounted) {
        unsigned number = conform_count(&t->allocations);
        unsigned fail_at = conform_read(&t->fail_at);

        if (fail_at != 0 &&
            (number == fail_at || (number > fail_at && conform_read(&t->fail_on) != 0))) {
            return NULL;
        }
    }
    memory = malloc(size);
    if (memory != NULL) {
        atomic_fetch_add_explicit(&t->live, 1, memory_order_relaxed);
        /* What the runtime takes for zero without having zeroed it shows. */
        memset(memory, 0xa5, size);
    }
    return memory;
}

static void counting_free(void *context, void *pointer)
{
    struct conform *t = context;

    if (pointer != NULL) {
        atomic_fetch_sub_explicit(&t->live, 1, memory_order_relaxed);
        free(pointer);
    }
}

void conform_memory_init(struct conform *t)
{
    t->allocator.alloc = counting_alloc;
    t->allocator.free = counting_free;
    t->allocator.context = t;
}

void conform_fail_alloc(struct conform *t, unsigned nth, bool all)
{
    conform_set(&t->fail_on, all);
    conform_set(&t->fail_at, nth == 0 ? 0 : conform_read(&t->allocations) + nth);
}

bool conform_alloc_failed(const struct conform *t)
{
    unsigned fail_at = conform_read(&t->fail_at);

    return fail_at != 0 && conform_read(&t->allocations) >= fail_at;
}

void conform_each_alloc_fails(struct conform *t, int (*fn)(struct conform *t, void *arg), void *arg)
{
    enum { ALLOCATIONS_MAX = 1000 };

    for (unsigned nth = 1; nth < ALLOCATIONS_MAX; nth++) {
        int live = atomic_load_explicit(&t->live, memory_order_relaxed);
        bool failed;
        int r;

        conform_fail_alloc(t, nth, false);
        r = fn(t, arg);
        failed = conform_alloc_failed(t);
        conform_fail_alloc(t, 0, false);
        if (!failed) {
            CHECK(t, r >= 0);
            return;
        }
        CHECK_EQ(t, r, -ENOMEM);
        CHECK_EQ(t, atomic_load_explicit(&t->live, memory_order_relaxed), live);
        if (conform_read(&t->failures) != 0) {
            conform_note(t, "allocation %u was the one that failed", nth);
            return;
        }
    }
    CHECK(t, false && "it asks for memory without end");
}

/* ---- Pools ----------------------------------------------------------------------------------- */

struct tocsin_pool_options conform_options(struct conform *t)
{
    struct tocsin_pool_options options = {0};

    options.allocator = &t->allocator;
    return options;
}

int conform_pool_open(struct conform *t, const struct tocsin_pool_options *options,
                      struct tocsin_pool **out_pool)
{
    struct tocsin_pool_options with = options != NULL ? *options : conform_options(t);

    with.allocator = &t->allocator;
    return tocsin_pool_open(out_pool, t->backend, &with);
}

struct tocsin_pool *conform_pool(struct conform *t)
{
    struct tocsin_pool *pool = NULL;

    REQUIRE(t, conform_pool_open(t, NULL, &pool) == 0);
    return pool;
}

void conform_pool_close(struct conform *t, struct tocsin_pool *pool)
{
    CHECK_EQ(t, tocsin_pool_close(pool), 0);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static int task_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct conform_task *self = (struct conform_task *)task;

    conform_count(&self->polls);
    self->poll_thread = conform_thread_id();
    return self->poll(self, cx);
}

static void task_drop(struct tocsin_task *task)
{
    struct conform_task *self = (struct conform_task *)task;

    self->drop_thread = conform_thread_id();
    if (self->dropped != NULL) {
        self->dropped(self);
    }
    conform_count(&self->drops);
}

/* The memory is the case's: it may look at the counts afterwards. */
static void task_release(struct tocsin_task *task)
{
    struct conform_task *self = (struct conform_task *)task;

    if (self->released != NULL) {
        self->released(self);
    }
    conform_count(&self->releases);
}

const struct tocsin_task_ops conform_task_ops = {task_poll, task_drop, task_release};

_Static_assert(offsetof(struct conform_task, task) == 0, "the ops cast one to the other");

void conform_spawn(struct conform *t, struct tocsin_driver *driver, struct conform_task *task,
                   conform_poll_fn *poll, void *arg)
{
    task->t = t;
    task->poll = poll;
    task->arg = arg;
    REQUIRE(t, tocsin_task_spawn(driver, &task->task, &conform_task_ops, t->case_name) == 0);
}

void conform_spawn_ref(struct conform *t, struct tocsin_driver *driver, struct conform_task *task,
                       conform_poll_fn *poll, void *arg)
{
    task->t = t;
    task->poll = poll;
    task->arg = arg;
    REQUIRE(t, tocsin_task_spawn_ref(driver, &task->task, &conform_task_ops, t->case_name) == 0);
}

void conform_task_is_gone(struct conform *t, const struct conform_task *task, const char *place)
{
    conform_check_equal(t, conform_read(&task->drops), 1, "it was dropped once", place);
    conform_check_equal(t, conform_read(&task->releases), 1, "it was released once", place);
}

int conform_poll_ready(struct conform_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return 0;
}

int conform_poll_never(struct conform_task *task, struct tocsin_context *cx)
{
    (void)task;
    (void)cx;
    return TOCSIN_PENDING;
}

int conform_poll_flag(struct conform_task *task, struct tocsin_context *cx)
{
    unsigned flag = conform_read(&task->flag);

    (void)cx;
    return flag != 0 ? (int)flag : TOCSIN_PENDING;
}

int conform_poll_yield(struct conform_task *task, struct tocsin_context *cx)
{
    unsigned flag = conform_read(&task->flag);

    return flag != 0 ? (int)flag : tocsin_task_yield(cx);
}

void conform_wake(struct conform_task *task)
{
    struct tocsin_waker waker = tocsin_task_waker(&task->task);

    tocsin_waker_wake(&waker);
}

void conform_finish(struct conform_task *task)
{
    conform_set(&task->flag, 1);
    conform_wake(task);
}

/* ---- Things that become ready ---------------------------------------------------------------- */

void conform_stream_pair(struct conform *t, int fds[2])
{
    REQUIRE(t, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
}

const struct tocsin_conform_face *conform_face;

void conform_source_open(struct conform *t, struct conform_source *source)
{
    int fds[2];

    if ((t->features & TOCSIN_BACKEND_DESCRIPTORS) != 0) {
        conform_stream_pair(t, fds);
        source->kind = TOCSIN_SOURCE_DESCRIPTOR;
        source->number = fds[0];
        source->peer = fds[1];
        return;
    }
    source->kind = TOCSIN_SOURCE_OWN;
    source->number = conform_face->source_create();
    source->peer = -1;
    REQUIRE(t, source->number >= 0);
}

void conform_source_close(struct conform *t, struct conform_source *source)
{
    if (source->kind == TOCSIN_SOURCE_OWN) {
        conform_face->source_destroy(source->number);
        return;
    }
    CHECK_EQ(t, close((int)source->number), 0);
    CHECK_EQ(t, close((int)source->peer), 0);
}

void conform_source_signal(struct conform_source *source)
{
    if (source->kind == TOCSIN_SOURCE_OWN) {
        conform_face->source_signal(source->number);
        return;
    }
    /* A full socket buffer has been signalled already. */
    (void)!send((int)source->peer, "!", 1, MSG_NOSIGNAL);
}

bool conform_source_take(struct conform_source *source)
{
    char bytes[64];
    bool any = false;

    if (source->kind == TOCSIN_SOURCE_OWN) {
        return conform_face->source_take(source->number);
    }
    while (recv((int)source->number, bytes, sizeof(bytes), 0) > 0) {
        any = true;
    }
    return any;
}

int conform_source_watch(struct tocsin_driver *driver, struct conform_source *source,
                         struct tocsin_fd_ready **out_ready)
{
    return tocsin_source_ready_open(driver, source->kind, source->number, out_ready);
}

int conform_source_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver,
                               struct conform_source *source, uint32_t events, tocsin_watch_fn *fn,
                               void *arg)
{
    if (source->kind == TOCSIN_SOURCE_OWN) {
        return tocsin_own_watch_start(watch, driver, source->number, events, fn, arg);
    }
    return tocsin_watch_start(watch, driver, (int)source->number, events, fn, arg);
}
