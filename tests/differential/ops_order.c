/*
 * Operations whose order is fixed by F2, and posts.
 */
#include "differential.h"

enum {
    ITEMS_MAX = 10,
};

struct posted {
    struct actor *actor;
    struct order *order;
    unsigned mark;
};

static void post_runs(void *arg, int status)
{
    struct posted *posted = arg;

    EXPECT(posted->actor, status == 0);
    order_mark(posted->order, posted->mark);
}

/* Posts and tasks run in the order in which one actor made them. */
static void queue_in_order(struct actor *actor)
{
    struct posted posts[ITEMS_MAX];
    struct child *children[ITEMS_MAX] = {NULL};
    unsigned count = 3 + pick(actor, 0, ITEMS_MAX - 2);
    struct order order;

    order_init(&order);
    for (unsigned i = 0; i < count; i++) {
        if ((actor->op->p[1] >> i) % 2 == 0) {
            posts[i] = (struct posted){actor, &order, i};
            NEED(CALL(tocsin_post)(actor->run->driver, post_runs, &posts[i]) == 0);
        } else {
            children[i] = child_new(actor->run, CHILD_YIELDS, 0, 0);
            children[i]->order = &order;
            children[i]->mark = i;
            child_spawn(actor->run->driver, children[i], "in order");
        }
    }
    order_say_ready(actor, &order, count);
    for (unsigned i = 0; i < count; i++) {
        int result;

        if (children[i] != NULL) {
            child_join(actor, children[i], &result);
            child_unref(children[i]);
        }
    }
    order_deinit(&order);
}

/* Tasks that wait run in the order in which they are woken, however often. */
static void wake_in_order(struct actor *actor)
{
    struct child *children[ITEMS_MAX];
    unsigned count = 3 + pick(actor, 0, ITEMS_MAX - 2);
    unsigned step = 1 + pick(actor, 1, count - 1);
    struct order order;
    unsigned at = pick(actor, 2, count);
    int result;

    order_init(&order);
    for (unsigned i = 0; i < count; i++) {
        children[i] = child_new(actor->run, CHILD_WAITS, 0, 0);
        children[i]->order = &order;
        children[i]->mark = i;
        child_spawn(actor->run->driver, children[i], "woken in order");
    }
    for (unsigned i = 0; i < count; i++) {
        tally_await(actor, &children[i]->polled, 1);
    }
    for (unsigned i = 0; i < count; i++) {
        child_finish(children[at]);
        if ((actor->op->p[3] >> i) % 4 == 0) {
            child_finish(children[at]);
        }
        at = (at + step) % count;
        while (atomic_load_explicit(&children[at]->flag, memory_order_relaxed) != 0 &&
               i + 1 < count) {
            at = (at + 1) % count;
        }
    }
    order_say_ready(actor, &order, count);
    for (unsigned i = 0; i < count; i++) {
        say(actor, " %d", child_join(actor, children[i], &result));
        child_unref(children[i]);
    }
    order_deinit(&order);
}

/* A post from a post, again and again. */
struct chain {
    struct tally tally;
    struct tocsin_driver *driver;
    unsigned left;
};

static void chain_runs(void *arg, int status)
{
    struct chain *chain = arg;

    (void)status;
    if (chain->left > 0) {
        chain->left--;
        NEED(CALL(tocsin_post)(chain->driver, chain_runs, chain) == 0);
    } else {
        tally_add(&chain->tally);
    }
}

static void post_chain(struct actor *actor)
{
    struct chain chain = {.driver = actor->run->driver, .left = pick(actor, 0, 40)};

    tally_init(&chain.tally);
    NEED(CALL(tocsin_post)(chain.driver, chain_runs, &chain) == 0);
    tally_await(actor, &chain.tally, 1);
    say(actor, " left %u, nothing %d", chain.left,
        CALL(tocsin_post)(actor->run->driver, NULL, NULL));
    tally_deinit(&chain.tally);
}

static const struct op_kind ops_order_kinds[] = {
    {"queue_in_order", queue_in_order, BY_TASK | BY_THREAD, 0, 20},
    {"wake_in_order", wake_in_order, BY_TASK, 0, 20},
    {"post_chain", post_chain, BY_TASK | BY_THREAD, 0, 10},
};

OP_GROUP(ops_order);
