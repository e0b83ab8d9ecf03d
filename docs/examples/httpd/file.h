/*
 * From the path of a request to a file below one directory.
 */
#ifndef HTTPD_FILE_H
#define HTTPD_FILE_H

#include "httpd/request.h"

#include <stdbool.h>

enum {
    FILE_PATH_MAX = REQUEST_LINE_MAX + 16, /* a decoded path, with "/index.html" and a zero */
};

/* What is served. */
struct site {
    int root_fd;
    /* Also what happens where the kernel has no openat2(2) (before Linux 5.6, some sandboxes). */
    bool refuse_symlinks;
};

/*
 * Decode @path, once, and resolve "." and ".." and empty segments in it by its letters alone.
 *
 * Returns: 0, the path without its first slash in @out_path ("." is the root), and in
 *          *@out_directory whether it asks for a directory ("a/", "a/."); or an HTTP status: 400
 *          for a broken escape, a NUL, or a ".." above the root; 404 for an encoded slash, which no
 *          file's name has.
 */
int file_path(struct text path, char out_path[FILE_PATH_MAX], bool *out_directory);

/*
 * Open the file @path (as file_path() made it) of @site for reading, so that nothing outside of it
 * is ever reached, by symbolic links neither.  Does not block on a FIFO.
 *
 * Returns: the descriptor, close-on-exec.
 * Errors:  those of openat2(2); -EXDEV or -ELOOP for a link that is not followed.
 */
int file_open(const struct site *site, const char *path);

/* The HTTP status for an error of file_open(). */
int file_status(int error);

/* The media type that the name's ending stands for. */
const char *file_type(const char *path);

#endif
