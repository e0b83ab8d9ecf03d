/*
 * What Windows answers, as a negative errno: the one place where that is translated.
 */
#ifndef TOCSIN_BACKENDS_WINDOWS_WIN_ERRNO_H
#define TOCSIN_BACKENDS_WINDOWS_WIN_ERRNO_H

#include <errno.h>
#include <stdint.h>

/* @status: a failure.  What is not known is -EIO. */
int tocsin__win_errno(int32_t status);

#endif
