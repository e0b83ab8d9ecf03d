"""Runs the programs of a build: samples in rounds, system calls under strace, and the curves."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from questions import SCALE, ours

SECONDS_MAX = 120
SKIPPED = 77  # what a program exits with when this machine cannot do it


class Failure(Exception):
    pass


class Runner:
    """
    @folder: of the programs; @quick: little of everything; @libuv: another libuv.so, whose programs
    are shown as variants of their own.
    """

    def __init__(self, folder, quick, libuv=None):
        self.folder, self.quick, self.libuv = Path(folder), quick, libuv
        self.versions = {}
        self.left_out = {}  # label: why

    def exists(self, variant):
        return (self.folder / variant.program).exists()

    def command(self, cell, variant, count, repeat):
        return [str(self.folder / variant.program), f"--case={variant.case}", f"--count={count}",
                f"--repeat={repeat}", *cell.arguments, *variant.arguments,
                *(("--two-cores",) if cell.two_cores else ()),
                *(cell.quick_arguments if self.quick else ())]

    def environment(self, variant):
        if variant.label.startswith("libuv at "):
            return {**os.environ, "LD_PRELOAD": str(self.libuv)}
        return None

    @staticmethod
    def call(command, environment=None):
        """The ended process; one that does not end is a failure."""
        try:
            return subprocess.run(command, text=True, capture_output=True, check=False,
                                  stdin=subprocess.DEVNULL, timeout=SECONDS_MAX, env=environment)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{' '.join(command)}: no end after {SECONDS_MAX} s") from error

    def sample(self, cell, variant):
        """What the program printed, or None if it cannot run here."""
        count = max(1, int(cell.count * variant.share))
        repeat = cell.repeat
        if self.quick:
            count, repeat = max(min(count, 100), count // 200), min(repeat, 1)
            count = min(count, 20) if cell.question == "W8" else count
        command = self.command(cell, variant, count, repeat)
        ran = self.call(command, self.environment(variant))
        if ran.returncode == SKIPPED:
            self.left_out[variant.label] = ran.stderr.strip()
            return None
        if ran.returncode != 0:
            raise Failure(f"{' '.join(command)}: {ran.returncode}\n{ran.stderr}")
        printed = json.loads(ran.stdout)
        name = variant.label.split(":")[0]
        self.versions.setdefault(name if name.startswith("libuv at") else variant.peer,
                                 printed["library"])
        return printed

    def figure(self, cell, printed):
        value = printed[cell.metric]
        if cell.rate:
            return 1e9 / value * cell.scale if value > 0 else 0.0
        return value * cell.scale

    # ---- System calls --------------------------------------------------------------------------

    def trace(self, cell, variant, count):
        """{system call: how often} of the whole process."""
        with tempfile.NamedTemporaryFile("r", suffix=".strace") as log:
            command = ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", log.name,
                       *self.command(cell, variant, count, 0), "--traced"]
            ran = self.call(command, self.environment(variant))
            if ran.returncode != 0:
                return None
            rows = re.findall(r"^\s*(\d+)\s+(\w+)\s*$", log.read(), re.M)
        return {name: int(calls) for calls, name in rows if name != "total"}

    def calls(self, cell, variant):
        """({call: how many for each operation}, {call: in the larger run}), of the difference."""
        count = max(50, cell.traced // 20) if self.quick else cell.traced
        some, more = self.trace(cell, variant, count), self.trace(cell, variant, 2 * count)
        if some is None or more is None:
            return None, None
        each = {name: (calls - some.get(name, 0)) / count for name, calls in more.items()}
        return {name: value for name, value in each.items() if abs(value) >= 0.0005}, more

    # ---- Cells ---------------------------------------------------------------------------------

    def variants(self, cell):
        for variant in cell.variants:
            if not self.exists(variant):
                self.left_out.setdefault(variant.peer, "not built: not installed")
                continue
            yield variant
            if variant.peer == "libuv" and self.libuv:
                yield type(variant)(**{**vars(variant), "label": variant.label.replace(
                    "libuv", f"libuv at {self.libuv}", 1)})

    def cell(self, cell, rounds, strace):
        """The cell's row of results.json."""
        present = list(self.variants(cell))
        found = {variant.label: [] for variant in present}
        for number in range(min(rounds, cell.rounds_max)):
            for variant in present if number % 2 == 0 else reversed(present):
                if found[variant.label] is None:
                    continue
                printed = self.sample(cell, variant)
                if printed is None:
                    found[variant.label] = None
                else:
                    found[variant.label].append(printed)
        rows = []
        for variant in present:
            if not found[variant.label]:
                continue
            each, whole = None, None
            if strace and cell.traced and variant.calls:
                each, whole = self.calls(cell, variant)
            samples = found[variant.label]
            rows.append({"label": variant.label, "library": variant.peer,
                         "again": variant.again,
                         "figures": [self.figure(cell, printed) for printed in samples],
                         "samples": samples, "calls_each": each, "calls": whole})
        return {"key": cell.key, "question": cell.question, "title": cell.title,
                "unit": cell.unit, "rate": cell.rate, "metric": cell.metric,
                "extras": [list(extra) for extra in cell.extras], "curve": cell.curve,
                "variants": rows}

    # ---- Scale ---------------------------------------------------------------------------------

    def scale(self, backends=("epoll", "uring")):
        """Rows of memory and time for each kind, as N grows."""
        rows = []
        for kind, sizes in SCALE.items():
            for variant in ours(10, kind, backends=backends):
                for n in sizes if not self.quick else sizes[:4]:
                    rows += self.scale_row(kind, variant, n)
        return rows

    def scale_row(self, kind, variant, n):
        ops = 1000 if self.quick else 100_000
        command = [str(self.folder / variant.program), f"--case={variant.case}", f"--n={n}",
                   f"--count={ops}", "--repeat=" + ("3" if n < 10_000 else "0"),
                   *variant.arguments]
        ran = self.call(command)
        if ran.returncode == SKIPPED:
            self.left_out[variant.label] = ran.stderr.strip()
            return []
        if ran.returncode != 0:
            raise Failure(f"{' '.join(command)}: {ran.returncode}\n{ran.stderr}")
        printed = json.loads(ran.stdout)
        figures = {key: printed[key] for key in ("bytes", "resident_bytes", "ns", "op_ns",
                                                 "end_ns")}
        if n < 10_000:
            figures["resident_bytes"] = None  # fewer than the pages that are there anyway
        return [{"kind": kind, "label": variant.label, "n": n, **figures}]


def quartiles(values):
    """(first quartile, median, third quartile)"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, median, third


def machine():
    """What the figures were taken on."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    system = os.uname()
    compiler = subprocess.run(["cc", "--version"], text=True, capture_output=True, check=False)
    return {"processor": model[1] if model else system.machine,
            "processors": len(os.sched_getaffinity(0)),
            "system": f"{system.sysname} {system.release}",
            "compiler": compiler.stdout.split("\n")[0],
            "libc": " ".join(os.confstr("CS_GNU_LIBC_VERSION").split()),
            "load": os.getloadavg()[0],
            "strace": bool(shutil.which("strace"))}


def say(text):
    print(text, file=sys.stderr, flush=True)
