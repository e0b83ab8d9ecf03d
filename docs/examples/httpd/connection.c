/*
 * One connection of the file server: a task that reads a request, answers it, and begins again.
 *
 *        .------------- the answer was not the last -------------.
 *        v                                                       |
 *     READING --> SKIPPING --> SENDING --> SENDING_FILE --> (answered) --> LINGERING --> end
 *   (a head)     (a body)     (head, text)                               (close politely)
 *
 * Each state is a function that goes on until it has changed the state, or must wait.  It then
 * returns TOCSIN_PENDING: the socket, or the timer that each poll polls first, has kept the waker.
 *
 *   C1  The deadline is always armed: idle before a request's first byte and while the client takes
 *       nothing of the answer; a request's own from its first byte on, however slowly more come.
 *   C2  A poll takes at most STEPS_MAX steps and moves at most SEND_CHUNK_MAX bytes of a file, and
 *       then lets the other tasks run: one client with a fast line and much to ask delays nobody.
 *   C3  A connection holds its buffers and at most two descriptors, whatever the client sends.
 *   C4  After an answer that could leave bytes of the client unread, the connection is shut down
 *       and drained before it is closed: closing it at once would make the kernel send a reset, and
 *       that can destroy the answer on its way.
 */
#include "httpd/connection.h"

#include "httpd/reply.h"
#include "httpd/request.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SEND_CHUNK_MAX = 256 * 1024,
    BODY_MAX = 64 * 1024,    /* of a request; nobody needs one here, but it may be skipped */
    LINGER_MAX = 256 * 1024, /* bytes to drain */
    STEPS_MAX = 16,          /* a request takes four or five */
};

#define LINGER_NS UINT64_C(1000000000)

enum connection_state {
    CONNECTION_READING,
    CONNECTION_SKIPPING,
    CONNECTION_SENDING,
    CONNECTION_SENDING_FILE,
    CONNECTION_LINGERING,
};

struct connection {
    struct tocsin_task task;
    struct connections *all;
    struct connection *next;
    struct connection **link; /* what points here */
    struct tocsin_socket *socket;
    struct tocsin_timer timer; /* C1 */
    enum connection_state state;
    bool has_moved;      /* bytes were sent since the deadline was armed */
    size_t sent;         /* of the reply's head and text */
    uint64_t skip_left;  /* of the request's body; LINGERING: of what may be drained */
    size_t request_size; /* bytes of @in that belong to the request which is answered */
    size_t in_size;
    struct request request; /* points into @in */
    struct reply reply;
    char in[REQUEST_HEAD_MAX];
};

enum {
    STEP_AGAIN = 1, /* the state has changed */
};

static struct connection *connection_of(struct tocsin_task *task)
{
    return (struct connection *)((char *)task - offsetof(struct connection, task));
}

static void connection_arm(struct connection *c, uint64_t delay_ns)
{
    tocsin_timer_arm(&c->timer, tocsin_driver_now_ns(c->all->driver) + delay_ns);
    c->has_moved = false;
}

static int connection_await_request(struct connection *c)
{
    request_init(&c->request);
    c->state = CONNECTION_READING;
    connection_arm(c, c->in_size > 0 ? c->all->header_ns : c->all->idle_ns);
    return STEP_AGAIN;
}

/* @status 0: with what the request deserves; else refuse it. */
static int connection_answer(struct connection *c, int status)
{
    if (status == 0) {
        /*
         * A client that waits for "100 Continue" is told the end of the matter instead; whether it
         * then sends its body all the same is not to be known, so what follows cannot be read.
         */
        bool is_last =
            c->all->is_stopping || (c->request.expects_continue && c->request.content_length > 0);

        reply_make(&c->reply, &c->all->site, &c->request, is_last);
    } else {
        reply_make_refusal(&c->reply, &c->request, status);
    }
    c->sent = 0;
    c->state = CONNECTION_SENDING;
    connection_arm(c, c->all->idle_ns);
    return STEP_AGAIN;
}

/* The head is complete. */
static int connection_take_request(struct connection *c)
{
    uint64_t length = c->request.content_length;
    size_t there = c->in_size - c->request.head_size;

    c->request_size = c->request.head_size;
    if (c->request.expects_continue && length > 0) {
        return connection_answer(c, 0);
    }
    if (length > BODY_MAX) {
        return connection_answer(c, 413);
    }
    if (length <= there) {
        c->request_size += (size_t)length;
        return connection_answer(c, 0);
    }
    c->request_size = c->in_size;
    c->skip_left = length - there;
    c->state = CONNECTION_SKIPPING;
    return STEP_AGAIN;
}

static int connection_read(struct connection *c, struct tocsin_context *cx)
{
    int status = request_parse(&c->request, c->in, c->in_size);
    int r;

    if (status == REQUEST_DONE) {
        return connection_take_request(c);
    }
    if (status != REQUEST_MORE) {
        return connection_answer(c, status);
    }
    r = tocsin_socket_read(c->socket, c->in + c->in_size, sizeof(c->in) - c->in_size, cx);
    if (r == TOCSIN_PENDING) {
        return c->in_size == 0 && c->all->is_stopping ? 0 : TOCSIN_PENDING;
    }
    if (r <= 0) {
        return r; /* the client has gone, in the middle of a request or not */
    }
    if (c->in_size == 0) {
        connection_arm(c, c->all->header_ns);
    }
    c->in_size += (size_t)r;
    return STEP_AGAIN;
}

static int connection_skip(struct connection *c, struct tocsin_context *cx)
{
    char scratch[4096];
    size_t size = c->skip_left < sizeof(scratch) ? (size_t)c->skip_left : sizeof(scratch);
    int r;

    if (c->skip_left == 0) {
        return connection_answer(c, 0);
    }
    r = tocsin_socket_read(c->socket, scratch, size, cx);
    if (r <= 0) {
        return r; /* pending among them */
    }
    c->skip_left -= (uint64_t)r;
    return STEP_AGAIN;
}

/* The answer is out. */
static int connection_answered(struct connection *c)
{
    bool was_last = c->reply.is_last;

    reply_clear(&c->reply);
    if (was_last) {
        tocsin_socket_shutdown(c->socket, TOCSIN_SHUTDOWN_WRITE);
        c->skip_left = LINGER_MAX;
        c->state = CONNECTION_LINGERING;
        connection_arm(c, LINGER_NS);
        return STEP_AGAIN;
    }
    c->in_size -= c->request_size;
    memmove(c->in, c->in + c->request_size, c->in_size);
    return connection_await_request(c);
}

/* A tocsin_io_fn: send what is left of the head and the text. */
static int send_once(intptr_t fd, void *arg)
{
    struct connection *c = arg;
    struct reply *reply = &c->reply;
    size_t head_sent = c->sent < reply->head_size ? c->sent : reply->head_size;
    struct iovec pieces[2] = {
        {.iov_base = reply->head + head_sent, .iov_len = reply->head_size - head_sent},
        {.iov_len = reply->text_size - (c->sent - head_sent)},
    };
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t r;

    if (pieces[1].iov_len > 0) {
        pieces[1].iov_base = (char *)reply->text + (c->sent - head_sent);
    }
    /* MSG_MORE: the head shares a packet with the file's first bytes. */
    r = sendmsg((int)fd, &message, MSG_NOSIGNAL | (reply->file_left > 0 ? MSG_MORE : 0));
    return r < 0 ? -errno : (int)r;
}

/* A tocsin_io_fn: the file's pages go into the socket without a copy in between. */
static int send_file_once(intptr_t fd, void *arg)
{
    struct connection *c = arg;
    off_t offset = (off_t)c->reply.file_offset;
    uint64_t left = c->reply.file_left;
    ssize_t r = sendfile((int)fd, c->reply.file_fd, &offset,
                         left < SEND_CHUNK_MAX ? (size_t)left : SEND_CHUNK_MAX);

    return r < 0 ? -errno : (int)r;
}

/* Waiting for the client to take something: C1. */
static int connection_await_room(struct connection *c)
{
    if (c->has_moved) {
        connection_arm(c, c->all->idle_ns);
    }
    return TOCSIN_PENDING;
}

static int connection_send(struct connection *c, struct tocsin_context *cx)
{
    int r = tocsin_socket_poll_io(c->socket, TOCSIN_SLOT_WRITE, TOCSIN_OUT, send_once, c, cx);

    if (r == TOCSIN_PENDING) {
        return connection_await_room(c);
    }
    if (r < 0) {
        return r;
    }
    c->has_moved = true;
    c->sent += (size_t)r;
    if (c->sent < c->reply.head_size + c->reply.text_size) {
        return STEP_AGAIN;
    }
    if (c->reply.file_left > 0) {
        c->state = CONNECTION_SENDING_FILE;
        return STEP_AGAIN;
    }
    return connection_answered(c);
}

static int connection_send_file(struct connection *c, struct tocsin_context *cx)
{
    int r = tocsin_socket_poll_io(c->socket, TOCSIN_SLOT_WRITE, TOCSIN_OUT, send_file_once, c, cx);

    if (r == TOCSIN_PENDING) {
        return connection_await_room(c);
    }
    if (r < 0) {
        return r;
    }
    if (r == 0) {
        return -EIO; /* the file is shorter than was promised: break off, so that the client sees */
    }
    c->has_moved = true;
    c->reply.file_offset += (uint64_t)r;
    c->reply.file_left -= (uint64_t)r;
    return c->reply.file_left == 0 ? connection_answered(c) : tocsin_task_yield(cx); /* C2 */
}

/* C4: until the client has closed its side too. */
static int connection_linger(struct connection *c, struct tocsin_context *cx)
{
    int r = tocsin_socket_read(c->socket, c->in, sizeof(c->in), cx);

    if (r <= 0) {
        return r;
    }
    if ((uint64_t)r >= c->skip_left) {
        return 0;
    }
    c->skip_left -= (uint64_t)r;
    return STEP_AGAIN;
}

/* The deadline has passed. */
static int connection_time_out(struct connection *c)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    switch (c->state) {
    case CONNECTION_READING:
        return c->in_size > 0 ? connection_answer(c, 408) : 0;
    case CONNECTION_SKIPPING:
        return connection_answer(c, 408);
    case CONNECTION_SENDING:
    case CONNECTION_SENDING_FILE:
        /* Else the kernel would go on offering what is in its buffer, for minutes. */
        setsockopt((int)tocsin_socket_fd(c->socket), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        return -ETIMEDOUT;
    case CONNECTION_LINGERING:
        return 0;
    }
    abort();
}

static int connection_step(struct connection *c, struct tocsin_context *cx)
{
    switch (c->state) {
    case CONNECTION_READING:
        return connection_read(c, cx);
    case CONNECTION_SKIPPING:
        return connection_skip(c, cx);
    case CONNECTION_SENDING:
        return connection_send(c, cx);
    case CONNECTION_SENDING_FILE:
        return connection_send_file(c, cx);
    case CONNECTION_LINGERING:
        return connection_linger(c, cx);
    }
    abort();
}

static int connection_poll(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct connection *c = connection_of(task);

    /* A deadline that has passed may lead to a new one, which wants its waker too. */
    while (tocsin_timer_poll(&c->timer, cx, 0) != TOCSIN_PENDING) {
        int r = connection_time_out(c);

        if (r != STEP_AGAIN) {
            return r;
        }
    }
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        int r = connection_step(c, cx);

        if (r != STEP_AGAIN) {
            return r;
        }
    }
    return tocsin_task_yield(cx); /* C2 */
}

static void connection_drop(struct tocsin_task *task)
{
    struct connection *c = connection_of(task);

    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
    reply_clear(&c->reply);
    tocsin_timer_deinit(&c->timer);
    tocsin_socket_close(c->socket);
    acceptor_give_back(c->all->acceptor);
}

static void connection_release(struct tocsin_task *task)
{
    free(connection_of(task));
}

int connections_add(struct connections *all, intptr_t fd)
{
    static const struct tocsin_task_ops ops = {
        .poll = connection_poll,
        .drop = connection_drop,
        .release = connection_release,
    };
    static const int yes = 1;
    struct connection *c = malloc(sizeof(*c));
    int r = -ENOMEM;

    if (c == NULL) {
        goto err_fd;
    }
    c->all = all;
    c->in_size = 0;
    reply_init(&c->reply);
    r = tocsin_timer_init(&c->timer, all->driver, NULL, NULL);
    if (r < 0) {
        goto err_connection;
    }
    r = tocsin_socket_open(all->driver, fd, &c->socket);
    if (r < 0) {
        goto err_timer;
    }
    r = tocsin_task_spawn(all->driver, &c->task, &ops, "connection");
    if (r < 0) {
        fd = tocsin_socket_release(c->socket);
        goto err_timer;
    }
    /* Answers go out when they are whole: send_once() says when more is to come. */
    setsockopt((int)fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    connection_await_request(c);
    c->next = all->first;
    c->link = &all->first;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    all->first = c;
    return 0;

err_timer:
    tocsin_timer_deinit(&c->timer);
err_connection:
    free(c);
err_fd:
    close((int)fd);
    return r;
}

void connections_stop(struct connections *all)
{
    all->is_stopping = true;
    /*
     * Each looks at is_stopping once there is nothing more to read: a request that the pool has
     * heard of by now, or whose connection was accepted just now, is answered.
     */
    for (struct connection *c = all->first; c != NULL; c = c->next) {
        struct tocsin_waker waker = tocsin_task_waker(&c->task);

        tocsin_waker_wake(&waker);
    }
}
