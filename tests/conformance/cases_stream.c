/*
 * The short-read rule of design section 7: when may a read spare the one that would say EAGAIN?
 *
 * Only on a TCP socket that has shown no PRI, RDHUP, HUP or ERR.  Whether a read was spared can be
 * seen from outside: put data into the kernel that the pool has not heard of yet, and read at once.
 * A spared read says pending, another says data.  In all the other cases, each with an edge that is
 * spent before all of its data was read, a spared read would stall: there the next read must say
 * data.
 */
#include "transfer.h"

enum {
    SOCKETS = TOCSIN_BACKEND_SOCKETS | TOCSIN_BACKEND_DESCRIPTORS,
    EXACT = SOCKETS | TOCSIN_BACKEND_EXACT_EVENTS,
};

/* A pool with a socket object for one end of a pair; the other end is a plain descriptor. */
struct end {
    struct tocsin_pool *pool;
    struct tocsin_socket *socket;
    int fd;
    int peer;
    struct probe probe;
    struct tocsin_context cx; /* polls on behalf of the probe */
};

/* Takes @fds over; a read of the first one is pending when it returns. */
static void end_open(struct conform *t, struct end *end, const int fds[2])
{
    char byte;

    memset(end, 0, sizeof(*end));
    end->pool = conform_pool(t);
    end->fd = fds[0];
    end->peer = fds[1];
    end->cx = probe_context(&end->probe, end->pool);
    REQUIRE(t, tocsin_socket_open(tocsin_pool_driver(end->pool), fds[0], &end->socket) == 0);
    probe_turns(t, end->pool);
    CHECK_EQ(t, tocsin_socket_read(end->socket, &byte, 1, &end->cx), TOCSIN_PENDING);
    probe_turns(t, end->pool);
    CHECK_EQ(t, probe_wakes(&end->probe), 0);
}

static void end_open_tcp(struct conform *t, struct end *end)
{
    int fds[2];

    tcp_pair(t, fds);
    end_open(t, end, fds);
}

static void end_close(struct conform *t, struct end *end)
{
    CHECK_EQ(t, tocsin_socket_close(end->socket), 0);
    conform_pool_close(t, end->pool);
    close(end->peer);
}

/* Let the pending read be woken by what the kernel has: @events of it, all in one. */
static void end_hears(struct conform *t, struct end *end, short events)
{
    unsigned wakes = probe_wakes(&end->probe);

    probe_kernel_says(t, end->fd, events);
    probe_turns(t, end->pool);
    CHECK_EQ(t, probe_wakes(&end->probe), wakes + 1);
}

/* One read, of more than there is, must say @wanted, and at once. */
static void end_reads(struct conform *t, struct end *end, const char *wanted)
{
    char bytes[100];
    int r = tocsin_socket_read(end->socket, bytes, sizeof(bytes), &end->cx);

    if (CHECK_EQ(t, r, strlen(wanted))) {
        CHECK(t, memcmp(bytes, wanted, strlen(wanted)) == 0);
    }
}

/* The same, with a turn for it: where what is there is found again, pending is no stall. */
static void end_reads_at_last(struct conform *t, struct end *end, const char *wanted)
{
    char bytes[100];
    int r = tocsin_socket_read(end->socket, bytes, sizeof(bytes), &end->cx);

    if (r == TOCSIN_PENDING) {
        CHECK_EQ(t, t->features & TOCSIN_BACKEND_EDGE, 0);
        probe_turns(t, end->pool);
        r = tocsin_socket_read(end->socket, bytes, sizeof(bytes), &end->cx);
    }
    if (CHECK_EQ(t, r, strlen(wanted))) {
        CHECK(t, memcmp(bytes, wanted, strlen(wanted)) == 0);
    }
}

static void end_pends(struct conform *t, struct end *end)
{
    char bytes[100];

    CHECK_EQ(t, tocsin_socket_read(end->socket, bytes, sizeof(bytes), &end->cx), TOCSIN_PENDING);
}

/* "abc" is read, short; then "def" is in the kernel before the pool has heard of it. */
static void short_read_and_more(struct conform *t, struct end *end)
{
    CHECK_EQ(t, write(end->peer, "abc", 3), 3);
    end_hears(t, end, POLLIN);
    end_reads(t, end, "abc");
    CHECK_EQ(t, write(end->peer, "def", 3), 3);
    probe_kernel_says(t, end->fd, POLLIN);
}

static void short_tcp_read_spares_the_next_one(struct conform *t)
{
    struct end end;

    end_open_tcp(t, &end);
    for (int i = 0; i < 3; i++) {
        short_read_and_more(t, &end);
        end_pends(t, &end);
        end_hears(t, &end, POLLIN);
        end_reads(t, &end, "def");
        end_pends(t, &end);
    }
    end_close(t, &end);
}

static void full_tcp_read_spares_nothing(struct conform *t)
{
    struct end end;
    char bytes[3];

    end_open_tcp(t, &end);
    CHECK_EQ(t, write(end.peer, "abcdefgh", 8), 8);
    end_hears(t, &end, POLLIN);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, 3, &end.cx), 3);
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, 3, &end.cx), 3);
    end_reads(t, &end, "gh");
    end_close(t, &end);
}

static void short_peek_spares_nothing(struct conform *t)
{
    struct end end;
    char bytes[100];

    end_open_tcp(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    end_hears(t, &end, POLLIN);
    CHECK_EQ(t, tocsin_socket_peek(end.socket, bytes, sizeof(bytes), &end.cx), 3);
    CHECK_EQ(t, tocsin_socket_peek(end.socket, bytes, sizeof(bytes), &end.cx), 3);
    end_reads(t, &end, "abc");
    end_close(t, &end);
}

static void short_unix_read_spares_nothing(struct conform *t)
{
    struct end end;
    int fds[2];

    conform_stream_pair(t, fds);
    end_open(t, &end, fds);
    short_read_and_more(t, &end);
    end_reads(t, &end, "def");
    end_close(t, &end);
}

/* Send @bytes with a descriptor: a border that reads stop at. */
static void send_with_descriptor(struct conform *t, int fd, const char *bytes)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec piece = {(void *)(uintptr_t)bytes, strlen(bytes)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    REQUIRE(t, sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)strlen(bytes));
}

static void passed_descriptors_do_not_stall(struct conform *t)
{
    struct end end;
    int fds[2];

    conform_stream_pair(t, fds);
    end_open(t, &end, fds);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    send_with_descriptor(t, end.peer, "de");
    send_with_descriptor(t, end.peer, "f");
    CHECK_EQ(t, write(end.peer, "gh", 2), 2);
    end_hears(t, &end, POLLIN);
    end_reads(t, &end, "abcde");
    end_reads(t, &end, "f");
    end_reads(t, &end, "gh");
    end_pends(t, &end);
    end_close(t, &end);
}

static void urgent_mark_does_not_stall(struct conform *t)
{
    struct end end;

    end_open_tcp(t, &end);
    CHECK_EQ(t, send(end.peer, "abc", 3, 0), 3);
    CHECK_EQ(t, send(end.peer, "!", 1, MSG_OOB), 1);
    CHECK_EQ(t, send(end.peer, "def", 3, 0), 3);
    end_hears(t, &end, POLLIN | POLLPRI);
    /* A read stops at the mark, with less than it was asked for. */
    end_reads(t, &end, "abc");
    end_reads_at_last(t, &end, "def");
    end_pends(t, &end);
    CHECK_EQ(t, send(end.peer, "ghi", 3, 0), 3);
    end_hears(t, &end, POLLIN);
    end_reads(t, &end, "ghi");
    end_close(t, &end);
}

static void urgent_byte_taken_by_a_poll_of_its_own_does_not_stall(struct conform *t)
{
    struct end end;
    struct tocsin_fd_ready *ready;
    char byte = 0;

    end_open_tcp(t, &end);
    ready = tocsin_socket_ready(end.socket);
    CHECK_EQ(t, send(end.peer, "abc", 3, 0), 3);
    CHECK_EQ(t, send(end.peer, "!", 1, MSG_OOB), 1);
    CHECK_EQ(t, send(end.peer, "def", 3, 0), 3);
    end_hears(t, &end, POLLIN | POLLPRI);
    CHECK_EQ(t, probe_seen(t, end.pool, ready, TOCSIN_SLOT_READ, TOCSIN_PRI), TOCSIN_PRI);
    CHECK_EQ(t, recv(end.fd, &byte, 1, MSG_OOB), 1);
    CHECK_EQ(t, byte, '!');
    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    /* The byte is gone and PRI is cleared, but its mark is where it was: reads still stop there. */
    end_reads(t, &end, "abc");
    end_reads_at_last(t, &end, "def");
    end_close(t, &end);
}

static void clearing_for_the_urgent_byte_leaves_the_data(struct conform *t)
{
    struct end end;
    struct tocsin_fd_ready *ready;
    char bytes[2] = "";

    end_open_tcp(t, &end);
    ready = tocsin_socket_ready(end.socket);
    CHECK_EQ(t, send(end.peer, "abc", 3, 0), 3);
    CHECK_EQ(t, send(end.peer, "!", 1, MSG_OOB), 1);
    end_hears(t, &end, POLLIN | POLLPRI);
    /* The read leaves data behind; the poll clears what it was told, which is not the data. */
    CHECK_EQ(t, tocsin_socket_read(end.socket, bytes, 2, &end.cx), 2);
    CHECK_EQ(t, probe_seen(t, end.pool, ready, TOCSIN_SLOT_READ, TOCSIN_PRI), TOCSIN_PRI);
    CHECK_EQ(t, recv(end.fd, bytes, 1, MSG_OOB), 1);
    tocsin_fd_ready_clear(ready, TOCSIN_SLOT_READ);
    end_reads_at_last(t, &end, "c");
    end_close(t, &end);
}

static void data_and_fin_in_one_event_do_not_stall(struct conform *t)
{
    struct end end;

    end_open_tcp(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    CHECK_EQ(t, shutdown(end.peer, SHUT_WR), 0);
    end_hears(t, &end, POLLIN | POLLRDHUP);
    end_reads(t, &end, "abc");
    end_reads_at_last(t, &end, "");
    end_reads(t, &end, "");
    end_close(t, &end);
}

static void fin_after_a_spared_read_is_heard(struct conform *t)
{
    struct end end;

    end_open_tcp(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    end_hears(t, &end, POLLIN);
    /* The FIN comes between the event and the read. */
    CHECK_EQ(t, shutdown(end.peer, SHUT_WR), 0);
    probe_kernel_says(t, end.fd, POLLIN | POLLRDHUP);
    end_reads(t, &end, "abc");
    end_pends(t, &end);
    end_hears(t, &end, POLLIN | POLLRDHUP);
    end_reads(t, &end, "");
    end_close(t, &end);
}

static void reset_after_data_does_not_stall(struct conform *t)
{
    const struct linger reset = {.l_onoff = 1};
    struct end end;
    char bytes[100];
    int r;

    end_open_tcp(t, &end);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    end_hears(t, &end, POLLIN);
    end_reads(t, &end, "abc");
    REQUIRE(t, setsockopt(end.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    close(end.peer);
    end.peer = -1;
    probe_kernel_says(t, end.fd, POLLIN | POLLERR | POLLHUP);
    r = tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx);
    if (r == TOCSIN_PENDING) {
        end_hears(t, &end, POLLIN | POLLERR | POLLHUP);
        r = tocsin_socket_read(end.socket, bytes, sizeof(bytes), &end.cx);
    }
    CHECK_EQ(t, r, -ECONNRESET);
    end_close(t, &end);
}

static void packets_do_not_stall(struct conform *t)
{
    struct end end;
    int fds[2];

    REQUIRE(t, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    end_open(t, &end, fds);
    CHECK_EQ(t, write(end.peer, "abc", 3), 3);
    CHECK_EQ(t, write(end.peer, "d", 1), 1);
    CHECK_EQ(t, write(end.peer, "ef", 2), 2);
    end_hears(t, &end, POLLIN);
    end_reads(t, &end, "abc");
    end_reads(t, &end, "d");
    end_reads(t, &end, "ef");
    end_pends(t, &end);
    end_close(t, &end);
}

/* A peer on a thread that sends the pattern in pieces of any size, then its FIN. */
struct sender {
    int fd;
    size_t size;
};

static void send_in_pieces(struct conform *t, void *arg)
{
    struct sender *sender = arg;
    char bytes[2000];
    size_t done = 0;
    uint64_t random = t->random_state;

    while (done < sender->size) {
        size_t next;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        next = 1 + (size_t)(random >> 33) % sizeof(bytes);
        next = next < sender->size - done ? next : sender->size - done;
        for (size_t i = 0; i < next; i++) {
            bytes[i] = pattern_at(done + i);
        }
        REQUIRE(t, send(sender->fd, bytes, next, MSG_NOSIGNAL) == (ssize_t)next);
        done += next;
    }
    close(sender->fd);
}

static void tcp_streams_of_any_pieces_arrive_whole(struct conform *t)
{
    unsigned rounds = conform_times(t, 20);

    for (unsigned round = 0; round < rounds; round++) {
        struct tocsin_pool *pool = conform_pool(t);
        struct transfer transfer = {.size = SIZE_MAX, .chunk = 1 + conform_random(t) % 3000};
        struct sender sender = {.size = 1 + conform_random(t) % (256 * 1024)};
        struct conform_thread *thread;
        int fds[2];

        tcp_pair(t, fds);
        sender.fd = fds[1];
        REQUIRE(t, tocsin_socket_open(tocsin_pool_driver(pool), fds[0], &transfer.socket) == 0);
        thread = conform_thread(t, send_in_pieces, &sender);
        CHECK_EQ(t, probe_complete(t, pool, transfer_receive, &transfer), 0);
        conform_thread_join(t, thread);
        CHECK_EQ(t, transfer.done, sender.size);
        CHECK_EQ(t, transfer.wrong, 0);
        CHECK_EQ(t, tocsin_socket_close(transfer.socket), 0);
        conform_pool_close(t, pool);
    }
}

CONFORM_CASES(
    stream,
    CASE(short_tcp_read_spares_the_next_one, "7",
         "After a short read of a plain TCP socket the next read waits for an event.", EXACT),
    CASE(full_tcp_read_spares_nothing, "7",
         "After a read that got all it asked for the next one tries.", SOCKETS),
    CASE(short_peek_spares_nothing, "7", "A peek, however short, spares nothing.", SOCKETS),
    CASE(short_unix_read_spares_nothing, "7", "A short read over AF_UNIX spares nothing.", SOCKETS),
    CASE(passed_descriptors_do_not_stall, "7",
         "Reads that SCM_RIGHTS cut short leave nothing behind.", SOCKETS),
    CASE(urgent_mark_does_not_stall, "7",
         "A read that the urgent mark cut short leaves nothing behind.", EXACT),
    CASE(urgent_byte_taken_by_a_poll_of_its_own_does_not_stall, "7",
         "Taking the urgent byte and clearing PRI leaves its mark, which still cuts a read short.",
         EXACT),
    CASE(clearing_for_the_urgent_byte_leaves_the_data, "7",
         "A clear that no EAGAIN of a read came before does not keep reads from trying.", EXACT),
    CASE(data_and_fin_in_one_event_do_not_stall, "7",
         "Data and FIN in one event: the end is read after the data.", EXACT),
    CASE(fin_after_a_spared_read_is_heard, "7",
         "A FIN that comes between the event and the short read is heard by its own event.", EXACT),
    CASE(reset_after_data_does_not_stall, "7", "A reset after a short read is told.", SOCKETS),
    CASE(packets_do_not_stall, "7", "Packets that came in one event are read one by one.", SOCKETS),
    CASE(tcp_streams_of_any_pieces_arrive_whole, "7",
         "Whatever pieces a TCP stream is sent and read in, it arrives whole, with its end.",
         SOCKETS));
