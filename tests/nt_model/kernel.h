/*
 * The inside of the model: objects, handles, who waits.
 *
 * Everything is guarded by the one kernel lock, but the options, which are constant between two
 * begins.  An object lives while it has references: one for each handle, one for each wait on it,
 * one for each packet that is armed on it, and for a packet one while it is armed or queued.
 */
#ifndef TOCSIN_TESTS_NT_MODEL_KERNEL_H
#define TOCSIN_TESTS_NT_MODEL_KERNEL_H

#include <pthread.h>

#include "tests/nt_model/model.h"

struct object;

/* A doubly linked list; all zero is no member. */
struct link {
    struct link *next;
    struct link *prev;
};

/* A thread that blocks. */
struct sleeper {
    struct link link; /* in kernel.sleepers; the first field */
    pthread_cond_t cond;
    bool woken;
    int32_t index;        /* wait_many: which was signalled; -1: none yet */
    struct block *blocks; /* of wait_many */
    uint32_t blocks_count;
};

/* One wait on one object: by a sleeper, or else by a packet. */
struct block {
    struct link link; /* in object.waits; the first field */
    struct object *object;
    struct sleeper *sleeper;
    struct object *packet;
    int32_t index;
    bool linked;
};

enum packet_state {
    PACKET_IDLE,
    PACKET_ARMED,
    PACKET_LATE, /* the signal is consumed, and the port does not have it yet */
    PACKET_QUEUED,
};

struct packet {
    enum packet_state state;
    struct object *port; /* referenced unless idle, and so the next while armed */
    struct object *target;
    struct block block;
    struct nt_entry entry;
    struct link late; /* in port.late */
};

/* An entry in a port's queue. */
struct queued {
    struct nt_entry entry;
    struct object *packet; /* or NULL: it was posted; referenced */
};

/* A thread that blocks in port_remove(). */
struct remover {
    struct link link; /* in port.removers; the first field */
    struct sleeper sleeper;
};

struct port {
    struct queued *queue; /* a ring */
    uint32_t first;
    uint32_t count;
    uint32_t capacity;
    struct link late;
    struct link removers;
    uint32_t removers_count;
};

struct object {
    struct link all; /* in kernel.objects; the first field */
    enum nt_type type;
    bool is_packet;
    uint32_t refs;
    uint32_t handles;
    struct link waits;
    bool signaled; /* events, timers, tasks */
    bool manual;   /* events, timers */
    int32_t count; /* of a semaphore; how often its owner has a mutant */
    int32_t count_max;
    uint64_t due_ns;   /* of a timer; 0: not set */
    const void *owner; /* of a mutant: a thread */
    struct packet packet;
    struct port port;
};

struct handle {
    struct object *object; /* NULL: free */
    uint32_t next_free;
    uint32_t access;
};

enum {
    ACCESS_WAIT = 1 << 0,
    ACCESS_OTHER = 1 << 1, /* everything else, in one */
    ACCESS_ALL = ACCESS_WAIT | ACCESS_OTHER,
};

struct kernel {
    pthread_mutex_t lock;
    struct handle *handles; /* [0] is nobody's */
    uint32_t handles_count;
    uint32_t free_handle; /* the one that was closed last: recycled at once */
    uint32_t open_handles;
    struct link objects;
    uint32_t objects_count;
    struct link sleepers;
    uint32_t sleepers_count;
    uint32_t timers_set;
    uint64_t calls[NT_CALL_COUNT];
    uint32_t fail_nth[NT_CALL_COUNT]; /* 0: none */
    int32_t fail_status[NT_CALL_COUNT];
    pthread_cond_t blocked; /* sleepers_count has grown */
    struct nt_model_options options;
};

extern struct kernel kernel;

/* ---- lock.c ---- */

/*
 * Enter a call: delays, hook, lock, timers that are due.  Nonzero: a failure that is to be
 * answered; the lock is held all the same.
 */
int32_t kernel_enter(enum nt_model_call call);
/* Unlock, and the rest; returns @status. */
int32_t kernel_leave(enum nt_model_call call, int32_t status);

/* The lock alone. */
void kernel_lock(void);
void kernel_unlock(void);

/*
 * Block until it is woken or @deadline_ns; the lock is given up meanwhile.  False: the time is up.
 */
void sleeper_init(struct sleeper *sleeper);
bool sleeper_sleep(struct sleeper *sleeper, uint64_t deadline_ns);
void sleeper_wake(struct sleeper *sleeper);
void sleeper_deinit(struct sleeper *sleeper);

/* Everybody looks at the timers anew. */
void sleepers_wake_all(void);

uint64_t kernel_now_ns(void);
uint64_t kernel_deadline(uint64_t delay_ns);

/* True so often in a thousand. */
bool kernel_chance(uint32_t permille);

/* Of the calling thread alone. */
const void *kernel_thread(void);

/* ---- handle.c ---- */

struct object *object_create(enum nt_type type);
void object_ref(struct object *object);
void object_unref(struct object *object);

/* A new handle; takes over the caller's reference. */
void *handle_open(struct object *object, uint32_t access);
int32_t handle_close(void *handle);

/* The object with @access, and of one of two types if that is asked; or why not. */
int32_t handle_object(void *handle, uint32_t access, struct object **out_object);
struct object *handle_peek(void *handle);

/* ---- object.c ---- */

bool object_is_signaled(const struct object *object);
/* One wait on it is over: consume what that takes. */
void object_satisfy(struct object *object);
/* It may be signalled now: end waits, in an order that the seed decides. */
void object_wake(struct object *object);
void timers_fire(void);
void timer_stop(struct object *object);
/* When the first timer is due; TOCSIN_NEVER_NS: none is set. */
uint64_t timers_next(void);
void block_link(struct block *block, struct object *object);
void block_unlink(struct block *block);

/* ---- port.c and packet.c ---- */

void port_queue(struct object *object, const struct nt_entry *entry, struct object *packet);
/* One that blocks looks at the port anew. */
void port_wake(struct object *object);
void port_free(struct object *object);
/* Its last handle is closed. */
void port_abandoned(struct object *object);
/* Take the packet out of the queue, if it is there. */
bool port_withdraw(struct object *object, struct object *packet);
void packet_signaled(struct object *object);
/* Queue what is late. */
void packets_flush(struct object *port);
/* Its last handle is closed. */
void packet_abandoned(struct object *object);

/* ---- lists ---- */

void list_init(struct link *list);
bool list_is_empty(const struct link *list);
void list_append(struct link *list, struct link *link);
void list_remove(struct link *link);

/* ---- the calls ---- */

int32_t model_port_create(void **out_port);
int32_t model_port_post(void *port, uintptr_t key, uintptr_t apc, int32_t status,
                        uintptr_t information);
int32_t model_port_remove(void *port, struct nt_entry *entries, uint32_t entries_max,
                          uint64_t delay_ns, uint32_t *out_count);
int32_t model_packet_create(void **out_packet);
int32_t model_packet_associate(void *packet, void *port, void *target, uintptr_t key, uintptr_t apc,
                               int32_t status, uintptr_t information, bool *out_already_signaled);
int32_t model_packet_cancel(void *packet, bool remove_signaled);
int32_t model_packet_close(void *packet);
int32_t model_close(void *handle);
int32_t model_duplicate_to_wait(void *handle, void **out_handle);
int32_t model_compare(void *handle, void *other);
int32_t model_type(void *handle, enum nt_type *out_type);
int32_t model_event_create(bool manual, bool signaled, void **out_event);
int32_t model_event_set(void *event);
int32_t model_event_reset(void *event);
int32_t model_semaphore_create(int32_t count, int32_t count_max, void **out_semaphore);
int32_t model_semaphore_release(void *semaphore, int32_t count);
int32_t model_timer_create(bool manual, void **out_timer);
int32_t model_timer_set(void *timer, uint64_t delay_ns);
int32_t model_timer_cancel(void *timer);
int32_t model_wait_one(void *handle, uint64_t delay_ns);
void model_point(enum nt_point place);
int32_t model_wait_many(void *const *handles, uint32_t count, uint64_t delay_ns);

#endif
