/*
 * What the checks of the facts share: a row, its source, and a world to check it in.
 *
 * A row is one line of what is known of a kernel call.  The same checks run on the model, on the
 * emulated packets over the model, and on Windows; world_model.c and world_windows.c give them what
 * only a test makes.
 */
#ifndef TOCSIN_TESTS_WINDOWS_FACTS_H
#define TOCSIN_TESTS_WINDOWS_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/windows/nt.h"

#define FACTS_SOON_NS UINT64_C(20000000000) /* a watchdog: what has to come comes long before */

struct facts {
    const struct nt *nt;
    void *port;   /* of the row */
    void *packet; /* of the row, or NULL: it was closed */
    bool is_emulated;
    bool has_failed; /* the row */
};

/* One line that is checked. */
struct facts_row {
    const char *name;
    const char *says;
    const char *source;
    void (*check)(struct facts *f);
};

extern const struct facts_row facts_packets[]; /* ends in a row without a name, and so the next */
extern const struct facts_row facts_objects[];

#define FACT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            facts_failed(f, __LINE__, #condition);                                                 \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void facts_failed(struct facts *f, int line, const char *condition);

/* A line about what the row found, where either is allowed. */
__attribute__((format(printf, 1, 2))) void facts_note(const char *format, ...);

/* Associate the row's packet: key 1, apc 2, status 3, information 4. */
int32_t facts_associate(struct facts *f, void *target, bool *out_already_signaled);
/* Wait for one entry: true if it is the row's packet. */
bool facts_arrives(struct facts *f);
/* True if the port is empty: posts an entry, and looks whether it is the first. */
bool facts_is_empty(struct facts *f);

void *facts_event(struct facts *f, bool manual, bool signaled);
void *facts_semaphore(struct facts *f, int32_t count);
/* True if it is signalled; takes what a wait takes. */
bool facts_take(struct facts *f, void *handle);

/* ---- The world ---- */

/* The platform's calls; @emulated: with packets of our own on top. */
const struct nt *world_begin(bool emulated, uint64_t seed, uint32_t lateness_permille);
void world_end(void);

/* A thread of the test. */
struct world_thread {
    void *handle; /* to wait on */
    void *start;  /* an event */
    void (*fn)(void *arg);
    void *arg;
};

void world_thread_start(struct world_thread *thread, void (*fn)(void *arg), void *arg);
void world_thread_join(struct world_thread *thread);

/* A process that lives until it is told to end; *@out_end is an event. */
void *world_process(void **out_end);
/* The program was started as such a process; does not return. */
void world_child(const char *arg);
void *world_mutex(bool owned);
void *world_job(void);
/* The same event without the right to wait. */
void *world_mute(void *handle);

#endif
