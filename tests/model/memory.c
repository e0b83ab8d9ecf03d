/*
 * Watched memory: the threads' stacks, and a heap that is never used twice in one run.
 *
 * Each byte remembers who wrote it last and who has read it since, by the threads' clocks.  An
 * access that conflicts with an earlier one of another thread, and does not come after it in the
 * order that releases and acquires make, is a race.  The check needs no luck: it does not matter
 * how far apart the two were in this run.  An atomic access counts as a read, so that it conflicts
 * with plain writes; freeing counts as a write to all of the object.
 *
 * Before and after the threads run there is no order to be looked after.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/model/engine.h"

enum {
    GRANULE = 16, /* of the heap */
    LINE = 256,   /* what is written in bulk is noted by lines */
    HEAP_START = MODEL_THREADS_MAX * MODEL_STACK_SIZE,
};

enum granule_state {
    GRANULE_NONE, /* never given out */
    GRANULE_LIVE,
    GRANULE_FREED,
};

struct byte {
    uint32_t run; /* what is noted of another run is void */
    uint16_t location;
    uint16_t write_clock;
    uint16_t read_clock[MODEL_THREADS];
    uint8_t writer;
    const void *write_pc;
};

static _Alignas(4096) unsigned char arena[MODEL_ARENA_SIZE];
static struct byte bytes[MODEL_ARENA_SIZE];

/* A write to all of a line that no byte was touched of stands here, until one is. */
struct line {
    uint32_t run; /* the last in which a byte was touched */
    uint32_t written_run;
    uint16_t write_clock;
    uint8_t writer;
    const void *write_pc;
};

static struct line lines[MODEL_ARENA_SIZE / LINE];
static uint8_t granules[MODEL_ARENA_SIZE / GRANULE];
static uint32_t run;
static size_t used;  /* of the arena */
static size_t alive; /* objects */

void model_memory_reset(void)
{
    memset(granules, 0, sizeof(granules));
    run++;
    used = HEAP_START;
    alive = 0;
}

void *model_stack(unsigned thread)
{
    return arena + (size_t)(thread - 1) * MODEL_STACK_SIZE;
}

bool model_offset(const void *address, size_t *out_offset)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)arena;

    if (offset >= MODEL_ARENA_SIZE) {
        return false;
    }
    *out_offset = offset;
    return true;
}

/* The size stands before the object. */
void *model_alloc(size_t size)
{
    size_t whole = GRANULE + (size + GRANULE - 1) / GRANULE * GRANULE;
    unsigned char *memory = arena + used;

    if (used + whole + GRANULE > MODEL_ARENA_SIZE) {
        model_error("the arena is used up");
    }
    memcpy(memory, &size, sizeof(size));
    memset(memory + GRANULE, 0xa5, whole - GRANULE);
    memset(&granules[used / GRANULE + 1], GRANULE_LIVE, whole / GRANULE - 1);
    used += whole;
    alive++;
    return memory + GRANULE;
}

static struct byte *byte_at(size_t offset)
{
    struct byte *byte = &bytes[offset];
    struct line *line = &lines[offset / LINE];

    if (byte->run != run) {
        memset(byte, 0, sizeof(*byte));
        byte->run = run;
        line->run = run;
        if (line->written_run == run) {
            byte->writer = line->writer;
            byte->write_clock = line->write_clock;
            byte->write_pc = line->write_pc;
        }
    }
    return byte;
}

static void check_alive(size_t offset, size_t size, const void *pc)
{
    if (offset < HEAP_START) {
        return;
    }
    for (size_t i = offset / GRANULE; i <= (offset + size - 1) / GRANULE; i++) {
        switch ((enum granule_state)granules[i]) {
        case GRANULE_LIVE:
            break;
        case GRANULE_FREED:
            model_trace(pc, "touches what was freed");
            model_error("use after free");
        case GRANULE_NONE:
            model_trace(pc, "touches what was never allocated");
            model_error("access out of bounds");
        }
    }
}

static void race(const struct byte *byte, unsigned other, const char *what, const char *earlier,
                 const void *pc)
{
    if (byte->write_clock != 0 && byte->writer == other) {
        model_trace(byte->write_pc, "(earlier) wrote it");
    }
    model_trace(pc, "%s it", what);
    model_error("race: thread %u %s what thread %u %s, and nothing orders the two", model_self(),
                what, other, earlier);
}

/* A write of this byte comes after all that others did with it. */
static void check_write(const struct byte *byte, const char *what, const void *pc)
{
    const struct model_view *view = model_view();

    if (byte->write_clock > view->clock[byte->writer]) {
        race(byte, byte->writer, what, "wrote", pc);
    }
    for (unsigned i = 1; i < MODEL_THREADS; i++) {
        if (byte->read_clock[i] > view->clock[i]) {
            race(byte, i, what, "read", pc);
        }
    }
}

static void touch(size_t offset, bool writes, const char *what, const void *pc)
{
    const struct model_view *view = model_view();
    unsigned self = model_self();
    struct byte *byte = byte_at(offset);

    if (!writes) {
        if (byte->write_clock > view->clock[byte->writer]) {
            race(byte, byte->writer, what, "wrote", pc);
        }
        byte->read_clock[self] = view->clock[self];
        return;
    }
    check_write(byte, what, pc);
    byte->writer = (uint8_t)self;
    byte->write_clock = view->clock[self];
    byte->write_pc = pc;
    if (byte->location != 0) {
        model_location_overwritten(byte->location);
    }
}

/* What stands for all of a line, as a byte has it. */
static struct byte byte_of(const struct line *line)
{
    struct byte byte = {0};

    if (line->written_run == run) {
        byte.writer = line->writer;
        byte.write_clock = line->write_clock;
        byte.write_pc = line->write_pc;
    }
    return byte;
}

/* A write of all the bytes from @offset, where they are a line that nobody has touched. */
static bool touch_line(size_t offset, size_t size, const char *what, const void *pc)
{
    struct line *line = &lines[offset / LINE];
    struct byte before = byte_of(line);

    if (offset % LINE != 0 || size < LINE || line->run == run) {
        return false;
    }
    check_write(&before, what, pc);
    *line = (struct line){.run = line->run,
                          .written_run = run,
                          .write_clock = model_view()->clock[model_self()],
                          .writer = (uint8_t)model_self(),
                          .write_pc = pc};
    return true;
}

/* A free is a write of all; nothing is noted, for nobody may come after it. */
static void check_free(size_t offset, size_t size, const void *pc)
{
    for (size_t i = offset; i < offset + size; i++) {
        const struct line *line = &lines[i / LINE];

        if (i == offset || i % LINE == 0) {
            struct byte before = byte_of(line);

            check_write(&before, "frees", pc);
        }
        if (line->run != run) {
            i |= LINE - 1; /* to its end */
        } else if (bytes[i].run == run) {
            check_write(&bytes[i], "frees", pc);
        }
    }
}

static void touch_all(size_t offset, size_t size, bool writes, const char *what, const void *pc)
{
    size_t end = offset + size;

    while (offset < end) {
        if (writes && touch_line(offset, end - offset, what, pc)) {
            offset += LINE;
        } else {
            touch(offset++, writes, what, pc);
        }
    }
}

/* A plain write while there is one thread. */
static void void_atomics(size_t offset, size_t size)
{
    for (size_t i = offset; i < offset + size; i++) {
        if (lines[i / LINE].run != run) {
            i |= LINE - 1; /* to its end */
        } else if (bytes[i].run == run && bytes[i].location != 0) {
            model_location_overwritten(bytes[i].location);
        }
    }
}

void model_plain(const void *address, size_t size, bool writes, const void *pc)
{
    size_t offset;

    if (size == 0 || !model_offset(address, &offset)) {
        return;
    }
    check_alive(offset, size, pc);
    if (model_is_concurrent()) {
        touch_all(offset, size, writes, writes ? "writes" : "reads", pc);
        return;
    }
    if (writes) {
        void_atomics(offset, size);
    }
}

bool model_atomic_touch(const void *address, size_t size, const void *pc)
{
    size_t offset;

    if (!model_offset(address, &offset)) {
        return false;
    }
    check_alive(offset, size, pc);
    if (model_is_concurrent()) {
        touch_all(offset, size, false, "changes or loads", pc);
    }
    return true;
}

uint16_t *model_location_slot(const void *address)
{
    size_t offset;

    return model_offset(address, &offset) ? &byte_at(offset)->location : NULL;
}

void model_free(void *pointer)
{
    const void *pc = __builtin_return_address(0);
    unsigned char *memory = pointer;
    size_t offset;
    size_t size;

    if (pointer == NULL) {
        return;
    }
    if (!model_offset(pointer, &offset) || offset % GRANULE != 0 ||
        granules[offset / GRANULE] != GRANULE_LIVE) {
        model_trace(pc, "frees it");
        model_error("what is freed is no object, or was freed before");
    }
    memcpy(&size, memory - GRANULE, sizeof(size));
    if (model_is_concurrent()) {
        check_free(offset, size, pc);
    }
    memset(&granules[offset / GRANULE], GRANULE_FREED, (size + GRANULE - 1) / GRANULE);
    alive--;
}

void model_check_leaks(void)
{
    if (alive != 0) {
        model_error("%zu objects were never freed", alive);
    }
}
