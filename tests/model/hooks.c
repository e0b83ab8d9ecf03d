/*
 * What the compiler calls: -fsanitize=thread makes a call of each access, by these names, which
 * otherwise the race detector's library has.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tests/model/engine.h"

void *model_memset(void *to, int byte, size_t size);
void *model_memcpy(void *to, const void *from, size_t size);
void *model_calloc(size_t count, size_t size);

void *model_memset(void *to, int byte, size_t size)
{
    model_plain(to, size, true, __builtin_return_address(0));
    return memset(to, byte, size);
}

void *model_memcpy(void *to, const void *from, size_t size)
{
    model_plain(from, size, false, __builtin_return_address(0));
    model_plain(to, size, true, __builtin_return_address(0));
    return memcpy(to, from, size);
}

void *model_calloc(size_t count, size_t size)
{
    void *pointer = model_alloc(count * size);

    return model_memset(pointer, 0, count * size);
}

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_read_range(void *address, size_t size);
void __tsan_write_range(void *address, size_t size);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *address, size_t size)
{
    model_plain(address, size, false, __builtin_return_address(0));
}

void __tsan_write_range(void *address, size_t size)
{
    model_plain(address, size, true, __builtin_return_address(0));
}

static uint64_t change_set(uint64_t old, uint64_t operand)
{
    (void)old;
    return operand;
}

static uint64_t change_add(uint64_t old, uint64_t operand)
{
    return old + operand;
}

static uint64_t change_sub(uint64_t old, uint64_t operand)
{
    return old - operand;
}

static uint64_t change_or(uint64_t old, uint64_t operand)
{
    return old | operand;
}

static uint64_t change_and(uint64_t old, uint64_t operand)
{
    return old & operand;
}

#define PLAIN(name, size)                                                                          \
    void __tsan_read##name(void *address);                                                         \
    void __tsan_write##name(void *address);                                                        \
    void __tsan_read##name(void *address)                                                          \
    {                                                                                              \
        model_plain(address, size, false, __builtin_return_address(0));                            \
    }                                                                                              \
    void __tsan_write##name(void *address)                                                         \
    {                                                                                              \
        model_plain(address, size, true, __builtin_return_address(0));                             \
    }

PLAIN(1, 1)
PLAIN(2, 2)
PLAIN(4, 4)
PLAIN(8, 8)
PLAIN(16, 16)

/* The names of unaligned accesses are the other way round. */
#define PLAIN_UNALIGNED(size)                                                                      \
    void __tsan_unaligned_read##size(void *address);                                               \
    void __tsan_unaligned_write##size(void *address);                                              \
    void __tsan_unaligned_read##size(void *address)                                                \
    {                                                                                              \
        model_plain(address, size, false, __builtin_return_address(0));                            \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *address)                                               \
    {                                                                                              \
        model_plain(address, size, true, __builtin_return_address(0));                             \
    }

PLAIN_UNALIGNED(2)
PLAIN_UNALIGNED(4)
PLAIN_UNALIGNED(8)
PLAIN_UNALIGNED(16)

#define CHANGE(bits, name)                                                                         \
    uint##bits##_t __tsan_atomic##bits##_fetch_##name(uint##bits##_t *address,                     \
                                                      uint##bits##_t operand, int order);          \
    uint##bits##_t __tsan_atomic##bits##_fetch_##name(uint##bits##_t *address,                     \
                                                      uint##bits##_t operand, int order)           \
    {                                                                                              \
        return (uint##bits##_t)model_atomic_change(address, (bits) / 8, change_##name, operand,    \
                                                   order, #name, __builtin_return_address(0));     \
    }

/* gcc asks for success, clang for the value found. */
#define COMPARE(bits, name)                                                                        \
    int __tsan_atomic##bits##_compare_exchange_##name(                                             \
        uint##bits##_t *address, uint##bits##_t *expected, uint##bits##_t desired, int order,      \
        int failure_order);                                                                        \
    int __tsan_atomic##bits##_compare_exchange_##name(                                             \
        uint##bits##_t *address, uint##bits##_t *expected, uint##bits##_t desired, int order,      \
        int failure_order)                                                                         \
    {                                                                                              \
        uint64_t found = *expected;                                                                \
        bool same = model_atomic_compare(address, (bits) / 8, &found, desired, order,              \
                                         failure_order, __builtin_return_address(0));              \
                                                                                                   \
        *expected = (uint##bits##_t)found;                                                         \
        return same;                                                                               \
    }

#define ATOMIC(bits)                                                                               \
    uint##bits##_t __tsan_atomic##bits##_load(const uint##bits##_t *address, int order);           \
    void __tsan_atomic##bits##_store(uint##bits##_t *address, uint##bits##_t value, int order);    \
    uint##bits##_t __tsan_atomic##bits##_exchange(uint##bits##_t *address, uint##bits##_t operand, \
                                                  int order);                                      \
    uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                     \
        uint##bits##_t *address, uint##bits##_t expected, uint##bits##_t desired, int order,       \
        int failure_order);                                                                        \
    uint##bits##_t __tsan_atomic##bits##_load(const uint##bits##_t *address, int order)            \
    {                                                                                              \
        return (uint##bits##_t)model_atomic_load(address, (bits) / 8, order,                       \
                                                 __builtin_return_address(0));                     \
    }                                                                                              \
    void __tsan_atomic##bits##_store(uint##bits##_t *address, uint##bits##_t value, int order)     \
    {                                                                                              \
        model_atomic_store(address, (bits) / 8, value, order, __builtin_return_address(0));        \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_exchange(uint##bits##_t *address, uint##bits##_t operand, \
                                                  int order)                                       \
    {                                                                                              \
        return (uint##bits##_t)model_atomic_change(address, (bits) / 8, change_set, operand,       \
                                                   order, "exchange",                              \
                                                   __builtin_return_address(0));                   \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                     \
        uint##bits##_t *address, uint##bits##_t expected, uint##bits##_t desired, int order,       \
        int failure_order)                                                                         \
    {                                                                                              \
        uint64_t found = expected;                                                                 \
                                                                                                   \
        model_atomic_compare(address, (bits) / 8, &found, desired, order, failure_order,           \
                             __builtin_return_address(0));                                         \
        return (uint##bits##_t)found;                                                              \
    }                                                                                              \
    COMPARE(bits, strong)                                                                          \
    COMPARE(bits, weak)                                                                            \
    CHANGE(bits, add)                                                                              \
    CHANGE(bits, sub)                                                                              \
    CHANGE(bits, or)                                                                               \
    CHANGE(bits, and)

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
