/*
 * The sleep protocol, the inbox and the ring's remote queue by themselves, without a pool.
 */
#include <stdatomic.h>

#include "backends/ring/remote.h"
#include "runtime/inbox.h"
#include "runtime/wake.h"
#include "tests/model/model.h"

enum {
    ITEMS_MAX = 4,
};

struct item {
    struct tocsin_item_ item;
    unsigned published; /* by its pusher, before the push */
    unsigned taken;
};

struct wake_scene {
    struct tocsin__wake wake;
    struct tocsin__inbox inbox;
    struct remote remote;
    struct item items[ITEMS_MAX];
    unsigned wanted; /* items */
    unsigned pushed[MODEL_THREADS_MAX];
    unsigned taken;
    _Atomic(uint64_t) asked_ns;
    uint64_t woke_ns;
    uint64_t returned_ns[MODEL_THREADS_MAX];
};

static void set_up(struct wake_scene *wake_scene, unsigned wanted)
{
    tocsin__wake_init(&wake_scene->wake);
    tocsin__inbox_init(&wake_scene->inbox);
    tocsin__remote_init(&wake_scene->remote);
    atomic_init(&wake_scene->asked_ns, TOCSIN_NEVER_NS);
    wake_scene->wanted = wanted;
}

static void set_up_2(void *scene)
{
    set_up(scene, 2);
}

static void set_up_3(void *scene)
{
    set_up(scene, 3);
}

static void set_up_4(void *scene)
{
    set_up(scene, 4);
}

/* I1: what is taken was published, and comes once.  An item is the first member. */
static void take_in(struct wake_scene *wake_scene, struct tocsin_item_ *chain)
{
    while (chain != NULL) {
        struct item *item = (struct item *)(void *)chain;

        chain = chain->next_;
        MODEL_CHECK(item->published == 1);
        MODEL_CHECK(item->taken == 0);
        item->taken = 1;
        wake_scene->taken++;
    }
}

/* ---- The word and the inbox ------------------------------------------------------------------ */

static void push_and_wake(struct wake_scene *wake_scene, unsigned item)
{
    wake_scene->items[item].published = 1;
    MODEL_CHECK(tocsin__inbox_push(&wake_scene->inbox, &wake_scene->items[item].item));
    if (tocsin__wake_post(&wake_scene->wake)) {
        model_kick();
    }
}

static void wake_with_0(void *scene)
{
    push_and_wake(scene, 0);
}

static void wake_with_1(void *scene)
{
    push_and_wake(scene, 1);
}

static void wake_with_0_and_1(void *scene)
{
    push_and_wake(scene, 0);
    push_and_wake(scene, 1);
}

static void wake_with_0_to_2(void *scene)
{
    wake_with_0_and_1(scene);
    push_and_wake(scene, 2);
}

static void sleep_until_all_came(void *scene)
{
    struct wake_scene *wake_scene = scene;

    for (;;) {
        tocsin__wake_begin_turn(&wake_scene->wake);
        take_in(wake_scene, tocsin__inbox_take(&wake_scene->inbox));
        if (wake_scene->taken == wake_scene->wanted) {
            return;
        }
        if (tocsin__wake_try_sleep(&wake_scene->wake, TOCSIN_NEVER_NS)) {
            model_wait(TOCSIN_NEVER_NS);
            tocsin__wake_waited(&wake_scene->wake);
        }
    }
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

/* The least of what was asked: a stand-in for the timers' own words. */
static void ask(struct wake_scene *wake_scene, uint64_t deadline_ns)
{
    uint64_t old = atomic_load_explicit(&wake_scene->asked_ns, memory_order_relaxed);

    while (deadline_ns < old &&
           !atomic_compare_exchange_weak_explicit(&wake_scene->asked_ns, &old, deadline_ns,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    if (tocsin__wake_for_timer(&wake_scene->wake, deadline_ns)) {
        model_kick();
    }
}

/* A sleep that began until 300 ends at the earliest that was asked for, not at 300. */
static void sleep_until_due(void *scene)
{
    struct wake_scene *wake_scene = scene;
    uint64_t deadline_ns;

    for (;;) {
        tocsin__wake_begin_turn(&wake_scene->wake);
        deadline_ns = atomic_load_explicit(&wake_scene->asked_ns, memory_order_relaxed);
        deadline_ns = deadline_ns < MODEL_START_NS + 300 ? deadline_ns : MODEL_START_NS + 300;
        if (deadline_ns <= model_now_ns()) {
            wake_scene->woke_ns = model_now_ns();
            return;
        }
        if (tocsin__wake_try_sleep(&wake_scene->wake, deadline_ns)) {
            model_wait(deadline_ns);
            tocsin__wake_waited(&wake_scene->wake);
        }
    }
}

/* A thread that stands still in its call may let the clock go past; no longer than that. */
static void ask_and_look(struct wake_scene *wake_scene, unsigned thread, uint64_t deadline_ns)
{
    ask(wake_scene, deadline_ns);
    wake_scene->returned_ns[thread] = model_now_ns();
}

static void ask_for_100(void *scene)
{
    ask_and_look(scene, 1, MODEL_START_NS + 100);
}

static void ask_for_200(void *scene)
{
    ask_and_look(scene, 2, MODEL_START_NS + 200);
}

static void woke_at_100(void *scene)
{
    struct wake_scene *wake_scene = scene;
    uint64_t latest_ns = MODEL_START_NS + 100;

    for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
        latest_ns = wake_scene->returned_ns[i] > latest_ns ? wake_scene->returned_ns[i] : latest_ns;
    }
    MODEL_CHECK(wake_scene->woke_ns <= latest_ns);
}

/* ---- A closed inbox -------------------------------------------------------------------------- */

static void push_until_closed(struct wake_scene *wake_scene, unsigned thread, unsigned first)
{
    for (unsigned i = first; i < first + 2; i++) {
        wake_scene->items[i].published = 1;
        if (!tocsin__inbox_push(&wake_scene->inbox, &wake_scene->items[i].item)) {
            return; /* I2: and so does every later one */
        }
        wake_scene->pushed[thread]++;
    }
}

static void push_0_and_1(void *scene)
{
    push_until_closed(scene, 1, 0);
}

static void push_2_and_3(void *scene)
{
    push_until_closed(scene, 2, 2);
}

static void take_and_close(void *scene)
{
    struct wake_scene *wake_scene = scene;

    take_in(wake_scene, tocsin__inbox_take(&wake_scene->inbox));
    take_in(wake_scene, tocsin__inbox_close(&wake_scene->inbox));
    MODEL_CHECK(tocsin__inbox_is_closed(&wake_scene->inbox));
    MODEL_CHECK(tocsin__inbox_take(&wake_scene->inbox) == NULL);
}

static void taken_is_what_was_pushed(void *scene)
{
    struct wake_scene *wake_scene = scene;

    MODEL_CHECK(wake_scene->taken == wake_scene->pushed[1] + wake_scene->pushed[2]);
}

/* ---- The remote queue ------------------------------------------------------------------------ */

static void submit(struct wake_scene *wake_scene, unsigned item)
{
    int r;

    wake_scene->items[item].published = 1;
    r = tocsin__remote_push(&wake_scene->remote, &wake_scene->items[item].item);
    MODEL_CHECK(r >= 0);
    if (r > 0 && tocsin__wake_post(&wake_scene->wake)) {
        model_kick();
    }
}

static void submit_0(void *scene)
{
    submit(scene, 0);
}

static void submit_1(void *scene)
{
    submit(scene, 1);
}

static void submit_0_and_1(void *scene)
{
    submit(scene, 0);
    submit(scene, 1);
}

/* As a pool with a ring: take at the top of a turn, arm, then try to sleep. */
static void sleep_until_all_were_submitted(void *scene)
{
    struct wake_scene *wake_scene = scene;

    for (;;) {
        tocsin__wake_begin_turn(&wake_scene->wake);
        take_in(wake_scene, tocsin__remote_take(&wake_scene->remote));
        if (wake_scene->taken == wake_scene->wanted) {
            return;
        }
        if (tocsin__remote_arm(&wake_scene->remote) &&
            tocsin__wake_try_sleep(&wake_scene->wake, TOCSIN_NEVER_NS)) {
            model_wait(TOCSIN_NEVER_NS);
            tocsin__wake_waited(&wake_scene->wake);
        }
    }
}

#define SCENE .scene_size = sizeof(struct wake_scene)

const struct model_scenario model_scenes_wake[] = {
    {.name = "each_of_two_wakes_is_seen",
     .rules = "W1 W2 W4 W5 I1",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_all_came, wake_with_0_and_1}},
    {.name = "each_of_three_wakes_is_seen",
     .rules = "W1 W2 W4 W5 I1",
     SCENE,
     .set_up = set_up_3,
     .threads = {sleep_until_all_came, wake_with_0_to_2}},
    {.name = "of_two_racing_wakers_both_are_seen",
     .rules = "W1 W2 W4 W5 I1",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_all_came, wake_with_0, wake_with_1}},
    {.name = "earlier_deadline_ends_the_sleep",
     .rules = "W1 W5 T3",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_due, ask_for_100},
     .check = woke_at_100},
    {.name = "earlier_of_two_deadlines_ends_the_sleep",
     .rules = "W1 W5 T3",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_due, ask_for_100, ask_for_200},
     .check = woke_at_100},
    {.name = "later_deadline_hides_no_wake",
     .rules = "W1 W2 W5",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_all_came, wake_with_0_and_1, ask_for_200}},
    {.name = "closed_inbox_has_all_that_was_pushed",
     .rules = "I1 I2",
     SCENE,
     .set_up = set_up_4,
     .threads = {take_and_close, push_0_and_1, push_2_and_3},
     .check = taken_is_what_was_pushed},
    {.name = "each_submission_is_seen",
     .rules = "Q1 Q2 W1",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_all_were_submitted, submit_0_and_1}},
    {.name = "of_two_racing_submitters_both_are_seen",
     .rules = "Q1 Q2 W1",
     SCENE,
     .set_up = set_up_2,
     .threads = {sleep_until_all_were_submitted, submit_0, submit_1}},
    {.name = NULL},
};
