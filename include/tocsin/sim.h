/*
 * A simulation: pools and threads under virtual time, in an order that a seed decides.
 *
 * For testing programs that live on a pool.  Time moves only when nothing can run, and then at once
 * to the next thing that is to happen: an hour of sleeps takes no time.  Everything that an
 * operating system leaves open (which thread goes on, in which order events are found, how much a
 * read returns, what fails) is drawn from the seed, so that a run that fails can be had again:
 * the same program with the same seed takes the same steps, and tocsin_sim_hash() says so.
 *
 * Actors.  The thread that opens a simulation is its first actor; tocsin_sim_thread_start() makes
 * more, and so does tocsin_pool_spawn_thread() on an actor.  Exactly one of them runs at a time.
 * At certain points the seed chooses who goes on: where a pool waits or looks at its backend, on
 * its way into sleep and at the top of a turn; after a wake that ended a pool's sleep; in
 * tocsin_block_on() and joins; at an operation on an object of the simulation; where a thread
 * starts and ends; and in tocsin_sim_yield().  So an actor must not hold a lock over such a point
 * that another one blocks on, nor block on anything else that only another actor would end:
 * tocsin_sim_await() is for that.
 *
 * Other threads.  A thread that is no actor gets -EPERM from the simulation, unless it holds it:
 * from tocsin_sim_hold() to tocsin_sim_unhold() time stands still, for nobody knows what that
 * thread will do.  What such a thread does comes in no particular order: the run is then not a
 * function of the seed any more.  Waking a pool is safe from any thread, held or not.
 *
 * After fork(2) the child has a simulation of its own, a copy in which the actor that forked is the
 * only one; pools are dead there as tocsin/pool.h says.
 */
#ifndef TOCSIN_SIM_H
#define TOCSIN_SIM_H

#include <tocsin/base.h>
#include <tocsin/socket.h>

TOCSIN_BEGIN_DECLS

struct tocsin_backend;
struct tocsin_sim;
struct tocsin_sim_thread;

/*
 * How often the world goes wrong, in millionths of the times that it could; 0: never.  What is
 * delayed comes later; nothing is ever lost.
 */
struct tocsin_sim_faults {
    uint32_t open_ppm;          /* opening a pool fails with -EMFILE or -ENOMEM */
    uint32_t attach_ppm;        /* attaching fails with -ENOMEM or -ENOSPC */
    uint32_t look_ppm;          /* a look finds nothing, though there is something */
    uint32_t wait_ppm;          /* a wait ends for no reason */
    uint32_t event_ppm;         /* an event is not in this batch, but in a later one */
    uint32_t kick_ppm;          /* a kick arrives later: */
    uint64_t kick_delay_max_ns; /* by up to so long; 0: 1 ms */
    uint32_t detach_ppm;        /* a watch is given up, but that fails: -EBADF or -ENOENT */
    uint32_t now_ppm;           /* an actor is held up where it reads the clock: */
    uint64_t now_delay_max_ns;  /* for up to so long; 0: 1 ms */
    uint64_t room_[2];
};

/* What happens when no actor can run, no time can pass and nobody holds the simulation. */
enum tocsin_sim_deadlock {
    TOCSIN_SIM_DEADLOCK_ABORT, /* print tocsin_sim_report() to standard error, and abort(3) */
    TOCSIN_SIM_DEADLOCK_FAIL,  /* tocsin_pool_run() returns -EDEADLK; if no pool waits: abort */
};

/*
 * One decision or event, as text without a newline.  Called on whatever thread it comes from, with
 * the simulation locked: it must not call the library.
 */
typedef void tocsin_sim_trace_fn(void *arg, const char *line);

/* All zero means the defaults; so does a NULL pointer. */
struct tocsin_sim_options {
    uint64_t seed;
    uint64_t start_ns;      /* what the clock begins with; default 1 s */
    uint64_t clock_step_ns; /* how long reading the clock takes; default 0: loops that spin until
                               a time hang */
    struct tocsin_sim_faults faults;
    enum tocsin_sim_deadlock deadlock;
    bool quiet_kicks; /* a wake is no point: for programs that wake with a lock of theirs held */
    tocsin_sim_trace_fn *trace; /* default: none */
    void *trace_arg;
    uint64_t room_[4];
};

/*
 * Begin a simulation; this thread is its first actor.
 *
 * Thread:  any that is no actor.
 * Memory:  @options is copied.  *@out_sim goes to tocsin_sim_close().
 * Returns: 0.
 * Errors:  -EBUSY: this thread is an actor; -ENOMEM.
 */
TOCSIN_API int tocsin_sim_open(struct tocsin_sim **out_sim,
                               const struct tocsin_sim_options *options);

/*
 * End @sim.  NULL is 0.
 *
 * Thread:  the one that opened it.
 * Returns: 0.
 * Errors:  -EPERM on another thread; -EBUSY: a pool is open on it, an actor was not joined, or
 *          somebody holds it; nothing has happened then.
 */
TOCSIN_API int tocsin_sim_close(struct tocsin_sim *sim);

/*
 * The backend to open pools on @sim with, on an actor.  The built-in backend "sim" stands for the
 * calling actor's simulation; on a thread that is none it makes one, with the seed in
 * TOCSIN_SIM_SEED (a decimal number; default 1), that ends when its last pool closes.
 *
 * Thread: any.  Memory: as long as @sim.
 */
TOCSIN_API const struct tocsin_backend *tocsin_sim_backend(const struct tocsin_sim *sim);

/* The simulation whose actor this thread is, or NULL.  Thread: any. */
TOCSIN_API struct tocsin_sim *tocsin_sim_current(void);

/* What @sim was opened with.  Thread: any. */
TOCSIN_API uint64_t tocsin_sim_seed(const struct tocsin_sim *sim);

/*
 * A digest of every decision and event so far: the same for the same program and seed.
 *
 * Thread: any; while another actor runs, it is of some moment.
 */
TOCSIN_API uint64_t tocsin_sim_hash(struct tocsin_sim *sim);

/*
 * The next of the seed's numbers, for the program's own choices, and for order_seed of
 * struct tocsin_pool_options.  Never 0.
 *
 * Thread: an actor, or a holder.
 */
TOCSIN_API uint64_t tocsin_sim_random(struct tocsin_sim *sim);

/*
 * The seed, the time, and what each actor waits for, as text of several lines.
 *
 * Thread:  any.
 * Returns: how many bytes the text has, as snprintf(3).
 */
TOCSIN_API size_t tocsin_sim_report(struct tocsin_sim *sim, char *text, size_t size);

/* ---- Time ------------------------------------------------------------------------------------ */

/* The clock.  Units: nanoseconds, as tocsin_pool_now_ns().  Thread: any. */
TOCSIN_API uint64_t tocsin_sim_now_ns(struct tocsin_sim *sim);

/*
 * Let @delay_ns go by, as a computation of that length does; what falls due in it happens.
 *
 * Thread: an actor.
 * Errors: -EPERM; -EBUSY: somebody holds @sim, and time stands still.
 */
TOCSIN_API int tocsin_sim_pass(struct tocsin_sim *sim, uint64_t delay_ns);

/*
 * Wait until @delay_ns have gone by.
 *
 * Thread: an actor; not inside a turn of a pool, which would wait as well.
 * Errors: -EPERM.
 */
TOCSIN_API int tocsin_sim_sleep(struct tocsin_sim *sim, uint64_t delay_ns);

/* ---- Actors and holds ------------------------------------------------------------------------ */

typedef void tocsin_sim_thread_fn(void *arg);

/*
 * Start a thread that is an actor of @sim.
 *
 * Thread:  an actor.
 * Memory:  @name (NULL: "actor") is copied.  *@out_thread goes to tocsin_sim_thread_join().
 * Returns: 0.
 * Errors:  -EPERM, -ENOMEM, -EAGAIN.
 */
TOCSIN_API int tocsin_sim_thread_start(struct tocsin_sim *sim,
                                       struct tocsin_sim_thread **out_thread, const char *name,
                                       tocsin_sim_thread_fn *fn, void *arg);

/*
 * Wait until @thread has ended, and free it.
 *
 * Thread: another actor of the same simulation.
 * Errors: -EPERM; -EDEADLK: it is this thread.
 */
TOCSIN_API int tocsin_sim_thread_join(struct tocsin_sim_thread *thread);

/*
 * A point: the seed chooses who goes on, and this actor may be the one.
 *
 * Thread: an actor.
 * Errors: -EPERM.
 */
TOCSIN_API int tocsin_sim_yield(struct tocsin_sim *sim);

/* Is it so?  Only looks at memory: called by whoever has the turn, with the simulation locked. */
typedef bool tocsin_sim_condition_fn(void *arg);

/*
 * Wait until @fn(@arg) is true, which another actor or a holder sees to.
 *
 * Thread: an actor.
 * Errors: -EPERM.
 */
TOCSIN_API int tocsin_sim_await(struct tocsin_sim *sim, tocsin_sim_condition_fn *fn, void *arg);

/*
 * Hold @sim: time stands still until tocsin_sim_unhold(), and a thread that is no actor may use it.
 * Holds are counted, and may be given back by another thread: an actor takes one for the thread
 * that it is about to start, which takes its own and gives both back.
 *
 * Thread: any.
 */
TOCSIN_API void tocsin_sim_hold(struct tocsin_sim *sim);
TOCSIN_API void tocsin_sim_unhold(struct tocsin_sim *sim);

/* ---- Objects --------------------------------------------------------------------------------- */

/*
 * Sockets, pipes and events of the simulation, known by numbers as descriptors are: the lowest free
 * one.  Watch them with tocsin_source_ready_open(driver, TOCSIN_SOURCE_OWN, number, &ready): events
 * are those that a socket, a pipe or an eventfd would give, and tocsin_fd_ready_poll_io() goes with
 * tocsin_sim_object_read() and _write() as it goes with read(2) and write(2).
 *
 * Thread: an actor of the simulation, or a holder; all answer others with -EPERM.
 */

/* What a connection or a pipe is like.  All zero: 64 KiB, at once, whole, safe. */
struct tocsin_sim_link_options {
    uint32_t capacity_bytes; /* how much is under way at most, in each direction; 0: 65536 */
    uint32_t partial_ppm; /* how often, in millionths, a read or a write takes less than it could */
    uint32_t reset_ppm;   /* how often a write finds, or makes, the connection reset */
    uint32_t room;
    uint64_t latency_min_ns; /* how long what is written takes to arrive, drawn for each write; */
    uint64_t latency_max_ns; /* order is kept; a minimum of TOCSIN_NEVER_NS: nothing arrives */
    uint64_t room_[4];
};

/*
 * Two connected stream sockets.
 *
 * Memory: @options (NULL: defaults) is copied; both numbers go to tocsin_sim_object_close().
 * Errors: -EPERM, -ENOMEM.
 */
TOCSIN_API int tocsin_sim_stream_pair(struct tocsin_sim *sim,
                                      const struct tocsin_sim_link_options *options,
                                      intptr_t out_numbers[2]);

/* A pipe: [0] reads what [1] writes.  Otherwise as tocsin_sim_stream_pair(). */
TOCSIN_API int tocsin_sim_pipe(struct tocsin_sim *sim,
                               const struct tocsin_sim_link_options *options,
                               intptr_t out_numbers[2]);

/*
 * An event: a counter as eventfd(2) has it.  Reads and writes are of eight bytes, an uint64_t; a
 * read takes the count, or with @semaphore one of it.
 *
 * Memory: *@out_number goes to tocsin_sim_object_close().
 * Errors: -EPERM, -ENOMEM; -EINVAL: @count is the largest number.
 */
TOCSIN_API int tocsin_sim_event(struct tocsin_sim *sim, uint64_t count, bool semaphore,
                                intptr_t *out_number);

/*
 * Read up to @size bytes.
 *
 * Returns: how many; 0: the end.
 * Errors:  -EAGAIN; -ECONNRESET, once; -EBADF: no such number, or a pipe's other end; -EINVAL: an
 *          event, and @size below 8.
 */
TOCSIN_API int tocsin_sim_object_read(struct tocsin_sim *sim, intptr_t number, void *data,
                                      size_t size);

/*
 * Write up to @size bytes.
 *
 * Returns: how many.
 * Errors:  -EAGAIN; -EPIPE: nobody reads any more, or this end was shut; -ECONNRESET; -EBADF;
 *          -EINVAL: an event, and not eight bytes or the largest number.
 */
TOCSIN_API int tocsin_sim_object_write(struct tocsin_sim *sim, intptr_t number, const void *data,
                                       size_t size);

/*
 * A byte out of band: the peer has PRI until it takes it.  Only sockets have one; an older one that
 * was not taken is lost.
 *
 * Errors: -EPIPE, -EBADF; reading: -EAGAIN, -EBADF.
 */
TOCSIN_API int tocsin_sim_object_write_urgent(struct tocsin_sim *sim, intptr_t number,
                                              unsigned char byte);
TOCSIN_API int tocsin_sim_object_read_urgent(struct tocsin_sim *sim, intptr_t number,
                                             unsigned char *out_byte);

/*
 * Shut one direction of a socket, or both, as shutdown(2).  Errors: -EBADF.
 */
TOCSIN_API int tocsin_sim_object_shutdown(struct tocsin_sim *sim, intptr_t number,
                                          enum tocsin_shutdown how);

/*
 * Break a connection: what is under way is lost, the peer gets -ECONNRESET.  Errors: -EBADF.
 */
TOCSIN_API int tocsin_sim_object_reset(struct tocsin_sim *sim, intptr_t number);

/*
 * Close it; its number is free again.  A socket that is closed with data unread resets its peer.
 * Errors: -EBADF.
 */
TOCSIN_API int tocsin_sim_object_close(struct tocsin_sim *sim, intptr_t number);

/*
 * What is true of it now: TOCSIN_IN and so on; 0: nothing.  Errors: -EBADF.
 */
TOCSIN_API int tocsin_sim_object_events(struct tocsin_sim *sim, intptr_t number);

TOCSIN_END_DECLS

#endif
