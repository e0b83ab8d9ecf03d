/*
 * Emulated wait completion packets: see packets.h.
 *
 * A packet that is armed is in the list of a waiter: a thread that blocks in one wait for up to 63
 * targets, and for its control event, which makes it look at its list anew.  When a target is
 * signalled that wait has consumed the signal, as the packet has to, and the waiter posts to the
 * port.  What it posts carries a mark; port_remove() knows it, sets the packet free, and gives out
 * the caller's values instead.
 *
 * Invariants, all under the one lock
 *   E1  slot.watched: the wait that is under way has its target.  Only the waiter clears that,
 *       after the wait has ended and with its outcome.
 *   E2  A packet leaves ARMED when its wait has consumed a signal, or when it is not watched.  So a
 *       cancel that succeeds consumed nothing, however the two race: it waits until the waiter has
 *       left its wait without the target.
 *   E3  slot.sequence changes whenever a packet is queued, withdrawn or closed: what is in the port
 *       with an older one is swallowed.
 *   E4  A look (a port_remove() that does not block) finds what was signalled before it began: it
 *       waits until each waiter of its packets has begun a wait since, and found nothing but its
 *       control event, which is the last of the handles, and so told only then.
 *   E5  A signal that was consumed and could not be posted, for want of memory, is UNPOSTED, and is
 *       posted again until that works.
 *
 * Targets are waited for through duplicates, for the caller may close its handle meanwhile.
 */
#include "backends/windows/packets.h"

#include <stdlib.h>

#include "runtime/assert.h"
#include "runtime/os.h"

enum {
    TARGETS_MAX = NT_WAIT_MAX - 1, /* one is the control event */
    SLOTS_FIRST = 64,
};

#define NO_SLOT UINT32_MAX

#define POST_AGAIN_NS UINT64_C(1000000)

enum slot_state {
    SLOT_FREE,
    SLOT_IDLE,
    SLOT_ARMED,    /* in a waiter's list, and so the next */
    SLOT_UNPOSTED, /* the signal is consumed, the port has no room */
    SLOT_QUEUED,
};

struct slot {
    enum slot_state state;
    bool watched;
    uint32_t cancels; /* threads that wait for it to be not watched: it is left out meanwhile */
    uint32_t at;      /* in the waiter's list */
    uint32_t next_free;
    uintptr_t sequence;
    struct waiter *waiter;
    void *target; /* our duplicate */
    void *port;
    struct nt_entry entry;
};

struct waiter {
    struct waiter *next;
    struct tocsin__thread thread;
    struct tocsin__cond left; /* the wait has ended */
    void *control;            /* an auto-reset event */
    uint32_t slots[TARGETS_MAX];
    uint32_t count;
    uint32_t unposted;
    uint64_t begun; /* waits */
    uint64_t quiet; /* E4: the last of these that found nothing signalled */
    uint32_t turn;  /* where the wait begins: the first of the signalled is served */
    bool stop;
};

/* Its address is the key of what waiters post. */
static const char mark;

static struct tocsin__mutex lock = TOCSIN__MUTEX_INITIALIZER;

/* Guarded by the lock; the table is constant while there are users. */
static struct {
    struct nt table;
    const struct nt *base;
    uint32_t users;
    struct slot *slots;
    uint32_t slots_count;
    uint32_t free_slot;
    uint32_t slots_used;
    struct waiter *waiters;
} packets = {.free_slot = NO_SLOT};

static const struct nt *base(void)
{
    return packets.base;
}

/* ---- A waiter's list ---- */

static void list_append(struct waiter *waiter, uint32_t index)
{
    struct slot *slot = &packets.slots[index];

    slot->waiter = waiter;
    slot->at = waiter->count;
    waiter->slots[waiter->count++] = index;
}

static void list_remove(struct slot *slot)
{
    struct waiter *waiter = slot->waiter;
    uint32_t last = waiter->slots[--waiter->count];

    waiter->slots[slot->at] = last;
    packets.slots[last].at = slot->at;
    slot->waiter = NULL;
}

/* It is in no list any more, and so waits for nothing. */
static void give_up_target(struct slot *slot)
{
    base()->close(slot->target);
    slot->target = NULL;
}

/* The signal is consumed: tell the port.  False: it has no memory. */
static bool post(uint32_t index)
{
    struct slot *slot = &packets.slots[index];

    if (nt_failed(base()->port_post(slot->port, (uintptr_t)&mark, index, 0, slot->sequence + 1))) {
        return false;
    }
    slot->sequence++;
    slot->state = SLOT_QUEUED;
    return true;
}

static void post_or_keep(uint32_t index)
{
    struct slot *slot = &packets.slots[index];
    struct waiter *waiter = slot->waiter;

    if (post(index)) {
        list_remove(slot);
        return;
    }
    slot->state = SLOT_UNPOSTED;
    waiter->unposted++;
}

static void post_again(struct waiter *waiter)
{
    for (uint32_t i = waiter->count; i-- > 0 && waiter->unposted > 0;) {
        struct slot *slot = &packets.slots[waiter->slots[i]];

        if (slot->state == SLOT_UNPOSTED && post(waiter->slots[i])) {
            waiter->unposted--;
            list_remove(slot);
        }
    }
}

/* ---- The waiter ---- */

/* What to wait for now; @watched are the slots of the handles, but for the last. */
static uint32_t gather(struct waiter *waiter, void **handles, uint32_t *watched)
{
    uint32_t count = 0;

    waiter->begun++;
    waiter->turn++;
    for (uint32_t i = 0; i < waiter->count; i++) {
        uint32_t index = waiter->slots[(i + waiter->turn) % waiter->count];
        struct slot *slot = &packets.slots[index];

        if (slot->state == SLOT_ARMED && slot->cancels == 0) {
            slot->watched = true;
            watched[count] = index;
            handles[count++] = slot->target;
        }
    }
    handles[count] = waiter->control;
    return count;
}

static void *waiter_main(void *arg)
{
    struct waiter *waiter = arg;
    void *handles[NT_WAIT_MAX];
    uint32_t watched[TARGETS_MAX];

    tocsin__thread_set_name("tocsin-waiter");
    tocsin__mutex_lock(&lock);
    while (!waiter->stop) {
        uint32_t count = gather(waiter, handles, watched);
        uint64_t delay_ns = waiter->unposted > 0 ? POST_AGAIN_NS : TOCSIN_NEVER_NS;
        int32_t status;

        tocsin__mutex_unlock(&lock);
        status = base()->wait_many(handles, count + 1, delay_ns);
        tocsin__mutex_lock(&lock);

        for (uint32_t i = 0; i < count; i++) {
            packets.slots[watched[i]].watched = false;
        }
        if (status >= 0 && (uint32_t)status < count) {
            give_up_target(&packets.slots[watched[status]]);
            post_or_keep(watched[status]);
        } else if (!nt_failed(status)) {
            waiter->quiet = waiter->begun;
        }
        tocsin__cond_broadcast(&waiter->left);
        post_again(waiter);
    }
    tocsin__mutex_unlock(&lock);
    return NULL;
}

/* One with room in its list; a new one if need be.  NULL: no thread, no memory. */
static struct waiter *find_waiter(void)
{
    struct waiter *waiter = packets.waiters;

    while (waiter != NULL && waiter->count == TARGETS_MAX) {
        waiter = waiter->next;
    }
    if (waiter != NULL) {
        return waiter;
    }
    waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL) {
        return NULL;
    }
    if (nt_failed(base()->event_create(false, false, &waiter->control))) {
        goto err_control;
    }
    if (tocsin__cond_init(&waiter->left) < 0) {
        goto err_cond;
    }
    if (tocsin__thread_start(&waiter->thread, waiter_main, waiter) < 0) {
        goto err_thread;
    }
    waiter->next = packets.waiters;
    packets.waiters = waiter;
    return waiter;

err_thread:
    tocsin__cond_deinit(&waiter->left);
err_cond:
    base()->close(waiter->control);
err_control:
    free(waiter);
    return NULL;
}

/* ---- Slots ---- */

static bool grow(void)
{
    uint32_t count = packets.slots_count == 0 ? SLOTS_FIRST : packets.slots_count * 2;
    struct slot *slots = realloc(packets.slots, count * sizeof(*slots));

    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > packets.slots_count;) {
        slots[i] = (struct slot){.next_free = packets.free_slot};
        packets.free_slot = i;
    }
    packets.slots = slots;
    packets.slots_count = count;
    return true;
}

/* NULL: no packet. */
static struct slot *find(void *packet, uint32_t *out_index)
{
    uintptr_t index = (uintptr_t)packet - 1;

    if (index >= packets.slots_count || packets.slots[index].state == SLOT_FREE) {
        return NULL;
    }
    *out_index = (uint32_t)index;
    return &packets.slots[index];
}

static int32_t emulated_packet_create(void **out_packet)
{
    int32_t status = NT_NO_MEMORY;

    tocsin__mutex_lock(&lock);
    if (packets.free_slot != NO_SLOT || grow()) {
        uint32_t index = packets.free_slot;
        struct slot *slot = &packets.slots[index];

        packets.free_slot = slot->next_free;
        packets.slots_used++;
        *slot = (struct slot){.state = SLOT_IDLE, .sequence = slot->sequence};
        *out_packet = (void *)((uintptr_t)index + 1);
        status = 0;
    }
    tocsin__mutex_unlock(&lock);
    return status;
}

/* ---- Associate ---- */

static int32_t check_target(void *target)
{
    enum nt_type type = NT_TYPE_OTHER;
    int32_t status = base()->type(target, &type);

    if (nt_failed(status)) {
        return status;
    }
    switch (type) {
    case NT_TYPE_MUTANT: /* would be the waiter's, and nobody could release it */
    case NT_TYPE_PORT:
    case NT_TYPE_OTHER:
        return NT_INVALID_PARAMETER_3;
    case NT_TYPE_EVENT_MANUAL:
    case NT_TYPE_EVENT_AUTO:
    case NT_TYPE_EVENT:
    case NT_TYPE_SEMAPHORE:
    case NT_TYPE_TIMER:
    case NT_TYPE_PROCESS:
    case NT_TYPE_THREAD:
    case NT_TYPE_JOB:
        break;
    }
    return 0;
}

/* @slot has its port and entry.  Nothing is consumed by what fails. */
static int32_t arm_locked(uint32_t index, void *target, bool *out_already_signaled)
{
    struct waiter *waiter = find_waiter();
    struct slot *slot = &packets.slots[index];
    int32_t status;

    if (waiter == NULL) {
        return NT_NO_MEMORY;
    }
    status = base()->duplicate_to_wait(target, &slot->target);
    if (nt_failed(status)) {
        return status;
    }
    status = base()->wait_one(slot->target, 0);
    if (nt_failed(status)) {
        give_up_target(slot);
        return status;
    }
    *out_already_signaled = status == 0;
    list_append(waiter, index);
    if (status == 0) {
        give_up_target(slot);
        post_or_keep(index);
    } else {
        slot->state = SLOT_ARMED;
    }
    if (slot->waiter != NULL) {
        base()->event_set(waiter->control);
    }
    return 0;
}

static int32_t emulated_packet_associate(void *packet, void *port, void *target, uintptr_t key,
                                         uintptr_t apc, int32_t io_status, uintptr_t information,
                                         bool *out_already_signaled)
{
    bool already = false;
    uint32_t index = 0;
    struct slot *slot;
    int32_t status;

    tocsin__mutex_lock(&lock);
    slot = find(packet, &index);
    if (slot == NULL) {
        status = NT_INVALID_HANDLE;
    } else if (slot->state != SLOT_IDLE) {
        status = NT_INVALID_PARAMETER_1;
    } else {
        status = check_target(target);
    }
    if (status == 0) {
        slot->port = port;
        slot->entry = (struct nt_entry){
            .key = key,
            .apc = apc,
            .io = {.status = (uintptr_t)(uint32_t)io_status, .information = information}};
        status = arm_locked(index, target, &already);
    }
    if (status == 0 && out_already_signaled != NULL) {
        *out_already_signaled = already;
    }
    tocsin__mutex_unlock(&lock);
    return status;
}

/* ---- Cancel, and close ---- */

/* E2: afterwards it is not armed.  True: it was, and nothing was consumed. */
static bool disarm_locked(uint32_t index)
{
    struct slot *slot = &packets.slots[index];
    struct waiter *waiter = slot->waiter;

    if (slot->state != SLOT_ARMED) {
        return false;
    }
    if (slot->watched) {
        slot->cancels++;
        base()->event_set(waiter->control);
        while (packets.slots[index].state == SLOT_ARMED && packets.slots[index].watched) {
            tocsin__cond_wait(&waiter->left, &lock);
        }
        slot = &packets.slots[index];
        slot->cancels--;
    }
    if (slot->state != SLOT_ARMED) {
        return false;
    }
    list_remove(slot);
    give_up_target(slot);
    slot->state = SLOT_IDLE;
    return true;
}

static int32_t cancel_locked(uint32_t index, bool remove_signaled)
{
    struct slot *slot;

    if (disarm_locked(index)) {
        return 0;
    }
    slot = &packets.slots[index];
    switch (slot->state) {
    case SLOT_IDLE:
        return NT_CANCELLED;
    case SLOT_QUEUED:
        if (remove_signaled) {
            slot->sequence++; /* E3 */
            slot->state = SLOT_IDLE;
            return 0;
        }
        return NT_PENDING;
    case SLOT_ARMED: /* armed again meanwhile, by somebody else */
    case SLOT_UNPOSTED:
        return NT_PENDING;
    case SLOT_FREE:
        break;
    }
    TOCSIN_UNREACHABLE("a packet was closed while it was cancelled");
}

static int32_t emulated_packet_cancel(void *packet, bool remove_signaled)
{
    uint32_t index = 0;
    int32_t status = NT_INVALID_HANDLE;

    tocsin__mutex_lock(&lock);
    if (find(packet, &index) != NULL) {
        status = cancel_locked(index, remove_signaled);
    }
    tocsin__mutex_unlock(&lock);
    return status;
}

static int32_t emulated_packet_close(void *packet)
{
    uint32_t index = 0;
    int32_t status = NT_INVALID_HANDLE;

    tocsin__mutex_lock(&lock);
    if (find(packet, &index) != NULL) {
        struct slot *slot;

        disarm_locked(index);
        slot = &packets.slots[index];
        if (slot->state == SLOT_UNPOSTED) {
            slot->waiter->unposted--;
            list_remove(slot);
        }
        slot->sequence++; /* E3 */
        slot->state = SLOT_FREE;
        slot->next_free = packets.free_slot;
        packets.free_slot = index;
        packets.slots_used--;
        status = 0;
    }
    tocsin__mutex_unlock(&lock);
    return status;
}

/* ---- The port ---- */

static bool waits_for(const struct waiter *waiter, const void *port)
{
    for (uint32_t i = 0; i < waiter->count; i++) {
        const struct slot *slot = &packets.slots[waiter->slots[i]];

        if (slot->state == SLOT_ARMED && slot->port == port) {
            return true;
        }
    }
    return false;
}

/* E4: what is signalled now is posted. */
static void look_at_targets(const void *port)
{
    tocsin__mutex_lock(&lock);
    for (struct waiter *waiter = packets.waiters; waiter != NULL; waiter = waiter->next) {
        uint64_t begun = waiter->begun;

        while (waiter->quiet <= begun && waits_for(waiter, port)) {
            base()->event_set(waiter->control);
            tocsin__cond_wait(&waiter->left, &lock);
        }
    }
    tocsin__mutex_unlock(&lock);
}

/* Turn what waiters posted into what was asked for.  Returns: how many are left. */
static uint32_t translate(struct nt_entry *entries, uint32_t count)
{
    uint32_t kept = 0;

    tocsin__mutex_lock(&lock);
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot;

        if (entries[i].key != (uintptr_t)&mark) {
            entries[kept++] = entries[i];
            continue;
        }
        slot = entries[i].apc < packets.slots_count ? &packets.slots[entries[i].apc] : NULL;
        if (slot != NULL && slot->state == SLOT_QUEUED &&
            slot->sequence == entries[i].io.information) {
            slot->state = SLOT_IDLE;
            entries[kept++] = slot->entry;
        }
    }
    tocsin__mutex_unlock(&lock);
    return kept;
}

static int32_t emulated_port_remove(void *port, struct nt_entry *entries, uint32_t entries_max,
                                    uint64_t delay_ns, uint32_t *out_count)
{
    uint64_t begin_ns = base()->now_ns();
    uint64_t left_ns = delay_ns;

    if (delay_ns == 0) {
        look_at_targets(port);
    }
    for (;;) {
        uint32_t count = 0;
        int32_t status = base()->port_remove(port, entries, entries_max, left_ns, &count);

        if (status != 0) {
            return status;
        }
        count = translate(entries, count);
        if (count > 0) {
            *out_count = count;
            return 0;
        }
        if (delay_ns != TOCSIN_NEVER_NS) {
            uint64_t gone_ns = base()->now_ns() - begin_ns;

            left_ns = gone_ns < delay_ns ? delay_ns - gone_ns : 0;
        }
    }
}

/* ---- Open, and close ---- */

const struct nt *tocsin__packets_open(const struct nt *below)
{
    tocsin__mutex_lock(&lock);
    if (packets.users++ == 0) {
        if (packets.base != below) {
            packets.base = below;
        }
        packets.table = *below;
        packets.table.port_remove = emulated_port_remove;
        packets.table.packet_create = emulated_packet_create;
        packets.table.packet_associate = emulated_packet_associate;
        packets.table.packet_cancel = emulated_packet_cancel;
        packets.table.packet_close = emulated_packet_close;
    }
    TOCSIN_ASSERT(packets.base == below, "packets on top of two tables");
    tocsin__mutex_unlock(&lock);
    return &packets.table;
}

static void end_waiters(struct waiter *waiter)
{
    while (waiter != NULL) {
        struct waiter *next = waiter->next;

        tocsin__thread_join(&waiter->thread);
        tocsin__cond_deinit(&waiter->left);
        base()->close(waiter->control);
        free(waiter);
        waiter = next;
    }
}

void tocsin__packets_close(const struct nt *table)
{
    struct waiter *waiters = NULL;

    tocsin__mutex_lock(&lock);
    TOCSIN_ASSERT(table == &packets.table && packets.users > 0, "packets that are not open");
    if (--packets.users == 0) {
        TOCSIN_ASSERT(packets.slots_used == 0, "a packet was not closed");
        waiters = packets.waiters;
        packets.waiters = NULL;
        free(packets.slots);
        packets.slots = NULL;
        packets.slots_count = 0;
        packets.free_slot = NO_SLOT;
        for (struct waiter *waiter = waiters; waiter != NULL; waiter = waiter->next) {
            waiter->stop = true;
            base()->event_set(waiter->control);
        }
    }
    tocsin__mutex_unlock(&lock);
    end_waiters(waiters);
}
