/*
 * Descriptors on a libuv loop: see home.h.
 *
 * libuv's uv_poll_t is level-triggered and so is this: attach makes the handle, arm starts it, the
 * callback stops it and puts the watch on the ready list.  What is true of the descriptor is asked
 * of poll(2) in the callback, for libuv mixes ERR, HUP and what was wanted.
 *
 * A number that was closed before its object is found out when it matters, by comparing our
 * duplicate with what the number means now: nothing is told of it any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/uv/home.h"

enum {
    NUMBERS_FIRST = 64,
    KCMP_SAME_FILE = 0, /* KCMP_FILE of <linux/kcmp.h>, which is not everywhere */
};

static const struct {
    uint32_t event;
    short poll;
    int uv; /* 0: libuv tells it unasked */
} event_rows[] = {
    {TOCSIN_IN, POLLIN, UV_READABLE},
    {TOCSIN_OUT, POLLOUT, UV_WRITABLE},
    {TOCSIN_PRI, POLLPRI, UV_PRIORITIZED},
    {TOCSIN_RDHUP, POLLRDHUP, UV_DISCONNECT},
    {TOCSIN_ERR, POLLERR, 0},
    {TOCSIN_HUP, POLLHUP, 0},
};

enum {
    EVENT_ROWS_COUNT = sizeof(event_rows) / sizeof(event_rows[0]),
};

/* ---- Numbers and files ------------------------------------------------------------------------*/

/* The same, as far as fstat(2) tells: eventfds and their like share one inode. */
static bool may_be_same(int fd, int number)
{
    struct stat ours;
    struct stat theirs;

    return fstat(fd, &ours) == 0 && fstat(number, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino && (ours.st_mode & S_IFMT) == (theirs.st_mode & S_IFMT) &&
           (fcntl(fd, F_GETFL) & O_ACCMODE) == (fcntl(number, F_GETFL) & O_ACCMODE);
}

/* 0: the watch's number means the file that it meant; else -EBADF (closed) or -ENOENT. */
static int check_number(const struct uv_watch *entry)
{
    int number = (int)entry->watch->number;
    pid_t pid = entry->home->pid;
    long order = syscall(SYS_kcmp, pid, pid, KCMP_SAME_FILE, (unsigned long)entry->fd,
                         (unsigned long)number);

    if (order < 0 && fcntl(number, F_GETFD) < 0) {
        return -EBADF;
    }
    if (order < 0) {
        order = may_be_same(entry->fd, number) ? 0 : 1; /* kcmp is refused in many a container */
    }
    return order == 0 ? 0 : -ENOENT;
}

static int reserve_number(struct uv_home *home, size_t number)
{
    size_t count = home->by_number_count == 0 ? NUMBERS_FIRST : home->by_number_count;
    struct uv_watch **by_number;

    if (number < home->by_number_count) {
        return 0;
    }
    while (count <= number) {
        count *= 2;
    }
    by_number = realloc(home->by_number, count * sizeof(struct uv_watch *));
    if (by_number == NULL) {
        return -ENOMEM;
    }
    memset(by_number + home->by_number_count, 0,
           (count - home->by_number_count) * sizeof(struct uv_watch *));
    home->by_number = by_number;
    home->by_number_count = count;
    return 0;
}

/* ---- The ready list ---------------------------------------------------------------------------*/

static void ready_push(struct uv_watch *entry, uint32_t events)
{
    struct uv_link *ready = &entry->home->ready;

    entry->events = events;
    entry->link.next = ready;
    entry->link.prev = ready->prev;
    ready->prev->next = &entry->link;
    ready->prev = &entry->link;
}

static void ready_remove(struct uv_watch *entry)
{
    entry->link.prev->next = entry->link.next;
    entry->link.next->prev = entry->link.prev;
    entry->link.next = &entry->link;
    entry->link.prev = &entry->link;
}

void tocsin__uv_report(struct uv_home *home, struct tocsin_backend_events *list)
{
    while (tocsin__uv_is_ready(home) && list->count < list->capacity) {
        struct uv_watch *entry =
            (struct uv_watch *)(void *)((char *)home->ready.next - offsetof(struct uv_watch, link));

        ready_remove(entry);
        entry->wanted = 0; /* reporting disarms */
        tocsin_backend_report(list, entry->watch->id, entry->events);
    }
}

/* ---- Armed ------------------------------------------------------------------------------------*/

/* What is true of @fd, of @events and of ERR and HUP. */
static uint32_t look_at(int fd, uint32_t events)
{
    struct pollfd now = {.fd = fd};
    uint32_t found = 0;

    for (size_t i = 0; i < EVENT_ROWS_COUNT; i++) {
        if ((events & event_rows[i].event) != 0) {
            now.events = (short)(now.events | event_rows[i].poll);
        }
    }
    if (poll(&now, 1, 0) <= 0) {
        return 0;
    }
    for (size_t i = 0; i < EVENT_ROWS_COUNT; i++) {
        if ((now.revents & event_rows[i].poll) != 0) {
            found |= event_rows[i].event;
        }
    }
    return found;
}

/*
 * libuv tells ERR and HUP with something that it was asked for, and must be asked for something.
 * This is an event that is not true now, for a level that stays would end each wait: a descriptor
 * that has all four and is waited on for none of them costs a busy loop, until one goes.
 */
static int choose_carrier(int fd)
{
    uint32_t true_now =
        look_at(fd, (uint32_t)TOCSIN_PRI | TOCSIN_RDHUP | TOCSIN_IN | (uint32_t)TOCSIN_OUT);

    if ((true_now & TOCSIN_PRI) == 0) {
        return UV_PRIORITIZED;
    }
    if ((true_now & TOCSIN_RDHUP) == 0) {
        return UV_DISCONNECT;
    }
    return (true_now & TOCSIN_IN) == 0 ? UV_READABLE : UV_WRITABLE;
}

static void on_events(uv_poll_t *poll, int status, int events);

/* V1: what @entry wants is what its handle is asked for. */
static void start(struct uv_watch *entry)
{
    int events = 0;

    for (size_t i = 0; i < EVENT_ROWS_COUNT; i++) {
        if ((entry->wanted & event_rows[i].event) != 0) {
            events |= event_rows[i].uv;
        }
    }
    entry->is_carried = events == 0;
    if (entry->is_carried) {
        events = choose_carrier(entry->fd);
    }
    /* Fails only over a number that another handle of the loop has: V2. */
    if (uv_poll_start(&entry->poll, events, on_events) < 0) {
        ready_push(entry, TOCSIN_ERR);
        tocsin__uv_roused(entry->home);
    }
}

static void on_events(uv_poll_t *poll, int status, int events)
{
    struct uv_watch *entry = poll->data;
    uint32_t found;

    (void)events; /* libuv's view, in which an error may be anything: poll(2) knows */
    if (check_number(entry) < 0) {
        entry->is_lost = true; /* closed too early: as epoll does, nothing is told */
        uv_poll_stop(poll);
        return;
    }
    found = look_at(entry->fd, entry->wanted);
    if (found == 0) {
        /* Gone again, by another reader; libuv stops a handle at an error. */
        if (status < 0 || entry->is_carried) {
            start(entry);
        }
        return;
    }
    uv_poll_stop(poll);
    ready_push(entry, found);
    tocsin__uv_roused(entry->home);
}

void tocsin__uv_arm(struct tocsin_backend_watch *watch, uint32_t events)
{
    struct uv_watch *entry = watch->data;

    if (entry == NULL || entry->is_lost) {
        return; /* its number is another file's by now */
    }
    ready_remove(entry);
    entry->wanted = events;
    if (events == 0) {
        uv_poll_stop(&entry->poll);
    } else {
        start(entry);
    }
}

/* ---- Attached ---------------------------------------------------------------------------------*/

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/*
 * Forget @entry; its memory is libuv's until the loop's next iteration.  The descriptor is closed
 * before the handle if the epoll instance is a parent's too: libuv removes what it watches by
 * number, which then is none of this process, and finds nothing.
 */
static void release(struct uv_watch *entry, bool is_shared)
{
    ready_remove(entry);
    if (is_shared) {
        close(entry->fd);
    }
    uv_close((uv_handle_t *)&entry->poll, on_closed);
    if (!is_shared) {
        close(entry->fd);
    }
}

/* uv_poll_init() makes the file non-blocking, for everybody that has it: that is put back. */
static int init_poll(struct uv_watch *entry)
{
    int flags = fcntl(entry->fd, F_GETFL);
    int r = uv_poll_init(entry->home->loop, &entry->poll, entry->fd);

    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        (void)fcntl(entry->fd, F_SETFL, flags);
    }
    entry->poll.data = entry;
    return r; /* libuv's errors are negative errno; a file that epoll cannot watch is -EPERM */
}

/* Returns: 0, -EMFILE, -ENOMEM, -EBADF, -EPERM. */
static int watch_create(struct uv_home *home, struct tocsin_backend_watch *watch,
                        struct uv_watch **out_entry)
{
    struct uv_watch *entry = calloc(1, sizeof(*entry));
    int r;

    if (entry == NULL) {
        return -ENOMEM;
    }
    entry->home = home;
    entry->watch = watch;
    entry->link.next = &entry->link;
    entry->link.prev = &entry->link;
    entry->fd = fcntl((int)watch->number, F_DUPFD_CLOEXEC, 0);
    r = entry->fd < 0 ? -errno : init_poll(entry);
    if (r < 0) {
        if (entry->fd >= 0) {
            close(entry->fd);
        }
        free(entry);
        return r;
    }
    *out_entry = entry;
    return 0;
}

int tocsin__uv_attach(struct uv_home *home, struct tocsin_backend_watch *watch)
{
    size_t number = (size_t)watch->number;
    struct uv_watch *entry;
    struct uv_watch *old;
    int r;

    if (fcntl((int)watch->number, F_GETFD) < 0) {
        return -errno; /* before the table grows to any number */
    }
    r = reserve_number(home, number);
    if (r < 0) {
        return r;
    }
    old = home->by_number[number];
    if (old != NULL && !old->is_lost && check_number(old) == 0) {
        return -EEXIST;
    }
    r = watch_create(home, watch, &entry);
    if (r < 0) {
        return r;
    }
    if (old != NULL) {
        old->watch->data = NULL; /* the runtime detaches it no more */
        release(old, false);
    }
    home->by_number[number] = entry;
    watch->data = entry;
    return 0;
}

int tocsin__uv_detach(struct uv_home *home, struct tocsin_backend_watch *watch)
{
    struct uv_watch *entry = watch->data;
    int r;

    if (entry == NULL) {
        return -ENOENT;
    }
    r = check_number(entry);
    home->by_number[watch->number] = NULL;
    watch->data = NULL;
    release(entry, false);
    return r;
}

void tocsin__uv_watches_close(struct uv_home *home, bool is_shared)
{
    for (size_t i = 0; i < home->by_number_count; i++) {
        if (home->by_number[i] != NULL) {
            release(home->by_number[i], is_shared);
        }
    }
    free(home->by_number);
    home->by_number = NULL;
    home->by_number_count = 0;
}
