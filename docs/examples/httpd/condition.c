/*
 * Conditional and range requests.
 *
 * A file's version is its time of change and its size.  That serves as the entity tag, to the
 * nanosecond; a date says the same to the second, so it is trusted to tell two versions apart (to
 * be a "strong" validator) only when that second is over.
 */
#include "httpd/condition.h"

#include "httpd/date.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void version_init(struct version *version, const struct stat *file, int64_t now_seconds)
{
    uint64_t modified_ns =
        (uint64_t)file->st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)file->st_mtim.tv_nsec;

    version->modified_seconds = file->st_mtim.tv_sec;
    version->now_seconds = now_seconds;
    version->size = (uint64_t)file->st_size;
    snprintf(version->tag, sizeof(version->tag), "\"%" PRIx64 "-%" PRIx64 "\"", modified_ns,
             version->size);
}

/*
 * Is @tag among the entity tags of all fields called @name?  "*" is any.  A weak comparison takes
 * W/"x" for "x"; a strong one takes it for nothing.
 */
static bool field_has_tag(const struct request *request, const char *name, const char *tag,
                          bool is_weak)
{
    for (size_t i = 0; request_field(request, name, i).at != NULL; i++) {
        struct text list = request_field(request, name, i);
        struct text member;

        /* Our own tags have no comma inside; one of somebody else's that has is not ours. */
        while (text_next_member(&list, &member)) {
            if (is_weak && member.size > 2 && memcmp(member.at, "W/", 2) == 0) {
                member.at += 2;
                member.size -= 2;
            }
            if (text_is(member, "*") ||
                (member.size == strlen(tag) && memcmp(member.at, tag, member.size) == 0)) {
                return true;
            }
        }
    }
    return false;
}

static bool field_date(const struct request *request, const char *name,
                       const struct version *version, int64_t *out_seconds)
{
    struct text value = request_field(request, name, 0);

    return value.at != NULL && date_parse(value, version->now_seconds, out_seconds);
}

/* The order is that of RFC 9110, 13.2.2: a tag is better than a date and overrules it. */
int condition_check(const struct request *request, const struct version *version)
{
    int64_t seconds;

    if (request_field(request, "if-match", 0).at != NULL) {
        if (!field_has_tag(request, "if-match", version->tag, false)) {
            return 412;
        }
    } else if (field_date(request, "if-unmodified-since", version, &seconds)) {
        if (version->modified_seconds > seconds) {
            return 412;
        }
    }
    if (request_field(request, "if-none-match", 0).at != NULL) {
        return field_has_tag(request, "if-none-match", version->tag, true) ? 304 : 200;
    }
    if (field_date(request, "if-modified-since", version, &seconds)) {
        return version->modified_seconds <= seconds ? 304 : 200;
    }
    return 200;
}

/* Is the rest that the client asks for a rest of this version? */
static bool if_range_holds(const struct request *request, const struct version *version)
{
    struct text value = request_field(request, "if-range", 0);
    int64_t seconds;

    if (value.at == NULL) {
        return true;
    }
    if (date_parse(value, version->now_seconds, &seconds)) {
        return version->modified_seconds == seconds && seconds < version->now_seconds;
    }
    return value.size == strlen(version->tag) && memcmp(value.at, version->tag, value.size) == 0;
}

/* Take digits off @text, as many as there are; a number beyond all bounds becomes the greatest. */
static bool take_digits(struct text *text, uint64_t *out_number)
{
    uint64_t number = 0;
    size_t digits = 0;

    while (digits < text->size && text->at[digits] >= '0' && text->at[digits] <= '9') {
        uint64_t digit = (uint64_t)(text->at[digits++] - '0');

        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    text->at += digits;
    text->size -= digits;
    *out_number = number;
    return digits > 0;
}

/* "bytes=0-99", "bytes=100-", "bytes=-50" */
int condition_range(const struct request *request, const struct version *version,
                    uint64_t *out_offset, uint64_t *out_size)
{
    struct text range = request_field(request, "range", 0);
    uint64_t first;
    uint64_t last;
    bool has_first;
    bool has_last;

    if (request->method != REQUEST_GET || range.size < 6 ||
        !text_is((struct text){range.at, 6}, "bytes=") ||
        request_field(request, "range", 1).at != NULL || !if_range_holds(request, version)) {
        return 200;
    }
    range.at += 6;
    range.size -= 6;
    has_first = take_digits(&range, &first);
    if (range.size == 0 || range.at[0] != '-') {
        return 200;
    }
    range.at++;
    range.size--;
    has_last = take_digits(&range, &last);
    if (range.size > 0 || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return 200;
    }
    if (!has_first) {
        if (last == 0) {
            return 416;
        }
        if (version->size == 0) {
            return 200; /* all of nothing has no first byte to name in a Content-Range */
        }
        *out_size = last < version->size ? last : version->size;
        *out_offset = version->size - *out_size;
        return 206;
    }
    if (first >= version->size) {
        return 416;
    }
    if (!has_last || last >= version->size) {
        last = version->size - 1;
    }
    *out_offset = first;
    *out_size = last - first + 1;
    return 206;
}
