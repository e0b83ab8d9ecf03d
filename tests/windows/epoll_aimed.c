/*
 * Every window between two steps of the emulation, and in it everything that another thread could
 * do there.
 *
 * One thread plays all: a hook stops it in the window, and does there what another would.  What is
 * tried is each combination of object, trigger, window, its first occurrences, and deed.  Whatever
 * happens, no signal is lost or made, a delete is final, and the newest data are reported.
 */
#include "tests/windows/rules.h"

#define IN TOCSIN_EPOLL_IN

enum {
    DATA_OLD = 1,
    DATA_NEW = 2,
    OCCURRENCES = 3,
    SIGNALS = 3,
};

enum deed {
    DEED_NONE,
    DEED_DELETE,
    DEED_DELETE_AND_ADD,
    DEED_CHANGE,
    DEED_OFF,
    DEED_OFF_AND_ON,
    DEED_SIGNAL,
    DEED_COUNT,
};

static const struct window {
    int call; /* of a hook */
    enum nt_model_moment moment;
    bool is_point;
    bool is_locked; /* the thread may be in tocsin_epoll_ctl(): only signals there */
} windows[] = {
    {NT_CALL_PORT_REMOVE, NT_MOMENT_AFTER, true, false},
    {NT_CALL_POINTS + NT_POINT_HELD, NT_MOMENT_BEFORE, true, false},
    {NT_CALL_POINTS + NT_POINT_TAKEN, NT_MOMENT_BEFORE, true, false},
    {NT_CALL_POINTS + NT_POINT_ARMING, NT_MOMENT_BEFORE, true, true},
    {NT_CALL_POINTS + NT_POINT_PUBLISHED, NT_MOMENT_BEFORE, true, true},
    {NT_CALL_POINTS + NT_POINT_KILLED, NT_MOMENT_BEFORE, true, true},
    {NT_CALL_PACKET_ASSOCIATE, NT_MOMENT_BEFORE, false, true},
    {NT_CALL_PACKET_ASSOCIATE, NT_MOMENT_AFTER, false, true},
    {NT_CALL_PACKET_CANCEL, NT_MOMENT_BEFORE, false, true},
    {NT_CALL_PACKET_CANCEL, NT_MOMENT_AFTER, false, true},
};

enum object {
    OBJECT_SEMAPHORE,
    OBJECT_AUTO,
    OBJECT_MANUAL,
    OBJECT_COUNT,
};

static const uint32_t triggers[] = {IN, IN | TOCSIN_EPOLL_ET, IN | TOCSIN_EPOLL_ONESHOT};

struct play {
    struct rules *t;
    const struct window *window;
    enum deed deed;
    enum object object;
    uint32_t trigger;
    void *handle;
    unsigned occurrence; /* in which the deed is done; counts down */
    bool in_ctl;         /* the thread is in tocsin_epoll_ctl() */
    bool done;
    bool is_watched;
    uint64_t data; /* the newest */
    unsigned signaled;
    unsigned reported;
    unsigned left;         /* taken from the object itself */
    unsigned after_delete; /* events with old data after a delete */
};

static void signal_it(struct play *play)
{
    play->signaled++;
    if (play->object == OBJECT_SEMAPHORE) {
        play->t->nt->semaphore_release(play->handle, 1);
    } else {
        play->t->nt->event_set(play->handle);
    }
}

static void change(struct play *play, uint32_t events, uint64_t data)
{
    play->in_ctl = true;
    if (rules_mod(play->t, play->handle, events, data) != 0) {
        rules_failed(play->t, __FILE__, __LINE__, "a change");
    }
    play->in_ctl = false;
    play->data = data;
}

static void add(struct play *play, uint64_t data)
{
    play->in_ctl = true;
    if (rules_add(play->t, play->handle, play->trigger, data) != 0) {
        rules_failed(play->t, __FILE__, __LINE__, "an add");
    }
    play->in_ctl = false;
    play->data = data;
    play->is_watched = true;
}

static void delete (struct play *play)
{
    play->in_ctl = true;
    if (rules_del(play->t, play->handle) != 0) {
        rules_failed(play->t, __FILE__, __LINE__, "a delete");
    }
    play->in_ctl = false;
    play->is_watched = false;
}

static void do_it(struct play *play)
{
    switch (play->deed) {
    case DEED_DELETE:
        delete (play);
        return;
    case DEED_DELETE_AND_ADD:
        delete (play);
        add(play, DATA_NEW);
        return;
    case DEED_CHANGE:
        change(play, play->trigger, DATA_NEW);
        return;
    case DEED_OFF:
        change(play, 0, DATA_NEW);
        return;
    case DEED_OFF_AND_ON:
        change(play, 0, DATA_OLD);
        change(play, play->trigger, DATA_NEW);
        return;
    case DEED_SIGNAL:
        signal_it(play);
        return;
    case DEED_NONE:
    case DEED_COUNT:
        break;
    }
}

static void hook(int call, enum nt_model_moment moment, void *arg)
{
    struct play *play = arg;

    if (play->done || call != play->window->call || moment != play->window->moment ||
        (play->in_ctl && play->deed != DEED_SIGNAL) || --play->occurrence > 0) {
        return;
    }
    play->done = true;
    do_it(play);
}

/* Take what there is now. */
static void take(struct play *play)
{
    struct tocsin_epoll_event event;

    while (tocsin_epoll_wait(play->t->epoll, &event, 1, 0) == 1) {
        play->reported++;
        if (!play->is_watched) {
            play->after_delete++;
        }
        if (play->object == OBJECT_MANUAL) {
            play->t->nt->event_reset(play->handle);
        }
        if ((play->trigger & TOCSIN_EPOLL_ONESHOT) != 0 && play->is_watched) {
            change(play, play->trigger, play->data);
        }
    }
}

/* What is there, and what is on its way: nothing is missing, and nothing too much. */
static bool is_balanced(const struct play *play)
{
    unsigned found = play->reported + play->left;

    if (!play->is_watched || play->deed == DEED_DELETE_AND_ADD) {
        /* One may have gone with the watch that was deleted. */
        return found + 1 >= play->signaled && found <= play->signaled;
    }
    return found == play->signaled;
}

static bool is_right(struct play *play)
{
    uint64_t until_ns = play->t->nt->now_ns() + RULES_SOON_NS;

    /* An event of the very wait in which it was deleted may have come before. */
    if (play->after_delete > 1) {
        return false;
    }
    if (play->object != OBJECT_SEMAPHORE) {
        return true; /* two signals may be one */
    }
    for (;;) {
        struct tocsin_epoll_event event;

        if (is_balanced(play)) {
            return true;
        }
        if (tocsin_epoll_wait(play->t->epoll, &event, 1, 1000000) == 1) {
            play->reported++;
            if ((play->trigger & TOCSIN_EPOLL_ONESHOT) != 0) {
                change(play, play->trigger, play->data);
            }
        } else if (play->t->nt->wait_one(play->handle, 0) == 0) {
            play->left++;
        }
        if (play->t->nt->now_ns() > until_ns) {
            return false;
        }
    }
}

static void act(struct play *play)
{
    add(play, DATA_OLD);
    for (int i = 0; i < SIGNALS; i++) {
        signal_it(play);
        take(play);
        if (play->is_watched) {
            change(play, play->trigger, play->data);
        }
    }
    take(play);
    nt_model_hook(NULL, NULL);
    if (play->is_watched && play->deed == DEED_OFF) {
        change(play, play->trigger, DATA_NEW);
    }
    take(play);
}

/* It is alive, and says the newest data; or it is dead. */
static bool goes_on(struct play *play)
{
    struct tocsin_epoll_event event = {0};
    int count;

    signal_it(play);
    if (!play->is_watched) {
        return rules_none(play->t);
    }
    count = tocsin_epoll_wait(play->t->epoll, &event, 1, RULES_SOON_NS);
    play->reported += count == 1;
    if (count != 1 || event.data != play->data) {
        return false;
    }
    if (play->object == OBJECT_MANUAL) {
        play->t->nt->event_reset(play->handle);
    }
    return true;
}

static bool play_it(struct play *play)
{
    struct rules *t = play->t;
    bool right;

    play->handle = play->object == OBJECT_SEMAPHORE
                       ? rules_semaphore(t, 0)
                       : rules_event(t, play->object == OBJECT_MANUAL, false);
    nt_model_hook(hook, play);
    act(play);
    right = goes_on(play) && is_right(play);
    /* What is too much shows once more. */
    right = right && is_right(play);
    if (play->is_watched) {
        delete (play);
    }
    return rules_close(t, play->handle) && rules_none(t) && right && !t->has_failed;
}

static void nothing_is_lost_in_any_window(struct rules *t)
{
    unsigned done = 0;
    struct play play = {.t = t};
    bool right;

    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        if (t->is_emulated && !windows[w].is_point) {
            continue; /* there calls are ours, or made under our lock */
        }
        for (unsigned i = 0; i < OBJECT_COUNT * 3 * DEED_COUNT * OCCURRENCES; i++) {
            play = (struct play){
                .t = t,
                .window = &windows[w],
                .object = (enum object)(i % OBJECT_COUNT),
                .trigger = triggers[i / OBJECT_COUNT % 3],
                .deed = (enum deed)(i / OBJECT_COUNT / 3 % DEED_COUNT),
                .occurrence = i / OBJECT_COUNT / 3 / DEED_COUNT + 1,
            };
            right = play_it(&play);
            if (!right) {
                rules_note("window %u, object %d, trigger %x, deed %d: signaled %u, reported %u",
                           (unsigned)w, (int)play.object, play.trigger, (int)play.deed,
                           play.signaled, play.reported);
            }
            REQUIRE(t, right);
            done += play.done;
        }
    }
    REQUIRE(t, done > 0);
    /* Each slot came back, with its packet: two are alive, and more where packets are late. */
    REQUIRE(t, t->is_emulated || nt_model_calls(NT_CALL_PACKET_CREATE) <= 20);
}

const struct rules_row rules_rows[] = {
    RULE(nothing_is_lost_in_any_window),
    {0},
};
