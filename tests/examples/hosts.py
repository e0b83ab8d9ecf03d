"""glib_host and uv_host: pools inside the main loops of others, one program after the other."""

import os
import re
import shutil
import subprocess

from harness import WATCHDOG_SECONDS, run

SLEEPS = 5
STRACE = ["strace", "-f", "-qq", "-e", "trace=epoll_create,epoll_create1", "-o"]


def hosts(arguments):
    """Those that were built."""
    return [(name, program) for name, program in (("glib", arguments.glib), ("uv", arguments.uv))
            if program != "none"]


def host(program, posts, before=()):
    """(exit status, sleeps, posts, whether the host ticked, turns or iterations)"""
    told = subprocess.run([*before, program, str(posts)], stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=WATCHDOG_SECONDS)
    said = re.fullmatch(r"(\d+) sleeps, (\d+) posts, the host (ticked|did not tick), "
                        r"(\d+) (?:turns|iterations)\n", told.stdout.decode())
    if not said or told.stderr:
        return told.returncode, told.stdout, told.stderr, False, 0
    return told.returncode, int(said[1]), int(said[2]), said[3] == "ticked", int(said[4])


def every_post_and_sleep_arrives(checks, arguments, scratch):
    posts = 2000 if arguments.small else 100000
    for name, program in hosts(arguments):
        status, sleeps, arrived, ticked, _ = host(program, posts)
        checks.equal((status, sleeps, arrived), (0, SLEEPS, posts), f"{name} host")
        checks.ok(ticked, f"{name} host: its own timer had its go")


def a_pool_that_sleeps_lets_its_host_sleep(checks, arguments, scratch):
    """No posts: what is left is a few sleeps, and a tick of the host's each millisecond."""
    for name, program in hosts(arguments):
        status, sleeps, arrived, _, rounds = host(program, 0)
        checks.equal((status, sleeps, arrived), (0, SLEEPS, 0), f"{name} host")
        checks.ok(rounds < 2000, f"{name} host: {rounds} rounds for {SLEEPS} sleeps")


def the_uv_host_has_one_epoll_instance(checks, arguments, scratch):
    """libuv's, as strace sees it; tests/unit/test_uv_host.c counts descriptors."""
    trace = os.path.join(scratch, "trace")
    for name, program in hosts(arguments):
        if name != "uv":
            continue
        if not shutil.which(STRACE[0]) or subprocess.run(
                [*STRACE, trace, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            print("skipped: no strace here, or none that may trace")
            continue
        if arguments.small:
            print("skipped: a sanitizer's own threads and checks do not go with strace")
            continue
        status, sleeps, arrived, _, _ = host(program, 100, before=[*STRACE, trace])
        checks.equal((status, sleeps, arrived), (0, SLEEPS, 100), "under strace")
        with open(trace, encoding="utf-8") as lines:
            made = [line for line in lines if "epoll_create" in line]
        checks.equal(len(made), 1, "".join(made))


if __name__ == "__main__":
    run([every_post_and_sleep_arrives, a_pool_that_sleeps_lets_its_host_sleep,
         the_uv_host_has_one_epoll_instance], ["glib", "uv"])
