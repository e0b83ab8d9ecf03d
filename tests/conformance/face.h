/*
 * What a backend without descriptors gives the conformance suite: things to make ready, and time.
 *
 * A plugin exports tocsin_conform_face() beside tocsin_backend_plugin() if its backend has sources
 * of its own that a test can make ready, or a clock of its own.  A backend that watches descriptors
 * and runs on the world's clock needs none.
 */
#ifndef TOCSIN_CONFORM_FACE_H
#define TOCSIN_CONFORM_FACE_H

#include <stdbool.h>
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
};

__attribute__((visibility("default"))) const struct tocsin_conform_face *tocsin_conform_face(void);

#endif
