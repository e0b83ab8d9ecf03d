/*
 * The facts of the other calls, as far as the sources rest on them: ports, handles, objects, waits.
 */
#include "tests/windows/facts.h"

static void posts_come_in_order(struct facts *f)
{
    struct nt_entry entries[3];
    uint32_t count = 0;

    FACT(f->nt->port_remove(f->port, entries, 3, 0, &count) == NT_TIMEOUT);
    for (uintptr_t i = 1; i <= 5; i++) {
        FACT(f->nt->port_post(f->port, i, i * 2, NT_NOT_FOUND, i * 3) == 0);
    }
    FACT(f->nt->port_remove(f->port, entries, 3, FACTS_SOON_NS, &count) == 0 && count == 3);
    FACT(entries[0].key == 1 && entries[1].key == 2 && entries[2].key == 3);
    FACT(entries[1].apc == 4 && entries[1].io.information == 6);
    FACT((int32_t)(uint32_t)entries[1].io.status == NT_NOT_FOUND);
    FACT(f->nt->port_remove(f->port, entries, 3, 0, &count) == 0 && count == 2);
    FACT(entries[1].key == 5);
    FACT(f->nt->port_remove(f->port, entries, 3, 0, &count) == NT_TIMEOUT);
}

static void a_remove_is_not_early(struct facts *f)
{
    struct nt_entry entry;
    uint32_t count = 0;
    uint64_t begin_ns = f->nt->now_ns();

    FACT(f->nt->port_remove(f->port, &entry, 1, 20000000, &count) == NT_TIMEOUT);
    /* Windows' clock of timeouts ticks every 15.6 ms, and may end one up to a tick early. */
    FACT(f->nt->now_ns() - begin_ns >= 4000000);
    facts_note("20 ms took %u us", (unsigned)((f->nt->now_ns() - begin_ns) / 1000));
}

static void post_it(void *arg)
{
    struct facts *f = arg;

    f->nt->port_post(f->port, 7, 0, 0, 0);
}

static void a_post_ends_a_wait(struct facts *f)
{
    struct world_thread thread;
    struct nt_entry entry;
    uint32_t count = 0;

    world_thread_start(&thread, post_it, f);
    FACT(f->nt->port_remove(f->port, &entry, 1, FACTS_SOON_NS, &count) == 0 && entry.key == 7);
    world_thread_join(&thread);
}

static void events_auto_and_manual(struct facts *f)
{
    void *manual = facts_event(f, true, true);
    void *automatic = facts_event(f, false, true);

    FACT(facts_take(f, manual) && facts_take(f, manual));
    FACT(facts_take(f, automatic) && !facts_take(f, automatic));
    FACT(f->nt->event_set(automatic) == 0 && f->nt->event_set(automatic) == 0);
    FACT(facts_take(f, automatic) && !facts_take(f, automatic));
    FACT(f->nt->event_reset(manual) == 0 && !facts_take(f, manual));
    FACT(f->nt->close(manual) == 0 && f->nt->close(automatic) == 0);
}

static void semaphores_count(struct facts *f)
{
    void *semaphore = NULL;

    FACT(f->nt->semaphore_create(1, 3, &semaphore) == 0);
    FACT(f->nt->semaphore_release(semaphore, 3) == NT_SEMAPHORE_LIMIT_EXCEEDED);
    FACT(f->nt->semaphore_release(semaphore, 2) == 0);
    FACT(facts_take(f, semaphore) && facts_take(f, semaphore) && facts_take(f, semaphore));
    FACT(!facts_take(f, semaphore));
    FACT(f->nt->close(semaphore) == 0);
}

static void timers_fire_and_cancel(struct facts *f)
{
    uint64_t begin_ns = f->nt->now_ns();
    void *timer = NULL;

    FACT(f->nt->timer_create(true, &timer) == 0);
    FACT(!facts_take(f, timer));
    FACT(f->nt->timer_set(timer, 3000000) == 0);
    FACT(f->nt->wait_one(timer, FACTS_SOON_NS) == 0);
    FACT(f->nt->now_ns() - begin_ns >= 2000000);
    FACT(facts_take(f, timer));
    FACT(f->nt->timer_set(timer, UINT64_C(3600000000000)) == 0);
    FACT(!facts_take(f, timer));
    FACT(f->nt->timer_cancel(timer) == 0 && !facts_take(f, timer));
    FACT(f->nt->close(timer) == 0);
}

static void a_wait_takes_the_first_only(struct facts *f)
{
    void *handles[3] = {facts_event(f, false, false), facts_event(f, false, true),
                        facts_semaphore(f, 1)};

    FACT(f->nt->wait_many(handles, 3, 0) == 1);
    FACT(f->nt->wait_many(handles, 3, 0) == 2);
    FACT(f->nt->wait_many(handles, 3, 0) == NT_TIMEOUT);
    FACT(f->nt->event_set(handles[0]) == 0);
    FACT(f->nt->wait_many(handles, 3, FACTS_SOON_NS) == 0);
    for (int i = 0; i < 3; i++) {
        FACT(f->nt->close(handles[i]) == 0);
    }
}

static void a_mutex_is_its_owners(struct facts *f)
{
    void *owned = world_mutex(true);
    enum nt_type type;

    FACT(f->nt->type(owned, &type) == 0 && type == NT_TYPE_MUTANT);
    FACT(facts_take(f, owned)); /* once more */
    FACT(f->nt->close(owned) == 0);
}

static void duplicates_can_wait_and_no_more(struct facts *f)
{
    void *event = facts_event(f, false, false);
    void *mute = world_mute(event);
    void *other = NULL;
    enum nt_type type;
    int32_t status;

    FACT(f->nt->duplicate_to_wait(event, &other) == 0);
    FACT(f->nt->event_set(other) == NT_ACCESS_DENIED);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_take(f, other) && !facts_take(f, event));
    FACT(f->nt->type(event, &type) == 0 && type == NT_TYPE_EVENT_AUTO);
    FACT(f->nt->type(other, &type) == 0 && type == NT_TYPE_EVENT);
    FACT(f->nt->wait_one(mute, 0) == NT_ACCESS_DENIED);
    FACT(f->nt->close(other) == 0);
    status = f->nt->duplicate_to_wait(mute, &other);
    FACT(status == NT_ACCESS_DENIED || (status == 0 && f->nt->close(other) == 0));
    facts_note(status == 0 ? "a right that was missing was given" : "no right was given");
    FACT(f->nt->close(event) == 0 && f->nt->close(mute) == 0);
}

static void handles_of_one_object_compare(struct facts *f)
{
    void *event = facts_event(f, true, false);
    void *stranger = facts_event(f, true, false);
    void *other = NULL;
    int32_t status;

    FACT(f->nt->duplicate_to_wait(event, &other) == 0);
    status = f->nt->compare(event, other);
    FACT(status == 0 || status == NT_NOT_IMPLEMENTED);
    if (status == 0) {
        FACT(f->nt->compare(event, stranger) == NT_NOT_SAME_OBJECT);
        FACT(f->nt->close(stranger) == 0);
        FACT(f->nt->compare(event, stranger) == NT_INVALID_HANDLE);
        stranger = facts_event(f, true, false);
    }
    FACT(f->nt->close(event) == 0 && f->nt->close(other) == 0 && f->nt->close(stranger) == 0);
}

static void a_closed_handle_is_invalid(struct facts *f)
{
    void *event = facts_event(f, true, false);
    void *other = NULL;
    enum nt_type type;
    bool already;

    FACT(f->nt->close(event) == 0);
    FACT(f->nt->close(event) == NT_INVALID_HANDLE);
    FACT(f->nt->event_set(event) == NT_INVALID_HANDLE);
    FACT(f->nt->type(event, &type) == NT_INVALID_HANDLE);
    FACT(f->nt->wait_one(event, 0) == NT_INVALID_HANDLE);
    FACT(f->nt->duplicate_to_wait(event, &other) == NT_INVALID_HANDLE);
    FACT(facts_associate(f, event, &already) == NT_INVALID_HANDLE);
    FACT(f->nt->packet_cancel(f->packet, false) == NT_CANCELLED);
}

static void types_are_told(struct facts *f)
{
    void *end = NULL;
    void *process = world_process(&end);
    void *job = world_job();
    void *semaphore = facts_semaphore(f, 0);
    enum nt_type type;

    FACT(f->nt->type(end, &type) == 0 && type == NT_TYPE_EVENT_MANUAL);
    FACT(f->nt->type(process, &type) == 0 && type == NT_TYPE_PROCESS);
    FACT(f->nt->type(job, &type) == 0 && type == NT_TYPE_JOB);
    FACT(f->nt->type(semaphore, &type) == 0 && type == NT_TYPE_SEMAPHORE);
    FACT(f->nt->type(f->port, &type) == 0 && type == NT_TYPE_PORT);
    FACT(f->nt->event_set(semaphore) == NT_OBJECT_TYPE_MISMATCH);
    FACT(f->nt->event_set(end) == 0);
    FACT(f->nt->wait_one(process, FACTS_SOON_NS) == 0);
    FACT(f->nt->close(process) == 0 && f->nt->close(end) == 0 && f->nt->close(job) == 0);
    FACT(f->nt->close(semaphore) == 0);
}

const struct facts_row facts_objects[] = {
    {"posts_come_in_order", "a port gives its entries in order, as many as there are",
     "sdk-api GetQueuedCompletionStatusEx", posts_come_in_order},
    {"a_remove_is_not_early", "a timeout ends a wait, a tick early at most", "sdk-api",
     a_remove_is_not_early},
    {"a_post_ends_a_wait", "a post ends a wait", "sdk-api PostQueuedCompletionStatus",
     a_post_ends_a_wait},
    {"events_auto_and_manual", "a wait resets an auto-reset event", "sdk-api CreateEvent",
     events_auto_and_manual},
    {"semaphores_count", "a semaphore has a limit, and a wait takes one", "sdk-api",
     semaphores_count},
    {"timers_fire_and_cancel", "setting a timer unsignals it; cancelling does not signal it",
     "sdk-api SetWaitableTimer", timers_fire_and_cancel},
    {"a_wait_takes_the_first_only", "a wait for any consumes the lowest that is signalled",
     "sdk-api WaitForMultipleObjects", a_wait_takes_the_first_only},
    {"a_mutex_is_its_owners", "its owner's wait does not block", "sdk-api CreateMutex",
     a_mutex_is_its_owners},
    {"duplicates_can_wait_and_no_more", "a duplicate has the rights that were asked for",
     "sdk-api DuplicateHandle", duplicates_can_wait_and_no_more},
    {"handles_of_one_object_compare", "NtCompareObjects tells whether two handles are one object",
     "sdk-api CompareObjectHandles", handles_of_one_object_compare},
    {"a_closed_handle_is_invalid", "a closed handle is STATUS_INVALID_HANDLE", "sdk-api",
     a_closed_handle_is_invalid},
    {"types_are_told", "NtQueryObject names the type; calls check it", "DevNotes NtQueryObject",
     types_are_told},
    {0},
};
