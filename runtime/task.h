/*
 * The flags of a task's shared word, for the files that look at them: task.c and join.c.
 */
#ifndef TOCSIN_RUNTIME_TASK_H
#define TOCSIN_RUNTIME_TASK_H

#include <stdatomic.h>

#include <tocsin/task.h>

#define TASK_INBOX (UINT64_C(1) << 0)
#define TASK_CANCEL (UINT64_C(1) << 1)
#define TASK_ENDED (UINT64_C(1) << 2)
#define TASK_CANCELLED (UINT64_C(1) << 3)
#define TASK_JOINED (UINT64_C(1) << 4)
#define TASK_HOLDS (UINT64_C(1) << 5)
#define TASK_REF (UINT64_C(1) << 8)

static inline uint64_t tocsin__task_flags(const struct tocsin_task *task)
{
    /* TASK-1 acquire: pairs with the end, whose result is read after ENDED is seen. */
    return atomic_load_explicit(&task->state_, memory_order_acquire);
}

#endif
