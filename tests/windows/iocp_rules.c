/*
 * What the iocp backend does when the kernel refuses something; the rest is the conformance
 * suite's.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/windows/iocp.h"
#include "tests/windows/rules.h"

enum {
    EVENTS_MAX = 64,
    ID = 77,
};

static const struct tocsin_backend_ops *const ops = &tocsin__backend_iocp;

static struct tocsin_backend_event events[EVENTS_MAX];

/* Wait until the end of time, as a watchdog sees it; the events of @list are those. */
static int wait_until(struct rules *t, void *state, struct tocsin_backend_events *list,
                      uint64_t deadline_ns)
{
    (void)t;
    *list = (struct tocsin_backend_events){.events = events, .capacity = EVENTS_MAX};
    return ops->wait(state, deadline_ns, list);
}

static void *open_state(struct rules *t)
{
    void *state = calloc(1, ops->state_size);

    if (state == NULL || ops->open(state, NULL) < 0) {
        rules_failed(t, __FILE__, __LINE__, "a backend");
    }
    return state;
}

static void close_state(void *state)
{
    ops->close(state, TOCSIN_BACKEND_CLOSE);
    free(state);
}

static void an_arm_that_fails_is_reported_as_an_error(struct rules *t)
{
    void *state = open_state(t);
    void *event = rules_event(t, true, true);
    struct tocsin_backend_watch watch = {.id = ID, .number = (intptr_t)event};
    struct tocsin_backend_events list;

    REQUIRE(t, ops->attach(state, &watch) == 0);
    for (int i = 0; i < 3; i++) { /* noted once, however often */
        nt_model_fail(NT_CALL_PACKET_ASSOCIATE, 1, NT_INSUFFICIENT_RESOURCES);
        ops->arm(state, &watch, TOCSIN_IN);
    }
    REQUIRE(t, wait_until(t, state, &list, TOCSIN_NEVER_NS) == 0);
    REQUIRE(t, list.count == 1 && events[0].id == ID && events[0].events == TOCSIN_ERR);
    ops->arm(state, &watch, TOCSIN_IN);
    REQUIRE(t, wait_until(t, state, &list, TOCSIN_NEVER_NS) == 0);
    REQUIRE(t, list.count == 1 && events[0].id == ID && events[0].events == TOCSIN_IN);
    nt_model_fail(NT_CALL_PACKET_ASSOCIATE, 1, NT_INSUFFICIENT_RESOURCES);
    ops->arm(state, &watch, TOCSIN_IN);
    REQUIRE(t, ops->detach(state, &watch) == 0);
    REQUIRE(t, wait_until(t, state, &list, 1) == 0 && list.count == 0);
    close_state(state);
    REQUIRE(t, rules_close(t, event));
}

static void a_kick_needs_no_memory(struct rules *t)
{
    void *state = open_state(t);
    struct tocsin_backend_events list;

    for (int i = 0; i < 3; i++) {
        nt_model_fail(NT_CALL_PORT_POST, 1, NT_NO_MEMORY);
        ops->kick(state);
        REQUIRE(t, wait_until(t, state, &list, TOCSIN_NEVER_NS) == 0); /* or it never ends */
        REQUIRE(t, list.count == 0);
    }
    close_state(state);
}

static void a_deadline_needs_no_timer(struct rules *t)
{
    void *state = open_state(t);
    struct tocsin_backend_events list;

    for (int i = 0; i < 2; i++) {
        uint64_t deadline_ns = ops->now(state) + 3000000;

        if (i == 1) {
            nt_model_fail(NT_CALL_TIMER_SET, 1, NT_INSUFFICIENT_RESOURCES);
        }
        do { /* a late packet may end a wait for nothing */
            REQUIRE(t, wait_until(t, state, &list, deadline_ns) == 0 && list.count == 0);
        } while (ops->now(state) < deadline_ns);
    }
    close_state(state);
}

static void handles_are_told_apart_when_they_are_detached(struct rules *t)
{
    void *state = open_state(t);
    void *event = rules_event(t, true, false);
    void *again;
    struct tocsin_backend_watch watch = {.id = ID, .number = (intptr_t)event};
    struct tocsin_backend_watch second = {.id = ID + 1, .number = (intptr_t)event};

    REQUIRE(t, ops->attach(state, &watch) == 0);
    REQUIRE(t, ops->attach(state, &second) == -EEXIST);
    REQUIRE(t, rules_close(t, event));
    REQUIRE(t, ops->detach(state, &watch) == -EBADF);
    event = rules_event(t, true, false);
    watch.number = second.number = (intptr_t)event;
    REQUIRE(t, ops->attach(state, &watch) == 0);
    REQUIRE(t, rules_close(t, event));
    again = rules_event(t, true, true);
    REQUIRE(t, again == event); /* the model recycles at once */
    REQUIRE(t, ops->attach(state, &second) == 0);
    REQUIRE(t, ops->detach(state, &watch) == -ENOENT); /* and the second lives */
    ops->arm(state, &second, TOCSIN_IN);
    REQUIRE(t, ops->detach(state, &second) == 0);
    close_state(state);
    REQUIRE(t, rules_close(t, again));
}

static void an_open_that_fails_leaves_nothing(struct rules *t)
{
    static const enum nt_model_call calls[] = {NT_CALL_PORT_CREATE, NT_CALL_TIMER_CREATE,
                                               NT_CALL_EVENT_CREATE, NT_CALL_PACKET_ASSOCIATE};
    uint32_t handles = nt_model_handles();
    void *state = calloc(1, ops->state_size);

    REQUIRE(t, state != NULL);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        nt_model_fail(calls[i], 1, NT_INSUFFICIENT_RESOURCES);
        REQUIRE(t, ops->open(state, NULL) == -ENOMEM);
        REQUIRE(t, nt_model_handles() == handles);
    }
    free(state);
}

const struct rules_row rules_rows[] = {
    RULE_NATIVE(an_arm_that_fails_is_reported_as_an_error),
    RULE_NATIVE(a_kick_needs_no_memory),
    RULE_NATIVE(a_deadline_needs_no_timer),
    RULE_NATIVE(handles_are_told_apart_when_they_are_detached),
    RULE_NATIVE(an_open_that_fails_leaves_nothing),
    {0},
};
