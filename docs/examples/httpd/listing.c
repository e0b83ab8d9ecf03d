/*
 * A page that lists a directory.
 *
 * Names are whatever bytes somebody gave to a file, so each goes through one of two functions: into
 * the text with what HTML would understand escaped, into a link with all but the plainest encoded.
 */
#include "httpd/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LISTING_NAMES_MAX = 10000, /* the rest is left out, and the page says so */
};

struct names {
    char **names; /* room for LISTING_NAMES_MAX */
    size_t count;
    bool is_cut;
};

static void write_html(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", stream);
            break;
        case '<':
            fputs("&lt;", stream);
            break;
        case '>':
            fputs("&gt;", stream);
            break;
        case '"':
            fputs("&quot;", stream);
            break;
        default:
            fputc(*text, stream);
        }
    }
}

/* All is encoded but what RFC 3986 calls unreserved: ':' makes no scheme, '"' ends no attribute. */
void listing_write_link(FILE *stream, const char *name)
{
    for (; *name != '\0'; name++) {
        char c = *name;

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            strchr("-._~", c) != NULL) {
            fputc(c, stream);
        } else {
            fprintf(stream, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_directory(int directory_fd, const struct dirent *entry)
{
    struct stat status;

    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    return fstatat(directory_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* Read the names in @directory, sorted, directories with a slash at their end. */
static int read_names(DIR *directory, struct names *names)
{
    int error;

    for (;;) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(directory);
        error = errno;
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (names->count == LISTING_NAMES_MAX) {
            names->is_cut = true;
            break;
        }
        if (asprintf(&names->names[names->count], "%s%s", entry->d_name,
                     is_directory(dirfd(directory), entry) ? "/" : "") < 0) {
            return -ENOMEM;
        }
        names->count++;
    }
    qsort(names->names, names->count, sizeof(names->names[0]), compare_names);
    return -error;
}

static void write_page(FILE *stream, const char *path, const struct names *names)
{
    bool is_root = strcmp(path, ".") == 0;

    fputs("<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>", stream);
    fputs("Index of /", stream);
    write_html(stream, is_root ? "" : path);
    fputs("</title></head>\n<body>\n<h1>Index of /", stream);
    write_html(stream, is_root ? "" : path);
    fputs("</h1>\n<ul>\n", stream);
    if (!is_root) {
        fputs("<li><a href=\"../\">../</a></li>\n", stream);
    }
    for (size_t i = 0; i < names->count; i++) {
        char *name = names->names[i];
        size_t size = strlen(name);
        bool has_slash = name[size - 1] == '/';

        fputs("<li><a href=\"", stream);
        if (has_slash) {
            name[size - 1] = '\0';
        }
        listing_write_link(stream, name);
        if (has_slash) {
            name[size - 1] = '/';
            fputc('/', stream);
        }
        fputs("\">", stream);
        write_html(stream, name);
        fputs("</a></li>\n", stream);
    }
    fputs("</ul>\n", stream);
    if (names->is_cut) {
        fputs("<p>There are more than fit on this page.</p>\n", stream);
    }
    fputs("</body>\n</html>\n", stream);
}

int listing_make(int directory_fd, const char *path, char **out_page, size_t *out_size)
{
    struct names names = {0};
    char *page = NULL;
    size_t size = 0;
    FILE *stream;
    DIR *directory = fdopendir(directory_fd);
    int r = -ENOMEM;

    if (directory == NULL) {
        r = -errno;
        close(directory_fd);
        return r;
    }
    names.names = calloc(LISTING_NAMES_MAX, sizeof(names.names[0]));
    if (names.names == NULL) {
        goto out_directory;
    }
    r = read_names(directory, &names);
    if (r < 0) {
        goto out_names;
    }
    r = -ENOMEM;
    stream = open_memstream(&page, &size);
    if (stream == NULL) {
        goto out_names;
    }
    write_page(stream, path, &names);
    if (fclose(stream) != 0) {
        free(page);
        goto out_names;
    }
    *out_page = page;
    *out_size = size;
    r = 0;

out_names:
    for (size_t i = 0; i < names.count; i++) {
        free(names.names[i]);
    }
    free(names.names);
out_directory:
    closedir(directory);
    return r;
}
