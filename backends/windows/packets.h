/*
 * Wait completion packets of our own, for a Windows without (7, and Wine), or when they are asked
 * for.
 *
 * They keep what nt.h says of packets, word for word; tests/windows/wcp_facts.c is run on both.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_PACKETS_H
#define TOCSIN_BACKENDS_WINDOWS_PACKETS_H

#include "backends/windows/nt.h"

/*
 * @below with packets on top; all who open share one.  Its packets are waited for by threads, 63
 * each, which are started when they are needed.  A port with packets must outlive them.
 *
 * Thread:  any; @below is always the same.
 * Returns: the table, for tocsin__packets_close().
 */
const struct nt *tocsin__packets_open(const struct nt *below);

/* The last one ends the threads; every packet has been closed, which is asserted. */
void tocsin__packets_close(const struct nt *table);

#endif
