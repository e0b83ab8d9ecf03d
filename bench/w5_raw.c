/*
 * W5, the limit: a heap with four children to a node, the deadlines beside the timers' addresses.
 *
 *   rearm    move a random one of bench->n timers to a random deadline
 *   expire   bench->n timers due within 100 ms fire in order, with epoll_pwait2(2) in between
 */
#include "common.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    CHILDREN = 4,
};

struct timer {
    size_t at; /* in the heap */
    void (*fn)(struct timer *timer);
};

struct entry {
    uint64_t deadline_ns;
    struct timer *timer;
};

static struct entry *heap;
static size_t heap_size;
static uint64_t fired;

static void put(size_t at, struct entry entry)
{
    heap[at] = entry;
    entry.timer->at = at;
}

static void sift_up(size_t at, struct entry entry)
{
    while (at > 0 && entry.deadline_ns < heap[(at - 1) / CHILDREN].deadline_ns) {
        put(at, heap[(at - 1) / CHILDREN]);
        at = (at - 1) / CHILDREN;
    }
    put(at, entry);
}

static void sift_down(size_t at, struct entry entry)
{
    for (;;) {
        size_t child = at * CHILDREN + 1;
        size_t end = child + CHILDREN < heap_size ? child + CHILDREN : heap_size;
        size_t least = child;

        if (child >= heap_size) {
            break;
        }
        for (size_t i = child + 1; i < end; i++) {
            if (heap[i].deadline_ns < heap[least].deadline_ns) {
                least = i;
            }
        }
        if (entry.deadline_ns <= heap[least].deadline_ns) {
            break;
        }
        put(at, heap[least]);
        at = least;
    }
    put(at, entry);
}

static __attribute__((noinline)) void arm(struct timer *timer, uint64_t deadline_ns)
{
    struct entry entry = {deadline_ns, timer};

    if (deadline_ns < heap[timer->at].deadline_ns) {
        sift_up(timer->at, entry);
    } else {
        sift_down(timer->at, entry);
    }
}

static void insert(struct timer *timer, uint64_t deadline_ns)
{
    sift_up(heap_size++, (struct entry){deadline_ns, timer});
}

static struct timer *pop(void)
{
    struct timer *timer = heap[0].timer;

    heap_size--;
    if (heap_size > 0) {
        sift_down(0, heap[heap_size]);
    }
    return timer;
}

static void count_fired(struct timer *timer)
{
    (void)timer;
    fired++;
}

static void run_rearm(struct bench *bench)
{
    struct timer *timers = bench_alloc(bench->n, sizeof(*timers));
    uint64_t base_ns = bench_now_ns();
    uint64_t random = 1;

    heap = bench_alloc(bench->n, sizeof(*heap));
    heap_size = 0;
    for (uint64_t i = 0; i < bench->n; i++) {
        insert(&timers[i], bench_far_ns(&random, base_ns));
    }
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        struct timer *timer = &timers[bench_random(&random, bench->n)];

        arm(timer, bench_far_ns(&random, base_ns));
    }
    bench_end(bench);
    free(heap);
    free(timers);
}

static void serve(int epoll_fd)
{
    while (heap_size > 0) {
        uint64_t now_ns = bench_now_ns();
        struct epoll_event event;
        struct timespec timeout;

        while (heap_size > 0 && heap[0].deadline_ns <= now_ns) {
            struct timer *timer = pop();

            timer->fn(timer);
        }
        if (heap_size > 0) {
            uint64_t wait_ns = heap[0].deadline_ns - now_ns;

            timeout.tv_sec = (time_t)(wait_ns / BENCH_NS_PER_S);
            timeout.tv_nsec = (long)(wait_ns % BENCH_NS_PER_S);
            epoll_pwait2(epoll_fd, &event, 1, &timeout, NULL);
        }
    }
}

static void run_expire(struct bench *bench)
{
    struct timer *timers = bench_alloc(bench->n, sizeof(*timers));
    uint64_t base_ns = bench_now_ns() + bench_arming_ns(bench->n);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t random = 1;

    bench->count = bench->n;
    heap = bench_alloc(bench->n, sizeof(*heap));
    heap_size = 0;
    fired = 0;
    for (uint64_t i = 0; i < bench->n; i++) {
        timers[i].fn = count_fired;
        insert(&timers[i], bench_near_ns(&random, base_ns));
    }
    bench_begin(bench);
    serve(epoll_fd);
    bench_end(bench);
    bench_must(fired == bench->n, "not all have fired");
    close(epoll_fd);
    free(heap);
    free(timers);
}

static const struct bench_case cases[] = {{"rearm", run_rearm}, {"expire", run_expire}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
