/*
 * What an epoll of handles does, one thread at a time.
 */
#include <errno.h>

#include "tests/windows/rules.h"

#define IN TOCSIN_EPOLL_IN
#define ET TOCSIN_EPOLL_ET
#define ONESHOT TOCSIN_EPOLL_ONESHOT

static void level_is_reported_until_it_is_taken(struct rules *t)
{
    void *event = rules_event(t, true, false);

    REQUIRE(t, rules_add(t, event, IN, 7) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, t->nt->event_set(event) == 0);
    REQUIRE(t, rules_gets(t, 7));
    REQUIRE(t, rules_gets(t, 7));
    REQUIRE(t, t->nt->event_reset(event) == 0);
    REQUIRE(t, rules_none(t)); /* nothing stale */
    REQUIRE(t, t->nt->event_set(event) == 0);
    REQUIRE(t, rules_gets(t, 7));
    REQUIRE(t, rules_close(t, event));
}

static void what_is_signaled_is_reported_at_once(struct rules *t)
{
    void *manual = rules_event(t, true, true);
    void *automatic = rules_event(t, false, true);

    REQUIRE(t, rules_add(t, manual, IN | ONESHOT, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_add(t, automatic, IN | ET, 2) == 0);
    REQUIRE(t, rules_gets(t, 2));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, manual) && rules_close(t, automatic));
}

static void reporting_consumes(struct rules *t)
{
    void *event = rules_event(t, false, true);
    void *semaphore = rules_semaphore(t, 3);

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, !nt_model_is_signaled(event));
    REQUIRE(t, rules_add(t, semaphore, IN, 2) == 0);
    REQUIRE(t, rules_gets(t, 2) && rules_gets(t, 2) && rules_gets(t, 2));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, event) && rules_close(t, semaphore));
}

static void each_signal_is_an_edge(struct rules *t)
{
    void *event = rules_event(t, false, false);
    void *semaphore = rules_semaphore(t, 0);

    REQUIRE(t, rules_add(t, event, IN | ET, 1) == 0);
    for (int i = 0; i < 3; i++) {
        REQUIRE(t, t->nt->event_set(event) == 0);
        REQUIRE(t, rules_gets(t, 1));
        REQUIRE(t, rules_none(t));
    }
    REQUIRE(t, rules_add(t, semaphore, IN | ET, 2) == 0);
    REQUIRE(t, t->nt->semaphore_release(semaphore, 2) == 0);
    REQUIRE(t, rules_gets(t, 2) && rules_gets(t, 2));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, event) && rules_close(t, semaphore));
}

static void an_edge_after_a_reset_is_reported(struct rules *t)
{
    void *event = rules_event(t, true, false);

    REQUIRE(t, rules_add(t, event, IN | ET, 1) == 0);
    for (int i = 0; i < 3; i++) {
        REQUIRE(t, t->nt->event_set(event) == 0);
        REQUIRE(t, rules_gets(t, 1));
        REQUIRE(t, t->nt->event_reset(event) == 0);
    }
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, event));
}

static void one_shot_is_reported_once(struct rules *t)
{
    void *event = rules_event(t, true, true);

    REQUIRE(t, rules_add(t, event, IN | ONESHOT, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_mod(t, event, IN | ONESHOT, 2) == 0);
    REQUIRE(t, rules_gets(t, 2));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_mod(t, event, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3) && rules_gets(t, 3));
    REQUIRE(t, rules_close(t, event));
}

static void nothing_wanted_is_nothing_reported(struct rules *t)
{
    void *event = rules_event(t, true, true);
    void *automatic = rules_event(t, false, true);
    uint64_t calls;

    REQUIRE(t, rules_add(t, event, 0, 1) == 0);
    REQUIRE(t, rules_add(t, automatic, TOCSIN_EPOLL_OUT, 2) == 0);
    calls = nt_model_calls(NT_CALL_PORT_REMOVE);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, nt_model_calls(NT_CALL_PORT_REMOVE) - calls <= 2); /* no busy loop */
    REQUIRE(t, nt_model_is_signaled(automatic));                  /* nor was it consumed */
    REQUIRE(t, rules_mod(t, event, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    REQUIRE(t, rules_mod(t, event, 0, 4) == 0);
    REQUIRE(t, rules_mod(t, automatic, IN, 5) == 0);
    REQUIRE(t, rules_gets(t, 5));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, event) && rules_close(t, automatic));
}

static void a_change_loses_no_signal(struct rules *t)
{
    void *semaphore = rules_semaphore(t, 0);

    REQUIRE(t, rules_add(t, semaphore, IN, 1) == 0);
    REQUIRE(t, t->nt->semaphore_release(semaphore, 1) == 0); /* the packet is on its way */
    REQUIRE(t, rules_mod(t, semaphore, 0, 2) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_mod(t, semaphore, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, semaphore));
}

static void a_change_takes_nothing_that_is_not_there(struct rules *t)
{
    void *semaphore = rules_semaphore(t, 0);

    REQUIRE(t, rules_add(t, semaphore, IN, 1) == 0);
    REQUIRE(t, rules_mod(t, semaphore, 0, 2) == 0);
    REQUIRE(t, t->nt->semaphore_release(semaphore, 1) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, t->nt->wait_one(semaphore, 0) == 0); /* somebody else's */
    REQUIRE(t, rules_mod(t, semaphore, IN, 3) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, semaphore));
}

static void a_change_reports_what_is_there(struct rules *t)
{
    void *event = rules_event(t, true, true);

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    REQUIRE(t, rules_mod(t, event, IN, 2) == 0);
    REQUIRE(t, rules_gets(t, 2));
    REQUIRE(t, rules_mod(t, event, IN | ET, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    REQUIRE(t, rules_close(t, event));
}

static void errors_are_linux(struct rules *t)
{
    void *event = rules_event(t, true, true);
    void *other = NULL;
    void *mute = NULL;
    void *mutex = NULL;
    struct tocsin_epoll_event got;
    int r;

    REQUIRE(t, rules_mod(t, event, IN, 0) == -ENOENT && rules_del(t, event) == -ENOENT);
    REQUIRE(t, rules_add(t, event, IN | ONESHOT, 1) == 0);
    REQUIRE(t, rules_add(t, event, IN, 1) == -EEXIST);
    REQUIRE(t, nt_model_duplicate(event, &other) == 0);
    REQUIRE(t, rules_add(t, other, IN | ONESHOT, 2) == 0);
    REQUIRE(t, rules_gets(t, 1) && rules_gets(t, 2)); /* two registrations */
    REQUIRE(t, rules_del(t, event) == 0);
    REQUIRE(t, rules_del(t, event) == -ENOENT);
    REQUIRE(t, rules_close(t, event));
    REQUIRE(t, rules_add(t, event, IN, 1) == -EBADF && rules_mod(t, event, IN, 1) == -EBADF);
    REQUIRE(t, rules_del(t, event) == -EBADF && rules_add(t, NULL, IN, 1) == -EBADF);
    REQUIRE(t, nt_model_mutant_create(false, &mutex) == 0);
    REQUIRE(t, rules_add(t, mutex, IN, 1) == -EPERM);
    REQUIRE(t, rules_add(t, tocsin__epoll_port(t->epoll), IN, 1) == -EPERM);
    REQUIRE(t, nt_model_duplicate_mute(other, &mute) == 0);
    r = rules_add(t, mute, IN | ONESHOT, 3); /* a duplicate may have the right to wait */
    REQUIRE(t, r == -EACCES || (r == 0 && rules_gets(t, 3)));
    REQUIRE(t, rules_ctl(t, 4, other, IN, 1) == -EINVAL);
    REQUIRE(t, rules_mod(t, other, UINT32_C(1) << 20, 1) == -EINVAL);
    REQUIRE(t, rules_mod(t, other, IN | TOCSIN_EPOLL_EXCLUSIVE, 1) == -EINVAL);
    REQUIRE(t, tocsin_epoll_ctl(t->epoll, TOCSIN_EPOLL_CTL_MOD, other, NULL) == -EINVAL);
    REQUIRE(t, tocsin_epoll_wait(t->epoll, &got, 0, 0) == -EINVAL);
    REQUIRE(t, rules_close(t, mute) && rules_close(t, mutex) && rules_close(t, other));
}

static void exclusive_is_for_add(struct rules *t)
{
    void *event = rules_event(t, false, true);

    REQUIRE(t, rules_add(t, event, IN | ONESHOT | TOCSIN_EPOLL_EXCLUSIVE, 1) == -EINVAL);
    REQUIRE(t, rules_add(t, event, IN | TOCSIN_EPOLL_EXCLUSIVE, 1) == 0);
    REQUIRE(t, rules_mod(t, event, IN, 2) == -EINVAL);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_close(t, event));
}

static void a_recycled_handle_is_another_object(struct rules *t)
{
    void *first = rules_event(t, true, false);
    void *again;

    REQUIRE(t, rules_add(t, first, IN, 1) == 0);
    REQUIRE(t, rules_close(t, first));
    again = rules_event(t, true, true);
    REQUIRE(t, again == first); /* the model recycles at once */
    REQUIRE(t, rules_mod(t, again, IN, 2) == -ENOENT);
    REQUIRE(t, rules_del(t, again) == -ENOENT);
    REQUIRE(t, rules_add(t, again, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    REQUIRE(t, rules_close(t, again));
}

static void a_closed_handles_watch_takes_nobodys_signal(struct rules *t)
{
    void *first = rules_event(t, false, true);
    void *keeper = NULL;
    void *stranger;

    REQUIRE(t, nt_model_duplicate(first, &keeper) == 0);
    REQUIRE(t, rules_add(t, first, IN, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_close(t, first));
    stranger = rules_event(t, false, true);
    REQUIRE(t, stranger == first);
    REQUIRE(t, rules_none(t)); /* it was armed again, and not on the stranger */
    REQUIRE(t, nt_model_is_signaled(stranger));
    REQUIRE(t, t->nt->event_set(keeper) == 0);
    REQUIRE(t, rules_gets(t, 1)); /* as a descriptor that was duplicated and closed */
    REQUIRE(t, rules_close(t, stranger) && rules_close(t, keeper));
}

static void after_a_delete_there_is_nothing(struct rules *t)
{
    void *event = rules_event(t, true, false);

    for (int i = 0; i < 3; i++) {
        REQUIRE(t, rules_add(t, event, IN, 1) == 0);
        REQUIRE(t, t->nt->event_set(event) == 0); /* the packet is on its way, or soon is */
        if (i == 1) {
            REQUIRE(t, rules_gets(t, 1)); /* told, and not armed again */
        }
        REQUIRE(t, rules_del(t, event) == 0);
        REQUIRE(t, rules_none(t));
        if (i == 2) {
            REQUIRE(t, t->nt->event_reset(event) == 0);
        }
    }
    REQUIRE(t, rules_add(t, event, IN, 2) == 0);
    REQUIRE(t, rules_del(t, event) == 0); /* armed */
    REQUIRE(t, t->nt->event_set(event) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_add(t, event, IN, 3) == 0);
    REQUIRE(t, rules_gets(t, 3));
    REQUIRE(t, rules_close(t, event));
}

static void a_wait_lasts_though_dead_packets_come(struct rules *t)
{
    void *event = rules_event(t, true, true);
    struct tocsin_epoll_event got;
    uint64_t begin_ns;

    REQUIRE(t, rules_add(t, event, IN, 1) == 0);
    REQUIRE(t, rules_del(t, event) == 0);
    begin_ns = t->nt->now_ns();
    REQUIRE(t, tocsin_epoll_wait(t->epoll, &got, 1, 30000000) == 0);
    REQUIRE(t, t->nt->now_ns() - begin_ns >= 30000000);
    REQUIRE(t, rules_close(t, event));
}

static void what_strangers_post_is_ignored(struct rules *t)
{
    void *port = tocsin__epoll_port(t->epoll);
    void *event = rules_event(t, true, false);
    void *automatic = rules_event(t, false, false);

    REQUIRE(t, rules_add(t, event, IN, 1) == 0 && rules_add(t, automatic, IN, 2) == 0);
    for (uintptr_t key = 0; key < 300; key++) {
        REQUIRE(t, t->nt->port_post(port, key, key * 3 + 2, 0, key) == 0);
        REQUIRE(t, t->nt->port_post(port, UINTPTR_MAX - key, 1, 0, 0) == 0);
    }
    REQUIRE(t, t->nt->port_post(port, (uintptr_t)t, (uintptr_t)t, 0, (uintptr_t)t) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, t->nt->event_set(event) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, t->nt->event_reset(event) == 0 && t->nt->event_set(automatic) == 0);
    REQUIRE(t, rules_gets(t, 2));
    REQUIRE(t, rules_close(t, event) && rules_close(t, automatic));
}

static void wait_for_it(void *arg)
{
    struct rules *t = ((void **)arg)[0];

    t->nt->wait_one(((void **)arg)[1], TOCSIN_NEVER_NS);
}

static void the_end_of_a_process_is_seen(struct rules *t)
{
    void *end = rules_event(t, true, false);
    void *arg[2] = {t, end};
    void *process = NULL;
    void *thread = NULL;

    REQUIRE(t, nt_model_task_start(NT_TYPE_PROCESS, wait_for_it, arg, &process) == 0);
    REQUIRE(t, nt_model_task_start(NT_TYPE_THREAD, wait_for_it, arg, &thread) == 0);
    REQUIRE(t, rules_add(t, process, IN | ET, 1) == 0);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, t->nt->event_set(end) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_none(t) && rules_none(t)); /* an edge, and there is no other */
    REQUIRE(t, rules_add(t, thread, IN, 2) == 0);
    REQUIRE(t, rules_gets(t, 2) && rules_gets(t, 2));
    REQUIRE(t, rules_close(t, process) && rules_close(t, thread) && rules_close(t, end));
}

static void timers_are_reported(struct rules *t)
{
    void *timer = NULL;

    REQUIRE(t, t->nt->timer_create(false, &timer) == 0);
    REQUIRE(t, rules_add(t, timer, IN, 1) == 0);
    for (int i = 0; i < 3; i++) {
        REQUIRE(t, rules_none(t));
        REQUIRE(t, t->nt->timer_set(timer, 1000000) == 0);
        REQUIRE(t, rules_gets(t, 1));
    }
    REQUIRE(t, rules_close(t, timer));
}

static void two_epolls_share_a_handle(struct rules *t)
{
    void *automatic = rules_event(t, false, false);
    void *manual = rules_event(t, true, false);
    struct rules other = *t;

    REQUIRE(t, tocsin__epoll_open(t->nt, &other.epoll) == 0);
    REQUIRE(t, rules_add(t, automatic, IN, 1) == 0 && rules_add(&other, automatic, IN, 1) == 0);
    REQUIRE(t, rules_add(t, manual, IN | ONESHOT, 2) == 0);
    REQUIRE(t, rules_add(&other, manual, IN | ONESHOT, 2) == 0);
    REQUIRE(t, t->nt->event_set(manual) == 0);
    REQUIRE(t, rules_gets(t, 2) && rules_gets(&other, 2));
    for (int i = 0; i < 4; i++) {
        struct tocsin_epoll_event got;
        int count = 0;

        REQUIRE(t, t->nt->event_set(automatic) == 0);
        while (count == 0) {
            count = tocsin_epoll_wait(t->epoll, &got, 1, 0) +
                    tocsin_epoll_wait(other.epoll, &got, 1, 0);
        }
        REQUIRE(t, count == 1); /* a signal ends one wait */
    }
    tocsin_epoll_close(other.epoll);
    REQUIRE(t, rules_close(t, automatic) && rules_close(t, manual));
}

static void more_than_64_handles(struct rules *t)
{
    enum { HANDLES = 1000 };
    void *events[HANDLES];
    bool seen[HANDLES] = {false};
    int left = HANDLES;

    for (int i = 0; i < HANDLES; i++) {
        events[i] = rules_event(t, false, false);
        REQUIRE(t, rules_add(t, events[i], IN, (uint64_t)i) == 0);
    }
    for (int i = 0; i < HANDLES; i++) {
        REQUIRE(t, t->nt->event_set(events[i]) == 0);
    }
    while (left > 0) {
        struct tocsin_epoll_event got[100];
        int count = tocsin_epoll_wait(t->epoll, got, 100, RULES_SOON_NS);

        REQUIRE(t, count > 0 && count <= 64);
        for (int i = 0; i < count; i++) {
            REQUIRE(t, !seen[got[i].data]);
            seen[got[i].data] = true;
        }
        left -= count;
    }
    REQUIRE(t, rules_none(t));
    for (int i = 0; i < HANDLES; i++) {
        REQUIRE(t, rules_close(t, events[i]));
    }
}

static void close_takes_back_what_is_under_way(struct rules *t)
{
    void *armed = rules_event(t, true, false);
    void *queued = rules_event(t, true, true);
    void *told = rules_event(t, true, true);

    REQUIRE(t, rules_add(t, told, IN, 1) == 0);
    REQUIRE(t, rules_gets(t, 1));
    REQUIRE(t, rules_add(t, armed, IN, 2) == 0 && rules_add(t, queued, IN, 3) == 0);
    rules_reopen(t);
    REQUIRE(t, rules_none(t));
    REQUIRE(t, rules_close(t, armed) && rules_close(t, queued) && rules_close(t, told));
}

const struct rules_row rules_rows[] = {
    RULE(level_is_reported_until_it_is_taken),
    RULE(what_is_signaled_is_reported_at_once),
    RULE(reporting_consumes),
    RULE(each_signal_is_an_edge),
    RULE(an_edge_after_a_reset_is_reported),
    RULE(one_shot_is_reported_once),
    RULE(nothing_wanted_is_nothing_reported),
    RULE(a_change_loses_no_signal),
    RULE(a_change_takes_nothing_that_is_not_there),
    RULE(a_change_reports_what_is_there),
    RULE(errors_are_linux),
    RULE(exclusive_is_for_add),
    RULE(a_recycled_handle_is_another_object),
    RULE(a_closed_handles_watch_takes_nobodys_signal),
    RULE(after_a_delete_there_is_nothing),
    RULE(a_wait_lasts_though_dead_packets_come),
    RULE(what_strangers_post_is_ignored),
    RULE(the_end_of_a_process_is_seen),
    RULE(timers_are_reported),
    RULE(two_epolls_share_a_handle),
    RULE(more_than_64_handles),
    RULE(close_takes_back_what_is_under_way),
    {0},
};
