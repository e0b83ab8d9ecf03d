/*
 * The providers of a kernel that knows vpoll: a patched eventfd, and the module's /dev/vpoll.
 *
 * Written to the interfaces that their documentation describes, and tested against FUSE files that
 * speak them; they have not been run on such a kernel.
 *
 * An eventfd does not tell whether it is one of ours, and an ordinary one takes the eight bytes of
 * a ctl as a count (H8).  So this process's table has those that it made, by the number that the
 * kernel gives to each eventfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/vpoll/provider.h"

enum {
    FLAG_VPOLL = 1 << 1, /* EFD_VPOLL */
};

/* "eventfd-id: 17" of /proc/self/fdinfo: Linux 5.2. */
static int identify_eventfd(int fd, uint64_t *out_identity)
{
    char path[40];
    char line[80];
    FILE *file;
    unsigned long long value = 0;
    int r = -ENOTTY;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    while (r < 0 && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "eventfd-id: %llu", &value) == 1) {
            *out_identity = value;
            r = 0;
        }
    }
    fclose(file);
    return r;
}

struct tocsin__vpoll_calls tocsin__vpoll_calls = {.eventfd = eventfd, .identify = identify_eventfd};

static int eventfd_identify(int fd, uint64_t *out_identity)
{
    return tocsin__vpoll_calls.identify(fd, out_identity);
}

static int eventfd_ctl(struct tocsin__vpoll_object *object, int fd, enum tocsin_vpoll_op op,
                       uint32_t events)
{
    uint64_t word = (uint64_t)op << 32 | events;
    ssize_t written;

    (void)object;
    do {
        written = write(fd, &word, sizeof(word));
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)sizeof(word) ? 0 : -ENOTCONN;
}

static void eventfd_forget(struct tocsin__vpoll_object *object)
{
    free(object);
}

static const struct tocsin__vpoll_object_ops eventfd_ops = {
    .identify = eventfd_identify,
    .ctl = eventfd_ctl,
    .forget = eventfd_forget,
};

/* By behaviour: an ordinary eventfd gives its count once. */
static int probe_eventfd(struct tocsin__vpoll_why *out_why)
{
    int fd = tocsin__vpoll_calls.eventfd(TOCSIN_VPOLL_IN, FLAG_VPOLL | EFD_CLOEXEC);
    uint64_t first = 0;
    uint64_t second = 0;
    bool holds;

    if (fd < 0) {
        tocsin__vpoll_say(out_why, "the kernel has no EFD_VPOLL (%s)", strerror(errno));
        return -EOPNOTSUPP;
    }
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    holds = read(fd, &first, sizeof(first)) == (ssize_t)sizeof(first) &&
            read(fd, &second, sizeof(second)) == (ssize_t)sizeof(second) &&
            first == TOCSIN_VPOLL_IN && second == TOCSIN_VPOLL_IN;
    close(fd);
    if (!holds) {
        tocsin__vpoll_say(out_why, "EFD_VPOLL means something else here");
        return -EOPNOTSUPP;
    }
    return 0;
}

static int create_eventfd(uint32_t events, uint32_t flags)
{
    int cloexec = (flags & TOCSIN_VPOLL_CLOEXEC) != 0 ? EFD_CLOEXEC : 0;
    struct tocsin__vpoll_object *object = malloc(sizeof(*object));
    int fd;
    int r;

    if (object == NULL) {
        return -ENOMEM;
    }
    fd = tocsin__vpoll_calls.eventfd(events, FLAG_VPOLL | cloexec);
    if (fd < 0) {
        r = -errno;
        goto err_object;
    }
    object->ops = &eventfd_ops;
    r = tocsin__vpoll_calls.identify(fd, &object->identity);
    r = r < 0 ? r : tocsin__vpoll_table_put(fd, object);
    if (r < 0) {
        goto err_fd;
    }
    return fd;

err_fd:
    close(fd);
err_object:
    free(object);
    return r;
}

/* ---- /dev/vpoll ------------------------------------------------------------------------------ */

static const char *device_path(void)
{
    const char *path = secure_getenv("TOCSIN_VPOLL_DEVICE");

    return path != NULL ? path : "/dev/vpoll";
}

static int create_device(uint32_t events, uint32_t flags)
{
    int cloexec = (flags & TOCSIN_VPOLL_CLOEXEC) != 0 ? O_CLOEXEC : 0;
    int fd = open(device_path(), O_RDWR | O_NOCTTY | cloexec);
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = tocsin__vpoll_kernel_ctl(fd, TOCSIN_VPOLL_SET, events);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int probe_device(struct tocsin__vpoll_why *out_why)
{
    int fd = create_device(TOCSIN_VPOLL_IN | TOCSIN_VPOLL_HUP, TOCSIN_VPOLL_CLOEXEC);
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    bool holds;

    if (fd < 0) {
        tocsin__vpoll_say(out_why, "%s: %s", device_path(), strerror(-fd));
        return -EOPNOTSUPP;
    }
    holds = poll(&one, 1, 0) == 1 && one.revents == (POLLIN | POLLHUP);
    close(fd);
    if (!holds) {
        tocsin__vpoll_say(out_why, "%s is not the vpoll module's", device_path());
        return -EOPNOTSUPP;
    }
    return 0;
}

const struct tocsin__vpoll_provider tocsin__vpoll_eventfd = {
    .name = "eventfd",
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_eventfd,
    .create = create_eventfd,
};

const struct tocsin__vpoll_provider tocsin__vpoll_device = {
    .name = "device",
    .exact = TOCSIN_VPOLL_ALL,
    .events = TOCSIN_VPOLL_ALL,
    .probe = probe_device,
    .create = create_device,
};
