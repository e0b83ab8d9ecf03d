/*
 * The answer to a request: a head, and a text or a part of a file to send after it.
 */
#ifndef HTTPD_REPLY_H
#define HTTPD_REPLY_H

#include "httpd/file.h"
#include "httpd/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REPLY_HEAD_MAX = 2048, /* the longest line is a Location: three times 255 bytes */
    REPLY_NOTE_MAX = 64,
};

struct reply {
    int file_fd; /* -1: the body is not a file's */
    uint64_t file_offset;
    uint64_t file_left;
    bool is_last;     /* the head says "Connection: close" */
    char *page;       /* for free(3), or NULL */
    const char *text; /* @page, @note, or NULL */
    size_t text_size;
    size_t head_size;
    char head[REPLY_HEAD_MAX];
    char note[REPLY_NOTE_MAX];
};

/* Empty; may be cleared. */
void reply_init(struct reply *reply);

/* Give back what @reply holds and make it empty. */
void reply_clear(struct reply *reply);

/*
 * Fill the empty @reply with the answer that @site has to the complete @request.  @is_last: the
 * connection ends after it, whatever the client would like.
 */
void reply_make(struct reply *reply, const struct site *site, const struct request *request,
                bool is_last);

/*
 * Fill the empty @reply with a refusal of a request that could not be understood or waited for,
 * after which the connection ends.  @request is as far as its parser came.
 */
void reply_make_refusal(struct reply *reply, const struct request *request, int status);

#endif
