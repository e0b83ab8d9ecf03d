#!/usr/bin/env python3
"""Breaks the library on purpose, one rule at a time, and checks that the tests notice.

tests/mutants/*.patch are unified diffs from the root, each with a head:

    Rule: W1
    Mutant: what it does wrong
    Detector: conformance NAME ...   these cases on epoll; one of them must fail
    Detector: conformance@BACKEND NAME ...   the same on another backend
    Detector: unit NAME ...          these unit test programs; one of them must fail
    Detector: fault NAME ...         these programs of tests/fault; one of them must fail
    Detector: regress NAME ...       these programs of tests/regress; one of them must fail
    Detector: windows NAME ...       these programs of tests/windows; one of them must fail
    Detector: differential tocsin-differential    the random programs of tests/differential
    Detector: explorer NAME ...      these scenarios of tests/model; one of them must fail
    Detector: vpoll@PROVIDER PROGRAM:CASE ...   these cases of tests/vpoll; one of them must fail
    Detector: tsan ...               any of them, built for the race detector

A mutant whose detectors all pass has survived, and that is a failure, as is a patch that does not
apply or does not compile, or a detector that fails without any mutant.  Everything happens in a
copy under build/mutants, whose build folders are kept, so that a mutant costs one file and a link.

    tests/mutants.py [--take N] [--seed S] [--list] [PATCH ...]

PATCH names mutants; a shell pattern will do.  --take N takes N of these, spread over all the rules,
beginning at one that the seed decides.  Prints `N passed, N failed` at the end.
"""

import argparse
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "mutants"
WORK = ROOT / "build" / "mutants"
TREE = WORK / "tree"

ATTEMPTS = 5  # of a detector that races: a mutant need not show each time
CASE_SECONDS = 5  # a mutant that hangs has been noticed after that
UNIT_SECONDS = 20  # far more than one takes; some of what is broken spins for ever
EXPLORER_SECONDS = 900  # it finds out by itself what does not end
PROGRAMS = {"unit": "tests/unit/%s", "fault": "tests/fault/fault_%s", "regress": "tests/regress/%s",
            "differential": "tests/differential/%s", "windows": "tests/windows/%s"}
SKIPPED = 77  # what detects it does not work here
UNTRIED = {}  # mutants for that reason
FLAVOURS = {"plain": [], "tsan": ["-Db_sanitize=thread"]}


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = path.stem
        self.head = dict(re.findall(r"^(Rule|Detector): (.*)$", path.read_text(), re.M))
        words = self.head.get("Detector", "").split()
        self.flavour = "tsan" if words[:1] == ["tsan"] else "plain"
        words = words[1:] if self.flavour == "tsan" else words
        self.kind, _, backend = words[0].partition("@") if words else ("", "", "")
        self.backend, self.detectors = backend or "epoll", words[1:]
        kinds = ("conformance", "explorer", "vpoll", *PROGRAMS)
        if not self.detectors or self.kind not in kinds or "Rule" not in self.head:
            sys.exit("%s: its head does not say Rule and Detector" % path)


def call(*command, seconds=None, **options):
    """The status and output of a command; a status of None: it took too long."""
    process = subprocess.Popen([str(word) for word in command], text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


def copy_tree():
    """Make TREE as ROOT is, touching only what differs, so that ninja rebuilds no more."""
    wanted = set()
    for path in ROOT.rglob("*"):
        name = path.relative_to(ROOT)
        if name.parts[0] in ("build", ".git") or "__pycache__" in name.parts or path.is_dir():
            continue
        wanted.add(name)
        target = TREE / name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in TREE.rglob("*"):
        if not path.is_dir() and path.relative_to(TREE) not in wanted:
            path.unlink()


def target(mutant, detector):
    if mutant.kind == "vpoll":
        return "tests/vpoll/vpoll-" + detector.partition(":")[0]
    if mutant.kind == "conformance":
        return "tests/conformance/tocsin-conformance"
    if mutant.kind == "explorer":
        return "tests/model/explorer"
    return PROGRAMS[mutant.kind] % detector


def targets(mutant):
    return sorted({target(mutant, detector) for detector in mutant.detectors})


def set_up(flavour):
    folder = WORK / flavour
    if (folder / "build.ninja").exists():
        return
    status, output = call("meson", "setup", folder, TREE, "-Dexamples=false", "-Dbench=false",
                          *FLAVOURS[flavour])
    if status != 0:
        sys.exit(output)


def build(flavour, wanted):
    return call("ninja", "-C", WORK / flavour, *wanted)


def no_randomisation():
    """The race detector of some compilers cannot live with as much of it as some kernels have."""
    command = ["setarch", os.uname().machine, "-R"]
    if shutil.which(command[0]) and call(*command, "true")[0] == 0:
        return command
    return []


def detect(mutant, detector, is_broken=True):
    """Does the detector notice something?  What it printed."""
    program = WORK / mutant.flavour / target(mutant, detector)
    environment = dict(os.environ, TSAN_OPTIONS="halt_on_error=1")
    wrap = no_randomisation() if mutant.flavour == "tsan" else []
    if mutant.kind in PROGRAMS:
        status, output = call(*wrap, program, seconds=UNIT_SECONDS, env=environment)
        return status != 0, output
    if mutant.kind == "explorer":
        # What is right would take its time with the full bound.
        bound = [] if is_broken else ["--short"]
        status, output = call(program, *bound, detector, seconds=EXPLORER_SECONDS)
        if status not in (0, 1):
            sys.exit("%s: %s" % (mutant.name, output))
        return status == 1, output
    if mutant.kind == "vpoll":
        environment["TOCSIN_VPOLL_CASE_S"] = str(CASE_SECONDS)
        status, output = call(program, mutant.backend, detector.partition(":")[2], env=environment)
        if status == SKIPPED and not is_broken:
            UNTRIED[mutant.name] = output.partition("skipped: ")[2].partition("\n")[0]
        return status not in (0, SKIPPED), output
    status, output = call(*wrap, program, "--backend", mutant.backend, "--watchdog", CASE_SECONDS,
                          "--case", detector, env=environment)
    if status not in (0, 1):
        sys.exit("%s: %s" % (mutant.name, output))
    return status == 1, output


def patch(mutant, *options):
    return call("patch", "-p1", "--no-backup-if-mismatch", "-i", mutant.path, *options, cwd=TREE)


def try_mutant(mutant):
    """None: it was noticed; else what is wrong."""
    status, output = patch(mutant)
    if status != 0:
        copy_tree()
        return "does not apply:\n" + output
    try:
        status, output = build(mutant.flavour, targets(mutant))
        if status != 0:
            return "does not build:\n" + output
        for _ in range(1 if mutant.kind == "explorer" else ATTEMPTS):
            for detector in mutant.detectors:
                if detect(mutant, detector)[0]:
                    return None
        return "survives"
    finally:
        copy_tree()


def check_detectors(mutants):
    """Without a mutant every detector passes."""
    for flavour in sorted({mutant.flavour for mutant in mutants}):
        of_flavour = [mutant for mutant in mutants if mutant.flavour == flavour]
        set_up(flavour)
        status, output = build(flavour, sorted({t for m in of_flavour for t in targets(m)}))
        if status != 0:
            sys.exit(output)
        seen = set()
        for mutant in of_flavour:
            for detector in mutant.detectors:
                if (mutant.kind, mutant.backend, detector) not in seen:
                    seen.add((mutant.kind, mutant.backend, detector))
                    noticed, output = detect(mutant, detector, is_broken=False)
                    if noticed:
                        sys.exit("%s%s fails without any mutant:\n%s0 passed, %d failed" % (
                            detector, "" if flavour == "plain" else " (tsan)", output,
                            len(mutants)))


def choose(arguments):
    mutants = [Mutant(path) for path in sorted(PATCHES.glob("*.patch"))]
    if arguments.patches:
        for pattern in arguments.patches:
            if not any(fnmatch.fnmatch(m.name, Path(pattern).stem) for m in mutants):
                sys.exit("no mutant is called " + pattern)
        mutants = [m for m in mutants
                   if any(fnmatch.fnmatch(m.name, Path(p).stem) for p in arguments.patches)]
    if arguments.take and arguments.take < len(mutants):
        digest = hashlib.sha1(str(arguments.seed).encode()).hexdigest()
        first = int(digest, 16) % len(mutants)
        return [mutants[(first + i * len(mutants) // arguments.take) % len(mutants)]
                for i in range(arguments.take)]
    return mutants


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--take", type=int, metavar="N", help="take N mutants")
    parser.add_argument("--seed", default="0", metavar="S", help="which N are taken")
    parser.add_argument("--list", action="store_true", help="name the mutants and their rules")
    parser.add_argument("patches", nargs="*", metavar="PATCH")
    arguments = parser.parse_args()
    mutants = choose(arguments)
    if arguments.list:
        for mutant in mutants:
            print("%-45s %-8s %s" % (mutant.name, mutant.head["Rule"], mutant.head["Detector"]))
        return 0

    passed = failed = 0
    copy_tree()
    check_detectors(mutants)
    for mutant in mutants:
        if mutant.name in UNTRIED:
            print("skipped  %s (%s): %s" % (mutant.name, mutant.head["Rule"], UNTRIED[mutant.name]))
            continue
        wrong = try_mutant(mutant)
        passed += wrong is None
        failed += wrong is not None
        print("%-8s %s (%s)%s" % ("caught" if wrong is None else "FAILED", mutant.name,
                                  mutant.head["Rule"], "" if wrong is None else ": " + wrong),
              flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
