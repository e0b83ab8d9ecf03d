/*
 * uring_turns BACKEND TURNS IDLE_MS: submits 32 no-operations a turn, in so many turns, and then
 * has nothing to do for so long.  For uring_calls.py, which counts its system calls from outside.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tocsin/backend.h>
#include <tocsin/tocsin.h>
#include <tocsin/uring.h>

enum {
    OPS = 32,
    SKIPPED = 77,
};

struct turns {
    struct tocsin_task task;
    struct tocsin_uring_op ops[OPS];
    unsigned next; /* the first that has not completed; OPS: a turn is to begin */
    unsigned left;
};

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "uring_turns: %s\n", what);
        exit(1);
    }
}

static void submit_all(struct turns *turns, struct tocsin_driver *driver)
{
    const struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .fd = -1};

    for (int i = 0; i < OPS; i++) {
        check(tocsin_uring_submit(driver, &turns->ops[i], &sqe) == 0, "submit");
    }
    turns->next = 0;
    turns->left--;
}

static int poll_turns(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct turns *turns = (struct turns *)(void *)task;
    int32_t result = -1;
    int r;

    while (true) {
        if (turns->next == OPS) {
            if (turns->left == 0) {
                return 0;
            }
            submit_all(turns, cx->driver);
        }
        r = tocsin_uring_poll(&turns->ops[turns->next], cx, &result, NULL);
        if (r == TOCSIN_PENDING) {
            return r;
        }
        check(r == 0 && result == 0, "poll");
        turns->next++;
    }
}

static void do_nothing(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    (void)timer;
    (void)missed;
    (void)arg;
}

static void run(struct tocsin_pool *pool, unsigned count, uint64_t idle_ns)
{
    static const struct tocsin_task_ops ops = {.poll = poll_turns};
    static struct turns turns;
    const struct tocsin_timer_options options = {.delay_ns = idle_ns};
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_timer timer;

    for (int i = 0; i < OPS; i++) {
        tocsin_uring_op_init(&turns.ops[i], NULL);
    }
    turns.next = OPS;
    turns.left = count;
    check(tocsin_task_spawn(driver, &turns.task, &ops, "turns") == 0, "spawn");
    check(tocsin_pool_run(pool) == 0, "run");
    if (idle_ns > 0) {
        check(tocsin_timer_init(&timer, driver, do_nothing, NULL) == 0, "timer");
        tocsin_timer_start(&timer, &options);
        check(tocsin_pool_run(pool) == 0, "the idle run");
        tocsin_timer_deinit(&timer);
    }
    for (int i = 0; i < OPS; i++) {
        tocsin_uring_drop(&turns.ops[i]);
    }
}

int main(int argc, char **argv)
{
    const struct tocsin_backend *backend = argc == 4 ? tocsin_backend_find(argv[1]) : NULL;
    struct tocsin_pool *pool = NULL;
    const char *why = NULL;
    int r;

    check(backend != NULL, "BACKEND TURNS IDLE_MS");
    r = tocsin_pool_open(&pool, backend, NULL);
    if (r < 0) {
        why = strerror(-r);
    } else if (tocsin_uring_probe(tocsin_pool_driver(pool), IORING_OP_NOP) < 0) {
        why = tocsin_uring_reason(tocsin_pool_driver(pool));
    }
    if (why != NULL) {
        printf("skipped: no ring here: %s\n", why);
        return SKIPPED;
    }
    run(pool, (unsigned)strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10) * UINT64_C(1000000));
    check(tocsin_pool_close(pool) == 0, "close");
    return 0;
}
