/*
 * What a run did, step by step: kept only while a failed run is made again, and then printed.
 *
 * Places are those of calls, and named by addr2line(1) where there is one.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/model/engine.h"

enum {
    ENTRIES_MAX = 4096,
    TEXT_MAX = 64,
    PLACE_MAX = 160,
    NAMED_AT_ONCE = 256, /* addresses for one command */
};

struct entry {
    const void *pc;
    unsigned thread;
    unsigned step;
    char text[TEXT_MAX];
};

/* The start of the program in memory; named by the linker. */
extern const char __executable_start[];

bool model_tracing;

static struct entry entries[ENTRIES_MAX];
static unsigned count;
static char places[ENTRIES_MAX][PLACE_MAX];

void model_trace_reset(void)
{
    count = 0;
}

void model_trace(const void *pc, const char *format, ...)
{
    struct entry *entry = &entries[count];
    va_list arguments;

    if (!model_tracing || count == ENTRIES_MAX) {
        return;
    }
    count++;
    entry->pc = pc;
    entry->thread = model_self();
    entry->step = model_step();
    va_start(arguments, format);
    vsnprintf(entry->text, sizeof(entry->text), format, arguments);
    va_end(arguments);
}

/* "function" and "file:line" come on two lines each. */
static void name_some(unsigned first, unsigned end, const char *program)
{
    char command[NAMED_AT_ONCE * 20 + 4200];
    char function[PLACE_MAX];
    char line[PLACE_MAX * 2];
    int length = snprintf(command, sizeof(command), "addr2line -fse '%s'", program);
    FILE *output;

    for (unsigned i = first; i < end; i++) {
        length += snprintf(command + length, sizeof(command) - (size_t)length, " %#lx",
                           (unsigned long)((const char *)entries[i].pc - __executable_start - 1));
    }
    snprintf(command + length, sizeof(command) - (size_t)length, " 2>/dev/null");
    output = popen(command, "r"); /* NOLINT(cert-env33-c): the program's own path */
    for (unsigned i = first; i < end && output != NULL; i++) {
        if (fgets(function, sizeof(function), output) == NULL ||
            fgets(line, sizeof(line), output) == NULL) {
            break;
        }
        function[strcspn(function, "\n")] = '\0';
        line[strcspn(line, " \n")] = '\0';
        snprintf(places[i], PLACE_MAX, "%.100s %.50s", line, function);
    }
    if (output != NULL) {
        pclose(output);
    }
}

void model_trace_print(void)
{
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    program[length > 0 ? length : 0] = '\0';
    for (unsigned i = 0; i < count; i += NAMED_AT_ONCE) {
        name_some(i, i + NAMED_AT_ONCE < count ? i + NAMED_AT_ONCE : count, program);
    }
    for (unsigned i = 0; i < count; i++) {
        printf("    %4u  thread %u  %-44s %s\n", entries[i].step, entries[i].thread,
               entries[i].text, entries[i].pc == NULL ? "" : places[i]);
    }
}
