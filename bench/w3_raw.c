/*
 * W3, the limit: two threads wake each other in turn.
 *
 *   futex     FUTEX_WAIT and FUTEX_WAKE
 *   eventfd   epoll, edge-triggered, and an eventfd that nobody reads
 *   uring     IORING_OP_MSG_RING from ring to ring
 *   spin      look for up to 100 us, then futex
 */
#include "common.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef BENCH_URING
#include <liburing.h>
#endif

#define SPIN_NS UINT64_C(100000)

enum {
    AWAKE,
    ASLEEP,
    WOKEN,
};

struct side {
    struct side *peer;
    _Atomic(uint32_t) word;
    int epoll_fd;
    int event_fd;
    uint64_t left;
    uint64_t spin_ns;
    void (*wake)(struct side *peer, struct side *own);
    void (*wait)(struct side *own);
    struct bench_gate *gate;
#ifdef BENCH_URING
    struct io_uring ring;
#endif
};

static void wake_futex(struct side *peer, struct side *own)
{
    (void)own;
    if (atomic_exchange_explicit(&peer->word, WOKEN, memory_order_acq_rel) == ASLEEP) {
        syscall(SYS_futex, &peer->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void wait_futex(struct side *own)
{
    uint64_t end_ns = own->spin_ns > 0 ? bench_now_ns() + own->spin_ns : 0;
    uint32_t awake = AWAKE;

    while (end_ns > 0 && atomic_load_explicit(&own->word, memory_order_acquire) != WOKEN &&
           bench_now_ns() < end_ns) {
        __builtin_ia32_pause();
    }
    if (atomic_compare_exchange_strong_explicit(&own->word, &awake, ASLEEP, memory_order_acq_rel,
                                                memory_order_acquire)) {
        while (atomic_load_explicit(&own->word, memory_order_acquire) == ASLEEP) {
            syscall(SYS_futex, &own->word, FUTEX_WAIT_PRIVATE, ASLEEP, NULL, NULL, 0);
        }
    }
    atomic_store_explicit(&own->word, AWAKE, memory_order_relaxed);
}

static void wake_eventfd(struct side *peer, struct side *own)
{
    uint64_t one = 1;

    (void)own;
    bench_must(write(peer->event_fd, &one, sizeof(one)) == sizeof(one), "write");
}

static void wait_eventfd(struct side *own)
{
    struct epoll_event event;

    while (epoll_wait(own->epoll_fd, &event, 1, -1) != 1) {
    }
}

#ifdef BENCH_URING
static void wake_uring(struct side *peer, struct side *own)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&own->ring);

    io_uring_prep_msg_ring(sqe, peer->ring.ring_fd, 0, 1, 0);
    sqe->user_data = 0;
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void wait_uring(struct side *own)
{
    struct io_uring_cqe *cqe;

    bench_must(io_uring_submit_and_wait(&own->ring, 1) >= 0, "io_uring_submit_and_wait");
    bench_must(io_uring_peek_cqe(&own->ring, &cqe) == 0, "io_uring_peek_cqe");
    bench_must(cqe->user_data == 1, "a message was refused");
    io_uring_cqe_seen(&own->ring, cqe);
}

static void flush_uring(struct side *own)
{
    io_uring_submit(&own->ring);
}
#endif

static void *take_turns(void *arg)
{
    struct side *side = arg;

    bench_gate_wait(side->gate);
    while (side->left-- > 0) {
        side->wait(side);
        side->wake(side->peer, side);
    }
#ifdef BENCH_URING
    if (side->wake == wake_uring) {
        flush_uring(side);
    }
#endif
    return NULL;
}

/* @sides: how they wait and wake. */
static void trips(struct bench *bench, struct side sides[2])
{
    struct bench_gate gate;
    pthread_t thread;

    bench_gate_init(&gate);
    for (size_t i = 0; i < 2; i++) {
        sides[i].peer = &sides[1 - i];
        sides[i].left = bench->count;
        sides[i].gate = &gate;
    }
    thread = bench_thread(bench, take_turns, &sides[1]);
    bench_gate_wait(&gate);
    bench_begin(bench);
    for (uint64_t i = 0; i < bench->count; i++) {
        sides[0].wake(&sides[1], &sides[0]);
        sides[0].wait(&sides[0]);
    }
    bench_end(bench);
    pthread_join(thread, NULL);
}

static void run_futex(struct bench *bench)
{
    struct side sides[2] = {{.wake = wake_futex, .wait = wait_futex},
                            {.wake = wake_futex, .wait = wait_futex}};

    trips(bench, sides);
}

static void run_spin(struct bench *bench)
{
    struct side sides[2] = {{.wake = wake_futex, .wait = wait_futex, .spin_ns = SPIN_NS},
                            {.wake = wake_futex, .wait = wait_futex, .spin_ns = SPIN_NS}};

    trips(bench, sides);
}

static void run_eventfd(struct bench *bench)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    struct side sides[2] = {{.wake = wake_eventfd, .wait = wait_eventfd},
                            {.wake = wake_eventfd, .wait = wait_eventfd}};

    for (size_t i = 0; i < 2; i++) {
        sides[i].epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        sides[i].event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        bench_must(epoll_ctl(sides[i].epoll_fd, EPOLL_CTL_ADD, sides[i].event_fd, &event) == 0,
                   "epoll_ctl");
    }
    trips(bench, sides);
    for (size_t i = 0; i < 2; i++) {
        close(sides[i].epoll_fd);
        close(sides[i].event_fd);
    }
}

#ifdef BENCH_URING
static void run_uring(struct bench *bench)
{
    struct side sides[2] = {{.wake = wake_uring, .wait = wait_uring},
                            {.wake = wake_uring, .wait = wait_uring}};

    for (size_t i = 0; i < 2; i++) {
        bench_must(io_uring_queue_init(8, &sides[i].ring, 0) == 0, "io_uring_queue_init");
    }
    trips(bench, sides);
    for (size_t i = 0; i < 2; i++) {
        io_uring_queue_exit(&sides[i].ring);
    }
}
#endif

static const struct bench_case cases[] = {{"futex", run_futex},
                                          {"eventfd", run_eventfd},
#ifdef BENCH_URING
                                          {"uring", run_uring},
#endif
                                          {"spin", run_spin}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
