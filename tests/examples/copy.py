"""copy: files of many sizes, what cannot be copied, and no io_uring."""

import filecmp
import os
import random
import re
import shutil
import subprocess
import sys

from harness import WATCHDOG_SECONDS, run, write_file

SIZES = [0, 1, 4095, 4096, (1 << 20) + 7, 64 << 20]
WITHOUT_URING = (sys.executable, os.path.join(os.path.dirname(__file__), "../without_uring.py"))


def copy(arguments, *names, before=None, under=()):
    """(exit status, what it said on standard error)"""
    backend = {"TOCSIN_BACKEND": arguments.backend} if arguments.backend else {}
    told = subprocess.run([*under, arguments.copy, *names], stdin=subprocess.DEVNULL,
                          preexec_fn=before, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False, timeout=WATCHDOG_SECONDS, env={**os.environ, **backend})
    return told.returncode, told.stderr.decode() + told.stdout.decode()


def refusals(arguments):
    """With io_uring and without; a backend that is one cannot do without."""
    return ((),) if arguments.backend == "uring" else ((), WITHOUT_URING)


def is_told(status, said):
    """Copied, and not a word more than that there is no io_uring here."""
    return status == 0 and (said == "" or (said.startswith("copy: no io_uring (")
                                           and said.count("\n") == 1))


def same(one, other):
    return filecmp.cmp(one, other, shallow=False)


def source_of(arguments, scratch, size):
    data = random.Random(arguments.seed + size).randbytes(size)
    return write_file(scratch, "sources", str(size), data=data)


def every_size_is_copied_whole(checks, arguments, scratch):
    for size in SIZES:
        source = source_of(arguments, scratch, size)
        target = os.path.join(scratch, f"target-{size}")
        status, said = copy(arguments, source, target)
        checks.ok(is_told(status, said), f"{size} bytes: {status} {said}")
        checks.ok(same(source, target), f"{size} bytes: the copy differs")


def reads_and_writes_are_32_deep(checks, arguments, scratch):
    source = source_of(arguments, scratch, SIZES[-1])
    log = os.path.join(scratch, "strace")
    strace = shutil.which("strace")
    if strace is None or not is_told(*copy(arguments, source, os.path.join(scratch, "traced"),
                                           under=(strace, "-f", "-o", log, "-e",
                                                  "trace=io_uring_enter"))):
        print("cannot count: no strace, or it is refused here")
        return
    with open(log, encoding="ascii") as file:
        submitted = re.findall(r"io_uring_enter\(\d+, (\d+),", file.read())
    if submitted:  # else there is no io_uring here
        checks.equal(max(map(int, submitted)), 32, "entries of one io_uring_enter")


def without_io_uring_it_says_so_and_copies(checks, arguments, scratch):
    for size in SIZES if arguments.backend != "uring" else ():
        source = source_of(arguments, scratch, size)
        target = os.path.join(scratch, f"plain-{size}")
        status, said = copy(arguments, source, target, under=WITHOUT_URING)
        checks.equal(status, 0, f"{size} bytes: {said}")
        checks.ok("no io_uring (" in said, f"{size} bytes: it says why: {said!r}")
        checks.ok(same(source, target), f"{size} bytes: the copy differs")


def a_target_that_was_longer_is_cut(checks, arguments, scratch):
    for under in refusals(arguments):
        source = source_of(arguments, scratch, 4095)
        target = write_file(scratch, "longer", data=b"x" * 300000)
        status, said = copy(arguments, source, target, under=under)
        checks.equal(status, 0, f"exit status: {said}")
        checks.ok(same(source, target), "the copy differs")


def a_new_target_has_the_mode_of_its_source(checks, arguments, scratch):
    source = source_of(arguments, scratch, 1)
    os.chmod(source, 0o750)
    target = os.path.join(scratch, "mode")
    copy(arguments, source, target, before=lambda: os.umask(0))
    checks.equal(os.stat(target).st_mode & 0o7777, 0o750, "mode")


def a_file_that_does_not_tell_its_size_is_copied(checks, arguments, scratch):
    target = os.path.join(scratch, "version")
    status, said = copy(arguments, "/proc/version", target)
    checks.ok(is_told(status, said), f"{status} {said}")
    with open("/proc/version", "rb") as one, open(target, "rb") as other:
        checks.equal(other.read(), one.read(), "what is in it")


def what_cannot_be_copied_is_told(checks, arguments, scratch):
    source = source_of(arguments, scratch, (1 << 20) + 7)
    link = os.path.join(scratch, "link")
    os.link(source, link)
    vanished = os.path.join(scratch, "vanished")
    wrong = [
        ("a vanished source", vanished, os.path.join(scratch, "a"), vanished),
        ("a folder as source", scratch, os.path.join(scratch, "b"), scratch),
        ("a folder as target", source, scratch, scratch),
        ("no such folder", source, os.path.join(scratch, "no", "such"), "such"),
        ("a full device", source, "/dev/full", "/dev/full"),
        ("the same file", source, link, source),
    ]
    for under in refusals(arguments):
        for what, one, other, named in wrong:
            status, said = copy(arguments, one, other, under=under)
            checks.equal(status, 1, f"{what}: exit status: {said}")
            checks.ok(named in said.splitlines()[-1], f"{what}: it is named: {said!r}")
        checks.equal(os.stat(source).st_size, (1 << 20) + 7, "the same file is as it was")
    checks.ok(not os.path.exists(os.path.join(scratch, "a")), "nothing was made of nothing")


def wrong_arguments_are_refused(checks, arguments, _scratch):
    for names in ([], ["one"], ["one", "two", "three"]):
        status, said = copy(arguments, *names)
        checks.equal(status, 2, f"exit status of {names}")
        checks.ok("usage:" in said, f"{names}: {said!r}")


run(
    [
        every_size_is_copied_whole,
        reads_and_writes_are_32_deep,
        without_io_uring_it_says_so_and_copies,
        a_target_that_was_longer_is_cut,
        a_new_target_has_the_mode_of_its_source,
        a_file_that_does_not_tell_its_size_is_copied,
        what_cannot_be_copied_is_told,
        wrong_arguments_are_refused,
    ],
    ["copy"],
)
