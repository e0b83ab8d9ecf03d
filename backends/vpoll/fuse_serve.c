/*
 * The server of vpoll's file system: a root directory, one file in it, and an open of that file for
 * each vpoll descriptor.
 *
 * A slot belongs to one open: its mask, and the handle by which the kernel wakes whoever waits.
 * FUSE_POLL is answered with the mask; a ctl changes it and, if an event is left, wakes by
 * FUSE_NOTIFY_POLL *before* it is answered, so that who has made a ctl knows that the waiters have
 * been told.  A ctl comes as an ioctl (that of the vpoll module), or as a write of eight bytes
 * (that of EFD_VPOLL); a read says the mask.
 *
 * What goes wrong elsewhere, and is prevented here (the numbers are those of docs/VPOLL.md):
 *   H1  A FLUSH at the last close of a process that serves itself is never answered, and that
 *       process cannot even be killed.  So none must be sent: FOPEN_NOFLUSH says so for each open
 *       (Linux 5.16), and the answer ENOSYS to the first one for the whole mount.  The first open
 *       has no FOPEN_NOFLUSH, and is closed while the server lives, just for that.
 *   H5  The server takes no lock, allocates nothing, runs nobody's code and polls nothing.
 *   H9  A slot is found by the open's handle, with a generation: a handle is not used again.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends/vpoll/fuse.h"
#include "runtime/vpoll_slot.h"

#ifndef FOPEN_STREAM
#define FOPEN_STREAM (1 << 4)
#endif
#ifndef FOPEN_NOFLUSH
#define FOPEN_NOFLUSH (1 << 5)
#endif

enum {
    ROOT_NODE = FUSE_ROOT_ID,
    FILE_NODE = 2,
    WRITE_MAX = 4096,
    REQUEST_MAX = FUSE_MIN_READ_BUFFER,
    SLOTS_MAX = 1 << 20, /* open files of one server; address space only until they are used */
    REPLY_MAX = 256,
    MINOR = 31, /* of the protocol that is spoken at most */
    MINOR_LEAST = 23,
};

#define FOR_EVER_S UINT64_C(0x3fffffff)

struct slot {
    uint64_t wake_handle;
    uint32_t generation;
    uint32_t events;
    uint32_t next_free; /* index + 1 */
    bool is_open;
    bool is_watched; /* wake_handle is there */
};

struct tocsin__vpoll_slots {
    struct slot slots[SLOTS_MAX];
};

struct server {
    int dev;
    uint64_t id;
    struct slot *slots;
    uint32_t slots_count; /* that have ever been used */
    uint32_t free;        /* index + 1 of the first free one; 0: none */
    bool first_was_open;
};

struct request {
    const struct fuse_in_header *header;
    const void *body;
    size_t body_size;
};

/* The bare system call: nothing of the C library's is between it and the kernel. */
static long read_request(int dev, void *data, size_t size)
{
    return syscall(SYS_read, dev, data, size);
}

static void reply(const struct server *server, const struct request *request, int error,
                  const void *data, size_t size)
{
    struct fuse_out_header header = {.len = (uint32_t)(sizeof(header) + size),
                                     .error = error,
                                     .unique = request->header->unique};
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, size}};

    /* ENOENT: whoever asked was killed meanwhile.  All else: the next read says it. */
    (void)!syscall(SYS_writev, server->dev, parts, size > 0 ? 2 : 1);
}

static void notify(const struct server *server, const struct slot *slot)
{
    struct fuse_notify_poll_wakeup_out wake = {.kh = slot->wake_handle};
    struct fuse_out_header header = {.len = sizeof(header) + sizeof(wake),
                                     .error = FUSE_NOTIFY_POLL};
    struct iovec parts[2] = {{&header, sizeof(header)}, {&wake, sizeof(wake)}};

    (void)!syscall(SYS_writev, server->dev, parts, 2);
}

static void change(const struct server *server, struct slot *slot, enum tocsin_vpoll_op op,
                   uint32_t events)
{
    slot->events = tocsin__vpoll_apply(slot->events, op, events);
    if (slot->events != 0 && slot->is_watched) {
        notify(server, slot);
    }
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static uint64_t handle_of(const struct server *server, const struct slot *slot)
{
    return (uint64_t)slot->generation << 32 | (uint32_t)(slot - server->slots + 1);
}

static struct slot *slot_of(const struct server *server, uint64_t handle)
{
    uint32_t index = (uint32_t)handle - 1;
    struct slot *slot;

    if (index >= server->slots_count) {
        return NULL;
    }
    slot = &server->slots[index];
    return slot->is_open && slot->generation == handle >> 32 ? slot : NULL;
}

static struct slot *slot_take(struct server *server)
{
    struct slot *slot;

    if (server->free != 0) {
        slot = &server->slots[server->free - 1];
        server->free = slot->next_free;
    } else if (server->slots_count < SLOTS_MAX) {
        slot = &server->slots[server->slots_count++];
    } else {
        return NULL;
    }
    slot->generation++;
    slot->events = 0;
    slot->is_open = true;
    slot->is_watched = false;
    return slot;
}

static void slot_give(struct server *server, struct slot *slot)
{
    slot->is_open = false;
    slot->next_free = server->free;
    server->free = (uint32_t)(slot - server->slots + 1);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = {
        .ino = node,
        .mode = node == ROOT_NODE ? S_IFDIR | 0500 : S_IFREG | 0600,
        .nlink = 1,
        .uid = (uint32_t)getuid(),
        .gid = (uint32_t)getgid(),
    };

    return attr;
}

static void do_init(struct server *server, const struct request *request)
{
    const struct fuse_init_in *in = request->body;
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                                .minor = in->minor < MINOR ? in->minor : MINOR,
                                .max_write = WRITE_MAX,
                                .time_gran = 1};

    if (in->major != FUSE_KERNEL_VERSION || in->minor < MINOR_LEAST) {
        reply(server, request, -EPROTO, NULL, 0);
        return;
    }
    reply(server, request, 0, &out, sizeof(out));
}

static void do_lookup(struct server *server, const struct request *request)
{
    struct fuse_entry_out out = {.nodeid = FILE_NODE,
                                 .entry_valid = FOR_EVER_S,
                                 .attr_valid = FOR_EVER_S,
                                 .attr = attributes(FILE_NODE)};

    if (request->header->nodeid != ROOT_NODE || request->body_size < sizeof(TOCSIN__VPOLL_FILE) ||
        memcmp(request->body, TOCSIN__VPOLL_FILE, sizeof(TOCSIN__VPOLL_FILE)) != 0) {
        reply(server, request, -ENOENT, NULL, 0);
        return;
    }
    reply(server, request, 0, &out, sizeof(out));
}

static void do_getattr(struct server *server, const struct request *request)
{
    struct fuse_attr_out out = {.attr_valid = FOR_EVER_S,
                                .attr = attributes(request->header->nodeid)};

    reply(server, request, 0, &out, sizeof(out));
}

static void do_open(struct server *server, const struct request *request)
{
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM};
    struct slot *slot;

    slot = request->header->nodeid == FILE_NODE ? slot_take(server) : NULL;
    if (slot == NULL) {
        reply(server, request, request->header->nodeid == FILE_NODE ? -ENFILE : -EISDIR, NULL, 0);
        return;
    }
    out.fh = handle_of(server, slot);
    if (server->first_was_open) {
        out.open_flags |= FOPEN_NOFLUSH; /* H1 */
    }
    server->first_was_open = true;
    reply(server, request, 0, &out, sizeof(out));
}

static void do_release(struct server *server, const struct request *request)
{
    const struct fuse_release_in *in = request->body;
    struct slot *slot = slot_of(server, in->fh);

    if (slot != NULL) {
        slot_give(server, slot);
    }
    reply(server, request, 0, NULL, 0);
}

static void do_poll(struct server *server, const struct request *request)
{
    const struct fuse_poll_in *in = request->body;
    struct slot *slot = slot_of(server, in->fh);
    struct fuse_poll_out out = {0};

    if (slot == NULL) {
        reply(server, request, -EBADF, NULL, 0);
        return;
    }
    if ((in->flags & FUSE_POLL_SCHEDULE_NOTIFY) != 0) {
        slot->wake_handle = in->kh;
        slot->is_watched = true;
    }
    out.revents = slot->events;
    reply(server, request, 0, &out, sizeof(out));
}

static void identify(struct server *server, const struct request *request, struct slot *slot)
{
    const struct fuse_ioctl_in *in = request->body;
    struct {
        struct fuse_ioctl_out head;
        struct tocsin__vpoll_identity identity;
    } out = {{0}, {0}};

    if (in->in_size < sizeof(out.identity) || in->out_size < sizeof(out.identity) ||
        request->body_size < sizeof(*in) + sizeof(out.identity)) {
        reply(server, request, -EINVAL, NULL, 0);
        return;
    }
    memcpy(&out.identity, in + 1, sizeof(out.identity));
    if (out.identity.set == 1) {
        change(server, slot, TOCSIN_VPOLL_SET, out.identity.events & TOCSIN_VPOLL_ALL);
    }
    out.identity = (struct tocsin__vpoll_identity){.magic = TOCSIN__VPOLL_MAGIC,
                                                   .server = server->id,
                                                   .file = handle_of(server, slot),
                                                   .events = slot->events};
    reply(server, request, 0, &out, sizeof(out));
}

static void do_ioctl(struct server *server, const struct request *request)
{
    const struct fuse_ioctl_in *in = request->body;
    struct slot *slot = slot_of(server, in->fh);
    struct fuse_ioctl_out out = {0};

    if (slot == NULL) {
        reply(server, request, -EBADF, NULL, 0);
        return;
    }
    switch (in->cmd) {
    case TOCSIN__VPOLL_IOC(TOCSIN_VPOLL_ADD):
    case TOCSIN__VPOLL_IOC(TOCSIN_VPOLL_DEL):
    case TOCSIN__VPOLL_IOC(TOCSIN_VPOLL_SET):
        change(server, slot, (enum tocsin_vpoll_op)_IOC_NR(in->cmd),
               (uint32_t)in->arg & TOCSIN_VPOLL_ALL);
        reply(server, request, 0, &out, sizeof(out));
        return;
    case TOCSIN__VPOLL_IOC_IDENTIFY:
        identify(server, request, slot);
        return;
    default:
        reply(server, request, -ENOTTY, NULL, 0);
    }
}

/* EFD_VPOLL: the op above, the events below bit 32. */
static void do_write(struct server *server, const struct request *request)
{
    const struct fuse_write_in *in = request->body;
    struct fuse_write_out out = {.size = sizeof(uint64_t)};
    struct slot *slot = slot_of(server, in->fh);
    uint64_t word = 0;

    if (slot != NULL && in->size == sizeof(word) &&
        request->body_size >= sizeof(*in) + sizeof(word)) {
        memcpy(&word, in + 1, sizeof(word));
    }
    if (word >> 32 < TOCSIN_VPOLL_ADD || word >> 32 > TOCSIN_VPOLL_SET) {
        reply(server, request, -EINVAL, NULL, 0);
        return;
    }
    change(server, slot, (enum tocsin_vpoll_op)(word >> 32), (uint32_t)word & TOCSIN_VPOLL_ALL);
    reply(server, request, 0, &out, sizeof(out));
}

static void do_read(struct server *server, const struct request *request)
{
    const struct fuse_read_in *in = request->body;
    struct slot *slot = slot_of(server, in->fh);
    uint64_t word;

    if (slot == NULL || in->size < sizeof(word)) {
        reply(server, request, -EINVAL, NULL, 0);
        return;
    }
    word = slot->events;
    reply(server, request, 0, &word, sizeof(word));
}

/* What is handled: how much of a body it must have, and by whom. */
static const struct handler {
    uint32_t opcode;
    uint32_t body_least;
    void (*handle)(struct server *server, const struct request *request);
} handlers[] = {
    {FUSE_POLL, sizeof(struct fuse_poll_in), do_poll},
    {FUSE_IOCTL, sizeof(struct fuse_ioctl_in), do_ioctl},
    {FUSE_OPEN, sizeof(struct fuse_open_in), do_open},
    {FUSE_RELEASE, sizeof(struct fuse_release_in), do_release},
    {FUSE_WRITE, sizeof(struct fuse_write_in), do_write},
    {FUSE_READ, sizeof(struct fuse_read_in), do_read},
    {FUSE_LOOKUP, 1, do_lookup},
    {FUSE_GETATTR, 0, do_getattr},
    {FUSE_INIT, 16, do_init},
};

static void serve_one(struct server *server, const struct request *request)
{
    uint32_t opcode = request->header->opcode;

    if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT) {
        return; /* these want no answer; what an interrupt is about is answered at once anyway */
    }
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].opcode == opcode) {
            if (request->body_size < handlers[i].body_least) {
                reply(server, request, -EINVAL, NULL, 0);
            } else {
                handlers[i].handle(server, request);
            }
            return;
        }
    }
    reply(server, request, -ENOSYS, NULL, 0); /* FLUSH among them: H1 */
}

struct tocsin__vpoll_slots *tocsin__vpoll_slots_make(void)
{
    void *slots = mmap(NULL, sizeof(struct tocsin__vpoll_slots), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return slots != MAP_FAILED ? slots : NULL;
}

void tocsin__vpoll_slots_free(struct tocsin__vpoll_slots *slots)
{
    if (slots != NULL) {
        munmap(slots, sizeof(*slots));
    }
}

void tocsin__vpoll_serve(int dev, uint64_t id, struct tocsin__vpoll_slots *slots)
{
    struct server server = {.dev = dev, .id = id, .slots = slots->slots};
    _Alignas(8) char buffer[REQUEST_MAX];
    long size;

    for (;;) {
        size = read_request(dev, buffer, sizeof(buffer));
        if (size < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) {
            continue; /* ENOENT: the request was taken back */
        }
        if (size < (long)sizeof(struct fuse_in_header)) {
            return; /* ENODEV: unmounted */
        }
        serve_one(&server,
                  &(struct request){.header = (const void *)buffer,
                                    .body = buffer + sizeof(struct fuse_in_header),
                                    .body_size = (size_t)size - sizeof(struct fuse_in_header)});
    }
}
