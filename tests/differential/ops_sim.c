/*
 * Operations that only a simulation has; and where its answers are those of a socket, they are held
 * against a socket's.
 */
#include "differential.h"

#include <sys/socket.h>
#include <tocsin/sim.h>
#include <unistd.h>

#define SLEEP_NS UINT64_C(1000000)

/* What a simulation says of itself. */
static void look_at_sim(struct actor *actor)
{
    struct tocsin_sim *sim = actor->run->sim;
    char report[1024];
    uint64_t hash = CALL(tocsin_sim_hash)(sim);

    EXPECT(actor, CALL(tocsin_sim_current)() == sim);
    EXPECT(actor, CALL(tocsin_sim_seed)(sim) == actor->run->program->seed);
    EXPECT(actor, CALL(tocsin_sim_random)(sim) != 0);
    EXPECT(actor, CALL(tocsin_sim_random)(sim) != CALL(tocsin_sim_random)(sim));
    EXPECT(actor, CALL(tocsin_sim_hash)(sim) != hash);
    EXPECT(actor, CALL(tocsin_sim_report)(sim, report, sizeof(report)) > 0);
    EXPECT(actor, strlen(report) > 0);
}

/* Time goes by as told, and not while somebody holds it. */
static void pass_time(struct actor *actor)
{
    struct tocsin_sim *sim = actor->run->sim;
    uint64_t began_ns = CALL(tocsin_sim_now_ns)(sim);

    EXPECT(actor, CALL(tocsin_sim_pass)(sim, SLEEP_NS) == 0);
    EXPECT(actor, CALL(tocsin_sim_now_ns)(sim) >= began_ns + SLEEP_NS);
    CALL(tocsin_sim_hold)(sim);
    EXPECT(actor, CALL(tocsin_sim_pass)(sim, 1) == -EBUSY);
    CALL(tocsin_sim_unhold)(sim);
}

static bool is_set(void *arg)
{
    return atomic_load_explicit((atomic_uint *)arg, memory_order_acquire) != 0;
}

static void set(void *arg, int status)
{
    (void)status;
    atomic_store_explicit((atomic_uint *)arg, 1, memory_order_release);
}

/* A thread waits for the pool, sleeps and gives way. */
static void rest(struct actor *actor)
{
    struct tocsin_sim *sim = actor->run->sim;
    uint64_t began_ns = CALL(tocsin_sim_now_ns)(sim);
    atomic_uint flag = 0;

    EXPECT(actor, CALL(tocsin_post)(actor->run->driver, set, &flag) == 0);
    EXPECT(actor, CALL(tocsin_sim_await)(sim, is_set, &flag) == 0);

    EXPECT(actor, CALL(tocsin_sim_sleep)(sim, SLEEP_NS) == 0);
    EXPECT(actor, CALL(tocsin_sim_now_ns)(sim) >= began_ns + SLEEP_NS);
    EXPECT(actor, CALL(tocsin_sim_yield)(sim) == 0);
}

/* ---- Held against a socket ------------------------------------------------------------------- */

/* A byte out of band, on a connection of the kernel's or of the simulation's. */
static int urgent_write(struct run *run, intptr_t end, unsigned char byte)
{
    if (run->sim != NULL) {
        return CALL(tocsin_sim_object_write_urgent)(run->sim, end, byte);
    }
    return send((int)end, &byte, 1, MSG_OOB) == 1 ? 0 : -errno;
}

static int urgent_read(struct run *run, intptr_t end, unsigned char *out_byte)
{
    if (run->sim != NULL) {
        return CALL(tocsin_sim_object_read_urgent)(run->sim, end, out_byte);
    }
    return recv((int)end, out_byte, 1, MSG_OOB) == 1 ? 0 : -errno;
}

static void urgent_byte(struct actor *actor)
{
    struct run *run = actor->run;
    struct tocsin_fd_ready *ready;
    unsigned char byte = 0;
    intptr_t ends[2];
    int r;

    world_pair(actor, PAIR_TCP, ends);
    NEED(world_ready_open(run, ends[0], &ready) == 0);
    say(actor, " write %d", urgent_write(run, ends[1], (unsigned char)pick(actor, 0, 200)));
    do {
        r = CALL(tocsin_fd_ready_poll)(ready, TOCSIN_SLOT_READ, TOCSIN_PRI, actor->cx);
    } while (again(actor, r));
    say(actor, " pri %d", r & TOCSIN_PRI);
    say(actor, " read %d", urgent_read(run, ends[0], &byte));
    say(actor, " %u", byte);
    say(actor, " close %d", CALL(tocsin_fd_ready_close)(ready));
    world_close(run, ends[0]);
    world_close(run, ends[1]);
}

/* The peer breaks the connection: a kernel's socket does so by a linger of no time. */
static void reset_connection(struct actor *actor)
{
    struct run *run = actor->run;
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    struct stream stream;
    unsigned char byte;
    intptr_t ends[2];
    int r;

    world_pair(actor, PAIR_TCP, ends);
    stream_open(&stream, run, PAIR_TCP, ends[0]);
    if (run->sim != NULL) {
        say(actor, " %d", CALL(tocsin_sim_object_reset)(run->sim, ends[1]));
        EXPECT(actor, CALL(tocsin_sim_object_events)(run->sim, ends[0]) >= 0);
    } else {
        say(actor, " %d", setsockopt((int)ends[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
    }
    world_close(run, ends[1]);
    do {
        r = stream_read(&stream, &byte, 1, actor->cx);
    } while (again(actor, r));
    say(actor, " read %d", r);
    say(actor, " close %d", stream_close(&stream));
}

static const struct op_kind ops_sim_kinds[] = {
    {"look_at_sim", look_at_sim, BY_MAIN | BY_TASK | BY_THREAD, TOCSIN_BACKEND_OWN_SOURCES, 8},
    {"pass_time", pass_time, BY_MAIN | BY_TASK | BY_THREAD, TOCSIN_BACKEND_OWN_SOURCES, 8},
    {"rest", rest, BY_THREAD, TOCSIN_BACKEND_OWN_SOURCES, 10},
    {"urgent_byte", urgent_byte, BY_TASK, TOCSIN_BACKEND_EXACT_EVENTS, 10},
    {"reset_connection", reset_connection, BY_TASK, 0, 10},
};

OP_GROUP(ops_sim);
