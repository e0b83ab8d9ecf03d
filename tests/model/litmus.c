/*
 * The explorer's own test: small programs whose outcomes the C11 memory model decides, and what the
 * explorer must find where something is wrong.
 */
#include <stdatomic.h>

#include "tests/model/model.h"

struct litmus {
    _Atomic(uint64_t) x;
    _Atomic(uint64_t) y;
    uint64_t data;
    uint64_t seen[MODEL_THREADS_MAX];
    void *pointer;
    struct model_gate gate;
};

/* W6: each side writes its own word and then reads the other's. */
static void write_x_read_y(void *scene)
{
    struct litmus *litmus = scene;

    atomic_exchange_explicit(&litmus->x, 1, memory_order_acq_rel);
    litmus->seen[0] = atomic_load_explicit(&litmus->y, memory_order_acquire);
}

static void write_y_read_x(void *scene)
{
    struct litmus *litmus = scene;

    atomic_exchange_explicit(&litmus->y, 1, memory_order_acq_rel);
    litmus->seen[1] = atomic_load_explicit(&litmus->x, memory_order_acquire);
}

static void write_x_read_y_seq_cst(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->x, 1, memory_order_seq_cst);
    litmus->seen[0] = atomic_load_explicit(&litmus->y, memory_order_seq_cst);
}

static void write_y_read_x_seq_cst(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->y, 1, memory_order_seq_cst);
    litmus->seen[1] = atomic_load_explicit(&litmus->x, memory_order_seq_cst);
}

static void change_x_low(void *scene)
{
    struct litmus *litmus = scene;

    litmus->seen[0] = atomic_fetch_or_explicit(&litmus->x, 1, memory_order_acq_rel);
}

static void change_x_high(void *scene)
{
    struct litmus *litmus = scene;

    litmus->seen[1] = atomic_fetch_or_explicit(&litmus->x, 2, memory_order_acq_rel);
}

static void one_of_two_sees_the_other(void *scene)
{
    struct litmus *litmus = scene;

    MODEL_CHECK(litmus->seen[0] != 0 || litmus->seen[1] != 0);
}

static void publish_by_release(void *scene)
{
    struct litmus *litmus = scene;

    litmus->data = 1;
    atomic_store_explicit(&litmus->x, 1, memory_order_release);
}

static void publish_by_relaxed(void *scene)
{
    struct litmus *litmus = scene;

    litmus->data = 1;
    atomic_store_explicit(&litmus->x, 1, memory_order_relaxed);
}

static void receive_by_acquire(void *scene)
{
    struct litmus *litmus = scene;

    if (atomic_load_explicit(&litmus->x, memory_order_acquire) != 0) {
        MODEL_CHECK(litmus->data == 1);
    }
}

static void receive_by_relaxed(void *scene)
{
    struct litmus *litmus = scene;

    if (atomic_load_explicit(&litmus->x, memory_order_relaxed) != 0) {
        MODEL_CHECK(litmus->data == 1);
    }
}

/* In the middle of a release sequence. */
static void pass_on(void *scene)
{
    struct litmus *litmus = scene;

    atomic_fetch_or_explicit(&litmus->x, 2, memory_order_relaxed);
}

static void overwrite(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->x, 3, memory_order_relaxed);
}

static void receive_three(void *scene)
{
    struct litmus *litmus = scene;

    if (atomic_load_explicit(&litmus->x, memory_order_acquire) == 3) {
        MODEL_CHECK(litmus->data == 1);
    }
}

static void write_both_relaxed(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->x, 1, memory_order_relaxed);
    atomic_store_explicit(&litmus->y, 1, memory_order_relaxed);
}

static void write_both_release(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->x, 1, memory_order_relaxed);
    atomic_store_explicit(&litmus->y, 1, memory_order_release);
}

static void read_both(void *scene)
{
    struct litmus *litmus = scene;
    uint64_t y = atomic_load_explicit(&litmus->y, memory_order_acquire);

    MODEL_CHECK(y == 0 || atomic_load_explicit(&litmus->x, memory_order_relaxed) == 1);
}

static void count_up_in_x(void *scene)
{
    struct litmus *litmus = scene;

    atomic_store_explicit(&litmus->x, 1, memory_order_relaxed);
    atomic_store_explicit(&litmus->x, 2, memory_order_relaxed);
}

static void read_x_twice(void *scene)
{
    struct litmus *litmus = scene;
    uint64_t first = atomic_load_explicit(&litmus->x, memory_order_relaxed);

    MODEL_CHECK(atomic_load_explicit(&litmus->x, memory_order_relaxed) >= first);
}

static void add_in_two_steps(void *scene)
{
    struct litmus *litmus = scene;
    uint64_t old = atomic_load_explicit(&litmus->x, memory_order_acquire);

    atomic_store_explicit(&litmus->x, old + 1, memory_order_release);
}

static void add_in_one_step(void *scene)
{
    struct litmus *litmus = scene;

    atomic_fetch_add_explicit(&litmus->x, 1, memory_order_relaxed);
}

static void x_is_two(void *scene)
{
    struct litmus *litmus = scene;

    MODEL_CHECK(atomic_load_explicit(&litmus->x, memory_order_relaxed) == 2);
}

static void allocate(void *scene)
{
    struct litmus *litmus = scene;

    litmus->pointer = model_alloc(8);
    *(uint64_t *)litmus->pointer = 0;
}

static void free_it(void *scene)
{
    struct litmus *litmus = scene;

    model_free(litmus->pointer);
}

static void free_it_by_turns(void *scene)
{
    struct litmus *litmus = scene;

    if (atomic_fetch_add_explicit(&litmus->x, 1, memory_order_acq_rel) == 1) {
        model_free(litmus->pointer);
    }
}

static void use_it_and_count(void *scene)
{
    struct litmus *litmus = scene;

    *(uint64_t *)litmus->pointer += 1;
    free_it_by_turns(scene);
}

static void count_and_use_it(void *scene)
{
    struct litmus *litmus = scene;

    free_it_by_turns(scene);
    *(uint64_t *)litmus->pointer += 1;
}

static void await_gate(void *scene)
{
    struct litmus *litmus = scene;

    model_gate_await(&litmus->gate);
}

static void open_gate_if_first(void *scene)
{
    struct litmus *litmus = scene;

    if (atomic_fetch_or_explicit(&litmus->x, 1, memory_order_acq_rel) == 0) {
        model_gate_open(&litmus->gate);
    }
}

static void be_first(void *scene)
{
    struct litmus *litmus = scene;

    atomic_fetch_or_explicit(&litmus->x, 1, memory_order_acq_rel);
}

const struct model_scenario model_scenes_litmus[] = {
    {.name = "two_words_may_both_be_missed",
     .rules = "W6",
     .scene_size = sizeof(struct litmus),
     .threads = {write_x_read_y, write_y_read_x},
     .check = one_of_two_sees_the_other,
     .finds = "seen[0] != 0"},
    {.name = "two_words_seq_cst_are_not_both_missed",
     .rules = "W6",
     .scene_size = sizeof(struct litmus),
     .threads = {write_x_read_y_seq_cst, write_y_read_x_seq_cst},
     .check = one_of_two_sees_the_other},
    {.name = "one_word_is_not_missed",
     .rules = "W6",
     .scene_size = sizeof(struct litmus),
     .threads = {change_x_low, change_x_high},
     .check = one_of_two_sees_the_other},
    {.name = "release_and_acquire_publish",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {publish_by_release, receive_by_acquire}},
    {.name = "relaxed_store_publishes_nothing",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {publish_by_relaxed, receive_by_acquire},
     .finds = "race"},
    {.name = "relaxed_load_receives_nothing",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {publish_by_release, receive_by_relaxed},
     .finds = "race"},
    {.name = "changes_pass_a_release_on",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {publish_by_release, pass_on, receive_three}},
    {.name = "stores_pass_no_release_on",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {publish_by_release, overwrite, receive_three},
     .finds = "race"},
    {.name = "relaxed_stores_come_in_any_order",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {write_both_relaxed, read_both},
     .finds = "does not hold"},
    {.name = "released_stores_come_in_order",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {write_both_release, read_both}},
    {.name = "one_word_goes_only_forward",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {count_up_in_x, read_x_twice}},
    {.name = "lost_update_is_found",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {add_in_two_steps, add_in_two_steps},
     .check = x_is_two,
     .finds = "== 2 does not hold"},
    {.name = "update_in_one_step_is_not_lost",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {add_in_one_step, add_in_one_step},
     .check = x_is_two},
    {.name = "use_before_the_last_free_is_right",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .set_up = allocate,
     .threads = {use_it_and_count, free_it_by_turns}},
    {.name = "use_after_free_is_found",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .set_up = allocate,
     .threads = {count_and_use_it, free_it_by_turns},
     .finds = "free"},
    {.name = "second_free_is_found",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .set_up = allocate,
     .threads = {free_it, free_it},
     .finds = "free"},
    {.name = "leak_is_found",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {allocate},
     .finds = "never freed"},
    {.name = "lost_wake_is_found",
     .rules = "litmus",
     .scene_size = sizeof(struct litmus),
     .threads = {await_gate, open_gate_if_first, be_first},
     .finds = "nothing can move"},
    {.name = NULL},
};
