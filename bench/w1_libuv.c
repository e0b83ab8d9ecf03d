/*
 * W1, libuv, which has no post: an idle handle that runs a list of one's own.
 *
 *   post   each turn of the loop posts 1,000 and runs them
 */
#include "common.h"

#include <stdlib.h>
#include <uv.h>

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

static struct post *posts;
static struct post *first;
static struct post **tail = &first;
static uint64_t left;
static uint64_t done;

static void count_one(void *arg)
{
    ++*(uint64_t *)arg;
}

static inline void push(struct post *post, void (*fn)(void *arg), void *arg)
{
    *post = (struct post){NULL, fn, arg};
    *tail = post;
    tail = &post->next;
    __asm__ volatile("" ::: "memory"); /* each by itself: nothing stays in registers */
}

static void on_idle(uv_idle_t *idle)
{
    while (first != NULL) {
        struct post *post = first;

        first = post->next;
        post->fn(post->arg);
    }
    tail = &first;
    if (left == 0) {
        uv_idle_stop(idle);
        return;
    }
    left -= left < BENCH_BATCH ? left : BENCH_BATCH;
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        push(&posts[i], count_one, &done);
    }
}

static void run_post(struct bench *bench)
{
    uv_loop_t loop;
    uv_idle_t idle;

    posts = bench_alloc(BENCH_BATCH, sizeof(*posts));
    left = bench->count;
    uv_loop_init(&loop);
    uv_idle_init(&loop, &idle);
    uv_idle_start(&idle, on_idle);
    bench_begin(bench);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(bench);
    uv_close((uv_handle_t *)&idle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_must(uv_loop_close(&loop) == 0, "uv_loop_close");
    free(posts);
}

static const struct bench_case cases[] = {{"post", run_post}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, uv_version_string(), cases, sizeof(cases) / sizeof(cases[0]));
}
