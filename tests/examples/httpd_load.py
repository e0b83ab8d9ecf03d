#!/usr/bin/env python3
"""httpd under load: wrk sees no error, whatever the files and however long connections last."""

import os
import random
import re
import subprocess

from harness import need_tool, run, serve, write_file


def load(checks, arguments, server, path, *options):
    """Run wrk for a few seconds; it must count answers, and no error of any kind."""
    wrk = need_tool("wrk")
    seconds = 1 if arguments.small else 3
    told = subprocess.run([wrk, "-t1", "-c64", f"-d{seconds}s", *options, server.url + path],
                          capture_output=True, text=True, check=False)
    checks.equal(told.returncode, 0, f"wrk's status for /{path}")
    rate = re.search(r"^Requests/sec: +([0-9.]+)", told.stdout, re.MULTILINE)
    requests = re.search(r"^ *(\d+) requests in", told.stdout, re.MULTILINE)
    errors = re.findall(r"Socket errors.*|Non-2xx.*|unable to connect.*", told.stdout + told.stderr)
    checks.equal(errors, [], f"wrk's errors for /{path}")
    checks.ok(requests and int(requests[1]) >= 64,
              f"wrk's report for /{path}: {told.stdout}{told.stderr}")
    print(f"    /{path} {' '.join(options)}: {rate[1] if rate else '?'} requests/s")


def wrk_sees_no_error(checks, arguments, scratch):
    root = os.path.join(scratch, "load")
    write_file(root, "small.html", data=b"x" * 1000)
    write_file(root, "large", data=random.Random(1).randbytes(1 << 20))
    server = serve(arguments, root)
    load(checks, arguments, server, "small.html")
    load(checks, arguments, server, "large")
    if not arguments.small:
        load(checks, arguments, server, "small.html", "-H", "Connection: close")
    checks.equal(server.stop(), 0, "exit status")


def wrk_through_a_narrow_door_sees_no_error(checks, arguments, scratch):
    """64 at a time want to be served, each for one request, and 8 at a time are."""
    root = os.path.join(scratch, "cap")
    write_file(root, "small.html", data=b"x" * 1000)
    server = serve(arguments, root, "--connections-max", "8")
    load(checks, arguments, server, "small.html", "-H", "Connection: close")
    checks.equal(server.stop(), 0, "exit status")


run([wrk_sees_no_error, wrk_through_a_narrow_door_sees_no_error], ["httpd"])
