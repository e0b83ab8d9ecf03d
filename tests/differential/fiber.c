/*
 * Stacks for the actors that are tasks: an operation is straight code, and where it has to wait its
 * actor's poll returns.
 *
 * By ucontext; the sanitizers are told of each change of stack.  All on one thread.
 */
#include "differential.h"

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

enum {
    STACK_SIZE = 256 * 1024,
};

struct fiber {
    ucontext_t own;
    ucontext_t caller;
    fiber_fn *fn;
    void *arg;
    void *stack;
    bool ended;
    void *own_fake; /* the address sanitizer's: of each side while the other runs */
    void *caller_fake;
    const void *caller_stack;
    size_t caller_stack_size;
    void *own_race; /* the race detector's name for it, and for the caller */
    void *caller_race;
};

static _Thread_local struct fiber *starting;

#if defined(__SANITIZE_THREAD__)
/*
 * What the race detector cannot see.
 *
 * It counts a descriptor's number as memory.  uring and poll2 ask what a watch's number means by
 * now (exact(), check(), identify()) while another thread may close it and open something else:
 * that is what they ask for.  libuv closes by bare system calls, so that its numbers seem to be
 * opened twice, and so do those of a socket that the ring has closed (io_socket()); liburing unmaps
 * so, and a new ring is then where another thread's was.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_options(void);

/* A process that was forked has threads to join that it never had. */
const char *__tsan_default_options(void)
{
    return "report_thread_leaks=0";
}

const char *__tsan_default_suppressions(void)
{
    return "race:^check$\nrace:^exact$\nrace:^identify$\nrace:^io_socket$\n"
           "race:^tocsin__ring_open$\ncalled_from_lib:libuv.so\n";
}
#endif

/* The moment before leaving a stack for @stack, and that after coming back to one. */
static void leave(void **fake, const void *stack, size_t stack_size, void *race)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake, stack, stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(race, 0);
#endif
    (void)fake;
    (void)stack;
    (void)stack_size;
    (void)race;
}

static void arrive(void *fake, const void **stack, size_t *stack_size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, stack, stack_size);
#endif
    (void)fake;
    (void)stack;
    (void)stack_size;
}

static void fiber_main(void)
{
    struct fiber *fiber = starting;

    arrive(NULL, &fiber->caller_stack, &fiber->caller_stack_size);
    fiber->fn(fiber->arg);
    fiber->ended = true;
    leave(NULL, fiber->caller_stack, fiber->caller_stack_size, fiber->caller_race);
    swapcontext(&fiber->own, &fiber->caller);
    abort(); /* an ended fiber is not resumed */
}

struct fiber *fiber_create(fiber_fn *fn, void *arg)
{
    struct fiber *fiber = calloc(1, sizeof(*fiber));

    NEED(fiber != NULL);
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    NEED(fiber->stack != MAP_FAILED);
    NEED(getcontext(&fiber->own) == 0);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = STACK_SIZE;
    fiber->own.uc_link = NULL;
    makecontext(&fiber->own, fiber_main, 0);
#if defined(__SANITIZE_THREAD__)
    fiber->own_race = __tsan_create_fiber(0);
#endif
    return fiber;
}

void fiber_destroy(struct fiber *fiber)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(fiber->own_race);
#endif
    munmap(fiber->stack, STACK_SIZE);
    free(fiber);
}

bool fiber_resume(struct fiber *fiber)
{
#if defined(__SANITIZE_THREAD__)
    fiber->caller_race = __tsan_get_current_fiber();
#endif
    starting = fiber;
    leave(&fiber->caller_fake, fiber->stack, STACK_SIZE, fiber->own_race);
    swapcontext(&fiber->caller, &fiber->own);
    arrive(fiber->caller_fake, NULL, NULL);
    return fiber->ended;
}

void fiber_pause(struct fiber *fiber)
{
    leave(&fiber->own_fake, fiber->caller_stack, fiber->caller_stack_size, fiber->caller_race);
    swapcontext(&fiber->own, &fiber->caller);
    arrive(fiber->own_fake, &fiber->caller_stack, &fiber->caller_stack_size);
}
