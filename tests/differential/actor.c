/*
 * Actors: going through operations, on a task, on a thread or outside of the turns; and waiting.
 */
#include "differential.h"

#include <tocsin/sim.h>

static void op_go(struct actor *actor, const struct op *op)
{
    actor->op = op;
    actor->skipped = false;
    say(actor, "%u %s", op->number, op->kind->name);
    if ((actor->run->features & op->kind->needs) != op->kind->needs) {
        say_not_here(actor, op->kind->needs);
    } else {
        op->kind->run(actor);
    }
    actor->skipped = false;
    say(actor, "\n");
    actor->op = NULL;
}

void actor_go(struct actor *actor)
{
    const struct program *program = actor->run->program;

    for (unsigned i = 0; i < program->ops_count; i++) {
        const struct op *op = &program->ops[i];

        if (op->phase == actor->phase && op->actor == actor->index) {
            op_go(actor, op);
        }
    }
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        if (actor->children[i] != NULL) {
            CALL(tocsin_task_cancel)(&actor->children[i]->task);
            child_unref(actor->children[i]);
            actor->children[i] = NULL;
        }
    }
    links_end(actor);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static void fiber_body(void *arg)
{
    actor_go(arg);
}

static struct actor *actor_of(struct tocsin_task *task)
{
    return (struct actor *)(void *)((char *)task - offsetof(struct actor, task));
}

static int actor_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct actor *actor = actor_of(task);

    actor->cx = cx;
    actor->ended = fiber_resume(actor->fiber);
    return actor->ended ? (int)actor->index : TOCSIN_PENDING;
}

static void actor_drop(struct tocsin_task *task)
{
    atomic_fetch_add_explicit(&actor_of(task)->run->dropped, 1, memory_order_relaxed);
}

static void actor_release(struct tocsin_task *task)
{
    atomic_fetch_add_explicit(&actor_of(task)->run->released, 1, memory_order_relaxed);
}

static const struct tocsin_task_ops actor_ops = {
    .poll = actor_poll,
    .drop = actor_drop,
    .release = actor_release,
};

bool again(struct actor *actor, int result)
{
    if (result == TOCSIN_PENDING) {
        fiber_pause(actor->fiber);
    }
    return result == TOCSIN_PENDING;
}

int await(struct actor *actor, tocsin_poll_fn *fn, void *arg)
{
    int r;

    if (actor->by != BY_TASK) {
        NEED(CALL(tocsin_block_on)(fn, arg, &r) == 0);
        return r;
    }
    do {
        r = fn(actor->cx, arg);
    } while (again(actor, r));
    return r;
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void thread_main(void *arg)
{
    struct actor *actor = arg;

    actor_go(actor);
    /* It was counted for the thread: the pool may now come to its end. */
    CALL(tocsin_driver_unref)(actor->run->driver);
}

static void *pthread_main(void *arg)
{
    thread_main(arg);
    return NULL;
}

static void thread_start(struct run *run, struct actor *actor)
{
    CALL(tocsin_driver_ref)(run->driver);
    if (run->sim != NULL) {
        NEED(CALL(tocsin_sim_thread_start)(run->sim, &actor->sim_thread, "second", thread_main,
                                           actor) == 0);
    } else {
        NEED(pthread_create(&actor->thread, NULL, pthread_main, actor) == 0);
    }
}

static void thread_join(struct run *run, struct actor *actor)
{
    if (run->sim != NULL) {
        NEED(CALL(tocsin_sim_thread_join)(actor->sim_thread) == 0);
    } else {
        NEED(pthread_join(actor->thread, NULL) == 0);
    }
}

void actors_start(struct run *run, unsigned phase)
{
    const struct program *program = run->program;

    run->actors = run->actors_of[phase];
    for (unsigned i = 0; i < program->actors[phase]; i++) {
        struct actor *actor = &run->actors[i];

        actor->run = run;
        actor->phase = phase;
        actor->index = i;
        actor->by = i == 0 ? BY_MAIN : i == program->thread[phase] ? BY_THREAD : BY_TASK;
        actor->log = run->record->log[phase][i];
    }
    actor_go(&run->actors[0]);

    links_open(run, phase);
    for (unsigned i = 1; i < program->actors[phase]; i++) {
        struct actor *actor = &run->actors[i];

        if (actor->by == BY_TASK) {
            actor->fiber = fiber_create(fiber_body, actor);
            atomic_fetch_add_explicit(&run->spawned, 1, memory_order_relaxed);
            NEED(CALL(tocsin_task_spawn_ref_at)(run->driver, &actor->task, &actor_ops, "actor",
                                                TOCSIN_HERE) == 0);
            actor->waker = CALL(tocsin_task_waker)(&actor->task);
        }
    }
    if (program->thread[phase] != 0) {
        thread_start(run, &run->actors[program->thread[phase]]);
    }
}

void actors_end(struct run *run, unsigned phase)
{
    const struct program *program = run->program;

    if (program->thread[phase] != 0) {
        thread_join(run, &run->actors[program->thread[phase]]);
    }
    for (unsigned i = 1; i < program->actors[phase]; i++) {
        struct actor *actor = &run->actors[i];

        if (actor->by == BY_TASK) {
            EXPECT(actor, actor->ended);
            CALL(tocsin_waker_drop)(&actor->waker);
            CALL(tocsin_task_unref)(&actor->task);
            fiber_destroy(actor->fiber);
        }
    }
    links_close(run);
}

/* ---- Tallies --------------------------------------------------------------------------------- */

void tally_init(struct tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    NEED(pthread_mutex_init(&tally->lock, NULL) == 0);
}

void tally_deinit(struct tally *tally)
{
    CALL(tocsin_waker_drop)(&tally->waker);
    pthread_mutex_destroy(&tally->lock);
}

void tally_add(struct tally *tally)
{
    struct tocsin_waker waker;

    pthread_mutex_lock(&tally->lock);
    tally->count++;
    waker = tally->waker;
    tally->waker.ops = NULL;
    pthread_mutex_unlock(&tally->lock);
    CALL(tocsin_waker_wake)(&waker);
}

struct tally_wait {
    struct tally *tally;
    unsigned count;
};

static int tally_poll(struct tocsin_context *cx, void *arg)
{
    struct tally_wait *wait = arg;
    struct tally *tally = wait->tally;
    struct tocsin_waker old = {NULL, NULL};
    bool ready;

    pthread_mutex_lock(&tally->lock);
    ready = tally->count >= wait->count;
    if (!ready && !CALL(tocsin_waker_will_wake)(&tally->waker, &cx->waker)) {
        old = tally->waker;
        tally->waker = CALL(tocsin_waker_clone)(&cx->waker);
    }
    pthread_mutex_unlock(&tally->lock);
    CALL(tocsin_waker_drop)(&old);
    return ready ? 0 : TOCSIN_PENDING;
}

void tally_await(struct actor *actor, struct tally *tally, unsigned count)
{
    struct tally_wait wait = {tally, count};

    await(actor, tally_poll, &wait);
}

void order_init(struct order *order)
{
    memset(order, 0, sizeof(*order));
    tally_init(&order->tally);
}

void order_deinit(struct order *order)
{
    tally_deinit(&order->tally);
}

void order_mark(struct order *order, unsigned mark)
{
    pthread_mutex_lock(&order->tally.lock);
    NEED(order->tally.count < sizeof(order->marks));
    order->marks[order->tally.count] = (unsigned char)mark;
    pthread_mutex_unlock(&order->tally.lock);
    tally_add(&order->tally);
}

static int compare_marks(const void *a, const void *b)
{
    return *(const unsigned char *)a - *(const unsigned char *)b;
}

void order_say_ready(struct actor *actor, struct order *order, unsigned count)
{
    tally_await(actor, &order->tally, count);
    if (actor->run->program->options.order_seed != 0) {
        pthread_mutex_lock(&order->tally.lock);
        qsort(order->marks, order->tally.count, sizeof(order->marks[0]), compare_marks);
        pthread_mutex_unlock(&order->tally.lock);
    }
    order_say(actor, order, count);
}

void order_say(struct actor *actor, struct order *order, unsigned count)
{
    tally_await(actor, &order->tally, count);
    pthread_mutex_lock(&order->tally.lock);
    say(actor, " order");
    for (unsigned i = 0; i < order->tally.count; i++) {
        say(actor, " %u", order->marks[i]);
    }
    pthread_mutex_unlock(&order->tally.lock);
}
