/*
 * A task that accepts connections, and no more of them than may be open at once.
 */
#ifndef EXAMPLES_ACCEPTOR_H
#define EXAMPLES_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <tocsin/tocsin.h>

/*
 * Take over a connection's descriptor.  Returns 0, and then acceptor_give_back() is to be called
 * when it has ended; or negative errno, the descriptor being closed.
 */
typedef int acceptor_fn(void *arg, intptr_t fd);

/* The pool's thread alone touches it. */
struct acceptor {
    struct tocsin_task task;
    struct tocsin_driver *driver;
    struct tocsin_socket *listener;
    struct tocsin_timer pause;
    bool is_pausing;
    uint32_t open;              /* connections */
    uint32_t open_max;          /* A1 */
    struct tocsin_waker waiter; /* woken when a connection is given back */
    acceptor_fn *fn;
    void *arg;
};

/*
 * Accept from the listening socket @fd and give what comes to @fn(@arg).
 *
 * Memory:  @acceptor is the caller's and must outlive the pool's close; @fd is used up.
 * Returns: 0, or negative errno.
 */
int acceptor_start(struct acceptor *acceptor, struct tocsin_driver *driver, int fd,
                   uint32_t open_max, acceptor_fn *fn, void *arg);

/* One of the connections has ended. */
void acceptor_give_back(struct acceptor *acceptor);

/*
 * Accept what is in the kernel's queue, up to the cap, inside this call; then close the listening
 * socket, in a turn that follows.  Connections go on.  Twice is once.
 */
void acceptor_stop(struct acceptor *acceptor);

/*
 * Stopped: have all connections been given back?
 *
 * Returns: 0, or TOCSIN_PENDING.  One task at a time.
 */
int acceptor_poll_empty(struct acceptor *acceptor, struct tocsin_context *cx);

#endif
