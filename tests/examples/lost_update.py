#!/usr/bin/env python3
"""The planted bug of lost_update is found by its seeds, had again, and gone when mended."""

import re
import subprocess
from pathlib import Path

from harness import WATCHDOG_SECONDS, run

PAGE = Path(__file__).resolve().parents[2] / "docs/TESTING-YOUR-PROGRAM.md"
SEEDS = 200  # within so many the bug is found


def call(arguments, *more):
    told = subprocess.run([arguments.lost_update, *more], capture_output=True, text=True,
                          timeout=WATCHDOG_SECONDS, check=False)
    return told.returncode, told.stdout, told.stderr


def the_bug_is_found_and_its_seed_printed(checks, arguments, scratch):
    status, said, errors = call(arguments, "--seeds", str(SEEDS))
    checks.equal(status, 1, "exit status")
    checks.equal(errors, "", "errors")
    checks.ok(re.fullmatch(r"seed=\d+ hash=[0-9a-f]{16}: the balance is 10, not 20\n", said), said)
    checks.ok(f"$ lost_update\n{said}" in PAGE.read_text(), f"{PAGE.name} shows {said}")


def the_printed_seed_replays_the_run(checks, arguments, scratch):
    said = call(arguments, "--seeds", str(SEEDS))[1]
    seed = re.match(r"seed=(\d+) ", said).group(1)
    for _ in range(10):
        status, again, _ = call(arguments, "--seed", seed)
        checks.equal(status, 1, "exit status")
        checks.equal(again, said, "the same failure, the same hash")
    before = int(seed) - 1
    if before > 0:
        checks.equal(call(arguments, "--seeds", str(before))[0], 0, "it is the first to fail")


def a_trace_shows_the_steps(checks, arguments, scratch):
    said = call(arguments, "--seeds", str(SEEDS))[1]
    seed = re.match(r"seed=(\d+) ", said).group(1)
    status, traced, _ = call(arguments, "--seed", seed, "--trace")
    checks.equal(status, 1, "exit status")
    lines = traced.splitlines()
    checks.equal(lines[-1] + "\n", said, "the last line")
    checks.equal(lines[0], f"  1.000000000 main seed {seed} 0", "the first line")
    for what in (" new stream ", " wait ", " time ", " arrive ", " event ", " read ", " write "):
        checks.ok(any(what in line for line in lines), f"a line with{what}")
    checks.equal(call(arguments, "--seed", seed, "--trace")[1], traced, "the same trace again")


def the_mended_program_survives(checks, arguments, scratch):
    status, said, _ = call(arguments, "--mended", "--seeds", str(SEEDS))
    checks.equal(status, 0, "exit status")
    checks.equal(said, f"{SEEDS} seeds, and the balance is right in each\n", "output")


def wrong_arguments_are_refused(checks, arguments, scratch):
    for wrong in (["--seed"], ["--seed", "x"], ["--seeds", ""], ["what"]):
        status, said, errors = call(arguments, *wrong)
        checks.equal(status, 2, f"exit status of {wrong}")
        checks.equal(said, "", "output")
        checks.ok(errors, "it says why")


run(
    [
        the_bug_is_found_and_its_seed_printed,
        the_printed_seed_replays_the_run,
        a_trace_shows_the_steps,
        the_mended_program_survives,
        wrong_arguments_are_refused,
    ],
    ["lost_update"],
)
