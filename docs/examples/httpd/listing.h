/*
 * A page that lists a directory.
 */
#ifndef HTTPD_LISTING_H
#define HTTPD_LISTING_H

#include <stddef.h>
#include <stdio.h>

/*
 * Write the page for the directory @directory_fd, which the visitor knows as @path ("." is the
 * root).
 *
 * Memory:  @directory_fd is used up.  *@out_page is for free(3).
 * Returns: 0, or negative errno.
 */
int listing_make(int directory_fd, const char *path, char **out_page, size_t *out_size);

/* Write @name so that it is one segment of a link's path. */
void listing_write_link(FILE *stream, const char *name);

#endif
