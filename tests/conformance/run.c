/*
 * Running one case: a process, a watchdog, and what must be as before when it has ended.
 *
 * The parent has no threads and starts none, so the fork is one that every sanitizer allows.  The
 * child leads a process group of its own: a case that hangs is killed with whatever it forked.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "face.h"
#include "runner.h"

enum {
    DESCRIPTORS_MAX = 1024, /* numbers looked at for leaks */
};

static volatile sig_atomic_t watchdog_pid;
static volatile sig_atomic_t watchdog_bit;

uint32_t conform_features(const struct conform_settings *settings)
{
    uint32_t features = settings->backend->ops->features;

    if ((features & TOCSIN_BACKEND_DESCRIPTORS) != 0 ||
        ((features & TOCSIN_BACKEND_OWN_SOURCES) != 0 && settings->face != NULL)) {
        features |= CONFORM_SOURCES;
    }
    if ((features & TOCSIN_BACKEND_DESCRIPTORS) != 0 ||
        (settings->face != NULL && settings->face->link_create != NULL)) {
        features |= CONFORM_LINKS;
    }
    if (settings->refusal.reason[0] != '\0') {
        features &= ~(uint32_t)TOCSIN_BACKEND_URING;
    }
    return features;
}

static void descriptors_note(bool open[DESCRIPTORS_MAX])
{
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        open[fd] = fcntl(fd, F_GETFD) >= 0;
    }
}

/* A backend with a world of its own has one for each case. */
static bool world_begin(struct conform *t, uint64_t seed)
{
    int r = t->face != NULL && t->face->begin != NULL ? t->face->begin(seed) : 0;

    return CHECK_EQ(t, r, 0);
}

static void world_end(struct conform *t)
{
    if (t->face != NULL && t->face->end != NULL) {
        CHECK_EQ(t, t->face->end(), 0);
    }
}

/* Run @row in this process, and check what it left behind. */
static unsigned run_here(const struct conform_settings *settings, const struct conform_case *row)
{
    static struct conform t;
    bool before[DESCRIPTORS_MAX];
    bool after[DESCRIPTORS_MAX];

    memset(&t, 0, sizeof(t));
    t.case_name = row->name;
    t.backend_name = settings->backend->ops->name;
    t.features = conform_features(settings);
    t.face = settings->face;
    t.scale = settings->scale;
    t.random_state = settings->seed;
    if (settings->deny.error != 0 && deny_install(&settings->deny) < 0) {
        return 1;
    }
    conform_memory_init(&t);
    conform_counting_init(&t, settings->backend, settings->ring);

    conform_face = settings->face;
    if (!world_begin(&t, settings->seed)) {
        return 1;
    }
    descriptors_note(before);
    row->run(&t);
    descriptors_note(after);
    world_end(&t);

    CHECK_EQ(&t, t.threads_live, 0);
    CHECK_EQ(&t, atomic_load_explicit(&t.live, memory_order_relaxed), 0);
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (before[fd] != after[fd]) {
            conform_count(&t.failures);
            conform_note(&t, "%s: descriptor %d was %s", row->name, fd,
                         after[fd] ? "left open" : "closed");
        }
    }
    return conform_read(&t.failures);
}

static void watchdog_bites(int signal_number)
{
    (void)signal_number;
    watchdog_bit = 1;
    kill(-(pid_t)watchdog_pid, SIGKILL);
    kill((pid_t)watchdog_pid, SIGKILL);
}

static int wait_with_watchdog(pid_t pid, unsigned watchdog_s)
{
    struct sigaction action;
    int status = 0;

    memset(&action, 0, sizeof(action));
    action.sa_handler = watchdog_bites;
    watchdog_pid = (sig_atomic_t)pid;
    watchdog_bit = 0;
    sigaction(SIGALRM, &action, NULL);
    alarm(watchdog_s);
    while (waitpid(pid, &status, 0) != pid) {
        if (errno != EINTR) {
            perror("# waitpid");
            exit(2);
        }
    }
    alarm(0);
    /* What the case forked and forgot. */
    kill(-pid, SIGKILL);
    return status;
}

enum conform_outcome conform_run(const struct conform_settings *settings,
                                 const struct conform_case *row)
{
    int status;
    pid_t pid;

    if (settings->in_process) {
        return run_here(settings, row) == 0 ? CONFORM_PASSED : CONFORM_FAILED;
    }

    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("# fork");
        exit(2);
    }
    if (pid == 0) {
        setpgid(0, 0);
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        /* exit, not _exit: the leak checker of a sanitizer looks then. */
        exit(run_here(settings, row) == 0 ? 0 : CONFORM_EXIT_FAILED);
    }
    setpgid(pid, pid);
    status = wait_with_watchdog(pid, settings->watchdog_s);

    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) == 0) {
            return CONFORM_PASSED;
        }
        if (WEXITSTATUS(status) != CONFORM_EXIT_FAILED) {
            printf("# %s: exited with %d\n", row->name, WEXITSTATUS(status));
        }
    } else if (watchdog_bit) {
        printf("# %s: hangs: not done after %u s\n", row->name, settings->watchdog_s);
    } else {
        printf("# %s: killed by signal %d (%s)\n", row->name, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    }
    return CONFORM_FAILED;
}
