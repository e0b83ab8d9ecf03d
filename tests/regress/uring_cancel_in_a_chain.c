/*
 * A chain comes from another thread, and before it has arrived its first member is cancelled on the
 * pool's thread.  The cancel was queued between the two members: the first was so linked to its own
 * cancel, which then waited for it, and the second ran by itself.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <tocsin/tocsin.h>
#include <tocsin/uring.h>

struct operation {
    struct tocsin_uring_op op;
    int32_t result;
    bool completed;
};

struct scene {
    struct tocsin_driver *driver;
    struct operation read;
    struct operation nop;
    struct tocsin_timer watchdog;
    int ends[2];
    char byte;
    int submitted;
    bool hung;
};

static void completed(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct operation *operation = (struct operation *)(void *)op;

    (void)flags;
    operation->result = result;
    operation->completed = true;
}

static void *submit_chain(void *arg)
{
    struct scene *scene = arg;
    struct io_uring_sqe read = {
        .opcode = IORING_OP_READ,
        .flags = IOSQE_IO_LINK,
        .fd = scene->ends[0],
        .addr = (uint64_t)(uintptr_t)&scene->byte,
        .len = 1,
    };
    struct io_uring_sqe nop = {.opcode = IORING_OP_NOP, .fd = -1};
    struct tocsin_uring_op *ops[] = {&scene->read.op, &scene->nop.op};
    const struct io_uring_sqe *sqes[] = {&read, &nop};

    scene->submitted = tocsin_uring_submit_all(scene->driver, ops, sqes, 2);
    return NULL;
}

/* In a turn: what the other thread submits arrives in the next. */
static void submit_and_cancel(void *arg, int status)
{
    struct scene *scene = arg;
    pthread_t thread;

    (void)status;
    if (pthread_create(&thread, NULL, submit_chain, scene) != 0) {
        scene->submitted = -EAGAIN;
        return;
    }
    pthread_join(thread, NULL);
    if (scene->submitted == 0) {
        tocsin_uring_cancel(&scene->read.op);
    }
}

static void give_up(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct scene *scene = arg;
    char byte = 0;

    (void)timer;
    (void)missed;
    scene->hung = true;
    (void)!write(scene->ends[1], &byte, 1); /* so that it ends all the same */
}

static int play(struct scene *scene, struct tocsin_pool *pool)
{
    static const struct tocsin_uring_op_ops ops = {.complete = completed};

    tocsin_uring_op_init(&scene->read.op, &ops);
    tocsin_uring_op_init(&scene->nop.op, &ops);
    if (tocsin_timer_init(&scene->watchdog, scene->driver, give_up, scene) < 0) {
        return 1;
    }
    tocsin_timer_start(&scene->watchdog, &(struct tocsin_timer_options){
                                             .delay_ns = UINT64_C(10000000000),
                                             .background = true,
                                         });
    tocsin_post(scene->driver, submit_and_cancel, scene);
    tocsin_pool_run(pool);
    tocsin_timer_deinit(&scene->watchdog);
    tocsin_uring_drop(&scene->read.op);
    tocsin_uring_drop(&scene->nop.op);
    return scene->submitted != 0 || scene->hung || !scene->read.completed ||
           !scene->nop.completed || scene->read.result != -ECANCELED ||
           scene->nop.result != -ECANCELED;
}

int main(void)
{
    struct scene scene = {.submitted = -1};
    struct tocsin_pool *pool;
    int failed;

    if (tocsin_pool_open(&pool, tocsin_backend_find("epoll"), NULL) < 0 || pipe(scene.ends) < 0) {
        return 1;
    }
    scene.driver = tocsin_pool_driver(pool);
    if (tocsin_uring_probe(scene.driver, IORING_OP_READ) != 1) {
        printf("skipped: %s\n", tocsin_uring_reason(scene.driver));
        tocsin_pool_close(pool);
        return 77;
    }
    failed = play(&scene, pool);
    tocsin_pool_close(pool);
    close(scene.ends[0]);
    close(scene.ends[1]);
    printf("%d passed, %d failed\n", failed ? 0 : 1, failed ? 1 : 0);
    return failed;
}
