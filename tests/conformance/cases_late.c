/*
 * Descriptors closed too early, numbers recycled, duplicates, refusals: design section 7.
 *
 * "Close the object before its descriptor.  If not": the object is freed in every case, its close
 * says what can be told, and whoever has the number by now is left alone.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

enum {
    DESCRIPTORS = TOCSIN_BACKEND_DESCRIPTORS,
    EXACT = TOCSIN_BACKEND_DESCRIPTORS | TOCSIN_BACKEND_EXACT_EVENTS,
};

/* A pool, and an object for one end of a stream pair. */
struct watched {
    struct tocsin_pool *pool;
    struct tocsin_fd_ready *ready;
    int fds[2]; /* the watched end, and the other */
};

static struct tocsin_fd_ready *open_ready(struct conform *t, struct tocsin_pool *pool, int fd)
{
    struct tocsin_fd_ready *ready = NULL;

    REQUIRE(t, tocsin_fd_ready_open(tocsin_pool_driver(pool), fd, &ready) == 0);
    /* Where attaching is put off, it has happened now. */
    probe_turns(t, pool);
    return ready;
}

static struct watched watched_open(struct conform *t)
{
    struct watched watched = {.pool = conform_pool(t)};

    conform_stream_pair(t, watched.fds);
    watched.ready = open_ready(t, watched.pool, watched.fds[0]);
    return watched;
}

/* What opening @fd comes to: by the open, or by the first poll where attaching is put off. */
static int open_outcome(struct conform *t, struct tocsin_pool *pool, int fd)
{
    struct tocsin_fd_ready *ready = NULL;
    struct probe probe = {0};
    int r = tocsin_fd_ready_open(tocsin_pool_driver(pool), fd, &ready);

    if (r < 0) {
        return r;
    }
    r = probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe);
    if (r == TOCSIN_PENDING) {
        probe_turns(t, pool);
        r = probe_poll(pool, ready, TOCSIN_SLOT_READ, TOCSIN_IN, &probe);
    }
    CHECK_EQ(t, tocsin_fd_ready_close(ready), 0);
    CHECK_EQ(t, probe_references(&probe), 0);
    return r;
}

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static int poll_in(struct watched *watched, struct probe *probe)
{
    return probe_poll(watched->pool, watched->ready, TOCSIN_SLOT_READ, TOCSIN_IN, probe);
}

/*
 * Close @ready of a descriptor that is closed already, or of a number that is recycled: @wanted, or
 * 0 where the backend is told of it by the pool's thread only, later.
 */
static void close_late(struct conform *t, struct tocsin_fd_ready *ready, int wanted)
{
    int r = tocsin_fd_ready_close(ready);

    if ((t->features & TOCSIN_BACKEND_ANY_THREAD_ATTACH) != 0 || r != 0) {
        CHECK_EQ(t, r, wanted);
    }
}

static void descriptor_closed_early_is_told(struct conform *t)
{
    struct watched watched = watched_open(t);

    close(watched.fds[0]);
    close_late(t, watched.ready, -EBADF);
    conform_pool_close(t, watched.pool);
    close(watched.fds[1]);
}

static void descriptor_closed_early_has_no_events(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, poll_in(&watched, &probe), TOCSIN_PENDING);
    close_both(watched.fds);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK(t, probe_sleeps(t, watched.pool));
    close_late(t, watched.ready, -EBADF);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_references(&probe), 0);
    conform_pool_close(t, watched.pool);
}

/* Close the watched end, and let another pair's end have its number. */
static void recycle(struct conform *t, struct watched *watched, int other[2])
{
    int number = watched->fds[0];

    conform_stream_pair(t, other);
    close(watched->fds[0]);
    REQUIRE(t, dup3(other[0], number, O_CLOEXEC) == number);
    close(other[0]);
    other[0] = number;
}

static void recycled_number_outside_the_pool_is_told(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};
    int other[2];

    CHECK_EQ(t, poll_in(&watched, &probe), TOCSIN_PENDING);
    recycle(t, &watched, other);
    CHECK_EQ(t, write(other[1], "x", 1), 1);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    close_late(t, watched.ready, -ENOENT);
    probe_turns(t, watched.pool);
    /* The new owner's descriptor is as it was. */
    CHECK(t, fcntl(other[0], F_GETFD) >= 0);
    conform_pool_close(t, watched.pool);
    close(watched.fds[1]);
    close_both(other);
}

/* The rule that was measured: a late removal must not kill the new owner's registration. */
static void late_close_spares_the_new_owner(struct conform *t)
{
    struct watched old = watched_open(t);
    struct watched new = {.pool = old.pool};
    struct probe probe = {0};
    struct probe stale = {0};

    CHECK_EQ(t, poll_in(&old, &stale), TOCSIN_PENDING);
    recycle(t, &old, new.fds);
    new.ready = open_ready(t, new.pool, new.fds[0]);
    CHECK_EQ(t, poll_in(&new, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, tocsin_fd_ready_close(old.ready), -ENOENT);
    probe_turns(t, new.pool);

    CHECK_EQ(t, write(new.fds[1], "x", 1), 1);
    probe_turns(t, new.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, poll_in(&new, &probe), TOCSIN_IN);
    CHECK_EQ(t, probe_wakes(&stale), 0);
    CHECK_EQ(t, tocsin_fd_ready_close(new.ready), 0);
    conform_pool_close(t, new.pool);
    close(old.fds[1]);
    close_both(new.fds);
}

static void event_of_a_new_owner_reaches_only_it(struct conform *t)
{
    struct watched old = watched_open(t);
    struct watched new = {.pool = old.pool};
    struct probe probe = {0};
    struct probe stale = {0};

    recycle(t, &old, new.fds);
    new.ready = open_ready(t, new.pool, new.fds[0]);
    CHECK_EQ(t, poll_in(&old, &stale), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&new, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, write(new.fds[1], "x", 1), 1);
    probe_turns(t, new.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, probe_wakes(&stale), 0);

    /* The new one goes first; the old one's close still touches nothing. */
    CHECK_EQ(t, tocsin_fd_ready_close(new.ready), 0);
    probe_turns(t, new.pool);
    CHECK_EQ(t, tocsin_fd_ready_close(old.ready), -ENOENT);
    probe_turns(t, new.pool);
    CHECK_EQ(t, probe_references(&stale), 0);
    conform_pool_close(t, new.pool);
    close(old.fds[1]);
    close_both(new.fds);
}

static void many_owners_of_one_number(struct conform *t)
{
    enum { OWNERS = 6 };
    struct watched owners[OWNERS];
    struct probe probe = {0};

    owners[0] = watched_open(t);
    for (int i = 1; i < OWNERS; i++) {
        owners[i].pool = owners[0].pool;
        recycle(t, &owners[i - 1], owners[i].fds);
        owners[i].ready = open_ready(t, owners[i].pool, owners[i].fds[0]);
    }
    /* In an order that is neither theirs nor its reverse; the last one is the owner. */
    for (int i = 0; i < OWNERS - 1; i++) {
        CHECK_EQ(t, tocsin_fd_ready_close(owners[i * 2 % (OWNERS - 1)].ready), -ENOENT);
        probe_turns(t, owners[0].pool);
    }
    CHECK_EQ(t, poll_in(&owners[OWNERS - 1], &probe), TOCSIN_PENDING);
    CHECK_EQ(t, write(owners[OWNERS - 1].fds[1], "x", 1), 1);
    probe_turns(t, owners[0].pool);
    CHECK_EQ(t, poll_in(&owners[OWNERS - 1], &probe), TOCSIN_IN);
    CHECK_EQ(t, tocsin_fd_ready_close(owners[OWNERS - 1].ready), 0);
    conform_pool_close(t, owners[0].pool);
    close(owners[OWNERS - 1].fds[0]);
    for (int i = 0; i < OWNERS; i++) {
        close(owners[i].fds[1]);
    }
}

static void events_of_a_dup_die(struct conform *t)
{
    struct watched old = watched_open(t);
    struct watched next = {.pool = old.pool};
    struct probe probe = {0};
    int dup = fcntl(old.fds[0], F_DUPFD_CLOEXEC, 0);

    REQUIRE(t, dup >= 0);
    close(old.fds[0]);
    /* The kernel may hold the registration as long as the dup is open, and cannot be told. */
    close_late(t, old.ready, -EBADF);
    probe_turns(t, old.pool);

    /* What comes into the slot next must not get the events of the file before. */
    conform_stream_pair(t, next.fds);
    next.ready = open_ready(t, next.pool, next.fds[0]);
    CHECK_EQ(t, poll_in(&next, &probe), TOCSIN_PENDING);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t, write(old.fds[1], "x", 1), 1);
        probe_turns(t, old.pool);
    }
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK_EQ(t, write(next.fds[1], "x", 1), 1);
    probe_turns(t, old.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);

    CHECK_EQ(t, tocsin_fd_ready_close(next.ready), 0);
    conform_pool_close(t, old.pool);
    close(dup);
    close(old.fds[1]);
    close_both(next.fds);
}

static void dup_and_recycled_number_do_not_mix(struct conform *t)
{
    struct watched old = watched_open(t);
    struct watched new = {.pool = old.pool};
    struct probe probe = {0};
    int dup = fcntl(old.fds[0], F_DUPFD_CLOEXEC, 0);

    REQUIRE(t, dup >= 0);
    recycle(t, &old, new.fds);
    new.ready = open_ready(t, new.pool, new.fds[0]);
    CHECK_EQ(t, tocsin_fd_ready_close(old.ready), -ENOENT);
    CHECK_EQ(t, poll_in(&new, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, write(old.fds[1], "x", 1), 1);
    probe_turns(t, new.pool);
    CHECK_EQ(t, probe_wakes(&probe), 0);
    CHECK_EQ(t, write(new.fds[1], "x", 1), 1);
    probe_turns(t, new.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);

    CHECK_EQ(t, tocsin_fd_ready_close(new.ready), 0);
    conform_pool_close(t, new.pool);
    close(dup);
    close(old.fds[1]);
    close_both(new.fds);
}

static void file_that_comes_back_to_its_number_is_registered(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};
    int dup = fcntl(watched.fds[0], F_DUPFD_CLOEXEC, 0);

    REQUIRE(t, dup >= 0);
    close(watched.fds[0]);
    close_late(t, watched.ready, -EBADF);
    probe_turns(t, watched.pool);
    /* The dup has kept what the kernel knows of this file under this number; no object has it. */
    REQUIRE(t, dup3(dup, watched.fds[0], O_CLOEXEC) == watched.fds[0]);
    watched.ready = open_ready(t, watched.pool, watched.fds[0]);
    CHECK_EQ(t, poll_in(&watched, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, write(watched.fds[1], "x", 1), 1);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, tocsin_fd_ready_close(watched.ready), 0);
    conform_pool_close(t, watched.pool);
    close(dup);
    close_both(watched.fds);
}

static void registering_a_descriptor_twice_is_refused(struct conform *t)
{
    struct watched watched = watched_open(t);
    struct probe probe = {0};

    CHECK_EQ(t, poll_in(&watched, &probe), TOCSIN_PENDING);
    CHECK_EQ(t, open_outcome(t, watched.pool, watched.fds[0]), -EEXIST);

    /* The first one is as it was. */
    CHECK_EQ(t, write(watched.fds[1], "x", 1), 1);
    probe_turns(t, watched.pool);
    CHECK_EQ(t, probe_wakes(&probe), 1);
    CHECK_EQ(t, poll_in(&watched, &probe), TOCSIN_IN);
    CHECK_EQ(t, tocsin_fd_ready_close(watched.ready), 0);
    conform_pool_close(t, watched.pool);
    close_both(watched.fds);
}

static void a_dup_is_registered_beside_its_file(struct conform *t)
{
    struct watched one = watched_open(t);
    struct watched two = {.pool = one.pool};
    struct probe probes[2] = {{0}};
    int dup = fcntl(one.fds[0], F_DUPFD_CLOEXEC, 0);

    REQUIRE(t, dup >= 0);
    two.ready = open_ready(t, two.pool, dup);
    CHECK_EQ(t, poll_in(&one, &probes[0]), TOCSIN_PENDING);
    CHECK_EQ(t, poll_in(&two, &probes[1]), TOCSIN_PENDING);
    CHECK_EQ(t, write(one.fds[1], "x", 1), 1);
    probe_turns(t, one.pool);
    CHECK_EQ(t, probe_wakes(&probes[0]), 1);
    CHECK_EQ(t, probe_wakes(&probes[1]), 1);
    CHECK_EQ(t, tocsin_fd_ready_close(one.ready), 0);
    CHECK_EQ(t, tocsin_fd_ready_close(two.ready), 0);
    conform_pool_close(t, one.pool);
    close(dup);
    close_both(one.fds);
}

static void files_that_are_always_ready_are_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    int file = memfd_create("conform", MFD_CLOEXEC);
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct watched watched;

    REQUIRE(t, file >= 0 && directory >= 0);
    CHECK_EQ(t, open_outcome(t, pool, file), -EPERM);
    CHECK_EQ(t, open_outcome(t, pool, directory), -EPERM);
    close(file);
    close(directory);

    /* Their numbers are free for others. */
    conform_stream_pair(t, watched.fds);
    watched.pool = pool;
    watched.ready = open_ready(t, pool, watched.fds[0]);
    CHECK_EQ(t, write(watched.fds[1], "x", 1), 1);
    CHECK_EQ(t, probe_seen(t, pool, watched.ready, TOCSIN_SLOT_READ, TOCSIN_IN), TOCSIN_IN);
    CHECK_EQ(t, tocsin_fd_ready_close(watched.ready), 0);
    conform_pool_close(t, pool);
    close_both(watched.fds);
}

static void numbers_that_are_not_open_are_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    int fds[2];

    conform_stream_pair(t, fds);
    close_both(fds);
    CHECK_EQ(t, open_outcome(t, pool, fds[1]), -EBADF);
    CHECK_EQ(t, open_outcome(t, pool, -1), -EBADF);
    CHECK_EQ(t, open_outcome(t, pool, INT_MIN), -EBADF);
    CHECK_EQ(t, open_outcome(t, pool, INT_MAX), -EBADF);
    conform_pool_close(t, pool);
}

CONFORM_CASES(
    late,
    CASE(descriptor_closed_early_is_told, "7",
         "Closing an object whose descriptor was closed before frees it and says -EBADF.",
         DESCRIPTORS),
    CASE(descriptor_closed_early_has_no_events, "7",
         "A descriptor closed with a poll pending makes no events and no busy loop.", EXACT),
    CASE(recycled_number_outside_the_pool_is_told, "7",
         "Closing an object whose number is another file says -ENOENT and leaves that file alone.",
         EXACT),
    CASE(late_close_spares_the_new_owner, "7",
         "A late close of a recycled number leaves the new owner's registration working.",
         DESCRIPTORS),
    CASE(event_of_a_new_owner_reaches_only_it, "7",
         "Events of a recycled number reach its new owner's object and not the old one.",
         DESCRIPTORS),
    CASE(many_owners_of_one_number, "7",
         "However many objects had a number, the last open has it, in any order of closing.",
         DESCRIPTORS),
    CASE(events_of_a_dup_die, "7",
         "A dup that outlives its object's close wakes nothing in the pool.", DESCRIPTORS),
    CASE(dup_and_recycled_number_do_not_mix, "7",
         "Events of a file kept open by dup do not reach the one that has its number.",
         DESCRIPTORS),
    CASE(file_that_comes_back_to_its_number_is_registered, "7",
         "A file closed early and brought back to its number by dup can be opened again.",
         DESCRIPTORS),
    CASE(registering_a_descriptor_twice_is_refused, "7",
         "A second open of a registered socket says -EEXIST and leaves the first one working.",
         EXACT),
    CASE(a_dup_is_registered_beside_its_file, "7",
         "Two numbers of one file are registered side by side.", DESCRIPTORS),
    CASE(files_that_are_always_ready_are_refused, "7",
         "Regular files and directories are refused with -EPERM.", DESCRIPTORS),
    CASE(numbers_that_are_not_open_are_refused, "7", "A number that is not open says -EBADF.",
         DESCRIPTORS));
