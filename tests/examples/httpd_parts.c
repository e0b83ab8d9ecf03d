/*
 * The parts of httpd that need no server: its parser, paths, dates and ranges.
 *
 * What is to hold for all inputs is tried on many that a seed makes: that a request is understood
 * the same in whatever pieces it arrives, and that no path, however encoded, keeps a way up.
 */
#include "httpd/condition.h"
#include "httpd/date.h"
#include "httpd/file.h"
#include "httpd/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int passed;
static int failed;

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(bool condition, const char *what, int line)
{
    if (condition) {
        passed++;
        return;
    }
    failed++;
    printf("FAILED httpd_parts.c:%d: %s\n", line, what);
}

static uint64_t random_state;

static size_t random_below(size_t bound)
{
    /* xorshift64*: any good mixing will do. */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % bound;
}

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

/* Feed @size bytes in pieces of up to @piece_max; the first answer that is not REQUEST_MORE. */
static int parse_in_pieces(struct request *request, const char *data, size_t size, size_t piece_max)
{
    int status = REQUEST_MORE;

    request_init(request);
    for (size_t there = 0; status == REQUEST_MORE && there < size;) {
        size_t piece = 1 + (piece_max > 1 ? random_below(piece_max) : 0);

        there = there + piece < size ? there + piece : size;
        status = request_parse(request, data, there);
    }
    return status;
}

static bool same_text(struct text a, struct text b)
{
    return a.at == b.at && a.size == b.size;
}

static bool same_request(const struct request *a, const struct request *b)
{
    bool same = a->method == b->method && a->minor_version == b->minor_version &&
                same_text(a->path, b->path) && a->keep_alive == b->keep_alive &&
                a->expects_continue == b->expects_continue &&
                a->content_length == b->content_length && a->head_size == b->head_size &&
                a->fields_count == b->fields_count;

    for (size_t i = 0; same && i < a->fields_count; i++) {
        same = same_text(a->fields[i].name, b->fields[i].name) &&
               same_text(a->fields[i].value, b->fields[i].value);
    }
    return same;
}

static const char *const samples[] = {
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD /a/b?c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "\r\n\r\nGET http://h/x?y HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nhello",
    "POST /form HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n",
    "GET /%2e%2e/ HTTP/1.1\r\nHost: [::1]:80\r\nIf-None-Match: \"a\", W/\"b\"\r\nAccept:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: te, close\r\n\r\n",
};

/* Change a few bytes of @data, or cut, or repeat a part. */
static size_t mutate(char *data, size_t size, size_t capacity)
{
    static const char spice[] = "\r\n\r\n \t:,/%0HTTP.1-\0\x7f\xff";

    for (size_t changes = random_below(4); changes > 0; changes--) {
        size_t at = random_below(size);

        if (random_below(4) == 0 && size + 1 < capacity) {
            memmove(data + at + 1, data + at, size - at);
            size++;
        }
        data[at] = spice[random_below(sizeof(spice) - 1)];
    }
    return random_below(8) == 0 ? 1 + random_below(size) : size;
}

static void requests_are_the_same_in_any_pieces(int rounds)
{
    int complete = 0;
    int refused = 0;
    int different = 0;

    for (int i = 0; i < rounds; i++) {
        struct text sample = text_of(samples[random_below(sizeof(samples) / sizeof(samples[0]))]);
        char room[512];
        size_t size;
        char *data;
        struct request whole;
        struct request pieces;
        int status;

        memcpy(room, sample.at, sample.size);
        size = mutate(room, sample.size, sizeof(room));
        data = malloc(size); /* no byte more: a sanitizer sees each one read too far */
        if (data == NULL) {
            abort();
        }
        memcpy(data, room, size);
        request_init(&whole);
        status = request_parse(&whole, data, size);
        complete += status == REQUEST_DONE;
        refused += status > REQUEST_DONE;
        different += parse_in_pieces(&pieces, data, size, 1) != status ||
                     (status == REQUEST_DONE && !same_request(&whole, &pieces));
        different += parse_in_pieces(&pieces, data, size, 40) != status ||
                     (status == REQUEST_DONE && !same_request(&whole, &pieces));
        free(data);
    }
    CHECK(different == 0);
    CHECK(complete > rounds / 10); /* the mill grinds both kinds */
    CHECK(refused > rounds / 10);
}

static void fields_are_found(void)
{
    static const char head[] =
        "GET /p HTTP/1.1\r\nhOST: h\r\nA:  one \r\na:two\r\nB: x , ,y\r\n\r\n";
    struct request request;
    struct text list;
    struct text member;

    request_init(&request);
    CHECK(request_parse(&request, head, sizeof(head) - 1) == REQUEST_DONE);
    CHECK(request.head_size == sizeof(head) - 1);
    CHECK(text_is(request_field(&request, "host", 0), "h"));
    CHECK(text_is(request_field(&request, "a", 0), "one"));
    CHECK(text_is(request_field(&request, "a", 1), "two"));
    CHECK(request_field(&request, "a", 2).at == NULL);
    CHECK(request_field(&request, "c", 0).at == NULL);
    list = request_field(&request, "b", 0);
    CHECK(text_next_member(&list, &member) && text_is(member, "x"));
    CHECK(text_next_member(&list, &member) && text_is(member, "y"));
    CHECK(!text_next_member(&list, &member));
}

static void check_path(const char *encoded, int status, const char *expected, bool is_directory)
{
    char path[FILE_PATH_MAX] = "";
    bool wants_directory = false;
    int got = file_path(text_of(encoded), path, &wants_directory);
    bool right = got == status &&
                 (status != 0 || (strcmp(path, expected) == 0 && wants_directory == is_directory));

    if (!right) {
        printf("%s: %d, %s, %d\n", encoded, got, path, wants_directory);
    }
    CHECK(right);
}

static void paths_are_resolved(void)
{
    check_path("/", 0, ".", true);
    check_path("/a", 0, "a", false);
    check_path("/a/", 0, "a", true);
    check_path("/a/b", 0, "a/b", false);
    check_path("//a///b//", 0, "a/b", true);
    check_path("/a/.", 0, "a", true);
    check_path("/./a/./b", 0, "a/b", false);
    check_path("/a/..", 0, ".", true);
    check_path("/a/../b", 0, "b", false);
    check_path("/a/b/../c", 0, "a/c", false);
    check_path("/a/b/..", 0, "a", true);
    check_path("/a%20b%C3%a4", 0, "a b\xc3\xa4", false);
    check_path("/%61/%2e%2e/b", 0, "b", false);
    check_path("/...", 0, "...", false);
    check_path("/..a/a..", 0, "..a/a..", false);
    check_path("/%252e%252e", 0, "%2e%2e", false);
    check_path("/..", 400, NULL, false);
    check_path("/a/../..", 400, NULL, false);
    check_path("/%2e%2e/a", 400, NULL, false);
    check_path("/%", 400, NULL, false);
    check_path("/%4", 400, NULL, false);
    check_path("/%4g", 400, NULL, false);
    check_path("/%00", 400, NULL, false);
    check_path("/a%2fb", 404, NULL, false);
}

/* No empty segment, no dots, no slash at either end. */
static bool is_plain(const char *path)
{
    if (strcmp(path, ".") == 0) {
        return true;
    }
    for (;;) {
        size_t size = strcspn(path, "/");

        if (size == 0 || (size == 1 && path[0] == '.') ||
            (size == 2 && path[0] == '.' && path[1] == '.')) {
            return false;
        }
        if (path[size] == '\0') {
            return true;
        }
        path += size + 1;
    }
}

static void no_path_keeps_a_way_up(int rounds)
{
    static const char *const pieces[] = {"/",      "/",   ".",   "..",  "a", "%2e",
                                         "%2E%2e", "%2f", "%5c", "%25", "bc"};
    int bad = 0;
    int good = 0;

    for (int i = 0; i < rounds; i++) {
        char encoded[256];
        size_t size = 0;
        char path[FILE_PATH_MAX];
        bool is_directory;

        encoded[size++] = '/';
        for (size_t count = random_below(16); count > 0; count--) {
            struct text piece = text_of(pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);

            memcpy(encoded + size, piece.at, piece.size);
            size += piece.size;
        }
        if (file_path((struct text){encoded, size}, path, &is_directory) == 0) {
            good++;
            bad += !is_plain(path);
        }
    }
    CHECK(bad == 0);
    CHECK(good > rounds / 10);
}

/* Each day from 1970 to 2106, at a different second, through all three forms. */
static void dates_come_back(void)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    int wrong = 0;

    for (int64_t seconds = 0; seconds < INT64_C(4294967296); seconds += 86400 + 61) {
        time_t moment = (time_t)seconds;
        struct tm tm;
        char date[DATE_SIZE];
        char text[64];
        int64_t back;

        gmtime_r(&moment, &tm);
        strftime(text, sizeof(text), forms[0], &tm); /* this program's locale is "C" */
        wrong += !date_format(seconds, date) || strcmp(date, text) != 0;
        for (int i = 0; i < 3; i++) {
            strftime(text, sizeof(text), forms[i], &tm);
            wrong += !date_parse(text_of(text), seconds, &back) || back != seconds;
        }
    }
    CHECK(wrong == 0);
}

static void check_no_date(const char *text)
{
    int64_t seconds;
    bool is_date = date_parse(text_of(text), 0, &seconds);

    if (is_date) {
        printf("%s\n", text);
    }
    CHECK(!is_date);
}

static void what_is_no_date_is_none(void)
{
    const int64_t in_2026 = INT64_C(1790000000);
    int64_t seconds = 0;
    char date[DATE_SIZE];

    check_no_date("");
    check_no_date("Sun");
    check_no_date("Sun, 06 Nov 1994 08:49:37");
    check_no_date("Sun, 06 Nov 1994 08:49:37 UTC");
    check_no_date("Sun, 06 Nov 1994 08:49:37 GMT ");
    check_no_date("Sun, 6 Nov 1994 08:49:37 GMT");
    check_no_date("Sun, 06 nov 1994 08:49:37 GMT");
    check_no_date("Sun, 31 Nov 1994 08:49:37 GMT");
    check_no_date("Sun, 00 Nov 1994 08:49:37 GMT");
    check_no_date("Tue, 29 Feb 2023 08:49:37 GMT");
    check_no_date("Sun, 06 Nov 1994 24:00:00 GMT");
    check_no_date("Sun, 06 Nov 1994 08:60:37 GMT");
    check_no_date("Sun, 06 Nov 1994 08:49:61 GMT");
    check_no_date("Sun, 06 Nov 0000 08:49:37 GMT");
    check_no_date("Sunday, 06-Nov-1994 08:49:37 GMT");
    check_no_date("Sun Nov 06 08:49:37 1994 GMT");
    CHECK(date_parse(text_of("Thu, 29 Feb 2024 00:00:00 GMT"), 0, &seconds));
    CHECK(date_parse(text_of("Sat, 31 Dec 2016 23:59:60 GMT"), 0, &seconds));
    /*
     * Of 76 and 77, seen from 2026, one is fifty years ahead and the other fifty-one: that is 1977.
     */
    CHECK(date_parse(text_of("Friday, 01-Jan-76 00:00:00 GMT"), in_2026, &seconds));
    CHECK(date_format(seconds, date) && strstr(date, "2076") != NULL);
    CHECK(date_parse(text_of("Saturday, 01-Jan-77 00:00:00 GMT"), in_2026, &seconds));
    CHECK(date_format(seconds, date) && strstr(date, "1977") != NULL);
    CHECK(!date_format(INT64_MAX / 2, date));
}

static void check_range(const char *value, uint64_t file_size, int status, uint64_t offset,
                        uint64_t size)
{
    struct request request = {
        .method = REQUEST_GET,
        .fields_count = 1,
        .fields = {{text_of("Range"), text_of(value)}},
    };
    struct version version = {.size = file_size};
    uint64_t got_offset = 0;
    uint64_t got_size = 0;
    int got = condition_range(&request, &version, &got_offset, &got_size);
    bool right = got == status && (status != 206 || (got_offset == offset && got_size == size));

    if (!right) {
        printf("%s of %llu: %d\n", value, (unsigned long long)file_size, got);
    }
    CHECK(right);
}

static void ranges_do_not_overflow(void)
{
    check_range("bytes=0-18446744073709551615", UINT64_MAX, 206, 0, UINT64_MAX);
    check_range("bytes=0-18446744073709551616", UINT64_MAX, 206, 0, UINT64_MAX);
    check_range("bytes=18446744073709551614-", UINT64_MAX, 206, UINT64_MAX - 1, 1);
    check_range("bytes=18446744073709551615-", UINT64_MAX, 416, 0, 0);
    check_range("bytes=18446744073709551616-", UINT64_MAX, 416, 0, 0);
    check_range("bytes=-18446744073709551616", 10, 206, 0, 10);
    check_range("bytes=9-9", 10, 206, 9, 1);
    check_range("bytes=10-10", 10, 416, 0, 0);
    check_range("bytes=5-4", 10, 200, 0, 0);
    check_range("bytes=", 10, 200, 0, 0);
    check_range("bytes", 10, 200, 0, 0);
    check_range("bytes=0-0", 0, 416, 0, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

    random_state = seed * 2 + 1; /* never 0 */
    printf("seed=%llu\n", (unsigned long long)seed);
    fields_are_found();
    requests_are_the_same_in_any_pieces(20000);
    paths_are_resolved();
    no_path_keeps_a_way_up(20000);
    dates_come_back();
    what_is_no_date_is_none();
    ranges_do_not_overflow();
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
