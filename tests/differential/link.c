/*
 * Links: from an actor to a later one, in four makes.
 *
 *   cell    a counter and a waker in memory
 *   stream  a socket pair
 *   pipe
 *   event   an eventfd, waited for by struct tocsin_wait
 *
 * A receiver takes exactly as much as it asked for, or what there was when the sender had ended.
 * Where one of the two is a thread, it uses its end by plain system calls; threads receive from
 * cells only.
 *
 * Both ends stay until the phase has ended: a sender does not see its receiver go.
 */
#include "differential.h"

#include <unistd.h>

#define EVENT_END (UINT64_C(1) << 32)

enum make {
    MAKE_CELL,
    MAKE_STREAM,
    MAKE_PIPE,
    MAKE_EVENT,
    MAKES,
};

struct link {
    enum make make;
    uint32_t key;
    uint64_t sent;     /* the sender's */
    uint64_t received; /* the receiver's */
    intptr_t ends[2];  /* the receiver's, the sender's */
    bool stream_in;    /* opened as a stream */
    bool stream_out;
    bool ended; /* the sender's */
    struct stream in;
    struct stream out;
    struct tocsin_wait *wait;
    struct tocsin_fd_ready *ready; /* a simulation's event */
    uint64_t counted;              /* of the event, by the receiver */

    pthread_mutex_t lock;
    uint64_t cell;             /* guarded by lock */
    struct tocsin_waker waker; /* guarded by lock */
};

static void send_op(struct actor *actor);
static void receive_op(struct actor *actor);

bool op_is_send(const struct op *op)
{
    return op->kind->run == send_op;
}

bool op_is_receive(const struct op *op)
{
    return op->kind->run == receive_op;
}

/* The other side of the link that @op means, of so many actors; 0: there is none. */
static unsigned other_of(const struct op *op, unsigned actors)
{
    if (op_is_send(op)) {
        return op->actor + 1 >= actors ? 0 : op->actor + 1 + op->p[0] % (actors - op->actor - 1);
    }
    return op->actor <= 1 ? 0 : 1 + op->p[0] % (op->actor - 1);
}

struct link *link_from(struct actor *actor)
{
    unsigned to = other_of(actor->op, actor->run->program->actors[actor->phase]);

    return to == 0 ? NULL : actor->run->links[actor->index][to];
}

struct link *link_to(struct actor *actor)
{
    unsigned from = other_of(actor->op, actor->run->program->actors[actor->phase]);

    return from == 0 ? NULL : actor->run->links[from][actor->index];
}

/* ---- Open and close -------------------------------------------------------------------------- */

static struct link *link_open(struct run *run, unsigned from, unsigned to)
{
    static const enum pair_kind kinds[] = {0, PAIR_STREAM, PAIR_PIPE, PAIR_EVENT};
    struct link *link = calloc(1, sizeof(*link));

    NEED(link != NULL);
    NEED(pthread_mutex_init(&link->lock, NULL) == 0);
    link->key = (uint32_t)run->program->seed + from * 16 + to;
    link->make = run->actors[to].by == BY_THREAD ? MAKE_CELL : (enum make)(link->key % MAKES);
    if (link->make == MAKE_CELL) {
        return link;
    }
    world_pair(&run->actors[0], kinds[link->make], link->ends);
    if (link->make != MAKE_EVENT) {
        link->stream_in = true;
        stream_open(&link->in, run, kinds[link->make], link->ends[0]);
        link->stream_out = run->actors[from].by == BY_TASK;
        if (link->stream_out) {
            stream_open(&link->out, run, kinds[link->make], link->ends[1]);
        }
    } else if (run->sim != NULL) {
        NEED(world_ready_open(run, link->ends[0], &link->ready) == 0);
    } else {
        NEED(CALL(tocsin_wait_open)(run->driver, (int)link->ends[0], &link->wait) == 0);
    }
    return link;
}

void links_open(struct run *run, unsigned phase)
{
    const struct program *program = run->program;

    for (unsigned i = 0; i < program->ops_count; i++) {
        const struct op *op = &program->ops[i];
        unsigned other = other_of(op, program->actors[phase]);
        unsigned from = op_is_send(op) ? op->actor : other;
        unsigned to = op_is_send(op) ? other : op->actor;

        if (op->phase == phase && (op_is_send(op) || op_is_receive(op)) && other != 0 &&
            run->links[from][to] == NULL) {
            run->links[from][to] = link_open(run, from, to);
        }
    }
}

static void link_close(struct run *run, struct link *link)
{
    if (link->stream_in) {
        EXPECT(&run->actors[0], stream_close(&link->in) == 0);
    }
    if (link->make == MAKE_EVENT) {
        CALL(tocsin_wait_close)(link->wait);
        CALL(tocsin_fd_ready_close)(link->ready);
        world_close(run, link->ends[0]);
    }
    CALL(tocsin_waker_drop)(&link->waker);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

void links_close(struct run *run)
{
    for (unsigned from = 0; from < ACTORS_MAX; from++) {
        for (unsigned to = 0; to < ACTORS_MAX; to++) {
            if (run->links[from][to] != NULL) {
                link_close(run, run->links[from][to]);
                run->links[from][to] = NULL;
            }
        }
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void cell_add(struct link *link, uint64_t count)
{
    struct tocsin_waker waker;

    pthread_mutex_lock(&link->lock);
    link->cell += count;
    waker = CALL(tocsin_waker_clone)(&link->waker);
    pthread_mutex_unlock(&link->lock);
    CALL(tocsin_waker_wake)(&waker);
}

static void event_add(struct run *run, struct link *link, uint64_t count)
{
    NEED(world_write(run, link->ends[1], &count, sizeof(count)) == sizeof(count));
}

static void link_end(struct run *run, struct link *link)
{
    if (link->make == MAKE_CELL) {
        cell_add(link, EVENT_END);
    } else if (link->make == MAKE_EVENT) {
        event_add(run, link, EVENT_END);
    } else if (link->stream_out) {
        stream_close(&link->out);
    } else {
        world_close(run, link->ends[1]);
    }
}

void links_end(struct actor *actor)
{
    for (unsigned to = actor->index + 1; to < ACTORS_MAX; to++) {
        if (actor->index != 0 && actor->run->links[actor->index][to] != NULL) {
            link_end(actor->run, actor->run->links[actor->index][to]);
        }
    }
}

static int bytes_send(struct actor *actor, struct link *link, const unsigned char *data,
                      size_t size)
{
    size_t done = 0;

    while (done < size) {
        int r;

        if (actor->by == BY_THREAD) {
            r = world_write(actor->run, link->ends[1], data + done, size - done);
        } else {
            do {
                r = stream_write(&link->out, data + done, size - done, actor->cx);
            } while (again(actor, r));
        }
        if (r < 0) {
            return r;
        }
        done += (size_t)r;
    }
    return (int)done;
}

static void send_op(struct actor *actor)
{
    unsigned char data[LINK_SEND_MAX];
    struct link *link = link_from(actor);
    size_t size = pick_from(actor, 1, 1, LINK_SEND_MAX);
    int r = (int)size;

    if (link == NULL) {
        say(actor, " nobody");
        return;
    }
    if (link->make == MAKE_CELL) {
        cell_add(link, size);
    } else if (link->make == MAKE_EVENT) {
        event_add(actor->run, link, size);
    } else {
        bytes_fill(data, size, link->key, link->sent);
        r = bytes_send(actor, link, data, size);
    }
    link->sent += size;
    say(actor, " %d", r);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

struct receive {
    struct actor *actor;
    struct link *link;
    uint64_t wanted; /* in all, of this link */
};

static int cell_poll(struct tocsin_context *cx, void *arg)
{
    struct receive *receive = arg;
    struct link *link = receive->link;
    struct tocsin_waker old = {NULL, NULL};
    bool ready;

    pthread_mutex_lock(&link->lock);
    ready = link->cell >= receive->wanted;
    link->counted = link->cell;
    if (!ready && !CALL(tocsin_waker_will_wake)(&link->waker, &cx->waker)) {
        old = link->waker;
        link->waker = CALL(tocsin_waker_clone)(&cx->waker);
    }
    pthread_mutex_unlock(&link->lock);
    CALL(tocsin_waker_drop)(&old);
    return ready ? 0 : TOCSIN_PENDING;
}

static int try_event(intptr_t end, void *arg)
{
    struct receive *receive = arg;
    uint64_t count;
    int r = world_read(receive->actor->run, end, &count, sizeof(count));

    receive->link->counted += r < 0 ? 0 : count;
    return r < 0 ? r : 0;
}

static int event_poll(struct tocsin_context *cx, void *arg)
{
    struct receive *receive = arg;
    struct link *link = receive->link;
    uint64_t count;
    int r = 0;

    while (link->counted < receive->wanted && r == 0) {
        if (link->wait == NULL) {
            r = CALL(tocsin_fd_ready_poll_io)(link->ready, TOCSIN_SLOT_READ, TOCSIN_IN, try_event,
                                              receive, cx);
        } else {
            r = CALL(tocsin_wait_poll)(link->wait, cx, &count);
            link->counted += r == 0 ? count : 0;
        }
    }
    return r;
}

/* What was counted beyond the end's mark: how much may be taken. */
static void counts_receive(struct actor *actor, struct receive *receive)
{
    struct link *link = receive->link;
    uint64_t there;
    int r;

    r = await(actor, link->make == MAKE_CELL ? cell_poll : event_poll, receive);
    there = link->counted % EVENT_END;
    if (there > receive->wanted) {
        there = receive->wanted;
    }
    say(actor, " %d %u", r, (unsigned)(there - link->received));
    link->received = there;
}

static void bytes_receive(struct actor *actor, struct receive *receive)
{
    unsigned char data[LINK_SEND_MAX];
    struct link *link = receive->link;
    uint64_t before = link->received;
    bool same = true;
    int r = 1;

    while (r > 0 && link->received < receive->wanted) {
        do {
            r = stream_read(&link->in, data, receive->wanted - link->received, actor->cx);
        } while (again(actor, r));
        if (r > 0) {
            same = same && bytes_are(data, (size_t)r, link->key, link->received);
            link->received += (unsigned)r;
        }
    }
    say(actor, " %s %u %s",
        r > 0    ? "more"
        : r == 0 ? "end"
                 : strerror(-r),
        (unsigned)(link->received - before), same ? "same" : "other bytes");
}

static void receive_op(struct actor *actor)
{
    struct link *link = link_to(actor);
    struct receive receive = {actor, link, 0};

    if (link == NULL) {
        say(actor, " nobody");
        return;
    }
    receive.wanted = link->received + pick_from(actor, 1, 1, LINK_SEND_MAX);
    if (link->make == MAKE_CELL || link->make == MAKE_EVENT) {
        counts_receive(actor, &receive);
    } else {
        bytes_receive(actor, &receive);
    }
}

static const struct op_kind ops_link_kinds[] = {
    {"send", send_op, BY_TASK | BY_THREAD, 0, 40},
    {"receive", receive_op, BY_TASK | BY_THREAD, 0, 40},
};

OP_GROUP(ops_link);
