/*
 * System calls that are refused, as containers' filters and old kernels do: by seccomp, each in a
 * process of its own.  What can do without goes on, what cannot says so, and nothing is left open.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tocsin/linux.h>

#include "tests/fault/fault.h"

#define MS UINT64_C(1000000)

enum {
    ANY_ARGUMENT = -1,
    ROUNDS = 20,
};

/*
 * From here on @number answers @error in this process; with @value, only where its argument
 * @argument is that.
 */
static void refuse_some(int number, int argument, uint32_t value, int error)
{
    uint32_t nr = offsetof(struct seccomp_data, nr);
    uint32_t data =
        argument < 0
            ? nr
            : (uint32_t)(offsetof(struct seccomp_data, args) + (size_t)argument * sizeof(uint64_t));
    uint32_t wanted = argument < 0 ? (uint32_t)number : value;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, data),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wanted, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = FAULT_COUNT(code), .filter = code};

    if (support_on_valgrind()) {
        fault_skip("under valgrind a filter would meet valgrind's own calls");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        fault_skip("no filters here");
    }
}

static void refuse(int number, int error)
{
    refuse_some(number, ANY_ARGUMENT, 0, error);
}

/* ---- The wait ----------------------------------------------------------------------------------
 */

struct timed {
    struct tocsin_pool *pool;
    uint64_t deadline_ns;
    uint64_t fired_ns;
};

static void note(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct timed *timed = arg;

    (void)timer;
    (void)missed;
    timed->fired_ns = tocsin_pool_now_ns(timed->pool);
}

/*
 * Never early; and late by a few milliseconds at most, which a busy machine does not always allow,
 * so that the best of some counts.
 */
static void check_timers(void)
{
    struct timed timed = {.pool = fault_pool()};
    uint64_t best_ns = TOCSIN_NEVER_NS;
    struct tocsin_timer timer;

    FAULT_EXPECT(tocsin_timer_init(&timer, tocsin_pool_driver(timed.pool), note, &timed), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        timed.deadline_ns = tocsin_pool_now_ns(timed.pool) + MS + i * 137911;
        tocsin_timer_arm(&timer, timed.deadline_ns);
        FAULT_EXPECT(tocsin_pool_run(timed.pool), 0);
        FAULT_CHECK(timed.fired_ns >= timed.deadline_ns);
        if (timed.fired_ns - timed.deadline_ns < best_ns) {
            best_ns = timed.fired_ns - timed.deadline_ns;
        }
    }
    FAULT_CHECK(best_ns < 5 * MS);
    tocsin_timer_deinit(&timer);
    FAULT_EXPECT(tocsin_pool_close(timed.pool), 0);
}

static void timers_without_epoll_pwait2(void)
{
    refuse(SYS_epoll_pwait2, ENOSYS);
    check_timers();
}

static void timers_where_a_filter_refuses_epoll_pwait2(void)
{
    refuse(SYS_epoll_pwait2, EPERM);
    check_timers();
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

static void check_open(int expected)
{
    struct tocsin_pool *pool = NULL;
    struct tocsin_pool_thread *thread = NULL;
    struct tocsin_driver *driver = NULL;
    unsigned descriptors = fault_descriptors();

    FAULT_EXPECT(tocsin_pool_open(&pool, NULL, NULL), expected);
    FAULT_EXPECT(tocsin_pool_spawn_thread(&thread, &driver, NULL, NULL, NULL), expected);
    FAULT_CHECK(pool == NULL && thread == NULL && driver == NULL);
    FAULT_EXPECT(fault_descriptors(), descriptors);
}

static void open_without_epoll(void)
{
    refuse(SYS_epoll_create1, ENOSYS);
    check_open(-ENOSYS);
}

static void open_without_eventfd(void)
{
    refuse(SYS_eventfd2, EMFILE);
    check_open(-EMFILE);
}

static void open_where_epoll_takes_nothing(void)
{
    refuse(SYS_epoll_ctl, EPERM);
    check_open(-EPERM);
}

/* A child could not be told from its parent: then there is no pool. */
static void open_without_a_fork_mark(void)
{
    refuse_some(SYS_madvise, 2, MADV_WIPEONFORK, EINVAL);
    check_open(-EINVAL);
}

static void spawn_thread_without_threads(void)
{
    struct tocsin_pool_thread *thread = NULL;
    struct tocsin_driver *driver = NULL;
    unsigned descriptors = fault_descriptors();

    refuse(SYS_clone3, EAGAIN);
    refuse(SYS_clone, EAGAIN);
    FAULT_EXPECT(tocsin_pool_spawn_thread(&thread, &driver, NULL, NULL, NULL), -EAGAIN);
    FAULT_CHECK(thread == NULL && driver == NULL);
    FAULT_EXPECT(fault_descriptors(), descriptors);
    _exit(0); /* a leak checker needs a thread of its own */
}

static void count_post(void *arg, int status)
{
    FAULT_EXPECT(status, 0);
    ++*(int *)arg;
}

/* What is only asked for is done without where it is refused. */
static void run_without_slack_and_affinity(void)
{
    struct tocsin_pool_options options = {.timer_slack_ns = 1, .busy_poll_ns = 1000};
    struct tocsin_pool *pool = NULL;
    int calls = 0;

    refuse_some(SYS_prctl, 0, PR_SET_TIMERSLACK, EPERM);
    refuse(SYS_sched_getaffinity, EPERM);
    FAULT_EXPECT(tocsin_pool_open(&pool, NULL, &options), 0);
    FAULT_EXPECT(tocsin_post(tocsin_pool_driver(pool), count_post, &calls), 0);
    FAULT_EXPECT(tocsin_pool_run(pool), 0);
    FAULT_EXPECT(calls, 1);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

/* ---- Objects -----------------------------------------------------------------------------------
 */

static void process_open_without_pidfds(void)
{
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_process *process = NULL;

    refuse(SYS_pidfd_open, ENOSYS);
    FAULT_EXPECT(tocsin_process_open(tocsin_pool_driver(pool), getpid(), &process), -ENOSYS);
    FAULT_CHECK(process == NULL);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static void signals_open_without_signalfds(void)
{
    static const int numbers[] = {SIGUSR1};
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_signals *signals = NULL;

    refuse(SYS_signalfd4, ENOSYS);
    FAULT_EXPECT(tocsin_signals_open(tocsin_pool_driver(pool), numbers, 1, &signals), -ENOSYS);
    FAULT_CHECK(signals == NULL);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static void poll_fd_without_timerfds(void)
{
    struct tocsin_pool *pool = fault_pool();
    unsigned descriptors = fault_descriptors();
    int calls = 0;

    refuse(SYS_timerfd_create, EPERM);
    FAULT_EXPECT(tocsin_pool_poll_fd(pool), -EPERM);
    FAULT_EXPECT(tocsin_pool_poll_fd(pool), -EPERM);
    FAULT_EXPECT(fault_descriptors(), descriptors);
    FAULT_EXPECT(tocsin_post(tocsin_pool_driver(pool), count_post, &calls), 0);
    FAULT_EXPECT(tocsin_pool_run(pool), 0); /* it runs by itself all the same */
    FAULT_EXPECT(calls, 1);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static void never(struct tocsin_watch *watch, int events, void *arg)
{
    (void)watch;
    (void)events;
    (void)arg;
    FAULT_CHECK(false);
}

/* The registration is refused when the object is opened: nothing of it is left. */
static void objects_where_epoll_takes_nothing_more(void)
{
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_pipe *pipe = NULL;
    struct tocsin_fd_ready *ready = NULL;
    struct tocsin_watch watch = {.ready_ = NULL};
    unsigned descriptors;
    int fds[2];

    FAULT_EXPECT(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    descriptors = fault_descriptors();
    refuse(SYS_epoll_ctl, ENOSPC);
    FAULT_EXPECT(tocsin_pipe_open(driver, fds[0], &pipe), -ENOSPC);
    FAULT_EXPECT(tocsin_fd_ready_open(driver, fds[0], &ready), -ENOSPC);
    FAULT_EXPECT(tocsin_watch_start(&watch, driver, fds[0], TOCSIN_IN, never, NULL), -ENOSPC);
    FAULT_EXPECT(fault_descriptors(), descriptors);
    FAULT_EXPECT(tocsin_pool_turn(pool), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void check_write(int error)
{
    struct tocsin_context cx = {.driver = NULL};
    struct tocsin_pool *pool = fault_pool();
    struct tocsin_pipe *pipe;
    char data[4] = "";
    int fds[2];

    refuse(SYS_pwritev2, error);
    signal(SIGPIPE, SIG_IGN); /* as it is documented for kernels without the flag */
    FAULT_EXPECT(tocsin_pipe_pair(&fds[0], &fds[1]), 0);
    FAULT_EXPECT(tocsin_pipe_open(tocsin_pool_driver(pool), fds[1], &pipe), 0);
    for (int i = 0; i < 3; i++) {
        FAULT_EXPECT(tocsin_pipe_write(pipe, "abc", 3, &cx), 3);
        FAULT_EXPECT(read(fds[0], data, sizeof(data)), 3);
    }
    close(fds[0]);
    FAULT_EXPECT(tocsin_pipe_write(pipe, "abc", 3, &cx), -EPIPE);
    FAULT_EXPECT(tocsin_pipe_close(pipe), 0);
    FAULT_EXPECT(tocsin_pool_close(pool), 0);
}

static void write_without_pwritev2(void)
{
    check_write(ENOSYS);
}

static void write_where_pwritev2_lacks_the_flag(void)
{
    check_write(EOPNOTSUPP);
}

static void write_where_a_filter_refuses_pwritev2(void)
{
    check_write(EPERM);
}

static const struct fault_case cases[] = {
    {"timers_without_epoll_pwait2", timers_without_epoll_pwait2},
    {"timers_where_a_filter_refuses_epoll_pwait2", timers_where_a_filter_refuses_epoll_pwait2},
    {"open_without_epoll", open_without_epoll},
    {"open_without_eventfd", open_without_eventfd},
    {"open_where_epoll_takes_nothing", open_where_epoll_takes_nothing},
    {"open_without_a_fork_mark", open_without_a_fork_mark},
    {"spawn_thread_without_threads", spawn_thread_without_threads},
    {"run_without_slack_and_affinity", run_without_slack_and_affinity},
    {"process_open_without_pidfds", process_open_without_pidfds},
    {"signals_open_without_signalfds", signals_open_without_signalfds},
    {"poll_fd_without_timerfds", poll_fd_without_timerfds},
    {"objects_where_epoll_takes_nothing_more", objects_where_epoll_takes_nothing_more},
    {"write_without_pwritev2", write_without_pwritev2},
    {"write_where_pwritev2_lacks_the_flag", write_where_pwritev2_lacks_the_flag},
    {"write_where_a_filter_refuses_pwritev2", write_where_a_filter_refuses_pwritev2},
};

int main(void)
{
    return fault_main(cases, FAULT_COUNT(cases));
}
