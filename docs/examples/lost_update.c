/*
 * lost_update: a program with a planted bug, and the simulation that finds it.
 *
 * The program: two deposits into one account, ten milliseconds apart.  Each reads the balance, asks
 * a bank over a connection whether it may, and writes what it read plus the amount.  Between the
 * read and the write there is a wait, and if the bank is slow the other deposit comes between: one
 * of the two is lost.  A bank that answers in a millisecond or two never shows it.
 *
 * The test: the same program in a simulation, once for each seed.  The seed decides how long each
 * answer takes, among other things; time is virtual, so that a run takes no time.  A run that fails
 * prints its seed, and --seed has the very same run again, with --trace step by step.
 *
 *   lost_update [--seeds N | --seed N [--trace]] [--mended]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tocsin/sim.h>
#include <tocsin/tocsin.h>

#define MS UINT64_C(1000000)

/* ---- The program ----------------------------------------------------------------------------- */

enum {
    DEPOSITS = 2,
    AMOUNT = 10,
};

struct account {
    unsigned balance;
    bool mended;
};

/* A task: wait for its time, read, ask, and when the answer is there, write. */
struct deposit {
    struct tocsin_task task;
    struct account *account;
    struct tocsin_timer timer;
    uint64_t begin_ns;
    struct tocsin_sim *sim;
    struct tocsin_fd_ready *bank; /* our end of the connection */
    intptr_t number;              /* of it */
    unsigned seen;
    bool asked;
};

static int read_answer(intptr_t number, void *arg)
{
    struct deposit *self = arg;
    char answer;

    return tocsin_sim_object_read(self->sim, number, &answer, 1);
}

static int poll_deposit(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct deposit *self = (struct deposit *)(void *)task;
    int r;

    if (!self->asked) {
        if (tocsin_timer_poll(&self->timer, cx, self->begin_ns) == TOCSIN_PENDING) {
            return TOCSIN_PENDING;
        }
        self->seen = self->account->balance;
        r = tocsin_sim_object_write(self->sim, self->number, "?", 1);
        if (r < 0) {
            return r;
        }
        self->asked = true;
    }
    r = tocsin_fd_ready_poll_io(self->bank, TOCSIN_SLOT_READ, TOCSIN_IN, read_answer, self, cx);
    if (r == TOCSIN_PENDING || r < 0) {
        return r;
    }
    if (self->account->mended) {
        self->account->balance += AMOUNT;
    } else {
        self->account->balance = self->seen + AMOUNT; /* the bug: it may have changed since */
    }
    return 0;
}

static const struct tocsin_task_ops deposit_ops = {.poll = poll_deposit};

/* ---- The world around it --------------------------------------------------------------------- */

/* The other end of a connection: the bank says yes. */
struct bank {
    struct tocsin_task task;
    struct tocsin_sim *sim;
    struct tocsin_fd_ready *ready;
    intptr_t number;
};

static int read_question(intptr_t number, void *arg)
{
    struct bank *self = arg;
    char question;

    return tocsin_sim_object_read(self->sim, number, &question, 1);
}

static int poll_bank(struct tocsin_task *task, struct tocsin_context *cx)
{
    struct bank *self = (struct bank *)(void *)task;
    int r =
        tocsin_fd_ready_poll_io(self->ready, TOCSIN_SLOT_READ, TOCSIN_IN, read_question, self, cx);

    return r <= 0 ? r : tocsin_sim_object_write(self->sim, self->number, "!", 1);
}

static const struct tocsin_task_ops bank_ops = {.poll = poll_bank};

static void must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "lost_update: %s: %s\n", what, strerror(-r));
        exit(2);
    }
}

/* One deposit, the bank, and a line between them that takes 0 to 6 ms each way. */
struct customer {
    struct deposit deposit;
    struct bank bank;
};

static void begin(struct customer *customer, struct tocsin_sim *sim, struct tocsin_pool *pool,
                  struct account *account, unsigned index)
{
    const struct tocsin_sim_link_options line = {.latency_max_ns = 6 * MS};
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    struct deposit *deposit = &customer->deposit;
    struct bank *bank = &customer->bank;
    intptr_t ends[2];

    must(tocsin_sim_stream_pair(sim, &line, ends), "connection");
    *deposit = (struct deposit){.account = account, .sim = sim, .number = ends[0]};
    *bank = (struct bank){.sim = sim, .number = ends[1]};
    deposit->begin_ns = tocsin_pool_now_ns(pool) + (index + 1) * 10 * MS;
    must(tocsin_timer_init(&deposit->timer, driver, NULL, NULL), "timer");
    must(tocsin_source_ready_open(driver, TOCSIN_SOURCE_OWN, ends[0], &deposit->bank), "watch");
    must(tocsin_source_ready_open(driver, TOCSIN_SOURCE_OWN, ends[1], &bank->ready), "watch");
    must(tocsin_task_spawn(driver, &deposit->task, &deposit_ops, "deposit"), "spawn");
    must(tocsin_task_spawn(driver, &bank->task, &bank_ops, "bank"), "spawn");
}

static void end(struct customer *customer)
{
    tocsin_timer_deinit(&customer->deposit.timer);
    must(tocsin_fd_ready_close(customer->deposit.bank), "close");
    must(tocsin_fd_ready_close(customer->bank.ready), "close");
}

static void print_line(void *arg, const char *line)
{
    (void)arg;
    printf("  %s\n", line);
}

/* The whole program once.  Returns: the balance; *@out_hash tells this run from others. */
static unsigned run_once(uint64_t seed, bool mended, bool trace, uint64_t *out_hash)
{
    const struct tocsin_sim_options options = {.seed = seed, .trace = trace ? print_line : NULL};
    struct tocsin_pool_options pool_options = {.budget_polls = 0};
    struct account account = {.mended = mended};
    struct customer customers[DEPOSITS];
    struct tocsin_pool *pool;
    struct tocsin_sim *sim;

    must(tocsin_sim_open(&sim, &options), "simulation");
    pool_options.order_seed = tocsin_sim_random(sim); /* ready tasks in any order */
    must(tocsin_pool_open(&pool, tocsin_sim_backend(sim), &pool_options), "pool");
    for (unsigned i = 0; i < DEPOSITS; i++) {
        begin(&customers[i], sim, pool, &account, i);
    }
    must(tocsin_pool_run(pool), "run");
    for (unsigned i = 0; i < DEPOSITS; i++) {
        end(&customers[i]);
    }
    must(tocsin_pool_close(pool), "close");
    *out_hash = tocsin_sim_hash(sim);
    must(tocsin_sim_close(sim), "close");
    return account.balance;
}

/* ---- The test -------------------------------------------------------------------------------- */

static bool is_right(uint64_t seed, bool mended, bool trace)
{
    uint64_t hash;
    unsigned balance = run_once(seed, mended, trace, &hash);

    if (balance != DEPOSITS * AMOUNT) {
        printf("seed=%" PRIu64 " hash=%016" PRIx64 ": the balance is %u, not %u\n", seed, hash,
               balance, DEPOSITS * AMOUNT);
        return false;
    }
    return true;
}

static uint64_t number_or_die(const char *text)
{
    char *rest;
    uint64_t number = text != NULL ? strtoull(text, &rest, 10) : 0;

    if (text == NULL || *text == '\0' || *rest != '\0') {
        fprintf(stderr, "lost_update: not a number: %s\n", text != NULL ? text : "(nothing)");
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    uint64_t last = 1000;
    bool mended = false;
    bool trace = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            first = last = number_or_die(argv[++i]);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            last = number_or_die(argv[++i]);
        } else if (strcmp(argv[i], "--mended") == 0) {
            mended = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else {
            fprintf(stderr, "usage: lost_update [--seeds N | --seed N [--trace]] [--mended]\n");
            return 2;
        }
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        if (!is_right(seed, mended, trace)) {
            return 1;
        }
    }
    printf("%" PRIu64 " seeds, and the balance is right in each\n", last - first + 1);
    return 0;
}
