/*
 * A pool's thread is started with just the descriptors that a pool takes, and no other.
 *
 * The thread was named by its parent, through a file of /proc, at the time at which it opened its
 * pool: now and then that file had the last descriptor, and spawning said -EMFILE; or there was
 * none for the name, and the thread went without.  A thread names itself, which takes none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tocsin/tocsin.h>

enum {
    ROUNDS = 200,
    NAME_SIZE = 16,
};

static int lowest_free(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* The highest number that an open pool has beside what was open. */
static int highest_of_a_pool(void)
{
    struct tocsin_pool *pool;
    int highest = lowest_free();

    if (tocsin_pool_open(&pool, NULL, NULL) < 0) {
        return -1;
    }
    for (int fd = highest; fd < highest + 64; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            highest = fd;
        }
    }
    tocsin_pool_close(pool);
    return highest;
}

static void take_name(void *arg, int status)
{
    (void)status;
    prctl(PR_GET_NAME, arg);
}

static int spawn_named(char *name)
{
    struct tocsin_pool_thread *thread;
    struct tocsin_driver *driver;
    int r = tocsin_pool_spawn_thread(&thread, &driver, "narrow", NULL, NULL);

    if (r < 0) {
        return r;
    }
    memset(name, 0, NAME_SIZE);
    r = tocsin_post(driver, take_name, name);
    tocsin_driver_unref(driver);
    tocsin_pool_thread_join(thread);
    return r;
}

int main(void)
{
    int highest = highest_of_a_pool();
    struct rlimit limit;
    unsigned passed = 0;
    unsigned failed = 0;

    if (highest < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        printf("0 passed, 1 failed\n");
        return 1;
    }
    limit.rlim_cur = (rlim_t)highest + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < ROUNDS; i++) {
        char name[NAME_SIZE];
        int r = spawn_named(name);

        if (r == 0 && strcmp(name, "narrow") == 0) {
            passed++;
        } else {
            printf("spawn %d says %d, and the name is \"%s\"\n", i, r, r == 0 ? name : "");
            failed++;
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
