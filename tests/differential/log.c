/*
 * What a run says of itself, and how two runs are compared.
 *
 * A line is an operation: its number, its name, and what came of it.  Lines stand in memory that
 * the parent shares, so a run that crashes or hangs has said what it had.
 */
#include "differential.h"

#include <stdarg.h>
#include <sys/wait.h>

static const char not_here[] = " n/a";

void say(struct actor *actor, const char *format, ...)
{
    size_t room = LOG_SIZE - actor->log_length;
    va_list arguments;
    int length;

    if (actor->skipped) {
        return;
    }
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, above. */
    length = vsnprintf(actor->log + actor->log_length, room, format, arguments);
    va_end(arguments);
    NEED(length >= 0 && (size_t)length < room);
    actor->log_length += (size_t)length;
}

void say_not_here(struct actor *actor, uint32_t bit)
{
    if (!actor->skipped && EXPECT(actor, (actor->run->features & bit) != bit)) {
        say(actor, "%s", not_here);
        actor->skipped = true;
    }
}

bool expect(struct run *run, const struct actor *actor, bool held, const char *what,
            const char *place)
{
    char line[256];
    size_t length;

    if (!held) {
        pthread_mutex_lock(&run->lock);
        if (actor != NULL && actor->op != NULL) {
            snprintf(line, sizeof(line), "%s: %s (operation %u, %s)\n", place, what,
                     actor->op->number, actor->op->kind->name);
        } else {
            snprintf(line, sizeof(line), "%s: %s\n", place, what);
        }
        length = strlen(run->record->wrong);
        snprintf(run->record->wrong + length, LOG_SIZE - length, "%s", line);
        pthread_mutex_unlock(&run->lock);
    }
    return held;
}

_Noreturn void need_failed(const char *what, const char *place)
{
    fprintf(stderr, "# %s: %s: %s\n", place, what, strerror(errno));
    abort();
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* The next line at *@text, without its end; *@text goes on behind it.  False: no more. */
static bool next_line(const char **text, char *line, size_t line_size)
{
    size_t length = strcspn(*text, "\n");

    if (**text == '\0') {
        return false;
    }
    snprintf(line, line_size, "%.*s", (int)length, *text);
    *text += length + ((*text)[length] == '\n');
    return true;
}

static bool ends_with(const char *line, const char *end)
{
    size_t length = strlen(line);
    size_t end_length = strlen(end);

    return length >= end_length && strcmp(line + length - end_length, end) == 0;
}

/* Do the lines say the same?  One that says n/a says the same as any of that operation. */
static bool lines_agree(const char *a, const char *b)
{
    return strcmp(a, b) == 0 ||
           ((ends_with(a, not_here) || ends_with(b, not_here)) && atoi(a) == atoi(b));
}

static bool logs_differ(const char *a, const char *a_on, const char *b, const char *b_on,
                        char *text, size_t text_size)
{
    char a_line[512];
    char b_line[512];

    for (;;) {
        bool a_has = next_line(&a, a_line, sizeof(a_line));
        bool b_has = next_line(&b, b_line, sizeof(b_line));

        if (!a_has && !b_has) {
            return false;
        }
        if (!a_has || !b_has || !lines_agree(a_line, b_line)) {
            snprintf(text, text_size, "%-8s %s\n%-8s %s\n", a_on, a_has ? a_line : "(nothing)",
                     b_on, b_has ? b_line : "(nothing)");
            return true;
        }
    }
}

bool records_differ(const struct record *a, const struct target *a_on, const struct record *b,
                    const struct target *b_on, char *text, size_t text_size)
{
    for (unsigned phase = 0; phase < PHASES_MAX; phase++) {
        for (unsigned actor = 0; actor < ACTORS_MAX; actor++) {
            if (logs_differ(a->log[phase][actor], a_on->name, b->log[phase][actor], b_on->name,
                            text, text_size)) {
                return true;
            }
        }
    }
    return logs_differ(a->end, a_on->name, b->end, b_on->name, text, text_size);
}

bool record_is_good(const struct record *record, char *text, size_t text_size)
{
    if (record->hung) {
        snprintf(text, text_size, "hangs");
    } else if (WIFSIGNALED(record->status)) {
        snprintf(text, text_size, "killed by signal %d (%s)", WTERMSIG(record->status),
                 strsignal(WTERMSIG(record->status)));
    } else if (WEXITSTATUS(record->status) != 0) {
        snprintf(text, text_size, "exited with %d", WEXITSTATUS(record->status));
    } else if (record->wrong[0] != '\0') {
        snprintf(text, text_size, "%s", record->wrong);
    } else {
        return true;
    }
    return false;
}

void record_count(const struct record *record, unsigned *out_done, unsigned *out_not_here)
{
    char line[512];

    *out_done = *out_not_here = 0;
    for (unsigned phase = 0; phase < PHASES_MAX; phase++) {
        for (unsigned actor = 0; actor < ACTORS_MAX; actor++) {
            const char *text = record->log[phase][actor];

            while (next_line(&text, line, sizeof(line))) {
                *out_done += 1;
                *out_not_here += ends_with(line, not_here);
            }
        }
    }
}

void record_print(const struct record *record, const struct program *program, FILE *file)
{
    for (unsigned phase = 0; phase < program->phases; phase++) {
        for (unsigned actor = 0; actor < program->actors[phase]; actor++) {
            const char *text = record->log[phase][actor];
            char line[512];

            while (next_line(&text, line, sizeof(line))) {
                fprintf(file, "#     %u.%u%s %s\n", phase, actor,
                        actor != 0 && actor == program->thread[phase] ? "t" : " ", line);
            }
        }
    }
    fprintf(file, "#     end  %s", record->end[0] == '\0' ? "(not reached)\n" : record->end);
}
