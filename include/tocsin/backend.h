/*
 * Backends: the wait step of a pool, and nothing else.
 *
 * A backend waits, watches and can be kicked.  It runs no task, keeps no timer, queues nothing:
 * those live once, in the runtime, so that every backend gives the same order and fairness.  Yours
 * can be put to the same suite as ours: build it as a shared object with tocsin_backend_plugin()
 * and run `tocsin-conformance --plugin path.so`.
 *
 *   slot          thread    blocks  allocates  fails
 *   open          any       no      yes        yes: the pool does not open
 *   close         loop (1)  no (2)  no         no
 *   now           any (3)   no      no         no
 *   wait          loop      yes     may        yes, and then the backend is unusable
 *   look          loop      no      may        as wait
 *   kick          any       no      no         no
 *   attach        loop (4)  no      may        yes: nothing is attached
 *   arm           loop      no      no         no: what goes wrong is reported as ERR
 *   detach        loop (4)  no      no         yes: detached all the same
 *   poll_handle   loop      no      may        yes
 *   host          loop      no      no         no
 *   prepare       loop      no      no         no
 *   harvest       loop      no      no         no
 *   uring         any       no      no         no
 *
 *   (1) or the thread that closes a pool that never ran.  (2) It may run a loop of its own until
 *   its handles are gone.  (3) Without FOREIGN_THREADS, the loop only.  (4) With ANY_THREAD_ATTACH
 *   any, two of them never at once: the runtime holds a lock over them.
 *
 * Events are reported with the id that attach was given, never with an address; ids are checked by
 * the runtime, so an event that comes after detach is harmless.
 */
#ifndef TOCSIN_BACKEND_H
#define TOCSIN_BACKEND_H

#include <tocsin/base.h>
#include <tocsin/ready.h>

TOCSIN_BEGIN_DECLS

enum {
    TOCSIN_BACKEND_VERSION = 1, /* of struct tocsin_backend_ops */
};

/* Feature bits. */
enum {
    TOCSIN_BACKEND_EDGE = 1 << 0,              /* reports edges of all events; has no arm */
    TOCSIN_BACKEND_ANY_THREAD_ATTACH = 1 << 1, /* attach and detach from any thread */
    TOCSIN_BACKEND_EXACT_EVENTS = 1 << 2,      /* all six events, none made up */
    TOCSIN_BACKEND_FINE_DEADLINE = 1 << 3,     /* waits end within microseconds of the deadline */
    TOCSIN_BACKEND_DESCRIPTORS = 1 << 4,       /* sources of TOCSIN_SOURCE_DESCRIPTOR */
    TOCSIN_BACKEND_HANDLES = 1 << 5,           /* sources of TOCSIN_SOURCE_HANDLE */
    TOCSIN_BACKEND_SOCKETS = 1 << 6,           /* sources of TOCSIN_SOURCE_SOCKET */
    TOCSIN_BACKEND_FOREIGN_THREADS = 1 << 7,   /* kick and now from real threads */
    TOCSIN_BACKEND_POLL_HANDLE = 1 << 8,       /* can be hosted: poll_handle and host */
    TOCSIN_BACKEND_URING = 1 << 9,             /* takes io_uring submissions */
    TOCSIN_BACKEND_OWN_SOURCES = 1 << 10,      /* sources of TOCSIN_SOURCE_OWN */
};

struct uring_host;

/* What a watch's number is. */
enum tocsin_source {
    TOCSIN_SOURCE_DESCRIPTOR, /* a file descriptor */
    TOCSIN_SOURCE_SOCKET,     /* a socket: a descriptor, or a SOCKET */
    TOCSIN_SOURCE_HANDLE,     /* a Windows handle */
    TOCSIN_SOURCE_OWN,        /* something that this backend alone understands */
};

/* One thing to watch.  The struct stays mapped while the backend is open. */
struct tocsin_backend_watch {
    uint64_t id;     /* to report with; never 0 */
    intptr_t number; /* descriptor, socket, handle or own */
    uint32_t source; /* enum tocsin_source */
    uint32_t events; /* runtime: what arm was last called with */
    void *data;      /* the backend's */
};

struct tocsin_backend_event {
    uint64_t id;
    uint32_t events; /* TOCSIN_IN ...; never 0 */
    uint32_t room;
};

/* Where wait and look put what they found.  More than fits is found the next time. */
struct tocsin_backend_events {
    struct tocsin_backend_event *events;
    uint32_t count;    /* the runtime sets it to 0 before each call */
    uint32_t capacity; /* at least 64 */
};

/*
 * Report @events of the watch @id.
 *
 * Thread: the loop's, inside wait or look, while there is room (count < capacity).
 */
static inline void tocsin_backend_report(struct tocsin_backend_events *list, uint64_t id,
                                         uint32_t events)
{
    struct tocsin_backend_event *event = &list->events[list->count++];

    event->id = id;
    event->events = events;
    event->room = 0;
}

/* How close was asked to behave. */
enum tocsin_backend_close {
    TOCSIN_BACKEND_CLOSE,        /* give everything back */
    TOCSIN_BACKEND_CLOSE_FORKED, /* in a forked child: close descriptors and free memory, no more */
};

struct tocsin_backend_ops {
    const char *name;  /* stable: the value of TOCSIN_BACKEND and the suffix of test names */
    uint32_t version;  /* TOCSIN_BACKEND_VERSION */
    uint32_t features; /* TOCSIN_BACKEND_* */
    size_t state_size; /* the runtime allocates this much, zeroed, and passes it as @state */

    /* @arg is that of struct tocsin_backend.  Negative errno: nothing is left behind. */
    int (*open)(void *state, void *arg);

    /* Everything is detached, or will never be. */
    void (*close)(void *state, enum tocsin_backend_close how);

    /*
     * Monotonic nanoseconds, greater than 0.  Deadlines are on this clock.  Also called after
     * close, by whoever still holds a driver: @state is then as close left it.
     */
    uint64_t (*now)(void *state);

    /*
     * Block until a watch has events, a kick, or @deadline_ns: T1: not before it, except for no
     * reason at all (EINTR), which is allowed.  Return 0.  Negative errno means that the backend is
     * unusable.
     */
    int (*wait)(void *state, uint64_t deadline_ns, struct tocsin_backend_events *list);

    /* wait that does not block.  Takes kicks in. */
    int (*look)(void *state, struct tocsin_backend_events *list);

    /* W4: end the current wait, or else the next one.  Kicks may merge; none is ever lost. */
    void (*kick)(void *state);

    /*
     * Watch @watch->number.  EDGE: for everything, reporting each edge, and once what is there
     * already.  Others: for nothing until arm.  A number that is attached already: -EEXIST if it is
     * the same open file and the backend can tell; otherwise the new watch takes the old one's
     * place.
     */
    int (*attach)(void *state, struct tocsin_backend_watch *watch);

    /*
     * Not with EDGE, where it is NULL.  Report @watch once when one of @events (or ERR or HUP) is
     * true; 0: not at all.  Reporting disarms; the runtime arms again what is still wanted.
     */
    void (*arm)(void *state, struct tocsin_backend_watch *watch, uint32_t events);

    /*
     * Forget @watch.  -EBADF: its number is closed; -ENOENT: it is another file by now (each where
     * it can be told).
     */
    int (*detach)(void *state, struct tocsin_backend_watch *watch);

    /* POLL_HANDLE: the descriptor that is readable when look would find something or was kicked. */
    intptr_t (*poll_handle)(void *state);

    /* POLL_HANDLE: make that descriptor readable at @deadline_ns too. */
    void (*host)(void *state, uint64_t deadline_ns);

    /*
     * May be NULL.  The pool is about to sleep until @deadline_ns: pass on what was queued for the
     * kernel, and take in what has come (U7).  Returns: when to end the sleep at the latest, which
     * may be earlier; 0: something has come, take another turn.
     */
    uint64_t (*prepare)(void *state, uint64_t deadline_ns);

    /* May be NULL.  The top of a turn: tell of what has completed.  User code may run. */
    void (*harvest)(void *state);

    /* URING: what tocsin_uring_submit() works on; only the library's own backends have one. */
    struct uring_host *(*uring)(void *state);

    void *room[1];
};

/* A backend to open pools with: what it does, and what its open is given. */
struct tocsin_backend {
    const struct tocsin_backend_ops *ops;
    void *arg;
};

/*
 * The backend called @name, among those that were built in.
 *
 * Thread:  any.
 * Returns: it, static; or NULL.
 */
TOCSIN_API const struct tocsin_backend *tocsin_backend_find(const char *name);

/*
 * The backend that TOCSIN_BACKEND names (secure_getenv(3)), or the platform's own.
 *
 * Thread:  any, as getenv(3).
 * Returns: it, static; or NULL: the variable names none that is built in.
 */
TOCSIN_API const struct tocsin_backend *tocsin_backend_default(void);

/*
 * The built-in backends in turn: @index from 0; NULL after the last.  Thread: any.
 */
TOCSIN_API const struct tocsin_backend *tocsin_backend_at(size_t index);

/*
 * The backend that a pool runs on.  Thread: any.
 */
TOCSIN_API const struct tocsin_backend *tocsin_driver_backend(const struct tocsin_driver *driver);

/*
 * As tocsin_fd_ready_open(), for a source of any kind: how a backend gives out what it alone has.
 *
 * Errors: -EOPNOTSUPP: the backend has no such sources.
 */
TOCSIN_API int tocsin_source_ready_open(struct tocsin_driver *driver, enum tocsin_source source,
                                        intptr_t number, struct tocsin_fd_ready **out_ready);

/*
 * As tocsin_watch_start(), over a source of TOCSIN_SOURCE_OWN.
 *
 * Errors: -EOPNOTSUPP: the backend has no such sources.
 */
TOCSIN_API int tocsin_own_watch_start(struct tocsin_watch *watch, struct tocsin_driver *driver,
                                      intptr_t number, uint32_t events, tocsin_watch_fn *fn,
                                      void *arg);

/* What a plugin exports. */
TOCSIN_API const struct tocsin_backend *tocsin_backend_plugin(void);

TOCSIN_END_DECLS

#endif
