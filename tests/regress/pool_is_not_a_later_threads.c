/*
 * The pool's thread is its thread for good, even if that thread has ended.
 *
 * Threads were told apart by their pthread_t, and that of a thread that has ended is given to a
 * later one: such a thread could run the pool, close it, and then count the pool as none of its
 * own, which crashed tocsin_block_on().
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include <tocsin/tocsin.h>

enum {
    LATER_THREADS = 8,
    ANSWER = 7,
};

static struct tocsin_pool *pool;
static unsigned passed;
static unsigned failed;

static void expect(const char *what, int result, int expected)
{
    if (result == expected) {
        passed++;
    } else {
        printf("%s is %d, not %d\n", what, result, expected);
        failed++;
    }
}

static int answer(struct tocsin_context *cx, void *arg)
{
    (void)cx;
    (void)arg;
    return ANSWER;
}

static void *run_first(void *arg)
{
    (void)arg;
    expect("run on the pool's thread", tocsin_pool_run(pool), 0);
    return NULL;
}

static void *come_later(void *arg)
{
    int result = 0;

    (void)arg;
    expect("run on a later thread", tocsin_pool_run(pool), -EPERM);
    expect("turn on a later thread", tocsin_pool_turn(pool), -EPERM);
    expect("close on a later thread", tocsin_pool_close(pool), -EPERM);
    expect("block_on there", tocsin_block_on(answer, NULL, &result), 0);
    expect("its result", result, ANSWER);
    return NULL;
}

static void on_a_thread(void *(*fn)(void *arg))
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, fn, NULL);

    if (r == 0) {
        pthread_join(thread, NULL);
    }
    expect("pthread_create", r, 0);
}

int main(void)
{
    expect("open", tocsin_pool_open(&pool, NULL, NULL), 0);
    if (failed == 0) {
        on_a_thread(run_first);
        for (int i = 0; i < LATER_THREADS; i++) {
            on_a_thread(come_later);
        }
    }
    /* Nobody can close it any more; what is left of it is the process's. */
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
