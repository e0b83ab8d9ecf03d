/*
 * What every benchmark program shares: its command line, processors, clocks, and its report.
 *
 * A program answers one question for one library.  It has cases; each is a function that sets
 * things up, calls bench_begin(), does @count operations, calls bench_end(), and cleans up.  What
 * the program prints is one line of JSON for each case; bench/run.py makes tables of them.
 *
 *   wN_LIB --case=NAME [--count=C] [--n=N] [--active=A] [--repeat=R] [--two-cores] [--backend=B]
 *          [--busy-us=U] [--slack-ns=S] [--traced]
 *
 * One processor: all threads on the first that the process may use.  --two-cores: the main thread,
 * which has the loop, on the first, and what bench_thread() starts on the second.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_NS_PER_S UINT64_C(1000000000)
#define BENCH_NS_PER_MS UINT64_C(1000000)

enum {
    BENCH_BATCH = 1000,      /* W1: callbacks that are outstanding at once */
    BENCH_EXTRAS_MAX = 8,    /* results of a case beside time */
    BENCH_MESSAGE_SIZE = 64, /* W7 */
    BENCH_CHUNK = 256,       /* W6: what a handler takes at once: no fewer than chains */
};

/* What a case is asked to do, and what came out of it. */
struct bench {
    const char *backend; /* Tocsin's; NULL: its default */
    uint64_t count;      /* how many operations */
    uint64_t n;          /* how many things are there: timers, descriptors */
    uint64_t active;     /* how many are at work at once: chains, connections, operations */
    uint64_t busy_ns;    /* Tocsin: poll so long before a sleep */
    uint64_t slack_ns;   /* Tocsin: timer slack; 0: the thread's own */
    bool two_cores;
    bool traced;     /* every system call takes long: time must not matter */
    uint64_t ns;     /* between begin and end */
    uint64_t cpu_ns; /* the whole process's processor time between the two */
    uint64_t start_ns;
    uint64_t start_cpu_ns;
    const char *extra_names[BENCH_EXTRAS_MAX];
    double extras[BENCH_EXTRAS_MAX];
};

struct bench_case {
    const char *name;
    void (*run)(struct bench *bench);
};

/* Run what the command line asks for.  @library: name and version.  Returns: for main(). */
int bench_main(int argc, char **argv, const char *library, const struct bench_case *cases,
               size_t cases_count);

/* What is between the two counts; they may be called several times. */
void bench_begin(struct bench *bench);
void bench_end(struct bench *bench);

/* One more result, @name being static. */
void bench_extra(struct bench *bench, const char *name, double value);

/* End the program with a message. */
__attribute__((noreturn)) void bench_fail(const char *what);

/* The same unless @ok. */
static inline void bench_must(bool ok, const char *what)
{
    if (!ok) {
        bench_fail(what);
    }
}

/* Zeroed memory, or the end. */
void *bench_alloc(size_t count, size_t size);

uint64_t bench_now_ns(void);
uint64_t bench_cpu_ns(void);        /* of the process */
uint64_t bench_thread_cpu_ns(void); /* of the calling thread */

/* Bytes that malloc(3) has handed out and not got back, with its own heads. */
uint64_t bench_heap_bytes(void);
uint64_t bench_resident_bytes(void);

/*
 * The next below @limit, which is below 2^32, of a sequence that is the same in every program.
 * Cheap, for it is in the middle of what is timed: no call and no division.
 */
static inline uint64_t bench_random(uint64_t *state, uint64_t limit)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((*state >> 32) * limit) >> 32;
}

/* Start a thread, on the other processor if there are to be two. */
pthread_t bench_thread(const struct bench *bench, void *(*fn)(void *arg), void *arg);

/* Let this thread use both processors (@both), or what it used before. */
void bench_unpin(bool both);

/* ---- W3: taking turns ------------------------------------------------------------------------ */

/* Two threads are ready when both have called this. */
struct bench_gate {
    pthread_barrier_t barrier;
};

void bench_gate_init(struct bench_gate *gate);
void bench_gate_wait(struct bench_gate *gate);

/* ---- W4: a queue of one's own, for loops that have none -------------------------------------- */

struct bench_node {
    struct bench_node *next;
    void (*fn)(void *arg);
    void *arg;
};

struct bench_queue {
    pthread_mutex_t lock;
    struct bench_node *first; /* guarded by lock */
    struct bench_node **tail; /* guarded by lock */
};

void bench_queue_init(struct bench_queue *queue);

/* Put a new node in.  Returns: true if the queue was empty: its loop has to be woken. */
bool bench_queue_push(struct bench_queue *queue, void (*fn)(void *arg), void *arg);

/* Run and free all that is in. */
void bench_queue_run(struct bench_queue *queue);

/* A thread that pushes @count times, and calls @wake when the loop has to be woken. */
struct bench_pusher {
    struct bench_queue queue;
    uint64_t count;
    uint64_t done; /* by the loop's thread */
    void (*wake)(void *arg);
    void *arg;
};

pthread_t bench_pusher_start(const struct bench *bench, struct bench_pusher *pusher,
                             void (*wake)(void *arg), void *arg);

/* ---- W5: deadlines --------------------------------------------------------------------------- */

/* 10 to 20 s after @base_ns. */
static inline uint64_t bench_far_ns(uint64_t *random, uint64_t base_ns)
{
    return base_ns + 10 * BENCH_NS_PER_S + bench_random(random, 2500000000) * 4;
}

/* Within 100 ms after @base_ns. */
static inline uint64_t bench_near_ns(uint64_t *random, uint64_t base_ns)
{
    return base_ns + bench_random(random, 100 * BENCH_NS_PER_MS);
}

/* How long the expiry of @n timers is put off, so that all are armed before the first is due. */
uint64_t bench_arming_ns(uint64_t n);

/* ---- W6: chains over pairs of sockets -------------------------------------------------------- */

/* Handler @i reads from read_fds[i] and writes to write_fds[(i + 1) % n]. */
struct bench_chain {
    uint64_t n;
    int *read_fds;
    int *write_fds;
    uint64_t to_write; /* bytes still to be sent on */
    uint64_t to_read;  /* bytes still to arrive: 0 is the end */
};

void bench_chain_open(struct bench_chain *chain, const struct bench *bench);
void bench_chain_close(struct bench_chain *chain);

/* Write the first byte of each of bench->active chains. */
void bench_chain_start(struct bench_chain *chain, const struct bench *bench);

/* @size bytes have come.  Returns: how many of them go on. */
size_t bench_chain_take(struct bench_chain *chain, size_t size);

/* The whole handler of pair @i: read, and write to the next.  Returns: true at the end. */
bool bench_chain_step(struct bench_chain *chain, uint64_t i);

/* Register bench->n things and unregister them, over and over, and time one of the two. */
void bench_registers(struct bench *bench, bool time_add, void (*add)(void *arg),
                     void (*remove)(void *arg), void *arg);

/* ---- W7: the client of an echo server -------------------------------------------------------- */

/* bench->active connections over loopback TCP, and a thread that plays the client. */
struct bench_echo {
    const struct bench *bench;
    int *server_fds; /* non-blocking; the server closes them at end of file */
    int *client_fds;
    pthread_t thread;
    uint64_t server_cpu_ns;
};

/* Connect, begin, and start the client: bench->count messages, then it closes its ends. */
void bench_echo_start(struct bench_echo *echo, struct bench *bench);

/* Join the client, end, and note the server's processor time. */
void bench_echo_end(struct bench_echo *echo, struct bench *bench);

/* ---- W8: lateness ---------------------------------------------------------------------------- */

struct bench_sleeps {
    uint64_t count;
    uint64_t done;
    uint64_t early;
    uint64_t deadline_ns;
    uint64_t *late_ns;
};

#define BENCH_SLEEP_NS UINT64_C(1300000)

void bench_sleeps_init(struct bench_sleeps *sleeps, const struct bench *bench);

/* The next sleep begins, and is to take @delay_ns. */
void bench_sleeps_ask(struct bench_sleeps *sleeps, uint64_t delay_ns);

/* It has ended.  Returns: true if it was the last. */
bool bench_sleeps_note(struct bench_sleeps *sleeps);

void bench_sleeps_report(struct bench_sleeps *sleeps, struct bench *bench);

/* ---- W10: memory ----------------------------------------------------------------------------- */

/* Begin to count what @n things take. */
struct bench_memory {
    uint64_t heap;
    uint64_t resident;
};

void bench_memory_begin(struct bench_memory *memory);

/* Report the bytes for each of @n. */
void bench_memory_end(struct bench_memory *memory, struct bench *bench, uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
