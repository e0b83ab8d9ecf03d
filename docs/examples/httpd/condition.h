/*
 * Conditional and range requests (RFC 9110, 13 and 14).
 */
#ifndef HTTPD_CONDITION_H
#define HTTPD_CONDITION_H

#include "httpd/request.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
    CONDITION_TAG_SIZE = 48,
};

/* What tells one version of a file from another. */
struct version {
    char tag[CONDITION_TAG_SIZE]; /* the entity tag, in its quotes */
    int64_t modified_seconds;
    int64_t now_seconds; /* the Date of the reply */
    uint64_t size;
};

void version_init(struct version *version, const struct stat *file, int64_t now_seconds);

/*
 * Do the preconditions of @request hold for @version?
 *
 * Returns: 200: go on; 304: the client has it already; 412: the request was meant for another one.
 */
int condition_check(const struct request *request, const struct version *version);

/*
 * Which part of the file does @request ask for?
 *
 * Returns: 206, and the part in *@out_offset and *@out_size (at least one byte); 200: all of it:
 *          there is no Range, or none that is understood (several ranges at once are not), or
 *          If-Range says no; 416: a part that does not exist.
 */
int condition_range(const struct request *request, const struct version *version,
                    uint64_t *out_offset, uint64_t *out_size);

#endif
