/*
 * The choice between the kernel's packets and ours: see nt_table.h.
 */
#include "backends/windows/nt_table.h"

#include <stdlib.h>
#include <string.h>

#include "backends/windows/packets.h"

static bool is_forced(void)
{
    const char *value = getenv("TOCSIN_WINDOWS_PACKETS");

    return value != NULL && strcmp(value, "emulated") == 0;
}

const struct nt *tocsin__nt_open(void)
{
    const struct nt *nt = tocsin__nt_system();

    return nt->packet_create == NULL || is_forced() ? tocsin__packets_open(nt) : nt;
}

void tocsin__nt_close(const struct nt *nt)
{
    if (nt != tocsin__nt_system()) {
        tocsin__packets_close(nt);
    }
}
