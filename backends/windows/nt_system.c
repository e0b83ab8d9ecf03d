/*
 * The table over Windows itself: ntdll, by name, for most of it is in no import library.
 *
 * Wait completion packets are Windows 8's, NtCompareObjects() is Windows 10's: where they are
 * missing the table says so.
 */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include <windows.h>
#include <winternl.h>

#include "backends/windows/nt.h"
#include "runtime/assert.h"

#define NS_PER_TICK UINT64_C(100) /* Windows counts in these */
#define NS_PER_S UINT64_C(1000000000)

enum {
    OBJECT_TYPE_INFORMATION_CLASS = 2,
    EVENT_BASIC_INFORMATION_CLASS = 0,
    EVENT_IS_MANUAL = 0, /* NotificationEvent */
    WAIT_FOR_ANY = 1,
    TYPE_NAME_MAX = 512,
    HIGH_RESOLUTION = 0x2, /* CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, Windows 10 1803 */
    MANUAL_RESET = 0x1,
};

static_assert(sizeof(IO_STATUS_BLOCK) == sizeof(struct nt_io_status), "nt.h has its layout");
static_assert(offsetof(IO_STATUS_BLOCK, Information) == offsetof(struct nt_io_status, information),
              "nt.h has its layout");

typedef NTSTATUS NTAPI create_port_fn(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, ULONG);
typedef NTSTATUS NTAPI post_fn(HANDLE, void *, void *, NTSTATUS, ULONG_PTR);
typedef NTSTATUS NTAPI remove_fn(HANDLE, struct nt_entry *, ULONG, ULONG *, LARGE_INTEGER *,
                                 BOOLEAN);
typedef NTSTATUS NTAPI create_packet_fn(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *);
typedef NTSTATUS NTAPI associate_fn(HANDLE, HANDLE, HANDLE, void *, void *, NTSTATUS, ULONG_PTR,
                                    BOOLEAN *);
typedef NTSTATUS NTAPI cancel_packet_fn(HANDLE, BOOLEAN);
typedef NTSTATUS NTAPI close_fn(HANDLE);
typedef NTSTATUS NTAPI duplicate_fn(HANDLE, HANDLE, HANDLE, HANDLE *, ACCESS_MASK, ULONG, ULONG);
typedef NTSTATUS NTAPI compare_fn(HANDLE, HANDLE);
typedef NTSTATUS NTAPI query_object_fn(HANDLE, ULONG, void *, ULONG, ULONG *);
typedef NTSTATUS NTAPI query_event_fn(HANDLE, ULONG, void *, ULONG, ULONG *);
typedef NTSTATUS NTAPI create_event_fn(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, ULONG, BOOLEAN);
typedef NTSTATUS NTAPI change_event_fn(HANDLE, LONG *);
typedef NTSTATUS NTAPI create_semaphore_fn(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, LONG, LONG);
typedef NTSTATUS NTAPI release_fn(HANDLE, LONG, LONG *);
typedef NTSTATUS NTAPI set_timer_fn(HANDLE, LARGE_INTEGER *, void *, void *, BOOLEAN, LONG,
                                    BOOLEAN *);
typedef NTSTATUS NTAPI cancel_timer_fn(HANDLE, BOOLEAN *);
typedef NTSTATUS NTAPI wait_one_fn(HANDLE, BOOLEAN, LARGE_INTEGER *);
typedef NTSTATUS NTAPI wait_many_fn(ULONG, HANDLE const *, ULONG, BOOLEAN, LARGE_INTEGER *);

static struct {
    create_port_fn *create_port;
    post_fn *post;
    remove_fn *remove;
    create_packet_fn *create_packet; /* the three: NULL before Windows 8 */
    associate_fn *associate;
    cancel_packet_fn *cancel_packet;
    close_fn *close;
    duplicate_fn *duplicate;
    compare_fn *compare; /* NULL before Windows 10 */
    query_object_fn *query_object;
    query_event_fn *query_event;
    create_event_fn *create_event;
    change_event_fn *set_event;
    change_event_fn *reset_event;
    create_semaphore_fn *create_semaphore;
    release_fn *release_semaphore;
    set_timer_fn *set_timer;
    cancel_timer_fn *cancel_timer;
    wait_one_fn *wait_one;
    wait_many_fn *wait_many;
} ntdll;

/* NULL: for ever. */
static LARGE_INTEGER *timeout_of(uint64_t delay_ns, LARGE_INTEGER *timeout)
{
    if (delay_ns == TOCSIN_NEVER_NS) {
        return NULL;
    }
    /* Negative: from now on. */
    timeout->QuadPart = -(LONGLONG)(delay_ns / NS_PER_TICK + (delay_ns % NS_PER_TICK != 0));
    return timeout;
}

static int32_t system_port_create(void **out_port)
{
    return ntdll.create_port(out_port, IO_COMPLETION_ALL_ACCESS, NULL, 0);
}

static int32_t system_port_post(void *port, uintptr_t key, uintptr_t apc, int32_t status,
                                uintptr_t information)
{
    return ntdll.post(port, (void *)key, (void *)apc, status, information);
}

static int32_t system_port_remove(void *port, struct nt_entry *entries, uint32_t entries_max,
                                  uint64_t delay_ns, uint32_t *out_count)
{
    LARGE_INTEGER timeout;
    ULONG count = 0;
    NTSTATUS status =
        ntdll.remove(port, entries, entries_max, &count, timeout_of(delay_ns, &timeout), FALSE);

    if (status == 0) { /* only then: Wine counts one after a timeout */
        *out_count = count;
    }
    return status;
}

static int32_t system_packet_create(void **out_packet)
{
    return ntdll.create_packet(out_packet, GENERIC_ALL, NULL);
}

static int32_t system_packet_associate(void *packet, void *port, void *target, uintptr_t key,
                                       uintptr_t apc, int32_t io_status, uintptr_t information,
                                       bool *out_already_signaled)
{
    BOOLEAN already = FALSE;
    NTSTATUS status = ntdll.associate(packet, port, target, (void *)key, (void *)apc, io_status,
                                      information, &already);

    if (status == 0 && out_already_signaled != NULL) {
        *out_already_signaled = already != FALSE;
    }
    return status;
}

static int32_t system_packet_cancel(void *packet, bool remove_signaled)
{
    return ntdll.cancel_packet(packet, remove_signaled);
}

static int32_t system_close(void *handle)
{
    return ntdll.close(handle);
}

static int32_t system_duplicate_to_wait(void *handle, void **out_handle)
{
    return ntdll.duplicate(GetCurrentProcess(), handle, GetCurrentProcess(), out_handle,
                           SYNCHRONIZE, 0, 0);
}

static int32_t system_compare(void *handle, void *other)
{
    return ntdll.compare != NULL ? ntdll.compare(handle, other) : NT_NOT_IMPLEMENTED;
}

static enum nt_type event_type(void *event)
{
    LONG information[2] = {0, 0};

    if (ntdll.query_event(event, EVENT_BASIC_INFORMATION_CLASS, information, sizeof(information),
                          NULL) < 0) {
        return NT_TYPE_EVENT;
    }
    return information[0] == EVENT_IS_MANUAL ? NT_TYPE_EVENT_MANUAL : NT_TYPE_EVENT_AUTO;
}

static int32_t system_type(void *handle, enum nt_type *out_type)
{
    static const struct {
        const wchar_t *name;
        enum nt_type type;
    } types[] = {
        {L"Event", NT_TYPE_EVENT},       {L"Semaphore", NT_TYPE_SEMAPHORE},
        {L"Timer", NT_TYPE_TIMER},       {L"IRTimer", NT_TYPE_TIMER},
        {L"Process", NT_TYPE_PROCESS},   {L"Thread", NT_TYPE_THREAD},
        {L"Job", NT_TYPE_JOB},           {L"Mutant", NT_TYPE_MUTANT},
        {L"IoCompletion", NT_TYPE_PORT},
    };
    union {
        UNICODE_STRING name;
        char room[TYPE_NAME_MAX];
    } type;
    NTSTATUS status =
        ntdll.query_object(handle, OBJECT_TYPE_INFORMATION_CLASS, &type, sizeof(type), NULL);

    if (status < 0) {
        return status;
    }
    *out_type = NT_TYPE_OTHER;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t size = wcslen(types[i].name) * sizeof(wchar_t);

        if (type.name.Length == size && memcmp(type.name.Buffer, types[i].name, size) == 0) {
            *out_type = types[i].type == NT_TYPE_EVENT ? event_type(handle) : types[i].type;
        }
    }
    return 0;
}

static int32_t system_event_create(bool manual, bool signaled, void **out_event)
{
    return ntdll.create_event(out_event, EVENT_ALL_ACCESS, NULL, manual ? 0 : 1, signaled);
}

static int32_t system_event_set(void *event)
{
    return ntdll.set_event(event, NULL);
}

static int32_t system_event_reset(void *event)
{
    return ntdll.reset_event(event, NULL);
}

static int32_t system_semaphore_create(int32_t count, int32_t count_max, void **out_semaphore)
{
    return ntdll.create_semaphore(out_semaphore, SEMAPHORE_ALL_ACCESS, NULL, count, count_max);
}

static int32_t system_semaphore_release(void *semaphore, int32_t count)
{
    return ntdll.release_semaphore(semaphore, count, NULL);
}

static int32_t system_timer_create(bool manual, void **out_timer)
{
    DWORD flags = manual ? MANUAL_RESET : 0;
    HANDLE timer = CreateWaitableTimerExW(NULL, NULL, flags | HIGH_RESOLUTION, TIMER_ALL_ACCESS);

    if (timer == NULL) {
        timer = CreateWaitableTimerExW(NULL, NULL, flags, TIMER_ALL_ACCESS);
    }
    if (timer == NULL) {
        return NT_INSUFFICIENT_RESOURCES;
    }
    *out_timer = timer;
    return 0;
}

static int32_t system_timer_set(void *timer, uint64_t delay_ns)
{
    LARGE_INTEGER due;

    if (timeout_of(delay_ns, &due) == NULL) {
        return NT_INVALID_PARAMETER;
    }
    return ntdll.set_timer(timer, &due, NULL, NULL, FALSE, 0, NULL);
}

static int32_t system_timer_cancel(void *timer)
{
    return ntdll.cancel_timer(timer, NULL);
}

static int32_t system_wait_one(void *handle, uint64_t delay_ns)
{
    LARGE_INTEGER timeout;

    return ntdll.wait_one(handle, FALSE, timeout_of(delay_ns, &timeout));
}

static int32_t system_wait_many(void *const *handles, uint32_t count, uint64_t delay_ns)
{
    LARGE_INTEGER timeout;

    return ntdll.wait_many(count, (HANDLE const *)handles, WAIT_FOR_ANY, FALSE,
                           timeout_of(delay_ns, &timeout));
}

static uint64_t system_now_ns(void)
{
    LARGE_INTEGER frequency;
    LARGE_INTEGER count;
    uint64_t seconds;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    seconds = (uint64_t)count.QuadPart / (uint64_t)frequency.QuadPart;
    return 1 + seconds * NS_PER_S +
           (uint64_t)count.QuadPart % (uint64_t)frequency.QuadPart * NS_PER_S /
               (uint64_t)frequency.QuadPart;
}

static struct nt table = {
    .port_create = system_port_create,
    .port_post = system_port_post,
    .port_remove = system_port_remove,
    .close = system_close,
    .duplicate_to_wait = system_duplicate_to_wait,
    .compare = system_compare,
    .type = system_type,
    .event_create = system_event_create,
    .event_set = system_event_set,
    .event_reset = system_event_reset,
    .semaphore_create = system_semaphore_create,
    .semaphore_release = system_semaphore_release,
    .timer_create = system_timer_create,
    .timer_set = system_timer_set,
    .timer_cancel = system_timer_cancel,
    .wait_one = system_wait_one,
    .wait_many = system_wait_many,
    .now_ns = system_now_ns,
};

/* The function, in a variable of any function type. */
static void find(HMODULE library, const char *name, void *out_function, bool needed)
{
    FARPROC function = GetProcAddress(library, name);

    TOCSIN_ASSERT(function != NULL || !needed, name);
    memcpy(out_function, &function, sizeof(function));
}

static BOOL CALLBACK load(INIT_ONCE *once, void *arg, void **context)
{
    HMODULE library = GetModuleHandleW(L"ntdll.dll");

    (void)once;
    (void)arg;
    (void)context;
    TOCSIN_ASSERT(library != NULL, "no ntdll");
    find(library, "NtCreateIoCompletion", &ntdll.create_port, true);
    find(library, "NtSetIoCompletion", &ntdll.post, true);
    find(library, "NtRemoveIoCompletionEx", &ntdll.remove, true);
    find(library, "NtCreateWaitCompletionPacket", &ntdll.create_packet, false);
    find(library, "NtAssociateWaitCompletionPacket", &ntdll.associate, false);
    find(library, "NtCancelWaitCompletionPacket", &ntdll.cancel_packet, false);
    find(library, "NtClose", &ntdll.close, true);
    find(library, "NtDuplicateObject", &ntdll.duplicate, true);
    find(library, "NtCompareObjects", &ntdll.compare, false);
    find(library, "NtQueryObject", &ntdll.query_object, true);
    find(library, "NtQueryEvent", &ntdll.query_event, true);
    find(library, "NtCreateEvent", &ntdll.create_event, true);
    find(library, "NtSetEvent", &ntdll.set_event, true);
    find(library, "NtResetEvent", &ntdll.reset_event, true);
    find(library, "NtCreateSemaphore", &ntdll.create_semaphore, true);
    find(library, "NtReleaseSemaphore", &ntdll.release_semaphore, true);
    find(library, "NtSetTimer", &ntdll.set_timer, true);
    find(library, "NtCancelTimer", &ntdll.cancel_timer, true);
    find(library, "NtWaitForSingleObject", &ntdll.wait_one, true);
    find(library, "NtWaitForMultipleObjects", &ntdll.wait_many, true);
    if (ntdll.create_packet != NULL && ntdll.associate != NULL && ntdll.cancel_packet != NULL) {
        table.packet_create = system_packet_create;
        table.packet_associate = system_packet_associate;
        table.packet_cancel = system_packet_cancel;
        table.packet_close = system_close;
    }
    return TRUE;
}

const struct nt *tocsin__nt_system(void)
{
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;

    InitOnceExecuteOnce(&once, load, NULL, NULL);
    return &table;
}
