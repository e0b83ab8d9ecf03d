/*
 * Dates as HTTP writes them.
 *
 * By hand, and not by strftime(3) and strptime(3): those speak the program's locale.
 */
#include "httpd/date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool date_format(int64_t seconds, char out_date[DATE_SIZE])
{
    time_t time = (time_t)seconds;
    char date[64]; /* what the compiler thinks the numbers might need */
    struct tm tm;

    if (gmtime_r(&time, &tm) == NULL || tm.tm_year + 1900 < 1 || tm.tm_year + 1900 > 9999) {
        return false;
    }
    snprintf(date, sizeof(date), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out_date, date, DATE_SIZE);
    return true;
}

/* Take @literal off @text. */
static bool take(struct text *text, const char *literal)
{
    size_t size = strlen(literal);

    if (text->size < size || memcmp(text->at, literal, size) != 0) {
        return false;
    }
    text->at += size;
    text->size -= size;
    return true;
}

/* Take exactly @digits digits, of which the first may be a space if @padded. */
static bool take_number(struct text *text, size_t digits, bool padded, int *out_number)
{
    int number = 0;

    if (text->size < digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        char c = text->at[i];

        if (padded && i == 0 && c == ' ') {
            continue;
        }
        if (c < '0' || c > '9') {
            return false;
        }
        number = number * 10 + (c - '0');
    }
    text->at += digits;
    text->size -= digits;
    *out_number = number;
    return true;
}

static bool take_name(struct text *text, const char *const *names, int names_count, int *out_index)
{
    for (int i = 0; i < names_count; i++) {
        if (take(text, names[i])) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

static bool take_clock(struct text *text, struct tm *tm)
{
    return take_number(text, 2, false, &tm->tm_hour) && take(text, ":") &&
           take_number(text, 2, false, &tm->tm_min) && take(text, ":") &&
           take_number(text, 2, false, &tm->tm_sec);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool take_fixed(struct text text, struct tm *tm)
{
    return take_name(&text, days, 7, &tm->tm_wday) && take(&text, ", ") &&
           take_number(&text, 2, false, &tm->tm_mday) && take(&text, " ") &&
           take_name(&text, months, 12, &tm->tm_mon) && take(&text, " ") &&
           take_number(&text, 4, false, &tm->tm_year) && take(&text, " ") &&
           take_clock(&text, tm) && take(&text, " GMT") && text.size == 0;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT"; the century is found by the caller. */
static bool take_rfc850(struct text text, struct tm *tm)
{
    return take_name(&text, long_days, 7, &tm->tm_wday) && take(&text, ", ") &&
           take_number(&text, 2, false, &tm->tm_mday) && take(&text, "-") &&
           take_name(&text, months, 12, &tm->tm_mon) && take(&text, "-") &&
           take_number(&text, 2, false, &tm->tm_year) && take(&text, " ") &&
           take_clock(&text, tm) && take(&text, " GMT") && text.size == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool take_asctime(struct text text, struct tm *tm)
{
    return take_name(&text, days, 7, &tm->tm_wday) && take(&text, " ") &&
           take_name(&text, months, 12, &tm->tm_mon) && take(&text, " ") &&
           take_number(&text, 2, true, &tm->tm_mday) && take(&text, " ") && take_clock(&text, tm) &&
           take(&text, " ") && take_number(&text, 4, false, &tm->tm_year) && text.size == 0;
}

bool date_parse(struct text text, int64_t now_seconds, int64_t *out_seconds)
{
    struct tm tm = {0};
    int day;

    if (take_rfc850(text, &tm)) {
        time_t now = (time_t)now_seconds;
        struct tm today;

        if (gmtime_r(&now, &today) == NULL) {
            return false;
        }
        tm.tm_year += (today.tm_year + 1900) / 100 * 100;
        if (tm.tm_year > today.tm_year + 1900 + 50) {
            tm.tm_year -= 100;
        }
    } else if (!take_fixed(text, &tm) && !take_asctime(text, &tm)) {
        return false;
    }
    if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_year < 1) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_sec = tm.tm_sec == 60 ? 59 : tm.tm_sec; /* leap seconds are not counted */
    day = tm.tm_mday;
    /* timegm(3) makes another day of February 30.  A weekday that is wrong is not minded. */
    *out_seconds = (int64_t)timegm(&tm);
    return tm.tm_mday == day;
}
