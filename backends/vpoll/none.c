/*
 * vpoll where there are no such descriptors: slots alone.
 */
#include <errno.h>

#include "runtime/vpoll_slot.h"

int tocsin_vpoll_create(uint32_t events, uint32_t flags)
{
    (void)events;
    (void)flags;
    return -EOPNOTSUPP;
}

int tocsin_vpoll_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events)
{
    (void)fd;
    (void)op;
    (void)events;
    return -EOPNOTSUPP;
}

int tocsin_vpoll_close(int fd)
{
    (void)fd;
    return -EOPNOTSUPP;
}

int tocsin_vpoll_info_get(struct tocsin_vpoll_info *out_info)
{
    *out_info = (struct tocsin_vpoll_info){.reason = "this platform has slots alone"};
    return -EOPNOTSUPP;
}

int tocsin_vpoll_use(const char *provider)
{
    (void)provider;
    return -EOPNOTSUPP;
}

int tocsin_vpoll_slot_fd(struct tocsin_vpoll_slot *slot)
{
    (void)slot;
    return -EOPNOTSUPP;
}
