/*
 * W1, the limit: callbacks in a linked list.
 *
 *   post     the nodes are there already
 *   malloc   each is allocated and freed
 */
#include "common.h"

#include <stdlib.h>

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct list {
    struct post *first;
    struct post **tail;
};

static void count_one(void *arg)
{
    ++*(uint64_t *)arg;
}

static inline void push(struct list *list, struct post *post, void (*fn)(void *arg), void *arg)
{
    *post = (struct post){NULL, fn, arg};
    *list->tail = post;
    list->tail = &post->next;
    __asm__ volatile("" ::: "memory"); /* each by itself: nothing stays in registers */
}

static void run_list(struct list *list, bool give_back)
{
    struct post *post = list->first;

    while (post != NULL) {
        struct post *next = post->next;

        post->fn(post->arg);
        if (give_back) {
            free(post);
        }
        post = next;
    }
    list->first = NULL;
    list->tail = &list->first;
}

static void posts(struct bench *bench, bool allocate)
{
    struct post *own = bench_alloc(BENCH_BATCH, sizeof(*own));
    struct list list = {NULL, &list.first};
    uint64_t done = 0;

    bench_begin(bench);
    while (done < bench->count) {
        for (size_t i = 0; i < BENCH_BATCH; i++) {
            struct post *post = allocate ? malloc(sizeof(*post)) : &own[i];

            bench_must(post != NULL, "malloc");
            push(&list, post, count_one, &done);
        }
        run_list(&list, allocate);
    }
    bench_end(bench);
    free(own);
}

static void run_post(struct bench *bench)
{
    posts(bench, false);
}

static void run_malloc(struct bench *bench)
{
    posts(bench, true);
}

static const struct bench_case cases[] = {{"post", run_post}, {"malloc", run_malloc}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
