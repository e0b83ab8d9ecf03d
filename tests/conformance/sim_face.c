/*
 * The simulation's face: each case runs in a simulation of its own, with the run's seed, and its
 * threads are actors.
 */
#include <errno.h>
#include <stdlib.h>
#include <tocsin/sim.h>

#include "face.h"
#include "runner.h"

enum {
    CLOCK_STEP_NS = 50, /* what reading the clock takes; near enough to the real thing */
};

static struct tocsin_sim *sim;

static int face_begin(uint64_t seed)
{
    const struct tocsin_sim_options options = {.seed = seed, .clock_step_ns = CLOCK_STEP_NS};

    return tocsin_sim_open(&sim, &options);
}

static int face_end(void)
{
    return tocsin_sim_close(sim);
}

static intptr_t face_source_create(void)
{
    intptr_t number = -1;
    int r = tocsin_sim_event(sim, 0, false, &number);

    return r < 0 ? r : number;
}

static void face_source_signal(intptr_t number)
{
    const uint64_t one = 1;

    (void)tocsin_sim_object_write(sim, number, &one, sizeof(one));
}

static bool face_source_take(intptr_t number)
{
    uint64_t count;

    return tocsin_sim_object_read(sim, number, &count, sizeof(count)) > 0;
}

static void face_source_destroy(intptr_t number)
{
    (void)tocsin_sim_object_close(sim, number);
}

static int face_link_create(bool is_pipe, intptr_t out_numbers[2])
{
    return is_pipe ? tocsin_sim_pipe(sim, NULL, out_numbers)
                   : tocsin_sim_stream_pair(sim, NULL, out_numbers);
}

static int face_link_read(intptr_t number, void *data, size_t size)
{
    return tocsin_sim_object_read(sim, number, data, size);
}

static int face_link_write(intptr_t number, const void *data, size_t size)
{
    return tocsin_sim_object_write(sim, number, data, size);
}

static int face_link_shut(intptr_t number)
{
    return tocsin_sim_object_shutdown(sim, number, TOCSIN_SHUTDOWN_WRITE);
}

static int face_link_close(intptr_t number)
{
    return tocsin_sim_object_close(sim, number);
}

static void face_time_pass(uint64_t delay_ns)
{
    (void)tocsin_sim_pass(sim, delay_ns);
}

static void *face_thread_start(void (*fn)(void *arg), void *arg)
{
    struct tocsin_sim_thread *thread = NULL;

    return tocsin_sim_thread_start(sim, &thread, NULL, fn, arg) < 0 ? NULL : thread;
}

static void face_thread_join(void *thread)
{
    if (tocsin_sim_thread_join(thread) < 0) {
        abort();
    }
}

static void face_await(bool (*fn)(void *arg), void *arg)
{
    if (tocsin_sim_await(sim, fn, arg) < 0) {
        abort();
    }
}

static void face_point(void)
{
    (void)tocsin_sim_yield(sim);
}

const struct tocsin_conform_face *conform_sim_face(void)
{
    static const struct tocsin_conform_face face = {
        .source_create = face_source_create,
        .source_signal = face_source_signal,
        .source_take = face_source_take,
        .source_destroy = face_source_destroy,
        .time_pass = face_time_pass,
        .link_create = face_link_create,
        .link_read = face_link_read,
        .link_write = face_link_write,
        .link_shut = face_link_shut,
        .link_close = face_link_close,
        .begin = face_begin,
        .end = face_end,
        .thread_start = face_thread_start,
        .thread_join = face_thread_join,
        .await = face_await,
        .point = face_point,
    };

    return &face;
}
