/*
 * A network stack in user space, of a page or two: connections in memory, whose ends are vpoll
 * descriptors, so that a program which waits by epoll cannot tell them from TCP's.
 *
 * The stack is the first half: an end has what its peer has sent it, and after everything that
 * happens end_update() says which events are true now.  The second half is that program: it does
 * the same with two ends of the stack and with two TCP sockets, and prints what epoll reports.
 *
 * Run:   vpoll_stack          (0: no difference; 77: no provider is exact here, and why)
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <tocsin/vpoll.h>
#include <unistd.h>

enum {
    WINDOW = 64 * 1024,
    TRIES = 100,
    TRY_MS = 20,
    STATUS_SKIPPED = 77,
    EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP,
};

/* ---- The stack ------------------------------------------------------------------------------- */

struct end {
    int fd;
    struct end *peer;
    size_t unread;    /* bytes; what they say does not matter here */
    bool has_urgent;  /* a byte out of band */
    bool is_finished; /* it sends no more */
    bool is_reset;
};

/* The events of an end, as tcp(7) has them. */
static void end_update(struct end *end)
{
    bool has_end = end->is_reset || end->peer->is_finished;
    bool has_both = end->is_reset || (end->peer->is_finished && end->is_finished);
    bool has_room = has_both || end->is_finished || end->peer->unread < WINDOW;
    uint32_t events = 0;

    events |= end->unread > 0 || has_end ? TOCSIN_VPOLL_IN : 0;
    events |= end->has_urgent ? TOCSIN_VPOLL_PRI : 0;
    events |= has_room ? TOCSIN_VPOLL_OUT : 0;
    events |= has_end ? TOCSIN_VPOLL_RDHUP : 0;
    events |= has_both ? TOCSIN_VPOLL_HUP : 0;
    events |= end->is_reset ? TOCSIN_VPOLL_ERR : 0;
    tocsin_vpoll_ctl(end->fd, TOCSIN_VPOLL_SET, events);
}

static void both_update(struct end *end)
{
    end_update(end->peer);
    end_update(end);
}

static int stack_connect(struct end ends[2])
{
    memset(ends, 0, 2 * sizeof(*ends));
    for (int i = 0; i < 2; i++) {
        ends[i].peer = &ends[1 - i];
        ends[i].fd = tocsin_vpoll_create(0, TOCSIN_VPOLL_CLOEXEC | TOCSIN_VPOLL_STRICT);
        if (ends[i].fd < 0) {
            return ends[i].fd;
        }
    }
    both_update(&ends[0]);
    return 0;
}

static void stack_send(struct end *end, size_t size)
{
    size_t room = WINDOW - end->peer->unread;

    end->peer->unread += size < room ? size : room;
    both_update(end);
}

static void stack_send_urgent(struct end *end)
{
    end->peer->has_urgent = true;
    both_update(end);
}

static void stack_receive_all(struct end *end)
{
    end->unread = 0;
    end->has_urgent = false;
    both_update(end);
}

static void stack_finish(struct end *end)
{
    end->is_finished = true;
    both_update(end);
}

static void stack_reset(struct end *end)
{
    end->peer->is_reset = true;
    both_update(end);
}

static void stack_close(struct end ends[2])
{
    tocsin_vpoll_close(ends[0].fd);
    tocsin_vpoll_close(ends[1].fd);
}

/* ---- TCP, to be compared with ---------------------------------------------------------------- */

static void or_die(bool held, const char *what)
{
    if (!held) {
        perror(what);
        exit(1);
    }
}

static void tcp_connect(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    or_die(bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    or_die(listen(listener, 1) == 0, "listen");
    or_die(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    or_die(connect(fds[0], (struct sockaddr *)&address, size) == 0, "connect");
    fds[1] = accept(listener, NULL, NULL);
    or_die(fds[1] >= 0, "accept");
    close(listener);
}

static void tcp_send(int fd, size_t size)
{
    static char bytes[1 << 16];
    size_t left = size;

    while (left > 0) {
        ssize_t sent = send(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), MSG_DONTWAIT);

        if (sent <= 0) {
            return; /* it is full */
        }
        left -= (size_t)sent;
    }
}

static void tcp_receive_all(int fd)
{
    static char bytes[1 << 16];

    recv(fd, bytes, 1, MSG_OOB | MSG_DONTWAIT);
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

static void tcp_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
}

/* ---- The program that waits ------------------------------------------------------------------ */

enum step {
    CONNECT,
    SEND,
    READ,
    URGENT,
    READ_URGENT,
    FILL,
    DRAIN,
    FINISH,
    FINISH_TOO,
    STEPS_COUNT,
};

static const char *const step_names[STEPS_COUNT] = {
    "connected",  "a sends",           "b reads", "a sends urgently", "b reads that",
    "a fills it", "b reads all of it", "a ends",  "b ends",
};

/* What epoll reports of @fd now, without knowing of what kind it is. */
static uint32_t events_of(int fd)
{
    struct epoll_event event = {.events = EVENTS};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint32_t events;

    or_die(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    events = epoll_wait(epoll, &event, 1, 0) == 1 ? event.events : 0;
    close(epoll);
    return events;
}

static void stack_step(struct end ends[2], enum step step)
{
    switch (step) {
    case CONNECT:
    case STEPS_COUNT:
        return;
    case SEND:
        stack_send(&ends[0], 5);
        return;
    case URGENT:
        stack_send_urgent(&ends[0]);
        return;
    case FILL:
        stack_send(&ends[0], SIZE_MAX);
        return;
    case READ:
    case READ_URGENT:
    case DRAIN:
        stack_receive_all(&ends[1]);
        return;
    case FINISH:
        stack_finish(&ends[0]);
        return;
    case FINISH_TOO:
        stack_finish(&ends[1]);
        return;
    }
}

static void tcp_step(int fds[2], enum step step)
{
    switch (step) {
    case CONNECT:
    case STEPS_COUNT:
        return;
    case SEND:
        tcp_send(fds[0], 5);
        return;
    case URGENT:
        send(fds[0], "!", 1, MSG_OOB);
        return;
    case FILL:
        tcp_send(fds[0], SIZE_MAX);
        return;
    case READ:
    case READ_URGENT:
    case DRAIN:
        tcp_receive_all(fds[1]);
        return;
    case FINISH:
        shutdown(fds[0], SHUT_WR);
        return;
    case FINISH_TOO:
        shutdown(fds[1], SHUT_WR);
        return;
    }
}

/* The same once @wanted has come: TCP takes its time for a segment, and an acknowledgement. */
static uint32_t settled_events_of(int fd, uint32_t wanted)
{
    struct epoll_event event = {.events = EVENTS | EPOLLET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint32_t events = events_of(fd);

    or_die(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    for (int i = 0; i < TRIES && events != wanted; i++) {
        epoll_wait(epoll, &event, 1, TRY_MS); /* until something changes */
        events = events_of(fd);
    }
    close(epoll);
    return events;
}

static int compare(const char *name, int stack_fd, int tcp_fd)
{
    uint32_t ours = events_of(stack_fd);
    uint32_t theirs = settled_events_of(tcp_fd, ours);

    printf("%-18s %5x %5x%s\n", name, ours, theirs, ours == theirs ? "" : "   differ");
    return ours != theirs;
}

int main(void)
{
    struct tocsin_vpoll_info info;
    struct end ends[2];
    int differences = 0;
    int fds[2];

    if (tocsin_vpoll_info_get(&info) < 0 || info.exact != TOCSIN_VPOLL_ALL) {
        printf("no exact provider: %s; %s\n", info.provider != NULL ? info.provider : "none",
               info.reason);
        return STATUS_SKIPPED;
    }
    or_die(stack_connect(ends) == 0, "connect");
    tcp_connect(fds);
    printf("%-18s %5s %5s\n", "", "stack", "TCP");
    for (enum step step = CONNECT; step < STEPS_COUNT; step++) {
        stack_step(ends, step);
        tcp_step(fds, step);
        differences += compare(step_names[step], ends[0].fd, fds[0]);
        differences += compare("             b's:", ends[1].fd, fds[1]);
    }
    stack_close(ends);
    close(fds[0]);
    close(fds[1]);
    or_die(stack_connect(ends) == 0, "connect");
    tcp_connect(fds);
    stack_reset(&ends[0]);
    tcp_reset(fds[0]);
    differences += compare("a resets; b's:", ends[1].fd, fds[1]);
    stack_close(ends);
    close(fds[1]);
    printf("%d passed, %d failed\n", 2 * STEPS_COUNT + 1 - differences, differences);
    return differences != 0;
}
