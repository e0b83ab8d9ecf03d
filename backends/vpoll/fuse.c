/*
 * The FUSE provider: every event exactly, on a stock kernel.
 *
 * The process has one mount (fuse_mount.c) and holds its root directory; a descriptor is an open of
 * the one file in it.  All else is in that open file and its server: no table is kept here, so a
 * descriptor works wherever it goes, and a plain close(2) gives everything back.
 *
 * The server is a process by default.  On request ("fuse-thread") it is a thread of this one, which
 * makes a ctl cheaper, and ends with this process: whoever else has a descriptor then sees ERR, and
 * its ctl says -ENOTCONN.
 *
 *   H2  A forked child closes its copy of the thread's device, or the mount would look alive with
 *       nobody to serve it.
 *   H6  The root has a high number; and an open that was not of ours mounts anew.
 *   H7  After a change of the user the kernel refuses the ioctl.  The file system's number is still
 *       told, and if it is that of a mount of ours, eight bytes are written instead.
 *   H8  What is not known as ours gets no write, and of ioctls the module's own alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backends/vpoll/fuse.h"

enum {
    MOUNTS_REMEMBERED = 16, /* for H7: a process mounts anew only when something went wrong */
    STACK_SIZE = 128 * 1024,
};

/* How this process mounts and serves. */
struct way {
    bool any; /* the first that works */
    enum tocsin__vpoll_how how;
    bool in_process;
};

/* Guarded by tocsin__vpoll_lock(). */
static struct {
    bool is_mounted;
    bool has_thread;                   /* mount.dev is being served here */
    struct tocsin__vpoll_slots *slots; /* for the thread that starts */
    struct way way;
    struct tocsin__vpoll_mount mount;
    uint64_t numbers[MOUNTS_REMEMBERED]; /* of the file systems that were mounted */
    size_t mounts_count;
} fuse;

/* The number of the file system of @fd, without asking its server. */
static int filesystem_of(int fd, uint64_t *out_number)
{
    struct statx status;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &status) < 0) {
        return -errno;
    }
    *out_number = makedev(status.stx_dev_major, status.stx_dev_minor);
    return 0;
}

static bool is_remembered(uint64_t number)
{
    for (size_t i = 0; i < fuse.mounts_count && i < MOUNTS_REMEMBERED; i++) {
        if (fuse.numbers[i] == number) {
            return true;
        }
    }
    return false;
}

int tocsin__vpoll_fuse_is_ours(int fd)
{
    uint64_t number;
    int r = filesystem_of(fd, &number);

    if (r < 0) {
        return r;
    }
    tocsin__vpoll_lock();
    r = is_remembered(number) ? 1 : 0;
    tocsin__vpoll_unlock();
    return r;
}

static int error_of_ctl(int error)
{
    switch (error) {
    case EBADF:
    case EACCES:
    case ENOMEM:
        return -error;
    case ENOTCONN:
    case ECONNABORTED:
        return -ENOTCONN;
    default:
        return -ENOTTY;
    }
}

static int ctl_by_write(int fd, enum tocsin_vpoll_op op, uint32_t events)
{
    uint64_t word = (uint64_t)op << 32 | events;
    ssize_t written;

    do {
        written = write(fd, &word, sizeof(word));
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)sizeof(word) ? 0 : error_of_ctl(errno);
}

int tocsin__vpoll_kernel_ctl(int fd, enum tocsin_vpoll_op op, uint32_t events)
{
    int r;

    do {
        r = ioctl(fd, TOCSIN__VPOLL_IOC(op), (unsigned long)events);
        r = r < 0 ? error_of_ctl(errno) : 0;
    } while (r < 0 && errno == EINTR);
    if (r == -EACCES && tocsin__vpoll_fuse_is_ours(fd) == 1) {
        return ctl_by_write(fd, op, events);
    }
    return r;
}

static int identify(int fd, struct tocsin__vpoll_identity *identity)
{
    int r;

    do {
        r = ioctl(fd, TOCSIN__VPOLL_IOC_IDENTIFY, identity);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return -errno;
    }
    return identity->magic == TOCSIN__VPOLL_MAGIC ? 0 : -ENOTTY;
}

int tocsin__vpoll_fuse_identity(int fd, uint64_t *out_server, uint64_t *out_file)
{
    struct tocsin__vpoll_identity identity = {0};
    int r = identify(fd, &identity);

    if (r == 0) {
        *out_server = identity.server;
        *out_file = identity.file;
    }
    return r;
}

int tocsin__vpoll_kernel_check(int fd)
{
    struct tocsin__vpoll_identity identity = {0};
    int r = identify(fd, &identity);

    if (r == -ENOTTY || r == -EINVAL) {
        return tocsin__vpoll_kernel_ctl(fd, TOCSIN_VPOLL_ADD, 0); /* the module knows no more */
    }
    if (r == -EACCES && tocsin__vpoll_fuse_is_ours(fd) == 1) {
        return 0;
    }
    return r < 0 ? error_of_ctl(-r) : 0;
}

/* ---- The mount ------------------------------------------------------------------------------- */

static void *serve(void *arg)
{
    const struct tocsin__vpoll_mount *mount = arg;
    struct tocsin__vpoll_slots *slots = fuse.slots;
    int dev = mount->dev;
    uint64_t server = mount->server;

    /* The creator waits for an answer before it changes what was read here. */
    tocsin__vpoll_serve(dev, server, slots);
    tocsin__vpoll_lock();
    if (fuse.has_thread && fuse.mount.dev == dev) {
        fuse.has_thread = false;
    }
    close(dev);
    tocsin__vpoll_unlock();
    tocsin__vpoll_slots_free(slots);
    return NULL;
}

static int start_thread(struct tocsin__vpoll_mount *mount)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t old;
    int error;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* H5: the thread inherits it */
    error = pthread_create(&thread, &attributes, serve, mount);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

/* H1: one open and close, so that the kernel learns that there is no FLUSH. */
static int warm_up(const struct tocsin__vpoll_mount *mount)
{
    int fd;

    do {
        fd = openat(mount->root, TOCSIN__VPOLL_FILE, O_RDWR | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -errno;
    }
    close(fd);
    return 0;
}

static int mount_as(enum tocsin__vpoll_how how, bool in_process, struct tocsin__vpoll_why *out_why)
{
    uint64_t number = 0;
    int r = tocsin__vpoll_mount(how, in_process, &fuse.mount, out_why);

    if (r < 0) {
        return r;
    }
    if (in_process) {
        fuse.slots = tocsin__vpoll_slots_make();
        r = fuse.slots != NULL ? start_thread(&fuse.mount) : -ENOMEM;
        if (r < 0) {
            tocsin__vpoll_say(out_why, "thread: %s", strerror(-r));
            tocsin__vpoll_slots_free(fuse.slots);
            close(fuse.mount.dev);
            goto err_root;
        }
        fuse.has_thread = true;
    }
    r = warm_up(&fuse.mount);
    r = r < 0 ? r : filesystem_of(fuse.mount.root, &number);
    if (r < 0) {
        tocsin__vpoll_say(out_why, "first open: %s", strerror(-r));
        goto err_root;
    }
    fuse.numbers[fuse.mounts_count++ % MOUNTS_REMEMBERED] = number;
    fuse.is_mounted = true;
    return 0;

err_root:
    close(fuse.mount.root);
    return r;
}

static int mount_any(const struct way *way, struct tocsin__vpoll_why *out_why)
{
    static const enum tocsin__vpoll_how hows[] = {TOCSIN__VPOLL_DIRECT, TOCSIN__VPOLL_USERNS,
                                                  TOCSIN__VPOLL_FUSERMOUNT};
    struct tocsin__vpoll_why whys[3] = {{""}, {""}, {""}};
    int r = -EOPNOTSUPP;

    fuse.way = *way;
    if (!way->any) {
        return mount_as(way->how, way->in_process, out_why);
    }
    for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++) {
        r = mount_as(hows[i], way->in_process, &whys[i]);
        if (r == 0) {
            return 0;
        }
    }
    tocsin__vpoll_say(out_why, "%.80s, %.80s, %.80s", whys[0].text, whys[1].text, whys[2].text);
    return r;
}

/* Give the root back, unless its number is somebody else's by now. */
static void unmount(void)
{
    uint64_t number = 0;

    if (fuse.is_mounted && filesystem_of(fuse.mount.root, &number) == 0 && is_remembered(number)) {
        close(fuse.mount.root);
    }
    fuse.is_mounted = false;
    fuse.has_thread = false; /* it ends with the mount */
}

void tocsin__vpoll_fuse_forked(void)
{
    if (fuse.has_thread) {
        close(fuse.mount.dev); /* H2 */
        fuse.has_thread = false;
    }
}

/* ---- The provider ---------------------------------------------------------------------------- */

static int open_file(uint32_t events, uint32_t flags)
{
    struct tocsin__vpoll_identity identity = {.events = events, .set = 1};
    int cloexec = (flags & TOCSIN_VPOLL_CLOEXEC) != 0 ? O_CLOEXEC : 0;
    int fd;
    int r;

    do {
        fd = openat(fuse.mount.root, TOCSIN__VPOLL_FILE, O_RDWR | O_NOCTTY | O_NONBLOCK | cloexec);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -errno;
    }
    r = identify(fd, &identity);
    if (r == 0 && identity.server != fuse.mount.server) {
        r = -ENOTTY;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int create(uint32_t events, uint32_t flags)
{
    struct tocsin__vpoll_why why;
    struct way way = fuse.way;
    int r = fuse.is_mounted ? open_file(events, flags) : -ENOTCONN;

    if (r >= 0 || r == -EMFILE || r == -ENFILE || r == -ENOMEM) {
        return r;
    }
    /* The server died, the root was closed by somebody, or the user is another: mount anew. */
    unmount();
    r = mount_any(&way, &why);
    return r < 0 ? r : open_file(events, flags);
}

static int probe_any(struct tocsin__vpoll_why *out_why)
{
    return mount_any(&(struct way){.any = true}, out_why);
}

static int probe_direct(struct tocsin__vpoll_why *out_why)
{
    return mount_any(&(struct way){.how = TOCSIN__VPOLL_DIRECT}, out_why);
}

static int probe_userns(struct tocsin__vpoll_why *out_why)
{
    return mount_any(&(struct way){.how = TOCSIN__VPOLL_USERNS}, out_why);
}

static int probe_fusermount(struct tocsin__vpoll_why *out_why)
{
    return mount_any(&(struct way){.how = TOCSIN__VPOLL_FUSERMOUNT}, out_why);
}

static int probe_thread(struct tocsin__vpoll_why *out_why)
{
    return mount_any(&(struct way){.any = true, .in_process = true}, out_why);
}

const struct tocsin__vpoll_provider tocsin__vpoll_fuse = {
    .name = "fuse",
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_any,
    .create = create,
};

const struct tocsin__vpoll_provider tocsin__vpoll_fuse_direct = {
    .name = "fuse-direct",
    .on_request = true,
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_direct,
    .create = create,
};

const struct tocsin__vpoll_provider tocsin__vpoll_fuse_userns = {
    .name = "fuse-userns",
    .on_request = true,
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_userns,
    .create = create,
};

const struct tocsin__vpoll_provider tocsin__vpoll_fuse_fusermount = {
    .name = "fuse-fusermount",
    .on_request = true,
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_fusermount,
    .create = create,
};

const struct tocsin__vpoll_provider tocsin__vpoll_fuse_thread = {
    .name = "fuse-thread",
    .on_request = true,
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_thread,
    .create = create,
};
