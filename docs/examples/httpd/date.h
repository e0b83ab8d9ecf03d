/*
 * Dates as HTTP writes them (RFC 9110, 5.6.7).
 */
#ifndef HTTPD_DATE_H
#define HTTPD_DATE_H

#include "httpd/request.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DATE_SIZE = 30, /* "Sun, 06 Nov 1994 08:49:37 GMT" and a zero */
};

/*
 * Write the date that is @seconds after 1970, in the form above.
 *
 * Returns: false if it lies outside the years 1 to 9999.
 */
bool date_format(int64_t seconds, char out_date[DATE_SIZE]);

/*
 * Read a date in any of the three forms: that above, "Sunday, 06-Nov-94 08:49:37 GMT" (a year that
 * seems more than 50 years after @now_seconds is one of the past) and "Sun Nov  6 08:49:37 1994".
 */
bool date_parse(struct text text, int64_t now_seconds, int64_t *out_seconds);

#endif
