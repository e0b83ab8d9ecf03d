/*
 * A pool that lives in a loop that was handed in: see home.h and <tocsin/uv.h>.
 *
 *   a kick, an event   seen in the poll phase of an iteration; the check phase after it takes one
 *                      turn for all of them
 *   the deadline       takes its turn at once: libuv may run timers after the check phase
 *   work that remains  is a kick, as for any host: the loop's other handles have their go first
 *
 * Nothing polls: without these three the loop sleeps as long as it would without the pool.  The
 * async handle alone keeps the loop going: it is referenced while the last turn said that something
 * keeps the pool alive.  From 0 to 1 that changes outside of turns as well: what the loop's own
 * thread sends is a kick, which references it until its turn has said more.  Other threads that
 * send hold a counted driver.
 */
#include <errno.h>

#include "backends/uv/home.h"

/* Whose poll_handle slot is asked for, by tocsin_uv_host() on this thread. */
struct asking {
    bool is_asked;
    struct uv_home *home;
};

static _Thread_local struct asking asking;

/* Differs between threads that live at the same time; never 0. */
static uintptr_t thread_identity(void)
{
    return (uintptr_t)&asking;
}

static void set_alive(struct uv_home *home, bool is_alive)
{
    if (is_alive) {
        uv_ref((uv_handle_t *)&home->kick);
    } else {
        uv_unref((uv_handle_t *)&home->kick);
    }
}

static void take_turn(struct uv_home *home)
{
    int r;

    home->turn_due = false;
    r = tocsin_pool_turn(home->pool);
    if (r == -EBUSY) {
        home->turn_due = true; /* a loop that is run inside a turn of this pool: its end kicks */
        return;
    }
    if (r == -EPERM) {
        (void)tocsin_pool_next_deadline(home->pool); /* aborts, and says that it is the thread */
    }
    if (r < 0) {
        home->pool = NULL; /* a forked child */
    }
    set_alive(home, r > 0);
}

void tocsin__uv_roused(struct uv_home *home)
{
    home->is_roused = true;
    home->turn_due = true;
}

void tocsin__uv_due(struct uv_home *home)
{
    if (home->pool != NULL) {
        take_turn(home);
    }
}

void tocsin__uv_on_check(uv_check_t *check)
{
    struct uv_home *home = check->data;

    if (home->turn_due && home->pool != NULL) {
        take_turn(home);
    }
}

void tocsin__uv_kick(struct uv_home *home)
{
    uv_async_send(&home->kick);
    /* UV-1 relaxed: a thread finds its own identity if it has stored it; any other is not its. */
    if (atomic_load_explicit(&home->thread, memory_order_relaxed) == thread_identity()) {
        set_alive(home, true);
    }
}

bool tocsin__uv_is_asked(struct uv_home *home)
{
    if (!asking.is_asked) {
        return false;
    }
    asking.home = home;
    return true;
}

int tocsin_uv_host(struct tocsin_pool *pool)
{
    const struct tocsin_backend *backend = tocsin_driver_backend(tocsin_pool_driver(pool));
    struct uv_home *home;
    int r;

    if (backend->ops != &tocsin__backend_uv || backend->arg == NULL) {
        return -EINVAL;
    }
    /* The pool passes it on to its backend: that is how its state is found, and told of turns. */
    asking = (struct asking){.is_asked = true};
    r = tocsin_pool_poll_fd(pool);
    home = asking.home;
    asking = (struct asking){.is_asked = false};
    if (r < 0) {
        return r;
    }
    home->pool = pool;
    /* UV-1 relaxed: nobody else's kick depends on it. */
    atomic_store_explicit(&home->thread, thread_identity(), memory_order_relaxed);
    tocsin__uv_kick(home); /* for the first turn, or one that counts what is alive */
    return 0;
}

struct tocsin_backend tocsin_uv_backend(struct uv_loop_s *loop)
{
    return (struct tocsin_backend){.ops = &tocsin__backend_uv, .arg = loop};
}

/*
 * Each process that makes a loop has a pipe of libuv's for good.  The suite counts descriptors, so
 * it is made here, and not in the first pool.
 */
const struct tocsin_backend *tocsin_backend_plugin(void)
{
    static const struct tocsin_backend own = {.ops = &tocsin__backend_uv};
    uv_loop_t loop;

    if (uv_loop_init(&loop) == 0) {
        uv_loop_close(&loop);
    }
    return &own;
}
