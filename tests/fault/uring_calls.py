#!/usr/bin/env python3
"""One io_uring_enter a turn, none in an idle second: uring_turns, counted by strace -c.

Prints `N passed, N failed`; exits with 77 where there is no strace, or where it or io_uring is
refused.
"""

import re
import shutil
import subprocess
import sys

SKIPPED = 77
SECONDS = 60  # a watchdog
TURNS = 1000


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def enters(program, backend, turns, idle_ms):
    """How often the program entered the ring."""
    ran = subprocess.run(["strace", "-f", "-c", "-e", "trace=io_uring_enter", program, backend,
                          str(turns), str(idle_ms)], stdin=subprocess.DEVNULL, check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         timeout=SECONDS)
    if ran.returncode == SKIPPED:
        skip(ran.stdout.strip().removeprefix("skipped: "))
    if ran.returncode != 0:
        if "ptrace" in ran.stderr.lower():
            skip("strace is refused here")
        sys.exit(f"{program} {backend}: {ran.returncode}\n{ran.stderr}0 passed, 1 failed")
    # % time, seconds, usecs/call, calls, perhaps errors, name
    found = re.search(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?io_uring_enter$", ran.stderr,
                      re.M)
    return int(found[1]) if found else 0


def main():
    if shutil.which("strace") is None:
        skip("no strace")
    failed = 0
    for backend in ("epoll", "uring"):
        for turns, idle_ms in ((TURNS, 0), (TURNS, 1000), (1, 0)):
            found = enters(sys.argv[1], backend, turns, idle_ms)
            print(f"{backend}: {turns} turns of 32, {idle_ms} ms idle: {found} io_uring_enter")
            failed += found != turns
    print(f"{6 - failed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
