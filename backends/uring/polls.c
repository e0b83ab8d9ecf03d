/*
 * The table of multishot polls: see polls.h.
 */
#include "backends/uring/polls.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/pool.h"

enum {
    SLOTS_FIRST = 64,
    NUMBERS_FIRST = 256,
};

/* Twice as large, zeroed behind what there is.  NULL: as it was. */
static void *grow(struct tocsin_pool *pool, void *old, size_t old_size, size_t size)
{
    void *memory = tocsin__alloc_zeroed(pool, size);

    if (memory != NULL && old != NULL) {
        memcpy(memory, old, old_size);
        tocsin__free(pool, old);
    }
    return memory;
}

static int reserve_slot(struct polls *polls, struct tocsin_pool *pool)
{
    uint32_t count = polls->slots_count == 0 ? SLOTS_FIRST : polls->slots_count * 2;
    struct poll_slot *slots;

    if (polls->free_slot != 0) {
        return 0;
    }
    if (count > URING_SLOT_MASK) {
        return -ENOMEM;
    }
    slots = grow(pool, polls->slots, polls->slots_count * sizeof(*slots), count * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    polls->slots = slots;
    for (uint32_t i = count; i-- > (polls->slots_count == 0 ? 1 : polls->slots_count);) {
        slots[i].next_free = polls->free_slot;
        polls->free_slot = i;
    }
    polls->slots_count = count;
    return 0;
}

static int reserve_number(struct polls *polls, struct tocsin_pool *pool, uint32_t number)
{
    uint32_t count = polls->by_number_count == 0 ? NUMBERS_FIRST : polls->by_number_count;
    uint32_t *by_number;

    if (number < polls->by_number_count) {
        return 0;
    }
    while (count <= number) {
        count *= 2;
    }
    by_number = grow(pool, polls->by_number, polls->by_number_count * sizeof(*by_number),
                     count * sizeof(*by_number));
    if (by_number == NULL) {
        return -ENOMEM;
    }
    polls->by_number = by_number;
    polls->by_number_count = count;
    return 0;
}

static bool is_same(const struct poll_slot *slot, const struct stat *status)
{
    return slot->device == status->st_dev && slot->inode == status->st_ino &&
           slot->type == (status->st_mode & S_IFMT);
}

/* 0: as far as can be told, the number is the file that it was; else -EBADF or -ENOENT. */
static int check(const struct poll_slot *slot)
{
    struct stat status;

    if (fstat((int)slot->watch->number, &status) < 0) {
        return -errno;
    }
    return is_same(slot, &status) ? 0 : -ENOENT;
}

/*
 * Of devices, and of files that a file system in user space serves, only the kernel knows which can
 * be polled; a poll of one that cannot would be ready at once and for ever.  epoll refuses those,
 * so it is asked, for a moment.
 */
static int check_by_epoll(int fd)
{
    struct epoll_event event = {.events = 0};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int r;

    if (epoll_fd < 0) {
        return -errno;
    }
    r = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
    close(epoll_fd);
    return r;
}

static int check_kind(int fd, const struct stat *status)
{
    switch (status->st_mode & S_IFMT) {
    case S_IFDIR:
    case S_IFBLK:
        return -EPERM;
    case S_IFREG:
    case S_IFCHR:
        return check_by_epoll(fd);
    default:
        return 0;
    }
}

static uint64_t user_data_of(const struct polls *polls, uint32_t index)
{
    return (uint64_t)polls->slots[index].generation << 32 |
           (uint64_t)URING_KIND_OTHER << URING_KIND_SHIFT | index;
}

bool tocsin__polls_add(struct uring *uring, int fd, uint32_t events, uint64_t user_data)
{
    struct io_uring_sqe *sqe = tocsin__uring_next(uring);

    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_poll_multishot(sqe, fd, events); /* edge-triggered unless told otherwise */
    sqe->user_data = user_data;
    return true;
}

static bool add(struct polls *polls, struct uring *uring, uint32_t index)
{
    return tocsin__polls_add(uring, (int)polls->slots[index].watch->number,
                             EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP,
                             user_data_of(polls, index));
}

/*
 * By ASYNC_CANCEL: POLL_REMOVE answers -EALREADY and leaves the poll alone while an event of it
 * waits for the loop to enter the kernel (Linux 6.18).
 */
static bool remove_poll(struct polls *polls, struct uring *uring, uint32_t index)
{
    struct io_uring_sqe *sqe = tocsin__uring_next(uring);

    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_cancel64(sqe, user_data_of(polls, index), 0);
    sqe->user_data = URING_KIND_NONE;
    return true;
}

/* Ask for what the slot wants, now or when there is room. */
static void ask(struct polls *polls, struct uring *uring, uint32_t index, enum poll_state wants)
{
    struct poll_slot *slot = &polls->slots[index];
    bool asked =
        wants == POLL_WANTS_ADD ? add(polls, uring, index) : remove_poll(polls, uring, index);

    if (!asked) {
        slot->state = wants;
        polls->waiting++;
    } else {
        slot->state = wants == POLL_WANTS_ADD ? POLL_ARMED : POLL_REMOVING;
    }
}

static void free_slot(struct polls *polls, uint32_t index)
{
    struct poll_slot *slot = &polls->slots[index];

    slot->state = POLL_FREE;
    slot->generation++;
    slot->next_free = polls->free_slot;
    polls->free_slot = index;
    polls->live--;
}

/* The watch of @index goes; its slot when the poll has ended. */
static void forget(struct polls *polls, struct uring *uring, uint32_t index)
{
    struct poll_slot *slot = &polls->slots[index];

    slot->watch->data = NULL;
    slot->watch = NULL;
    if (slot->state == POLL_ARMED) {
        ask(polls, uring, index, POLL_WANTS_REMOVE);
        return;
    }
    if (slot->state == POLL_WANTS_ADD) {
        polls->waiting--;
    }
    free_slot(polls, index);
}

int tocsin__polls_attach(struct polls *polls, struct uring *uring,
                         struct tocsin_backend_watch *watch)
{
    uint32_t number = (uint32_t)watch->number;
    struct poll_slot *slot;
    struct stat status;
    uint32_t index;
    int r;

    if (watch->number < 0 || fstat((int)watch->number, &status) < 0) {
        return watch->number < 0 ? -EBADF : -errno;
    }
    r = check_kind((int)watch->number, &status);
    r = r < 0 ? r : reserve_number(polls, uring->pool, number);
    r = r < 0 ? r : reserve_slot(polls, uring->pool);
    if (r < 0) {
        return r;
    }
    index = polls->by_number[number];
    if (index != 0) {
        if (S_ISSOCK(status.st_mode) && is_same(&polls->slots[index], &status)) {
            return -EEXIST;
        }
        forget(polls, uring, index);
    }
    index = polls->free_slot;
    slot = &polls->slots[index];
    polls->free_slot = slot->next_free;
    slot->watch = watch;
    slot->device = status.st_dev;
    slot->inode = status.st_ino;
    slot->type = status.st_mode & S_IFMT;
    watch->data = (void *)(uintptr_t)index;
    polls->by_number[number] = index;
    polls->live++;
    ask(polls, uring, index, POLL_WANTS_ADD);
    return 0;
}

int tocsin__polls_detach(struct polls *polls, struct uring *uring,
                         struct tocsin_backend_watch *watch)
{
    uint32_t index = (uint32_t)(uintptr_t)watch->data;
    int r;

    if (index == 0) {
        return -ENOENT; /* another one has taken its place */
    }
    r = check(&polls->slots[index]);
    polls->by_number[watch->number] = 0;
    forget(polls, uring, index);
    tocsin__uring_flush(uring);
    return r;
}

static uint32_t events_from_poll(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? TOCSIN_IN : 0) | ((events & EPOLLOUT) != 0 ? TOCSIN_OUT : 0) |
           ((events & EPOLLERR) != 0 ? TOCSIN_ERR : 0) |
           ((events & EPOLLHUP) != 0 ? TOCSIN_HUP : 0) |
           ((events & EPOLLPRI) != 0 ? TOCSIN_PRI : 0) |
           ((events & EPOLLRDHUP) != 0 ? TOCSIN_RDHUP : 0);
}

/* The poll of @index has ended. */
static void ended(struct polls *polls, uint32_t index, int32_t result)
{
    struct poll_slot *slot = &polls->slots[index];

    if (slot->state == POLL_WANTS_REMOVE) {
        polls->waiting--;
    }
    if (slot->watch == NULL) {
        free_slot(polls, index);
    } else if (result >= 0 || result == -ECANCELED || result == -ENOMEM || result == -EAGAIN) {
        slot->state = POLL_WANTS_ADD;
        polls->waiting++;
    } else {
        slot->state = POLL_LOST;
    }
}

/*
 * Of what the kernel says, what is true.
 *
 * A socket wakes its polls for data with a mask that names PRI as well (sock_def_readable(),
 * Linux 6.18), and a multishot poll passes that on; only poll(2) knows.  That a peer has gone is
 * believed only of the file that the watch was opened for: the kernel keeps it open.
 */
static uint32_t exact(const struct poll_slot *slot, uint32_t events)
{
    struct pollfd asked = {.fd = (int)slot->watch->number, .events = POLLPRI};

    if ((events & TOCSIN_PRI) != 0 && (poll(&asked, 1, 0) <= 0 || (asked.revents & POLLPRI) == 0)) {
        events &= ~(uint32_t)TOCSIN_PRI;
    }
    if ((events & (TOCSIN_HUP | TOCSIN_ERR | TOCSIN_RDHUP)) != 0 && check(slot) < 0) {
        return 0;
    }
    return events;
}

/* Report @events, in one with what @list has of the same watch.  False: there is no room. */
static bool report(struct poll_slot *slot, uint32_t events, struct tocsin_backend_events *list)
{
    if (slot->reported < list->count && list->events[slot->reported].id == slot->watch->id) {
        list->events[slot->reported].events |= exact(slot, events);
        return true;
    }
    if (list->count == list->capacity) {
        return false;
    }
    events = exact(slot, events);
    if (events != 0) {
        slot->reported = list->count;
        tocsin_backend_report(list, slot->watch->id, events);
    }
    return true;
}

bool tocsin__polls_completed(struct polls *polls, uint64_t user_data, int32_t result,
                             uint32_t flags, struct tocsin_backend_events *list)
{
    uint32_t index = (uint32_t)user_data & URING_SLOT_MASK;
    struct poll_slot *slot = &polls->slots[index];
    uint32_t events = result > 0 ? events_from_poll((uint32_t)result) : 0;

    if (slot->watch != NULL && events != 0 && !report(slot, events, list)) {
        return false;
    }
    if ((flags & IORING_CQE_F_MORE) == 0) {
        ended(polls, index, result);
    }
    return true;
}

/*
 * Not while completions overflow: the kernel ends each multishot poll that has an event then, and
 * takes new entries before it hands out what it holds, so that there would be no end to it.
 */
void tocsin__polls_ask(struct polls *polls, struct uring *uring)
{
    for (uint32_t i = 1; i < polls->slots_count && polls->waiting > 0; i++) {
        enum poll_state wants = polls->slots[i].state;

        if (tocsin__ring_overflows(&uring->ring)) {
            return;
        }
        if (wants == POLL_WANTS_ADD || wants == POLL_WANTS_REMOVE) {
            polls->waiting--;
            ask(polls, uring, i, wants);
            if (polls->slots[i].state == wants) {
                return; /* there is no room */
            }
        }
    }
}

void tocsin__polls_end(struct polls *polls, struct uring *uring)
{
    for (uint32_t i = 1; i < polls->slots_count; i++) {
        if (polls->slots[i].watch != NULL) {
            forget(polls, uring, i);
        }
    }
}

void tocsin__polls_free(struct polls *polls, struct tocsin_pool *pool)
{
    tocsin__free(pool, polls->slots);
    tocsin__free(pool, polls->by_number);
}
