#!/usr/bin/env python3
"""The proxy passes on every byte, both ways at once, and each end when it comes."""

import hashlib
import random
import select
import socket
import struct
import threading

from harness import WATCHDOG_SECONDS, Program, run


class Upstream:
    """A server whose connections a function serves, each on a thread of its own."""

    def __init__(self, serve_connection):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.serve_connection = serve_connection
        self.threads = []
        self.errors = []
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()
        self.name = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(WATCHDOG_SECONDS)
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        try:
            with connection:
                self.serve_connection(connection)
        except Exception as error:
            self.errors.append(error)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(WATCHDOG_SECONDS)
        self.listener.close()
        for thread in self.threads:
            thread.join(WATCHDOG_SECONDS)


def start_proxy(arguments, upstream, *options):
    return Program(arguments, [arguments.proxy, *options, "127.0.0.1:0", upstream])


def connect(proxy):
    return socket.create_connection(proxy.address, WATCHDOG_SECONDS)


def send_all_and_end(connection, data):
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def receive_all(connection):
    pieces = []
    while True:
        piece = connection.recv(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def large_transfers_go_both_ways_at_once(checks, arguments, scratch):
    """Each side sends megabytes while it receives, then ends its direction, not the other."""
    size = (2 if arguments.small else 16) << 20
    down = random.Random(2).randbytes(size)
    up = random.Random(3).randbytes(size + 1)
    got = []

    def both(connection):
        sender = threading.Thread(target=send_all_and_end, args=(connection, down))
        sender.start()
        got.append(receive_all(connection))
        sender.join()

    upstream = Upstream(both)
    proxy = start_proxy(arguments, upstream.name)
    with connect(proxy) as connection:
        sender = threading.Thread(target=send_all_and_end, args=(connection, up))
        sender.start()
        checks.ok(receive_all(connection) == down, "what came down")
        sender.join()
    upstream.close()
    checks.equal(upstream.errors, [], "errors upstream")
    checks.ok(got == [up], "what went up")
    checks.equal(proxy.stop(), 0, "exit status")


def half_closed_connections_stay_half_closed(checks, arguments, scratch):
    """The answer depends on the question's end, as with `nc -N`: it comes after the shutdown."""

    def digest(connection):
        connection.sendall(hashlib.sha256(receive_all(connection)).digest())

    upstream = Upstream(digest)
    proxy = start_proxy(arguments, upstream.name)
    for size in (0, 1, 32768, 1_000_000):
        data = bytes(size)
        with connect(proxy) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            expected = hashlib.sha256(data).digest()
            checks.equal(receive_all(connection), expected, f"digest of {size} bytes")
    upstream.close()

    def greet_and_end(connection):
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        got.append(receive_all(connection))

    got = []
    upstream = Upstream(greet_and_end)
    other = start_proxy(arguments, upstream.name)
    with connect(other) as connection:
        checks.equal(receive_all(connection), b"hello", "the greeting, and the end after it")
        connection.sendall(b"still here")
    upstream.close()
    checks.equal(got, [b"still here"], "what went up after the other direction had ended")
    checks.equal(upstream.errors, [], "errors upstream")
    checks.equal(proxy.stop(), 0, "exit status")
    checks.equal(other.stop(), 0, "exit status")


def many_connections_are_kept_apart(checks, arguments, scratch):
    count = 50 if arguments.small else 200

    def echo(connection):
        while data := connection.recv(1 << 16):
            connection.sendall(data)

    upstream = Upstream(echo)
    proxy = start_proxy(arguments, upstream.name)
    connections = [connect(proxy) for _ in range(count)]
    for turn in range(3):
        for i, connection in enumerate(connections):
            connection.sendall(b"%d:%d" % (i, turn) * 100)
        right = 0
        for i, connection in enumerate(connections):
            expected = b"%d:%d" % (i, turn) * 100
            data = b""
            while len(data) < len(expected):
                data += connection.recv(len(expected) - len(data)) or b"the end" * 1000
            right += data == expected
        checks.equal(right, count, f"right echoes in turn {turn}")
    for connection in connections:
        connection.close()
    upstream.close()
    checks.equal(upstream.errors, [], "errors upstream")
    checks.equal(proxy.stop(), 0, "exit status")


def a_refused_upstream_ends_the_client(checks, arguments, scratch):
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # and never listening
    name = "127.0.0.1:%d" % bound.getsockname()[1]
    proxy = start_proxy(arguments, name)
    before = proxy.descriptors()
    for _ in range(20):
        try:
            with connect(proxy) as connection:
                ended = connection.recv(1)
        except ConnectionResetError:
            ended = b""
        checks.equal(ended, b"", "nothing but the end")
    checks.ok(proxy.descriptors() <= before + 1, "descriptors: of the last one, at most")
    checks.equal(proxy.stop(), 0, "exit status")
    bound.close()


def a_reset_is_passed_on(checks, arguments, scratch):
    def reset(connection):
        connection.sendall(b"half of the da")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    upstream = Upstream(reset)
    proxy = start_proxy(arguments, upstream.name)
    with connect(proxy) as connection:
        data = b""
        while len(data) < 14:
            data += connection.recv(14 - len(data))
        connection.sendall(b"x")
        try:
            end = connection.recv(1)
        except ConnectionResetError:
            end = "reset"
        checks.equal(end, "reset", "not an end that looks whole")
    upstream.close()
    checks.equal(proxy.stop(), 0, "exit status")


def a_slow_receiver_slows_its_sender(checks, arguments, scratch):
    """While upstream takes nothing, the proxy takes one buffer; later all of it arrives."""
    go = threading.Event()
    got = []

    def late(connection):
        go.wait(WATCHDOG_SECONDS)
        got.append(receive_all(connection))

    upstream = Upstream(late)
    proxy = start_proxy(arguments, upstream.name)
    with connect(proxy) as connection, connect(proxy) as other:
        resident = proxy.resident_bytes()
        piece = random.Random(4).randbytes(1 << 20)
        sent = 0
        # Until the kernel's buffers on both sides of the proxy are full: then no room comes.
        connection.setblocking(False)
        while select.select([], [connection], [], 0.3)[1]:
            sent += connection.send(piece[: 1 << 16])
        checks.ok(sent < 200 << 20, f"{sent} bytes went into a pipe that nobody empties")
        checks.ok(proxy.resident_bytes() - resident < 8 << 20, "the proxy does not grow")
        other.sendall(b"another")
        other.shutdown(socket.SHUT_WR)
        go.set()
        connection.settimeout(WATCHDOG_SECONDS)
        connection.shutdown(socket.SHUT_WR)
        checks.equal(receive_all(connection), b"", "the end")
    upstream.close()
    checks.equal(sorted(len(data) for data in got), [7, sent], "bytes that arrived")
    checks.equal(proxy.stop(), 0, "exit status")


def the_cap_and_the_stop_hold(checks, arguments, scratch):
    def echo(connection):
        while data := connection.recv(1 << 16):
            connection.sendall(data)

    upstream = Upstream(echo)
    proxy = start_proxy(arguments, upstream.name, "--connections-max", "2")
    inside = [connect(proxy) for _ in range(2)]
    for connection in inside:
        connection.sendall(b"x")
        checks.equal(connection.recv(1), b"x", "inside")
    outside = connect(proxy)
    outside.sendall(b"y")
    for _ in range(20):
        inside[0].sendall(b"x")
        inside[0].recv(1)
    checks.equal(select.select([outside], [], [], 0)[0], [], "a third one waits")
    inside[1].close()
    checks.equal(outside.recv(1), b"y", "until there is a place")
    proxy.signal()
    for connection in (inside[0], outside):
        try:
            checks.equal(connection.recv(1), b"", "ended by the stop")
        except ConnectionResetError:
            checks.ok(True, "ended by the stop")
    checks.equal(proxy.wait(), 0, "exit status")
    for connection in (inside[0], outside):
        connection.close()
    upstream.close()


run(
    [
        large_transfers_go_both_ways_at_once,
        half_closed_connections_stay_half_closed,
        many_connections_are_kept_apart,
        a_refused_upstream_ends_the_client,
        a_reset_is_passed_on,
        a_slow_receiver_slows_its_sender,
        the_cap_and_the_stop_hold,
    ],
    ["proxy"],
)
