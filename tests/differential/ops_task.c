/*
 * Operations on tasks, wakers, joins and posts, by whoever can do them.
 */
#include "differential.h"

/* ---- Children of the actor ------------------------------------------------------------------- */

static const char *const child_names[CHILDREN_MAX] = {"first", "second", "third", "fourth"};

/* Fill a place with a child that waits, or end the one that is there. */
static void hold_child(struct actor *actor)
{
    unsigned place = pick(actor, 0, CHILDREN_MAX);
    struct child *child = actor->children[place];
    int result;

    if (child == NULL) {
        child = child_new(actor->run, CHILD_WAITS, 0, (int)pick(actor, 1, 1000));
        child_spawn(actor->run->driver, child, child_names[place]);
        actor->children[place] = child;
        say(actor, " spawned");
        return;
    }
    if (pick(actor, 2, 2) == 0) {
        say(actor, " cancel %d", CALL(tocsin_task_cancel)(&child->task));
    } else {
        child_finish(child);
    }
    say(actor, " join %d", child_join(actor, child, &result));
    say(actor, " %d, state %d, cancel %d", result, (int)CALL(tocsin_task_state)(&child->task),
        CALL(tocsin_task_cancel)(&child->task));
    child_unref(child);
    actor->children[place] = NULL;
}

/* Spawn a child that ends by itself, and join it. */
static void join_child(struct actor *actor)
{
    static const enum child_does does[] = {CHILD_YIELDS, CHILD_SLEEPS, CHILD_CANCELS_ITSELF,
                                           CHILD_READY_CANCELLED};
    struct child *child = child_new(actor->run, does[pick(actor, 0, 4)], pick(actor, 1, 8),
                                    (int)pick(actor, 2, 1000) - 500);
    int result;
    int r;

    child_spawn(actor->run->driver, child, "joined");
    r = child_join(actor, child, &result);
    say(actor, " %d %d, state %d", r, result, (int)CALL(tocsin_task_state)(&child->task));
    child_unref(child);
}

/* Two joins of one child, one of them given up. */
static void join_twice(struct actor *actor)
{
    struct child *child = child_new(actor->run, CHILD_WAITS, 0, 7);
    struct tocsin_join given_up;
    int result;
    int r;

    child_spawn(actor->run->driver, child, "joined twice");
    CALL(tocsin_join_init)(&given_up, &child->task);
    r = CALL(tocsin_join_poll)(&given_up, actor->cx, &result);
    say(actor, " %s", r == TOCSIN_PENDING ? "pending" : "not pending");
    child_finish(child);
    say(actor, " %d", child_join(actor, child, &result));
    say(actor, " %d", result);
    CALL(tocsin_join_deinit)(&given_up);
    child_unref(child);
}

/* Cancelled before its first poll: no poll is made. */
static void cancel_early(struct actor *actor)
{
    struct child *child = child_new(actor->run, CHILD_YIELDS, 3, 1);
    unsigned times = 1 + pick(actor, 0, 2);
    int result;

    child_spawn(actor->run->driver, child, "early");
    for (unsigned i = 0; i < times; i++) {
        say(actor, " %d", CALL(tocsin_task_cancel)(&child->task));
    }
    say(actor, " join %d", child_join(actor, child, &result));
    say(actor, " %d, polls %u, state %d", result,
        atomic_load_explicit(&child->polls, memory_order_relaxed),
        (int)CALL(tocsin_task_state)(&child->task));
    child_unref(child);
}

static void references(struct actor *actor)
{
    struct child *child = child_new(actor->run, CHILD_YIELDS, pick(actor, 0, 3), 5);
    unsigned count = 1 + pick(actor, 1, 4);
    struct tocsin_waker waker;
    int result;

    child_spawn(actor->run->driver, child, "referenced");
    for (unsigned i = 0; i < count; i++) {
        CALL(tocsin_task_ref)(&child->task);
    }
    waker = CALL(tocsin_task_waker)(&child->task);
    say(actor, " %d", child_join(actor, child, &result));
    for (unsigned i = 0; i < count; i++) {
        CALL(tocsin_task_unref)(&child->task);
    }
    CALL(tocsin_waker_wake_by_ref)(&waker); /* after its end: nothing */
    child_unref(child);
    CALL(tocsin_waker_drop)(&waker);
    say(actor, " %d", result);
}

/* A task of which nobody keeps a reference. */
struct loose {
    struct tocsin_task task;
    struct run *run;
    struct order *order;
};

static int loose_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct loose *loose = (struct loose *)(void *)task;

    (void)cx;
    order_mark(loose->order, 1);
    return 0;
}

static void loose_drop(struct tocsin_task *task)
{
    struct loose *loose = (struct loose *)(void *)task;

    atomic_fetch_add_explicit(&loose->run->dropped, 1, memory_order_relaxed);
    order_mark(loose->order, 2);
}

static void loose_release(struct tocsin_task *task)
{
    struct loose *loose = (struct loose *)(void *)task;

    atomic_fetch_add_explicit(&loose->run->released, 1, memory_order_relaxed);
    order_mark(loose->order, 3);
    free(loose);
}

static const struct tocsin_task_ops loose_ops = {loose_poll, loose_drop, loose_release};
static const struct tocsin_task_ops no_ops = {NULL, NULL, NULL};

static void spawn_loose(struct actor *actor)
{
    struct loose *loose = calloc(1, sizeof(*loose));
    struct order order;

    NEED(loose != NULL);
    order_init(&order);
    loose->run = actor->run;
    loose->order = &order;
    say(actor, " without poll %d",
        CALL(tocsin_task_spawn_at)(actor->run->driver, &loose->task, &no_ops, NULL, NULL));
    atomic_fetch_add_explicit(&actor->run->spawned, 1, memory_order_relaxed);
    say(actor, " %d",
        CALL(tocsin_task_spawn_at)(actor->run->driver, &loose->task, &loose_ops, "loose",
                                   TOCSIN_HERE));
    order_say(actor, &order, 3);
    order_deinit(&order);
}

/* ---- The actor itself ------------------------------------------------------------------------ */

static void yield(struct actor *actor)
{
    unsigned times = 1 + pick(actor, 0, 20);

    for (unsigned i = 0; i < times; i++) {
        again(actor, CALL(tocsin_task_yield)(actor->cx));
    }
    say(actor, " %u", times);
}

/* Wakes during the own poll: it is polled again. */
static void wake_self(struct actor *actor)
{
    struct tocsin_waker waker = CALL(tocsin_waker_clone)(&actor->cx->waker);
    struct tocsin_waker other = CALL(tocsin_task_waker)(&actor->task);
    unsigned how = pick(actor, 0, 3);

    say(actor, " same %d", CALL(tocsin_waker_will_wake)(&waker, &other));
    if (how == 0) {
        CALL(tocsin_waker_wake)(&waker);
    } else {
        CALL(tocsin_waker_wake_by_ref)(&waker);
    }
    if (how == 2) {
        CALL(tocsin_waker_wake_by_ref)(&other);
    }
    again(actor, TOCSIN_PENDING);
    CALL(tocsin_waker_drop)(&waker);
    CALL(tocsin_waker_drop)(&other);
}

/* Wake any actor, which changes nothing. */
static void wake_another(struct actor *actor)
{
    unsigned actors = actor->run->program->actors[actor->phase];
    struct actor *other = &actor->run->actors[1 + pick(actor, 0, actors - 1)];
    struct tocsin_waker waker;

    for (unsigned i = 0; i < 1 + pick(actor, 1, 3); i++) {
        waker = CALL(tocsin_waker_clone)(&other->waker);
        CALL(tocsin_waker_wake)(&waker);
    }
}

static void look_at_self(struct actor *actor)
{
    struct tocsin_join join;
    int r;

    EXPECT(actor, CALL(tocsin_task_current)() == &actor->task);
    CALL(tocsin_join_init)(&join, &actor->task);
    r = CALL(tocsin_join_poll)(&join, actor->cx, NULL);
    CALL(tocsin_join_deinit)(&join);
    say(actor, " state %d, join %d, block %d", (int)CALL(tocsin_task_state)(&actor->task), r,
        CALL(tocsin_task_join)(&actor->task, NULL));
}

static int never_called(struct tocsin_context *cx, void *arg)
{
    (void)cx;
    (void)arg;
    return 0;
}

static void block_here(struct actor *actor)
{
    say(actor, " %d", CALL(tocsin_block_on)(never_called, NULL, NULL));
    say(actor, " %d", CALL(tocsin_block_on)(NULL, NULL, NULL));
}

/* How many of the listed tasks have one name, made for this. */
static void list(struct actor *actor)
{
    struct tocsin_task_info infos[64];
    struct child *child = child_new(actor->run, CHILD_WAITS, 0, 0);
    char name[TOCSIN_TASK_NAME_SIZE];
    unsigned found = 0;
    int result;
    int count;

    snprintf(name, sizeof(name), "listed by %u", actor->index);
    child_spawn(actor->run->driver, child, name);
    /* So that the pool has received it. */
    if (actor->by == BY_MAIN) {
        EXPECT(actor, CALL(tocsin_pool_turn)(actor->run->pool) == 1);
    } else {
        tally_await(actor, &child->polled, 1);
    }
    count = CALL(tocsin_task_list)(actor->run->driver, infos, 64);
    EXPECT(actor, count > 0);
    for (int i = 0; i < count && i < 64; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            found++;
            EXPECT(actor, infos[i].state != TOCSIN_TASK_ENDED);
            EXPECT(actor, infos[i].place != NULL);
        }
    }
    say(actor, " %u", found);
    child_finish(child);
    say(actor, " join %d", child_join(actor, child, &result));
    child_unref(child);
}

/* ---- A waker of one's own -------------------------------------------------------------------- */

struct own_waker {
    atomic_int references;
    atomic_uint wakes;
};

static void own_clone(void *data)
{
    atomic_fetch_add_explicit(&((struct own_waker *)data)->references, 1, memory_order_relaxed);
}

static void own_drop(void *data)
{
    atomic_fetch_sub_explicit(&((struct own_waker *)data)->references, 1, memory_order_acq_rel);
}

static void own_wake_by_ref(void *data)
{
    atomic_fetch_add_explicit(&((struct own_waker *)data)->wakes, 1, memory_order_acq_rel);
}

static void own_wake(void *data)
{
    own_wake_by_ref(data);
    own_drop(data);
}

static const struct tocsin_waker_ops own_ops = {own_clone, own_wake, own_wake_by_ref, own_drop};

/* A join that wakes a waker of the program's own, when the child ends. */
static void own_waker(struct actor *actor)
{
    struct own_waker own = {1, 0};
    struct tocsin_context cx = {.waker = {&own_ops, &own}};
    struct child *child = child_new(actor->run, CHILD_WAITS, 0, 3);
    struct tocsin_join join;
    int result;

    child_spawn(actor->run->driver, child, "wakes a foreign waker");
    CALL(tocsin_join_init)(&join, &child->task);
    EXPECT(actor, CALL(tocsin_join_poll)(&join, &cx, NULL) == TOCSIN_PENDING);
    say(actor, " references %d", atomic_load_explicit(&own.references, memory_order_acquire));
    if (pick(actor, 0, 2) == 0) {
        child_finish(child);
    } else {
        CALL(tocsin_task_cancel)(&child->task);
    }
    say(actor, " join %d", child_join(actor, child, &result));
    say(actor, " %d", result);
    EXPECT(actor, CALL(tocsin_join_poll)(&join, &cx, &result) == 0);
    CALL(tocsin_join_deinit)(&join);
    CALL(tocsin_waker_drop)(&cx.waker);
    say(actor, ", woken %u, references %d", atomic_load_explicit(&own.wakes, memory_order_acquire),
        atomic_load_explicit(&own.references, memory_order_acquire));
    child_unref(child);
}

static const struct op_kind ops_task_kinds[] = {
    {"hold_child", hold_child, BY_MAIN | BY_TASK | BY_THREAD, 0, 25},
    {"join_child", join_child, BY_MAIN | BY_TASK | BY_THREAD, 0, 20},
    {"join_twice", join_twice, BY_TASK, 0, 8},
    {"cancel_early", cancel_early, BY_MAIN | BY_TASK, 0, 8},
    {"references", references, BY_MAIN | BY_TASK | BY_THREAD, 0, 8},
    {"spawn_loose", spawn_loose, BY_TASK | BY_THREAD, 0, 8},
    {"yield", yield, BY_TASK, 0, 15},
    {"wake_self", wake_self, BY_TASK, 0, 10},
    {"wake_another", wake_another, BY_TASK | BY_THREAD, 0, 20},
    {"look_at_self", look_at_self, BY_TASK, 0, 5},
    {"block_here", block_here, BY_MAIN | BY_TASK, 0, 5},
    {"list", list, BY_MAIN | BY_TASK | BY_THREAD, 0, 8},
    {"own_waker", own_waker, BY_TASK, 0, 8},
};

OP_GROUP(ops_task);
