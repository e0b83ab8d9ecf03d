/*
 * A pending read that is dropped at any moment of its life: before it arrives, when the kernel has
 * it, while its byte comes, when it has completed.
 *
 * U1: op and buffer are on the heap and the kernel's until release, which comes once.  What the
 * kernel writes into the buffer after that, no sanitizer sees: the buffer is painted at release and
 * looked at when the byte has come out of the pipe for certain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/stress/uring.h"

enum {
    BUFFER_SIZE = 64,
    PAINT = 0x5a,
};

struct reading {
    struct tocsin_uring_op op;
    unsigned char *buffer;
    unsigned completes;
    unsigned lates;
    int32_t result; /* of either */
    bool drops_itself;
};

static atomic_uint releases;
static int fds[2];

static void complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct reading *reading = (struct reading *)(void *)op;

    (void)flags;
    reading->completes++;
    reading->result = result;
    if (reading->drops_itself) {
        tocsin_uring_drop(op);
    }
}

static void late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    struct reading *reading = (struct reading *)(void *)op;

    (void)flags;
    reading->lates++;
    reading->result = result;
}

static void release(struct tocsin_uring_op *op)
{
    memset(((struct reading *)(void *)op)->buffer, PAINT, BUFFER_SIZE);
    stress_add(&releases);
}

static const struct tocsin_uring_op_ops ops = {
    .complete = complete, .late = late, .release = release};
static const struct tocsin_uring_op_ops polled_ops = {.late = late, .release = release};

static void drop_here(void *arg, int status)
{
    STRESS_CHECK(status == 0);
    tocsin_uring_drop(&((struct reading *)arg)->op);
}

static void write_byte(struct support_random *random)
{
    char byte = 'a';

    stress_dither(random);
    STRESS_CHECK(write(fds[1], &byte, 1) == 1);
}

static void drop_at_some_point(struct tocsin_driver *driver, struct reading *reading,
                               struct support_random *random)
{
    for (unsigned i = support_random_below(random, 20); i > 0; i--) {
        stress_dither(random);
    }
    if (support_random_below(random, 2) == 0) {
        STRESS_CHECK(tocsin_post(driver, drop_here, reading) == 0);
    } else {
        tocsin_uring_drop(&reading->op);
    }
}

/* Nobody writes into the buffer any more, and the byte was read once. */
static void check_released(const struct reading *reading)
{
    unsigned char byte;
    bool was_read = reading->completes + reading->lates > 0 && reading->result == 1;

    STRESS_CHECK(reading->completes + reading->lates == 1);
    STRESS_CHECK(was_read || reading->result == -ECANCELED);
    if (!was_read) {
        STRESS_CHECK(read(fds[0], &byte, 1) == 1);
    }
    for (unsigned i = 0; i < BUFFER_SIZE; i++) {
        STRESS_CHECK(reading->buffer[i] == PAINT);
    }
}

static void race_once(struct tocsin_driver *driver, struct support_random *random, unsigned round)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    bool is_polled = support_random_below(random, 3) == 0;
    bool writes_first = support_random_below(random, 2) == 0;
    struct io_uring_sqe sqe;

    STRESS_CHECK(reading != NULL);
    reading->buffer = malloc(BUFFER_SIZE);
    STRESS_CHECK(reading->buffer != NULL);
    tocsin_uring_op_init(&reading->op, is_polled ? &polled_ops : &ops);
    stress_sqe_read(&sqe, fds[0], reading->buffer, BUFFER_SIZE);
    STRESS_CHECK(tocsin_uring_submit(driver, &reading->op, &sqe) == 0);
    if (writes_first) {
        write_byte(random);
    }
    drop_at_some_point(driver, reading, random);
    if (!writes_first) {
        write_byte(random);
    }
    stress_await(&releases, round + 1);
    check_released(reading);
    free(reading->buffer);
    free(reading);
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    STRESS_CHECK(pipe(fds) == 0);
    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &driver, "drops", NULL, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        race_once(driver, random, i);
    }
    tocsin_driver_unref(driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
    STRESS_CHECK(stress_load(&releases) == count);
    close(fds[0]);
    close(fds[1]);
}

int main(int argc, char **argv)
{
    return stress_uring_main(argc, argv, 1000, run);
}
