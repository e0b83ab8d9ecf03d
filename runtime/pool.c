/*
 * The pool's memory, its thread, its opening and its end.
 *
 * Close, in this order: the inbox closes and what was in it arrives; posts are told, tasks end;
 * timers are disarmed; registrations close; kicks are shut out; the backend closes.  What others
 * still hold is freed by the last reference.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/actor.h"
#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/vpoll_slot.h"

TOCSIN__TLS _Thread_local struct tocsin_pool *tocsin__running;

/* How many pools this thread is the thread of, in the process that bound_mark marks. */
static _Thread_local unsigned pools_bound;
static _Thread_local const volatile unsigned char *bound_mark;

static void *alloc_default(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void free_default(void *context, void *pointer)
{
    (void)context;
    free(pointer);
}

static const struct tocsin_allocator allocator_default = {alloc_default, free_default, NULL};

void *tocsin__alloc(struct tocsin_pool *pool, size_t size)
{
    return pool->allocator.alloc(pool->allocator.context, size);
}

void *tocsin__alloc_zeroed(struct tocsin_pool *pool, size_t size)
{
    void *pointer = tocsin__alloc(pool, size);

    if (pointer != NULL) {
        memset(pointer, 0, size);
    }
    return pointer;
}

void tocsin__free(struct tocsin_pool *pool, void *pointer)
{
    pool->allocator.free(pool->allocator.context, pointer);
}

void tocsin__pool_ref(struct tocsin_pool *pool)
{
    /* REFS-1 relaxed: the caller has a reference, or is the open pool's own thread. */
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

static void free_pool(struct tocsin_pool *pool)
{
    struct tocsin_allocator allocator = pool->allocator;

    tocsin__task_table_deinit(&pool->tasks, pool);
    tocsin__registrations_deinit(pool);
    tocsin__heap_deinit(&pool->heap, pool);
    tocsin__posts_free(pool);
    tocsin__free(pool, pool->driver.backend_state);
    tocsin__free(pool, pool->events.events);
    tocsin__free(pool, pool->wakers.wakers);
    tocsin__mutex_deinit(&pool->kick_lock);
    tocsin__mutex_deinit(&pool->joins_lock);
    allocator.free(allocator.context, pool->memory);
}

void tocsin__pool_unref(struct tocsin_pool *pool)
{
    /* REFS-1 acq_rel: every holder's last use comes before the free. */
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) == 1) {
        free_pool(pool);
    }
}

void tocsin__pool_kick(struct tocsin_pool *pool)
{
    if (tocsin__is_forked(pool)) {
        return; /* the eventfd is the parent's */
    }
    /* W1 allows a lock where the pool sleeps; it keeps the backend open during the kick. */
    tocsin__mutex_lock(&pool->kick_lock);
    if (pool->kickable) {
        pool->driver.ops->kick(pool->driver.backend_state);
    }
    tocsin__mutex_unlock(&pool->kick_lock);
    tocsin__actor_point();
}

void tocsin__pool_wake(struct tocsin_pool *pool)
{
    if (tocsin__wake_post(&pool->wake)) {
        tocsin__pool_kick(pool);
    }
}

void tocsin__pool_wake_for_timer(struct tocsin_pool *pool, uint64_t deadline_ns)
{
    if (tocsin__wake_for_timer(&pool->wake, deadline_ns)) {
        tocsin__pool_kick(pool);
    }
}

bool tocsin__thread_has_pool(void)
{
    /* A forked child inherits the count, but none of the pools. */
    if (tocsin__running != NULL && !tocsin__is_forked(tocsin__running)) {
        return true;
    }
    return pools_bound > 0 && *bound_mark != 0;
}

static uintptr_t owner_of(const struct tocsin_pool *pool)
{
    /* OWNER-1 relaxed: a thread's own id is seen by itself; any other value is not its own. */
    return atomic_load_explicit(&pool->owner, memory_order_relaxed);
}

void tocsin__assert_thread(const struct tocsin_pool *pool)
{
    uintptr_t owner;

    if (tocsin__is_here(pool)) {
        return;
    }
    owner = owner_of(pool);
    TOCSIN_ASSERT(owner == 0 || owner == tocsin__thread_id(),
                  "this function is for the pool's thread only");
}

/* This thread becomes the pool's if it has none.  -EPERM: it has another. */
static int bind_thread(struct tocsin_pool *pool)
{
    uintptr_t owner = 0;
    uintptr_t self = tocsin__thread_id();

    /* OWNER-1 relaxed: it decides who is the thread, and publishes nothing. */
    if (!atomic_compare_exchange_strong_explicit(&pool->owner, &owner, self, memory_order_relaxed,
                                                 memory_order_relaxed) &&
        owner != self) {
        return -EPERM;
    }
    if (!pool->bound) {
        pool->bound = true;
        pools_bound = bound_mark == NULL || *bound_mark == 0 ? 1 : pools_bound + 1;
        bound_mark = pool->fork_mark;
    }
    return 0;
}

int tocsin__enter(struct tocsin_pool *pool, struct tocsin_pool **out_outer)
{
    int r;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    r = bind_thread(pool);
    if (r < 0) {
        return r;
    }
    if (pool->in_turn) {
        return -EBUSY;
    }
    if (tocsin__wake_is_asleep(&pool->wake)) {
        tocsin__wake_waited(&pool->wake); /* a hosted pool was left asleep */
    }
    pool->in_turn = true;
    *out_outer = tocsin__running;
    tocsin__running = pool;
    return 0;
}

void tocsin__leave(struct tocsin_pool *pool, struct tocsin_pool *outer)
{
    tocsin__running = outer;
    pool->in_turn = false;
}

static void set_options(struct tocsin_pool *pool, const struct tocsin_pool_options *options)
{
    struct tocsin_pool_options *own = &pool->options;

    if (options != NULL) {
        *own = *options;
    }
    own->budget_polls = own->budget_polls != 0 ? own->budget_polls : 256;
    own->clock_polls = own->clock_polls != 0 ? own->clock_polls : 16;
    own->budget_ns = own->budget_ns != 0 ? own->budget_ns : UINT64_C(250000);
    pool->order.state = own->order_seed;
    if (own->busy_poll_ns != 0 && tocsin__processors() < 2) {
        own->busy_poll_ns = 0; /* whoever would wake it could not run */
    }
}

/* Zeroed memory for the pool, aligned to a cache line within what the allocator gives. */
static struct tocsin_pool *alloc_pool(const struct tocsin_allocator *allocator)
{
    size_t size = sizeof(struct tocsin_pool) + TOCSIN__CACHE_LINE;
    char *memory = allocator->alloc(allocator->context, size);
    struct tocsin_pool *pool;

    if (memory == NULL) {
        return NULL;
    }
    memset(memory, 0, size);
    pool = (struct tocsin_pool *)(void *)(memory + TOCSIN__CACHE_LINE -
                                          (uintptr_t)memory % TOCSIN__CACHE_LINE);
    pool->memory = memory;
    pool->allocator = *allocator;
    return pool;
}

static int alloc_parts(struct tocsin_pool *pool)
{
    size_t wakers = (size_t)TOCSIN__EVENTS_MAX * TOCSIN__SLOTS;

    pool->driver.backend_state = tocsin__alloc_zeroed(pool, pool->driver.ops->state_size);
    pool->events.events = tocsin__alloc(pool, TOCSIN__EVENTS_MAX * sizeof(*pool->events.events));
    pool->wakers.wakers = tocsin__alloc(pool, wakers * sizeof(*pool->wakers.wakers));
    if (pool->driver.backend_state == NULL || pool->events.events == NULL ||
        pool->wakers.wakers == NULL) {
        return -ENOMEM;
    }
    pool->events.capacity = TOCSIN__EVENTS_MAX;
    return 0;
}

static int init_locks(struct tocsin_pool *pool)
{
    int r = tocsin__mutex_init(&pool->kick_lock);

    r = r < 0 ? r : tocsin__mutex_init(&pool->joins_lock);
    r = r < 0 ? r : tocsin__task_table_init(&pool->tasks);
    return r < 0 ? r : tocsin__registrations_init(&pool->registrations);
}

/* The backend may ask who it is opened for: it allocates by the pool's allocator. */
static int open_backend(struct tocsin_pool *pool)
{
    struct tocsin_pool *outer = tocsin__running;
    int r;

    tocsin__running = pool;
    r = pool->driver.ops->open(pool->driver.backend_state, pool->backend.arg);
    tocsin__running = outer;
    return r;
}

int tocsin_pool_open(struct tocsin_pool **out_pool, const struct tocsin_backend *backend,
                     const struct tocsin_pool_options *options)
{
    const struct tocsin_allocator *allocator = &allocator_default;
    const volatile unsigned char *fork_mark;
    struct tocsin_pool *pool;
    int r;

    backend = backend != NULL ? backend : tocsin_backend_default();
    if (backend == NULL) {
        return -ENOENT;
    }
    if (backend->ops->version != TOCSIN_BACKEND_VERSION) {
        return -EINVAL;
    }
    if (options != NULL && options->allocator != NULL) {
        allocator = options->allocator;
    }
    r = tocsin__fork_mark(&fork_mark);
    if (r < 0) {
        return r;
    }
    pool = alloc_pool(allocator);
    if (pool == NULL) {
        return -ENOMEM;
    }
    pool->fork_mark = fork_mark;
    pool->backend = *backend;
    pool->driver.ops = backend->ops;
    pool->due_tail = &pool->due;
    pool->parked_ns = TOCSIN_NEVER_NS;
    set_options(pool, options);
    tocsin__wake_init(&pool->wake);
    tocsin__inbox_init(&pool->inbox);
    atomic_init(&pool->refs, 1);
    r = init_locks(pool);
    r = r < 0 ? r : alloc_parts(pool);
    r = r < 0 ? r : open_backend(pool);
    if (r < 0) {
        free_pool(pool);
        return r;
    }
    pool->kickable = true;
    *out_pool = pool;
    return 0;
}

/* Nothing of other threads' can arrive any more; what came before does. */
static void end_work(struct tocsin_pool *pool)
{
    struct tocsin_item_ *item;

    tocsin__inbox_drain(pool, tocsin__inbox_close(&pool->inbox));
    tocsin__task_table_each(pool, tocsin__task_end);
    while ((item = tocsin__queue_pop(&pool->queue)) != NULL) {
        switch ((enum tocsin__item_kind)item->kind_) {
        case TOCSIN__ITEM_POST:
            tocsin__post_run(pool, item, -ECANCELED);
            break;
        case TOCSIN__ITEM_TASK:
            tocsin_task_unref(TOCSIN__CONTAINER(item, struct tocsin_task, run_));
            break;
        case TOCSIN__ITEM_READY:
            tocsin__watch_end(pool, TOCSIN__CONTAINER(item, struct tocsin_fd_ready, item));
            break;
        case TOCSIN__ITEM_SLOT:
            tocsin__slot_end(item);
            break;
        case TOCSIN__ITEM_TIMER_MOVE:
            TOCSIN_UNREACHABLE("an item in the run queue that cannot be run");
        }
    }
    tocsin__timers_end(pool);
}

static void close_backend(struct tocsin_pool *pool, enum tocsin_backend_close how)
{
    tocsin__mutex_lock(&pool->kick_lock);
    pool->kickable = false;
    tocsin__mutex_unlock(&pool->kick_lock);
    pool->driver.ops->close(pool->driver.backend_state, how);
}

/*
 * In a forked child: no lock, no list and no user code, for other threads of the parent held them.
 */
static int close_forked(struct tocsin_pool *pool)
{
    pool->driver.ops->close(pool->driver.backend_state, TOCSIN_BACKEND_CLOSE_FORKED);
    tocsin__pool_unref(pool);
    return 0;
}

static int close_by(struct tocsin_pool *pool, uint64_t timeout_ns)
{
    struct tocsin_pool *outer;
    int lost;
    int r;

    if (pool == NULL) {
        return 0;
    }
    if (tocsin__is_forked(pool)) {
        return close_forked(pool);
    }
    r = tocsin__enter(pool, &outer);
    if (r < 0) {
        return r;
    }
    pool->close_by_ns = tocsin_pool_now_ns(pool);
    pool->close_by_ns += timeout_ns < TOCSIN_NEVER_NS - pool->close_by_ns
                             ? timeout_ns
                             : TOCSIN_NEVER_NS - pool->close_by_ns;
    end_work(pool);
    tocsin__mutex_lock(&pool->registrations.lock);
    pool->registrations.closed = true;
    pool->closed = true;
    tocsin__mutex_unlock(&pool->registrations.lock);
    tocsin__deferred_free(pool);
    tocsin__wake_begin_turn(&pool->wake);
    close_backend(pool, TOCSIN_BACKEND_CLOSE);
    tocsin__leave(pool, outer);
    pools_bound--;
    lost = pool->lost;
    tocsin__pool_unref(pool);
    return lost;
}

int tocsin_pool_close(struct tocsin_pool *pool)
{
    return close_by(pool, TOCSIN_NEVER_NS);
}

int tocsin_pool_close_timeout(struct tocsin_pool *pool, uint64_t timeout_ns)
{
    return close_by(pool, timeout_ns);
}

struct tocsin_driver *tocsin_pool_driver(struct tocsin_pool *pool)
{
    return &pool->driver;
}

struct tocsin_driver *tocsin_driver_ref(struct tocsin_driver *driver)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);

    tocsin__pool_ref(pool);
    /* DRIVER-1 relaxed: the caller's own driver keeps the pool from ending meanwhile. */
    atomic_fetch_add_explicit(&pool->drivers, 1, memory_order_relaxed);
    return driver;
}

void tocsin_driver_unref(struct tocsin_driver *driver)
{
    struct tocsin_pool *pool;

    if (driver == NULL) {
        return;
    }
    pool = tocsin__pool_of(driver);
    /* DRIVER-1 release: pairs with the acquire in tocsin__is_alive(). */
    if (atomic_fetch_sub_explicit(&pool->drivers, 1, memory_order_release) == 1) {
        tocsin__pool_wake(pool); /* the run may be over */
    }
    tocsin__pool_unref(pool);
}

uint64_t tocsin_pool_now_ns(const struct tocsin_pool *pool)
{
    return pool->driver.ops->now(pool->driver.backend_state);
}

uint64_t tocsin_driver_now_ns(const struct tocsin_driver *driver)
{
    return driver->ops->now(driver->backend_state);
}

const struct tocsin_backend *tocsin_driver_backend(const struct tocsin_driver *driver)
{
    return &tocsin__pool_of(driver)->backend;
}

const char *tocsin_version(void)
{
    return TOCSIN_STRING(TOCSIN_VERSION_MAJOR) "." TOCSIN_STRING(
        TOCSIN_VERSION_MINOR) "." TOCSIN_STRING(TOCSIN_VERSION_PATCH);
}
