/*
 * Objects over vpoll slots, closed by another thread while a storm of ctls meets them, and while
 * their pool closes.
 *
 * A pool on its own thread polls what it is handed; a second thread changes the slots without
 * pause; this one closes the objects at any moment.  No waker may be lost: each clone comes back by
 * a wake or a drop.  In every few rounds the pool ends while its objects are still open.
 */
#include <errno.h>

#include "tests/stress/stress.h"

enum {
    OBJECTS = 4,
};

/* Its waker counts; it outlives the object. */
struct object {
    struct tocsin_fd_ready *ready;
    atomic_uint clones;
    atomic_uint returns; /* of clones, by wake or drop */
    atomic_uint polled;
};

static void clone_object(void *data)
{
    stress_add(&((struct object *)data)->clones);
}

static void drop_object(void *data)
{
    stress_add(&((struct object *)data)->returns);
}

static void wake_object(void *data)
{
    (void)data;
}

static const struct tocsin_waker_ops object_ops = {
    .clone = clone_object, .wake = drop_object, .wake_by_ref = wake_object, .drop = drop_object};

/* On the pool's thread: wait in both slots; what was seen already is cleared and waited for. */
static void poll_object(void *arg, int status)
{
    struct object *object = arg;
    struct tocsin_context cx = {.waker = {.ops = &object_ops, .data = object}};

    STRESS_CHECK(status == 0 || status == -ECANCELED);
    for (int i = 0; i < 2 && status == 0; i++) {
        int r = tocsin_fd_ready_poll(object->ready, TOCSIN_SLOT_READ, TOCSIN_IN, &cx);

        STRESS_CHECK(r == TOCSIN_PENDING || r > 0);
        tocsin_fd_ready_clear(object->ready, TOCSIN_SLOT_READ);
        r = tocsin_fd_ready_poll(object->ready, TOCSIN_SLOT_WRITE, TOCSIN_PRI, &cx);
        STRESS_CHECK(r == TOCSIN_PENDING || r > 0);
    }
    stress_add(&object->polled);
}

struct storm {
    struct support_thread thread;
    struct tocsin_pool *home; /* of the slots; it never runs */
    struct tocsin_vpoll_slot *slots[OBJECTS];
    atomic_bool over;
};

/* Each ctl that leaves an event is an edge. */
static void storm(void *arg)
{
    struct storm *events = arg;

    while (!atomic_load_explicit(&events->over, memory_order_relaxed)) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            STRESS_CHECK(
                tocsin_vpoll_slot_ctl(events->slots[i], TOCSIN_VPOLL_SET, TOCSIN_VPOLL_IN) == 0);
            STRESS_CHECK(tocsin_vpoll_slot_ctl(events->slots[i], TOCSIN_VPOLL_SET,
                                               i % 2 != 0 ? TOCSIN_VPOLL_PRI : 0) == 0);
        }
    }
}

/* @ends: the pool is told to end while the objects are still open, and races with their closes. */
static void race_once(struct storm *events, struct support_random *random, bool ends)
{
    struct object objects[OBJECTS] = {{.ready = NULL}};
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &driver, "slots", NULL, NULL) == 0);
    for (unsigned round = 0; round < 8; round++) {
        bool last = round == 7;

        for (unsigned i = 0; i < OBJECTS; i++) {
            STRESS_CHECK(
                tocsin_vpoll_slot_ready_open(driver, events->slots[i], &objects[i].ready) == 0);
            STRESS_CHECK(tocsin_post(driver, poll_object, &objects[i]) == 0);
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            stress_await(&objects[i].polled, round + 1);
        }
        if (last && ends) {
            tocsin_driver_unref(driver);
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            stress_dither(random);
            STRESS_CHECK(tocsin_fd_ready_close(objects[i].ready) == 0);
        }
    }
    if (!ends) {
        tocsin_driver_unref(driver);
    }
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
    for (unsigned i = 0; i < OBJECTS; i++) {
        STRESS_CHECK(stress_load(&objects[i].clones) == stress_load(&objects[i].returns));
    }
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    static struct storm events;

    events.home = stress_pool();
    for (unsigned i = 0; i < OBJECTS; i++) {
        STRESS_CHECK(tocsin_vpoll_slot_open(tocsin_pool_driver(events.home), 0, &events.slots[i]) ==
                     0);
    }
    support_thread_start(&events.thread, 1, storm, &events);
    for (unsigned i = 0; i < count; i++) {
        race_once(&events, random, i % 2 == 1);
    }
    atomic_store_explicit(&events.over, true, memory_order_relaxed);
    support_thread_join(&events.thread);
    for (unsigned i = 0; i < OBJECTS; i++) {
        STRESS_CHECK(tocsin_vpoll_slot_close(events.slots[i]) == 0);
    }
    STRESS_CHECK(tocsin_pool_close(events.home) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 500, run);
}
