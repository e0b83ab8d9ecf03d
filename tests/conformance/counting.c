/*
 * The counting backend: passes everything on to the one under test, and counts it.
 *
 * Its state is a head that says whose it is, followed by the inner backend's state.  Its name and
 * features are the inner one's.  Cases hang hooks and faults on it: a hook before a wait runs at
 * the one moment at which the pool is known to be asleep, so that races become orders.
 */
#include <stdlib.h>
#include <string.h>

#include "runner.h"

enum {
    HEAD_SIZE =
        64, /* keeps the inner state as aligned as malloc(3) made the whole, and a line apart */
};

struct counting_head {
    struct conform *t;
    const struct tocsin_backend_ops *inner;
    struct in_use *in_use; /* --ring: from the first turn on */
};

_Static_assert(sizeof(struct counting_head) <= HEAD_SIZE, "the inner state follows the head");

/* One process runs one case on one backend. */
static struct tocsin_backend_ops counting_ops;
static struct tocsin_backend counting_backend;
static const struct tocsin_backend *counting_inner;
static struct conform *counting_t;
static bool counting_ring;

static void *inner_state(void *state)
{
    return (char *)state + HEAD_SIZE;
}

static const struct tocsin_backend_ops *inner_ops(void *state)
{
    return ((struct counting_head *)state)->inner;
}

static struct conform *case_of(void *state)
{
    return ((struct counting_head *)state)->t;
}

static int be_counting_open(void *state, void *arg)
{
    struct counting_head *head = state;

    head->t = counting_t;
    head->inner = counting_inner->ops;
    conform_count(&head->t->counts.opens);
    if (head->t->fail_open != 0) {
        return head->t->fail_open;
    }
    return head->inner->open(inner_state(state), arg != NULL ? arg : counting_inner->arg);
}

static void be_counting_close(void *state, enum tocsin_backend_close how)
{
    conform_count(&case_of(state)->counts.closes);
    conform_in_use_end(((struct counting_head *)state)->in_use, how);
    inner_ops(state)->close(inner_state(state), how);
}

static uint64_t be_counting_now(void *state)
{
    return inner_ops(state)->now(inner_state(state));
}

static void hook(struct conform *t, enum conform_moment moment, uint64_t deadline_ns,
                 struct tocsin_backend_events *list)
{
    if (t->hook != NULL) {
        t->hook(t, moment, deadline_ns, list, t->hook_arg);
    }
}

static int be_counting_wait(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list)
{
    struct conform *t = case_of(state);
    int r;

    conform_count(&t->counts.waits);
    hook(t, CONFORM_BEFORE_WAIT, deadline_ns, list);
    if (t->fail_wait != 0) {
        return t->fail_wait;
    }
    if (t->empty_waits > 0) {
        t->empty_waits--;
        return 0;
    }
    r = inner_ops(state)->wait(inner_state(state), deadline_ns, list);
    hook(t, CONFORM_AFTER_WAIT, deadline_ns, list);
    return r;
}

static int be_counting_look(void *state, struct tocsin_backend_events *list)
{
    struct conform *t = case_of(state);
    int r;

    conform_count(&t->counts.looks);
    hook(t, CONFORM_BEFORE_LOOK, 0, list);
    if (t->fail_wait != 0) {
        return t->fail_wait;
    }
    r = inner_ops(state)->look(inner_state(state), list);
    hook(t, CONFORM_AFTER_LOOK, 0, list);
    return r;
}

static void be_counting_kick(void *state)
{
    conform_count(&case_of(state)->counts.kicks);
    inner_ops(state)->kick(inner_state(state));
}

static int be_counting_attach(void *state, struct tocsin_backend_watch *watch)
{
    struct conform *t = case_of(state);

    conform_count(&t->counts.attaches);
    atomic_store_explicit(&t->attached_id, watch->id, memory_order_relaxed);
    if (t->fail_attach != 0) {
        return t->fail_attach;
    }
    return inner_ops(state)->attach(inner_state(state), watch);
}

static void be_counting_arm(void *state, struct tocsin_backend_watch *watch, uint32_t events)
{
    conform_count(&case_of(state)->counts.arms);
    inner_ops(state)->arm(inner_state(state), watch, events);
}

static int be_counting_detach(void *state, struct tocsin_backend_watch *watch)
{
    conform_count(&case_of(state)->counts.detaches);
    return inner_ops(state)->detach(inner_state(state), watch);
}

static intptr_t be_counting_poll_handle(void *state)
{
    return inner_ops(state)->poll_handle(inner_state(state));
}

static void be_counting_host(void *state, uint64_t deadline_ns)
{
    inner_ops(state)->host(inner_state(state), deadline_ns);
}

static uint64_t be_counting_prepare(void *state, uint64_t deadline_ns)
{
    struct conform *t = case_of(state);
    struct tocsin_backend_events none = {.count = 0};
    uint64_t earlier_ns;

    hook(t, CONFORM_BEFORE_PREPARE, deadline_ns, &none);
    earlier_ns = inner_ops(state)->prepare(inner_state(state), deadline_ns);
    hook(t, CONFORM_AFTER_PREPARE, deadline_ns, &none);
    return earlier_ns;
}

static void be_counting_harvest(void *state)
{
    struct counting_head *head = state;

    inner_ops(state)->harvest(inner_state(state));
    if (counting_ring && head->in_use == NULL) {
        head->in_use = conform_in_use_begin(head->t);
    }
}

static struct uring_host *be_counting_uring(void *state)
{
    return inner_ops(state)->uring(inner_state(state));
}

void conform_counting_init(struct conform *t, const struct tocsin_backend *inner, bool ring)
{
    counting_t = t;
    counting_ring = ring;
    counting_inner = inner;
    counting_ops = *inner->ops;
    counting_ops.state_size = HEAD_SIZE + inner->ops->state_size;
    counting_ops.open = be_counting_open;
    counting_ops.close = be_counting_close;
    counting_ops.now = be_counting_now;
    counting_ops.wait = be_counting_wait;
    counting_ops.look = be_counting_look;
    counting_ops.kick = be_counting_kick;
    counting_ops.attach = be_counting_attach;
    counting_ops.detach = be_counting_detach;
    if (inner->ops->arm != NULL) {
        counting_ops.arm = be_counting_arm;
    }
    if (inner->ops->poll_handle != NULL) {
        counting_ops.poll_handle = be_counting_poll_handle;
    }
    if (inner->ops->host != NULL) {
        counting_ops.host = be_counting_host;
    }
    if (inner->ops->prepare != NULL) {
        counting_ops.prepare = be_counting_prepare;
    }
    if (inner->ops->harvest != NULL) {
        counting_ops.harvest = be_counting_harvest;
    }
    if (inner->ops->uring != NULL) {
        counting_ops.uring = be_counting_uring;
    }
    counting_backend.ops = &counting_ops;
    t->backend = &counting_backend;
}
