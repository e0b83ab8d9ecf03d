/*
 * Running a program on all targets, comparing, and making a program that fails small.
 */
#ifndef TOCSIN_TESTS_DIFFERENTIAL_COMPARE_H
#define TOCSIN_TESTS_DIFFERENTIAL_COMPARE_H

#include "differential.h"

struct session {
    struct target targets[BACKENDS_MAX];
    unsigned targets_count;
    unsigned watchdog_s;
    struct record *records; /* one for each target, shared with its process */
};

/* What was found: which two targets, and the difference in words. */
struct difference {
    unsigned a;
    unsigned b; /* the same: @a itself went wrong */
    bool hung;
    char text[1024];
};

/* Run @program everywhere.  True if all went well and said the same. */
bool session_run(struct session *session, const struct program *program,
                 struct difference *difference);

/* Leave out of @program what it can do without and still fail on the two of @difference. */
void session_shrink(struct session *session, struct program *program,
                    struct difference *difference);

#endif
