/*
 * The shared part of the stress programs of the ring: see uring.h.
 */
#include "tests/stress/uring.h"

#include <dirent.h>
#include <stdio.h>

enum {
    SKIPPED = 77,
};

int stress_uring_main(int argc, char **argv, unsigned count, stress_body_fn *body)
{
    struct tocsin_pool *pool = stress_pool();
    struct tocsin_driver *driver = tocsin_pool_driver(pool);
    int r = tocsin_uring_probe(driver, IORING_OP_NOP);

    if (r < 0) {
        printf("skipped: %s\n", tocsin_uring_reason(driver));
    }
    tocsin_pool_close(pool);
    return r < 0 ? SKIPPED : stress_main(argc, argv, count, body);
}

unsigned stress_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    STRESS_CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}
