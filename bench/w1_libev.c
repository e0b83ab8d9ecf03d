/*
 * W1, libev: ev_feed_event() of 1,000 watchers.
 *
 *   post   fed from an idle watcher's callback, so that the loop takes a turn for each 1,000
 */
#include "common.h"

#include <ev.h>
#include <stdlib.h>

static struct ev_prepare *posts;
static uint64_t left;
static uint64_t done;

static void count_post(struct ev_loop *loop, struct ev_prepare *post, int events)
{
    (void)loop;
    (void)events;
    ++*(uint64_t *)post->data;
}

static void on_idle(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    (void)events;
    if (left == 0) {
        ev_idle_stop(loop, idle);
        return;
    }
    left -= left < BENCH_BATCH ? left : BENCH_BATCH;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        ev_feed_event(loop, &posts[i], EV_CUSTOM);
    }
}

static void run_post(struct bench *bench)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct ev_idle idle;

    posts = bench_alloc(BENCH_BATCH, sizeof(*posts));
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        ev_prepare_init(&posts[i], count_post);
        posts[i].data = &done;
    }
    left = bench->count;
    ev_idle_init(&idle, on_idle);
    ev_idle_start(loop, &idle);
    bench_begin(bench);
    ev_run(loop, 0);
    bench_end(bench);
    ev_loop_destroy(loop);
    free(posts);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, BENCH_LIBEV, cases, sizeof(cases) / sizeof(cases[0]));
}
