/*
 * A hosted pool between whose turns two threads post, wake and move a timer.
 *
 * The host sleeps in poll(2) on the descriptor and turns the pool when it is readable.  Each thread
 * waits now and then until what it sent has arrived: a kick that is lost between two turns hangs.
 */
#include <poll.h>

#include "tests/stress/stress.h"

enum {
    SENDERS = 2,
};

struct host {
    struct tocsin_driver *driver;
    struct tocsin_timer timer;
    atomic_uint fired;
    atomic_uint over;
};

struct sender {
    struct support_thread thread;
    struct support_random random;
    struct host *host;
    unsigned count;
    unsigned index;
    atomic_uint arrived;
};

static void arrive(void *arg, int status)
{
    struct sender *sender = arg;

    STRESS_CHECK(status == 0);
    stress_add(&sender->arrived);
}

static void note(struct tocsin_timer *timer, uint64_t missed, void *arg)
{
    struct host *host = arg;

    (void)timer;
    (void)missed;
    stress_add(&host->fired);
}

static void send(void *arg)
{
    struct sender *sender = arg;
    struct host *host = sender->host;

    for (unsigned i = 1; i <= sender->count; i++) {
        STRESS_CHECK(tocsin_post(host->driver, arrive, sender) == 0);
        switch (support_random_below(&sender->random, 8)) {
        case 0:
            stress_await(&sender->arrived, i);
            break;
        case 1:
            if (sender->index == 0) { /* the timer's only mover: each move fires once */
                unsigned fired = stress_load(&host->fired);
                uint64_t now_ns = tocsin_driver_now_ns(host->driver);

                tocsin_timer_move(&host->timer,
                                  now_ns + support_random_below(&sender->random, 100000));
                stress_await(&host->fired, fired + 1);
            }
            break;
        case 2:
            stress_dither(&sender->random);
            break;
        default:
            break;
        }
        stress_progress();
    }
    stress_await(&sender->arrived, sender->count);
    stress_add(&host->over);
    tocsin_driver_unref(host->driver);
}

static void run(unsigned count, struct support_random *random)
{
    static struct host host;
    static struct sender senders[SENDERS];
    struct tocsin_pool *pool = stress_pool();
    struct pollfd waiting = {.fd = tocsin_pool_poll_fd(pool), .events = POLLIN};

    host.driver = tocsin_pool_driver(pool);
    STRESS_CHECK(tocsin_timer_init(&host.timer, host.driver, note, &host) == 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].random.state = support_random_next(random);
        senders[i].host = &host;
        senders[i].index = i;
        senders[i].count = count / SENDERS + 1;
        tocsin_driver_ref(host.driver);
        support_thread_start(&senders[i].thread, i, send, &senders[i]);
    }
    while (tocsin_pool_turn(pool) == 1) {
        STRESS_CHECK(poll(&waiting, 1, -1) == 1);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        support_thread_join(&senders[i].thread);
        STRESS_CHECK(stress_load(&senders[i].arrived) == senders[i].count);
    }
    tocsin_timer_deinit(&host.timer);
    STRESS_CHECK(tocsin_pool_close(pool) == 0);
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, 20000, run);
}
