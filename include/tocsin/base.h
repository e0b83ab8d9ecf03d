/*
 * What every public header leans on: visibility, atomics in public structs, time, pending.
 *
 * Times are nanoseconds in uint64_t.  "..._ns" after deadline is absolute on the pool's clock
 * (tocsin_pool_now_ns()); after delay, period or slack it is a length.  Errors are negative errno
 * values.  Fields whose names end in an underscore belong to the library.
 */
#ifndef TOCSIN_BASE_H
#define TOCSIN_BASE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOCSIN_VERSION_MAJOR 0
#define TOCSIN_VERSION_MINOR 1
#define TOCSIN_VERSION_PATCH 0

#if defined(__GNUC__)
#define TOCSIN_API __attribute__((visibility("default")))
#else
#define TOCSIN_API
#endif

#ifdef __cplusplus
#define TOCSIN_BEGIN_DECLS extern "C" {
#define TOCSIN_END_DECLS }
/* C++ sees the plain type; no code in these headers touches such a field. */
#define TOCSIN_ATOMIC(T) T
#else
#define TOCSIN_BEGIN_DECLS
#define TOCSIN_END_DECLS
#define TOCSIN_ATOMIC(T) _Atomic(T)
#endif

/* The place of a call as one static string, "file.c:42". */
#define TOCSIN_STRING_(x) #x
#define TOCSIN_STRING(x) TOCSIN_STRING_(x)
#define TOCSIN_HERE __FILE__ ":" TOCSIN_STRING(__LINE__)

/* A deadline that never comes. */
#define TOCSIN_NEVER_NS UINT64_MAX

/*
 * What a poll function returns when it has kept the waker and will wake it; no errno has this
 * value.
 */
#define TOCSIN_PENDING INT_MIN

TOCSIN_BEGIN_DECLS

struct tocsin_pool;
struct tocsin_driver;
struct tocsin_task;

/* A link of the pool's queues, embedded where an object can be queued without allocating. */
struct tocsin_item_ {
    struct tocsin_item_ *next_;
    uint32_t kind_;
    uint32_t word_;
};

/*
 * The version of the library that runs, as "0.1.0".
 *
 * Thread: any.
 */
TOCSIN_API const char *tocsin_version(void);

TOCSIN_END_DECLS

#endif
