/*
 * From the path of a request to a file below one directory.
 *
 * Two fences, each enough by itself.  The path is decoded exactly once and its ".." are resolved
 * before any file is touched; and the kernel is asked to resolve what is left beneath the root
 * (RESOLVE_BENEATH), so that a symbolic link may lead around inside, and never out, even if
 * somebody moves directories meanwhile.
 */
#include "httpd/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPEN_TRIES_MAX = 8,
    /* O_NONBLOCK: opening a FIFO would wait for its writer, and the loop with it. */
    OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode "%41" and the like.  Returns 0 or an HTTP status. */
static int decode(struct text path, char out[FILE_PATH_MAX], size_t *out_size)
{
    size_t size = 0;

    if (path.size > REQUEST_LINE_MAX) {
        return 414;
    }
    for (size_t i = 0; i < path.size; i++) {
        char c = path.at[i];

        if (c == '%') {
            int high = i + 2 < path.size ? hex_value(path.at[i + 1]) : -1;
            int low = i + 2 < path.size ? hex_value(path.at[i + 2]) : -1;

            if (high < 0 || low < 0) {
                return 400;
            }
            c = (char)(high * 16 + low);
            if (c == '\0') {
                return 400;
            }
            if (c == '/') {
                return 404;
            }
            i += 2;
        }
        out[size++] = c;
    }
    *out_size = size;
    return 0;
}

int file_path(struct text path, char out_path[FILE_PATH_MAX], bool *out_directory)
{
    char decoded[FILE_PATH_MAX];
    size_t size;
    size_t length = 0; /* of out_path: segments, each with a slash before it */
    int status = decode(path, decoded, &size);

    if (status != 0) {
        return status;
    }
    *out_directory = true;
    for (size_t start = 0; start < size;) {
        const char *segment = decoded + start;
        const char *end = memchr(segment, '/', size - start);
        size_t segment_size = end != NULL ? (size_t)(end - segment) : size - start;
        bool is_up = segment_size == 2 && memcmp(segment, "..", 2) == 0;

        start += segment_size + 1;
        if (is_up) {
            if (length == 0) {
                return 400;
            }
            while (out_path[--length] != '/') {
            }
        } else if (segment_size > 0 && !(segment_size == 1 && segment[0] == '.')) {
            out_path[length++] = '/';
            memcpy(out_path + length, segment, segment_size);
            length += segment_size;
            *out_directory = end != NULL;
            continue;
        }
        *out_directory = true;
    }
    if (length == 0) {
        memcpy(out_path, ".", 2);
        return 0;
    }
    memmove(out_path, out_path + 1, length - 1);
    out_path[length - 1] = '\0';
    return 0;
}

/* Open by walking from name to name, following no link. */
static int open_by_walking(int root_fd, const char *path)
{
    char name[FILE_PATH_MAX];
    int directory_fd = root_fd;

    for (;;) {
        size_t size = strcspn(path, "/");
        bool is_last = path[size] == '\0';
        int fd;
        int error;

        memcpy(name, path, size);
        name[size] = '\0';
        fd = openat(directory_fd, name,
                    is_last ? OPEN_FLAGS | O_NOFOLLOW
                            : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        error = errno;
        if (directory_fd != root_fd) {
            close(directory_fd);
        }
        if (fd < 0) {
            return -error;
        }
        if (is_last) {
            return fd;
        }
        directory_fd = fd;
        path += size + 1;
    }
}

int file_open(const struct site *site, const char *path)
{
    struct open_how how = {
        .flags = OPEN_FLAGS,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };

    if (site->refuse_symlinks) {
        return open_by_walking(site->root_fd, path);
    }
    /* EAGAIN: somebody renamed something on the way, and the kernel could not vouch for "..". */
    for (int tries = 0; tries < OPEN_TRIES_MAX; tries++) {
        int fd = (int)syscall(SYS_openat2, site->root_fd, path, &how, sizeof(how));

        if (fd >= 0) {
            return fd;
        }
        if (errno == ENOSYS) {
            return open_by_walking(site->root_fd, path);
        }
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
    }
    return -EAGAIN;
}

int file_status(int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return 403;
    case -EAGAIN:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return 503;
    case -ENOENT:
    case -ENOTDIR:
    case -ELOOP:
    case -EXDEV:
    case -ENAMETOOLONG:
    case -ENXIO: /* a socket */
    case -ENODEV:
        return 404;
    default:
        return 500;
    }
}

const char *file_type(const char *path)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {"avif", "image/avif"},
        {"c", "text/plain; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"gif", "image/gif"},
        {"gz", "application/gzip"},
        {"h", "text/plain; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"html", "text/html; charset=utf-8"},
        {"ico", "image/vnd.microsoft.icon"},
        {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},
        {"js", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"md", "text/markdown; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"ogg", "audio/ogg"},
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"svg", "image/svg+xml"},
        {"tar", "application/x-tar"},
        {"txt", "text/plain; charset=utf-8"},
        {"wasm", "application/wasm"},
        {"wav", "audio/wav"},
        {"webm", "video/webm"},
        {"webp", "image/webp"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"xml", "application/xml"},
        {"zip", "application/zip"},
    };
    const char *dot = strrchr(path, '.');

    if (dot != NULL && strchr(dot, '/') == NULL) {
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            if (strcasecmp(dot + 1, types[i].ending) == 0) {
                return types[i].type;
            }
        }
    }
    return "application/octet-stream";
}
