/*
 * The iocp backend over the model, for the conformance suite: `--backend iocp-model`.
 *
 * A source of the suite is a manual-reset event.  Each case has a kernel of its own, whose seed is
 * the run's, with delays and late packets, and must leave no handle open.
 */
#include "tests/nt_model/backend.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/windows/iocp.h"
#include "tests/conformance/face.h"
#include "tests/nt_model/model.h"

enum {
    DELAY_PERMILLE = 50,
    LATE_PERMILLE = 100,
};

static struct tocsin_backend_ops ops;
static struct tocsin_backend backend = {.ops = &ops};

const struct tocsin_backend *nt_model_backend(void)
{
    ops = tocsin__backend_iocp;
    ops.name = "iocp-model";
    ops.features |= TOCSIN_BACKEND_OWN_SOURCES; /* as which the suite knows its sources */
    return &backend;
}

static int begin(uint64_t seed)
{
    struct nt_model_options options = {
        .seed = seed, .delay_permille = DELAY_PERMILLE, .late_permille = LATE_PERMILLE};

    nt_model_begin(&options);
    return 0;
}

static int end(void)
{
    return nt_model_handles() == 0 ? 0 : -EBUSY;
}

static intptr_t source_create(void)
{
    void *event;

    return nt_failed(nt_model_table()->event_create(true, false, &event)) ? -ENOMEM
                                                                          : (intptr_t)event;
}

static void source_signal(intptr_t number)
{
    nt_model_table()->event_set((void *)number);
}

static bool source_take(intptr_t number)
{
    bool was_signaled = nt_model_is_signaled((void *)number);

    nt_model_table()->event_reset((void *)number);
    return was_signaled;
}

static void source_destroy(intptr_t number)
{
    nt_model_table()->close((void *)number);
}

static const struct tocsin_conform_face face = {
    .source_create = source_create,
    .source_signal = source_signal,
    .source_take = source_take,
    .source_destroy = source_destroy,
    .begin = begin,
    .end = end,
};

const struct tocsin_conform_face *nt_model_face(void)
{
    return &face;
}
