/*
 * The script that the `script` backend plays: sources, and what happens to them when.
 *
 * All pools of a process that run on it share one script and one clock.  Any thread may call these.
 */
#ifndef TOCSIN_TEST_SCRIPT_H
#define TOCSIN_TEST_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A new source with no events; the lowest free number, as descriptors have it.  -EMFILE: no more.
 */
intptr_t script_source_create(void);

/* The number is free again.  A watch on it hears nothing any more. */
void script_source_destroy(intptr_t number);

/* @events (TOCSIN_IN ...) are true of it from now on. */
void script_source_raise(intptr_t number, uint32_t events);

/* @events are true of it no more.  Returns: those that were. */
uint32_t script_source_lower(intptr_t number, uint32_t events);

/* Raise @events at @deadline_ns on the script's clock.  Returns: 0; -ENOSPC: the script is full. */
int script_raise_at(uint64_t deadline_ns, intptr_t number, uint32_t events);

/* The clock, without the time that reading it takes. */
uint64_t script_now_ns(void);

/* Let @delay_ns go by; what the script has for it happens. */
void script_time_pass(uint64_t delay_ns);

#endif
