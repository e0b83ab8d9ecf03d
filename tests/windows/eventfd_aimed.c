/*
 * An eventfd against Linux' own in random programs; where the kernel refuses something; and what
 * happens between the counter and the event.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/windows/eventfd.h"
#include "tests/windows/rules.h"

enum {
    PROGRAMS = 300,
    STEPS = 60,
};

#define NONBLOCK TOCSIN_EFD_NONBLOCK
#define SEMAPHORE TOCSIN_EFD_SEMAPHORE

static struct tocsin_eventfd *open_one(struct rules *t, uint32_t count, uint32_t flags)
{
    struct tocsin_eventfd *eventfd = NULL;

    if (tocsin__eventfd_open(t->nt, count, flags, &eventfd) < 0) {
        rules_failed(t, __FILE__, __LINE__, "an eventfd");
    }
    return eventfd;
}

static bool is_readable(struct tocsin_eventfd *eventfd)
{
    return nt_model_is_signaled(tocsin_eventfd_handle(eventfd));
}

static uint64_t some_value(void)
{
    switch (nt_model_random(8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_MAX - 1;
    case 3:
        return UINT64_MAX / 2;
    default:
        return nt_model_random(5);
    }
}

static bool same_as_linux(struct rules *t, uint32_t count, uint32_t flags)
{
    int fd = eventfd(count, (int)(flags | NONBLOCK));
    struct tocsin_eventfd *own = open_one(t, count, flags | NONBLOCK);
    bool same = fd >= 0 && own != NULL;

    for (int i = 0; i < STEPS && same; i++) {
        if (nt_model_random(2) == 0) {
            uint64_t value = some_value();
            int wanted = write(fd, &value, sizeof(value)) < 0 ? -errno : 0;

            same = tocsin_eventfd_write(own, value) == wanted;
        } else {
            uint64_t wanted_value = 7;
            uint64_t value = 7;
            int wanted = read(fd, &wanted_value, sizeof(wanted_value)) < 0 ? -errno : 0;

            same = tocsin_eventfd_read(own, &value) == wanted && value == wanted_value;
            if (same && wanted < 0) {
                same = !is_readable(own);
            }
        }
    }
    tocsin_eventfd_close(own);
    close(fd);
    return same;
}

static void it_is_as_on_linux(struct rules *t)
{
    for (int i = 0; i < PROGRAMS; i++) {
        REQUIRE(t, same_as_linux(t, nt_model_random(3), i % 2 == 0 ? 0 : SEMAPHORE));
    }
}

static void flags_have_linux_values(struct rules *t)
{
    struct tocsin_eventfd *eventfd;

    REQUIRE(t, (int)SEMAPHORE == (int)EFD_SEMAPHORE && (int)NONBLOCK == (int)EFD_NONBLOCK);
    REQUIRE(t, (int)TOCSIN_EFD_CLOEXEC == (int)EFD_CLOEXEC);
    REQUIRE(t, tocsin__eventfd_open(t->nt, 0, 2, &eventfd) == -EINVAL);
}

static void a_refused_event_is_tried_again(struct rules *t)
{
    struct tocsin_eventfd *eventfd = open_one(t, 0, NONBLOCK);
    uint64_t value;

    nt_model_fail(NT_CALL_EVENT_SET, 1, NT_INSUFFICIENT_RESOURCES);
    REQUIRE(t, tocsin_eventfd_write(eventfd, 1) == 0);
    REQUIRE(t, !is_readable(eventfd));
    REQUIRE(t, tocsin_eventfd_write(eventfd, 1) == 0);
    REQUIRE(t, is_readable(eventfd));
    nt_model_fail(NT_CALL_EVENT_RESET, 1, NT_INSUFFICIENT_RESOURCES);
    REQUIRE(t, tocsin_eventfd_read(eventfd, &value) == 0 && value == 2);
    REQUIRE(t, tocsin_eventfd_read(eventfd, &value) == -EAGAIN);
    REQUIRE(t, !is_readable(eventfd));
    tocsin_eventfd_close(eventfd);
}

static void only_the_first_write_enters_the_kernel(struct rules *t)
{
    struct tocsin_eventfd *eventfd = open_one(t, 0, NONBLOCK);
    uint64_t calls = nt_model_calls(NT_CALL_EVENT_SET);
    uint64_t value;

    for (int i = 0; i < 100; i++) {
        REQUIRE(t, tocsin_eventfd_write(eventfd, 1) == 0);
    }
    REQUIRE(t, nt_model_calls(NT_CALL_EVENT_SET) == calls + 1);
    REQUIRE(t, tocsin_eventfd_read(eventfd, &value) == 0 && value == 100);
    tocsin_eventfd_close(eventfd);
}

struct between {
    struct tocsin_eventfd *eventfd;
    int call; /* before it another thread does the opposite */
    bool done;
};

static void do_the_opposite(int call, enum nt_model_moment moment, void *arg)
{
    struct between *between = arg;
    uint64_t value;

    if (between->done || call != between->call || moment != NT_MOMENT_BEFORE) {
        return;
    }
    between->done = true;
    if (call == NT_CALL_EVENT_SET) {
        tocsin_eventfd_read(between->eventfd, &value);
    } else {
        tocsin_eventfd_write(between->eventfd, 1);
    }
}

static void the_event_agrees_with_the_counter(struct rules *t)
{
    struct between between = {.eventfd = open_one(t, 0, NONBLOCK), .call = NT_CALL_EVENT_SET};
    uint64_t value;

    nt_model_hook(do_the_opposite, &between);
    REQUIRE(t, tocsin_eventfd_write(between.eventfd, 1) == 0 && between.done);
    REQUIRE(t, !is_readable(between.eventfd)); /* it was read before the event was set */
    between.call = NT_CALL_EVENT_RESET;
    REQUIRE(t, tocsin_eventfd_write(between.eventfd, 1) == 0);
    between.done = false;
    REQUIRE(t, tocsin_eventfd_read(between.eventfd, &value) == 0 && between.done);
    REQUIRE(t, is_readable(between.eventfd)); /* it was written before the event was reset */
    nt_model_hook(NULL, NULL);
    tocsin_eventfd_close(between.eventfd);
}

const struct rules_row rules_rows[] = {
    RULE_NATIVE(it_is_as_on_linux),
    RULE_NATIVE(flags_have_linux_values),
    RULE_NATIVE(a_refused_event_is_tried_again),
    RULE_NATIVE(only_the_first_write_enters_the_kernel),
    RULE_NATIVE(the_event_agrees_with_the_counter),
    {0},
};
