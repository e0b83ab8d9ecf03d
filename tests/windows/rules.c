/*
 * Runs the rules of a program, each in every world, and looks for what they leave behind.
 *
 *     PROGRAM [--seed N] [--rule NAME]
 *
 * The last line is `N passed, N failed`.
 */
#include "tests/windows/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/windows/packets.h"

static unsigned passed;
static unsigned failed;

void rules_failed(struct rules *t, const char *file, int line, const char *condition)
{
    printf("# %s:%d: %s\n", file, line, condition);
    t->has_failed = true;
}

void rules_note(const char *format, ...)
{
    va_list args;

    printf("# ");
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was started in the line above. */
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void *rules_event(struct rules *t, bool manual, bool signaled)
{
    void *event = NULL;

    if (nt_failed(t->nt->event_create(manual, signaled, &event))) {
        rules_failed(t, __FILE__, __LINE__, "an event");
    }
    return event;
}

void *rules_semaphore(struct rules *t, int32_t count)
{
    void *semaphore = NULL;

    if (nt_failed(t->nt->semaphore_create(count, 1000000, &semaphore))) {
        rules_failed(t, __FILE__, __LINE__, "a semaphore");
    }
    return semaphore;
}

int rules_ctl(struct rules *t, enum tocsin_epoll_op op, void *handle, uint32_t events,
              uint64_t data)
{
    struct tocsin_epoll_event event = {.events = events, .data = data};

    return tocsin_epoll_ctl(t->epoll, op, handle, &event);
}

int rules_add(struct rules *t, void *handle, uint32_t events, uint64_t data)
{
    return rules_ctl(t, TOCSIN_EPOLL_CTL_ADD, handle, events, data);
}

int rules_mod(struct rules *t, void *handle, uint32_t events, uint64_t data)
{
    return rules_ctl(t, TOCSIN_EPOLL_CTL_MOD, handle, events, data);
}

int rules_del(struct rules *t, void *handle)
{
    return tocsin_epoll_ctl(t->epoll, TOCSIN_EPOLL_CTL_DEL, handle, NULL);
}

bool rules_gets(struct rules *t, uint64_t data)
{
    struct tocsin_epoll_event event = {0};
    int count = tocsin_epoll_wait(t->epoll, &event, 1, RULES_SOON_NS);

    if (count == 1 && event.events == TOCSIN_EPOLL_IN && event.data == data) {
        return true;
    }
    printf("# %d events, data %llu instead of %llu\n", count, (unsigned long long)event.data,
           (unsigned long long)data);
    return false;
}

bool rules_none(struct rules *t)
{
    struct tocsin_epoll_event event;

    return tocsin_epoll_wait(t->epoll, &event, 1, 0) == 0;
}

bool rules_close(struct rules *t, void *handle)
{
    return t->nt->close(handle) == 0;
}

void rules_reopen(struct rules *t)
{
    tocsin_epoll_close(t->epoll);
    t->epoll = NULL;
    if (tocsin__epoll_open(t->nt, &t->epoll) < 0) {
        abort();
    }
}

static void run(const struct rules_row *row, bool emulated, uint64_t seed, uint32_t late_permille)
{
    struct nt_model_options options = {
        .seed = seed,
        .delay_permille = 100,
        .late_permille = late_permille,
        .without_packets = emulated,
    };
    struct rules t = {.is_emulated = emulated};

    nt_model_begin(&options);
    if (!emulated && nt_model_table()->packet_create == NULL) {
        return; /* a real kernel without */
    }
    t.nt = emulated ? tocsin__packets_open(nt_model_table()) : nt_model_table();
    if (tocsin__epoll_open(t.nt, &t.epoll) < 0) {
        abort();
    }
    row->fn(&t);
    nt_model_hook(NULL, NULL);
    tocsin_epoll_close(t.epoll);
    if (emulated) {
        tocsin__packets_close(t.nt);
    }
    if (!t.has_failed && (nt_model_handles() != 0 || nt_model_objects() != 0)) {
        printf("# left: %u handles, %u objects\n", nt_model_handles(), nt_model_objects());
        t.has_failed = true;
    }
    printf("%s %s@%s%s\n", t.has_failed ? "not ok" : "ok", row->name,
           emulated ? "emulated" : "native", late_permille != 0 ? "-late" : "");
    fflush(stdout);
    if (t.has_failed) {
        failed++;
        if (nt_model_handles() != 0) {
            printf("%u passed, %u failed\n", passed, failed);
            exit(1); /* the model cannot start anew */
        }
    } else {
        passed++;
    }
}

int main(int argc, char **argv)
{
    const char *name = NULL;
    uint64_t seed = 1;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 0);
        } else if (strcmp(argv[i], "--rule") == 0) {
            name = argv[i + 1];
        }
    }
    printf("seed=%llu\n", (unsigned long long)seed);
    for (const struct rules_row *row = rules_rows; row->name != NULL; row++) {
        if (name == NULL || strcmp(name, row->name) == 0) {
            run(row, false, seed, 0);
            run(row, false, seed, 400);
            if (!row->is_native) {
                run(row, true, seed, 0);
            }
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
