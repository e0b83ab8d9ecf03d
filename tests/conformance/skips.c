/*
 * The list of skips that are allowed: skips.txt, lines of "case backend BIT", # begins a comment.
 *
 * On a backend of this project a skip that is not listed fails, and so does a line that nothing
 * skips.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "tables.h"

enum {
    SKIPS_MAX = 1000,
    WORD_SIZE = 96,
};

struct skip {
    char row[WORD_SIZE];
    char backend[WORD_SIZE];
    char bit[WORD_SIZE];
    bool used;
};

static struct skip skips[SKIPS_MAX];
static unsigned skips_count;

static const char *const built_in[] = {CONFORM_SKIP_LINES NULL};

static int skips_add(const char *line)
{
    struct skip *skip = &skips[skips_count];
    char text[512];
    char more;
    int words;

    (void)snprintf(text, sizeof(text), "%s", line);
    text[strcspn(text, "#\n")] = '\0';
    words = sscanf(text, " %95s %95s %95s %c", skip->row, skip->backend, skip->bit, &more);
    if (words == EOF || words == 0) {
        return 0;
    }
    if (words != 3) {
        return -EINVAL;
    }
    if (++skips_count == SKIPS_MAX) {
        return -ENOSPC;
    }
    return 0;
}

int conform_skips_load(const char *path)
{
    char line[512];
    FILE *file;
    int r = 0;

    skips_count = 0;
    if (path == NULL) {
        for (unsigned i = 0; built_in[i] != NULL && r == 0; i++) {
            r = skips_add(built_in[i]);
        }
        return r;
    }
    file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    while (r == 0 && fgets(line, sizeof(line), file) != NULL) {
        r = skips_add(line);
    }
    (void)fclose(file);
    return r;
}

bool conform_skips_allow(const char *row, const char *backend, const char *bit)
{
    for (unsigned i = 0; i < skips_count; i++) {
        if (strcmp(skips[i].row, row) == 0 && strcmp(skips[i].backend, backend) == 0 &&
            strcmp(skips[i].bit, bit) == 0) {
            skips[i].used = true;
            return true;
        }
    }
    return false;
}

unsigned conform_skips_unused(const char *backend)
{
    unsigned unused = 0;

    for (unsigned i = 0; i < skips_count; i++) {
        if (!skips[i].used && strcmp(skips[i].backend, backend) == 0) {
            printf("# skips.txt: %s %s %s: no such skip\n", skips[i].row, backend, skips[i].bit);
            unused++;
        }
    }
    return unused;
}

const char *conform_bit_name(uint32_t bits)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {TOCSIN_BACKEND_EDGE, "EDGE"},
        {TOCSIN_BACKEND_ANY_THREAD_ATTACH, "ANY_THREAD_ATTACH"},
        {TOCSIN_BACKEND_EXACT_EVENTS, "EXACT_EVENTS"},
        {TOCSIN_BACKEND_FINE_DEADLINE, "FINE_DEADLINE"},
        {TOCSIN_BACKEND_DESCRIPTORS, "DESCRIPTORS"},
        {TOCSIN_BACKEND_HANDLES, "HANDLES"},
        {TOCSIN_BACKEND_SOCKETS, "SOCKETS"},
        {TOCSIN_BACKEND_FOREIGN_THREADS, "FOREIGN_THREADS"},
        {TOCSIN_BACKEND_POLL_HANDLE, "POLL_HANDLE"},
        {TOCSIN_BACKEND_URING, "URING"},
        {TOCSIN_BACKEND_OWN_SOURCES, "OWN_SOURCES"},
        {CONFORM_LINKS, "LINKS"},
        {CONFORM_SOURCES, "SOURCES"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((bits & names[i].bit) != 0) {
            return names[i].name;
        }
    }
    return "?";
}
