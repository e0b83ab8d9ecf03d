/*
 * W4, the limit: a stack that the second thread pushes on without a lock, and that the loop takes
 * whole; who pushes on an empty one that is slept on writes to an eventfd.
 *
 *   stack    the nodes are there already
 *   malloc   each is allocated, and freed by the loop
 */
#include "common.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct node {
    struct node *next;
    void (*fn)(void *arg);
    void *arg;
};

static struct node asleep; /* on top of the stack while the loop sleeps */

struct stack {
    _Atomic(struct node *) top;
    int event_fd;
    uint64_t count;
    uint64_t done;
    struct node *nodes; /* NULL: allocate */
};

static void count_one(void *arg)
{
    ++*(uint64_t *)arg;
}

static __attribute__((noinline)) void push(struct stack *stack, struct node *node)
{
    struct node *top = atomic_load_explicit(&stack->top, memory_order_relaxed);
    uint64_t one = 1;

    do {
        node->next = top == &asleep ? NULL : top;
    } while (!atomic_compare_exchange_weak_explicit(&stack->top, &top, node, memory_order_release,
                                                    memory_order_relaxed));
    if (top == &asleep) {
        bench_must(write(stack->event_fd, &one, sizeof(one)) == sizeof(one), "write");
    }
}

static void *push_all(void *arg)
{
    struct stack *stack = arg;

    for (uint64_t i = 0; i < stack->count; i++) {
        struct node *node = stack->nodes != NULL ? &stack->nodes[i] : malloc(sizeof(*node));

        bench_must(node != NULL, "malloc");
        node->fn = count_one;
        node->arg = &stack->done;
        push(stack, node);
    }
    return NULL;
}

static void run_nodes(struct stack *stack, struct node *node)
{
    struct node *first = NULL;

    while (node != NULL) { /* the oldest first */
        struct node *next = node->next;

        node->next = first;
        first = node;
        node = next;
    }
    while (first != NULL) {
        struct node *next = first->next;

        first->fn(first->arg);
        if (stack->nodes == NULL) {
            free(first);
        }
        first = next;
    }
}

static void serve(struct stack *stack)
{
    while (stack->done < stack->count) {
        struct node *top = atomic_exchange_explicit(&stack->top, NULL, memory_order_acquire);
        uint64_t kicks;

        if (top != NULL) {
            run_nodes(stack, top);
        } else if (atomic_compare_exchange_strong_explicit(
                       &stack->top, &top, &asleep, memory_order_acq_rel, memory_order_relaxed)) {
            bench_must(read(stack->event_fd, &kicks, sizeof(kicks)) == sizeof(kicks), "read");
        }
    }
}

static void posts(struct bench *bench, struct node *nodes)
{
    struct stack stack = {.count = bench->count, .nodes = nodes};
    pthread_t thread;

    stack.event_fd = eventfd(0, EFD_CLOEXEC);
    bench_must(stack.event_fd >= 0, "eventfd");
    bench_begin(bench);
    thread = bench_thread(bench, push_all, &stack);
    serve(&stack);
    bench_end(bench);
    pthread_join(thread, NULL);
    close(stack.event_fd);
}

static void run_stack(struct bench *bench)
{
    struct node *nodes = bench_alloc(bench->count, sizeof(*nodes));

    for (uint64_t i = 0; i < bench->count; i++) {
        nodes[i].next = &asleep; /* so that its page is there */
    }
    posts(bench, nodes);
    free(nodes);
}

static void run_malloc(struct bench *bench)
{
    posts(bench, NULL);
}

static const struct bench_case cases[] = {{"stack", run_stack}, {"malloc", run_malloc}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
