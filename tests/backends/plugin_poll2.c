/*
 * The poll2 backend as a plugin: tocsin-conformance --plugin plugin_poll2.so.
 */
#include "backends.h"

const struct tocsin_backend *tocsin_backend_plugin(void)
{
    return poll2_backend();
}
