/*
 * All targets run a program at once, each in its process; then what they say is compared with what
 * the first one says.
 *
 * A program that fails is made small by leaving operations out, halves first, then less and less,
 * as long as it fails on the same two targets.
 */
#include "compare.h"

enum {
    TRIES_MAX = 400, /* runs spent on making a program small, */
    SHRINK_S = 60,   /* and so long */
    SHRINK_WATCHDOG_S = 3,
    ATTEMPTS = 20, /* to see what is left fail once more: it may be a race */
};

static bool run_on(struct session *session, const struct program *program, const unsigned *which,
                   unsigned count, struct difference *difference)
{
    int pids[BACKENDS_MAX];

    for (unsigned i = 0; i < count; i++) {
        pids[i] = run_start(program, &session->targets[which[i]], &session->records[which[i]]);
    }
    for (unsigned i = 0; i < count; i++) {
        run_finish(pids[i], session->watchdog_s, &session->records[which[i]]);
    }
    for (unsigned i = 0; i < count; i++) {
        difference->a = difference->b = which[i];
        difference->hung = session->records[which[i]].hung;
        if (!record_is_good(&session->records[which[i]], difference->text,
                            sizeof(difference->text))) {
            return false;
        }
    }
    difference->a = which[0];
    difference->hung = false;
    for (unsigned i = 1; i < count; i++) {
        difference->b = which[i];
        if (records_differ(&session->records[which[0]], &session->targets[which[0]],
                           &session->records[which[i]], &session->targets[which[i]],
                           difference->text, sizeof(difference->text))) {
            return false;
        }
    }
    return true;
}

bool session_run(struct session *session, const struct program *program,
                 struct difference *difference)
{
    unsigned which[BACKENDS_MAX];

    for (unsigned i = 0; i < session->targets_count; i++) {
        which[i] = i;
    }
    return run_on(session, program, which, session->targets_count, difference);
}

static void without(const struct program *program, unsigned from, unsigned count,
                    struct program *out_program)
{
    *out_program = *program;
    memmove(&out_program->ops[from], &out_program->ops[from + count],
            (program->ops_count - from - count) * sizeof(program->ops[0]));
    out_program->ops_count -= count;
}

static bool spent(unsigned tries, uint64_t until_ms)
{
    return tries >= TRIES_MAX || now_ms() >= until_ms;
}

void session_shrink(struct session *session, struct program *program, struct difference *difference)
{
    unsigned which[2] = {difference->a, difference->b};
    unsigned which_count = difference->a == difference->b ? 1 : 2;
    uint64_t until_ms = now_ms() + SHRINK_S * UINT64_C(1000);
    unsigned watchdog_s = session->watchdog_s;
    unsigned tries = 0;
    struct difference found;
    struct program less;

    if (difference->hung) {
        session->watchdog_s = SHRINK_WATCHDOG_S;
    }
    for (unsigned part = program->ops_count / 2; part > 0; part /= 2) {
        for (unsigned from = 0; from + part <= program->ops_count && !spent(tries, until_ms);) {
            without(program, from, part, &less);
            tries++;
            if (run_on(session, &less, which, which_count, &found)) {
                from += part;
            } else {
                *program = less;
            }
        }
    }
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        if (!run_on(session, program, which, which_count, &found)) {
            *difference = found;
            break;
        }
    }
    session->watchdog_s = watchdog_s;
}
