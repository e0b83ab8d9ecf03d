"""What the tests of the examples share: a started program, a raw HTTP client, counted checks.

Nothing here sleeps to let something happen.  A test blocks on the thing itself: a socket's answer
or end, a process's exit.  Real time appears as a watchdog only, and where a timeout is what is
tested.
"""

import argparse
import ctypes
import faulthandler
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

WATCHDOG_SECONDS = 60  # for one socket operation or one exit; a sanitizer on a busy machine is slow
PR_SET_PDEATHSIG = 1
SYS_IO_URING_SETUP = 425  # on all machines of this century


class Checks:
    """Counts checks; a failed one says where and what."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def ok(self, condition, what):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
            frame = sys._getframe(1)
            print(f"FAILED {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}: {what}")
        return bool(condition)

    def equal(self, got, expected, what):
        if got == expected:
            self.passed += 1
            return True
        self.failed += 1
        frame = sys._getframe(1)
        print(
            f"FAILED {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}: {what}: "
            f"got {shorten(got)}, expected {shorten(expected)}"
        )
        return False


def shorten(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def run(main, programs):
    """Parse the arguments --NAME for each of programs, and --small, --backend, --seed; run main."""
    parser = argparse.ArgumentParser()
    for name in programs:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--small", action="store_true", help="smaller counts, for slow builds")
    parser.add_argument("--backend", help="run the programs on this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="run the cases whose names contain this")
    arguments = parser.parse_args()
    if arguments.backend == "uring":
        need_uring()
    faulthandler.dump_traceback_later(600, exit=True)
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="tocsin-examples-") as scratch:
        for case in main:
            if arguments.only is None or arguments.only in case.__name__:
                before = checks.failed
                try:
                    case(checks, arguments, scratch)
                except Exception as error:  # a dead server ends a case, not the report
                    checks.ok(False, f"{case.__name__}: {type(error).__name__}: {error}")
                verdict = "ok" if checks.failed == before else "not ok"
                print(f"{verdict} {case.__name__}", flush=True)
    Program.end_all()
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(0 if checks.failed == 0 else 1)


def need_uring():
    """Where io_uring is refused the test is skipped."""
    params = ctypes.create_string_buffer(120)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_IO_URING_SETUP, 1, params)
    if fd < 0:
        print(f"skipped: io_uring_setup: {os.strerror(ctypes.get_errno())}")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(77)
    os.close(fd)


def need_tool(name):
    """The path of a tool; without it the test is skipped, or in CI fails."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            print(f"FAILED: {name} is not installed, and CI must have it")
            print("0 passed, 1 failed")
            sys.exit(1)
        print(f"skipped: {name} is not installed")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(77)
    return path


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A program that says "listening on ADDRESS" and serves until it is told to end."""

    running = []

    def __init__(self, arguments, command):
        self.errors = tempfile.TemporaryFile()
        if arguments.backend:
            command = [command[0], "--backend", arguments.backend, *command[1:]]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            preexec_fn=die_with_parent,
        )
        Program.running.append(self)
        self.line = self.process.stdout.readline().decode()
        if not self.line.startswith("listening on "):
            raise RuntimeError(f"{command[0]} did not start: {self.line!r} {self.said()}")
        self.url = self.line.split()[2]
        host, port = self.url.removeprefix("http://").rstrip("/").rsplit(":", 1)
        self.address = (host.strip("[]"), int(port))
        self.pid = self.process.pid

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def processor_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, expected=0):
        """Its exit status; prints what it said if that is another one than expected."""
        try:
            status = self.process.wait(WATCHDOG_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "none: it did not end"
        if self in Program.running:
            Program.running.remove(self)
        if status != expected:
            print(self.said())
        self.process.stdout.close()
        self.errors.close()
        return status

    def stop(self):
        self.signal()
        return self.wait()

    @classmethod
    def end_all(cls):
        for program in list(cls.running):
            program.process.kill()
            program.process.wait()


def serve(arguments, directory, *options):
    return Program(arguments, [arguments.httpd, "--port", "0", *options, directory])


class Response:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = fields
        self.body = body

    def __repr__(self):
        return f"{self.status} {self.fields} {shorten(self.body)}"


class Wire:
    """A connection on which a test says exactly the bytes it wants."""

    def __init__(self, server, receive_buffer=None):
        family = socket.AF_INET6 if ":" in server.address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WATCHDOG_SECONDS)
        self.socket.connect(server.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ahead = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """What has come, or comes next; b"" at the end, be it a reset."""
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        try:
            return self.socket.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    def response(self, has_body=True):
        """The next response, read to its last byte and no further; None: the connection ended."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.receive()
            if not piece:
                if data:
                    raise RuntimeError(f"half a head: {shorten(data)}")
                return None
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            if name.lower() in fields:
                raise RuntimeError(f"the field {name} came twice")
            fields[name.lower()] = value
        size = int(fields.get("content-length", "0")) if has_body and status != 304 else 0
        pieces = [body]
        missing = size - len(body)
        while missing > 0:
            piece = self.receive()
            if not piece:
                raise RuntimeError(f"the body ended {missing} bytes early")
            pieces.append(piece)
            missing -= len(piece)
        body = b"".join(pieces)
        self.ahead = body[size:]
        return Response(status, fields, body[:size])

    def ask(self, path, *lines, method="GET", body=b""):
        """Send one request and read its response."""
        request = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *lines, "", ""])
        self.send(request.encode("latin-1") + body)
        return self.response(has_body=method != "HEAD")

    def ends(self):
        """Block until the other side has ended the connection; whatever came before that."""
        data = b""
        while True:
            piece = self.receive()
            if not piece:
                return data
            data += piece

    def is_silent(self):
        """True if nothing has come: neither bytes nor the end."""
        if self.ahead:
            return False
        self.socket.setblocking(False)
        try:
            self.ahead = self.socket.recv(1 << 16)
            return False
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(WATCHDOG_SECONDS)


def until(server, condition, path="/"):
    """Ask the server for something until condition() holds; each answer is a turn of its loop.

    True if it came to hold before the watchdog's time was over.
    """
    end = time.monotonic() + WATCHDOG_SECONDS
    with Wire(server) as wire:
        while time.monotonic() < end:
            if condition():
                return True
            if wire.ask(path, method="HEAD") is None:
                return False
    return condition()


def write_file(*path, data=b""):
    name = os.path.join(*path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)
    return name
