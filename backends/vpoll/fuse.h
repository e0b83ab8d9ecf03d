/*
 * The FUSE provider's parts: the protocol (fuse_serve.c), the mount (fuse_mount.c), and the
 * provider (fuse.c).
 */
#ifndef TOCSIN_VPOLL_FUSE_H
#define TOCSIN_VPOLL_FUSE_H

#include <sys/ioctl.h>

#include "backends/vpoll/provider.h"

#define TOCSIN__VPOLL_FILE "vpoll"
#define TOCSIN__VPOLL_MAGIC UINT64_C(0x6c6c6f70762d746f)

/* The module's ioctls: the argument is the mask. */
#define TOCSIN__VPOLL_IOC(op) _IO('^', op)

/* What an open file says of itself; with SET, its first events are set. */
struct tocsin__vpoll_identity {
    uint64_t magic;
    uint64_t server;
    uint64_t file; /* of that server; never used again */
    uint32_t events;
    uint32_t set; /* in: 1: set the events */
};
#define TOCSIN__VPOLL_IOC_IDENTIFY _IOWR('^', 0x74, struct tocsin__vpoll_identity)

/* The server's memory: address space until it is used.  NULL: there is none. */
struct tocsin__vpoll_slots;
struct tocsin__vpoll_slots *tocsin__vpoll_slots_make(void);
void tocsin__vpoll_slots_free(struct tocsin__vpoll_slots *slots);

/*
 * Answer requests on the device @dev until the file system is gone.  Makes bare system calls and
 * nothing else: it may run in a copy of a program whose other threads held locks.
 */
void tocsin__vpoll_serve(int dev, uint64_t server, struct tocsin__vpoll_slots *slots);

enum tocsin__vpoll_how {
    TOCSIN__VPOLL_DIRECT,     /* fsopen(2) and fsmount(2), with CAP_SYS_ADMIN */
    TOCSIN__VPOLL_USERNS,     /* the same in a user namespace */
    TOCSIN__VPOLL_FUSERMOUNT, /* by fusermount3(1) */
};

/* A mount that nobody else sees. */
struct tocsin__vpoll_mount {
    int root;        /* the mount's root directory */
    int dev;         /* in-process: the device, to be served; else -1 */
    uint64_t server; /* by which its files know it */
};

/*
 * Mount, and serve in a process of its own, or leave the serving to the caller (@in_process).
 *
 * Returns: 0; or a negative errno, and *@out_why.
 */
int tocsin__vpoll_mount(enum tocsin__vpoll_how how, bool in_process,
                        struct tocsin__vpoll_mount *out_mount, struct tocsin__vpoll_why *out_why);

/* The server and the file that @fd is an open of.  -ENOTTY: it is not of ours. */
int tocsin__vpoll_fuse_identity(int fd, uint64_t *out_server, uint64_t *out_file);

/* The path of the device: TOCSIN_VPOLL_FUSE, or /dev/fuse. */
const char *tocsin__vpoll_fuse_path(void);

#endif
