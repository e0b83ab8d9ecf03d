/*
 * The two small backends that show what the contract asks: see poll2.c and script.c.
 */
#ifndef TOCSIN_TEST_BACKENDS_H
#define TOCSIN_TEST_BACKENDS_H

#include <tocsin/backend.h>

struct tocsin_conform_face;

const struct tocsin_backend *poll2_backend(void);
const struct tocsin_backend *script_backend(void);

/* The script backend's sources and clock, for the conformance suite. */
const struct tocsin_conform_face *script_face(void);

/*
 * The one called @name, or NULL; its face, if it has one, in *@out_face.
 */
const struct tocsin_backend *test_backend_find(const char *name,
                                               const struct tocsin_conform_face **out_face);

#endif
