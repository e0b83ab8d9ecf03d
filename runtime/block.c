/*
 * Blocking on a poll function, on a thread without a pool.
 *
 * The waker is a counted parker on the heap, for its clones may outlive the call.
 *
 * Invariant
 *   B1  A wake that comes after the poll returned and before the wait is kept: woken is set under
 *       the lock that the wait looks at it with.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "runtime/actor.h"
#include "runtime/pool.h"

struct parker {
    /* PARK-1 in docs/CONCURRENCY.md: references; the last one frees. */
    _Atomic(uint64_t) refs;
    struct tocsin__mutex lock;
    struct tocsin__parking parking;
    bool woken; /* guarded by lock */
};

static void parker_clone(void *data)
{
    struct parker *parker = data;

    /* PARK-1 relaxed: the caller's own reference keeps it. */
    atomic_fetch_add_explicit(&parker->refs, 1, memory_order_relaxed);
}

static void parker_drop(void *data)
{
    struct parker *parker = data;

    /* PARK-1 acq_rel: every holder's last use comes before the free. */
    if (atomic_fetch_sub_explicit(&parker->refs, 1, memory_order_acq_rel) == 1) {
        tocsin__parking_deinit(&parker->parking);
        tocsin__mutex_deinit(&parker->lock);
        free(parker);
    }
}

static void parker_wake_by_ref(void *data)
{
    struct parker *parker = data;

    tocsin__mutex_lock(&parker->lock);
    parker->woken = true;
    tocsin__parking_signal(&parker->parking);
    tocsin__mutex_unlock(&parker->lock);
}

static void parker_wake(void *data)
{
    parker_wake_by_ref(data);
    parker_drop(data);
}

static const struct tocsin_waker_ops parker_ops = {
    .clone = parker_clone,
    .wake = parker_wake,
    .wake_by_ref = parker_wake_by_ref,
    .drop = parker_drop,
};

static int parker_create(struct parker **out_parker)
{
    struct parker *parker = calloc(1, sizeof(*parker));
    int r;

    if (parker == NULL) {
        return -ENOMEM;
    }
    r = tocsin__mutex_init(&parker->lock);
    if (r < 0) {
        goto err_lock;
    }
    r = tocsin__parking_init(&parker->parking);
    if (r < 0) {
        goto err_parking;
    }
    atomic_init(&parker->refs, 1);
    *out_parker = parker;
    return 0;

err_parking:
    tocsin__mutex_deinit(&parker->lock);
err_lock:
    free(parker);
    return r;
}

int tocsin_block_on(tocsin_poll_fn *fn, void *arg, int *out_result)
{
    struct tocsin_context cx = {0};
    struct parker *parker;
    int result;
    int r;

    if (fn == NULL) {
        return -EINVAL;
    }
    if (tocsin__thread_has_pool()) {
        return -EDEADLK;
    }
    r = parker_create(&parker);
    if (r < 0) {
        return r;
    }
    cx.waker = (struct tocsin_waker){.ops = &parker_ops, .data = parker};
    while ((result = fn(&cx, arg)) == TOCSIN_PENDING) {
        tocsin__mutex_lock(&parker->lock);
        while (!parker->woken) {
            tocsin__parking_wait(&parker->parking, &parker->lock);
        }
        parker->woken = false;
        tocsin__mutex_unlock(&parker->lock);
    }
    parker_drop(parker);
    if (out_result != NULL) {
        *out_result = result;
    }
    return 0;
}
