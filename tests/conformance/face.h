/*
 * What a backend gives the conformance suite beside itself: things to make ready, time, threads.
 *
 * A plugin exports tocsin_conform_face() beside tocsin_backend_plugin() if its backend has sources
 * of its own that a test can make ready, or a clock of its own.  A backend that watches descriptors
 * and runs on the world's clock needs none.
 */
#ifndef TOCSIN_CONFORM_FACE_H
#define TOCSIN_CONFORM_FACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tocsin_conform_face {
    /* A new source of TOCSIN_SOURCE_OWN, not ready; negative: an errno.  Thread: any. */
    intptr_t (*source_create)(void);

    /* It is readable until taken, and an edge has come.  Thread: any. */
    void (*source_signal)(intptr_t number);

    /* It is readable no more; true if it was.  Thread: any. */
    bool (*source_take)(intptr_t number);

    /* Thread: any; it is watched no more. */
    void (*source_destroy)(intptr_t number);

    /* Let time go by, as a slow computation does; NULL: the clock is the world's.  Thread: any. */
    void (*time_pass)(uint64_t delay_ns);

    /*
     * Two ends of a connection, or of a pipe (the first reads), with the semantics of AF_UNIX
     * stream sockets and pipes; NULL: there are none.  0 or more, or negative errno.
     */
    int (*link_create)(bool is_pipe, intptr_t out_numbers[2]);
    int (*link_read)(intptr_t number, void *data, size_t size);
    int (*link_write)(intptr_t number, const void *data, size_t size);
    int (*link_shut)(intptr_t number); /* it writes no more */
    int (*link_close)(intptr_t number);

    /*
     * All that follows is of a backend that orders threads itself, and else NULL.
     *
     * Before and after each case, in its process and on its thread; @seed is that of the run.
     * Negative: an errno, and the case has failed.
     */
    int (*begin)(uint64_t seed);
    int (*end)(void);

    /* A thread that takes part, or NULL; it goes to thread_join. */
    void *(*thread_start)(void (*fn)(void *arg), void *arg);
    void (*thread_join)(void *thread);

    /* Block until @fn(@arg), which only looks at memory, is true.  Thread: one that takes part. */
    void (*await)(bool (*fn)(void *arg), void *arg);

    /* Another thread may go on. */
    void (*point)(void);
};

__attribute__((visibility("default"))) const struct tocsin_conform_face *tocsin_conform_face(void);

#endif
