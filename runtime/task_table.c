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

static struct tocsin__row *take_remote(struct tocsin_pool *pool)
{
    struct tocsin__task_table *table = &pool->tasks;
    struct tocsin__row *row;

    tocsin__mutex_lock(&table->lock);
    if (table->remote_free == NULL) {
        /* ROW-3 acquire: pairs with the release in give_back_remote(). */
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

struct tocsin__row *tocsin__row_take(struct tocsin_pool *pool, bool remote)
{
    struct tocsin__task_table *table = &pool->tasks;
    struct tocsin__row *row;

    if (remote) {
        return take_remote(pool);
    }
    if (table->own_free == NULL) {
        table->own_free = grow(pool, false);
    }
    row = table->own_free;
    if (row != NULL) {
        table->own_free = row->next_free;
    }
    return row;
}

/* No lock: any thread pushes, and only whole lists are taken. */
static void give_back_remote(struct tocsin__task_table *table, struct tocsin__row *row)
{
    /* ROW-3 relaxed: the swap below says whether it was right. */
    row->next_free = atomic_load_explicit(&table->remote_returned, memory_order_relaxed);
    /* ROW-3 release: pairs with the acquire in take_remote(). */
    while (!atomic_compare_exchange_weak_explicit(&table->remote_returned, &row->next_free, row,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

void tocsin__row_untake(struct tocsin_pool *pool, struct tocsin__row *row)
{
    if (row->remote) {
        give_back_remote(&pool->tasks, row);
    } else {
        row->next_free = pool->tasks.own_free;
        pool->tasks.own_free = row;
    }
}

/*
 * Begin to change a row.  ROW-1 relaxed: its own thread's count; the stores that follow release it.
 */
static unsigned begin_write(struct tocsin__row *row)
{
    unsigned sequence = atomic_load_explicit(&row->sequence, memory_order_relaxed);

    atomic_store_explicit(&row->sequence, sequence + 1, memory_order_relaxed);
    return sequence;
}

/* ROW-1 release: pairs with the first acquire in read_row(). */
static void end_write(struct tocsin__row *row, unsigned sequence)
{
    atomic_store_explicit(&row->sequence, sequence + 2, memory_order_release);
}

void tocsin__row_fill(struct tocsin__row *row, const char *name, const char *place)
{
    uint64_t words[TOCSIN__NAME_WORDS] = {0};
    unsigned sequence = begin_write(row);
    size_t size = name == NULL ? 0 : strlen(name);

    if (size > TOCSIN_TASK_NAME_SIZE - 1) {
        size = TOCSIN_TASK_NAME_SIZE - 1;
    }
    if (size > 0) {
        memcpy(words, name, size);
    }
    for (size_t i = 0; i < TOCSIN__NAME_WORDS; i++) {
        /* ROW-1 release: whoever reads this word also sees the odd count. */
        atomic_store_explicit(&row->name[i], words[i], memory_order_release);
    }
    /* ROW-1 release: as above. */
    atomic_store_explicit(&row->place, place, memory_order_release);
    tocsin__row_set_state(row, TOCSIN_TASK_READY);
    end_write(row, sequence);
}

static void set_id(struct tocsin__row *row, uint64_t id)
{
    unsigned sequence = begin_write(row);

    /* ROW-1 release: whoever reads this id also sees the odd count. */
    atomic_store_explicit(&row->id, id, memory_order_release);
    end_write(row, sequence);
}

void tocsin__row_show(struct tocsin_pool *pool, struct tocsin__row *row, struct tocsin_task *task)
{
    row->task = task;
    set_id(row, ++pool->tasks.last_id);
}

void tocsin__row_free(struct tocsin_pool *pool, struct tocsin__row *row)
{
    row->task = NULL;
    set_id(row, 0);
    tocsin__row_untake(pool, row);
}

void tocsin__task_table_each(struct tocsin_pool *pool, tocsin__task_visit_fn *visit)
{
    /* CHUNK-1 acquire: pairs with the release in grow(), on whichever thread. */
    struct tocsin__row_chunk *chunk =
        atomic_load_explicit(&pool->tasks.chunks, memory_order_acquire);

    for (; chunk != NULL; chunk = chunk->next) {
        for (size_t i = 0; i < TOCSIN__ROWS_PER_CHUNK; i++) {
            if (chunk->rows[i].task != NULL) {
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
