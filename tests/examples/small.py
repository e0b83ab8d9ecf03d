#!/usr/bin/env python3
"""hello says what it should, and the demo runs from end to end."""

import os
import signal
import subprocess
import urllib.error
import urllib.request

from harness import WATCHDOG_SECONDS, need_tool, run, write_file


def call(*command):
    return subprocess.run(command, capture_output=True, timeout=WATCHDOG_SECONDS, check=False)


def hello_says_its_two_lines(checks, arguments, scratch):
    told = call(arguments.hello)
    checks.equal(told.stdout, b"callback: hello\npipe: ding\n", "output")
    checks.equal(told.stderr, b"", "errors")
    checks.equal(told.returncode, 0, "exit status")


def demo(arguments, *more):
    backend = ["--backend", arguments.backend] if arguments.backend else []
    return call(arguments.demo, arguments.httpd, *backend, *more)


def the_demo_fetches_and_ends(checks, arguments, scratch):
    need_tool("curl")
    for folder in ([], [scratch + "/with a file"], [scratch + "/empty"]):
        if folder:
            os.mkdir(folder[0])
        if folder and "file" in folder[0]:
            write_file(folder[0], "index.html", data=b"<p>an index</p>\n")
        told = demo(arguments, *folder, "--once")
        checks.equal(told.returncode, 0, f"exit status for {folder}: {told.stdout}{told.stderr}")
        checks.ok(b"listening on http://127.0.0.1:" in told.stdout, "it says where")
        parts = [] if folder == [scratch + "/empty"] else [b": 206,", b": 304,"]
        for what in [b"GET /: 200,", b": 404,", *parts]:
            checks.ok(what in told.stdout, f"{what} in the demo of {folder}")
    told = demo(arguments, scratch + "/nothing", "--once")
    checks.ok(told.returncode != 0, "a folder that does not exist")


def the_demo_serves_until_it_is_told_to_end(checks, arguments, scratch):
    need_tool("curl")
    for number in (signal.SIGINT, signal.SIGTERM):
        command = [arguments.demo, arguments.httpd, scratch]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            said = b""
            while b"until Ctrl-C" not in said:
                line = demo.stdout.readline()
                if not line:
                    break
                said += line
            url = said.split()[2].decode().rstrip(",")
            with urllib.request.urlopen(url, timeout=WATCHDOG_SECONDS) as page:
                checks.equal(page.status, 200, "while it serves")
            demo.send_signal(number)
            rest = demo.communicate(timeout=WATCHDOG_SECONDS)[0]
        finally:
            demo.terminate()
            demo.wait()
        checks.equal(demo.returncode, 0, f"exit status after {number}: {rest}")
        try:
            urllib.request.urlopen(url, timeout=WATCHDOG_SECONDS).close()
            checks.ok(False, "the server is still there")
        except urllib.error.URLError:
            checks.ok(True, "the server has ended too")


def the_demo_notices_what_is_wrong(checks, arguments, scratch):
    """A server that is not httpd: `python3 -m http.server` has no ranges."""
    need_tool("curl")
    folder = os.path.dirname(write_file(scratch, "wrong", "index.html", data=b"<p>an index</p>\n"))
    fake = write_file(
        scratch, "fake-httpd",
        data=b"""#!/usr/bin/env python3
import functools, http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[-1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print("listening on http://127.0.0.1:%d/" % server.server_port, flush=True)
server.serve_forever()
""",
    )
    os.chmod(fake, 0o755)
    told = call(arguments.demo, fake, folder, "--once")
    checks.ok(told.returncode != 0, f"exit status: {told.stdout}")
    checks.ok(b"the status should be 206" in told.stderr, f"it says what is wrong: {told.stderr}")


def wrong_arguments_are_refused(checks, arguments, scratch):
    for command in (
        [arguments.httpd],
        [arguments.httpd, scratch, scratch],
        [arguments.httpd, "--port", "x", scratch],
        [arguments.httpd, "--port", "0", "--idle-ms", "0", scratch],
        [arguments.httpd, "--port", "0", "--connections-max", "-1", scratch],
        [arguments.httpd, "--port", "0", "--backend", "no-such-backend", scratch],
        [arguments.httpd, "--port", "0", scratch + "/nothing"],
        [arguments.httpd, "--what", scratch],
        [arguments.httpd, "--address", "localhost", "--port", "0", scratch],
        [arguments.proxy],
        [arguments.proxy, "127.0.0.1:0"],
        [arguments.proxy, "127.0.0.1", "127.0.0.1:80"],
        [arguments.proxy, "--backend", "no-such-backend", "127.0.0.1:0", "127.0.0.1:80"],
    ):
        told = call(*command)
        checks.ok(told.returncode in (1, 2), f"exit status of {command[1:]}: {told.returncode}")
        checks.ok(told.stderr, f"{command[1:]}: it says why")
        checks.equal(told.stdout, b"", f"{command[1:]}: output")


run(
    [
        hello_says_its_two_lines,
        the_demo_fetches_and_ends,
        the_demo_serves_until_it_is_told_to_end,
        the_demo_notices_what_is_wrong,
        wrong_arguments_are_refused,
    ],
    ["hello", "httpd", "proxy", "demo"],
)
