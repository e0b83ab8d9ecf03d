/*
 * One program on one backend: in a child process, with its pool, its phases, and a look at what is
 * left when the pool has closed.
 */
#include "differential.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tocsin/sim.h>

enum {
    DESCRIPTORS_MAX = 256, /* numbers looked at for leaks */
    SIGNALS_USED = 8,      /* SIGRTMIN and on, blocked */
};

static struct record *recorded;

void api_note(enum api api)
{
    atomic_store_explicit(&recorded->called[api], 1, memory_order_relaxed);
}

static void *counted_alloc(void *context, size_t size)
{
    struct run *run = context;
    void *pointer = malloc(size);

    if (pointer != NULL) {
        atomic_fetch_add_explicit(&run->live, 1, memory_order_relaxed);
    }
    return pointer;
}

static void counted_free(void *context, void *pointer)
{
    struct run *run = context;

    if (pointer != NULL) {
        atomic_fetch_sub_explicit(&run->live, 1, memory_order_release);
        free(pointer);
    }
}

static unsigned descriptors_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* ---- Driving --------------------------------------------------------------------------------- */

/* A stop makes a run return 1: go on then. */
static void drive_run(struct run *run)
{
    int r;

    do {
        r = CALL(tocsin_pool_run)(run->pool);
    } while (r == 1);
    expect(run, NULL, r == 0, "the run ends with 0", TOCSIN_HERE);
}

static void drive_until(struct run *run, unsigned phase)
{
    for (unsigned i = 1; i < run->program->actors[phase]; i++) {
        struct actor *actor = &run->actors[i];
        int result = -1;
        int r = 0;

        if (actor->by == BY_TASK) {
            do {
                r = CALL(tocsin_pool_run_until)(run->pool, &actor->task, &result);
            } while (r == 1);
            expect(run, NULL, r == 0 && result == (int)i, "run_until gives the task's result",
                   TOCSIN_HERE);
        }
    }
    drive_run(run);
}

static void drive_hosted(struct run *run)
{
    struct pollfd poll_fd = {.fd = run->poll_fd, .events = POLLIN};

    while (CALL(tocsin_pool_turn)(run->pool) == 1) {
        if (CALL(tocsin_pool_next_deadline)(run->pool) != 0) {
            poll(&poll_fd, 1, -1);
        }
    }
}

void drive(struct run *run, unsigned phase)
{
    switch (run->program->drive[phase]) {
    case DRIVE_UNTIL:
        drive_until(run, phase);
        return;
    case DRIVE_HOSTED:
        if (run->poll_fd >= 0) {
            drive_hosted(run);
            return;
        }
        drive_run(run);
        return;
    case DRIVE_RUN:
        drive_run(run);
        return;
    case DRIVES:
        break;
    }
    abort(); /* no such way */
}

/* ---- The run --------------------------------------------------------------------------------- */

static bool wants_hosting(const struct program *program)
{
    return program->drive[0] == DRIVE_HOSTED || program->drive[1] == DRIVE_HOSTED;
}

static void pool_open(struct run *run)
{
    const struct program *program = run->program;
    struct tocsin_pool_options options = program->options;
    const struct tocsin_backend *backend = run->target->backend;

    if (strcmp(run->target->name, "sim") == 0) {
        /* Busy pools spin until a time: reading the clock takes some. */
        struct tocsin_sim_options sim_options = {
            .seed = program->seed,
            .clock_step_ns = 50,
            .faults = {.look_ppm = 50000, .wait_ppm = 50000, .event_ppm = 50000, .kick_ppm = 50000},
        };

        NEED(CALL(tocsin_sim_open)(&run->sim, &sim_options) == 0);
        backend = CALL(tocsin_sim_backend)(run->sim);
    }
    run->backend = backend;
    run->allocator = (struct tocsin_allocator){counted_alloc, counted_free, run};
    options.allocator = &run->allocator;
    NEED(CALL(tocsin_pool_open)(&run->pool, backend, &options) == 0);
    run->driver = CALL(tocsin_pool_driver)(run->pool);
    run->poll_fd = -1;
    if (wants_hosting(program)) {
        run->poll_fd = CALL(tocsin_pool_poll_fd)(run->pool);
        expect(run, NULL,
               (run->features & TOCSIN_BACKEND_POLL_HANDLE) != 0 ? run->poll_fd >= 0
                                                                 : run->poll_fd == -EOPNOTSUPP,
               "a pool can be hosted where the bit says so", TOCSIN_HERE);
    }
    /* From here on this is the pool's thread. */
    NEED(CALL(tocsin_pool_turn)(run->pool) == 0);
}

static void pool_close(struct run *run)
{
    int closed;

    if (run->background_armed) {
        CALL(tocsin_timer_deinit)(&run->background);
    }
    closed = CALL(tocsin_pool_close)(run->pool);
    if (run->sim != NULL) {
        NEED(CALL(tocsin_sim_close)(run->sim) == 0);
    }
    snprintf(run->record->end, LOG_SIZE, "closed %d, not dropped %d, not released %d, allocated %d",
             closed,
             (int)(atomic_load_explicit(&run->spawned, memory_order_relaxed) -
                   atomic_load_explicit(&run->dropped, memory_order_relaxed)),
             (int)(atomic_load_explicit(&run->spawned, memory_order_relaxed) -
                   atomic_load_explicit(&run->released, memory_order_acquire)),
             atomic_load_explicit(&run->live, memory_order_acquire));
}

static void run_here(const struct program *program, const struct target *target,
                     struct record *record)
{
    static struct run run;
    unsigned before = descriptors_open();
    sigset_t set;

    memset(&run, 0, sizeof(run));
    recorded = record;
    run.program = program;
    run.target = target;
    run.record = record;
    run.features = target->features;
    pthread_mutex_init(&run.lock, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    for (int i = 0; i < SIGNALS_USED; i++) {
        sigaddset(&set, SIGRTMIN + i);
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    pool_open(&run);
    for (unsigned phase = 0; phase < program->phases; phase++) {
        actors_start(&run, phase);
        drive(&run, phase);
        actors_end(&run, phase);
    }
    pool_close(&run);
    snprintf(record->end + strlen(record->end), 64, ", descriptors %d\n",
             (int)(descriptors_open() - before));
}

int run_start(const struct program *program, const struct target *target, struct record *record)
{
    pid_t pid;

    memset(record, 0, sizeof(*record));
    fflush(NULL);
    pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* For tocsin_run_with(), which takes the default. */
        if (tocsin_backend_find(target->name) != NULL) {
            setenv("TOCSIN_BACKEND", target->name, 1);
        } else {
            unsetenv("TOCSIN_BACKEND");
        }
#if defined(__SANITIZE_THREAD__)
        /* fuse forks to mount, and the race detector cannot be forked once there are threads. */
        setenv("TOCSIN_VPOLL", "stream", 0);
#endif
        run_here(program, target, record);
        exit(0); /* not _exit: the leak checker of a sanitizer looks then */
    }
    setpgid(pid, pid);
    return (int)pid;
}

uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void run_finish(int pid, unsigned watchdog_s, struct record *record)
{
    uint64_t deadline_ms = now_ms() + watchdog_s * UINT64_C(1000);
    int pidfd = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    for (;;) {
        uint64_t at_ms = now_ms();

        if (poll(&ended, 1, at_ms < deadline_ms ? (int)(deadline_ms - at_ms) : 0) == 0) {
            record->hung = true;
            break;
        }
        if (ended.revents != 0) {
            break;
        }
    }
    kill(-pid, SIGKILL); /* also what it forked and forgot */
    while (waitpid(pid, &record->status, 0) < 0) {
        NEED(errno == EINTR);
    }
    close(pidfd);
}
