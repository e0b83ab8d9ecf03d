/*
 * Put before every file that the explorer runs, by -include: where thread-local variables live, and
 * who copies memory.
 *
 * The threads of a run are coroutines of one thread, so a thread-local variable is an ordinary one
 * in a section of its own, which threads.c changes with the thread.  Accesses reach the explorer as
 * calls that the compiler makes (-fsanitize=thread); those of the C library are made by name.
 */
#ifndef TOCSIN_TESTS_MODEL_INSTRUMENT_H
#define TOCSIN_TESTS_MODEL_INSTRUMENT_H

#define _Thread_local __attribute__((section("model_locals")))
#define TOCSIN__TLS
#define memset model_memset
#define memcpy model_memcpy
#define malloc model_alloc
#define calloc model_calloc
#define free model_free

#endif
