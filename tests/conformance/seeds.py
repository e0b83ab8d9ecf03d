#!/usr/bin/env python3
"""Runs the conformance suite on the simulation with many seeds.

    seeds.py PROGRAM FIRST LAST

A seed with a failed case is told, with what the case said: PROGRAM --backend sim --seed N --case
NAME has that run again.  Prints `N passed, N failed` at the end: seeds, not cases.
"""

import re
import subprocess
import sys


def main():
    program, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    passed = failed = 0
    for seed in range(first, last + 1):
        ran = subprocess.run([program, "--backend", "sim", "--seed", str(seed)], check=False,
                             text=True, capture_output=True)
        cases = re.findall(r"^not ok \d+ - (\S+)@sim$", ran.stdout, re.M)
        if ran.returncode == 0 and not cases:
            passed += 1
            continue
        failed += 1
        print(f"seed={seed}: {' '.join(cases) or 'exit status ' + str(ran.returncode)}")
        print("\n".join(re.findall(r"^# .*$", ran.stdout, re.M)))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
