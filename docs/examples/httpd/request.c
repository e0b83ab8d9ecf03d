/*
 * An HTTP/1.x request head, from bytes (RFC 9112).
 *
 * The head is taken line by line, each as soon as it is complete, so a bad request is refused at
 * its first bad line.  What two readers of one request could understand differently is how requests
 * are smuggled past a proxy (RFC 9112, 11), so nothing is repaired here:
 *
 *   - lines end in CR LF; a lone LF, a lone CR or a NUL is refused
 *   - no white space before a field's colon, no line folded onto the next
 *   - one Content-Length at most, digits only, and never together with Transfer-Encoding
 *   - exactly one Host in HTTP/1.1, none or one in HTTP/1.0
 */
#include "httpd/request.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return to_lower(c) >= 'a' && to_lower(c) <= 'z';
}

/* What names of methods and fields are made of (RFC 9110, 5.6.2).  strchr would find the NUL. */
static bool is_token_char(char c)
{
    return is_digit(c) || is_letter(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_token_char(text.at[i])) {
            return false;
        }
    }
    return text.size > 0;
}

/* Cut what is before @separator off @text; all of it if there is none. */
static struct text text_cut(struct text *text, char separator)
{
    const char *end = text->size > 0 ? memchr(text->at, separator, text->size) : NULL;
    struct text head = *text;

    if (end == NULL) {
        text->at += text->size;
        text->size = 0;
        return head;
    }
    head.size = (size_t)(end - text->at);
    text->at += head.size + 1;
    text->size -= head.size + 1;
    return head;
}

static struct text text_trim(struct text text)
{
    while (text.size > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.size--;
    }
    while (text.size > 0 && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

bool text_is(struct text text, const char *lower)
{
    if (text.size != strlen(lower)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (to_lower(text.at[i]) != lower[i]) {
            return false;
        }
    }
    return true;
}

bool text_next_member(struct text *list, struct text *out_member)
{
    while (list->size > 0) {
        struct text member = text_trim(text_cut(list, ','));

        if (member.size > 0) {
            *out_member = member;
            return true;
        }
    }
    return false;
}

struct text request_field(const struct request *request, const char *name, size_t index)
{
    for (size_t i = 0; i < request->fields_count; i++) {
        if (text_is(request->fields[i].name, name) && index-- == 0) {
            return request->fields[i].value;
        }
    }
    return (struct text){NULL, 0};
}

static bool field_has_member(const struct request *request, const char *name, const char *lower)
{
    struct text member;

    for (size_t i = 0; request_field(request, name, i).at != NULL; i++) {
        struct text list = request_field(request, name, i);

        while (text_next_member(&list, &member)) {
            if (text_is(member, lower)) {
                return true;
            }
        }
    }
    return false;
}

static enum request_method method_of(struct text text)
{
    static const char *const known[] = {"POST",    "PUT",     "DELETE", "PATCH",
                                        "OPTIONS", "CONNECT", "TRACE"};

    if (text.size == 3 && memcmp(text.at, "GET", 3) == 0) {
        return REQUEST_GET;
    }
    if (text.size == 4 && memcmp(text.at, "HEAD", 4) == 0) {
        return REQUEST_HEAD;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (text.size == strlen(known[i]) && memcmp(text.at, known[i], text.size) == 0) {
            return REQUEST_KNOWN;
        }
    }
    return REQUEST_UNKNOWN;
}

/*
 * Find the path in a target: "/path?query", or "http://host/path?query" as proxies ask for it.
 * Other forms ("*", "host:port") belong to methods that are refused anyway.
 */
static int parse_target(struct request *request, struct text target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < target.size; i++) {
        if (target.at[i] <= ' ' || target.at[i] > '~' || target.at[i] == '#') {
            return 400;
        }
    }
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t size = strlen(schemes[i]);

        if (target.size > size && text_is((struct text){target.at, size}, schemes[i])) {
            size_t host = strcspn(target.at + size, "/? @");

            if (host == 0 || target.at[size + host] == '@') {
                return 400;
            }
            target.at += size + host;
            target.size -= size + host;
            if (target.size == 0 || target.at[0] == '?') {
                target = (struct text){"/", 1};
            }
            break;
        }
    }
    request->path = text_cut(&target, '?');
    if (request->method == REQUEST_GET || request->method == REQUEST_HEAD) {
        return request->path.size > 0 && request->path.at[0] == '/' ? 0 : 400;
    }
    return 0;
}

/* "GET /path HTTP/1.1" */
static int parse_request_line(struct request *request, struct text line)
{
    struct text method = text_cut(&line, ' ');
    struct text target = text_cut(&line, ' ');
    int status;

    if (!is_token(method) || target.size == 0 || line.size != 8 ||
        memcmp(line.at, "HTTP/", 5) != 0 || !is_digit(line.at[5]) || line.at[6] != '.' ||
        !is_digit(line.at[7])) {
        return 400;
    }
    request->method = method_of(method);
    status = parse_target(request, target);
    if (status != 0) {
        return status;
    }
    if (line.at[5] != '1') {
        return 505;
    }
    request->minor_version = line.at[7] == '0' ? 0 : 1;
    request->has_line = true;
    return 0;
}

/* "Name: value" */
static int parse_field_line(struct request *request, struct text line)
{
    bool has_colon = memchr(line.at, ':', line.size) != NULL;
    struct text name = text_cut(&line, ':');
    struct text value = text_trim(line);

    if (!has_colon || !is_token(name)) {
        return 400;
    }
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.at[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return 400;
        }
    }
    if (request->fields_count == REQUEST_FIELDS_MAX) {
        return 431;
    }
    request->fields[request->fields_count++] = (struct request_field){name, value};
    return 0;
}

static int check_host(const struct request *request)
{
    struct text host = request_field(request, "host", 0);

    if (host.at == NULL) {
        return request->minor_version == 0 ? 0 : 400;
    }
    if (request_field(request, "host", 1).at != NULL) {
        return 400;
    }
    for (size_t i = 0; i < host.size; i++) {
        char c = host.at[i];

        if (!is_digit(c) && !is_letter(c) && strchr("-._~%!$&'()*+,;=:[]", c) == NULL) {
            return 400;
        }
    }
    return 0;
}

/* How long the body is: what requests are smuggled with. */
static int check_framing(struct request *request)
{
    struct text length = request_field(request, "content-length", 0);

    if (request_field(request, "transfer-encoding", 0).at != NULL) {
        return length.at != NULL || request->minor_version == 0 ? 400 : 501;
    }
    if (length.at == NULL) {
        return 0;
    }
    if (length.size == 0 || request_field(request, "content-length", 1).at != NULL) {
        return 400;
    }
    for (size_t i = 0; i < length.size; i++) {
        if (!is_digit(length.at[i])) {
            return 400;
        }
        if (request->content_length > UINT64_MAX / 10 - 1) {
            request->content_length = UINT64_MAX;
        } else {
            request->content_length = request->content_length * 10 + (uint64_t)(length.at[i] - '0');
        }
    }
    return 0;
}

/* The empty line has come. */
static int finish(struct request *request)
{
    struct text expect = request_field(request, "expect", 0);
    int status = check_host(request);

    if (status == 0) {
        status = check_framing(request);
    }
    if (status != 0) {
        return status;
    }
    if (expect.at != NULL && request->minor_version > 0) {
        if (!text_is(expect, "100-continue")) {
            return 417;
        }
        request->expects_continue = true;
    }
    request->keep_alive =
        !field_has_member(request, "connection", "close") &&
        (request->minor_version > 0 || field_has_member(request, "connection", "keep-alive"));
    return REQUEST_DONE;
}

/* @line has no line end. */
static int parse_line(struct request *request, struct text line)
{
    if (!request->has_line) {
        /* RFC 9112, 2.2: empty lines before a request are left over from an older client's body. */
        return line.size == 0 ? 0 : parse_request_line(request, line);
    }
    return line.size == 0 ? finish(request) : parse_field_line(request, line);
}

void request_init(struct request *request)
{
    memset(request, 0, offsetof(struct request, fields));
}

int request_parse(struct request *request, const char *data, size_t size)
{
    while (request->scanned < size) {
        const char *end = memchr(data + request->scanned, '\n', size - request->scanned);
        struct text line = {data + request->line_start, 0};
        int status;

        /* A TLS greeting, say: there may never be a line to wait for. */
        if (!request->has_line && !is_token_char(line.at[0]) && line.at[0] != '\r') {
            return 400;
        }
        if (end == NULL) {
            request->scanned = size;
            break;
        }
        line.size = (size_t)(end - line.at);
        if (!request->has_line && line.size > REQUEST_LINE_MAX) {
            return 414;
        }
        if (line.size == 0 || line.at[line.size - 1] != '\r') {
            return 400;
        }
        line.size--;
        request->scanned += (size_t)(end + 1 - (data + request->scanned));
        request->line_start = request->scanned;
        status = parse_line(request, line);
        if (status == REQUEST_DONE) {
            request->head_size = request->line_start;
        }
        if (status != 0) {
            return status;
        }
    }
    if (!request->has_line && request->scanned - request->line_start > REQUEST_LINE_MAX) {
        return 414;
    }
    if (size >= REQUEST_HEAD_MAX) {
        return request->has_line ? 431 : 414;
    }
    return REQUEST_MORE;
}
