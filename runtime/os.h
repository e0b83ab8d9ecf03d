/*
 * What the runtime needs of an operating system beside a backend: threads, locks, parking, the fork
 * mark, and the plain system calls behind sockets, pipes, waits and processes.
 *
 * One implementation each: os_posix.c and os_posix_io.c; os_linux.c for what only Linux has;
 * os_windows.c has locks and threads, as far as the Windows sources need them.  All functions
 * return 0 or a result, or a negative errno, and set nothing else.
 */
#ifndef TOCSIN_RUNTIME_OS_H
#define TOCSIN_RUNTIME_OS_H

#ifndef _WIN32
#include <pthread.h>
#endif

#include <tocsin/process.h>
#include <tocsin/socket.h>

/* For a mutex that is static, TOCSIN__MUTEX_INITIALIZER; it is never deinitialised. */
#ifdef _WIN32
struct tocsin__mutex {
    void *lock; /* an SRWLOCK */
};
#define TOCSIN__MUTEX_INITIALIZER                                                                  \
    {                                                                                              \
        .lock = NULL                                                                               \
    }

struct tocsin__cond {
    void *cond; /* a CONDITION_VARIABLE */
};
#else
struct tocsin__mutex {
    pthread_mutex_t mutex;
};
#define TOCSIN__MUTEX_INITIALIZER                                                                  \
    {                                                                                              \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                                         \
    }

struct tocsin__cond {
    pthread_cond_t cond;
};
#endif

/* Locks.  Initialising can fail with -ENOMEM in theory; on Linux it does not. */
int tocsin__mutex_init(struct tocsin__mutex *mutex);
void tocsin__mutex_deinit(struct tocsin__mutex *mutex);
void tocsin__mutex_lock(struct tocsin__mutex *mutex);
void tocsin__mutex_unlock(struct tocsin__mutex *mutex);
int tocsin__cond_init(struct tocsin__cond *cond);
void tocsin__cond_deinit(struct tocsin__cond *cond);
void tocsin__cond_wait(struct tocsin__cond *cond, struct tocsin__mutex *mutex);
void tocsin__cond_signal(struct tocsin__cond *cond);
void tocsin__cond_broadcast(struct tocsin__cond *cond);

/* Threads. */
struct tocsin__thread {
#ifdef _WIN32
    void *thread; /* a HANDLE */
#else
    pthread_t thread;
#endif
    void *actor; /* runtime/actor.h: the actor that it is, or NULL */
};

int tocsin__thread_start(struct tocsin__thread *thread, void *(*main)(void *), void *arg);
/*
 * Name the calling thread, cut to 15 bytes.  For another thread glibc would open a file, and that
 * descriptor would be missing elsewhere for a moment.
 */
void tocsin__thread_set_name(const char *name);
void tocsin__thread_join(struct tocsin__thread *thread);

/* A value of this thread alone, also after its end (a pthread_t comes back); never 0. */
uintptr_t tocsin__thread_id(void);

/* How many processors this process may use. */
unsigned tocsin__processors(void);

/*
 * The fork mark: a byte that is 1 in the process that asked and reads 0 in its forked children
 * (MADV_WIPEONFORK, Linux 4.14).  Shared by all pools of a process, never unmapped.
 */
int tocsin__fork_mark(const volatile unsigned char **out_mark);

/*
 * Set this thread's timer slack; *@out_old is what it was.  -ENOSYS where there is no such thing.
 */
int tocsin__timer_slack_set(uint64_t slack_ns, uint64_t *out_old);

/* Descriptors. */
int tocsin__fd_set_nonblocking(intptr_t fd);
int tocsin__fd_is_nonblocking(intptr_t fd); /* 0 or 1 */
void tocsin__fd_close(intptr_t fd);
int tocsin__fd_read(intptr_t fd, void *data, size_t size);
/* *@refused: the file's own memory of whether its kernel and kind take the flag. */
int tocsin__fd_write_nosignal(intptr_t fd, const void *data, size_t size, bool *refused);
int tocsin__pipe(int *out_read_fd, int *out_write_fd);

/* Sockets. */
enum {
    TOCSIN__PEEK = 1 << 0, /* for tocsin__socket_receive() */
};

/* 1 if a short read proves that nothing is left (design 7): a TCP socket; 0 if not; -ENOTSOCK. */
int tocsin__socket_short_read_ends(intptr_t fd);
int tocsin__socket_receive(intptr_t fd, const struct tocsin_buffer *buffers, int buffers_count,
                           uint32_t flags);
int tocsin__socket_send(intptr_t fd, const struct tocsin_buffer *buffers, int buffers_count);
int tocsin__socket_accept(intptr_t fd, intptr_t *out_fd);
int tocsin__socket_connect(intptr_t fd, const struct sockaddr *addr, unsigned addr_size);
int tocsin__socket_shutdown(intptr_t fd, enum tocsin_shutdown how);

/* Processes: *@out_fd becomes readable when @pid has ended. */
int tocsin__process_open(int64_t pid, int *out_fd);
int tocsin__process_reap(int fd, struct tocsin_process_exit *out_exit); /* -EAGAIN: it lives */
int tocsin__process_kill(int fd, int signal);

#endif
