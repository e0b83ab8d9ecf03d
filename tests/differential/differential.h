/*
 * Random programs over the public headers, whose results must not depend on the backend.
 *
 * A program is drawn from a seed: at least sixty operations, dealt to actors.  It is run on each
 * backend in a process of its own, and what it says of itself is compared, line by line.
 *
 * What a program is
 *   A network of actors, each with a list of operations that it goes through from first to last.
 *   The main actor works outside of the pool's turns, before each phase; the others are tasks of
 *   the pool, and in every second program one of them is a thread.  An actor that waits waits for
 *   one thing, and whether that comes depends on no race; it never asks whether something is there
 *   yet.  Links lead from an actor to later ones only, and hold all that can be sent, so nobody
 *   waits in a circle.  Such a network (Kahn's) gives each actor the same results in every order in
 *   which actors may legally run.  Each operation copes with any others being absent: a program of
 *   which operations are left out is a program, and so a failing one can be made small.
 *
 * What is observable, and so compared
 *   - what calls return: errors, bytes, events, values, the answers of joins and cancels;
 *   - the bytes that went through a link, a socket, a pipe (a hash), not how they were cut;
 *   - the order in which tasks, posts and wakes of one actor ran (F2), and its timers fired (T4);
 *   - how often drop and release were called, and that nothing is allocated or open at the end.
 *
 * What is not
 *   - the order between actors, or between a thread's wakes and the pool's own;
 *   - how often something was polled, how many turns there were, spurious wakes;
 *   - times; of a periodic timer, how firings divide into calls and @missed;
 *   - what an operation says that needs a bit which the backend lacks: its line is "n/a" there,
 *     and the bit is looked at: who has it must not say so.
 *
 * Beside that, an operation checks what must hold everywhere (EXPECT): a timer that fires early is
 * wrong even if it does so on each backend.
 */
#ifndef TOCSIN_TESTS_DIFFERENTIAL_H
#define TOCSIN_TESTS_DIFFERENTIAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tocsin/linux.h>
#include <tocsin/tocsin.h>
#include <tocsin/uring.h>

#include "api.h"

enum {
    PHASES_MAX = 2,
    ACTORS_MAX = 7, /* of a phase, with the main actor, which is number 0 */
    OPS_MIN = 60,
    OPS_MAX = 120,
    OP_PARAMETERS = 4,
    LOG_SIZE = 16384, /* of one actor in one phase */
    BACKENDS_MAX = 8,
    CHILDREN_MAX = 4,
    LINK_SEND_MAX = 200, /* bytes at once, so that a link never fills up */
};

/* ---- Programs -------------------------------------------------------------------------------- */

struct actor;

/* Who can do an operation. */
enum {
    BY_MAIN = 1 << 0,
    BY_TASK = 1 << 1,
    BY_THREAD = 1 << 2,
};

/*
 * A kind of operation.  @run goes through it, and says what came of it.  Each kind is as likely as
 * @weight says.
 */
struct op_kind {
    const char *name;
    void (*run)(struct actor *actor);
    uint32_t by;    /* BY_* */
    uint32_t needs; /* TOCSIN_BACKEND_*, all of them; else its line is "n/a" */
    unsigned weight;
};

struct op_group {
    const struct op_kind *kinds;
    size_t count;
};

#define OP_GROUP(name)                                                                             \
    const struct op_group name = {name##_kinds, sizeof(name##_kinds) / sizeof(name##_kinds[0])}

extern const struct op_group ops_main;
extern const struct op_group ops_thread;
extern const struct op_group ops_link;
extern const struct op_group ops_task;
extern const struct op_group ops_order;
extern const struct op_group ops_timer;
extern const struct op_group ops_ready;
extern const struct op_group ops_socket;
extern const struct op_group ops_connect;
extern const struct op_group ops_pipe;
extern const struct op_group ops_process;
extern const struct op_group ops_uring;
extern const struct op_group ops_buffers;
extern const struct op_group ops_io;
extern const struct op_group ops_sim;
extern const struct op_group ops_remote;
extern const struct op_group ops_vpoll;
extern const struct op_group ops_uv; /* where libuv is */

struct op {
    const struct op_kind *kind;
    unsigned number; /* its place in the program as it was drawn */
    unsigned phase;
    unsigned actor;
    uint32_t p[OP_PARAMETERS]; /* whatever the kind makes of them */
};

/* How a phase's pool is run. */
enum drive {
    DRIVE_RUN,    /* tocsin_pool_run() until it returns 0 */
    DRIVE_UNTIL,  /* tocsin_pool_run_until() for each actor in turn, and then that */
    DRIVE_HOSTED, /* by its descriptor, where there is one */
    DRIVES,
};

struct program {
    uint64_t seed;
    unsigned phases;
    unsigned actors[PHASES_MAX]; /* with the main one */
    unsigned thread[PHASES_MAX]; /* the actor that is a thread; 0: none */
    enum drive drive[PHASES_MAX];
    struct tocsin_pool_options options;
    unsigned ops_count;
    struct op ops[OPS_MAX];
};

void program_draw(struct program *program, uint64_t seed);
void program_print(const struct program *program, FILE *file);

/* True if it has a thread beside the pool's. */
bool program_has_thread(const struct program *program);

/* ---- What a run leaves behind, in memory shared with its process ----------------------------- */

struct record {
    char log[PHASES_MAX][ACTORS_MAX][LOG_SIZE];
    char end[LOG_SIZE];
    char wrong[LOG_SIZE]; /* what EXPECT found; guarded by the run's lock */
    _Atomic(unsigned char) called[API_COUNT];
    int status; /* waitpid(2)'s */
    bool hung;
};

/* What a program is run on. */
struct target {
    const char *name;
    const struct tocsin_backend *backend;
    uint32_t features;
};

/* Note that a public function was called, and call it. */
#define CALL(function) (api_note(API_##function), function)
void api_note(enum api api);

uint64_t now_ms(void);

/* Run @program on @target in a child; @record is filled. */
int run_start(const struct program *program, const struct target *target, struct record *record);
void run_finish(int pid, unsigned watchdog_s, struct record *record);

/* ---- Inside a run ---------------------------------------------------------------------------- */

struct fiber;
struct run;

/* A task that an actor spawned, and what is known of it. */
struct child;

/* Bytes or numbers from one actor to a later one. */
struct link;

struct actor {
    struct run *run;
    unsigned phase;
    unsigned index;
    uint32_t by; /* what it is: BY_* */
    const struct op *op;
    struct child *children[CHILDREN_MAX];
    bool skipped; /* the operation under way said n/a */

    /* Of those that are tasks. */
    struct tocsin_task task;
    struct fiber *fiber;
    struct tocsin_context *cx;
    bool ended;

    struct tocsin_waker waker; /* of a task: from its spawn to the phase's end */
    pthread_t thread;          /* of a thread; on a simulation: */
    struct tocsin_sim_thread *sim_thread;
    char *log;
    size_t log_length;
};

struct run {
    const struct program *program;
    const struct target *target;
    struct record *record;
    const struct tocsin_backend *backend; /* to open pools on */
    struct tocsin_pool *pool;
    struct tocsin_driver *driver; /* borrowed */
    struct tocsin_sim *sim;       /* or NULL */
    struct tocsin_allocator allocator;
    uint32_t features; /* without URING where the kernel refuses it */
    int poll_fd;
    atomic_int live; /* allocations */
    atomic_uint spawned;
    atomic_uint dropped;
    atomic_uint released;
    atomic_uint ring_users; /* 1: an actor has registered something with the ring */
    pthread_mutex_t lock;   /* guards record->wrong */
    struct tocsin_timer background;
    bool background_armed;
    struct actor *actors; /* of the phase under way */
    /* A phase's tasks may be released after it, so no phase uses another's memory. */
    struct actor actors_of[PHASES_MAX][ACTORS_MAX];
    struct link *links[ACTORS_MAX][ACTORS_MAX];
};

/* The parameter @index, below @bound. */
static inline uint32_t pick(const struct actor *actor, unsigned index, uint32_t bound)
{
    return actor->op->p[index] % bound;
}

static inline uint32_t pick_from(const struct actor *actor, unsigned index, uint32_t least,
                                 uint32_t most)
{
    return least + pick(actor, index, most - least + 1);
}

/* Add to the line of the operation under way, as printf(3). */
__attribute__((format(printf, 2, 3))) void say(struct actor *actor, const char *format, ...);

/* The operation cannot be done here: its line is "n/a".  @bit: what the target must lack. */
void say_not_here(struct actor *actor, uint32_t bit);

/* What must hold on every backend; the program has failed otherwise.  True if it held. */
#define EXPECT(actor, condition) expect((actor)->run, (actor), (condition), #condition, TOCSIN_HERE)
bool expect(struct run *run, const struct actor *actor, bool held, const char *what,
            const char *place);

/* What the harness itself cannot do without; ends the process. */
#define NEED(condition) ((condition) ? (void)0 : need_failed(#condition, TOCSIN_HERE))
_Noreturn void need_failed(const char *what, const char *place);

/*
 * Wait, inside an operation: for a task to be woken.
 *
 *     do {
 *         r = CALL(tocsin_socket_read)(socket, data, size, actor->cx);
 *     } while (again(actor, r));
 *
 * On a thread tocsin_block_on() does what the pool does for a task.
 */
bool again(struct actor *actor, int result);

/* Poll @fn(cx, @arg) until it is ready, on a task or a thread; its result. */
int await(struct actor *actor, tocsin_poll_fn *fn, void *arg);

/* ---- Events: counters that actors wait for --------------------------------------------------- */

/* A count that one waits to reach a number; counted up by callbacks, tasks, threads. */
struct tally {
    pthread_mutex_t lock;
    unsigned count;            /* guarded by lock */
    struct tocsin_waker waker; /* guarded by lock */
};

void tally_init(struct tally *tally);
void tally_deinit(struct tally *tally);
void tally_add(struct tally *tally);
void tally_await(struct actor *actor, struct tally *tally, unsigned count);

/* A short list of small numbers, in the order in which things happened. */
struct order {
    struct tally tally;
    unsigned char marks[32]; /* guarded by tally.lock */
};

void order_init(struct order *order);
void order_deinit(struct order *order);
void order_mark(struct order *order, unsigned mark);

/* Wait until @count marks are there; say them. */
void order_say(struct actor *actor, struct order *order, unsigned count);

/* The same of an order that F2 fixes: none is said of a pool whose order is drawn. */
void order_say_ready(struct actor *actor, struct order *order, unsigned count);

/* ---- Children -------------------------------------------------------------------------------- */

enum child_does {
    CHILD_YIELDS,          /* @times, then is ready */
    CHILD_WAITS,           /* for its flag */
    CHILD_SLEEPS,          /* on a timer */
    CHILD_CANCELS_ITSELF,  /* and is pending */
    CHILD_READY_CANCELLED, /* cancels itself, and is ready in the same poll */
    CHILD_DOES,
};

struct child {
    struct tocsin_task task;
    struct run *run;
    enum child_does does;
    unsigned times;
    int result;
    struct tally polled; /* counts the first poll */
    struct order *order; /* marked at the end; may be NULL */
    unsigned mark;
    atomic_uint flag;
    atomic_uint polls;
    struct tocsin_timer timer;
    bool timer_used;
    bool pinned; /* pending until flagged or cancelled */
};

extern const struct tocsin_task_ops child_ops;

/* A child, not spawned. */
struct child *child_new(struct run *run, enum child_does does, unsigned times, int result);

/* Spawn it on @driver with a reference for the caller, who gives it back by child_unref(). */
void child_spawn(struct tocsin_driver *driver, struct child *child, const char *name);
void child_unref(struct child *child);

/* Set its flag, and wake it. */
void child_finish(struct child *child);

/* Wait for its end, from a task or a thread; 0 and its result, or what went wrong. */
int child_join(struct actor *actor, struct child *child, int *out_result);

/* ---- Descriptors and bytes ------------------------------------------------------------------- */

/* Byte @index of stream @key. */
static inline unsigned char byte_at(uint32_t key, uint64_t index)
{
    return (unsigned char)((index * 31 + (index >> 8) * 7 + key) & 0xff);
}

void bytes_fill(unsigned char *data, size_t size, uint32_t key, uint64_t from);

/* True if @data is what stream @key has from @from on. */
bool bytes_are(const unsigned char *data, size_t size, uint32_t key, uint64_t from);

/*
 * The two ends of a stream, a pipe or an event.  With DESCRIPTORS they are descriptors,
 * non-blocking and close-on-exec; on a simulation they are its objects.
 */
enum pair_kind {
    PAIR_STREAM, /* AF_UNIX */
    PAIR_TCP,
    PAIR_PIPE,  /* [0] reads what [1] writes */
    PAIR_EVENT, /* both the same */
};

void world_pair(struct actor *actor, enum pair_kind kind, intptr_t ends[2]);
void world_close(struct run *run, intptr_t end);
int world_shutdown(struct run *run, intptr_t end, enum tocsin_shutdown how);

/* One try, as read(2) and write(2); negative errno.  Thread: any that is an actor. */
int world_read(struct run *run, intptr_t end, void *data, size_t size);
int world_write(struct run *run, intptr_t end, const void *data, size_t size);

/* All of @size, for which there is room. */
void world_write_all(struct run *run, intptr_t end, const void *data, size_t size);

/* tocsin_fd_ready_open() or tocsin_source_ready_open(). */
int world_ready_open(struct run *run, intptr_t end, struct tocsin_fd_ready **out_ready);

/*
 * An end that is polled: by a socket or a pipe of the library, and on a simulation by readiness.
 */
struct stream {
    struct run *run;
    intptr_t end;
    struct tocsin_socket *socket;
    struct tocsin_pipe *pipe;
    struct tocsin_fd_ready *ready;
};

/* Takes @end over. */
void stream_open(struct stream *stream, struct run *run, enum pair_kind kind, intptr_t end);
int stream_close(struct stream *stream);
int stream_read(struct stream *stream, void *data, size_t size, struct tocsin_context *cx);
int stream_write(struct stream *stream, const void *data, size_t size, struct tocsin_context *cx);

/*
 * A task that moves the bytes of stream @key through @stream: it writes so many, or reads until it
 * has so many or the end has come.
 */
enum pump_way {
    PUMP_READS,
    PUMP_READS_PIECES, /* readv */
    PUMP_WRITES,
    PUMP_WRITES_PIECES, /* writev */
};

struct pump {
    struct tocsin_task task;
    struct run *run;
    struct stream *stream;
    enum pump_way way;
    uint32_t key;
    size_t chunk; /* at most so many at once */
    uint64_t size;
    uint64_t done;
    bool same;  /* what was read is what was to come */
    int error;  /* 0, or what ended it */
    bool shuts; /* a writer, at its end: its direction */
};

/* Spawn one that does as @what says.  The caller holds a reference. */
struct pump *pump_start(struct run *run, struct pump what);

/* Wait for its end, or cancel it first; say what came of it unless cancelled. */
void pump_join(struct actor *actor, struct pump *pump);
void pump_cancel(struct actor *actor, struct pump *pump);

/* A TCP listener on the loopback interface; its address in *@address, a struct sockaddr_in. */
int listener_open(void *address);

/* ---- Fibers ---------------------------------------------------------------------------------- */

typedef void fiber_fn(void *arg);

/* A stack of its own for @fn(@arg), which begins at the first resume. */
struct fiber *fiber_create(fiber_fn *fn, void *arg);
void fiber_destroy(struct fiber *fiber);

/* Go on in @fiber until it pauses or ends.  True if it has ended. */
bool fiber_resume(struct fiber *fiber);

/* Inside it: go back to where it was resumed. */
void fiber_pause(struct fiber *fiber);

/* ---- Links and actors ------------------------------------------------------------------------ */

/* Open the links that the phase's operations use; close what is left of them. */
void links_open(struct run *run, unsigned phase);
void links_close(struct run *run);

/* @actor has come to its end: whoever waits for more from it is told. */
void links_end(struct actor *actor);

/* The link from @actor that its operation means, or to it; NULL: none. */
struct link *link_from(struct actor *actor);
struct link *link_to(struct actor *actor);
bool op_is_send(const struct op *op);
bool op_is_receive(const struct op *op);

void actors_start(struct run *run, unsigned phase);
void actors_end(struct run *run, unsigned phase);
void actor_go(struct actor *actor);

/* Run the pool as the phase says until nothing keeps it alive. */
void drive(struct run *run, unsigned phase);

/* ---- Comparing ------------------------------------------------------------------------------- */

/* The first difference in words, or false if there is none. */
bool records_differ(const struct record *a, const struct target *a_on, const struct record *b,
                    const struct target *b_on, char *text, size_t text_size);

/* Did the run end by itself, and find nothing wrong?  Else why not. */
bool record_is_good(const struct record *record, char *text, size_t text_size);

/* How many operations have been gone through, and how many of those could not be done there. */
void record_count(const struct record *record, unsigned *out_done, unsigned *out_not_here);
void record_print(const struct record *record, const struct program *program, FILE *file);

#endif
