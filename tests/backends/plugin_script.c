/*
 * The script backend as a plugin, with its sources and its clock:
 * tocsin-conformance --plugin plugin_script.so.
 */
#include "backends.h"
#include "tests/conformance/face.h"

const struct tocsin_backend *tocsin_backend_plugin(void)
{
    return script_backend();
}

const struct tocsin_conform_face *tocsin_conform_face(void)
{
    return script_face();
}
