/*
 * The seam: every call that the Windows sources make into Windows, in one table.
 *
 * There are three tables.  nt_system.c calls ntdll, kernel32 and ws2_32.  packets.c puts wait
 * completion packets of its own on top of a table that has none, or whose are not wanted.
 * tests/nt_model/ is a kernel in memory, for Linux.  The sources see this header only, never
 * windows.h, so that the same text runs on all three.
 *
 * The types are ours and have Windows' layout.  Calls return an NTSTATUS; out_x is written on
 * success only.  A handle is a pointer that nobody dereferences; NULL is none.  Times are
 * nanoseconds: TOCSIN_NEVER_NS waits for ever, and all others are rounded up to Windows' 100 ns.
 *
 * A wait completion packet, in short (tests/windows/wcp_facts.c checks every line):
 *   P1  associate() arms it for one signal; while it is armed or queued, another fails.
 *   P2  A signal queues the packet on the port, and consumes what a wait would: when it is queued,
 *       not when it is removed.  If the target was signalled already, that happens at once.
 *   P3  cancel(false) of one that is armed: success, and no signal is consumed.  Otherwise it says
 *       PENDING or CANCELLED, and changes nothing: whoever removes the packet from the port has it.
 *   P4  cancel(true) may also take a queued packet away, and a consumed signal with it.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_NT_H
#define TOCSIN_BACKENDS_WINDOWS_NT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tocsin/base.h>

/* What the calls answer, as ntstatus.h has it. */
#define NT_STATUS(code) ((int32_t)UINT32_C(code))
#define NT_SUCCESS_0 NT_STATUS(0x00000000)
#define NT_ABANDONED NT_STATUS(0x00000080)
#define NT_TIMEOUT NT_STATUS(0x00000102)
#define NT_PENDING NT_STATUS(0x00000103)
#define NT_NOT_IMPLEMENTED NT_STATUS(0xC0000002)
#define NT_INVALID_HANDLE NT_STATUS(0xC0000008)
#define NT_INVALID_PARAMETER NT_STATUS(0xC000000D)
#define NT_NO_MEMORY NT_STATUS(0xC0000017)
#define NT_ACCESS_DENIED NT_STATUS(0xC0000022)
#define NT_OBJECT_TYPE_MISMATCH NT_STATUS(0xC0000024)
#define NT_MUTANT_NOT_OWNED NT_STATUS(0xC0000046)
#define NT_SEMAPHORE_LIMIT_EXCEEDED NT_STATUS(0xC0000047)
#define NT_INSUFFICIENT_RESOURCES NT_STATUS(0xC000009A)
#define NT_NOT_SUPPORTED NT_STATUS(0xC00000BB)
#define NT_INVALID_PARAMETER_1 NT_STATUS(0xC00000EF)
#define NT_INVALID_PARAMETER_3 NT_STATUS(0xC00000F1)
#define NT_CANCELLED NT_STATUS(0xC0000120)
#define NT_NOT_FOUND NT_STATUS(0xC0000225)
#define NT_NOT_SAME_OBJECT NT_STATUS(0xC00001AC)

/* Success is what is not negative: NT_PENDING and NT_TIMEOUT, too. */
static inline bool nt_failed(int32_t status)
{
    return status < 0;
}

enum {
    NT_WAIT_MAX = 64,        /* handles in one wait_many() */
    NT_SYNCHRONIZE_BIT = 20, /* SYNCHRONIZE is 1 << 20: the right to wait */
};

/* IO_STATUS_BLOCK */
struct nt_io_status {
    uintptr_t status; /* an int32_t in its low half */
    uintptr_t information;
};

/* FILE_IO_COMPLETION_INFORMATION: what is removed from a port. */
struct nt_entry {
    uintptr_t key;
    uintptr_t apc;
    struct nt_io_status io;
};

/* What a handle is, as far as waits on it differ. */
enum nt_type {
    NT_TYPE_EVENT_MANUAL, /* stays signalled until it is reset */
    NT_TYPE_EVENT_AUTO,   /* a wait resets it */
    NT_TYPE_EVENT,        /* the handle has no right to ask which of the two */
    NT_TYPE_SEMAPHORE,    /* a wait takes one */
    NT_TYPE_TIMER,        /* one or the other: it cannot be asked */
    NT_TYPE_PROCESS,      /* once signalled, for good; so are threads and jobs */
    NT_TYPE_THREAD,
    NT_TYPE_JOB,
    NT_TYPE_MUTANT, /* owned by a thread: no packet can wait on it */
    NT_TYPE_PORT,
    NT_TYPE_OTHER, /* files and what else there is */
};

/* Places between two steps that are no calls. */
enum nt_point {
    NT_POINT_HELD,      /* a packet's watch is in hand, and its event is not taken yet */
    NT_POINT_TAKEN,     /* the event is taken, and the watch not at rest */
    NT_POINT_PUBLISHED, /* a change is published, and nobody was told */
    NT_POINT_KILLED,    /* a watch is dead, and nothing was cancelled */
    NT_POINT_ARMING,    /* a watch says armed, and the kernel does not know */
};

struct nt {
    /* ---- Completion ports: a queue of entries; whoever removes one has it alone. ---- */
    int32_t (*port_create)(void **out_port);
    int32_t (*port_post)(void *port, uintptr_t key, uintptr_t apc, int32_t status,
                         uintptr_t information);
    /*
     * Block for at most @delay_ns until there is an entry, and take as many as there are, up to
     * @entries_max.  NT_TIMEOUT: none came.
     */
    int32_t (*port_remove)(void *port, struct nt_entry *entries, uint32_t entries_max,
                           uint64_t delay_ns, uint32_t *out_count);

    /* ---- Wait completion packets: all NULL where there are none. ---- */
    int32_t (*packet_create)(void **out_packet);
    int32_t (*packet_associate)(void *packet, void *port, void *target, uintptr_t key,
                                uintptr_t apc, int32_t status, uintptr_t information,
                                bool *out_already_signaled);
    int32_t (*packet_cancel)(void *packet, bool remove_signaled);
    int32_t (*packet_close)(void *packet);

    /* ---- Handles. ---- */
    int32_t (*close)(void *handle);
    /* Another handle of the same object that can be waited on, and nothing else. */
    int32_t (*duplicate_to_wait)(void *handle, void **out_handle);
    /* 0 or NT_NOT_SAME_OBJECT; NT_NOT_IMPLEMENTED before Windows 10. */
    int32_t (*compare)(void *handle, void *other);
    int32_t (*type)(void *handle, enum nt_type *out_type);

    /* ---- Things to wait on. ---- */
    int32_t (*event_create)(bool manual, bool signaled, void **out_event);
    int32_t (*event_set)(void *event);
    int32_t (*event_reset)(void *event);
    int32_t (*semaphore_create)(int32_t count, int32_t count_max, void **out_semaphore);
    int32_t (*semaphore_release)(void *semaphore, int32_t count);
    int32_t (*timer_create)(bool manual,
                            void **out_timer);            /* a high-resolution one, if there are */
    int32_t (*timer_set)(void *timer, uint64_t delay_ns); /* unsignals it */
    int32_t (*timer_cancel)(void *timer);

    /* ---- Waits: 0, or the index of the handle that was signalled, or NT_TIMEOUT. ---- */
    int32_t (*wait_one)(void *handle, uint64_t delay_ns);
    int32_t (*wait_many)(void *const *handles, uint32_t count, uint64_t delay_ns);

    /* Monotonic, greater than 0. */
    uint64_t (*now_ns)(void);

    /* NULL but under the model: a place between two steps, where a test may do what it likes. */
    void (*point)(enum nt_point place);
};

static inline void nt_pass(const struct nt *nt, enum nt_point place)
{
    if (nt->point != NULL) {
        nt->point(place);
    }
}

/* The table of the platform: nt_system.c's, or the model's. */
const struct nt *tocsin__nt_system(void);

#endif
