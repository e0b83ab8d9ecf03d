/*
 * W2, the limit: bench->active callbacks that put themselves at the end of a list again.
 *
 *   post    nothing else is served meanwhile: not fair
 *   look    epoll is asked without blocking before each one
 */
#include "common.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct item {
    struct item *next;
    void (*fn)(struct item *item);
};

static struct item *first;
static struct item **tail;
static uint64_t left;

static inline void push(struct item *item)
{
    item->next = NULL;
    *tail = item;
    tail = &item->next;
}

static void again(struct item *item)
{
    if (left > 0) {
        left--;
        push(item);
    }
}

static void yields(struct bench *bench, int epoll_fd)
{
    struct item *items = bench_alloc(bench->active, sizeof(*items));
    struct epoll_event event;

    first = NULL;
    tail = &first;
    left = bench->count;
    for (uint64_t i = 0; i < bench->active; i++) {
        items[i].fn = again;
        push(&items[i]);
    }
    bench_begin(bench);
    while (first != NULL) {
        struct item *item = first;

        if (epoll_fd >= 0) {
            epoll_wait(epoll_fd, &event, 1, 0);
        }
        first = item->next;
        if (first == NULL) {
            tail = &first;
        }
        item->fn(item);
    }
    bench_end(bench);
    free(items);
}

static void run_post(struct bench *bench)
{
    yields(bench, -1);
    bench_extra(bench, "fair", 0);
}

static void run_look(struct bench *bench)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    bench_must(epoll_fd >= 0, "epoll_create1");
    yields(bench, epoll_fd);
    bench_extra(bench, "fair", 1);
    close(epoll_fd);
}

static const struct bench_case cases[] = {{"post", run_post}, {"look", run_look}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
