/*
 * Assertions, always on: what only a bug, ours or the caller's, can break.
 *
 * A failed one prints a line to standard error, the only thing the library ever prints, and aborts.
 */
#ifndef TOCSIN_RUNTIME_ASSERT_H
#define TOCSIN_RUNTIME_ASSERT_H

#include <assert.h>

/* Prints "tocsin: @file:@line: @message" and aborts. */
_Noreturn void tocsin__assert_failed(const char *file, int line, const char *message);

#define TOCSIN_ASSERT(condition, message)                                                          \
    ((condition) ? (void)0 : tocsin__assert_failed(__FILE__, __LINE__, (message)))

#define TOCSIN_UNREACHABLE(message) tocsin__assert_failed(__FILE__, __LINE__, (message))

#endif
