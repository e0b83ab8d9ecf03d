/*
 * Rows of the task table: taking, showing, listing.  See task_table.h.
 */
#include "runtime/task_table.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/pool.h"

int tocsin__task_table_init(struct tocsin__task_table *table)
{
    return tocsin__mutex_init(&table->lock);
}

void tocsin__task_table_deinit(struct tocsin__task_table *table, struct tocsin_pool *pool)
{
    /* CHUNK-1 acquire: pairs with the release in grow(), on whichever thread. */
    struct tocsin__row_chunk *chunk = atomic_load_explicit(&table->chunks, memory_order_acquire);

    while (chunk != NULL) {
        struct tocsin__row_chunk *next = chunk->next;

        tocsin__free(pool, chunk);
        chunk = next;
    }
    tocsin__mutex_deinit(&table->lock);
}

/* One chunk more, its rows as a free list.  Thread: any. */
static struct tocsin__row *grow(struct tocsin_pool *pool, bool remote)
{
    struct tocsin__row_chunk *chunk = tocsin__alloc_zeroed(pool, sizeof(*chunk));
    struct tocsin__row *free_rows = NULL;

    if (chunk == NULL) {
        return NULL;
    }
    for (size_t i = TOCSIN__ROWS_PER_CHUNK; i-- > 0;) {
        chunk->rows[i].remote = remote;
        chunk->rows[i].next_free = free_rows;
        free_rows = &chunk->rows[i];
    }
    /* CHUNK-1 relaxed: the swap below says whether it was right. */
    chunk->next = atomic_load_explicit(&pool->tasks.chunks, memory_order_relaxed);
    /* CHUNK-1 release: pairs with the acquire in tocsin_task_list(). */
    while (!atomic_compare_exchange_weak_explicit(&pool->tasks.chunks, &chunk->next, chunk,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    return free_rows;
}

struct tocsin__row *tocsin__row_take_new(struct tocsin_pool *pool)
{
    struct tocsin__row *row = grow(pool, false);

    if (row != NULL) {
        pool->tasks.own_free = row->next_free;
    }
    return row;
}

struct tocsin__row *tocsin__row_take_remote(struct tocsin_pool *pool)
{
    struct tocsin__task_table *table = &pool->tasks;
    struct tocsin__row *row;

    tocsin__mutex_lock(&table->lock);
    if (table->remote_free == NULL) {
        /* ROW-3 acquire: pairs with the release in tocsin__row_return(). */
        table->remote_free =
            atomic_exchange_explicit(&table->remote_returned, NULL, memory_order_acquire);
    }
    if (table->remote_free == NULL) {
        table->remote_free = grow(pool, true);
    }
    row = table->remote_free;
    if (row != NULL) {
        table->remote_free = row->next_free;
    }
    tocsin__mutex_unlock(&table->lock);
    return row;
}

/* No lock: any thread pushes, and only whole lists are taken. */
void tocsin__row_return(struct tocsin_pool *pool, struct tocsin__row *row)
{
    struct tocsin__task_table *table = &pool->tasks;

    /* ROW-3 relaxed: the swap below says whether it was right. */
    row->next_free = atomic_load_explicit(&table->remote_returned, memory_order_relaxed);
    /* ROW-3 release: pairs with the acquire in tocsin__row_take_remote(). */
    while (!atomic_compare_exchange_weak_explicit(&table->remote_returned, &row->next_free, row,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

void tocsin__task_table_each(struct tocsin_pool *pool, tocsin__task_visit_fn *visit)
{
    /* CHUNK-1 acquire: pairs with the release in grow(), on whichever thread. */
    struct tocsin__row_chunk *chunk =
        atomic_load_explicit(&pool->tasks.chunks, memory_order_acquire);

    for (; chunk != NULL; chunk = chunk->next) {
        for (size_t i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
            /* ROW-1 relaxed: its own thread's. */
            if (atomic_load_explicit(&chunk->rows[i].id, memory_order_relaxed) != 0) {
                visit(pool, chunk->rows[i].task);
            }
        }
    }
}

/* True if the row has a task; *@info is then whole. */
static bool read_row(struct tocsin__row *row, struct tocsin_task_info *info)
{
    uint64_t words[TOCSIN__NAME_WORDS];
    unsigned before;
    unsigned after;

    do {
        /* ROW-1 acquire: pairs with the release in end_write(). */
        before = atomic_load_explicit(&row->sequence, memory_order_acquire);
        if ((before & 1) != 0) {
            return false; /* it comes or goes just now */
        }
        /* ROW-1 acquire, here and below: pairs with the release stores of the row's writers. */
        info->id = atomic_load_explicit(&row->id, memory_order_acquire);
        for (size_t i = 0; i < TOCSIN__NAME_WORDS; i++) {
            words[i] = atomic_load_explicit(&row->name[i], memory_order_acquire);
        }
        info->place = atomic_load_explicit(&row->place, memory_order_acquire);
        /* ROW-2 acquire: a glance, kept before the second look at the count. */
        info->state =
            (enum tocsin_task_state)atomic_load_explicit(&row->state, memory_order_acquire);
        /* ROW-1 relaxed: the acquire loads above keep it behind them. */
        after = atomic_load_explicit(&row->sequence, memory_order_relaxed);
    } while (before != after);
    memcpy(info->name, words, sizeof(info->name));
    return info->id != 0;
}

int tocsin_task_list(struct tocsin_driver *driver, struct tocsin_task_info *infos, size_t infos_max)
{
    struct tocsin_pool *pool = tocsin__pool_of(driver);
    struct tocsin__row_chunk *chunk;
    struct tocsin_task_info info;
    size_t count = 0;

    if (tocsin__is_forked(pool)) {
        return -EOWNERDEAD;
    }
    if (tocsin__inbox_is_closed(&pool->inbox)) {
        return -ESHUTDOWN;
    }
    /* CHUNK-1 acquire: pairs with the release in grow(). */
    chunk = atomic_load_explicit(&pool->tasks.chunks, memory_order_acquire);
    for (; chunk != NULL; chunk = chunk->next) {
        for (size_t i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
            if (read_row(&chunk->rows[i], &info)) {
                if (count < infos_max) {
                    infos[count] = info;
                }
                count++;
            }
        }
    }
    return count > INT_MAX ? INT_MAX : (int)count;
}
