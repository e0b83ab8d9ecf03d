/*
 * What tests ask of the model, as far as a real Windows can give it: for the programs that need no
 * injected failures and no hooks.
 */
#include <stdlib.h>
#include <windows.h>

#include "tests/nt_model/model.h"

static DWORD handles_at_first;
static _Thread_local uint64_t random_state;

void nt_model_begin(const struct nt_model_options *options)
{
    (void)options;
    tocsin__nt_system();
    GetProcessHandleCount(GetCurrentProcess(), &handles_at_first);
}

const struct nt *nt_model_table(void)
{
    return tocsin__nt_system();
}

uint32_t nt_model_handles(void)
{
    DWORD handles = 0;

    GetProcessHandleCount(GetCurrentProcess(), &handles);
    return handles > handles_at_first ? handles - handles_at_first : 0;
}

uint32_t nt_model_objects(void)
{
    return 0;
}

uint64_t nt_model_calls(enum nt_model_call call)
{
    (void)call;
    return 0;
}

void nt_model_hook(nt_model_hook_fn *fn, void *arg)
{
    (void)fn;
    (void)arg;
}

int32_t nt_model_mutant_create(bool owned, void **out_mutant)
{
    *out_mutant = CreateMutexW(NULL, owned, NULL);
    return *out_mutant != NULL ? 0 : NT_INSUFFICIENT_RESOURCES;
}

static int32_t duplicate(void *handle, DWORD access, DWORD options, void **out_handle)
{
    return DuplicateHandle(GetCurrentProcess(), handle, GetCurrentProcess(), out_handle, access,
                           FALSE, options)
               ? 0
               : NT_ACCESS_DENIED;
}

int32_t nt_model_duplicate(void *handle, void **out_handle)
{
    return duplicate(handle, 0, DUPLICATE_SAME_ACCESS, out_handle);
}

int32_t nt_model_duplicate_mute(void *handle, void **out_handle)
{
    return duplicate(handle, EVENT_MODIFY_STATE, 0, out_handle);
}

struct task {
    void (*fn)(void *arg);
    void *arg;
};

static DWORD WINAPI task_main(void *arg)
{
    struct task task = *(struct task *)arg;

    free(arg);
    task.fn(task.arg);
    return 0;
}

int32_t nt_model_task_start(enum nt_type type, void (*fn)(void *arg), void *arg, void **out_task)
{
    struct task *task = malloc(sizeof(*task));

    (void)type; /* a thread in any case */
    if (task == NULL) {
        return NT_NO_MEMORY;
    }
    *task = (struct task){.fn = fn, .arg = arg};
    *out_task = CreateThread(NULL, 0, task_main, task, 0, NULL);
    return *out_task != NULL ? 0 : NT_NO_MEMORY;
}

/* Of events: EventBasicInformation has the state second. */
bool nt_model_is_signaled(void *handle)
{
    typedef LONG NTAPI query_event_fn(HANDLE, ULONG, void *, ULONG, ULONG *);
    LONG information[2] = {0, 0};
    query_event_fn *query = (query_event_fn *)(void (*)(void))GetProcAddress(
        GetModuleHandleW(L"ntdll.dll"), "NtQueryEvent");

    return query != NULL && query(handle, 0, information, sizeof(information), NULL) >= 0 &&
           information[1] != 0;
}

uint32_t nt_model_random(uint32_t limit)
{
    if (random_state == 0) {
        random_state = GetCurrentThreadId();
    }
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % limit;
}
