/*
 * The answer to a request.
 *
 * Which one is decided in the order of the functions below: the method, the path, the file, its
 * directory's index or listing, the conditions, the range.  Here files are opened and looked at,
 * and directories read; that is local and short, so the loop waits for it.  What a file holds is
 * sent later, piece by piece, by the connection.
 */
#include "httpd/reply.h"

#include "httpd/condition.h"
#include "httpd/date.h"
#include "httpd/listing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

void reply_init(struct reply *reply)
{
    memset(reply, 0, offsetof(struct reply, head));
    reply->file_fd = -1;
}

void reply_clear(struct reply *reply)
{
    if (reply->file_fd >= 0) {
        close(reply->file_fd);
    }
    free(reply->page);
    reply_init(reply);
}

/* Add to the head.  REPLY_HEAD_MAX has room for the longest that this file can make. */
__attribute__((format(printf, 2, 3))) static void add(struct reply *reply, const char *format, ...)
{
    size_t room = sizeof(reply->head) - reply->head_size;
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(reply->head + reply->head_size, room, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= room) {
        abort();
    }
    reply->head_size += (size_t)size;
}

/* The lines that every head has. */
static void begin_head(struct reply *reply, int status, int64_t now_seconds)
{
    char date[DATE_SIZE];

    reply->head_size = 0;
    add(reply, "HTTP/1.1 %d %s\r\nServer: tocsin-httpd\r\n", status, reason_of(status));
    if (date_format(now_seconds, date)) {
        add(reply, "Date: %s\r\n", date);
    }
}

static void end_head(struct reply *reply, const struct request *request)
{
    if (reply->is_last) {
        add(reply, "Connection: close\r\n");
    } else if (request->minor_version == 0) {
        add(reply, "Connection: keep-alive\r\n");
    }
    add(reply, "\r\n");
}

/* A few words as the body.  @fields: more lines of the head, each with its end; or "". */
static void make_note(struct reply *reply, const struct request *request, int status,
                      const char *fields)
{
    int size = snprintf(reply->note, sizeof(reply->note), "%d %s\n", status, reason_of(status));

    begin_head(reply, status, (int64_t)time(NULL));
    add(reply, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%s", size, fields);
    end_head(reply, request);
    if (request->method != REQUEST_HEAD) {
        reply->text = reply->note;
        reply->text_size = (size_t)size;
    }
}

void reply_make_refusal(struct reply *reply, const struct request *request, int status)
{
    reply->is_last = true;
    make_note(reply, request, status, "");
}

/*
 * "/a/b" is the directory b: what its page links to hangs below "/a/b/".  Relative to the request,
 * that is "./b/", which can lead to no other host whatever the name is.
 */
static void make_redirect(struct reply *reply, const struct request *request, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *fields = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&fields, &size);

    if (stream == NULL) {
        make_note(reply, request, 503, "");
        return;
    }
    fputs("Location: ./", stream);
    listing_write_link(stream, slash != NULL ? slash + 1 : path);
    fputs("/\r\n", stream);
    if (fclose(stream) == 0) {
        make_note(reply, request, 301, fields);
    } else {
        make_note(reply, request, 503, "");
    }
    free(fields);
}

/* Takes @directory_fd. */
static void make_listing(struct reply *reply, const struct request *request, int directory_fd,
                         const char *path)
{
    size_t size;
    int r = listing_make(directory_fd, path, &reply->page, &size);

    if (r < 0) {
        make_note(reply, request, file_status(r), "");
        return;
    }
    begin_head(reply, 200, (int64_t)time(NULL));
    add(reply,
        "Content-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n",
        size);
    end_head(reply, request);
    if (request->method != REQUEST_HEAD) {
        reply->text = reply->page;
        reply->text_size = size;
    }
}

/* The lines that tell which version of a file this is. */
static void add_version(struct reply *reply, const struct version *version)
{
    int64_t seconds = version->modified_seconds;
    char date[DATE_SIZE];

    /* RFC 9110, 8.8.2.1: a file from the future would look changed for ever. */
    if (date_format(seconds < version->now_seconds ? seconds : version->now_seconds, date)) {
        add(reply, "Last-Modified: %s\r\n", date);
    }
    add(reply, "ETag: %s\r\nAccept-Ranges: bytes\r\n", version->tag);
}

/* Takes @file_fd, a regular file's. */
static void make_file(struct reply *reply, const struct request *request, int file_fd,
                      const struct stat *file, const char *path)
{
    struct version version;
    uint64_t offset = 0;
    uint64_t size = (uint64_t)file->st_size;
    int status;

    version_init(&version, file, (int64_t)time(NULL));
    status = condition_check(request, &version);
    if (status == 200) {
        status = condition_range(request, &version, &offset, &size);
    }
    if (status == 412 || status == 416) {
        char fields[64] = "";

        if (status == 416) {
            snprintf(fields, sizeof(fields), "Content-Range: bytes */%" PRIu64 "\r\n", size);
        }
        make_note(reply, request, status, fields);
        close(file_fd);
        return;
    }
    begin_head(reply, status, version.now_seconds);
    add_version(reply, &version);
    if (status == 206) {
        add(reply, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", offset,
            offset + size - 1, version.size);
    }
    if (status != 304) {
        add(reply, "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", file_type(path), size);
        add(reply, "X-Content-Type-Options: nosniff\r\n");
    }
    end_head(reply, request);
    if (status == 304 || request->method == REQUEST_HEAD || size == 0) {
        close(file_fd);
        return;
    }
    reply->file_fd = file_fd;
    reply->file_offset = offset;
    reply->file_left = size;
}

/* Takes @directory_fd.  @path has room for the index's name. */
static void make_directory(struct reply *reply, const struct site *site,
                           const struct request *request, int directory_fd, char *path)
{
    size_t path_size = strlen(path);
    struct stat file;
    int file_fd;

    /*
     * From the root, and not from the directory: the index may be a link to somewhere else inside.
     */
    memcpy(path + path_size, "/index.html", sizeof("/index.html"));
    file_fd = file_open(site, path);
    if (file_fd >= 0 && fstat(file_fd, &file) == 0 && S_ISREG(file.st_mode)) {
        close(directory_fd);
        make_file(reply, request, file_fd, &file, path);
        return;
    }
    if (file_fd >= 0) {
        close(file_fd);
    } else if (file_status(file_fd) != 404) {
        close(directory_fd);
        make_note(reply, request, file_status(file_fd), "");
        return;
    }
    path[path_size] = '\0';
    make_listing(reply, request, directory_fd, path);
}

static void make_path(struct reply *reply, const struct site *site, const struct request *request)
{
    char path[FILE_PATH_MAX];
    bool wants_directory;
    struct stat file;
    int status = file_path(request->path, path, &wants_directory);
    int fd;

    if (status != 0) {
        make_note(reply, request, status, "");
        return;
    }
    fd = file_open(site, path);
    if (fd < 0) {
        make_note(reply, request, file_status(fd), "");
        return;
    }
    if (fstat(fd, &file) != 0) {
        make_note(reply, request, 500, "");
    } else if (S_ISDIR(file.st_mode) && wants_directory) {
        make_directory(reply, site, request, fd, path);
        return;
    } else if (S_ISDIR(file.st_mode)) {
        make_redirect(reply, request, path);
    } else if (S_ISREG(file.st_mode) && !wants_directory) {
        make_file(reply, request, fd, &file, path);
        return;
    } else {
        make_note(reply, request, 404, ""); /* "file.txt/", a FIFO, a device */
    }
    close(fd);
}

void reply_make(struct reply *reply, const struct site *site, const struct request *request,
                bool is_last)
{
    reply->is_last = is_last || !request->keep_alive;

    switch (request->method) {
    case REQUEST_GET:
    case REQUEST_HEAD:
        make_path(reply, site, request);
        return;
    case REQUEST_KNOWN:
        make_note(reply, request, 405, "Allow: GET, HEAD\r\n");
        return;
    case REQUEST_UNKNOWN:
        make_note(reply, request, 501, "");
        return;
    }
}
