/*
 * Which table of calls this process uses: the platform's, with packets of our own if need be.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_NT_TABLE_H
#define TOCSIN_BACKENDS_WINDOWS_NT_TABLE_H

#include "backends/windows/nt.h"

/*
 * tocsin__nt_system(); with emulated packets where it has none, or if the environment variable
 * TOCSIN_WINDOWS_PACKETS is "emulated".
 *
 * Thread: any.  Returns: the table, for tocsin__nt_close().
 */
const struct nt *tocsin__nt_open(void);

void tocsin__nt_close(const struct nt *nt);

#endif
