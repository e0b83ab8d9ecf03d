#!/usr/bin/env python3
"""Runs all that there is to test, as ./go test does, and adds up what it said.

A step is one command with a name: a build, the suites of one build, a script.  A step that runs
suites counts what they print (`N passed, N failed`, `, N skipped` may follow); a suite that prints
no count has failed, whatever its exit status.  Any other step counts as one.  Steps run side by
side, as many as there are processors (at most four), each as soon as those it comes after have
passed.

    tests/run.py [--budget] [--list] [quick | lint | soak | STEP ...]

STEP names the steps to run, with what they come after; a shell pattern will do.  Exits with 0 if
nothing failed.  What each step printed is kept in build/test-logs/.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LOGS = BUILD / "test-logs"
COUNT = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)

CPUS = len(os.sched_getaffinity(0))
LANES = min(4, CPUS)
JOBS = max(1, CPUS // LANES)
STEP_SECONDS_MAX = 1200  # a watchdog, far above what any step takes
SOAK_SECONDS_MAX = 7200
MUTANTS_TAKEN = 8
EXPLORER_MUTANTS_TAKEN = 20

# name: (compiler, options of meson setup)
SANITIZE = "-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer"
BUILDS = {
    "gcc": ("gcc", []),
    "clang": ("clang", []),
    "asan": ("gcc", ["-Db_sanitize=address,undefined", SANITIZE]),
    "tsan": ("gcc", ["-Db_sanitize=thread", SANITIZE]),
    "bench": ("gcc", ["-Dbuildtype=release", "-Dtests=false", "-Dexamples=false", "-Dbench=true"]),
}
ENVIRONMENT = {
    "asan": {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=0",
             "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"},
    "tsan": {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"},
}
VALGRIND = ("valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "
            "--fair-sched=try")


class Result:
    def __init__(self, passed=0, failed=0, skipped=0, complaints=()):
        self.passed, self.failed, self.skipped = passed, failed, skipped
        self.complaints = list(complaints)
        self.seconds = 0.0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.complaints += other.complaints

    def counts(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


class Step:
    """
    @run(step) returns a Result; @after names the steps that must have passed before; @sets are
    those of "all", "quick", "lint" and "soak" that it belongs to.
    """

    def __init__(self, name, run, after=(), sets=("all",)):
        self.name, self.run, self.after, self.sets = name, run, after, sets
        self.result = None
        self.seconds_max = SOAK_SECONDS_MAX if "soak" in sets else STEP_SECONDS_MAX
        self.log = LOGS / (re.sub(r"\W+", "-", name) + ".txt")

    def call(self, *command, **environment):
        """Run @command, its output to the step's log.  Returns (exit status, output)."""
        with open(self.log, "a", encoding="utf-8") as log:
            print("+", shlex.join(map(str, command)), file=log, flush=True)
            start = log.tell()
            process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=subprocess.STDOUT,
                                       start_new_session=True,
                                       env={**os.environ, **environment})
            with RUNNING_LOCK:
                RUNNING.add(process.pid)
            try:
                status = process.wait(timeout=self.seconds_max)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                print(f"gave up after {self.seconds_max} s", file=log)
                status = 124
            finally:
                with RUNNING_LOCK:
                    RUNNING.discard(process.pid)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(start)
            return status, log.read()


RUNNING = set()  # process groups to end when the run is interrupted
RUNNING_LOCK = threading.Lock()


def tail(text, lines=60):
    kept = text.rstrip().split("\n")
    return "\n".join(kept[-lines:])


def essence(output):
    """What of a suite's output says what went wrong, or else its end."""
    marks = r"\s*(?:#|not ok|\[  FAILED)|.*(?:Sanitizer|runtime error)"
    said = [line for line in output.split("\n") if re.match(marks, line)]
    said = list(dict.fromkeys(said))
    return "\n".join(said[:60]) if said else tail(output)


# ---- What steps do -----------------------------------------------------------------------------


def build(name):
    compiler, options = BUILDS[name]

    def run(step):
        folder = BUILD / ("test-" + name)
        stamp = folder / "options-of-run"
        # A folder that was set up in another way, or only half, is made anew.
        if not stamp.exists() or stamp.read_text() != repr(options):
            shutil.rmtree(folder, ignore_errors=True)
            cxx = {"gcc": "g++", "clang": "clang++"}[compiler]
            # Optimised as a release is, gcc warns of what it only guesses at.
            strict = [] if name == "bench" else ["--werror"]
            status, output = step.call("meson", "setup", folder, *strict, *options,
                                       CC=compiler, CXX=cxx)
            if status != 0:
                return Result(0, 1, 0, [tail(output)])
            stamp.write_text(repr(options))
        status, output = step.call("ninja", "-C", folder, "-j", JOBS)
        said = re.sub(r"^\[\d+/\d+\] .*\n", "", output, flags=re.M)
        return Result(1) if status == 0 else Result(0, 1, 0, [tail(said)])

    return run


def count_test(test):
    """The Result of one entry of meson's log."""
    name, verdict = test["name"], test["result"]
    output = test.get("stdout", "") + "\n" + test.get("stderr", "")
    found = COUNT.findall(output)
    if found:
        result = Result(*(int(number or 0) for number in found[-1]))
    elif verdict == "SKIP":
        result = Result(0, 0, 1)
    elif verdict == "OK":
        return Result(0, 1, 0, [f"{name} printed no count"])
    else:
        result = Result()
    if verdict not in ("OK", "SKIP"):
        result.failed = max(result.failed, 1)
    if result.failed:
        result.complaints.append(f"{name}: {verdict}, {result.counts()}\n{essence(output)}")
    return result


def suites(name, *selection, wrap="", multiplier=2):
    """Run tests of the build @name: suites, or the names of tests after a colon."""

    def run(step):
        folder = BUILD / ("test-" + name)
        base = "log-" + re.sub(r"\W+", "-", step.name)
        command = ["meson", "test", "-C", folder, "--no-rebuild", "--num-processes", JOBS,
                   "--timeout-multiplier", multiplier, "--logbase", base]
        for item in selection:
            command += [item[1:]] if item.startswith(":") else ["--suite", item]
        wrapper = wrap or (no_randomisation() if name == "tsan" else "")
        if wrapper:
            command += ["--wrap", wrapper]
            base += "-" + os.path.basename(shlex.split(wrapper)[0])  # so meson names the log then
        log = folder / "meson-logs" / (base + ".json")
        log.unlink(missing_ok=True)
        status, output = step.call(*command, **ENVIRONMENT.get(name, {}))
        if not log.exists():
            return Result(0, 1, 0, [tail(output)])
        result = Result()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            result.add(count_test(json.loads(line)))
        if result.passed + result.failed == 0 or (status != 0 and result.failed == 0):
            result.add(Result(0, 1, 0, [tail(output)]))
        return result

    return run


def no_randomisation():
    """The race detector of gcc 12 cannot map its shadow where addresses are too random."""
    command = ["setarch", os.uname().machine, "-R"]
    if shutil.which(command[0]) and subprocess.run(command + ["true"], check=False,
                                                   stderr=subprocess.DEVNULL).returncode == 0:
        return shlex.join(command)
    return ""


def script(*command):
    """A program that prints a count."""

    def run(step):
        status, output = step.call(*command)
        found = COUNT.findall(output)
        if not found:
            return Result(0, 1, 0, ["printed no count\n" + tail(output)])
        result = Result(*(int(number or 0) for number in found[-1]))
        if status != 0:
            result.failed = max(result.failed, 1)
        if result.failed:
            result.complaints.append(essence(output))
        return result

    return run


def wine(step):
    """What ./go windows does, where its packages are; ./go windows installs them."""
    if not shutil.which("x86_64-w64-mingw32-gcc") or not (
            shutil.which("wine64") or Path("/usr/lib/wine/wine64").exists()):
        return Result(0, 0, 1)
    return script("bash", "tests/windows/wine.sh")(step)


def c_files():
    folders = ["include", "runtime", "backends", "tests", "bench", "docs/examples"]
    return sorted(str(path.relative_to(ROOT)) for folder in folders
                  for path in (ROOT / folder).rglob("*") if path.suffix in (".c", ".h", ".cc"))


def clang_format(step):
    status, output = step.call("clang-format", "--dry-run", "-Werror", *c_files())
    if status == 0:
        return Result(1)
    places = re.findall(r"^(\S+?:\d+):\d+: error", output, re.M)
    return Result(0, 1, 0, ["clang-format -i would change", *places[:40]])


def clang_tidy(step):
    """Over what meson would compile, one file after the other in each lane; one count for each."""
    folder = BUILD / "lint"
    if not (folder / "build.ninja").exists():
        status, output = step.call("meson", "setup", folder, CC="clang", CXX="clang++")
        if status != 0:
            return Result(0, 1, 0, [tail(output)])
    commands = json.loads((folder / "compile_commands.json").read_text())
    sources = sorted({os.path.normpath(folder / command["file"]) for command in commands})
    result = Result()
    lock = threading.Lock()

    def check():
        while True:
            with lock:
                if not sources:
                    return
                source = sources.pop(0)
            ran = subprocess.run(["clang-tidy", "-p", str(folder), "--quiet", source], cwd=ROOT,
                                 check=False, text=True, capture_output=True,
                                 stdin=subprocess.DEVNULL)
            with lock:
                if ran.returncode == 0:
                    result.passed += 1
                else:
                    result.add(Result(0, 1, 0, [ran.stdout.replace(f"{ROOT}/", "")]))

    threads = [threading.Thread(target=check, daemon=True) for _ in range(CPUS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return result


def soak(name, backend):
    """The conformance suite with many more repetitions."""

    def run(step):
        program = BUILD / ("test-" + name) / "tests/conformance/tocsin-conformance"
        wrapper = shlex.split(no_randomisation()) if name == "tsan" else []
        chosen = ["--backend", backend]
        if backend == "uv":  # a library of its own
            chosen = ["--plugin", BUILD / ("test-" + name) / "backends/uv/libtocsin-uv.so"]
        return script(*wrapper, program, *chosen, "--soak")(step)

    return run


def differential(name, programs):
    """Random programs, other ones for each commit, on every backend."""

    def run(step):
        folder = BUILD / ("test-" + name)
        wrapper = shlex.split(no_randomisation()) if name == "tsan" else []
        plugin = folder / "backends/uv/libtocsin-uv.so"
        plugins = ["--plugin", plugin] if plugin.exists() else []
        return script(*wrapper, folder / "tests/differential/tocsin-differential", *plugins,
                      "--programs", programs, "--seed", seed())(step)

    return run


def seed():
    """What decides which mutants and programs this run takes: the commit, or else the sources."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=False, text=True,
                         capture_output=True) if shutil.which("git") else None
    if git and git.returncode == 0:
        return git.stdout.strip()
    digest = hashlib.sha1()
    for path in sorted((ROOT / "runtime").glob("*.c")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


PYTHON = sys.executable

# The order is that of preference: what takes long, or much depends on, comes first.
STEPS = [
    Step("build gcc", build("gcc"), sets=("all", "quick", "lint")),
    Step("gcc: tidy", suites("gcc", "tidy"), ["build gcc"], ("all", "quick", "lint")),
    Step("format", clang_format, sets=("all", "lint")),
    Step("build asan", build("asan")),
    Step("gcc: unit", suites("gcc", "unit"), ["build gcc"], ("all", "quick")),
    # A part of the next one, for a quick run.
    Step("gcc: conformance@epoll", suites("gcc", ":conformance@epoll"), ["build gcc"], ("quick",)),
    Step("gcc: conformance", suites("gcc", "conformance"), ["build gcc"]),
    Step("gcc: fault", suites("gcc", "fault"), ["build gcc"]),
    Step("gcc: without io_uring", suites("gcc", "unit", "fault", "regress",
                                         wrap=shlex.quote(str(ROOT / "tests/without_uring.py"))),
         ["build gcc"]),
    Step("gcc: differential", differential("gcc", 200), ["build gcc"]),
    Step("models", suites("gcc", "models"), ["build gcc"]),
    Step("gcc: explorer", suites("gcc", "model"), ["build gcc"]),
    Step("build tsan", build("tsan")),
    Step("asan: conformance", suites("asan", "conformance", multiplier=5), ["build asan"]),
    Step("tsan: conformance", suites("tsan", "conformance", multiplier=5), ["build tsan"]),
    Step("build clang", build("clang")),
    Step("mutants", script(PYTHON, "tests/mutants.py", "--take", MUTANTS_TAKEN, "--seed", seed())),
    # After the others, for both work in the same copy of the tree.
    Step("mutants of the explorer", script(PYTHON, "tests/mutants.py", "--take",
                                           EXPLORER_MUTANTS_TAKEN, "--seed", seed(), "model-*"),
         ["mutants"]),
    Step("valgrind: unit", suites("gcc", "unit", wrap=VALGRIND, multiplier=10), ["build gcc"]),
    Step("gcc: examples", suites("gcc", "examples"), ["build gcc"]),
    Step("asan: examples", suites("asan", "examples", multiplier=5), ["build asan"]),
    Step("gcc: install", suites("gcc", "install"), ["build gcc"]),
    Step("gcc: regress, stress", suites("gcc", "regress", "stress"), ["build gcc"]),
    Step("gcc: vpoll", suites("gcc", "vpoll"), ["build gcc"]),
    Step("gcc: windows", suites("gcc", "windows"), ["build gcc"]),
    Step("windows under Wine", wine),
    Step("asan: vpoll", suites("asan", ":life@fuse", ":life@fuse-thread", ":emulated@stream",
                               ":emulated@datagram", ":slots@fuse", ":slots@stream",
                               multiplier=5), ["build asan"]),
    Step("asan: unit, fault", suites("asan", "unit", "fault", "regress", "stress", "differential",
                                     "windows", multiplier=5),
         ["build asan"]),
    Step("tsan: unit, stress", suites("tsan", "unit", "regress", "stress", "differential",
                                      "windows", multiplier=5),
         ["build tsan"]),
    Step("gcc: docs", suites("gcc", "docs"), ["build gcc"]),
    Step("build bench", build("bench")),
    # Tiny: every program of every library runs, and the tables come out.  Numbers are not judged,
    # but those of instructions, which repeat.
    Step("bench", script(PYTHON, "bench/run.py", "--quick", "--build", BUILD / "test-bench"),
         ["build bench"]),
    Step("bench: judging", script(PYTHON, "bench/selftest.py")),
    Step("instructions", script(PYTHON, "bench/instructions.py", "--build", BUILD / "test-bench"),
         ["build bench"]),
    Step("clang: unit", suites("clang", "unit"), ["build clang"]),
    Step("clang: conformance@epoll", suites("clang", ":conformance@epoll"), ["build clang"]),
    Step("clang-tidy", clang_tidy, sets=("lint",)),
    *(Step(f"{name}: soak@{backend}", soak(name, backend), ["build " + name], ("soak",))
      for backend in ("epoll", "uring", "uv", "poll2", "script", "sim", "iocp-model")
      for name in ("gcc", "tsan")),
    *(Step(f"{name}: soak of programs", differential(name, programs), ["build " + name], ("soak",))
      for name, programs in (("gcc", 2000), ("asan", 200), ("tsan", 200))),
    Step("gcc: soak of the explorer", suites("gcc", "soak-model", multiplier=1), ["build gcc"],
         ("soak",)),
    *(Step(f"{name}: soak of the races", suites(name, "soak", multiplier=1), ["build " + name],
           ("soak",)) for name in ("gcc", "asan", "tsan")),
]


# ---- Running them ------------------------------------------------------------------------------


def choose(patterns):
    by_name = {step.name: step for step in STEPS}
    if len(patterns) < 2 and set(patterns) <= {"quick", "lint", "soak"}:
        wanted = patterns[0] if patterns else "all"
        chosen = {step.name for step in STEPS if wanted in step.sets}
    else:
        chosen = {step.name for step in STEPS
                  if any(fnmatch.fnmatch(step.name, pattern) for pattern in patterns)}
    for name in list(chosen):
        chosen |= set(by_name[name].after)
    return [step for step in STEPS if step.name in chosen]


def report(step, lock):
    with lock:
        verdict = "FAIL" if step.result.failed else "ok"
        print(f"{verdict:4} {step.name:26} {step.result.seconds:7.1f} s  {step.result.counts()}")
        for complaint in step.result.complaints:
            print("    " + complaint.rstrip().replace("\n", "\n    "))
        if step.result.failed:
            print(f"    all of it: {step.log.relative_to(ROOT)}")
        sys.stdout.flush()


def run_steps(steps):
    """All @steps, in lanes; one whose predecessor failed fails without being run."""
    waiting = list(steps)
    done = threading.Condition()
    lock = threading.Lock()
    crashed = []

    def take():
        """The next step that can run, None if there is none left; waits while all are held up."""
        with done:
            while waiting:
                for step in waiting:
                    before = [other for other in steps if other.name in step.after]
                    if all(other.result is not None for other in before):
                        waiting.remove(step)
                        return step, [other.name for other in before if other.result.failed]
                done.wait()
        return None, []

    def lane():
        while True:
            step, broken = take()
            if step is None:
                return
            begin = time.monotonic()
            try:
                if broken:
                    result = Result(0, 1, 0, ["not run: " + ", ".join(broken) + " failed"])
                else:
                    step.log.unlink(missing_ok=True)
                    result = step.run(step)
            except Exception as error:  # a bug of this file's must not look like a pass
                crashed.append(error)
                result = Result(0, 1, 0, [f"{type(error).__name__}: {error}"])
            result.seconds = time.monotonic() - begin
            with done:
                step.result = result
                done.notify_all()
            report(step, lock)

    lanes = [threading.Thread(target=lane, daemon=True) for _ in range(LANES)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()


def main():
    parser = argparse.ArgumentParser(prog="./go test", description="Build and test everything.")
    parser.add_argument("--budget", action="store_true", help="end with a table of times")
    parser.add_argument("--list", action="store_true", help="only name the steps")
    parser.add_argument("steps", nargs="*", metavar="quick|STEP",
                        help="quick: gcc, unit, epoll conformance, tidy; or steps by name")
    options = parser.parse_args()
    steps = choose(options.steps)
    if options.list:
        print("\n".join(step.name for step in steps))
        return 0
    if not steps:
        print("no such step; ./go test --list names them", file=sys.stderr)
        return 2

    LOGS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    try:
        run_steps(steps)
    except KeyboardInterrupt:
        with RUNNING_LOCK:
            for group in RUNNING:
                os.killpg(group, signal.SIGTERM)
        print("interrupted", file=sys.stderr)
        return 130
    seconds = time.monotonic() - begin

    total = Result()
    for step in steps:
        total.add(step.result)
    if options.budget:
        print(f"\n{'step':26} {'seconds':>8}  share of a lane's time")
        for step in sorted(steps, key=lambda step: -step.result.seconds):
            share = step.result.seconds / max(seconds, 0.001)
            print(f"{step.name:26} {step.result.seconds:8.1f}  {share:6.1%}")
        print(f"{'in all, ' + str(LANES) + ' at a time':26} {seconds:8.1f}\n")
    failed = [step.name for step in steps if step.result.failed]
    if failed:
        print("failed:", ", ".join(failed))
    print(total.counts())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
