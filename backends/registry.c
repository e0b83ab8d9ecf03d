/*
 * The registry: the only file that asks which backends exist on this platform and in this build.
 */
#include <stdlib.h>
#include <string.h>

#include <tocsin/backend.h>

#include "backends/sim/backend.h"

#ifdef __linux__
#include "backends/epoll/epoll.h"
#endif
#ifdef TOCSIN_HAVE_URING
#include "backends/uring/uring.h"
#endif

/* The platform's own comes first: it is the default. */
static const struct tocsin_backend backends[] = {
#ifdef __linux__
    {.ops = &tocsin__backend_epoll},
#endif
#ifdef TOCSIN_HAVE_URING
    {.ops = &tocsin__backend_uring},
#endif
    {.ops = &tocsin__backend_sim},
};

const struct tocsin_backend *tocsin_backend_at(size_t index)
{
    return index < sizeof(backends) / sizeof(backends[0]) ? &backends[index] : NULL;
}

const struct tocsin_backend *tocsin_backend_find(const char *name)
{
    const struct tocsin_backend *backend;

    for (size_t i = 0; (backend = tocsin_backend_at(i)) != NULL; i++) {
        if (strcmp(backend->ops->name, name) == 0) {
            return backend;
        }
    }
    return NULL;
}

const struct tocsin_backend *tocsin_backend_default(void)
{
    const char *name = secure_getenv("TOCSIN_BACKEND");

    return name != NULL ? tocsin_backend_find(name) : tocsin_backend_at(0);
}
