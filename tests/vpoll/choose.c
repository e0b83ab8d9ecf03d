/*
 * Which provider serves: the order, the environment, and what is said when one is refused.
 *
 *     choose [any CASE]  the cases
 *     choose PROVIDER    0 if that one serves here, else its reason and 77
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "harness.h"

static void refuse_fuse(void)
{
    setenv("TOCSIN_VPOLL_FUSE", "/nonexistent/fuse", 1);
    setenv("TOCSIN_VPOLL_DEVICE", "/nonexistent/vpoll", 1);
}

static void falls_back_and_says_why(void)
{
    struct tocsin_vpoll_info info;
    int fd;

    unsetenv("TOCSIN_VPOLL");
    refuse_fuse();
    CHECK_EQ(tocsin_vpoll_info_get(&info), 0);
    REQUIRE(info.provider != NULL);
    CHECK(strcmp(info.provider, "stream") == 0);
    CHECK(strstr(info.reason, "EFD_VPOLL") != NULL);
    CHECK(strstr(info.reason, "/nonexistent/vpoll: No such file") != NULL);
    CHECK(strstr(info.reason, "fuse: direct: open of the device: No such file") != NULL);
    fd = harness_create(TOCSIN_VPOLL_OUT);
    CHECK_EQ(harness_poll(fd) & TOCSIN_VPOLL_OUT, TOCSIN_VPOLL_OUT);
    CHECK_EQ(tocsin_vpoll_create(TOCSIN_VPOLL_ERR, TOCSIN_VPOLL_STRICT), -ENOTSUP);
}

static void best_one_comes_first(void)
{
    struct tocsin_vpoll_info info;

    unsetenv("TOCSIN_VPOLL");
    CHECK_EQ(tocsin_vpoll_info_get(&info), 0);
    printf("    %s serves; %s\n", info.provider, info.reason);
    if (strcmp(info.provider, "stream") != 0) {
        CHECK_EQ(info.exact, TOCSIN_VPOLL_ALL);
        CHECK_EQ(info.events, TOCSIN_VPOLL_ALL);
    }
    if (strcmp(info.provider, "eventfd") != 0) {
        CHECK(strstr(info.reason, "eventfd: ") == info.reason);
    }
}

static void refused_provider_is_not_replaced(void)
{
    struct tocsin_vpoll_info info;

    setenv("TOCSIN_VPOLL", "fuse-direct", 1);
    refuse_fuse();
    CHECK_EQ(tocsin_vpoll_create(0, 0), -EOPNOTSUPP);
    CHECK_EQ(tocsin_vpoll_info_get(&info), -EOPNOTSUPP);
    CHECK(info.provider == NULL);
    CHECK_EQ(info.events | info.exact, 0);
    CHECK(strstr(info.reason, "No such file") != NULL);
    /* Asked once: that the way is free now is not noticed. */
    unsetenv("TOCSIN_VPOLL");
    CHECK_EQ(tocsin_vpoll_create(0, 0), -EOPNOTSUPP);
}

static void unknown_provider_is_refused(void)
{
    struct tocsin_vpoll_info info;

    setenv("TOCSIN_VPOLL", "telepathy", 1);
    CHECK_EQ(tocsin_vpoll_create(0, 0), -EOPNOTSUPP);
    CHECK_EQ(tocsin_vpoll_info_get(&info), -EOPNOTSUPP);
    CHECK(strstr(info.reason, "telepathy") != NULL);
}

static void program_may_choose(void)
{
    struct tocsin_vpoll_info info;

    unsetenv("TOCSIN_VPOLL");
    CHECK_EQ(tocsin_vpoll_use("telepathy"), -EINVAL);
    CHECK_EQ(tocsin_vpoll_use("fuse"), 0);
    CHECK_EQ(tocsin_vpoll_use("datagram"), 0);
    CHECK_EQ(tocsin_vpoll_info_get(&info), 0);
    CHECK(strcmp(info.provider, "datagram") == 0);
    CHECK_EQ(tocsin_vpoll_use("stream"), -EBUSY);
}

static void environment_comes_before_the_program(void)
{
    struct tocsin_vpoll_info info;

    setenv("TOCSIN_VPOLL", "stream", 1);
    CHECK_EQ(tocsin_vpoll_use("datagram"), 0);
    CHECK_EQ(tocsin_vpoll_info_get(&info), 0);
    CHECK(strcmp(info.provider, "stream") == 0);
}

static void no_provider_breaks_no_ctl(void)
{
    int pipes[2];

    setenv("TOCSIN_VPOLL", "fuse-direct", 1);
    refuse_fuse();
    REQUIRE(pipe(pipes) == 0);
    CHECK_EQ(tocsin_vpoll_ctl(pipes[0], TOCSIN_VPOLL_ADD, 1), -ENOTTY);
    CHECK_EQ(tocsin_vpoll_close(pipes[0]), -ENOTTY);
    CHECK_EQ(tocsin_vpoll_ctl(-1, TOCSIN_VPOLL_ADD, 1), -EBADF);
}

static const struct harness_case cases[] = {
    CASE(falls_back_and_says_why),
    CASE(best_one_comes_first),
    CASE(refused_provider_is_not_replaced),
    CASE(unknown_provider_is_refused),
    CASE(program_may_choose),
    CASE(environment_comes_before_the_program),
    CASE(no_provider_breaks_no_ctl),
};

static int serves(const char *name)
{
    struct tocsin_vpoll_info info;

    setenv("TOCSIN_VPOLL", name, 1);
    if (tocsin_vpoll_info_get(&info) == 0) {
        return 0;
    }
    printf("%s\n", info.reason);
    return HARNESS_SKIPPED;
}

int main(int argc, char **argv)
{
    char any[] = "any";
    char *args[] = {argv[0], any, argc > 2 ? argv[2] : NULL, NULL};

    if (argc == 2) {
        return serves(argv[1]);
    }
    return harness_main(argc > 2 ? 3 : 2, args, cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
