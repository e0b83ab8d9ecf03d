/*
 * Descriptors of slots: made when somebody asks for one, and kept in step by the slot.
 *
 * A table leads from the descriptor back to its slot, so that a ctl on it is the slot's, and a pool
 * that it is attached to is served by the slot.  A slot's entry is believed only while its number
 * still is that file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/vpoll/fuse.h"

enum {
    NUMBERS_FIRST = 64,
};

/* How to tell that a number still is the file that it was. */
struct mark {
    uint64_t server; /* 0: what stands behind it is in the table */
    uint64_t file;
};

struct entry {
    struct tocsin_vpoll_slot *slot; /* NULL: none */
    struct mark mark;
};

/* Guarded by tocsin__vpoll_lock().  A slot takes its entry away before it goes. */
static struct entry *entries;
static size_t entries_count;

static struct mark mark_of(int fd)
{
    const struct tocsin__vpoll_object *object = tocsin__vpoll_table_get(fd);
    struct mark mark = {0, 0};

    if (object != NULL) {
        mark.file = object->identity;
    } else {
        /* A module's file does not answer: its number has to do. */
        (void)tocsin__vpoll_fuse_identity(fd, &mark.server, &mark.file);
    }
    return mark;
}

static int put(int fd, struct tocsin_vpoll_slot *slot)
{
    size_t count = entries_count == 0 ? NUMBERS_FIRST : entries_count;
    struct entry *grown;

    while (count <= (size_t)fd) {
        count *= 2;
    }
    if (count != entries_count) {
        grown = realloc(entries, count * sizeof(*entries));
        if (grown == NULL) {
            return -ENOMEM;
        }
        memset(grown + entries_count, 0, (count - entries_count) * sizeof(*entries));
        entries = grown;
        entries_count = count;
    }
    entries[fd] = (struct entry){.slot = slot, .mark = mark_of(fd)};
    return 0;
}

static int create(struct tocsin_vpoll_slot *slot, uint32_t events)
{
    int fd = tocsin_vpoll_create(events, TOCSIN_VPOLL_CLOEXEC);
    int r;

    if (fd < 0) {
        return fd;
    }
    tocsin__vpoll_lock();
    r = put(fd, slot);
    tocsin__vpoll_unlock();
    if (r < 0) {
        tocsin_vpoll_close(fd);
        return r;
    }
    return fd;
}

static int set(int fd, uint32_t events)
{
    return tocsin__vpoll_file_ctl(fd, TOCSIN_VPOLL_SET, events);
}

/* The entry of @fd, if that still is the file that it was; or NULL. */
static struct entry *find_locked(int fd)
{
    struct entry *entry;
    struct mark mark;

    if (fd < 0 || (size_t)fd >= entries_count || entries[fd].slot == NULL) {
        return NULL;
    }
    entry = &entries[fd];
    mark = mark_of(fd);
    return mark.server == entry->mark.server && mark.file == entry->mark.file ? entry : NULL;
}

static void forget_and_close(int fd)
{
    struct entry *entry;
    bool is_ours;

    tocsin__vpoll_lock();
    entry = find_locked(fd);
    is_ours = entry != NULL;
    entries[fd].slot = NULL;
    tocsin__vpoll_unlock();
    if (is_ours) {
        tocsin_vpoll_close(fd);
    }
}

struct tocsin_vpoll_slot *tocsin__vpoll_slot_at(int fd)
{
    struct entry *entry;
    struct tocsin_vpoll_slot *slot = NULL;

    tocsin__vpoll_lock();
    entry = find_locked(fd);
    if (entry != NULL) {
        slot = entry->slot;
        tocsin__slot_ref(slot);
    }
    tocsin__vpoll_unlock();
    return slot;
}

void tocsin__vpoll_slots_forked(void)
{
    free(entries);
    entries = NULL;
    entries_count = 0;
}

int tocsin_vpoll_slot_fd(struct tocsin_vpoll_slot *slot)
{
    static const struct tocsin__slot_fd_ops ops = {
        .create = create,
        .set = set,
        .close = forget_and_close,
        .find = tocsin__vpoll_slot_at,
    };

    return tocsin__slot_fd(slot, &ops);
}
