/*
 * Finds the test backends by name, for programs that have them built in.
 */
#include "backends.h"

#include <string.h>

#include "../nt_model/backend.h"

const struct tocsin_backend *test_backend_find(const char *name,
                                               const struct tocsin_conform_face **out_face)
{
    if (strcmp(name, "poll2") == 0) {
        return poll2_backend();
    }
    if (strcmp(name, "script") == 0) {
        *out_face = script_face();
        return script_backend();
    }
    if (strcmp(name, "iocp-model") == 0) {
        *out_face = nt_model_face();
        return nt_model_backend();
    }
    return NULL;
}
