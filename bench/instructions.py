#!/usr/bin/env python3
"""Counts the instructions of the hot paths under callgrind, and holds them to their bounds.

A count is the difference between a run of some steps and one of twice as many, so what comes before
and after the steps does not count.  Counts repeat; a clock does not.  bench/instructions.txt has
the count of each path as it was last accepted, and the compiler and libc it was taken with; a path
may take 2 % more.  With another compiler, libc or processor family the counts are only shown.

    bench/instructions.py [--build=FOLDER] [--accept]

--accept writes the counts found into instructions.txt.  Prints `N passed, N failed`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "bench" / "instructions.txt"
ROOM = 1.02
# path: (steps, operations in a step)
PATHS = {"spawn": (20, 1000), "yield": (20_000, 1), "wake": (20, 1000), "wake-own": (20, 1000),
         "timer": (20, 1000), "ready": (20, 1000), "post": (20, 1000)}


def versions():
    """What the counts depend on."""
    compiler = subprocess.run(["cc", "-dumpfullversion"], text=True, capture_output=True,
                              check=True).stdout.strip()
    said = subprocess.run(["cc", "--version"], text=True, capture_output=True, check=True).stdout
    name = "gcc" if "Free Software Foundation" in said else said.split("\n")[0].split(" version")[0]
    return f"{name} {compiler}, {os.confstr('CS_GNU_LIBC_VERSION')}, {os.uname().machine}"


def collected(program, path, steps):
    """The instructions of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                   str(program), f"--case={path}", f"--count={steps}", "--repeat=0"]
        ran = subprocess.run(command, text=True, capture_output=True, check=False, timeout=300,
                             stdin=subprocess.DEVNULL, env={"PATH": os.environ.get("PATH", "")})
    found = re.search(r"Collected : (\d+)", ran.stderr)
    if ran.returncode != 0 or not found:
        raise RuntimeError(f"{' '.join(command)}: {ran.returncode}\n{ran.stderr}")
    return int(found[1])


def count(program, path):
    """Instructions for each operation."""
    steps, operations = PATHS[path]
    warm, more = (collected(program, path, steps * times) for times in (1, 2))
    return (more - warm) / (steps * operations)


def read():
    """(versions, {path: count})"""
    lines = FILE.read_text().splitlines()
    head = next((line[2:] for line in lines if line.startswith("# with: ")), "")
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return head.removeprefix("with: "), {path: float(number) for path, number in rows}


def write(about, counts):
    text = ["# Instructions of each hot path on the epoll backend: bench/instructions.py.",
            "# The paths are described in bench/instructions.c.  A path may take 2 % more.",
            f"# with: {about}", *(f"{path:10} {number:8.1f}" for path, number in counts.items())]
    FILE.write_text("\n".join(text) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--accept", action="store_true")
    options = parser.parse_args()
    program = options.build / "bench" / "instructions"
    if not shutil.which("valgrind"):
        print("valgrind is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    about = versions()
    counts = {path: count(program, path) for path in PATHS}
    if options.accept:
        write(about, counts)
    accepted_with, bounds = read()
    binding = accepted_with == about
    print(f"with {about}" + ("" if binding else f"; the bounds are for {accepted_with}"))
    failed = 0
    for path, number in counts.items():
        bound = bounds.get(path)
        over = bound is None or number > bound * ROOM
        verdict = "-" if bound is None else f"{number / bound - 1:+.1%}"
        failed += over and binding
        print(f"{path:10} {number:8.1f}  accepted {bound or 0:8.1f}  {verdict}"
              + ("  TOO MANY" if over and binding else "")
              + ("  fewer: --accept" if bound and number * ROOM < bound else ""))
    if binding:
        print(f"{len(counts) - failed} passed, {failed} failed")
    else:
        print(f"0 passed, 0 failed, {len(counts)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
