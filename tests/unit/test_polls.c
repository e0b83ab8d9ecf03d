/*
 * The uring backend's table of polls by itself, over the ring of a pool that takes no turn: what
 * attach and detach answer, whose a slot is, queues without room, polls that the kernel ends, and
 * what of its events is true.
 */
#include "backends/uring/polls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/uring.h"

enum {
    EVENTS = 128,
    SMALL_ENTRIES = 4,
    SMALL_CQ = 8,
    NO_ROOM = 1000000, /* as often as anybody may ask */
};

struct fixture {
    struct unit_uring uring;
    struct polls polls;
    struct tocsin_backend_event room[EVENTS];
    struct tocsin_backend_events list;
    unsigned ended; /* completions that were the last of their polls */
};

static void start(struct fixture *fixture, uint32_t entries, uint32_t cq_entries)
{
    struct unit_uring *uring = &fixture->uring;
    struct tocsin_pool_options options = {.allocator = &uring->memory.allocator};

    memset(fixture, 0, sizeof(*fixture));
    unit_memory_init(&uring->memory);
    uring->options.entries = entries;
    uring->options.cq_entries = cq_entries;
    uring->backend = *tocsin_backend_find("uring");
    uring->backend.arg = &uring->options;
    if (tocsin_pool_open(&uring->pool, &uring->backend, &options) < 0) {
        unit_skip("io_uring is refused here");
    }
    uring->host = uring->backend.ops->uring(uring->pool->driver.backend_state);
    uring->uring = tocsin__uring_host_peek(uring->host);
    assert_int_equal(tocsin__ring_enable(&uring->uring->ring), 0);
    fixture->list.events = fixture->room;
    fixture->list.capacity = EVENTS;
    unit_enters_no = 0;
}

static bool completed(void *arg, uint64_t user_data, int32_t result, uint32_t flags)
{
    struct fixture *fixture = arg;

    if (!tocsin__polls_completed(&fixture->polls, user_data, result, flags, &fixture->list)) {
        return false;
    }
    fixture->ended += (flags & IORING_CQE_F_MORE) == 0;
    return true;
}

/* As the backend looks. */
static void look(struct fixture *fixture)
{
    struct uring *uring = fixture->uring.uring;
    const struct __kernel_timespec no_time = {.tv_sec = 0};

    fixture->list.count = 0;
    tocsin__polls_ask(&fixture->polls, uring);
    tocsin__ring_enter(&uring->ring, EVENTS, &no_time);
    tocsin__uring_collect(uring, completed, fixture);
}

/* Until nothing is found and nothing waits.  Returns: what was found of @watch. */
static uint32_t events_of(struct fixture *fixture, const struct tocsin_backend_watch *watch)
{
    uint32_t events = 0;

    do {
        look(fixture);
        for (uint32_t i = 0; i < fixture->list.count; i++) {
            assert_true(fixture->list.events[i].events != 0);
            events |= fixture->list.events[i].id == watch->id ? fixture->list.events[i].events : 0;
        }
    } while (fixture->list.count > 0 || fixture->polls.waiting > 0);
    return events;
}

static int attach(struct fixture *fixture, struct tocsin_backend_watch *watch, int fd)
{
    static uint64_t id;

    *watch = (struct tocsin_backend_watch){.id = ++id, .number = fd};
    return tocsin__polls_attach(&fixture->polls, fixture->uring.uring, watch);
}

static int detach(struct fixture *fixture, struct tocsin_backend_watch *watch)
{
    return tocsin__polls_detach(&fixture->polls, fixture->uring.uring, watch);
}

static uint32_t slot_of(const struct tocsin_backend_watch *watch)
{
    return (uint32_t)(uintptr_t)watch->data;
}

static enum poll_state state_of(const struct fixture *fixture,
                                const struct tocsin_backend_watch *watch)
{
    return fixture->polls.slots[slot_of(watch)].state;
}

static uint64_t user_data_of(const struct fixture *fixture,
                             const struct tocsin_backend_watch *watch)
{
    return (uint64_t)fixture->polls.slots[slot_of(watch)].generation << 32 |
           (uint64_t)URING_KIND_OTHER << URING_KIND_SHIFT | slot_of(watch);
}

/* As if the kernel had said so, with more to come. */
static bool said(struct fixture *fixture, const struct tocsin_backend_watch *watch, int32_t events)
{
    return completed(fixture, user_data_of(fixture, watch), events, IORING_CQE_F_MORE);
}

/* Every poll ends; nothing may be left. */
static void end(struct fixture *fixture)
{
    unit_enters_no = 0;
    tocsin__polls_end(&fixture->polls, fixture->uring.uring);
    while (fixture->polls.live > 0) {
        look(fixture);
        assert_int_equal(fixture->list.count, 0);
    }
    assert_int_equal(fixture->polls.waiting, 0);
    tocsin__polls_free(&fixture->polls, fixture->uring.pool);
    unit_uring_end(&fixture->uring);
}

static void make_pipe(int fds[2])
{
    assert_int_equal(pipe(fds), 0);
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* ---- What attach and detach answer ----------------------------------------------------------- */

static void check_refused(struct fixture *fixture, int fd, int error)
{
    struct tocsin_backend_watch watch;

    assert_int_equal(attach(fixture, &watch, fd), error);
    assert_null(watch.data);
    assert_int_equal(fixture->polls.live, 0);
    if (fd >= 0) {
        close(fd);
    }
}

static void what_cannot_be_polled_is_refused(void **state)
{
    struct fixture fixture;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    check_refused(&fixture, memfd_create("regular", MFD_CLOEXEC), -EPERM);
    check_refused(&fixture, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -EPERM);
    check_refused(&fixture, open("/dev/null", O_RDWR | O_CLOEXEC), -EPERM);
    check_refused(&fixture, open("/dev/zero", O_RDWR | O_CLOEXEC), -EPERM);
    check_refused(&fixture, -1, -EBADF);
    make_pipe(fds);
    close_both(fds);
    check_refused(&fixture, fds[0], -EBADF);
    end(&fixture);
}

static void a_terminal_can_be_watched(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    (void)state;
    if (fd < 0) {
        unit_skip("no terminals here");
    }
    start(&fixture, 0, 0);
    assert_int_equal(attach(&fixture, &watch, fd), 0);
    assert_true((events_of(&fixture, &watch) & TOCSIN_OUT) != 0);
    assert_int_equal(detach(&fixture, &watch), 0);
    end(&fixture);
    close(fd);
}

static void a_socket_is_watched_once(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch first;
    struct tocsin_backend_watch second;
    int fds[2];
    int copy;

    (void)state;
    start(&fixture, 0, 0);
    make_pair(fds);
    copy = dup(fds[0]);
    assert_int_equal(attach(&fixture, &first, fds[0]), 0);
    assert_int_equal(attach(&fixture, &second, fds[0]), -EEXIST);
    assert_int_equal(attach(&fixture, &second, copy), 0); /* by another number: as with epoll */
    assert_int_equal(events_of(&fixture, &first), TOCSIN_OUT);
    assert_int_equal(detach(&fixture, &first), 0);
    assert_int_equal(detach(&fixture, &second), 0);
    end(&fixture);
    close_both(fds);
    close(copy);
}

static void another_file_takes_the_place_of_its_number(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch old;
    struct tocsin_backend_watch new;
    int fds[2];
    int others[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pair(fds);
    make_pair(others);
    assert_int_equal(attach(&fixture, &old, fds[0]), 0);
    events_of(&fixture, &old);
    assert_int_equal(dup2(others[0], fds[0]), fds[0]);
    assert_int_equal(attach(&fixture, &new, fds[0]), 0);
    assert_int_equal(detach(&fixture, &old), -ENOENT);
    assert_int_equal(events_of(&fixture, &new), TOCSIN_OUT);
    assert_int_equal(write(others[1], "a", 1), 1);
    assert_true((events_of(&fixture, &new) & TOCSIN_IN) != 0);
    assert_int_equal(fixture.polls.live, 1);
    assert_int_equal(detach(&fixture, &new), 0);
    end(&fixture);
    close_both(fds);
    close_both(others);
}

static void detach_says_what_became_of_the_number(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fds[2];
    int others[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pair(fds);
    make_pair(others);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    assert_int_equal(detach(&fixture, &watch), 0);
    assert_int_equal(detach(&fixture, &watch), -ENOENT);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    assert_int_equal(dup2(others[0], fds[0]), fds[0]);
    assert_int_equal(detach(&fixture, &watch), -ENOENT);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    close(fds[0]);
    assert_int_equal(detach(&fixture, &watch), -EBADF);
    end(&fixture);
    close(fds[1]);
    close_both(others);
}

/* The kernel holds the file of a poll open, so detach may not leave the request in the queue. */
static void the_peer_sees_the_end_after_detach_and_close(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fds[2];
    char byte;

    (void)state;
    start(&fixture, 0, 0);
    make_pair(fds);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    events_of(&fixture, &watch);
    assert_int_equal(detach(&fixture, &watch), 0);
    close(fds[0]);
    assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
    end(&fixture);
    close(fds[1]);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static void a_slot_is_used_again_after_the_last_completion(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch first;
    struct tocsin_backend_watch second;
    struct tocsin_backend_watch third;
    uint32_t generation;
    uint32_t slot;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pipe(fds);
    assert_int_equal(attach(&fixture, &first, fds[0]), 0);
    slot = slot_of(&first);
    generation = fixture.polls.slots[slot].generation;
    assert_int_equal(write(fds[1], "a", 1), 1); /* on its way when the watch goes */
    assert_int_equal(detach(&fixture, &first), 0);
    assert_int_equal(fixture.polls.slots[slot].state, POLL_REMOVING);
    assert_int_equal(attach(&fixture, &second, fds[1]), 0);
    assert_int_not_equal(slot_of(&second), slot);
    assert_int_equal(fixture.polls.live, 2);
    assert_int_equal(events_of(&fixture, &first), 0);
    assert_int_equal(fixture.polls.live, 1);
    assert_int_equal(attach(&fixture, &third, fds[0]), 0);
    assert_int_equal(slot_of(&third), slot);
    assert_int_equal(fixture.polls.slots[slot].generation, generation + 1);
    assert_int_equal(events_of(&fixture, &third), TOCSIN_IN);
    assert_int_equal(detach(&fixture, &second), 0);
    assert_int_equal(detach(&fixture, &third), 0);
    end(&fixture);
    close_both(fds);
}

static void without_memory_attach_changes_nothing(void **state)
{
    enum {
        COUNT = 70, /* more than the first table has slots for */
        HIGH = 300, /* a number beyond the first table of those */
    };
    struct fixture fixture;
    struct tocsin_backend_watch watches[COUNT];
    unsigned refused = 0;
    int r;

    (void)state;
    start(&fixture, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        int fd = eventfd(1, EFD_CLOEXEC);
        unsigned tries = 0;

        if (i == 1) {
            assert_int_equal(dup2(fd, HIGH), HIGH);
            close(fd);
            fd = HIGH;
        }
        do {
            atomic_store_explicit(&fixture.uring.memory.fail_at, ++tries, memory_order_relaxed);
            r = attach(&fixture, &watches[i], fd);
            assert_true(r == 0 || r == -ENOMEM);
            refused += r < 0;
            assert_int_equal(fixture.polls.live, i + (r == 0));
        } while (r < 0 && tries < 10);
        atomic_store_explicit(&fixture.uring.memory.fail_at, 0, memory_order_relaxed);
    }
    assert_int_equal(refused, 4); /* two tables, each grown once */
    look(&fixture);
    assert_int_equal(fixture.list.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(detach(&fixture, &watches[i]), 0);
        close((int)watches[i].number);
    }
    end(&fixture);
}

/* ---- Queues without room --------------------------------------------------------------------- */

static void check_waits_for_room(int error)
{
    enum {
        COUNT = 2 * SMALL_ENTRIES,
    };
    struct fixture fixture;
    struct tocsin_backend_watch watches[COUNT];

    start(&fixture, SMALL_ENTRIES, 64);
    unit_enters_errno = error;
    unit_enters_no = NO_ROOM;
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(attach(&fixture, &watches[i], eventfd(1, EFD_CLOEXEC)), 0);
        assert_int_equal(state_of(&fixture, &watches[i]),
                         i < SMALL_ENTRIES ? POLL_ARMED : POLL_WANTS_ADD);
    }
    assert_int_equal(fixture.polls.waiting, COUNT - SMALL_ENTRIES);
    look(&fixture); /* refused as well */
    assert_int_equal(fixture.polls.waiting, COUNT - SMALL_ENTRIES);
    assert_int_equal(fixture.list.count, 0);
    unit_enters_no = 0;
    for (unsigned found = 0; found < COUNT; found += fixture.list.count) {
        look(&fixture);
        assert_true(fixture.list.count > 0);
    }
    assert_int_equal(fixture.polls.waiting, 0);

    unit_enters_no = NO_ROOM;
    for (unsigned i = 0; i < COUNT; i++) {
        uint32_t slot = slot_of(&watches[i]);

        assert_int_equal(detach(&fixture, &watches[i]), 0);
        assert_int_equal(fixture.polls.slots[slot].state,
                         i < SMALL_ENTRIES ? POLL_REMOVING : POLL_WANTS_REMOVE);
        assert_int_equal(write((int)watches[i].number, &(uint64_t){1}, 8), 8); /* nobody's event */
    }
    assert_int_equal(fixture.polls.waiting, COUNT - SMALL_ENTRIES);
    unit_enters_no = 0;
    for (unsigned i = 0; i < COUNT && fixture.polls.live > 0; i++) {
        look(&fixture);
        assert_int_equal(fixture.list.count, 0);
    }
    assert_int_equal(fixture.polls.live, 0);
    assert_int_equal(fixture.polls.waiting, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        close((int)watches[i].number);
    }
    end(&fixture);
}

static void without_room_attach_and_detach_wait_and_lose_nothing(void **state)
{
    (void)state;
    check_waits_for_room(-EAGAIN);
    check_waits_for_room(-EBUSY);
}

static void what_was_never_asked_for_is_forgotten_at_once(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watches[SMALL_ENTRIES + 1];
    struct tocsin_backend_watch *last = &watches[SMALL_ENTRIES];

    (void)state;
    start(&fixture, SMALL_ENTRIES, 64);
    unit_enters_errno = -EAGAIN;
    unit_enters_no = NO_ROOM;
    for (unsigned i = 0; i <= SMALL_ENTRIES; i++) {
        assert_int_equal(attach(&fixture, &watches[i], eventfd(1, EFD_CLOEXEC)), 0);
    }
    assert_int_equal(fixture.polls.waiting, 1);
    assert_int_equal(detach(&fixture, last), 0);
    assert_int_equal(fixture.polls.waiting, 0);
    assert_int_equal(fixture.polls.live, SMALL_ENTRIES);
    unit_enters_no = 0;
    assert_int_equal(events_of(&fixture, last), 0);
    end(&fixture);
    for (unsigned i = 0; i <= SMALL_ENTRIES; i++) {
        close((int)watches[i].number);
    }
}

/* ---- Polls that the kernel ends -------------------------------------------------------------- */

static void write_all(const struct tocsin_backend_watch *watches, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(write((int)watches[i].number, &(uint64_t){1}, 8), 8);
    }
}

/* Each of @watches has an event, now or soon. */
static void check_all_seen(struct fixture *fixture, const struct tocsin_backend_watch *watches,
                           unsigned count)
{
    uint64_t missing = (UINT64_C(1) << count) - 1;

    for (unsigned looks = 0; missing != 0 && looks < 8 * count; looks++) {
        look(fixture);
        for (uint32_t i = 0; i < fixture->list.count; i++) {
            missing &= ~(UINT64_C(1) << (fixture->list.events[i].id - watches[0].id));
        }
    }
    assert_int_equal(missing, 0);
}

static void polls_that_overflow_ends_are_asked_for_again(void **state)
{
    enum {
        COUNT = 20, /* more than there is room for completions */
    };
    struct fixture fixture;
    struct tocsin_backend_watch watches[COUNT];

    (void)state;
    start(&fixture, SMALL_ENTRIES, SMALL_CQ);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(attach(&fixture, &watches[i], eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), 0);
    }
    check_all_seen(&fixture, watches, COUNT); /* they can be written */
    for (unsigned round = 0; round < 5; round++) {
        events_of(&fixture, &watches[0]);
        write_all(watches, COUNT);
        check_all_seen(&fixture, watches, COUNT);
    }
    assert_true(fixture.ended > 0); /* or else this tested nothing */
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(detach(&fixture, &watches[i]), 0);
        close((int)watches[i].number);
    }
    end(&fixture);
}

static void a_poll_that_somebody_cancels_is_asked_for_again(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    struct io_uring_sqe *sqe;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pipe(fds);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    look(&fixture);
    sqe = tocsin__uring_next(fixture.uring.uring);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->addr = user_data_of(&fixture, &watch);
    look(&fixture);
    assert_int_equal(fixture.ended, 1);
    assert_int_equal(state_of(&fixture, &watch), POLL_WANTS_ADD);
    assert_int_equal(write(fds[1], "a", 1), 1); /* while there is no poll */
    assert_int_equal(events_of(&fixture, &watch), TOCSIN_IN);
    assert_int_equal(state_of(&fixture, &watch), POLL_ARMED);
    assert_int_equal(detach(&fixture, &watch), 0);
    end(&fixture);
    close_both(fds);
}

static void a_poll_of_a_closed_number_is_not_asked_for_again(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pipe(fds);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    close(fds[0]); /* before the kernel has heard of it */
    assert_int_equal(events_of(&fixture, &watch), 0);
    assert_int_equal(state_of(&fixture, &watch), POLL_LOST);
    assert_int_equal(fixture.ended, 1);
    look(&fixture);
    assert_int_equal(fixture.ended, 1);
    assert_int_equal(detach(&fixture, &watch), -EBADF);
    assert_int_equal(fixture.polls.live, 0);
    end(&fixture);
    close(fds[1]);
}

/* ---- What is true ---------------------------------------------------------------------------- */

static void make_tcp(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, size), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
}

static void data_is_not_urgent_and_an_urgent_byte_is(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    make_tcp(fds);
    assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
    assert_int_equal(events_of(&fixture, &watch), TOCSIN_OUT);
    assert_int_equal(send(fds[1], "a", 1, 0), 1);
    assert_int_equal(events_of(&fixture, &watch) & ~(uint32_t)TOCSIN_OUT, TOCSIN_IN);
    fixture.list.count = 0;
    assert_true(said(&fixture, &watch, EPOLLIN | EPOLLPRI)); /* what sock_def_readable() says */
    assert_int_equal(fixture.list.events[0].events, TOCSIN_IN);
    fixture.list.count = 0;
    assert_true(said(&fixture, &watch, EPOLLPRI));
    assert_int_equal(fixture.list.count, 0);
    assert_int_equal(send(fds[1], "b", 1, MSG_OOB), 1);
    assert_true((events_of(&fixture, &watch) & TOCSIN_PRI) != 0);
    assert_int_equal(detach(&fixture, &watch), 0);
    end(&fixture);
    close_both(fds);
}

static void the_end_is_told_of_the_file_that_was_watched_alone(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch watch;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    for (unsigned early = 0; early < 2; early++) {
        make_pipe(fds);
        assert_int_equal(attach(&fixture, &watch, fds[0]), 0);
        look(&fixture);
        if (early != 0) {
            close(fds[0]);
        }
        close(fds[1]);
        assert_int_equal(events_of(&fixture, &watch), early != 0 ? 0 : TOCSIN_HUP);
        assert_int_equal(detach(&fixture, &watch), early != 0 ? -EBADF : 0);
        if (early == 0) {
            close(fds[0]);
        }
    }
    end(&fixture);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static void events_of_one_watch_merge_in_one_list(void **state)
{
    struct fixture fixture;
    struct tocsin_backend_watch first;
    struct tocsin_backend_watch second;
    int fds[2];

    (void)state;
    start(&fixture, 0, 0);
    make_pair(fds);
    assert_int_equal(attach(&fixture, &first, fds[0]), 0);
    assert_int_equal(attach(&fixture, &second, fds[1]), 0);
    for (unsigned list = 0; list < 2; list++) {
        fixture.list.count = 0;
        assert_true(said(&fixture, &first, EPOLLIN));
        assert_true(said(&fixture, &second, EPOLLOUT));
        assert_true(said(&fixture, &first, EPOLLOUT));
        assert_true(said(&fixture, &second, EPOLLRDHUP));
        assert_int_equal(fixture.list.count, 2);
        assert_int_equal(fixture.list.events[0].id, first.id);
        assert_int_equal(fixture.list.events[0].events, TOCSIN_IN | TOCSIN_OUT);
        assert_int_equal(fixture.list.events[1].id, second.id);
        assert_int_equal(fixture.list.events[1].events, TOCSIN_OUT | TOCSIN_RDHUP);
    }
    end(&fixture);
    close_both(fds);
}

static void a_full_list_leaves_the_rest_for_the_next(void **state)
{
    enum {
        COUNT = 5,
        ROOM = 2,
    };
    struct fixture fixture;
    struct tocsin_backend_watch watches[COUNT];
    unsigned seen[COUNT] = {0};
    static const uint32_t counts[] = {ROOM, ROOM, 1, 0};

    (void)state;
    start(&fixture, 0, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(attach(&fixture, &watches[i], eventfd(1, EFD_CLOEXEC)), 0);
    }
    fixture.list.capacity = ROOM;
    for (unsigned round = 0; round < UNIT_COUNT(counts); round++) {
        look(&fixture);
        assert_int_equal(fixture.list.count, counts[round]);
        for (uint32_t i = 0; i < fixture.list.count; i++) {
            seen[fixture.list.events[i].id - watches[0].id]++;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(seen[i], 1);
        close((int)watches[i].number);
    }
    fixture.list.capacity = EVENTS;
    end(&fixture);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_polled_is_refused),
        cmocka_unit_test(a_terminal_can_be_watched),
        cmocka_unit_test(a_socket_is_watched_once),
        cmocka_unit_test(another_file_takes_the_place_of_its_number),
        cmocka_unit_test(detach_says_what_became_of_the_number),
        cmocka_unit_test(the_peer_sees_the_end_after_detach_and_close),
        cmocka_unit_test(a_slot_is_used_again_after_the_last_completion),
        cmocka_unit_test(without_memory_attach_changes_nothing),
        cmocka_unit_test(without_room_attach_and_detach_wait_and_lose_nothing),
        cmocka_unit_test(what_was_never_asked_for_is_forgotten_at_once),
        cmocka_unit_test(polls_that_overflow_ends_are_asked_for_again),
        cmocka_unit_test(a_poll_that_somebody_cancels_is_asked_for_again),
        cmocka_unit_test(a_poll_of_a_closed_number_is_not_asked_for_again),
        cmocka_unit_test(data_is_not_urgent_and_an_urgent_byte_is),
        cmocka_unit_test(the_end_is_told_of_the_file_that_was_watched_alone),
        cmocka_unit_test(events_of_one_watch_merge_in_one_list),
        cmocka_unit_test(a_full_list_leaves_the_rest_for_the_next),
    };

    return unit_run("test_polls", tests, UNIT_COUNT(tests));
}
