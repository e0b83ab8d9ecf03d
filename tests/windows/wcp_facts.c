/*
 * What is known of wait completion packets and their neighbours, checked line by line.
 *
 *     wcp-facts [--native | --emulated] [--seed N]
 *
 * Without arguments: both, natively where the platform has packets.  A line for each row, with its
 * source; the last line is `N passed, N failed`.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/windows/facts.h"

enum {
    LATE_PERMILLE = 400,
};

static unsigned passed;
static unsigned failed;

void facts_failed(struct facts *f, int line, const char *condition)
{
    printf("# line %d: %s\n", line, condition);
    f->has_failed = true;
}

void facts_note(const char *format, ...)
{
    va_list args;

    printf("# ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

int32_t facts_associate(struct facts *f, void *target, bool *out_already_signaled)
{
    return f->nt->packet_associate(f->packet, f->port, target, 1, 2, 3, 4, out_already_signaled);
}

bool facts_arrives(struct facts *f)
{
    struct nt_entry entry = {0};
    uint32_t count = 0;

    return f->nt->port_remove(f->port, &entry, 1, FACTS_SOON_NS, &count) == 0 && count == 1 &&
           entry.key == 1 && entry.apc == 2 && (uint32_t)entry.io.status == 3 &&
           entry.io.information == 4;
}

bool facts_is_empty(struct facts *f)
{
    struct nt_entry entry = {0};
    uint32_t count = 0;

    return f->nt->port_post(f->port, 99, 0, 0, 0) == 0 &&
           f->nt->port_remove(f->port, &entry, 1, FACTS_SOON_NS, &count) == 0 && entry.key == 99;
}

void *facts_event(struct facts *f, bool manual, bool signaled)
{
    void *event = NULL;

    if (nt_failed(f->nt->event_create(manual, signaled, &event))) {
        facts_failed(f, __LINE__, "an event");
    }
    return event;
}

void *facts_semaphore(struct facts *f, int32_t count)
{
    void *semaphore = NULL;

    if (nt_failed(f->nt->semaphore_create(count, 1000000, &semaphore))) {
        facts_failed(f, __LINE__, "a semaphore");
    }
    return semaphore;
}

bool facts_take(struct facts *f, void *handle)
{
    return f->nt->wait_one(handle, 0) == 0;
}

static void check(const struct nt *nt, const struct facts_row *row, const char *where)
{
    struct facts f = {.nt = nt, .is_emulated = strcmp(where, "emulated") == 0};

    if (nt_failed(nt->port_create(&f.port)) || nt_failed(nt->packet_create(&f.packet))) {
        facts_failed(&f, __LINE__, "a port and a packet");
    } else {
        row->check(&f);
    }
    if (f.packet != NULL) {
        nt->packet_close(f.packet);
    }
    nt->close(f.port);
    printf("%s %s@%s - %s [%s]\n", f.has_failed ? "not ok" : "ok", row->name, where, row->says,
           row->source);
    fflush(stdout);
    if (f.has_failed) {
        failed++;
    } else {
        passed++;
    }
}

static void check_all(bool emulated, uint64_t seed)
{
    const char *where = emulated ? "emulated" : "native";
    const struct nt *nt = world_begin(emulated, seed, 0);

    if (nt == NULL || nt->packet_create == NULL) {
        printf("# %s: no such packets here\n", where);
    } else {
        for (const struct facts_row *row = facts_objects; row->name != NULL; row++) {
            check(nt, row, where);
        }
        for (const struct facts_row *row = facts_packets; row->name != NULL; row++) {
            check(nt, row, where);
        }
    }
    world_end();
    /* Once more the row that is about lateness, where a kernel can be told to be late. */
    nt = world_begin(emulated, seed, LATE_PERMILLE);
    for (const struct facts_row *row = facts_packets; nt != NULL && row->name != NULL; row++) {
        if (nt->packet_create != NULL && strcmp(row->name, "cancel_races_lose_nothing") == 0) {
            check(nt, row, where);
        }
    }
    world_end();
}

int main(int argc, char **argv)
{
    bool native = true;
    bool emulated = true;
    uint64_t seed = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--native") == 0) {
            emulated = false;
        } else if (strcmp(argv[i], "--emulated") == 0) {
            native = false;
        } else if (strcmp(argv[i], "--child") == 0 && i + 1 < argc) {
            world_child(argv[i + 1]);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 0);
        } else {
            fprintf(stderr, "usage: wcp-facts [--native | --emulated] [--seed N]\n");
            return 2;
        }
    }
    printf("seed=%llu\n", (unsigned long long)seed);
    if (native) {
        check_all(false, seed);
    }
    if (emulated) {
        check_all(true, seed);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
