/*
 * The task table: a row for each live task, which any thread can read at any time.
 *
 * Rows never move and are never unmapped while the pool's memory lives.  The pool's thread writes
 * them with plain stores under a sequence count (odd: being written), so a reader never delays it,
 * and may list a pool that is stuck.  Tasks spawned by other threads bring a row that their spawner
 * took from the returned ones; it becomes visible when the pool receives the task.
 *
 * Invariants
 *   R1  A row's task pointer is touched by the pool's thread only.
 *   R2  A row is free, or taken by one spawn; it goes back to the kind (own, remote) it came from.
 */
#ifndef TOCSIN_RUNTIME_TASK_TABLE_H
#define TOCSIN_RUNTIME_TASK_TABLE_H

#include <stdatomic.h>

#include <tocsin/task.h>

#include "runtime/os.h"

enum {
    TOCSIN__ROWS_PER_CHUNK = 64,
    TOCSIN__NAME_WORDS = TOCSIN_TASK_NAME_SIZE / 8,
};

struct tocsin__row {
    /* ROW-1: odd while the row is written; even and unchanged: what was read between is whole. */
    atomic_uint sequence;
    /* ROW-2: enum tocsin_task_state; a glance, publishes nothing. */
    atomic_uchar state;
    bool remote; /* came from the remote rows, goes back there */
    /* ROW-1 guards the three below; id 0: no task. */
    _Atomic(uint64_t) id;
    _Atomic(uint64_t) name[TOCSIN__NAME_WORDS];
    _Atomic(const char *) place;
    union {
        struct tocsin_task *task;      /* of a visible row; the pool's thread */
        struct tocsin__row *next_free; /* of a free one */
    };
};

struct tocsin__row_chunk {
    /* CHUNK-1: the next older chunk; constant once the chunk is published. */
    struct tocsin__row_chunk *next;
    struct tocsin__row rows[TOCSIN__ROWS_PER_CHUNK];
};

struct tocsin__task_table {
    /* CHUNK-1: the newest chunk; publishes it, zeroed, to readers. */
    _Atomic(struct tocsin__row_chunk *) chunks;
    struct tocsin__row *own_free; /* the pool's thread */
    uint64_t last_id;             /* the pool's thread */
    /* ROW-3: rows that the pool's thread gives back to remote spawners. */
    _Atomic(struct tocsin__row *) remote_returned;
    struct tocsin__mutex lock;
    struct tocsin__row *remote_free; /* guarded by lock */
};

int tocsin__task_table_init(struct tocsin__task_table *table);
void tocsin__task_table_deinit(struct tocsin__task_table *table, struct tocsin_pool *pool);

/* What row.h asks for where there is no row of the kind; and to give one back from any thread. */
struct tocsin__row *tocsin__row_take_new(struct tocsin_pool *pool);
struct tocsin__row *tocsin__row_take_remote(struct tocsin_pool *pool);
void tocsin__row_return(struct tocsin_pool *pool, struct tocsin__row *row);

/* Call @visit for each live task; it may end the task.  Thread: the pool's. */
typedef void tocsin__task_visit_fn(struct tocsin_pool *pool, struct tocsin_task *task);
void tocsin__task_table_each(struct tocsin_pool *pool, tocsin__task_visit_fn *visit);

static inline void tocsin__row_set_state(struct tocsin__row *row, enum tocsin_task_state state)
{
    /*
     * ROW-2 release: whoever reads it also sees ENDED of the row's task before, and its odd count.
     */
    atomic_store_explicit(&row->state, (unsigned char)state, memory_order_release);
}

#endif
