/*
 * What the tests of the uring backend's wait step share: the backend under a pool that takes no
 * turn but where a test says so, its slots, and what it asks of the kernel.
 *
 * Programs that use it wrap tocsin__ring_enter() and what uring_step.c puts its own in front of.
 * Each wake of a futex is checked to come after the kick is in the word.
 */
#ifndef TOCSIN_TESTS_UNIT_URING_STEP_H
#define TOCSIN_TESTS_UNIT_URING_STEP_H

#include "backends/uring/uring.h"
#include "tests/unit/uring.h"

#define STEP_MS UINT64_C(1000000)

enum {
    STEP_EVENTS = 64,
};

/* user_data of the poll that hears of kicks. */
static const uint64_t step_data_kick = (uint64_t)URING_KIND_OTHER << URING_KIND_SHIFT;

static const struct tocsin_backend_ops *const step_ops = &tocsin__backend_uring;

struct step {
    struct unit_uring uring;
    void *state; /* the backend's */
    struct tocsin_backend_event room[STEP_EVENTS];
    struct tocsin_backend_events list;
    struct tocsin_backend_watch watch;
    struct unit_op op;
    int fds[2]; /* a pipe that nobody has written to */
    char byte;
};

/* Open the pool; skips the test where there is no ring to be had.  The second for short queues. */
void step_start(struct step *step);
void step_start_with(struct step *step, uint32_t entries, uint32_t cq_entries);

/* Close the pool; nothing may be left of it, nor of step->op. */
void step_end(struct step *step);

/* Only open it, with step->uring.options.  Returns: as tocsin_pool_open(). */
int step_open_pool(struct step *step);

/* ---- What the backend asks of the kernel ----------------------------------------------------- */

extern unsigned step_futex_waits;
extern atomic_uint step_futex_wakes;
extern unsigned step_limited_waits; /* calls of tocsin__ring_wait() */
extern uint64_t step_limited_ns;    /* the last one's limit */
extern unsigned step_kick_polls;    /* asked for */
extern int step_kick_fd;            /* the first eventfd that was made */

/* Called once, on the way into the next futex or ring. */
extern support_body_fn *step_before_block;
extern void *step_before_block_arg;

extern bool step_polls_no;        /* there is no room for one */
extern int step_ring_open_result; /* if not 0, no ring is opened */
extern int step_eventfd_errno;
extern int step_timerfd_errno;

/* Count waits, wakes and enters from 0. */
void step_forget_calls(void);

/* How many descriptors are open; those of the directory itself too. */
unsigned step_descriptors(void);

/* ---- The slots ------------------------------------------------------------------------------- */

uint64_t step_now(const struct step *step);
uint64_t step_prepare(struct step *step); /* for ever */
int step_wait_until(struct step *step, uint64_t deadline_ns);
void step_look(struct step *step);
void step_attach(struct step *step); /* step->watch, of the pipe */
void step_kick(void *step);          /* any thread */

/* One sleep, which something ends, and nobody's event. */
void step_check_ends(struct step *step);

/* One sleep, from prepare on, that nothing ends but its deadline. */
void step_check_lasts(struct step *step);

/* One sleep that a kick ends before it begins.  Is it on the futex, or in the ring? */
bool step_parks_on_the_futex(struct step *step);

/* ---- What is owed ---------------------------------------------------------------------------- */

void step_in_turn(struct step *step, support_body_fn *fn);

/* For step_in_turn(): step->op reads the pipe, or does nothing. */
void step_submit_read(void *step);
void step_submit_nop(void *step);

/* An entry, a no-operation at first, that waits in the queue; and into the kernel with it. */
struct io_uring_sqe *step_put_entry(struct step *step, uint64_t user_data);
void step_flush(struct step *step);

#endif
