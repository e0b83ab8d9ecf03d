/*
 * What the tests of vpoll share: cases in processes of their own, and the providers.
 *
 * A case runs in a forked child, which is given up after a while and killed: some of what is tested
 * hangs where a cure is missing, and may not even be killed then.  After each case everything that
 * it left behind must be gone: no process (this one adopts what a case orphans, and waits for it),
 * nothing mounted.
 *
 * A program is run with the name of a provider.  "device" and "eventfd" are ours to serve: the
 * path of the one and the system call of the other lead to files of a FUSE mount of the program's.
 * Where the provider does not serve, the status is 77, with the reason.
 */
#ifndef TOCSIN_TESTS_VPOLL_HARNESS_H
#define TOCSIN_TESTS_VPOLL_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tocsin/vpoll.h>

enum {
    HARNESS_SKIPPED = 77, /* the status of what was skipped */
};

/* In a case, a child of one, or the program: fails what runs, and goes on. */
#define CHECK(condition) harness_check((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(got, wanted)                                                                      \
    harness_check_equal((long long)(got), (long long)(wanted), #got " == " #wanted, __FILE__,      \
                        __LINE__)

/* The same, and ends the process that runs. */
#define REQUIRE(condition) harness_require((condition), #condition, __FILE__, __LINE__)

bool harness_check(bool held, const char *expression, const char *file, int line);
bool harness_check_equal(long long got, long long wanted, const char *expression, const char *file,
                         int line);
void harness_require(bool held, const char *expression, const char *file, int line);

/* Say why the case cannot be run here, and end it. */
__attribute__((format(printf, 1, 2), noreturn)) void harness_skip(const char *format, ...);

struct harness_case {
    const char *name;
    void (*run)(void);
};
#define CASE(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

/*
 * Run the cases, those whose names match the second argument if there is one, each after @before
 * (may be NULL).  Returns: the program's status.
 */
int harness_main(int argc, char **argv, const struct harness_case *cases, size_t cases_count,
                 void (*before)(void));

/* The provider's name, as it was given. */
extern const char *harness_provider;

/* True if the provider is @name, or one of those that begin with it. */
bool harness_is(const char *name);

/* In a case: ask the library which provider serves; skips the case if it does not. */
void harness_choose(void);

/* Run @fn(@arg) in a forked child, which ends with the status 0 if its checks held. */
pid_t harness_fork(void (*fn)(void *arg), void *arg);

/* Wait for @child; checks that it ended with 0. */
void harness_join(pid_t child);

/* A socket pair to say when: one byte, to be waited for. */
struct harness_gate {
    int ends[2];
};
void harness_gate_open(struct harness_gate *gate);
void harness_gate_signal(struct harness_gate *gate, int end);
void harness_gate_wait(struct harness_gate *gate, int end);

/* A vpoll descriptor, close-on-exec; REQUIREd. */
int harness_create(uint32_t events);

/* The poll events of @fd now, of all that there are. */
uint32_t harness_poll(int fd);

/* In a case: the processes that serve vpoll now, of the program's: how many; *@out_last is one. */
int harness_servers(pid_t *out_last);

#endif
