/*
 * Operations on child processes and signals.
 */
#include "differential.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static int process_end(struct actor *actor, struct tocsin_process *process,
                       struct tocsin_process_exit *out_exit)
{
    int r;

    do {
        r = CALL(tocsin_process_poll)(process, actor->cx, out_exit);
    } while (again(actor, r));
    return r;
}

static void process(struct actor *actor)
{
    int code = (int)pick(actor, 0, 100);
    bool killed = pick(actor, 1, 2) == 0;
    struct tocsin_process_exit ended = {0};
    struct tocsin_process *process;
    pid_t pid = fork();

    NEED(pid >= 0);
    if (pid == 0) {
        while (killed) { /* NOLINT(bugprone-infinite-loop): until the signal */
            pause();
        }
        syscall(SYS_exit_group, code); /* past what a sanitizer does at the end */
    }
    NEED(CALL(tocsin_process_open)(actor->run->driver, pid, &process) == 0);
    if (killed) {
        say(actor, " kill %d", CALL(tocsin_process_kill)(process, SIGKILL));
    }
    say(actor, " poll %d", process_end(actor, process, &ended));
    say(actor, " status %d code %d signal %d", ended.status, ended.code, ended.signal);
    say(actor, " again %d", process_end(actor, process, &ended));
    say(actor, " kill %d", CALL(tocsin_process_kill)(process, SIGKILL));
    say(actor, " close %d", CALL(tocsin_process_close)(process));
    say(actor, " no pid %d", CALL(tocsin_process_open)(actor->run->driver, 0, &process));
}

/* A signal for each actor, so that none takes another's. */
static void signals(struct actor *actor)
{
    int number = SIGRTMIN + (int)actor->index;
    int no_signal = 4000;
    unsigned count = 1 + pick(actor, 0, 3);
    struct tocsin_signal_info info = {0};
    struct tocsin_signals *signals;
    int r;

    NEED(CALL(tocsin_signals_open)(actor->run->driver, &number, 1, &signals) == 0);
    for (unsigned i = 0; i < count; i++) {
        NEED(sigqueue(getpid(), number, (union sigval){.sival_int = (int)i}) == 0);
    }
    for (unsigned i = 0; i < count; i++) {
        do {
            r = CALL(tocsin_signals_poll)(signals, actor->cx, &info);
        } while (again(actor, r));
        say(actor, " %d value %d", r - SIGRTMIN, (int)info.value);
        EXPECT(actor, info.pid == getpid());
    }
    say(actor, " close %d", CALL(tocsin_signals_close)(signals));
    say(actor, " none %d", CALL(tocsin_signals_open)(actor->run->driver, &number, 0, &signals));
    say(actor, " odd %d", CALL(tocsin_signals_open)(actor->run->driver, &no_signal, 1, &signals));
}

static const struct op_kind ops_process_kinds[] = {
    {"process", process, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 8},
    {"signals", signals, BY_TASK, TOCSIN_BACKEND_DESCRIPTORS, 10},
};

OP_GROUP(ops_process);
