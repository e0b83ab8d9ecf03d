/*
 * W9, the limit: bench->active NOPs at once by one io_uring_enter(2).
 */
#include "common.h"

#include <liburing.h>

static void run_nop(struct bench *bench)
{
    unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    struct io_uring ring;
    uint64_t done = 0;

    if (io_uring_queue_init(128, &ring, flags) < 0) { /* an older kernel */
        bench_must(io_uring_queue_init(128, &ring, 0) == 0, "io_uring_queue_init");
    }
    bench_begin(bench);
    while (done < bench->count) {
        struct io_uring_cqe *cqe;
        unsigned count = 0;
        unsigned head;

        for (uint64_t i = 0; i < bench->active; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            io_uring_prep_nop(sqe);
            sqe->user_data = i;
        }
        bench_must(io_uring_submit_and_wait(&ring, (unsigned)bench->active) >= 0, "submit");
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            count++;
            bench_must(cqe->res == 0, "NOP");
        }
        io_uring_cq_advance(&ring, count);
        done += count;
    }
    bench_end(bench);
    io_uring_queue_exit(&ring);
}

static const struct bench_case cases[] = {{"nop", run_nop}};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, "raw", cases, sizeof(cases) / sizeof(cases[0]));
}
