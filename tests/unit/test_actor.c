/*
 * Blocking, starting and joining: a thread's own way, and an actor's.
 */
#include "runtime/actor.h"

#include "tests/unit/unit.h"

/* An actor of nobody's: counts what it is asked for. */
struct counting {
    unsigned parks;
    unsigned unparks;
    unsigned points;
    unsigned starts;
    unsigned joins;
    struct tocsin__parking *parking; /* signalled while it is parked */
};

static void counting_park(void *actor, struct tocsin__mutex *lock)
{
    struct counting *counting = actor;

    counting->parks++;
    tocsin__mutex_unlock(lock);
    tocsin__mutex_lock(lock);
    tocsin__parking_signal(counting->parking);
}

static void counting_unpark(void *actor)
{
    ((struct counting *)actor)->unparks++;
}

static void counting_point(void *actor)
{
    ((struct counting *)actor)->points++;
}

static int counting_start(void *actor, struct tocsin__thread *thread, void *(*main)(void *),
                          void *arg)
{
    ((struct counting *)actor)->starts++;
    thread->actor = actor;
    (void)main(arg);
    return 0;
}

static void counting_join(void *actor, struct tocsin__thread *thread)
{
    ((struct counting *)actor)->joins++;
    UNIT_CHECK(thread->actor == actor);
}

static const struct tocsin__actor_ops counting_ops = {
    .park = counting_park,
    .unpark = counting_unpark,
    .point = counting_point,
    .thread_start = counting_start,
    .thread_join = counting_join,
};

static void *set_true(void *arg)
{
    *(bool *)arg = true;
    return NULL;
}

static void an_actor_parks_by_its_own_functions(void **state)
{
    struct counting counting = {0};
    struct tocsin__parking parking;
    struct tocsin__mutex lock;

    (void)state;
    assert_int_equal(tocsin__mutex_init(&lock), 0);
    assert_int_equal(tocsin__parking_init(&parking), 0);
    counting.parking = &parking;
    tocsin__actor = (struct tocsin__actor){&counting_ops, &counting};
    tocsin__mutex_lock(&lock);
    tocsin__parking_wait(&parking, &lock);
    assert_int_equal(counting.parks, 1);
    assert_int_equal(counting.unparks, 1);
    tocsin__parking_signal(&parking); /* nobody is parked any more */
    tocsin__mutex_unlock(&lock);
    assert_int_equal(counting.unparks, 1);
    tocsin__actor = (struct tocsin__actor){0};
    tocsin__parking_deinit(&parking);
    tocsin__mutex_deinit(&lock);
}

static void an_actors_threads_are_actors(void **state)
{
    struct counting counting = {0};
    struct tocsin__thread thread;
    bool ran = false;

    (void)state;
    tocsin__actor = (struct tocsin__actor){&counting_ops, &counting};
    tocsin__actor_point();
    assert_int_equal(tocsin__actor_thread_start(&thread, set_true, &ran), 0);
    tocsin__actor_thread_join(&thread);
    tocsin__actor = (struct tocsin__actor){0};
    assert_int_equal(counting.points, 1);
    assert_int_equal(counting.starts, 1);
    assert_int_equal(counting.joins, 1);
    assert_true(ran);
}

struct parked {
    struct tocsin__mutex lock;
    struct tocsin__parking parking;
    bool is_set; /* guarded by lock */
};

static void signal_it(void *arg)
{
    struct parked *parked = arg;

    tocsin__mutex_lock(&parked->lock);
    parked->is_set = true;
    tocsin__parking_signal(&parked->parking);
    tocsin__mutex_unlock(&parked->lock);
}

static void a_thread_blocks_until_it_is_signalled(void **state)
{
    struct support_thread thread;
    struct parked parked;
    bool ran = false;
    struct tocsin__thread started;

    (void)state;
    for (unsigned i = 0; i < support_scaled(1000); i++) {
        parked.is_set = false;
        assert_int_equal(tocsin__mutex_init(&parked.lock), 0);
        assert_int_equal(tocsin__parking_init(&parked.parking), 0);
        support_thread_start(&thread, 1, signal_it, &parked);
        tocsin__mutex_lock(&parked.lock);
        while (!parked.is_set) {
            tocsin__parking_wait(&parked.parking, &parked.lock);
        }
        tocsin__mutex_unlock(&parked.lock);
        support_thread_join(&thread);
        tocsin__parking_deinit(&parked.parking);
        tocsin__mutex_deinit(&parked.lock);
    }
    tocsin__actor_point(); /* is nothing */
    assert_int_equal(tocsin__actor_thread_start(&started, set_true, &ran), 0);
    assert_null(started.actor);
    tocsin__actor_thread_join(&started);
    assert_true(ran);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_actor_parks_by_its_own_functions),
    cmocka_unit_test(an_actors_threads_are_actors),
    cmocka_unit_test(a_thread_blocks_until_it_is_signalled),
};

UNIT_MAIN(tests)
