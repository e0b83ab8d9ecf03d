/*
 * The end of the program when an invariant is broken (W5 and its like).
 */
#include "runtime/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void tocsin__assert_failed(const char *file, int line, const char *message)
{
    fprintf(stderr, "tocsin: %s:%d: %s\n", file, line, message);
    abort();
}
