/*
 * Taking, writing and freeing a row of the task table: task_table.h.  Each spawn and each end does
 * all of this, so it stands here, to be inlined.
 */
#ifndef TOCSIN_RUNTIME_ROW_H
#define TOCSIN_RUNTIME_ROW_H

#include "runtime/pool.h"
#include "runtime/task_table.h"

/* Take a row.  Thread: the pool's, or any with @remote.  Returns: NULL: out of memory. */
static inline struct tocsin__row *tocsin__row_take(struct tocsin_pool *pool, bool remote)
{
    struct tocsin__row *row;

    if (remote) {
        return tocsin__row_take_remote(pool);
    }
    row = pool->tasks.own_free;
    if (row == NULL) {
        return tocsin__row_take_new(pool);
    }
    pool->tasks.own_free = row->next_free;
    return row;
}

/* Free a taken row that is not visible.  Thread: the taker's. */
static inline void tocsin__row_untake(struct tocsin_pool *pool, struct tocsin__row *row)
{
    if (row->remote) {
        tocsin__row_return(pool, row);
        return;
    }
    row->next_free = pool->tasks.own_free;
    pool->tasks.own_free = row;
}

/*
 * Begin to change a row.  ROW-1 relaxed: its own thread's count; the stores that follow release it.
 */
static inline unsigned tocsin__row_begin(struct tocsin__row *row)
{
    unsigned sequence = atomic_load_explicit(&row->sequence, memory_order_relaxed);

    atomic_store_explicit(&row->sequence, sequence + 1, memory_order_relaxed);
    return sequence;
}

/* ROW-1 release: pairs with the first acquire in read_row(). */
static inline void tocsin__row_end(struct tocsin__row *row, unsigned sequence)
{
    atomic_store_explicit(&row->sequence, sequence + 2, memory_order_release);
}

/*
 * Up to @size characters of *@name, as they stand in memory; *@name goes on behind them.  Bytes
 * that are written to be read as a word would have to wait for one another.
 */
static inline uint64_t tocsin__name_word(const char **name, size_t size)
{
    bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    uint64_t word = 0;

    for (size_t i = 0; i < size && (*name)[0] != '\0'; i++, (*name)++) {
        word |= (uint64_t)(unsigned char)(*name)[0] << (little ? 8 * i : 56 - 8 * i);
    }
    return word;
}

/* Write name and place into a taken row that is not visible yet.  Thread: the taker's. */
static inline void tocsin__row_fill(struct tocsin__row *row, const char *name, const char *place)
{
    unsigned sequence = tocsin__row_begin(row);

    name = name != NULL ? name : "";
    for (size_t i = 0; i < TOCSIN__NAME_WORDS; i++) {
        /* The last byte stays 0. */
        uint64_t word = tocsin__name_word(&name, i + 1 < TOCSIN__NAME_WORDS ? 8 : 7);

        /* ROW-1 release: whoever reads this word also sees the odd count. */
        atomic_store_explicit(&row->name[i], word, memory_order_release);
    }
    /* ROW-1 release: as above. */
    atomic_store_explicit(&row->place, place, memory_order_release);
    tocsin__row_set_state(row, TOCSIN_TASK_READY);
    tocsin__row_end(row, sequence);
}

static inline void tocsin__row_set_id(struct tocsin__row *row, uint64_t id)
{
    unsigned sequence = tocsin__row_begin(row);

    /* ROW-1 release: whoever reads this id also sees the odd count. */
    atomic_store_explicit(&row->id, id, memory_order_release);
    tocsin__row_end(row, sequence);
}

/* Make a row visible as @task's.  Thread: the pool's. */
static inline void tocsin__row_show(struct tocsin_pool *pool, struct tocsin__row *row,
                                    struct tocsin_task *task)
{
    row->task = task;
    tocsin__row_set_id(row, ++pool->tasks.last_id);
}

/* Hide and free a row.  Thread: the pool's. */
static inline void tocsin__row_free(struct tocsin_pool *pool, struct tocsin__row *row)
{
    tocsin__row_set_id(row, 0);
    tocsin__row_untake(pool, row);
}

#endif
