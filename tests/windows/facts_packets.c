/*
 * The facts of wait completion packets: a row each, with its source.
 */
#include <stdatomic.h>

#include "tests/windows/facts.h"

static void one_shot(struct facts *f)
{
    void *event = facts_event(f, true, true);
    bool already = false;

    FACT(facts_associate(f, event, &already) == 0);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f)); /* though it is still signalled */
    FACT(facts_associate(f, event, &already) == 0 && already);
    FACT(facts_arrives(f));
    FACT(f->nt->close(event) == 0);
}

static void armed_is_in_use(struct facts *f)
{
    void *event = facts_event(f, true, false);
    bool already = false;

    FACT(facts_associate(f, event, &already) == 0 && !already);
    already = true;
    FACT(facts_associate(f, event, &already) == NT_INVALID_PARAMETER_1);
    FACT(already); /* untouched */
    FACT(facts_associate(f, NULL, &already) == NT_INVALID_PARAMETER_1);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(f->nt->close(event) == 0);
}

static void queued_is_in_use(struct facts *f)
{
    void *event = facts_event(f, true, true);
    bool already = false;

    FACT(facts_associate(f, event, &already) == 0 && already);
    already = false;
    FACT(facts_associate(f, event, &already) == NT_INVALID_PARAMETER_1);
    FACT(!already);
    FACT(facts_associate(f, NULL, &already) == NT_INVALID_PARAMETER_1);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f));
    FACT(f->nt->close(event) == 0);
}

static void already_signaled_is_said_and_queued(struct facts *f)
{
    void *event = facts_event(f, true, false);
    bool already = true;

    FACT(facts_associate(f, event, &already) == 0 && !already);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(facts_associate(f, event, &already) == 0 && already);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f));
    FACT(f->nt->close(event) == 0);
}

static void values_are_conveyed(struct facts *f)
{
    void *event = facts_event(f, false, true);
    struct nt_entry entry;
    uint32_t count = 0;
    bool already;

    FACT(f->nt->packet_associate(f->packet, f->port, event, 11, 12, NT_CANCELLED, 14, &already) ==
         0);
    FACT(f->nt->port_remove(f->port, &entry, 1, FACTS_SOON_NS, &count) == 0 && count == 1);
    FACT(entry.key == 11 && entry.apc == 12 && entry.io.information == 14);
    FACT((int32_t)(uint32_t)entry.io.status == NT_CANCELLED);
    FACT(f->nt->close(event) == 0);
}

static void queueing_consumes_an_auto_reset_event(struct facts *f)
{
    void *event = facts_event(f, false, true);
    bool already = false;

    FACT(facts_associate(f, event, &already) == 0 && already);
    FACT(!facts_take(f, event)); /* and the packet was not removed yet */
    FACT(facts_arrives(f));
    FACT(!facts_take(f, event));
    FACT(f->nt->close(event) == 0);
}

static void queueing_takes_one_of_a_semaphore(struct facts *f)
{
    void *semaphore = facts_semaphore(f, 2);
    bool already = false;

    FACT(facts_associate(f, semaphore, &already) == 0 && already);
    FACT(facts_take(f, semaphore));
    FACT(!facts_take(f, semaphore));
    FACT(facts_arrives(f));
    FACT(facts_associate(f, semaphore, &already) == 0 && !already);
    FACT(f->nt->semaphore_release(semaphore, 3) == 0);
    FACT(facts_arrives(f));
    FACT(facts_take(f, semaphore) && facts_take(f, semaphore) && !facts_take(f, semaphore));
    FACT(f->nt->close(semaphore) == 0);
}

static void a_manual_reset_event_stays(struct facts *f)
{
    void *event = facts_event(f, true, false);
    bool already = false;

    FACT(facts_associate(f, event, &already) == 0 && !already);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(facts_take(f, event));
    FACT(f->nt->close(event) == 0);
}

static void a_look_finds_what_was_signaled(struct facts *f)
{
    void *event = facts_event(f, false, false);
    struct nt_entry entry;
    uint32_t count = 0;
    bool already;

    for (int i = 0; i < 20; i++) {
        FACT(facts_associate(f, event, &already) == 0 && !already);
        FACT(f->nt->event_set(event) == 0);
        FACT(f->nt->port_remove(f->port, &entry, 1, 0, &count) == 0 && count == 1);
    }
    FACT(f->nt->close(event) == 0);
}

static void cancel_of_nothing_is_cancelled(struct facts *f)
{
    void *event = facts_event(f, true, true);
    bool already;

    FACT(f->nt->packet_cancel(f->packet, false) == NT_CANCELLED);
    FACT(f->nt->packet_cancel(f->packet, true) == NT_CANCELLED);
    FACT(facts_associate(f, event, &already) == 0);
    FACT(facts_arrives(f));
    FACT(f->nt->packet_cancel(f->packet, false) == NT_CANCELLED);
    FACT(f->nt->packet_cancel(f->packet, true) == NT_CANCELLED);
    FACT(f->nt->close(event) == 0);
}

static void cancel_of_an_armed_one_consumes_nothing(struct facts *f)
{
    void *semaphore = facts_semaphore(f, 0);
    bool already = true;

    for (int removes = 0; removes < 2; removes++) {
        FACT(facts_associate(f, semaphore, &already) == 0 && !already);
        FACT(f->nt->packet_cancel(f->packet, removes == 1) == 0);
        FACT(f->nt->packet_cancel(f->packet, removes == 1) == NT_CANCELLED);
        FACT(f->nt->semaphore_release(semaphore, 1) == 0);
        FACT(facts_is_empty(f));
        FACT(facts_take(f, semaphore));
    }
    FACT(facts_associate(f, semaphore, &already) == 0 && !already);
    FACT(f->nt->semaphore_release(semaphore, 1) == 0);
    FACT(facts_arrives(f));
    FACT(f->nt->close(semaphore) == 0);
}

static void cancel_leaves_a_queued_one(struct facts *f)
{
    void *event = facts_event(f, false, true);
    bool already;

    FACT(facts_associate(f, event, &already) == 0 && already);
    FACT(f->nt->packet_cancel(f->packet, false) == NT_PENDING);
    FACT(f->nt->packet_cancel(f->packet, false) == NT_PENDING);
    FACT(facts_associate(f, event, &already) == NT_INVALID_PARAMETER_1);
    FACT(facts_arrives(f));
    FACT(facts_associate(f, event, &already) == 0 && !already);
    FACT(f->nt->packet_cancel(f->packet, false) == 0);
    FACT(f->nt->close(event) == 0);
}

static void cancel_removes_a_queued_one(struct facts *f)
{
    void *semaphore = facts_semaphore(f, 1);
    void *other = NULL;
    struct nt_entry entry;
    uint32_t count = 0;
    bool already;

    FACT(facts_associate(f, semaphore, &already) == 0 && already);
    FACT(f->nt->packet_cancel(f->packet, true) == 0);
    FACT(facts_is_empty(f));
    FACT(!facts_take(f, semaphore)); /* the signal has gone with it */
    FACT(f->nt->semaphore_release(semaphore, 2) == 0);
    FACT(facts_associate(f, semaphore, &already) == 0 && already);
    FACT(f->nt->packet_cancel(f->packet, true) == 0);
    FACT(f->nt->port_create(&other) == 0);
    FACT(f->nt->packet_associate(f->packet, other, semaphore, 5, 6, 7, 8, &already) == 0);
    FACT(facts_is_empty(f)); /* it is on the other port, and nothing of it here */
    FACT(f->nt->port_remove(other, &entry, 1, FACTS_SOON_NS, &count) == 0 && entry.key == 5);
    FACT(f->nt->close(other) == 0);
    FACT(facts_associate(f, semaphore, &already) == 0 && !already);
    FACT(f->nt->semaphore_release(semaphore, 1) == 0);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f));
    FACT(f->nt->close(semaphore) == 0);
}

enum {
    RACES = 300,
};

struct race {
    struct facts *f;
    void *semaphore;
    atomic_uint released;
};

static void release_them(void *arg)
{
    struct race *race = arg;

    for (unsigned i = 0; i < RACES; i++) {
        race->f->nt->semaphore_release(race->semaphore, 1);
        atomic_fetch_add_explicit(&race->released, 1, memory_order_acq_rel);
    }
}

/* Arm and cancel against a thread that releases: each unit is delivered, or still there. */
static void cancel_races_lose_nothing(struct facts *f)
{
    struct race race = {.f = f, .semaphore = facts_semaphore(f, 0)};
    struct world_thread thread;
    unsigned delivered = 0;
    unsigned answers[3] = {0, 0, 0};
    bool already;

    world_thread_start(&thread, release_them, &race);
    do {
        int32_t status;

        FACT(facts_associate(f, race.semaphore, &already) == 0);
        status = f->nt->packet_cancel(f->packet, false);
        FACT(status == 0 || status == NT_PENDING || status == NT_CANCELLED);
        answers[status == 0 ? 0 : status == NT_PENDING ? 1 : 2]++;
        if (status != 0) {
            FACT(facts_arrives(f));
            delivered++;
        }
    } while (atomic_load_explicit(&race.released, memory_order_acquire) < RACES);
    world_thread_join(&thread);
    FACT(facts_is_empty(f));
    while (facts_take(f, race.semaphore)) {
        delivered++;
    }
    FACT(delivered == RACES);
    facts_note("cancelled %u, pending %u, CANCELLED %u", answers[0], answers[1], answers[2]);
    FACT(f->nt->close(race.semaphore) == 0);
}

/* Arm it on @target, cancel that, and arm again: for all that can be waited on. */
static bool is_target(struct facts *f, void *target)
{
    bool already = true;

    return facts_associate(f, target, &already) == 0 && !already &&
           f->nt->packet_cancel(f->packet, false) == 0 &&
           facts_associate(f, target, &already) == 0 && !already;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void events_and_semaphores_are_targets(struct facts *f)
{
    void *event = facts_event(f, false, false);
    void *semaphore = facts_semaphore(f, 0);

    FACT(is_target(f, event));
    FACT(f->nt->event_set(event) == 0 && facts_arrives(f));
    FACT(is_target(f, semaphore));
    FACT(f->nt->semaphore_release(semaphore, 1) == 0 && facts_arrives(f));
    FACT(f->nt->close(event) == 0 && f->nt->close(semaphore) == 0);
}

static void timers_are_targets(struct facts *f)
{
    void *timer = NULL;

    for (int manual = 0; manual < 2; manual++) {
        FACT(f->nt->timer_create(manual == 1, &timer) == 0);
        FACT(is_target(f, timer));
        FACT(f->nt->timer_set(timer, 1000000) == 0);
        FACT(facts_arrives(f));
        FACT(facts_take(f, timer) == (manual == 1));
        FACT(f->nt->close(timer) == 0);
    }
}

static void threads_are_targets(struct facts *f)
{
    struct world_thread thread;
    bool already = false;

    world_thread_start(&thread, nothing, NULL);
    FACT(facts_associate(f, thread.handle, &already) == 0);
    FACT(facts_arrives(f));
    FACT(facts_associate(f, thread.handle, &already) == 0 && already); /* for good */
    FACT(facts_arrives(f));
    world_thread_join(&thread);
}

static void processes_are_targets(struct facts *f)
{
    void *end = NULL;
    void *process = world_process(&end);

    FACT(is_target(f, process));
    FACT(f->nt->event_set(end) == 0);
    FACT(facts_arrives(f));
    FACT(facts_take(f, process));
    FACT(f->nt->close(process) == 0 && f->nt->close(end) == 0);
}

static void jobs_are_targets(struct facts *f)
{
    void *job = world_job();

    FACT(is_target(f, job));
    FACT(f->nt->packet_cancel(f->packet, false) == 0);
    FACT(f->nt->close(job) == 0);
}

static void mutexes_and_ports_are_refused(struct facts *f)
{
    void *mutex = world_mutex(false);
    bool already = true;

    FACT(facts_associate(f, mutex, &already) == NT_INVALID_PARAMETER_3);
    FACT(facts_associate(f, f->port, &already) == NT_INVALID_PARAMETER_3);
    FACT(already);
    FACT(f->nt->packet_cancel(f->packet, false) == NT_CANCELLED);
    FACT(f->nt->close(mutex) == 0);
}

static void the_right_to_wait_is_needed(struct facts *f)
{
    void *event = facts_event(f, true, true);
    void *mute = world_mute(event);
    bool already = true;
    int32_t status = facts_associate(f, mute, &already);

    /* Packets of our own wait on a duplicate, which may have the right. */
    FACT(status == NT_ACCESS_DENIED || (f->is_emulated && status == 0 && facts_arrives(f)));
    FACT(facts_associate(f, event, &already) == 0);
    FACT(facts_arrives(f));
    FACT(f->nt->close(mute) == 0 && f->nt->close(event) == 0);
}

static void the_target_is_held(struct facts *f)
{
    void *event = facts_event(f, true, false);
    void *other = NULL;
    bool already;

    FACT(f->nt->duplicate_to_wait(event, &other) == 0);
    FACT(facts_associate(f, other, &already) == 0);
    FACT(f->nt->close(other) == 0);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(facts_associate(f, event, &already) == 0 && facts_arrives(f));
    FACT(f->nt->close(event) == 0);
}

static void one_signal_ends_one_wait(struct facts *f)
{
    void *event = facts_event(f, false, false);
    void *second = NULL;
    bool already;

    FACT(f->nt->packet_create(&second) == 0);
    FACT(facts_associate(f, event, &already) == 0);
    FACT(f->nt->packet_associate(second, f->port, event, 1, 2, 3, 4, &already) == 0);
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f));
    FACT(f->nt->event_set(event) == 0);
    FACT(facts_arrives(f));
    FACT(facts_is_empty(f));
    FACT(f->nt->packet_close(second) == 0 && f->nt->close(event) == 0);
}

static void a_closed_packet_may_or_may_not_come(struct facts *f)
{
    void *event = facts_event(f, true, false);
    struct nt_entry entry;
    uint32_t count = 0;
    bool already;
    int32_t status;

    FACT(facts_associate(f, event, &already) == 0);
    FACT(f->nt->packet_close(f->packet) == 0);
    f->packet = NULL;
    FACT(f->nt->event_set(event) == 0);
    status = f->nt->port_remove(f->port, &entry, 1, 0, &count);
    FACT(status == 0 || status == NT_TIMEOUT);
    facts_note(status == 0 ? "closed while armed: it came" : "closed while armed: withdrawn");
    FACT(f->nt->packet_create(&f->packet) == 0);
    FACT(facts_associate(f, event, &already) == 0 && already);
    FACT(f->nt->packet_close(f->packet) == 0);
    f->packet = NULL;
    status = f->nt->port_remove(f->port, &entry, 1, 0, &count);
    FACT(status == 0 || status == NT_TIMEOUT);
    facts_note(status == 0 ? "closed while queued: it came" : "closed while queued: withdrawn");
    FACT(f->nt->close(event) == 0);
}

const struct facts_row facts_packets[] = {
    {"one_shot", "once picked up, the association must be made again", "DevNotes", one_shot},
    {"armed_is_in_use",
     "in use: STATUS_INVALID_PARAMETER_1, before the target; already_signaled untouched",
     "microsoft/litebox wait_completion_packet.rs", armed_is_in_use},
    {"queued_is_in_use", "queued: the same", "microsoft/litebox wait_completion_packet.rs",
     queued_is_in_use},
    {"already_signaled_is_said_and_queued",
     "target already signalled: success, already_signaled TRUE, and the packet is queued",
     "OpenVMM support/pal/src/windows.rs", already_signaled_is_said_and_queued},
    {"values_are_conveyed", "key, apc, status and information are those of the association",
     "DevNotes", values_are_conveyed},
    {"queueing_consumes_an_auto_reset_event",
     "delivery consumes like a wait, when it is queued, not when it is dequeued",
     "momo5502/sogen PR 1059", queueing_consumes_an_auto_reset_event},
    {"queueing_takes_one_of_a_semaphore", "the same; a semaphore counts down by one",
     "momo5502/sogen PR 1059", queueing_takes_one_of_a_semaphore},
    {"a_manual_reset_event_stays", "the same; what a wait does not consume stays signalled",
     "momo5502/sogen PR 1059", a_manual_reset_event_stays},
    {"a_look_finds_what_was_signaled", "the packet is on the port when the signalling call returns",
     "momo5502/sogen PR 1059", a_look_finds_what_was_signaled},
    {"cancel_of_nothing_is_cancelled",
     "cancel, never associated or already dequeued: STATUS_CANCELLED", "DevNotes, litebox",
     cancel_of_nothing_is_cancelled},
    {"cancel_of_an_armed_one_consumes_nothing", "cancel, armed: STATUS_SUCCESS, no signal consumed",
     "litebox", cancel_of_an_armed_one_consumes_nothing},
    {"cancel_leaves_a_queued_one",
     "cancel(FALSE), queued: STATUS_PENDING; the packet stays queued and busy", "litebox",
     cancel_leaves_a_queued_one},
    {"cancel_removes_a_queued_one",
     "cancel(TRUE), queued: removed, STATUS_SUCCESS, and the signal has gone with it",
     "litebox, OpenVMM WaitPacket::cancel", cancel_removes_a_queued_one},
    {"cancel_races_lose_nothing",
     "cancel, other races: PENDING and CANCELLED both mean that somebody has or gets the packet",
     "DevNotes, OpenVMM, compio PR 316", cancel_races_lose_nothing},
    {"events_and_semaphores_are_targets", "targets: event, semaphore",
     "MicrosoftDocs/sdk-api PR 1843", events_and_semaphores_are_targets},
    {"timers_are_targets", "targets: timer", "MicrosoftDocs/sdk-api PR 1843", timers_are_targets},
    {"threads_are_targets", "targets: thread", "MicrosoftDocs/sdk-api PR 1843",
     threads_are_targets},
    {"processes_are_targets", "targets: process", "MicrosoftDocs/sdk-api PR 1843",
     processes_are_targets},
    {"jobs_are_targets", "targets: job", "MicrosoftDocs/sdk-api PR 1843", jobs_are_targets},
    {"mutexes_and_ports_are_refused", "mutexes and ports: STATUS_INVALID_PARAMETER_3",
     "MicrosoftDocs/sdk-api PR 1843, Wine merge request tests", mutexes_and_ports_are_refused},
    {"the_right_to_wait_is_needed", "a target handle without SYNCHRONIZE: STATUS_ACCESS_DENIED",
     "object manager: waits ask for SYNCHRONIZE", the_right_to_wait_is_needed},
    {"the_target_is_held", "the target's handle may be closed while the packet is armed",
     "object manager: the association holds the object, not the handle", the_target_is_held},
    {"one_signal_ends_one_wait", "an auto-reset event queues one of two packets",
     "momo5502/sogen PR 1059", one_signal_ends_one_wait},
    {"a_closed_packet_may_or_may_not_come",
     "closing a packet while armed or queued: undocumented, either is allowed", "sogen",
     a_closed_packet_may_or_may_not_come},
    {0},
};
