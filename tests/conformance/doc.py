#!/usr/bin/env python3
"""docs/CONFORMANCE.md is what the program says: --check that it is, or --write it."""
import subprocess
import sys


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("--check", "--write"):
        sys.exit("usage: doc.py --check|--write PROGRAM FILE")
    made = subprocess.run([sys.argv[2], "--markdown"], check=True, stdout=subprocess.PIPE).stdout
    if sys.argv[1] == "--write":
        with open(sys.argv[3], "wb") as file:
            file.write(made)
        return
    with open(sys.argv[3], "rb") as file:
        same = file.read() == made
    if not same:
        print("%s is stale: tests/conformance/doc.py --write %s %s" % (
            sys.argv[3], sys.argv[2], sys.argv[3]))
    print("%d passed, %d failed" % (same, not same))
    sys.exit(not same)


if __name__ == "__main__":
    main()
