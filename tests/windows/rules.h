/*
 * Rules of the epoll emulation: a function each, run over the model's packets and over ours, with
 * and without lateness.
 */
#ifndef TOCSIN_TESTS_WINDOWS_RULES_H
#define TOCSIN_TESTS_WINDOWS_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include <tocsin/windows.h>

#include "backends/windows/epoll.h"
#include "tests/nt_model/model.h"

#define RULES_SOON_NS UINT64_C(20000000000) /* a watchdog */

struct rules {
    const struct nt *nt;
    struct tocsin_epoll *epoll; /* of the rule */
    bool is_emulated;
    bool has_failed;
};

typedef void rules_fn(struct rules *t);

struct rules_row {
    const char *name;
    rules_fn *fn;
    bool is_native; /* not over packets of our own */
};

/* clang-format off */
#define RULE(fn) {#fn, fn, false}
#define RULE_NATIVE(fn) {#fn, fn, true}
/* clang-format on */

extern const struct rules_row rules_rows[]; /* of the program; ends in a row without a name */

#define REQUIRE(t, condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            rules_failed((t), __FILE__, __LINE__, #condition);                                     \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void rules_failed(struct rules *t, const char *file, int line, const char *condition);

/* A line of diagnostics. */
__attribute__((format(printf, 1, 2))) void rules_note(const char *format, ...);

void *rules_event(struct rules *t, bool manual, bool signaled);
void *rules_semaphore(struct rules *t, int32_t count);
int rules_ctl(struct rules *t, enum tocsin_epoll_op op, void *handle, uint32_t events,
              uint64_t data);
int rules_add(struct rules *t, void *handle, uint32_t events, uint64_t data);
int rules_mod(struct rules *t, void *handle, uint32_t events, uint64_t data);
int rules_del(struct rules *t, void *handle);

/* Wait for one event: true if it is IN with @data. */
bool rules_gets(struct rules *t, uint64_t data);
/* True if there is no event. */
bool rules_none(struct rules *t);
/* Close handles; false: one was not open. */
bool rules_close(struct rules *t, void *handle);

/* Close the epoll, and make a new one. */
void rules_reopen(struct rules *t);

#endif
