/*
 * The explorer, as its scenarios see it.
 *
 * A scenario is a small program of one to three threads over the real runtime.  The explorer runs
 * it again and again, each time in another order of steps, and with other delays of what one thread
 * writes and another reads.  A scenario says what must hold whatever the order: it checks.
 *
 * Everything that threads share is in the scene, which is zeroed before each run, or comes from
 * model_alloc(): other memory is not watched.  In watched memory each access is checked: a race of
 * two plain accesses fails, as does the use of what was freed.  So no flag is needed to see whether
 * something was published: write it as a plain field, and read it on the other side.
 */
#ifndef TOCSIN_TESTS_MODEL_MODEL_H
#define TOCSIN_TESTS_MODEL_MODEL_H

#include <tocsin/backend.h>
#include <tocsin/pool.h>

enum {
    MODEL_THREADS_MAX = 3, /* of a scenario, beside the one that sets it up and checks it */
};

typedef void model_scene_fn(void *scene);

struct model_scenario {
    const char *name;  /* the rule that holds, as a sentence in snake case */
    const char *rules; /* W1 ... */
    size_t scene_size;
    model_scene_fn *set_up; /* runs alone, before; may be NULL */
    model_scene_fn *threads[MODEL_THREADS_MAX];
    model_scene_fn *check; /* runs alone, after all have ended; may be NULL */
    const char *finds;     /* it must fail, and its message hold this: the explorer's own test */
    unsigned fewer;        /* preemptions less than the bound, for one with very many steps */
};

/* Each table ends with a row without a name. */
extern const struct model_scenario model_scenes_litmus[];
extern const struct model_scenario model_scenes_wake[];
extern const struct model_scenario model_scenes_pool[];
extern const struct model_scenario model_scenes_spawn[];
extern const struct model_scenario model_scenes_task[];
extern const struct model_scenario model_scenes_join[];
extern const struct model_scenario model_scenes_timer[];
extern const struct model_scenario model_scenes_ready[];
extern const struct model_scenario model_scenes_close[];

/* The run is wrong.  Does not return. */
_Noreturn void model_failed(const char *file, int line, const char *what);

#define MODEL_CHECK(condition)                                                                     \
    ((condition) ? (void)0 : model_failed(__FILE__, __LINE__, #condition " does not hold"))

/* Watched memory, for a scenario's own objects.  What is left at the end of a run is a leak. */
void *model_alloc(size_t size);
void model_free(void *pointer);

/* A pool on the model's backend, with watched memory.  @features: TOCSIN_BACKEND_*. */
struct tocsin_pool *model_pool_open(uint32_t features);

/* As it, with these slots: what stands between the pool and its sleep (tocsin/backend.h). */
struct model_hooks {
    uint64_t (*prepare)(void *arg, uint64_t deadline_ns);
    void (*harvest)(void *arg);
    void *arg;
};
struct tocsin_pool *model_pool_open_hooked(uint32_t features, const struct model_hooks *hooks);

/* The kernel reports @events for whatever is attached under @number.  Thread: any. */
void model_event(intptr_t number, uint32_t events);

/* A hosted pool's descriptor: block until it is readable. */
void model_await_readable(void);

/* The clock.  It moves when nothing else can, or as a choice of the explorer's. */
uint64_t model_now_ns(void);

/* The backend's wait and kick by themselves, for a scenario without a pool. */
void model_wait(uint64_t deadline_ns);
void model_kick(void);

/*
 * Block until another thread says so; what came before is seen.  For what a scenario wants in order
 * and is not about.
 */
struct model_gate {
    bool open;
};
void model_gate_open(struct model_gate *gate);
void model_gate_await(struct model_gate *gate);

/* The start of the clock, and so the deadlines of scenarios. */
#define MODEL_START_NS UINT64_C(1000000000)

#endif
