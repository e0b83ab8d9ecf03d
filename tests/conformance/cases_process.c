/*
 * The ends of processes, children and strangers: design section 7.
 *
 * A child here lives until it is told to go, by a byte or the end of a pipe.  No SIGCHLD handler is
 * touched: the last cases look.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

enum {
    DESCRIPTORS = TOCSIN_BACKEND_DESCRIPTORS,
};

struct child {
    pid_t pid;
    int go; /* the end of the pipe to tell it by */
};

/* What a child does: wait for a byte or the end of @fd, then exit with @code. */
_Noreturn static void child_main(int fd, int code)
{
    char byte;

    while (read(fd, &byte, 1) < 0 && errno == EINTR) {
    }
    _exit(code);
}

static struct child child_start(struct conform *t, int code)
{
    struct child child;
    int fds[2];

    REQUIRE(t, pipe(fds) == 0);
    child.go = fds[1];
    child.pid = fork();
    REQUIRE(t, child.pid >= 0);
    if (child.pid == 0) {
        close(fds[1]);
        child_main(fds[0], code);
    }
    close(fds[0]);
    return child;
}

static void child_let_go(struct conform *t, struct child *child)
{
    CHECK_EQ(t, write(child->go, "!", 1), 1);
    close(child->go);
}

/* Block until it has ended, and leave it as a zombie. */
static void child_has_ended(struct conform *t, const struct child *child)
{
    siginfo_t info;

    REQUIRE(t, waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT) == 0);
}

/* A pool and the object of a process. */
struct watched {
    struct tocsin_pool *pool;
    struct tocsin_process *process;
    struct tocsin_process_exit exit;
};

static struct watched watched_open(struct conform *t, pid_t pid)
{
    struct watched watched = {.pool = conform_pool(t)};

    REQUIRE(t, tocsin_process_open(tocsin_pool_driver(watched.pool), pid, &watched.process) == 0);
    memset(&watched.exit, 0xa5, sizeof(watched.exit));
    return watched;
}

static void watched_close(struct conform *t, struct watched *watched)
{
    CHECK_EQ(t, tocsin_process_close(watched->process), 0);
    conform_pool_close(t, watched->pool);
}

static int process_fn(struct tocsin_context *cx, void *arg)
{
    struct watched *watched = arg;

    return tocsin_process_poll(watched->process, cx, &watched->exit);
}

/* Run until it has ended, and check how. */
static void watched_ends(struct conform *t, struct watched *watched, int status, int code,
                         int signal)
{
    CHECK_EQ(t, probe_complete(t, watched->pool, process_fn, watched), 0);
    CHECK_EQ(t, watched->exit.status, status);
    if (status == 0) {
        CHECK_EQ(t, watched->exit.code, code);
        CHECK_EQ(t, watched->exit.signal, signal);
    }
}

/* It has not ended: a poll pends, and nothing wakes it. */
static void watched_pends(struct conform *t, struct watched *watched)
{
    struct probe probe = {0};
    struct tocsin_context cx = probe_context(&probe, watched->pool);

    CHECK_EQ(t, tocsin_process_poll(watched->process, &cx, &watched->exit), TOCSIN_PENDING);
    CHECK(t, probe_sleeps(t, watched->pool));
    CHECK_EQ(t, probe_wakes(&probe), 0);
    /* Hand the slot to another waker: this one ends here. */
    cx.waker = (struct tocsin_waker){0};
    CHECK_EQ(t, tocsin_process_poll(watched->process, &cx, &watched->exit), TOCSIN_PENDING);
    REQUIRE(t, probe_references(&probe) == 0);
}

static void childs_success_is_told(struct conform *t)
{
    struct child child = child_start(t, 0);
    struct watched watched = watched_open(t, child.pid);

    child_let_go(t, &child);
    watched_ends(t, &watched, 0, 0, 0);
    CHECK(t, !watched.exit.core_dumped);
    watched_close(t, &watched);
}

static void childs_exit_code_is_told(struct conform *t)
{
    static const int codes[] = {1, 42, 255};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct child child = child_start(t, codes[i]);
        struct watched watched = watched_open(t, child.pid);

        child_let_go(t, &child);
        watched_ends(t, &watched, 0, codes[i], 0);
        watched_close(t, &watched);
    }
}

static void running_child_pends_and_the_signal_that_killed_it_is_told(struct conform *t)
{
    struct child child = child_start(t, 0);
    struct watched watched = watched_open(t, child.pid);

    watched_pends(t, &watched);
    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGKILL), 0);
    watched_ends(t, &watched, 0, -1, SIGKILL);
    watched_close(t, &watched);
    close(child.go);
}

static void closing_leaves_a_usable_child(struct conform *t)
{
    struct child child = child_start(t, 3);
    struct watched watched = watched_open(t, child.pid);
    int status = 0;

    watched_pends(t, &watched);
    watched_close(t, &watched);
    /* Neither killed nor reaped. */
    CHECK_EQ(t, waitpid(child.pid, &status, WNOHANG), 0);
    child_let_go(t, &child);
    CHECK_EQ(t, waitpid(child.pid, &status, 0), child.pid);
    CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void closing_leaves_a_zombie_to_its_parent(struct conform *t)
{
    struct child child = child_start(t, 3);
    struct watched watched = watched_open(t, child.pid);
    int status = 0;

    child_let_go(t, &child);
    child_has_ended(t, &child);
    probe_turns(t, watched.pool);
    watched_close(t, &watched);
    CHECK_EQ(t, waitpid(child.pid, &status, 0), child.pid);
    CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void answer_is_repeated_after_the_end(struct conform *t)
{
    struct child child = child_start(t, 42);
    struct watched watched = watched_open(t, child.pid);

    child_let_go(t, &child);
    for (int i = 0; i < 3; i++) {
        watched_ends(t, &watched, 0, 42, 0);
        memset(&watched.exit, 0xa5, sizeof(watched.exit));
    }
    /* The poll that told it has reaped it. */
    CHECK_EQ(t, waitpid(child.pid, NULL, 0), -1);
    CHECK_EQ(t, errno, ECHILD);
    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGKILL), -ESRCH);
    watched_close(t, &watched);
}

static void child_that_has_ended_is_told(struct conform *t)
{
    struct child child = child_start(t, 42);
    struct watched watched;

    child_let_go(t, &child);
    child_has_ended(t, &child);
    watched = watched_open(t, child.pid);
    watched_ends(t, &watched, 0, 42, 0);
    watched_close(t, &watched);
}

static void child_reaped_before_the_open_is_esrch(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_process *process = NULL;
    struct child child = child_start(t, 0);

    child_let_go(t, &child);
    REQUIRE(t, waitpid(child.pid, NULL, 0) == child.pid);
    CHECK_EQ(t, tocsin_process_open(tocsin_pool_driver(pool), child.pid, &process), -ESRCH);
    CHECK(t, process == NULL);
    conform_pool_close(t, pool);
}

static void child_reaped_by_somebody_else_is_echild(struct conform *t)
{
    struct child child = child_start(t, 42);
    struct watched watched = watched_open(t, child.pid);

    watched_pends(t, &watched);
    child_let_go(t, &child);
    REQUIRE(t, waitpid(child.pid, NULL, 0) == child.pid);
    watched_ends(t, &watched, -ECHILD, 0, 0);
    watched_ends(t, &watched, -ECHILD, 0, 0);
    watched_close(t, &watched);
}

/* A grandchild, whose parent has gone: no child of this process. */
static struct child stranger_start(struct conform *t)
{
    struct child stranger;
    int go[2];
    int told[2];
    pid_t parent;

    REQUIRE(t, pipe(go) == 0 && pipe(told) == 0);
    parent = fork();
    REQUIRE(t, parent >= 0);
    if (parent == 0) {
        pid_t pid = fork();

        if (pid == 0) {
            close(go[1]);
            child_main(go[0], 0);
        }
        _exit(write(told[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
    }
    REQUIRE(t, read(told[0], &stranger.pid, sizeof(stranger.pid)) == sizeof(stranger.pid));
    REQUIRE(t, stranger.pid > 0 && waitpid(parent, NULL, 0) == parent);
    close(go[0]);
    close(told[0]);
    close(told[1]);
    stranger.go = go[1];
    return stranger;
}

static void strangers_end_is_told_as_echild(struct conform *t)
{
    struct child stranger = stranger_start(t);
    struct watched watched = watched_open(t, stranger.pid);

    watched_pends(t, &watched);
    child_let_go(t, &stranger);
    watched_ends(t, &watched, -ECHILD, 0, 0);
    watched_ends(t, &watched, -ECHILD, 0, 0);
    watched_close(t, &watched);
}

static void stopped_child_has_not_ended(struct conform *t)
{
    struct child child = child_start(t, 42);
    struct watched watched = watched_open(t, child.pid);

    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGSTOP), 0);
    REQUIRE(t, waitpid(child.pid, NULL, WUNTRACED) == child.pid);
    watched_pends(t, &watched);
    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGCONT), 0);
    child_let_go(t, &child);
    watched_ends(t, &watched, 0, 42, 0);
    watched_close(t, &watched);
}

static void children_end_in_any_order(struct conform *t)
{
    enum { CHILDREN = 8 };
    struct tocsin_pool *pool = conform_pool(t);
    struct child children[CHILDREN];
    struct watched watched[CHILDREN];
    struct probe_task tasks[CHILDREN];

    for (int i = 0; i < CHILDREN; i++) {
        children[i] = child_start(t, i);
        watched[i] = (struct watched){.pool = pool};
        REQUIRE(t, tocsin_process_open(tocsin_pool_driver(pool), children[i].pid,
                                       &watched[i].process) == 0);
        probe_spawn(t, pool, &tasks[i], process_fn, &watched[i]);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int next = i * 3 % CHILDREN;

        child_let_go(t, &children[next]);
        CHECK_EQ(t, probe_finish(t, pool, &tasks[next]), 0);
        CHECK_EQ(t, watched[next].exit.code, next);
        CHECK_EQ(t, tocsin_process_close(watched[next].process), 0);
    }
    conform_pool_close(t, pool);
}

static void what_is_no_pid_is_refused(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct tocsin_process *process = NULL;

    CHECK_EQ(t, tocsin_process_open(driver, 0, &process), -EINVAL);
    CHECK_EQ(t, tocsin_process_open(driver, -1, &process), -EINVAL);
    CHECK_EQ(t, tocsin_process_open(driver, INT64_MAX, &process), -EINVAL);
    /* Cut to 32 bits it would be this process. */
    CHECK_EQ(t, tocsin_process_open(driver, (INT64_C(1) << 32) + getpid(), &process), -EINVAL);
    CHECK(t, process == NULL);
    CHECK_EQ(t, tocsin_process_close(NULL), 0);
    conform_pool_close(t, pool);
}

struct thread_number {
    struct conform_gate known;
    struct conform_gate over;
    pid_t number;
};

static void tell_number(struct conform *t, void *arg)
{
    struct thread_number *thread = arg;

    (void)t;
    thread->number = gettid();
    conform_gate_open(&thread->known);
    conform_gate_wait(&thread->over);
}

static void a_thread_is_no_process(struct conform *t)
{
    struct tocsin_pool *pool = conform_pool(t);
    struct tocsin_process *process = NULL;
    struct thread_number number = {.number = 0};
    struct conform_thread *thread = conform_thread(t, tell_number, &number);
    int r;

    conform_gate_wait(&number.known);
    r = tocsin_process_open(tocsin_pool_driver(pool), number.number, &process);
    CHECK(t, r == -EINVAL || r == -ESRCH);
    CHECK(t, process == NULL);
    conform_gate_open(&number.over);
    conform_thread_join(t, thread);
    conform_pool_close(t, pool);
}

static void kill_reaches_the_process_or_tells(struct conform *t)
{
    struct child child = child_start(t, 0);
    struct watched watched = watched_open(t, child.pid);

    CHECK_EQ(t, tocsin_process_kill(watched.process, 0), 0);
    CHECK_EQ(t, tocsin_process_kill(watched.process, 1000), -EINVAL);
    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGTERM), 0);
    watched_ends(t, &watched, 0, -1, SIGTERM);
    CHECK_EQ(t, tocsin_process_kill(watched.process, SIGTERM), -ESRCH);
    watched_close(t, &watched);
    close(child.go);
}

static volatile sig_atomic_t sigchlds;

static void on_sigchld(int number)
{
    (void)number;
    sigchlds++;
}

static void sigchld_is_left_alone(struct conform *t)
{
    struct sigaction before = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART};
    struct sigaction after;
    struct child child;
    struct watched watched;
    sigset_t mask;

    sigemptyset(&before.sa_mask);
    REQUIRE(t, sigaction(SIGCHLD, &before, NULL) == 0);
    child = child_start(t, 42);
    watched = watched_open(t, child.pid);
    child_let_go(t, &child);
    watched_ends(t, &watched, 0, 42, 0);
    watched_close(t, &watched);

    CHECK_EQ(t, sigchlds, 1);
    REQUIRE(t, sigaction(SIGCHLD, NULL, &after) == 0);
    CHECK(t, after.sa_handler == on_sigchld);
    CHECK_EQ(t, after.sa_flags & SA_RESTART, SA_RESTART);
    REQUIRE(t, pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    CHECK_EQ(t, sigismember(&mask, SIGCHLD), 0);
}

static void child_that_the_kernel_reaps_is_echild(struct conform *t)
{
    struct child child;
    struct watched watched;

    REQUIRE(t, signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    child = child_start(t, 42);
    watched = watched_open(t, child.pid);
    watched_pends(t, &watched);
    child_let_go(t, &child);
    watched_ends(t, &watched, -ECHILD, 0, 0);
    watched_close(t, &watched);
}

CONFORM_CASES(
    process,
    CASE(childs_success_is_told, "7", "A child that exits with 0 is told so.", DESCRIPTORS),
    CASE(childs_exit_code_is_told, "7", "A child's exit code is told.", DESCRIPTORS),
    CASE(running_child_pends_and_the_signal_that_killed_it_is_told, "7",
         "A running child pends; killed, its signal is told.", DESCRIPTORS),
    CASE(closing_leaves_a_usable_child, "7", "Closing neither kills nor reaps.", DESCRIPTORS),
    CASE(closing_leaves_a_zombie_to_its_parent, "7",
         "Closing with the end unpolled leaves the child to be reaped.", DESCRIPTORS),
    CASE(answer_is_repeated_after_the_end, "7", "Polls after the end repeat the answer.",
         DESCRIPTORS),
    CASE(child_that_has_ended_is_told, "7", "A child that ended before the open is told.",
         DESCRIPTORS),
    CASE(child_reaped_before_the_open_is_esrch, "7", "A process that is gone is -ESRCH.",
         DESCRIPTORS),
    CASE(child_reaped_by_somebody_else_is_echild, "7",
         "A child that somebody else reaped ends with status -ECHILD.", DESCRIPTORS),
    CASE(strangers_end_is_told_as_echild, "7",
         "The end of a process that is no child is told, with status -ECHILD.", DESCRIPTORS),
    CASE(stopped_child_has_not_ended, "7", "A stop is no end.", DESCRIPTORS),
    CASE(children_end_in_any_order, "7", "Each of several children is told by its own object.",
         DESCRIPTORS),
    CASE(what_is_no_pid_is_refused, "7", "What is no pid is -EINVAL.", DESCRIPTORS),
    CASE(a_thread_is_no_process, "7", "The number of a thread is not taken for a process's.",
         DESCRIPTORS | TOCSIN_BACKEND_FOREIGN_THREADS),
    CASE(kill_reaches_the_process_or_tells, "7",
         "A signal reaches the process that was opened, or says -ESRCH.", DESCRIPTORS),
    CASE(sigchld_is_left_alone, "11", "SIGCHLD's handler and mask stay the program's.",
         DESCRIPTORS),
    CASE(child_that_the_kernel_reaps_is_echild, "7",
         "With SIGCHLD ignored a child's end has the status -ECHILD.", DESCRIPTORS));
