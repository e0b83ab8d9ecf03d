/*
 * Atomic accesses: what a load may see.
 *
 * Each atomic object keeps all values that it has had in this run, in order.  A load may see any of
 * them that is not older than what its thread knows to have been overwritten: which one is a choice
 * of the search, the newest being the ordinary.  That an older one is seen is what a store does
 * that its processor, or the reader's, delays.  What a thread knows is its view: of each object the
 * oldest value that it may still see.
 *
 *   - What a thread wrote or saw itself, it sees or sees later values.
 *   - A release leaves the thread's view with the value; an acquire that sees the value takes it
 *     over.  A read-modify-write passes on what it found (the release sequence).
 *   - A read-modify-write finds the newest value and is atomic on it; but it is a store for all
 *     others, who may go on to see the one before.
 *   - A compare that fails is a load, and may fail for what it sees of the past.
 *   - seq_cst is acquire and release, and sees no value older than the last seq_cst access did.
 *
 * This is weaker than a store buffer: two threads that each write one object (by whatever
 * acquire-release access) and then read the other's may both miss the other (W6).  It is stronger
 * than C11 in two points: a load sees nothing that is written after it in this run, and stores take
 * their places in an object's order as they are made.
 *
 * A plain write voids an object's past: memory.c sees to it that nobody races with it.
 */
#include <stdatomic.h>
#include <string.h>

#include "tests/model/engine.h"

enum {
    VALUES_MAX = 1 << 15,
    VIEWS_SIZE = 8 << 20,
    OLDER_MAX = 4, /* how far back a load may look */
};

struct value {
    uint64_t value;
    const struct model_view *view; /* what it releases; NULL: nothing */
    unsigned before;               /* the value before it; 0: there was none */
    uint16_t number;
};

struct location {
    const void *address;
    size_t size;
    unsigned last;
    uint16_t floor; /* the first value since a plain write */
    bool overwritten;
};

static struct value values[VALUES_MAX];
static unsigned values_count;
static struct location locations[MODEL_LOCATIONS_MAX];
static uint16_t locations_count;
static _Alignas(16) unsigned char views[VIEWS_SIZE];
static size_t views_used;
static uint16_t seq_cst_seen[MODEL_LOCATIONS_MAX];

void model_atomics_reset(void)
{
    values_count = 1; /* 0: none */
    locations_count = 1;
    views_used = 0;
}

/* ---- Views ----------------------------------------------------------------------------------- */

static void reach(struct model_view *view, uint16_t count)
{
    while (view->count < count) {
        view->seen[view->count++] = 0;
    }
}

void model_view_join(struct model_view *view, const struct model_view *other)
{
    for (unsigned i = 0; i < MODEL_THREADS; i++) {
        if (view->clock[i] < other->clock[i]) {
            view->clock[i] = other->clock[i];
        }
    }
    reach(view, other->count);
    for (unsigned i = 0; i < other->count; i++) {
        if (view->seen[i] < other->seen[i]) {
            view->seen[i] = other->seen[i];
        }
    }
}

struct model_view *model_view_publish(void)
{
    struct model_view *own = model_view();
    size_t size = offsetof(struct model_view, seen) + locations_count * sizeof(own->seen[0]);
    struct model_view *copy = (struct model_view *)(void *)(views + views_used);

    views_used += (size + 15) / 16 * 16;
    if (views_used > VIEWS_SIZE) {
        model_error("too many releases in one run");
    }
    reach(own, locations_count);
    memcpy(copy, own, size);
    own->clock[model_self()]++;
    return copy;
}

/* ---- Locations ------------------------------------------------------------------------------- */

static uint64_t memory_get(const void *address, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, address, size); /* little-endian: checked in main.c */
    return value;
}

static void append(struct location *location, uint64_t value, const struct model_view *view)
{
    uint16_t number = location->last != 0 ? (uint16_t)(values[location->last].number + 1) : 1;

    if (values_count == VALUES_MAX) {
        model_error("too many values in one run");
    }
    values[values_count] = (struct value){value, view, location->last, number};
    location->last = values_count++;
}

void model_location_overwritten(uint16_t location)
{
    locations[location].overwritten = true;
}

static uint16_t location_of(const void *address, size_t size)
{
    uint16_t *slot = model_location_slot(address);
    struct location *location;

    if (*slot == 0) {
        if (locations_count == MODEL_LOCATIONS_MAX) {
            model_error("too many atomic objects in one run");
        }
        *slot = locations_count++;
        locations[*slot] = (struct location){.address = address, .size = size, .overwritten = true};
        seq_cst_seen[*slot] = 0;
    }
    location = &locations[*slot];
    if (location->size != size) {
        model_error("an atomic object is accessed with two sizes");
    }
    if (location->overwritten) {
        append(location, memory_get(address, size), NULL);
        location->floor = values[location->last].number;
        location->overwritten = false;
    }
    return *slot;
}

static bool acquires(int order)
{
    return order != memory_order_relaxed && order != memory_order_release;
}

static bool releases(int order)
{
    return order != memory_order_relaxed && order != memory_order_acquire &&
           order != memory_order_consume;
}

/* How many values the thread may see, the newest included. */
static unsigned visible(uint16_t number, int order)
{
    const struct location *location = &locations[number];
    struct model_view *view = model_view();
    uint16_t oldest = location->floor;

    reach(view, locations_count);
    if (view->seen[number] > oldest) {
        oldest = view->seen[number];
    }
    if (order == memory_order_seq_cst && seq_cst_seen[number] > oldest) {
        oldest = seq_cst_seen[number];
    }
    return values[location->last].number - oldest + 1U;
}

static const struct value *nth_newest(uint16_t number, unsigned n)
{
    unsigned value = locations[number].last;

    while (n-- > 0) {
        value = values[value].before;
    }
    return &values[value];
}

static void see(uint16_t number, const struct value *value, int order)
{
    struct model_view *view = model_view();

    reach(view, locations_count);
    if (view->seen[number] < value->number) {
        view->seen[number] = value->number;
    }
    if (acquires(order) && value->view != NULL) {
        model_view_join(view, value->view);
    }
    if (order == memory_order_seq_cst && seq_cst_seen[number] < value->number) {
        seq_cst_seen[number] = value->number;
    }
}

/* The newest becomes @new_value; @found is passed on by a read-modify-write, else NULL. */
static void put(uint16_t number, uint64_t new_value, int order, const struct value *found)
{
    struct location *location = &locations[number];
    struct model_view *view = model_view();
    struct model_view *published = NULL;
    const struct model_view *passed = found != NULL ? found->view : NULL;

    reach(view, locations_count);
    view->seen[number] = (uint16_t)(values[location->last].number + 1);
    if (releases(order)) {
        published = model_view_publish();
        if (passed != NULL && !acquires(order)) {
            model_view_join(published, passed);
        }
    }
    append(location, new_value, published != NULL ? published : passed);
    if (order == memory_order_seq_cst) {
        seq_cst_seen[number] = values[location->last].number;
    }
}

/* @value as an object of @size bytes holds it. */
static uint64_t cut(uint64_t value, size_t size)
{
    return size == sizeof(value) ? value : value & ((UINT64_C(1) << 8 * size) - 1);
}

/* ---- Accesses -------------------------------------------------------------------------------- */

uint64_t model_atomic_load(const void *address, size_t size, int order, const void *pc)
{
    const struct value *value;
    uint16_t number;
    unsigned count;
    unsigned chosen;

    model_point(address, false);
    if (!model_atomic_touch(address, size, pc)) {
        return memory_get(address, size);
    }
    number = location_of(address, size);
    count = visible(number, order);
    count = count < OLDER_MAX ? count : OLDER_MAX;
    chosen = model_choose(MODEL_DELAY, count, 1, NULL);
    value = nth_newest(number, chosen);
    see(number, value, order);
    model_trace(pc, "load: %#llx%s", (unsigned long long)value->value,
                chosen != 0 ? ", which is not the newest" : "");
    return value->value;
}

void model_atomic_store(void *address, size_t size, uint64_t value, int order, const void *pc)
{
    model_point(address, true);
    if (model_atomic_touch(address, size, pc)) {
        model_trace(pc, "store: %#llx", (unsigned long long)value);
        put(location_of(address, size), value, order, NULL);
    }
    memcpy(address, &value, size);
}

uint64_t model_atomic_change(void *address, size_t size, model_change_fn *change, uint64_t operand,
                             int order, const char *name, const void *pc)
{
    const struct value *found = NULL;
    uint64_t old;
    uint64_t new_value;
    uint16_t number;

    model_point(address, true);
    if (!model_atomic_touch(address, size, pc)) {
        old = memory_get(address, size);
        new_value = cut(change(old, operand), size);
    } else {
        number = location_of(address, size);
        found = nth_newest(number, 0);
        old = found->value;
        new_value = cut(change(old, operand), size);
        model_trace(pc, "%s: %#llx -> %#llx", name, (unsigned long long)old,
                    (unsigned long long)new_value);
        see(number, found, order);
        put(number, new_value, order, found);
    }
    memcpy(address, &new_value, size);
    return old;
}

/* What a compare may fail for: the n-th value back that is not @expected; *@n counts down. */
static const struct value *nth_unequal(uint16_t number, unsigned count, uint64_t expected,
                                       unsigned n)
{
    for (unsigned i = 0; i < count; i++) {
        const struct value *value = nth_newest(number, i);

        if (value->value != expected && n-- == 0) {
            return value;
        }
    }
    return NULL;
}

bool model_atomic_compare(void *address, size_t size, uint64_t *expected, uint64_t desired,
                          int order, int failure_order, const void *pc)
{
    const struct value *value;
    uint64_t asked = *expected;
    uint16_t number;
    unsigned count;
    unsigned options = 0;
    unsigned chosen;
    bool may_succeed;

    model_point(address, true);
    if (!model_atomic_touch(address, size, pc)) {
        model_error("a compare and swap outside of watched memory");
    }
    number = location_of(address, size);
    count = visible(number, failure_order);
    count = count < OLDER_MAX ? count : OLDER_MAX;
    may_succeed = nth_newest(number, 0)->value == asked;
    options = may_succeed ? 1 : 0;
    for (unsigned i = 0; i < count; i++) {
        options += nth_newest(number, i)->value != asked;
    }
    chosen = model_choose(MODEL_DELAY, options, 1, NULL);
    if (may_succeed && chosen == 0) {
        value = nth_newest(number, 0);
        model_trace(pc, "swap: %#llx -> %#llx", (unsigned long long)asked,
                    (unsigned long long)desired);
        see(number, value, order);
        put(number, desired, order, value);
        memcpy(address, &desired, size);
        return true;
    }
    value = nth_unequal(number, count, asked, may_succeed ? chosen - 1 : chosen);
    see(number, value, failure_order);
    *expected = value->value;
    model_trace(pc, "swap: %#llx, and not %#llx", (unsigned long long)value->value,
                (unsigned long long)asked);
    return false;
}
