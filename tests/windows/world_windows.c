/*
 * The world of the facts on Windows: real threads, processes and jobs.
 *
 * A process is this program once more, with the handle of an event that it waits for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "backends/windows/packets.h"
#include "tests/windows/facts.h"

static const struct nt *table; /* of the world that has begun */
static bool is_emulated;

const struct nt *world_begin(bool emulated, uint64_t seed, uint32_t lateness_permille)
{
    (void)seed;
    (void)lateness_permille; /* this kernel is as late as it likes */
    is_emulated = emulated;
    table = tocsin__nt_system();
    if (emulated) {
        table = tocsin__packets_open(table);
    }
    return table;
}

void world_end(void)
{
    if (is_emulated) {
        tocsin__packets_close(table);
    }
}

static DWORD WINAPI thread_main(void *arg)
{
    struct world_thread *thread = arg;

    table->wait_one(thread->start, TOCSIN_NEVER_NS);
    thread->fn(thread->arg);
    return 0;
}

void world_thread_start(struct world_thread *thread, void (*fn)(void *arg), void *arg)
{
    *thread = (struct world_thread){.fn = fn, .arg = arg};
    if (nt_failed(table->event_create(true, false, &thread->start))) {
        abort();
    }
    thread->handle = CreateThread(NULL, 0, thread_main, thread, 0, NULL);
    if (thread->handle == NULL) {
        abort();
    }
    table->event_set(thread->start);
}

void world_thread_join(struct world_thread *thread)
{
    table->wait_one(thread->handle, TOCSIN_NEVER_NS);
    table->close(thread->handle);
    table->close(thread->start);
}

/* What the child runs: see world_process(). */
void world_child(const char *handle)
{
    void *end = (void *)(uintptr_t)strtoull(handle, NULL, 0);

    WaitForSingleObject(end, INFINITE);
    exit(0);
}

void *world_process(void **out_end)
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof(inherited), .bInheritHandle = TRUE};
    STARTUPINFOA startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION process;
    char path[MAX_PATH];
    char command[MAX_PATH + 64];

    *out_end = CreateEventW(&inherited, TRUE, FALSE, NULL);
    GetModuleFileNameA(NULL, path, sizeof(path));
    snprintf(command, sizeof(command), "\"%s\" --child %llu", path,
             (unsigned long long)(uintptr_t)*out_end);
    if (!CreateProcessA(path, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        abort();
    }
    CloseHandle(process.hThread);
    return process.hProcess;
}

void *world_mutex(bool owned)
{
    return CreateMutexW(NULL, owned, NULL);
}

void *world_job(void)
{
    return CreateJobObjectW(NULL, NULL);
}

void *world_mute(void *handle)
{
    HANDLE mute = NULL;

    DuplicateHandle(GetCurrentProcess(), handle, GetCurrentProcess(), &mute, EVENT_MODIFY_STATE,
                    FALSE, 0);
    return mute;
}
