/*
 * The world of the facts on Linux: the model, with threads and processes that are threads.
 */
#include <stdio.h>
#include <stdlib.h>

#include "backends/windows/packets.h"
#include "tests/nt_model/model.h"
#include "tests/windows/facts.h"

static const struct nt *table; /* of the world that has begun */
static bool is_emulated;

const struct nt *world_begin(bool emulated, uint64_t seed, uint32_t lateness_permille)
{
    struct nt_model_options options = {
        .seed = seed,
        .delay_permille = 200,
        .late_permille = lateness_permille,
        .without_packets = emulated,
    };

    nt_model_begin(&options);
    is_emulated = emulated;
    table = emulated ? tocsin__packets_open(nt_model_table()) : nt_model_table();
    return table;
}

void world_end(void)
{
    if (is_emulated) {
        tocsin__packets_close(table);
    }
    if (nt_model_handles() != 0 || nt_model_objects() != 0) {
        printf("# left: %u handles, %u objects\n", nt_model_handles(), nt_model_objects());
        exit(1);
    }
}

static void thread_main(void *arg)
{
    struct world_thread *thread = arg;

    table->wait_one(thread->start, TOCSIN_NEVER_NS);
    thread->fn(thread->arg);
}

void world_thread_start(struct world_thread *thread, void (*fn)(void *arg), void *arg)
{
    *thread = (struct world_thread){.fn = fn, .arg = arg};
    if (nt_failed(table->event_create(true, false, &thread->start)) ||
        nt_failed(nt_model_task_start(NT_TYPE_THREAD, thread_main, thread, &thread->handle))) {
        abort();
    }
    table->event_set(thread->start);
}

void world_thread_join(struct world_thread *thread)
{
    table->wait_one(thread->handle, TOCSIN_NEVER_NS);
    table->close(thread->handle);
    table->close(thread->start);
}

static void process_main(void *arg)
{
    table->wait_one(arg, TOCSIN_NEVER_NS);
    table->close(arg);
}

void *world_process(void **out_end)
{
    void *process;
    void *own;

    if (nt_failed(table->event_create(true, false, out_end)) ||
        nt_failed(nt_model_duplicate(*out_end, &own)) ||
        nt_failed(nt_model_task_start(NT_TYPE_PROCESS, process_main, own, &process))) {
        abort();
    }
    return process;
}

void world_child(const char *arg)
{
    (void)arg;
    abort(); /* processes are threads here */
}

void *world_mutex(bool owned)
{
    void *mutex;

    return nt_failed(nt_model_mutant_create(owned, &mutex)) ? NULL : mutex;
}

void *world_job(void)
{
    void *job;

    return nt_failed(nt_model_job_create(&job)) ? NULL : job;
}

void *world_mute(void *handle)
{
    void *mute;

    return nt_failed(nt_model_duplicate_mute(handle, &mute)) ? NULL : mute;
}
