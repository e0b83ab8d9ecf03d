/*
 * The iocp backend over the NT model: see backend.c.
 */
#ifndef TOCSIN_TESTS_NT_MODEL_BACKEND_H
#define TOCSIN_TESTS_NT_MODEL_BACKEND_H

#include <tocsin/backend.h>

struct tocsin_conform_face;

const struct tocsin_backend *nt_model_backend(void);
const struct tocsin_conform_face *nt_model_face(void);

#endif
