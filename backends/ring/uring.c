/*
 * The pool's ring: slots, backlog, stash, and the end.  See uring.h.
 */
#include "backends/ring/uring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

enum {
    SLOTS_FIRST = 64,
    ENTERS_MAX = 8, /* of one flush; what is left then waits for the next */
};

static_assert(sizeof(struct io_uring_sqe) == sizeof(((struct tocsin_uring_op *)0)->sqe_),
              "an op has room for one submission entry");

/* ---- Slots ----------------------------------------------------------------------------------- */

/* The new slots go to the free list in their order.  -ENOMEM: the table is as it was. */
static int grow(struct uring *uring)
{
    uint32_t count = uring->slots_count == 0 ? SLOTS_FIRST : uring->slots_count * 2;
    struct uring_slot *slots;

    if (count > URING_SLOT_MASK) {
        return -ENOMEM;
    }
    slots = tocsin__alloc_zeroed(uring->pool, count * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    if (uring->slots_count > 0) {
        memcpy(slots, uring->slots, uring->slots_count * sizeof(*slots));
        tocsin__free(uring->pool, uring->slots);
    }
    for (uint32_t i = uring->slots_count; i < count; i++) {
        slots[i].next_free = i + 1;
    }
    uring->slots = slots;
    uring->free_slot = uring->slots_count;
    uring->slots_count = count;
    return 0;
}

int tocsin__uring_slot_take(struct uring *uring, struct tocsin_uring_op *op)
{
    struct uring_slot *slot;
    int r;

    if (uring->free_slot == uring->slots_count) {
        r = grow(uring);
        if (r < 0) {
            return r;
        }
    }
    op->slot_ = uring->free_slot;
    slot = &uring->slots[op->slot_];
    uring->free_slot = slot->next_free;
    slot->op = op;
    op->user_data_ =
        (uint64_t)slot->generation << 32 | (uint64_t)URING_KIND_OP << URING_KIND_SHIFT | op->slot_;
    uring->flying++;
    uring->pool->alive++;
    return 0;
}

void tocsin__uring_slot_free(struct uring *uring, struct tocsin_uring_op *op)
{
    struct uring_slot *slot = &uring->slots[op->slot_];

    if (tocsin__uring_op_has(op, URING_OP_CANCEL)) {
        tocsin__uring_op_unmark(op, URING_OP_CANCEL);
        uring->cancels--;
    }
    if (tocsin__uring_op_has(op, URING_OP_CANCEL_LATER)) {
        tocsin__uring_op_unmark(op, URING_OP_CANCEL_LATER);
        uring->cancels_later--;
    }
    slot->op = NULL;
    slot->generation++; /* O1, U3: what was meant for this operation finds nothing any more */
    slot->next_free = uring->free_slot;
    uring->free_slot = op->slot_;
    uring->flying--;
    uring->pool->alive--;
}

static struct tocsin_uring_op *find(const struct uring *uring, uint64_t user_data)
{
    uint32_t index = (uint32_t)user_data & URING_SLOT_MASK;

    TOCSIN_ASSERT(index < uring->slots_count &&
                      uring->slots[index].generation == (uint32_t)(user_data >> 32) &&
                      uring->slots[index].op != NULL,
                  "O1: a completion of an operation that is not in flight");
    return uring->slots[index].op;
}

/* ---- On the way in --------------------------------------------------------------------------- */

static void put(struct uring *uring, const struct tocsin_uring_op *op, const void *sqe)
{
    struct io_uring_sqe *entry = tocsin__ring_next(&uring->ring);

    memcpy(entry, sqe, sizeof(*entry));
    entry->user_data = op->user_data_;
}

bool tocsin__uring_reserve(struct uring *uring, size_t count)
{
    if (uring->backlog.head == NULL && tocsin__ring_room(&uring->ring) < count) {
        tocsin__uring_flush(uring);
    }
    return uring->backlog.head == NULL && tocsin__ring_room(&uring->ring) >= count;
}

void tocsin__uring_put(struct uring *uring, struct tocsin_uring_op *op,
                       const struct io_uring_sqe *sqe, bool has_room)
{
    if (has_room) {
        put(uring, op, sqe);
        return;
    }
    if ((const void *)sqe != (const void *)op->sqe_) {
        memcpy(op->sqe_, sqe, sizeof(op->sqe_));
    }
    tocsin__uring_op_mark(op, URING_OP_BACKLOG);
    tocsin__queue_push(&uring->backlog, &op->item_);
}

static struct tocsin_uring_op *op_of(struct tocsin_item_ *item)
{
    return TOCSIN__CONTAINER(item, struct tocsin_uring_op, item_);
}

static bool is_linked(const struct tocsin_uring_op *op)
{
    const struct io_uring_sqe *sqe = (const void *)op->sqe_;

    return (sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0;
}

/* How many ops the first chain of the backlog has. */
static uint32_t chain_length(const struct uring *uring)
{
    struct tocsin_item_ *item = uring->backlog.head;
    uint32_t count = 0;

    while (item != NULL) {
        count++;
        item = is_linked(op_of(item)) ? item->next_ : NULL;
    }
    return count;
}

/* One cancel request, if there is room. */
static bool put_cancel(struct uring *uring, struct tocsin_uring_op *op)
{
    struct io_uring_sqe *sqe;

    if (tocsin__ring_room(&uring->ring) == 0) {
        return false;
    }
    sqe = tocsin__ring_next(&uring->ring);
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->addr = op->user_data_;
    sqe->user_data = (op->user_data_ & ~((uint64_t)3 << URING_KIND_SHIFT)) |
                     (uint64_t)URING_KIND_CANCEL << URING_KIND_SHIFT;
    return true;
}

/* Those that could not be asked for at once; only a queue that was full brings us here. */
static void put_cancels(struct uring *uring)
{
    for (uint32_t i = 0; i < uring->slots_count && uring->cancels > 0; i++) {
        struct tocsin_uring_op *op = uring->slots[i].op;

        if (op == NULL || !tocsin__uring_op_has(op, URING_OP_CANCEL) ||
            tocsin__uring_op_has(op, URING_OP_BACKLOG)) {
            continue;
        }
        if (!put_cancel(uring, op)) {
            return;
        }
        tocsin__uring_op_unmark(op, URING_OP_CANCEL);
        uring->cancels--;
    }
}

void tocsin__uring_cancel(struct uring *uring, struct tocsin_uring_op *op)
{
    if (tocsin__uring_op_has(op, URING_OP_CANCEL | URING_OP_CANCEL_LATER)) {
        return;
    }
    if (!tocsin__uring_op_has(op, URING_OP_BACKLOG) && put_cancel(uring, op)) {
        return;
    }
    tocsin__uring_op_mark(op, URING_OP_CANCEL);
    uring->cancels++;
}

static void cancel_later_ones(struct uring *uring)
{
    for (uint32_t i = 0; i < uring->slots_count && uring->cancels_later > 0; i++) {
        struct tocsin_uring_op *op = uring->slots[i].op;

        if (op != NULL && tocsin__uring_op_has(op, URING_OP_CANCEL_LATER)) {
            tocsin__uring_op_unmark(op, URING_OP_CANCEL_LATER);
            tocsin__uring_op_mark(op, URING_OP_CANCEL);
            uring->cancels_later--;
            uring->cancels++;
        }
    }
}

void tocsin__uring_fill(struct uring *uring)
{
    struct tocsin_item_ *item;
    uint32_t count;

    while (uring->backlog.head != NULL &&
           (count = chain_length(uring)) <= tocsin__ring_room(&uring->ring)) {
        for (; count > 0 && (item = tocsin__queue_pop(&uring->backlog)) != NULL; count--) {
            tocsin__uring_op_unmark(op_of(item), URING_OP_BACKLOG);
            put(uring, op_of(item), op_of(item)->sqe_);
        }
    }
    if (uring->cancels_later > 0 && tocsin_pool_now_ns(uring->pool) >= uring->later_at_ns) {
        cancel_later_ones(uring);
    }
    if (uring->cancels > 0) {
        put_cancels(uring);
    }
}

static bool is_waiting(const struct uring *uring)
{
    return uring->backlog.head != NULL || uring->cancels > 0;
}

void tocsin__uring_flush(struct uring *uring)
{
    uint32_t before;

    if (tocsin__ring_enable(&uring->ring) < 0) {
        return;
    }
    for (unsigned i = 0; i < ENTERS_MAX; i++) {
        tocsin__uring_fill(uring);
        before = tocsin__ring_unsubmitted(&uring->ring);
        if (before == 0 && !tocsin__ring_wants_enter(&uring->ring)) {
            return;
        }
        tocsin__ring_enter(&uring->ring, 0, NULL); /* what it did shows in the queues */
        if (before > 0 && tocsin__ring_unsubmitted(&uring->ring) == before) {
            return; /* refused: EAGAIN, EBUSY */
        }
        if (!tocsin__uring_is_stuck(uring)) {
            return;
        }
    }
}

void tocsin__uring_call_turn(struct uring *uring)
{
    if (uring->stash_count > 0 || tocsin__remote_is_due(uring->remote)) {
        tocsin__pool_wake(uring->pool);
    }
}

bool tocsin__uring_is_stuck(const struct uring *uring)
{
    return is_waiting(uring) || tocsin__ring_unsubmitted(&uring->ring) > 0;
}

uint64_t tocsin__uring_bound_sleep(const struct uring *uring, uint64_t deadline_ns)
{
    uint64_t bound_ns = deadline_ns;

    if (tocsin__uring_is_stuck(uring)) { /* U6: no event tells when the kernel takes more */
        bound_ns = tocsin_pool_now_ns(uring->pool) + URING_RETRY_NS;
    } else if (uring->cancels_later > 0) {
        bound_ns = uring->later_at_ns;
    }
    return bound_ns < deadline_ns ? bound_ns : deadline_ns;
}

struct io_uring_sqe *tocsin__uring_next(struct uring *uring)
{
    struct io_uring_sqe *sqe;

    if (tocsin__ring_room(&uring->ring) == 0) {
        tocsin__uring_flush(uring);
    }
    if (tocsin__ring_room(&uring->ring) == 0) {
        return NULL;
    }
    sqe = tocsin__ring_next(&uring->ring);
    memset(sqe, 0, sizeof(*sqe));
    return sqe;
}

bool tocsin__uring_take_back(struct uring *uring, const struct uring_completion *completion)
{
    struct tocsin_item_ *item = tocsin__queue_pop(&uring->backlog);
    const struct io_uring_sqe *sqe;

    if (item != NULL) {
        tocsin__uring_op_unmark(op_of(item), URING_OP_BACKLOG);
        tocsin__uring_op_completed(uring, op_of(item), completion);
        return true;
    }
    while ((sqe = tocsin__ring_take_back(&uring->ring)) != NULL) {
        if (uring_kind_of(sqe->user_data) == URING_KIND_OP) {
            tocsin__uring_op_completed(uring, find(uring, sqe->user_data), completion);
            return true;
        }
    }
    return false;
}

/* ---- On the way out -------------------------------------------------------------------------- */

/*
 * The kernel finds no member of a chain whose turn has not come, or is just coming on one of its
 * workers: it has to be asked again, when something has completed or, ever more rarely, when a
 * while has passed.  If the member has completed meanwhile, its slot is of another generation, or
 * will soon be.
 */
static void cancelled(struct uring *uring, uint64_t user_data, int32_t result)
{
    const struct uring_slot *slot = &uring->slots[user_data & URING_SLOT_MASK];

    if (result != -ENOENT || slot->op == NULL || slot->generation != (uint32_t)(user_data >> 32) ||
        !tocsin__uring_op_has(slot->op, URING_OP_CHAINED) ||
        tocsin__uring_op_has(slot->op, URING_OP_CANCEL | URING_OP_CANCEL_LATER)) {
        return;
    }
    tocsin__uring_op_mark(slot->op, URING_OP_CANCEL_LATER);
    if (uring->cancels_later++ == 0) {
        uring->later_at_ns = tocsin_pool_now_ns(uring->pool) + uring->later_delay_ns;
        if (uring->later_delay_ns < URING_LATER_NS_MAX) {
            uring->later_delay_ns *= 2;
        }
    }
}

bool tocsin__uring_collect(struct uring *uring, uring_other_fn *other, void *arg)
{
    uint32_t left = tocsin__ring_completions(&uring->ring);

    for (; left > 0; left--) {
        const struct io_uring_cqe *cqe = tocsin__ring_first(&uring->ring);

        switch (uring_kind_of(cqe->user_data)) {
        case URING_KIND_NONE:
            break;
        case URING_KIND_CANCEL:
            cancelled(uring, cqe->user_data, cqe->res);
            break;
        case URING_KIND_OP:
            if (uring->stash_count == *uring->ring.uring.cq.kring_entries) {
                return false;
            }
            uring->stash[uring->stash_count++] = (struct uring_completion){
                .user_data = cqe->user_data, .result = cqe->res, .flags = cqe->flags};
            break;
        case URING_KIND_OTHER:
            if (other == NULL || !other(arg, cqe->user_data, cqe->res, cqe->flags)) {
                return false;
            }
            break;
        }
        tocsin__ring_take(&uring->ring);
    }
    return true;
}

/* Hooks may submit, cancel and drop, but nothing comes into the stash meanwhile. */
static void deliver(struct uring *uring)
{
    if (uring->stash_count > 0) {
        uring->later_delay_ns = URING_RETRY_NS;
        cancel_later_ones(uring); /* those that may have followed it can be found now */
    }
    /* A hook may fork: the others are then the parent's. */
    while (uring->stash_next < uring->stash_count && !tocsin__is_forked(uring->pool)) {
        struct uring_completion completion = uring->stash[uring->stash_next++];

        tocsin__uring_op_completed(uring, find(uring, completion.user_data), &completion);
    }
    uring->stash_count = 0;
    uring->stash_next = 0;
}

/*
 * What has arrived is kept in the ring, not here: user code that one arrival runs may have those
 * behind it take place first.
 */
void tocsin__uring_arrive(struct uring *uring, struct tocsin_item_ *chain)
{
    struct tocsin_item_ **tail = &uring->arrived;
    struct tocsin_item_ *item;

    while (*tail != NULL) {
        tail = &(*tail)->next_;
    }
    *tail = chain;
    while ((item = uring->arrived) != NULL && !tocsin__is_forked(uring->pool)) {
        uring->arrived = item->next_; /* before the item is anybody else's */
        tocsin__uring_op_arrived(uring, item);
    }
}

void tocsin__uring_harvest(struct uring *uring)
{
    tocsin__uring_arrive(uring, tocsin__remote_take(uring->remote));
    deliver(uring);
}
