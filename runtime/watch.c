/*
 * Watches: readiness with a callback.
 *
 * A watch is a registration whose walk queues it instead of waking somebody.  The run queue then
 * calls the callback, so that callbacks are fair and in order like tasks (F1, F2) and never run
 * inside a walk (D4).  A stopped watch that is still queued keeps its slot until the queue has let
 * it go.
 */
#include <errno.h>

#include "runtime/assert.h"
#include "runtime/pool.h"
#include "runtime/vpoll_slot.h"

/* What a watch is over: a slot, or if that is NULL a source of the backend's. */
struct watched {
    struct tocsin_vpoll_slot *slot;
    enum tocsin_source source;
    intptr_t number;
};

static int open_watched(struct tocsin_pool *pool, const struct watched *watched,
                        struct tocsin_fd_ready **out_ready)
{
    return watched->slot != NULL
               ? tocsin__ready_open_slot(pool, watched->slot, TOCSIN__REG_CALLBACK, out_ready)
               : tocsin__ready_open(pool, watched->source, watched->number, TOCSIN__REG_CALLBACK,
                                    out_ready);
}

static int start(struct tocsin_watch *watch, struct tocsin_pool *pool,
                 const struct watched *watched, uint32_t events, tocsin_watch_fn *fn, void *arg)
{
    struct tocsin_fd_ready *ready;
    int r;

    if (fn == NULL) {
        return -EINVAL;
    }
    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    tocsin__assert_thread(pool);
    if (watch->ready_ != NULL) {
        return -EBUSY;
    }
    if (events == 0 || (events & ~(uint32_t)TOCSIN_EVENTS_ALL) != 0) {
        return -EINVAL;
    }
    r = open_watched(pool, watched, &ready);
    if (r < 0) {
        return r;
    }
    ready->callback.interest.wanted = (uint8_t)tocsin__interest_mask(events);
    ready->callback.owner = watch;
    ready->callback.fn = fn;
    ready->callback.arg = arg;
    watch->ready_ = ready;
    pool->alive++;
    tocsin__ready_arm(pool, ready);
    return 0;
}

int tocsin_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver, int fd,
                       uint32_t events, tocsin_watch_fn *fn, void *arg)
{
    const struct watched watched = {NULL, TOCSIN_SOURCE_DESCRIPTOR, fd};

    return start(watch, tocsin__pool_of(driver), &watched, events, fn, arg);
}

int tocsin_own_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver,
                           intptr_t number, uint32_t events, tocsin_watch_fn *fn, void *arg)
{
    const struct watched watched = {NULL, TOCSIN_SOURCE_OWN, number};

    return start(watch, tocsin__pool_of(driver), &watched, events, fn, arg);
}

int tocsin_vpoll_slot_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver,
                                  struct tocsin_vpoll_slot *slot, uint32_t events,
                                  tocsin_watch_fn *fn, void *arg)
{
    const struct watched watched = {slot, TOCSIN_SOURCE_DESCRIPTOR, -1};

    return start(watch, tocsin__pool_of(driver), &watched, events, fn, arg);
}

static void set_background(struct tocsin_fd_ready *ready, bool background)
{
    uint32_t is_background = ready->local_flags & TOCSIN__REG_BACKGROUND;

    if (background && is_background == 0) {
        ready->local_flags |= TOCSIN__REG_BACKGROUND;
        ready->pool->alive--;
    } else if (!background && is_background != 0) {
        ready->local_flags &= ~(uint32_t)TOCSIN__REG_BACKGROUND;
        ready->pool->alive++;
    }
}

void tocsin_watch_set_background(struct tocsin_watch *watch, bool background)
{
    if (watch->ready_ != NULL && !tocsin__is_forked(watch->ready_->pool)) {
        tocsin__assert_thread(watch->ready_->pool);
        set_background(watch->ready_, background);
    }
}

int tocsin_watch_stop(struct tocsin_watch *watch)
{
    struct tocsin_fd_ready *ready = watch->ready_;

    if (ready == NULL) {
        return 0;
    }
    if (!tocsin__is_forked(ready->pool)) {
        tocsin__assert_thread(ready->pool);
        set_background(ready, true);
        ready->callback.interest.wanted = 0;
        ready->callback.fn = NULL;
    }
    watch->ready_ = NULL;
    return tocsin_fd_ready_close(ready);
}

/*
 * The run queue lets @ready go: free it if it was closed meanwhile.  Returns: whether it is there.
 */
static bool leave_queue(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    ready->local_flags &= ~(uint32_t)TOCSIN__REG_QUEUED;
    if ((ready->local_flags & TOCSIN__REG_CLOSED) != 0) {
        tocsin__ready_free(pool, ready);
        return false;
    }
    return true;
}

void tocsin__watch_run(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    struct tocsin__interest *interest = &ready->callback.interest;
    int events = interest->observed & interest->wanted;

    /* QUEUED stays set while the callback runs: stopping the watch there must not free the slot. */
    if (ready->callback.fn != NULL) {
        interest->observed = 0;
        ready->callback.fn(ready->callback.owner, ready->error < 0 ? ready->error : events,
                           ready->callback.arg);
    }
    if (tocsin__is_forked(pool)) {
        return; /* the callback forked, and this is the child */
    }
    if (leave_queue(pool, ready) && ready->callback.fn != NULL) {
        tocsin__ready_arm(pool, ready);
    }
}

/* The pool closes: the callback is not called any more. */
void tocsin__watch_end(struct tocsin_pool *pool, struct tocsin_fd_ready *ready)
{
    leave_queue(pool, ready);
}
