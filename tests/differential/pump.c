/*
 * Pumps: tasks that move bytes through a stream, more than it holds, in pieces.
 */
#include "differential.h"

enum {
    PUMP_CHUNK_MAX = 4096,
    PUMP_PIECES = 3,
};

static struct pump *pump_of(struct tocsin_task *task)
{
    return (struct pump *)(void *)task;
}

/* One buffer as three pieces. */
static void cut(unsigned char *data, size_t size, struct tocsin_buffer pieces[PUMP_PIECES])
{
    size_t third = size / PUMP_PIECES;

    pieces[0] = (struct tocsin_buffer){data, third};
    pieces[1] = (struct tocsin_buffer){data + third, third};
    pieces[2] = (struct tocsin_buffer){data + 2 * third, size - 2 * third};
}

static int move(struct pump *pump, unsigned char *data, size_t size, struct tocsin_context *cx)
{
    struct tocsin_buffer pieces[PUMP_PIECES];
    bool in_pieces = pump->stream->socket != NULL &&
                     (pump->way == PUMP_READS_PIECES || pump->way == PUMP_WRITES_PIECES);

    cut(data, size, pieces);
    if (pump->way == PUMP_READS || pump->way == PUMP_READS_PIECES) {
        return in_pieces ? CALL(tocsin_socket_readv)(pump->stream->socket, pieces, PUMP_PIECES, cx)
                         : stream_read(pump->stream, data, size, cx);
    }
    return in_pieces ? CALL(tocsin_socket_writev)(pump->stream->socket, pieces, PUMP_PIECES, cx)
                     : stream_write(pump->stream, data, size, cx);
}

static int pump_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct pump *pump = pump_of(task);
    bool reads = pump->way == PUMP_READS || pump->way == PUMP_READS_PIECES;
    unsigned char data[PUMP_CHUNK_MAX];
    int r = 1;

    while (pump->done < pump->size && r > 0) {
        size_t left = (size_t)(pump->size - pump->done);
        size_t size = left < pump->chunk ? left : pump->chunk;

        if (!reads) {
            bytes_fill(data, size, pump->key, pump->done);
        }
        r = move(pump, data, size, cx);
        if (r > 0) {
            pump->same = pump->same && bytes_are(data, (size_t)r, pump->key, pump->done);
            pump->done += (unsigned)r;
        }
    }
    if (r == TOCSIN_PENDING) {
        return r;
    }
    pump->error = r < 0 ? r : 0;
    if (pump->shuts) {
        if (pump->stream->socket != NULL) {
            CALL(tocsin_socket_shutdown)(pump->stream->socket, TOCSIN_SHUTDOWN_WRITE);
        } else {
            world_shutdown(pump->run, pump->stream->end, TOCSIN_SHUTDOWN_WRITE);
        }
    }
    return 0;
}

static void pump_drop(struct tocsin_task *task)
{
    atomic_fetch_add_explicit(&pump_of(task)->run->dropped, 1, memory_order_relaxed);
}

static void pump_release(struct tocsin_task *task)
{
    struct pump *pump = pump_of(task);

    atomic_fetch_add_explicit(&pump->run->released, 1, memory_order_relaxed);
    free(pump);
}

static const struct tocsin_task_ops pump_ops = {pump_poll, pump_drop, pump_release};

struct pump *pump_start(struct run *run, struct pump what)
{
    struct pump *pump = malloc(sizeof(*pump));

    NEED(pump != NULL);
    *pump = what;
    pump->run = run;
    pump->same = true;
    if (pump->chunk == 0 || pump->chunk > PUMP_CHUNK_MAX) {
        pump->chunk = PUMP_CHUNK_MAX;
    }
    atomic_fetch_add_explicit(&run->spawned, 1, memory_order_relaxed);
    NEED(CALL(tocsin_task_spawn_ref_at)(run->driver, &pump->task, &pump_ops, "pump", TOCSIN_HERE) ==
         0);
    return pump;
}

static int join(struct actor *actor, struct pump *pump, int *out_result)
{
    struct tocsin_join join;
    int r;

    if (actor->by == BY_THREAD) {
        return CALL(tocsin_task_join)(&pump->task, out_result);
    }
    CALL(tocsin_join_init)(&join, &pump->task);
    do {
        r = CALL(tocsin_join_poll)(&join, actor->cx, out_result);
    } while (again(actor, r));
    CALL(tocsin_join_deinit)(&join);
    return r;
}

void pump_join(struct actor *actor, struct pump *pump)
{
    int result = -1;

    say(actor, " %d", join(actor, pump, &result));
    say(actor, " %d: %u %s %d", result, (unsigned)pump->done, pump->same ? "same" : "other bytes",
        pump->error);
    CALL(tocsin_task_unref)(&pump->task);
}

void pump_cancel(struct actor *actor, struct pump *pump)
{
    int result = -1;

    say(actor, " cancel %d", CALL(tocsin_task_cancel)(&pump->task));
    say(actor, " join %d", join(actor, pump, &result));
    say(actor, " %d", result);
    CALL(tocsin_task_unref)(&pump->task);
}
