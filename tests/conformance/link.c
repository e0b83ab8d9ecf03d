/*
 * Connections and pipes for the cases: descriptors, or what the backend has of its own.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conform.h"
#include "face.h"
#include "runner.h"

static bool is_own(const struct conform_link *link)
{
    return link->kind == TOCSIN_SOURCE_OWN;
}

static void open_any(struct conform *t, struct conform_link *link, bool is_pipe)
{
    int fds[2];

    if ((t->features & TOCSIN_BACKEND_DESCRIPTORS) == 0) {
        link->kind = TOCSIN_SOURCE_OWN;
        REQUIRE(t, conform_face->link_create(is_pipe, link->ends) == 0);
        return;
    }
    link->kind = TOCSIN_SOURCE_DESCRIPTOR;
    if (is_pipe) {
        REQUIRE(t, tocsin_pipe_pair(&fds[0], &fds[1]) == 0);
    } else {
        conform_stream_pair(t, fds);
    }
    link->ends[0] = fds[0];
    link->ends[1] = fds[1];
}

void conform_link_open(struct conform *t, struct conform_link *link)
{
    open_any(t, link, false);
}

void conform_link_open_pipe(struct conform *t, struct conform_link *link)
{
    open_any(t, link, true);
}

void conform_link_close_end(struct conform *t, struct conform_link *link, int end)
{
    if (is_own(link)) {
        CHECK_EQ(t, conform_face->link_close(link->ends[end]), 0);
    } else {
        CHECK_EQ(t, close((int)link->ends[end]), 0);
    }
    link->ends[end] = -1;
}

void conform_link_close(struct conform *t, struct conform_link *link)
{
    for (int end = 0; end < 2; end++) {
        if (link->ends[end] >= 0) {
            conform_link_close_end(t, link, end);
        }
    }
}

void conform_link_shut(struct conform *t, struct conform_link *link, int end)
{
    if (is_own(link)) {
        CHECK_EQ(t, conform_face->link_shut(link->ends[end]), 0);
    } else {
        CHECK_EQ(t, shutdown((int)link->ends[end], SHUT_WR), 0);
    }
}

int conform_link_read(struct conform_link *link, int end, void *data, size_t size)
{
    ssize_t got;

    if (is_own(link)) {
        return conform_face->link_read(link->ends[end], data, size);
    }
    got = read((int)link->ends[end], data, size);
    return got < 0 ? -errno : (int)got;
}

int conform_link_write(struct conform_link *link, int end, const void *data, size_t size)
{
    ssize_t put;

    if (is_own(link)) {
        return conform_face->link_write(link->ends[end], data, size);
    }
    put = write((int)link->ends[end], data, size);
    return put < 0 ? -errno : (int)put;
}

int conform_link_watch(struct tocsin_driver *driver, struct conform_link *link, int end,
                       struct tocsin_fd_ready **out_ready)
{
    return tocsin_source_ready_open(driver, link->kind, link->ends[end], out_ready);
}
