#!/usr/bin/env python3
"""Runs the three programs of libvpoll's documentation, side by side, for they sleep.

    programs.py LIBVPOLL EVENTFD DEVICE CHOOSE

Each on FUSE, if CHOOSE says that it serves here, and on the stream emulation, where the events of
the program can be had.  Looks at the events that they print.
"""

import os
import subprocess
import sys

EXACT = {"libvpoll": ["1", "1", "4", "10"], "eventfd": ["1", "1", "3", "2", "4", "10"]}
EXACT["device"] = EXACT["eventfd"]
# Each event comes alone on the emulation; its hang-up does not.
STREAM = {"libvpoll": ["1", "1", "4", "2011"]}
SECONDS = 60


def start(program, provider):
    environment = {**os.environ, "TOCSIN_VPOLL": provider}
    return subprocess.Popen([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL, env=environment)


def main():
    refused = subprocess.run([sys.argv[4], "fuse"], stdout=subprocess.PIPE, text=True, check=False)
    programs = dict(zip(("libvpoll", "eventfd", "device"), sys.argv[1:4]))
    runs = []
    skipped = 0
    for name, wanted in EXACT.items():
        if refused.returncode == 0:
            runs.append((f"{name} on fuse", start(programs[name], "fuse"), wanted))
        else:
            print(f"skip {name}: {refused.stdout.strip()}")
            skipped += 1
    for name, wanted in STREAM.items():
        runs.append((f"{name} on stream", start(programs[name], "stream"), wanted))
    passed = 0
    for title, process, wanted in runs:
        output, _ = process.communicate(timeout=SECONDS)
        got = [line.split()[-1] for line in output.splitlines() if line.startswith("GOT event")]
        print(f"{'ok' if got == wanted else 'not ok'} {title}: {' '.join(got)}")
        passed += got == wanted
    print(f"{passed} passed, {len(runs) - passed} failed, {skipped} skipped")
    return 0 if passed == len(runs) else 1


sys.exit(main())
