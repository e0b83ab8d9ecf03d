/*
 * An accept against its cancel or its drop, and against the connection that it waits for.
 *
 * Whichever comes first: a descriptor that was accepted is told of once, by the complete or by the
 * late hook, each of which closes it, or its connection is still in the listener's queue.  In the
 * end as many descriptors are open as in the beginning.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/stress/uring.h"

static struct tocsin_uring_op accepting;
static atomic_uint ended;
static atomic_uint releases;
static atomic_uint accepted; /* by the ring */

static void close_accepted(int32_t result)
{
    if (result >= 0) {
        STRESS_CHECK(close(result) == 0); /* it is open, and nobody else's */
        stress_add(&accepted);
    } else {
        STRESS_CHECK(result == -ECANCELED);
    }
}

static void complete(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    (void)op;
    close_accepted(result);
    if ((flags & IORING_CQE_F_MORE) == 0) {
        stress_add(&ended);
    }
}

static void late(struct tocsin_uring_op *op, int32_t result, uint32_t flags)
{
    (void)op;
    (void)flags;
    close_accepted(result);
}

static void release(struct tocsin_uring_op *op)
{
    (void)op;
    stress_add(&releases);
}

static const struct tocsin_uring_op_ops ops = {
    .complete = complete, .late = late, .release = release};

/* A stream socket that listens, at an address of the kernel's choice. */
static int listen_somewhere(struct sockaddr_un *address, socklen_t *length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    STRESS_CHECK(fd >= 0);
    STRESS_CHECK(bind(fd, (struct sockaddr *)address, sizeof(address->sun_family)) == 0);
    STRESS_CHECK(listen(fd, 8) == 0);
    *length = sizeof(*address);
    STRESS_CHECK(getsockname(fd, (struct sockaddr *)address, length) == 0);
    return fd;
}

struct connector {
    struct support_thread thread;
    struct sockaddr_un address;
    socklen_t length;
    atomic_uint asked;
    atomic_uint connected;
    unsigned count;
    uint64_t seed;
};

static void connect_often(void *arg)
{
    struct connector *connector = arg;
    struct support_random random = {.state = connector->seed};

    for (unsigned i = 0; i < connector->count; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        STRESS_CHECK(fd >= 0);
        stress_await(&connector->asked, i + 1);
        stress_dither(&random);
        STRESS_CHECK(connect(fd, (struct sockaddr *)&connector->address, connector->length) == 0);
        close(fd);
        stress_add(&connector->connected);
    }
}

static void drop_here(void *arg, int status)
{
    (void)arg;
    STRESS_CHECK(status == 0);
    tocsin_uring_drop(&accepting);
}

/* The race: one thread connects while this one, or the pool's, takes the accept back. */
static void take_back(struct tocsin_driver *driver, unsigned ended_before,
                      struct support_random *random)
{
    unsigned how = support_random_below(random, 3);
    int r;

    for (unsigned i = support_random_below(random, 8); i > 0; i--) {
        stress_dither(random);
    }
    if (how == 0) {
        r = tocsin_uring_cancel(&accepting);
        STRESS_CHECK(r == 0 || r == -EALREADY);
        stress_await(&ended, ended_before + 1);
    } else if (how == 1) {
        STRESS_CHECK(tocsin_post(driver, drop_here, NULL) == 0);
        return;
    }
    tocsin_uring_drop(&accepting);
}

/* Take out what the ring did not accept.  Returns: how many. */
static unsigned drain(int listener)
{
    unsigned count = 0;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        close(fd);
        count++;
    }
    STRESS_CHECK(errno == EAGAIN);
    return count;
}

static void race_once(struct tocsin_driver *driver, struct connector *connector, int listener,
                      unsigned round, struct support_random *random)
{
    unsigned accepted_before = stress_load(&accepted);
    unsigned ended_before = stress_load(&ended);
    struct io_uring_sqe sqe;

    memset(&sqe, 0, sizeof(sqe));
    if (support_random_below(random, 3) == 0) {
        io_uring_prep_multishot_accept(&sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    } else {
        io_uring_prep_accept(&sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    }
    tocsin_uring_op_init(&accepting, &ops);
    STRESS_CHECK(tocsin_uring_submit(driver, &accepting, &sqe) == 0);
    stress_add(&connector->asked);
    if (support_random_below(random, 4) == 0) {
        stress_await(&connector->connected, round + 1);
    }
    take_back(driver, ended_before, random);
    stress_await(&releases, round + 1);
    stress_await(&connector->connected, round + 1);
    STRESS_CHECK(stress_load(&accepted) - accepted_before + drain(listener) == 1);
    stress_progress();
}

static void run(unsigned count, struct support_random *random)
{
    static struct connector connector;
    unsigned before = stress_descriptors();
    int listener = listen_somewhere(&connector.address, &connector.length);
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;

    connector.count = count;
    connector.seed = support_random_next(random);
    STRESS_CHECK(tocsin_pool_spawn_thread(&thread, &driver, "accepts", NULL, NULL) == 0);
    support_thread_start(&connector.thread, 1, connect_often, &connector);
    for (unsigned i = 0; i < count; i++) {
        race_once(driver, &connector, listener, i, random);
    }
    support_thread_join(&connector.thread);
    tocsin_driver_unref(driver);
    STRESS_CHECK(tocsin_pool_thread_join(thread) == 0);
    close(listener);
    STRESS_CHECK(stress_descriptors() == before);
}

int main(int argc, char **argv)
{
    return stress_uring_main(argc, argv, 10000, run);
}
