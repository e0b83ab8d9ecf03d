/*
 * vpoll's providers: who makes descriptors whose events a program sets.
 *
 * A provider is probed once in a process, at the first create, the best one first; the first that
 * serves is the process's.  What a descriptor is, its file says (FUSE and the module answer a
 * private ioctl), or, where it cannot, a table of this process and of its forked children: table.c.
 *
 * Lock: one for all of vpoll, tocsin__vpoll_lock().  It is held over forks, so that a child finds
 * everything whole.  Order: after a slot's fd_lock, before all others.
 */
#ifndef TOCSIN_VPOLL_PROVIDER_H
#define TOCSIN_VPOLL_PROVIDER_H

#include <tocsin/vpoll.h>

#include "runtime/vpoll_slot.h"

enum {
    TOCSIN__VPOLL_WHY_SIZE = 256,
};

/* Why a provider does not serve: a sentence without its full stop. */
struct tocsin__vpoll_why {
    char text[TOCSIN__VPOLL_WHY_SIZE];
};

struct tocsin__vpoll_provider {
    const char *name; /* the value of TOCSIN_VPOLL */
    bool on_request;  /* never chosen, only named */
    uint32_t exact;
    uint32_t events;

    /* Can it serve?  0, or a negative errno and *@out_why.  The caller holds the lock. */
    int (*probe)(struct tocsin__vpoll_why *out_why);

    /* A descriptor; @flags are known to be right.  The caller holds the lock. */
    int (*create)(uint32_t events, uint32_t flags);
};

extern const struct tocsin__vpoll_provider tocsin__vpoll_eventfd;
extern const struct tocsin__vpoll_provider tocsin__vpoll_device;
extern const struct tocsin__vpoll_provider tocsin__vpoll_fuse;
extern const struct tocsin__vpoll_provider tocsin__vpoll_fuse_direct;
extern const struct tocsin__vpoll_provider tocsin__vpoll_fuse_userns;
extern const struct tocsin__vpoll_provider tocsin__vpoll_fuse_fusermount;
extern const struct tocsin__vpoll_provider tocsin__vpoll_fuse_thread;
extern const struct tocsin__vpoll_provider tocsin__vpoll_stream;
extern const struct tocsin__vpoll_provider tocsin__vpoll_datagram;

__attribute__((format(printf, 2, 3))) void tocsin__vpoll_say(struct tocsin__vpoll_why *why,
                                                             const char *format, ...);

void tocsin__vpoll_lock(void);
void tocsin__vpoll_unlock(void);

/* What else a forked child has to do, with the lock held. */
void tocsin__vpoll_fuse_forked(void);

/*
 * Move @fd to a high number, close-on-exec: out of the way of who closes the low ones.  Returns:
 * the new number, or @fd where that does not work.
 */
int tocsin__vpoll_place_high(int fd);

/* ---- What the file itself answers: FUSE and the module --------------------------------------- */

/*
 * Change @fd's events by ioctl, or, if the user has changed since, by a write.  Thread: any.
 *
 * Errors: those of tocsin_vpoll_ctl().
 */
int tocsin__vpoll_kernel_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events);

/* 1 if @fd is of the file system that this process has mounted, without asking its server. */
int tocsin__vpoll_fuse_is_ours(int fd);

/* 0 if @fd answers as a vpoll descriptor; errors as tocsin_vpoll_ctl(). */
int tocsin__vpoll_kernel_check(int fd);

/* The system calls of the eventfd provider: a test may put its own here. */
struct tocsin__vpoll_calls {
    int (*eventfd)(unsigned events, int flags);
    /* A number that no other open file has had.  Negative errno: it has none. */
    int (*identify)(int fd, uint64_t *out_identity);
};
extern struct tocsin__vpoll_calls tocsin__vpoll_calls;

/* ---- The table ------------------------------------------------------------------------------- */

struct tocsin__vpoll_object;

/* What stands behind a descriptor that does not answer for itself. */
struct tocsin__vpoll_object_ops {
    /* A number that no other open file has had.  Negative errno: @fd is no such file. */
    int (*identify)(int fd, uint64_t *out_identity);
    int (*ctl)(struct tocsin__vpoll_object *object, int fd, enum tocsin_vpoll_op op,
               uint32_t events);
    /* Free it, and what it holds; its descriptor is closed by then, or somebody else's. */
    void (*forget)(struct tocsin__vpoll_object *object);
};

struct tocsin__vpoll_object {
    const struct tocsin__vpoll_object_ops *ops;
    uint64_t identity;
};

/* Put @object under @fd; an older one there is forgotten.  -ENOMEM.  The caller holds the lock. */
int tocsin__vpoll_table_put(int fd, struct tocsin__vpoll_object *object);

/* The object of @fd, or of what it is a dup(2) of; or NULL.  The caller holds the lock. */
struct tocsin__vpoll_object *tocsin__vpoll_table_get(int fd);

/* Take @object out and forget it.  The caller holds the lock. */
void tocsin__vpoll_table_remove(struct tocsin__vpoll_object *object);

/* ---- Descriptors of slots -------------------------------------------------------------------- */

/* In a forked child they are the parent's.  The caller holds the lock. */
void tocsin__vpoll_slots_forked(void);

/* The slot of this process whose descriptor @fd is, referenced; or NULL.  Takes the lock. */
struct tocsin_vpoll_slot *tocsin__vpoll_slot_at(int fd);

/* Change @fd itself, whatever slot it has.  Takes the lock.  Errors: as tocsin_vpoll_ctl(). */
int tocsin__vpoll_file_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events);

#endif
