/*
 * Memory that runs out, for the programs of tests/fault/ that wrap malloc, calloc and free.
 */
#ifndef TOCSIN_TESTS_FAULT_MEMORY_H
#define TOCSIN_TESTS_FAULT_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>

#include <tocsin/linux.h>

#include "tests/fault/fault.h"

extern atomic_int memory_live;      /* allocations not given back */
extern atomic_int memory_calls;     /* allocations asked for so far */
extern atomic_int memory_fail_in;   /* so many allocations from now one fails; 0: none */
extern atomic_bool memory_fail_all; /* all do */

enum {
    PREPARED_MAX = 64,
};

/* What an operation has to work on; each uses what it needs. */
struct fixture {
    struct tocsin_pool *pool;
    struct tocsin_driver *driver;
    int fds[2];
    int number; /* a descriptor of the highest number, or -1 */
    int result; /* the operation's */
    int calls;
    struct tocsin_task tasks[PREPARED_MAX + 1];
    struct tocsin_timer timers[PREPARED_MAX + 1];
    struct tocsin_fd_ready *readies[PREPARED_MAX + 1];
    int copies[PREPARED_MAX];
    struct tocsin_watch watch;
    struct tocsin_socket *socket;
    struct tocsin_pipe *pipe;
    struct tocsin_wait *wait;
    struct tocsin_process *process;
    struct tocsin_signals *signals;
    struct tocsin_pool_thread *thread;
};

struct operation {
    void (*prepare)(struct fixture *fixture); /* may be NULL; fixture->pool is open */
    void (*attempt)(struct fixture *fixture); /* sets fixture->result */
    void (*undo)(struct fixture *fixture);    /* after it has worked; may be NULL */
    bool in_turn;                             /* attempt it inside a turn */
    bool no_pool;                             /* it needs none, and its threads must have none */
};

/*
 * Try @operation with its first allocation failing, then the second, and so on until it needs no
 * more.  Each time: -ENOMEM, it works when it is tried again, and in the end nothing is left.
 */
void memory_run_operation(const struct operation *operation);

/*
 * Run @fn(@arg) on a thread that stands ready before, with no memory to be had.
 *
 * Returns: how many allocations were asked for meanwhile.
 */
int memory_elsewhere(support_body_fn *fn, void *arg);

#endif
