/*
 * Out of descriptors: each operation that takes some answers -EMFILE, keeps none, and works when
 * there are some again.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tocsin/linux.h>

#include "tests/fault/fault.h"

static int open_pool(void *arg)
{
    return tocsin_pool_open(arg, NULL, NULL);
}

static void pool_open_without_descriptors(void)
{
    struct tocsin_pool *pool = NULL;

    fault_without_descriptors(open_pool, &pool, 2);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    FAULT_EXPECT(fault_spare_descriptors(), 2);
}

struct on_a_thread {
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
};

static int spawn_thread(void *arg)
{
    struct on_a_thread *on = arg;

    return tocsin_pool_spawn_thread(&on->thread, &on->driver, "emfile", NULL, NULL);
}

static void spawn_thread_without_descriptors(void)
{
    struct on_a_thread on = {.thread = NULL};

    fault_without_descriptors(spawn_thread, &on, 2);
    tocsin_driver_unref(on.driver);
    FAULT_EXPECT(tocsin_pool_thread_join(on.thread), 0);
}

static int end_at_once(struct tocsin_context *cx, void *arg)
{
    (void)cx;
    ++*(int *)arg;
    return 0;
}

static int run_with(void *arg)
{
    int *calls = arg;
    int before = *calls;
    int r = tocsin_run_with(end_at_once, calls, NULL);

    FAULT_EXPECT(*calls, r == 0 ? before + 1 : before);
    return r;
}

static void run_with_without_descriptors(void)
{
    int calls = 0;

    fault_without_descriptors(run_with, &calls, 2);
}

static int give_out_fd(void *arg)
{
    int fd = tocsin_pool_poll_fd(arg);

    return fd < 0 ? fd : 0;
}

static void poll_fd_without_descriptors(void)
{
    struct tocsin_pool *pool = fault_pool();

    fault_without_descriptors(give_out_fd, pool, 1);
    FAULT_EXPECT(fault_spare_descriptors(), 0);
    FAULT_EXPECT(give_out_fd(pool), 0); /* the same again: it takes no more */
    FAULT_EXPECT(tocsin_pool_turn(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

struct opening {
    struct tocsin_pool *pool;
    struct tocsin_process *process;
    struct tocsin_signals *signals;
    int fds[2];
};

static int open_process(void *arg)
{
    struct opening *opening = arg;

    return tocsin_process_open(tocsin_pool_driver(opening->pool), getpid(), &opening->process);
}

static void process_open_without_descriptors(void)
{
    struct opening opening = {.pool = fault_pool()};

    if (open_process(&opening) == -ENOSYS) {
        fault_skip("no pidfd_open here");
    }
    FAULT_EXPECT(tocsin_process_close(opening.process), 0);
    fault_without_descriptors(open_process, &opening, 1);
    FAULT_EXPECT(tocsin_process_close(opening.process), 0);
    FAULT_EXPECT(tocsin_pool_close(opening.pool), 0);
}

static int open_signals(void *arg)
{
    static const int signals[] = {SIGUSR1};
    struct opening *opening = arg;

    return tocsin_signals_open(tocsin_pool_driver(opening->pool), signals, 1, &opening->signals);
}

static void signals_open_without_descriptors(void)
{
    struct opening opening = {.pool = fault_pool()};

    fault_without_descriptors(open_signals, &opening, 1);
    FAULT_EXPECT(tocsin_signals_close(opening.signals), 0);
    FAULT_EXPECT(tocsin_pool_close(opening.pool), 0);
}

static int make_pipe(void *arg)
{
    struct opening *opening = arg;

    return tocsin_pipe_pair(&opening->fds[0], &opening->fds[1]);
}

static void pipe_pair_without_descriptors(void)
{
    struct opening opening = {.fds = {-7, -7}};

    fault_exhaust(1);
    FAULT_EXPECT(make_pipe(&opening), -EMFILE);
    FAULT_EXPECT(opening.fds[0], -7);
    FAULT_EXPECT(opening.fds[1], -7);
    fault_release_descriptor();
    FAULT_EXPECT(make_pipe(&opening), 0);
    close(opening.fds[0]);
    close(opening.fds[1]);
}

/* ---- accept ------------------------------------------------------------------------------------
 */

struct server {
    struct tocsin_task task;
    struct tocsin_socket *listener;
    int refused; /* so many accepts said -EMFILE */
    intptr_t accepted;
};

static int serve(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct server *server = (struct server *)(void *)task;
    int r = tocsin_socket_accept(server->listener, cx, &server->accepted);

    if (r == -EMFILE) {
        server->refused++;
        if (server->refused == 3) {
            fault_release_descriptor();
        }
        return tocsin_task_yield(cx); /* no event will come for what is there already */
    }
    return r;
}

static void a_connection_that_no_descriptor_was_left_for_is_not_lost(void)
{
    static const struct tocsin_task_ops ops = {.poll = serve};
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(addr);
    struct tocsin_pool *pool = fault_pool();
    struct server server = {.accepted = -1};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int result = -9;
    char byte = 0;

    if (support_on_valgrind()) {
        fault_skip("valgrind accepts, then sees that there is no descriptor, and hangs up");
    }
    FAULT_EXPECT(bind(listener, (struct sockaddr *)&addr, size), 0);
    FAULT_EXPECT(listen(listener, 5), 0);
    FAULT_EXPECT(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
    FAULT_EXPECT(tocsin_socket_open(tocsin_pool_driver(pool), listener, &server.listener), 0);
    FAULT_EXPECT(tocsin_task_spawn_ref(tocsin_pool_driver(pool), &server.task, &ops, "server"), 0);
    FAULT_EXPECT(tocsin_pool_turn(pool), 1);
    FAULT_EXPECT(connect(client, (struct sockaddr *)&addr, size), 0);
    FAULT_EXPECT(write(client, "x", 1), 1);
    fault_exhaust(0);
    FAULT_EXPECT(tocsin_pool_run_until(pool, &server.task, &result), 0);
    FAULT_EXPECT(result, 0);
    FAULT_EXPECT(server.refused, 3);
    FAULT_EXPECT(fcntl((int)server.accepted, F_SETFL, 0), 0); /* blocking, for this read */
    FAULT_EXPECT(read((int)server.accepted, &byte, 1), 1);
    FAULT_EXPECT(byte, 'x');
    close((int)server.accepted);
    close(client);
    tocsin_task_unref(&server.task);
    FAULT_EXPECT(tocsin_socket_close(server.listener), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* ---- A pool that runs --------------------------------------------------------------------------
 */

struct counted {
    struct tocsin_pool *pool;
    int timers;
    int posts;
    int events;
};

static void count_timer(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct counted *counted = arg;

    (void)timer;
    (void)missed;
    counted->timers++;
}

static void count_post(void *arg, int status)
{
    struct counted *counted = arg;

    FAULT_EXPECT(status, 0);
    counted->posts++;
}

static void count_event(struct tocsin_watch *watch, int events, void *arg)
{
    struct counted *counted = arg;

    FAULT_CHECK(events > 0);
    counted->events++;
    FAULT_EXPECT(tocsin_watch_stop(watch), 0);
}

static void a_pool_that_runs_needs_no_more_descriptors(void)
{
    struct counted counted = {.pool = fault_pool()};
    struct tocsin_driver *driver = tocsin_pool_driver(counted.pool);
    struct tocsin_watch watch = {.ready_ = NULL};
    struct tocsin_timer timer;
    int fds[2];

    FAULT_EXPECT(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    fault_exhaust(0);
    FAULT_EXPECT(tocsin_timer_init(&timer, driver, count_timer, &counted), 0);
    tocsin_timer_start(&timer, &(struct tocsin_timer_options){.delay_ns = 1000000});
    FAULT_EXPECT(tocsin_post(driver, count_post, &counted), 0);
    FAULT_EXPECT(tocsin_watch_start(&watch, driver, fds[0], TOCSIN_IN, count_event, &counted), 0);
    FAULT_EXPECT(write(fds[1], "a", 1), 1);
    FAULT_EXPECT(tocsin_pool_run(counted.pool), 0);
    FAULT_EXPECT(counted.timers, 1);
    FAULT_EXPECT(counted.posts, 1);
    FAULT_EXPECT(counted.events, 1);
    tocsin_timer_deinit(&timer);
    FAULT_EXPECT(tocsin_pool_close(counted.pool), 0);
    close(fds[0]);
    close(fds[1]);
}

static const struct fault_case cases[] = {
    {"pool_open_without_descriptors", pool_open_without_descriptors},
    {"spawn_thread_without_descriptors", spawn_thread_without_descriptors},
    {"run_with_without_descriptors", run_with_without_descriptors},
    {"poll_fd_without_descriptors", poll_fd_without_descriptors},
    {"process_open_without_descriptors", process_open_without_descriptors},
    {"signals_open_without_descriptors", signals_open_without_descriptors},
    {"pipe_pair_without_descriptors", pipe_pair_without_descriptors},
    {"a_connection_that_no_descriptor_was_left_for_is_not_lost",
     a_connection_that_no_descriptor_was_left_for_is_not_lost},
    {"a_pool_that_runs_needs_no_more_descriptors", a_pool_that_runs_needs_no_more_descriptors},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
