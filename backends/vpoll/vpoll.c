/*
 * vpoll descriptors: the functions of tocsin/vpoll.h, and which provider serves.
 *
 * The order of the providers is that of the table; the first that serves is the process's, for
 * good, and its forked children's.  TOCSIN_VPOLL names one, and then no other is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backends/vpoll/provider.h"

enum {
    HIGH_NUMBER = 1000, /* above what programs close in a loop; below what makes a table large */
    REASON_SIZE = 1024,
};

static const struct tocsin__vpoll_provider *const providers[] = {
    &tocsin__vpoll_eventfd,     &tocsin__vpoll_device,      &tocsin__vpoll_fuse,
    &tocsin__vpoll_stream,      &tocsin__vpoll_datagram,    &tocsin__vpoll_fuse_thread,
    &tocsin__vpoll_fuse_direct, &tocsin__vpoll_fuse_userns, &tocsin__vpoll_fuse_fusermount,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by lock. */
static struct {
    bool is_known;
    const char *wanted;                            /* by the program */
    const struct tocsin__vpoll_provider *provider; /* NULL: none serves */
    char reason[REASON_SIZE];
} chosen;

/* ---- The lock, and forks --------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    tocsin__vpoll_fuse_forked();
    tocsin__vpoll_slots_forked();
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void tocsin__vpoll_lock(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
}

void tocsin__vpoll_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* ---- Choosing -------------------------------------------------------------------------------- */

void tocsin__vpoll_say(struct tocsin__vpoll_why *why, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why->text, sizeof(why->text), format, args);
    va_end(args);
}

static bool try_provider(const struct tocsin__vpoll_provider *provider)
{
    struct tocsin__vpoll_why why = {""};
    size_t used = strlen(chosen.reason);

    if (provider->probe(&why) == 0) {
        chosen.provider = provider;
        return true;
    }
    snprintf(chosen.reason + used, sizeof(chosen.reason) - used, "%s%s: %s", used > 0 ? "; " : "",
             provider->name, why.text);
    return false;
}

static void choose_locked(void)
{
    const char *name = secure_getenv("TOCSIN_VPOLL");
    bool is_name = false;

    name = name != NULL ? name : chosen.wanted;
    if (chosen.is_known) {
        return;
    }
    chosen.is_known = true;
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        if (name != NULL && strcmp(name, providers[i]->name) != 0) {
            continue;
        }
        is_name = true;
        if ((name != NULL || !providers[i]->on_request) && try_provider(providers[i])) {
            return;
        }
    }
    if (!is_name) {
        snprintf(chosen.reason, sizeof(chosen.reason), "TOCSIN_VPOLL names no provider: %.64s",
                 name);
    }
}

int tocsin_vpoll_use(const char *provider)
{
    int r = -EINVAL;

    tocsin__vpoll_lock();
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        if (strcmp(provider, providers[i]->name) == 0) {
            r = chosen.is_known ? -EBUSY : 0;
            chosen.wanted = providers[i]->name;
        }
    }
    tocsin__vpoll_unlock();
    return r;
}

int tocsin_vpoll_info_get(struct tocsin_vpoll_info *out_info)
{
    struct tocsin_vpoll_info info = {.reason = chosen.reason};

    tocsin__vpoll_lock();
    choose_locked();
    if (chosen.provider != NULL) {
        info.provider = chosen.provider->name;
        info.exact = chosen.provider->exact;
        info.events = chosen.provider->events;
    }
    tocsin__vpoll_unlock();
    *out_info = info;
    return info.provider != NULL ? 0 : -EOPNOTSUPP;
}

int tocsin__vpoll_place_high(int fd)
{
    struct rlimit limit;
    int least = HIGH_NUMBER;
    int high;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= HIGH_NUMBER) {
        least = (int)(limit.rlim_cur / 2);
    }
    high = fcntl(fd, F_DUPFD_CLOEXEC, least);
    if (high < 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        return fd;
    }
    close(fd);
    return high;
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

int tocsin_vpoll_create(uint32_t events, uint32_t flags)
{
    const struct tocsin__vpoll_provider *provider;
    int r;

    if ((flags & ~(uint32_t)(TOCSIN_VPOLL_CLOEXEC | TOCSIN_VPOLL_STRICT)) != 0 ||
        !tocsin__vpoll_is_valid(TOCSIN_VPOLL_SET, events)) {
        return -EINVAL;
    }
    tocsin__vpoll_lock();
    choose_locked();
    provider = chosen.provider;
    if (provider == NULL) {
        r = -EOPNOTSUPP;
    } else if ((flags & TOCSIN_VPOLL_STRICT) != 0 && (events & ~provider->exact) != 0) {
        r = -ENOTSUP;
    } else {
        r = provider->create(events, flags);
    }
    tocsin__vpoll_unlock();
    return r;
}

int tocsin__vpoll_file_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events)
{
    struct tocsin__vpoll_object *object;
    int r = 0;

    tocsin__vpoll_lock();
    object = tocsin__vpoll_table_get(fd);
    if (object != NULL) {
        r = object->ops->ctl(object, fd, op, events);
    }
    tocsin__vpoll_unlock();
    return object != NULL ? r : tocsin__vpoll_kernel_ctl(fd, op, events);
}

int tocsin_vpoll_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events)
{
    struct tocsin_vpoll_slot *slot;
    int r;

    if (!tocsin__vpoll_is_valid(op, events)) {
        return -EINVAL;
    }
    slot = tocsin__vpoll_slot_at(fd);
    if (slot == NULL) {
        return tocsin__vpoll_file_ctl(fd, op, events);
    }
    r = tocsin_vpoll_slot_ctl(slot, op, events);
    tocsin__slot_unref(slot);
    return r;
}

/* 0 if @fd is a vpoll descriptor, and nothing is kept for it any more. */
static int let_go(int fd)
{
    struct tocsin__vpoll_object *object;
    int r;

    tocsin__vpoll_lock();
    object = tocsin__vpoll_table_get(fd);
    if (object != NULL) {
        tocsin__vpoll_table_remove(object);
    }
    tocsin__vpoll_unlock();
    if (object != NULL) {
        return 0;
    }
    r = tocsin__vpoll_kernel_check(fd);
    return r == -ENOTCONN ? 0 : r == -EACCES ? -ENOTTY : r;
}

int tocsin_vpoll_close(int fd)
{
    struct tocsin_vpoll_slot *slot = tocsin__vpoll_slot_at(fd);
    int r;

    if (slot != NULL) {
        tocsin__slot_unref(slot);
        return -EBUSY;
    }
    r = let_go(fd);
    if (r == 0) {
        close(fd);
    }
    return r;
}
