/*
 * The libuv backend: what its files share.
 *
 *   uv.c      the slots: the loop and its end, wait and look, kicks, being hosted elsewhere
 *   watches.c descriptors: attach, arm, detach, and which of them are ready
 *   host.c    a pool that lives in a loop that was handed in: turns from within uv_run()
 *
 * Only public headers of the library are used here: this backend is built as a stranger's would be.
 *
 * libuv calls back; a backend reports.  Between the two stands the list of watches that are ready:
 * a callback puts a watch there and stops its handle, wait and look take from its front.
 *
 * Invariants
 *   V1  A watch that is armed has an active handle or is on the ready list, never both; one that is
 *       neither armed nor ready has an inactive handle.
 *   V2  libuv is given a duplicate of each descriptor, whose number is ours until detach.  It
 *       aborts over a number that was closed behind its back, mixes up two files that had one
 *       number, and allows one handle for each; the duplicate spares it all that, and the program
 *       too where the loop is its own.
 *   V3  What libuv may still touch after close has returned (handles of a loop that was handed in)
 *       is in no memory of the pool's.
 *
 * All of it belongs to the loop's thread, but for kick and now.
 */
#ifndef TOCSIN_BACKENDS_UV_HOME_H
#define TOCSIN_BACKENDS_UV_HOME_H

#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

#include <tocsin/uv.h>

/* A link of the ready list; a link that points to itself is on no list. */
struct uv_link {
    struct uv_link *next;
    struct uv_link *prev;
};

/* What is allocated for one pool; V3: freed by the last close callback, or after uv_loop_close. */
struct uv_home {
    uv_loop_t *loop; /* the own one below, or the one handed in */
    uv_loop_t own;
    uv_async_t kick;
    uv_timer_t timer;
    uv_check_t check;      /* where hosted turns are taken */
    unsigned handles_live; /* of these three: 3 until close, then down to 0 */
    bool is_roused;        /* by a kick, the deadline or an event, since it was last set to false */

    struct uv_link ready;
    struct uv_watch **by_number; /* all watches */
    size_t by_number_count;
    pid_t pid; /* of the process that opened it */

    /* Hosted by the loop: host.c. */
    struct tocsin_pool *pool; /* NULL: not hosted */
    bool turn_due;
    /* UV-1: identity of the thread that runs the loop; 0: not hosted. */
    _Atomic(uintptr_t) thread;

    /* A pool with a loop of its own, hosted elsewhere: a timer that the loop's descriptor tells. */
    uv_poll_t timer_poll;
    int timer_fd; /* -1: not hosted */
    uint64_t hosted_ns;
};

/* One descriptor that is watched. */
struct uv_watch {
    uv_poll_t poll;
    struct uv_link link; /* of the ready list */
    struct uv_home *home;
    struct tocsin_backend_watch *watch;
    int fd;          /* V2 */
    uint32_t wanted; /* what arm was last called with; 0: nothing */
    uint32_t events; /* on the ready list: what to report */
    bool is_lost;    /* its number means another file by now, or none: nothing is told any more */
    bool is_carried; /* only ERR and HUP are wanted, and libuv was asked for something else */
};

/* The backend's state, in the pool's memory. */
struct uv_state {
    struct uv_home *home;
};

static inline bool tocsin__uv_is_own(const struct uv_home *home)
{
    return home->loop == &home->own;
}

static inline bool tocsin__uv_is_ready(const struct uv_home *home)
{
    return home->ready.next != &home->ready;
}

extern const struct tocsin_backend_ops tocsin__backend_uv;

/* ---- uv.c -------------------------------------------------------------------------------------*/

/*
 * The tick of libuv's clock, in milliseconds, at which @deadline_ns has passed.
 *
 * Rounds up: a tick that begins before the deadline would be early (T1).  It is the deadline that
 * is rounded, not the delay: libuv's clock stands at the last full millisecond, and a delay counted
 * from there is up to one too short.
 */
uint64_t tocsin__uv_tick(uint64_t deadline_ns);

/* Fire @home's timer at @deadline_ns; TOCSIN_NEVER_NS: not at all. */
void tocsin__uv_timer_set(struct uv_home *home, uint64_t deadline_ns);

/* ---- watches.c --------------------------------------------------------------------------------*/

int tocsin__uv_attach(struct uv_home *home, struct tocsin_backend_watch *watch);
void tocsin__uv_arm(struct tocsin_backend_watch *watch, uint32_t events);
int tocsin__uv_detach(struct uv_home *home, struct tocsin_backend_watch *watch);

/* Report what is on the ready list, while there is room. */
void tocsin__uv_report(struct uv_home *home, struct tocsin_backend_events *list);

/*
 * Give back all watches.  @is_shared: the loop's epoll instance is a parent's, whose registrations
 * must stay.
 */
void tocsin__uv_watches_close(struct uv_home *home, bool is_shared);

/* ---- host.c -----------------------------------------------------------------------------------*/

/* A kick came, or an event: a turn is due in this iteration. */
void tocsin__uv_roused(struct uv_home *home);

/* The deadline of a hosted pool has come. */
void tocsin__uv_due(struct uv_home *home);

/* The check phase of the loop's iteration. */
void tocsin__uv_on_check(uv_check_t *check);

/* tocsin_uv_host() asks for @home by way of poll_handle: true if it was that. */
bool tocsin__uv_is_asked(struct uv_home *home);

/* End the loop's wait, or else the next one.  Thread: any. */
void tocsin__uv_kick(struct uv_home *home);

#endif
