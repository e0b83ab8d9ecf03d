#!/usr/bin/env python3
"""Run a command where io_uring_setup(2) answers EPERM, as containers' filters have it.

    tests/without_uring.py COMMAND [ARGUMENT ...]

What there is to test must pass there too, and what needs io_uring be skipped, saying so.
"""

import ctypes
import os
import struct
import sys

NR_IO_URING_SETUP = 425  # on all machines of this century
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
EPERM = 1
SKIPPED = 77


def refuse_io_uring():
    code = [
        (0x20, 0, 0, 0),  # load the number of the system call
        (0x15, 0, 1, NR_IO_URING_SETUP),  # is it that one?
        (0x06, 0, 0, 0x00050000 | EPERM),
        (0x06, 0, 0, 0x7FFF0000),  # or allow it
    ]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) != 0):
        print("skipped: no filters here:", os.strerror(ctypes.get_errno()))
        sys.exit(SKIPPED)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    refuse_io_uring()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
