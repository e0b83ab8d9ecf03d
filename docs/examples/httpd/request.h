/*
 * An HTTP/1.x request head, from bytes: no socket, no file, no clock.
 */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REQUEST_LINE_MAX = 4096, /* bytes of the first line; more is 414 */
    REQUEST_HEAD_MAX = 8192, /* bytes of the whole head; more is 431 */
    REQUEST_FIELDS_MAX = 64, /* more is 431 */
};

/* A piece of the head, not terminated; at NULL: there is none. */
struct text {
    const char *at;
    size_t size;
};

enum request_method {
    REQUEST_GET,
    REQUEST_HEAD,
    REQUEST_KNOWN,   /* a method that this server knows of, and refuses: 405 */
    REQUEST_UNKNOWN, /* 501 */
};

struct request_field {
    struct text name;
    struct text value; /* without white space around it */
};

struct request {
    enum request_method method;
    unsigned minor_version; /* 0 or 1 */
    struct text path;       /* still encoded; begins with a slash if the method is GET or HEAD */
    bool keep_alive;
    bool expects_continue;
    uint64_t content_length; /* 0 if there is none; UINT64_MAX if it is beyond all bounds */
    size_t head_size;        /* bytes of the head with its empty line, once it is complete */

    /* The parser's. */
    bool has_line;
    size_t line_start; /* of the line that is not complete yet */
    size_t scanned;    /* bytes that were searched for the line's end */

    size_t fields_count;
    /* Last: request_init() leaves them as they are. */
    struct request_field fields[REQUEST_FIELDS_MAX];
};

enum {
    REQUEST_MORE = 0, /* the head is not complete */
    REQUEST_DONE = 1,
};

/* Begin a new head. */
void request_init(struct request *request);

/*
 * Go on with the head that begins at @data, of which @size bytes (at most REQUEST_HEAD_MAX) have
 * come so far.  No byte is looked at twice, however small the pieces.
 *
 * Memory:  the fields of @request point into @data, which must not move until the next
 *          request_init().
 * Returns: REQUEST_MORE, REQUEST_DONE, or the HTTP status to refuse it with; where the next request
 *          begins is then unknown, so the connection must end.
 */
int request_parse(struct request *request, const char *data, size_t size);

/* The value of the field called @name (lower case), the @index-th of that name; or at NULL. */
struct text request_field(const struct request *request, const char *name, size_t index);

/* True if @text is @lower (in lower case), whatever the case of @text. */
bool text_is(struct text text, const char *lower);

/*
 * The next member of a comma-separated list, without space around it, cut off @list; false: no
 * more.
 */
bool text_next_member(struct text *list, struct text *out_member);

#endif
